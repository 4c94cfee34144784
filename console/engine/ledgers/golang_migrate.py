"""golang-migrate's table: one row with the version that the database has, and whether it was left half done."""

from __future__ import annotations

from console.engine.ledgers.base import Found, origin_of, rows, run
from console.journal.connect import Conn
from console.plan.model import Plan, TableName, Task


class GolangMigrate:
    """``schema_migrations`` with ``version`` and ``dirty``."""

    names = ("schema_migrations",)
    columns = ("version", "dirty")
    without: tuple[str, ...] = ()

    def read(self, conn: Conn, table: TableName, plan: Plan) -> Found:
        """Every migration up to the version is applied."""
        found = self._version(conn, table)
        if found is None:
            return Found({})
        version, dirty = found
        applied = {t.id: f"applied by golang-migrate, up to {version}" for t in plan.tasks if _number(t) <= version}
        if dirty:
            return Found(
                applied,
                (),
                f"{table} says that golang-migrate left version {version} half done (dirty):"
                " mend it and tell golang-migrate with 'migrate force'",
            )
        words = (
            [] if version in {_number(t) for t in plan.tasks} else [f"{table} is at {version}, which has no file here."]
        )
        return Found(applied, words)

    def record(self, conn: Conn, table: TableName, plan: Plan, task: Task, ms: int) -> bool:
        """The database has this version now."""
        run(conn, "LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE", table)
        found = self._version(conn, table)
        if found is not None and (found[0] >= _number(task) or found[1]):
            return False
        self._set(conn, table, _number(task))
        return True

    def forget(self, conn: Conn, table: TableName, plan: Plan, task: Task, ms: int) -> None:
        """The database has the version before this one now."""
        run(conn, "LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE", table)
        found = self._version(conn, table)
        if found is None or found[0] != _number(task):
            return
        before = [_number(other) for other in plan.tasks if _number(other) < _number(task)]
        self._set(conn, table, max(before) if before else None)

    def _version(self, conn: Conn, table: TableName) -> tuple[int, bool] | None:
        found = rows(conn, "SELECT version, dirty FROM {} LIMIT 1", table)
        return (int(found[0][0]), bool(found[0][1])) if found else None

    def _set(self, conn: Conn, table: TableName, version: int | None) -> None:
        run(conn, "DELETE FROM {}", table)
        if version is not None:
            run(conn, "INSERT INTO {} (version, dirty) VALUES (%s, false)", table, (version,))


def _number(task: Task) -> int:
    return int(origin_of(task).version)
