"""Tables with a row for each applied migration and nothing else of note: dbmate's, Diesel's, goose's."""

from __future__ import annotations

from dataclasses import dataclass

from console.engine.ledgers.base import Found, origin_of, rows, run, strangers
from console.journal.connect import Conn
from console.plan.model import Plan, TableName, Task


@dataclass(frozen=True, slots=True)
class Rows:
    """A table with the version of each applied migration; the queries say how it is read and written."""

    tool: str
    names: tuple[str, ...]
    columns: tuple[str, ...]
    select: str  # the applied versions as text, in order
    insert: str  # one version, given twice, unless it is there
    delete: str  # one version
    without: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()  # versions that are no migrations

    def read(self, conn: Conn, table: TableName, plan: Plan) -> Found:
        """What is applied."""
        versions = [str(row[0]) for row in rows(conn, self.select, table) if row[0] not in self.ignored]
        there = set(versions)
        applied = {t.id: f"applied by {self.tool}" for t in plan.tasks if origin_of(t).version in there}
        known = {origin_of(task).version for task in plan.tasks}
        return Found(applied, strangers(table, [version for version in versions if version not in known]))

    def record(self, conn: Conn, table: TableName, plan: Plan, task: Task, ms: int) -> bool:
        """Note the task as applied."""
        version = origin_of(task).version
        return run(conn, self.insert, table, (version, version)) == 1

    def forget(self, conn: Conn, table: TableName, plan: Plan, task: Task, ms: int) -> None:
        """Note the task as taken back."""
        run(conn, self.delete, table, (origin_of(task).version,))


DBMATE = Rows(
    "dbmate",
    ("schema_migrations",),
    ("version",),
    "SELECT version::text FROM {} ORDER BY 1",
    "INSERT INTO {0} (version) SELECT %s WHERE NOT EXISTS (SELECT 1 FROM {0} WHERE version = %s)",
    "DELETE FROM {} WHERE version = %s",
    without=("dirty",),
)
DIESEL = Rows(
    "Diesel",
    ("__diesel_schema_migrations",),
    ("version", "run_on"),
    "SELECT version::text FROM {} ORDER BY 1",
    "INSERT INTO {0} (version) SELECT %s WHERE NOT EXISTS (SELECT 1 FROM {0} WHERE version = %s)",
    "DELETE FROM {} WHERE version = %s",
)
_NEWEST = "(SELECT DISTINCT ON (version_id) version_id, is_applied FROM {0} ORDER BY version_id, id DESC) v"
GOOSE = Rows(
    "goose",
    ("goose_db_version",),
    ("id", "version_id", "is_applied"),
    f"SELECT version_id::text FROM {_NEWEST} WHERE is_applied ORDER BY v.version_id",
    "INSERT INTO {0} (version_id, is_applied) SELECT %s::bigint, true WHERE NOT EXISTS"
    f" (SELECT 1 FROM {_NEWEST} WHERE version_id = %s::bigint AND is_applied)",
    "DELETE FROM {} WHERE version_id = %s::bigint",
    ignored=("0",),
)
