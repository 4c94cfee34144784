"""Prisma's table: a row for each attempt at a migration, finished, failed or marked as rolled back."""

from __future__ import annotations

import uuid

from console.engine.ledgers.base import Found, origin_of, rows, run, strangers
from console.journal.connect import Conn
from console.plan.model import Plan, TableName, Task

_STANDS = "finished_at IS NOT NULL AND rolled_back_at IS NULL"


class Prisma:
    """``_prisma_migrations``."""

    names = ("_prisma_migrations",)
    columns = ("id", "checksum", "migration_name", "finished_at", "rolled_back_at")
    without: tuple[str, ...] = ()

    def read(self, conn: Conn, table: TableName, plan: Plan) -> Found:
        """What was finished and not marked as rolled back."""
        query = f"SELECT migration_name, checksum, {_STANDS} FROM {{}} WHERE rolled_back_at IS NULL ORDER BY started_at"
        found = rows(conn, query, table)
        checksums = {name: checksum for name, checksum, stands in found if stands}
        tasks = {origin_of(task).name: task for task in plan.tasks}
        applied = {tasks[name].id: "applied by Prisma" for name in checksums if name in tasks}
        words = strangers(table, [name for name in checksums if name not in tasks])
        changed = [n for n, checksum in checksums.items() if n in tasks and checksum != origin_of(tasks[n]).checksum]
        if changed:
            words.append(f"No longer the file that Prisma applied (by its checksum): {', '.join(changed)}.")
        failed = next((name for name, _, stands in found if not stands), "")
        refusal = (
            f"{table} says that Prisma failed in {failed}: mend it and run 'prisma migrate resolve'" if failed else ""
        )
        return Found(applied, words, refusal)

    def record(self, conn: Conn, table: TableName, plan: Plan, task: Task, ms: int) -> bool:
        """A finished row as Prisma writes it."""
        run(conn, "LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE", table)
        origin = origin_of(task)
        return run(
            conn,
            "INSERT INTO {0} (id, checksum, finished_at, migration_name, started_at, applied_steps_count)"
            " SELECT %s, %s, clock_timestamp(), %s, clock_timestamp() - make_interval(secs => %s), 1"
            f" WHERE NOT EXISTS (SELECT 1 FROM {{0}} WHERE migration_name = %s AND {_STANDS})",
            table,
            (str(uuid.uuid4()), origin.checksum, origin.name, ms / 1000, origin.name),
        ) == 1  # fmt: skip

    def forget(self, conn: Conn, table: TableName, plan: Plan, task: Task, ms: int) -> None:
        """Marked as rolled back, so that Prisma applies it again."""
        query = f"UPDATE {{}} SET rolled_back_at = clock_timestamp() WHERE migration_name = %s AND {_STANDS}"
        run(conn, query, table, (origin_of(task).name,))
