"""Flyway's schema history: a row for each thing Flyway did, in the order it did it."""

from __future__ import annotations

from typing import Any

from console.engine.ledgers.base import Found, origin_of, rows, run, strangers
from console.journal.connect import Conn
from console.plan.formats.flyway import version_key
from console.plan.model import Origin, Plan, TableName, Task

_NO_MIGRATIONS = ("SCHEMA", "DELETE")
Key = tuple[int, ...] | str  # a version, or the description of a repeatable migration


class Flyway:
    """``flyway_schema_history``."""

    names = ("flyway_schema_history",)
    columns = ("installed_rank", "version", "description", "type", "script", "checksum", "success")
    without: tuple[str, ...] = ()

    def read(self, conn: Conn, table: TableName, plan: Plan) -> Found:
        """What is applied: versions that were not undone, those under a baseline, repeatable ones that are unchanged."""
        history = _history(conn, table)
        failed = next((row for row in history.values() if not row[4]), None)
        baselines = (_version(row[0]) for row in history.values() if row[2].endswith("BASELINE"))
        below = max((version for version in baselines if isinstance(version, tuple)), default=None)
        applied: dict[str, str] = {}
        changed: list[str] = []
        for task in plan.tasks:
            origin = origin_of(task)
            row = history.pop(_key(origin), None)
            if row is not None and origin.version and row[4]:
                applied[task.id] = "applied by Flyway"
                if row[3] is not None and str(row[3]) != origin.checksum and not row[2].endswith("BASELINE"):
                    changed.append(task.id)
            elif row is not None and row[4] and str(row[3]) == origin.checksum:
                applied[task.id] = "applied by Flyway, unchanged since"
            elif below is not None and origin.version and version_key(origin.version) <= below:
                applied[task.id] = "below Flyway's baseline"
        unknown = [row[0] or row[1] for row in history.values() if not row[2].endswith("BASELINE")]
        words = strangers(table, unknown)
        if changed:
            words.append(f"No longer the file that Flyway applied (by its checksum): {', '.join(changed)}.")
        if failed is None:
            return Found(applied, words)
        what = failed[0] or failed[1]
        return Found(applied, words, f"{table} says that Flyway failed in {what}: mend it and run 'flyway repair'")

    def record(self, conn: Conn, table: TableName, plan: Plan, task: Task, ms: int) -> bool:
        """A row as Flyway writes it."""
        run(conn, "LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE", table)
        origin = origin_of(task)
        row = _history(conn, table).get(_key(origin))
        if row is not None and (origin.version or str(row[3]) == origin.checksum):
            return False
        self._add(conn, table, origin, "SQL", origin.script, origin.checksum, ms)
        return True

    def forget(self, conn: Conn, table: TableName, plan: Plan, task: Task, ms: int) -> None:
        """A row as Flyway's undo writes it."""
        run(conn, "LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE", table)
        origin = origin_of(task)
        if _key(origin) in _history(conn, table) and task.down is not None:
            self._add(conn, table, origin, "UNDO_SQL", task.down.path, origin.down_checksum, ms)

    def _add(
        self, conn: Conn, table: TableName, origin: Origin, kind: str, script: str, checksum: str, ms: int
    ) -> None:
        run(
            conn,
            "INSERT INTO {0} (installed_rank, version, description, type, script, checksum, installed_by, execution_time,"
            " success) SELECT coalesce(max(installed_rank), 0) + 1, %s, %s, %s, %s, %s, current_user, %s, true FROM {0}",
            table,
            (origin.version or None, origin.name, kind, script, int(checksum), ms),
        )


def _key(origin: Origin) -> Key:
    return _version(origin.version) if origin.version else origin.name


def _version(text: str) -> Key:
    """What versions are compared by; what is none in the table matches nothing of the plan."""
    try:
        return version_key(text)
    except ValueError:
        return f"no version: {text}"


def _history(conn: Conn, table: TableName) -> dict[Key, tuple[Any, ...]]:
    """The newest row (version, description, type, checksum, success) of whatever stands, undone ones left out."""
    standing: dict[Key, tuple[Any, ...]] = {}
    query = "SELECT version, description, type, checksum, success FROM {} ORDER BY installed_rank"
    for row in rows(conn, query, table):
        if row[2] in _NO_MIGRATIONS:
            continue
        key: Key = _version(row[0]) if row[0] else row[1]
        if row[2].startswith("UNDO") and row[4]:
            standing.pop(key, None)
        else:
            standing[key] = row
    return standing
