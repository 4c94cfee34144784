"""The record of a plan's rehearsal as previews use it: what was measured of a statement, what of a way back."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from console.errors import PlanError
from console.plan import rehearsed
from console.plan.model import Plan, Task
from console.plan.rehearsed import Measured, Outcome, Rehearsal, TaskRehearsed
from console.sql.overlay import Seen


@dataclass(frozen=True)
class Record:
    """A rehearsal of exactly this plan, or why there is none to use (``why``, in words; empty where nobody rehearsed)."""

    rehearsal: Rehearsal | None = None
    why: str = ""
    _by_text: dict[tuple[str, str, str], Measured] = field(default_factory=dict)

    @classmethod
    def of(cls, plan: Plan, folder: Path) -> Record:
        """The newest record of the plan, in its directory or in the state folder ``folder``. Never raises."""
        try:
            found = rehearsed.find(plan, folder)
            if found is None:
                old = rehearsed.outdated(plan)
                when = f" ({old.made_at[:10]})" if old else ""
                return cls(why=f"the record of a rehearsal{when} is of an older version of the plan" if old else "")
        except PlanError as error:
            return cls(why=error.what)
        by_text: dict[tuple[str, str, str], Measured] = {}
        for task in found.tasks:
            for measured in task.statements:
                by_text.setdefault((task.task_id, measured.side, measured.sql_sha256), measured)
        return cls(found, "", by_text)

    def seen(self, task_id: str, side: str, sql: str) -> Seen | None:
        """What was measured of just this statement."""
        if not self._by_text:
            return None
        found = self._by_text.get((task_id, side, rehearsed.sql_sha256(sql)))
        if found is None:
            return None
        return Seen(
            locks=(*found.locks, *found.new),
            new=found.new,
            already=found.already,
            rewritten=found.rewritten,
            scanned=found.scanned,
            ms=found.ms,
            held_ms=found.held_ms,
            wal_bytes=found.wal_bytes,
            partial=found.partial,
        )

    def rows(self, table: str) -> int:
        """How many rows the table had in the rehearsal; 0 where that is not known."""
        return dict(self.rehearsal.rows).get(table, 0) if self.rehearsal else 0

    def words(self, task: Task) -> tuple[str, bool]:
        """What the rehearsal says of the task and its way back, and whether all was well."""
        if self.rehearsal is None:
            return self.why, False
        found = self.rehearsal.task(task.id)
        if found is None:
            return "not rehearsed", False
        if found.outcome is Outcome.NOT_REHEARSED:
            return f"not rehearsed: {found.why}" if found.why else "not rehearsed", False
        return f"rehearsed {self.rehearsal.made_at[:10]}: {_outcome(found)}", found.outcome is Outcome.PASSED


def _outcome(found: TaskRehearsed) -> str:
    if found.outcome is Outcome.PASSED:
        return f"schema and rows equal, {_ms(found.back_ms)}" if found.back_ms else f"forward {_ms(found.forward_ms)}"
    if found.outcome is Outcome.DIFFERS:
        first = found.differences[0].object if found.differences else ""
        more = f" and {len(found.differences) - 1} more" if len(found.differences) > 1 else ""
        return f"the way back DIFFERS: {first}{more}" if first else "the way back DIFFERS"
    return f"FAILED: {found.why}" if found.why else "FAILED"


def _ms(milliseconds: float) -> str:
    return f"{milliseconds:.0f} ms" if milliseconds < 10_000 else f"{milliseconds / 1000:.0f} s"
