"""Sqitch's registry: read only. A change's row holds an identity made from the whole plan; Sqitch writes it itself."""

from __future__ import annotations

from collections import Counter

from console.engine.ledgers.base import Found, origin_of, rows, strangers
from console.journal.connect import Conn
from console.plan.model import Plan, TableName, Task


class Sqitch:
    """``changes`` in the registry's schema."""

    names = ("changes",)
    columns = ("change_id", "change", "project", "committed_at")
    without: tuple[str, ...] = ()
    records = False
    instead = "'sqitch deploy --log-only' or 'sqitch revert --log-only' makes it agree afterwards"

    def read(self, conn: Conn, table: TableName, plan: Plan) -> Found:
        """A reworked change stands in the registry once for each time it was deployed, the oldest first."""
        found = rows(conn, "SELECT change FROM {} WHERE project = %s ORDER BY committed_at", table, (plan.project,))
        left = Counter(row[0] for row in found)
        applied = {}
        for task in plan.tasks:
            if left[origin_of(task).name] > 0:
                left[origin_of(task).name] -= 1
                applied[task.id] = "deployed by Sqitch"
        return Found(applied, strangers(table, sorted(left.elements())))

    def record(self, conn: Conn, table: TableName, plan: Plan, task: Task, ms: int) -> bool:
        """Nothing: see ``instead``."""
        return True

    def forget(self, conn: Conn, table: TableName, plan: Plan, task: Task, ms: int) -> None:
        """Nothing: see ``instead``."""
