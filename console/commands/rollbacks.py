"""What going back means, as the console and the command line show it: the engine's facts, times and locks as read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from console.commands import migrations
from console.commands.plan_record import Record
from console.commands.previews import Previews
from console.engine import rollback
from console.engine.rollback_times import CATALOGUE_S, Expected, of_its_kind
from console.headless.words import strength
from console.journal import runs
from console.journal.connect import Conn
from console.journal.state import RollbackPreview, RollbackStep
from console.plan.model import Plan, Task
from console.plan.order import rollback_order
from console.plan.rehearsed import Outcome
from console.sql.model import Statement


class Reader:
    """Reads ways back of one plan: how long each takes as far as its text, its tables and a rehearsal tell, its locks."""

    def __init__(self, plan: Plan, conn: Conn | None, folder: Path) -> None:
        """``folder``: the state folder, where records of rehearsals are."""
        self._record = Record.of(plan, folder)
        self._previews = Previews(plan, conn, record=self._record)

    def expected(self, task: Task) -> Expected | None:
        """The time of a file's way back; None where nothing tells it."""
        found = self._previews.way_back(task.id)
        times = [one.estimate.seconds for one in found if one.estimate is not None]
        known = [seconds for seconds in times if seconds is not None]
        if found and len(known) == len(found):
            longest = max(found, key=lambda one: (one.estimate.seconds if one.estimate else None) or 0.0)
            words = longest.estimate.words if longest.estimate else ""
            return self._rehearsed(task) if not any(known) and self._rehearsed(task) else Expected(
                sum(known) + CATALOGUE_S, "only the catalogue changes" if not any(known) else words
            )  # fmt: skip
        return self._rehearsed(task)

    def _rehearsed(self, task: Task) -> Expected | None:
        record = self._record.rehearsal
        found = record.task(task.id) if record is not None else None
        if record is None or found is None or found.outcome is not Outcome.PASSED or not found.back_ms:
            return None
        return Expected(found.back_ms / 1000, f"as rehearsed on {record.made_at[:10]}")

    def with_locks(self, step: RollbackStep) -> RollbackStep:
        """The step with the strongest lock of each of its statements in words."""
        read = {one.sql.strip().rstrip(";"): one for one in self._previews.way_back(step.task_id)}
        found = (read.get(text.strip().rstrip(";")) for text in step.statements)
        return replace(step, locks=tuple(_lock(one) if one is not None else "" for one in found))


def _lock(statement: Statement) -> str:
    locks = sorted(statement.locks, key=lambda lock: (not lock.new, strength(lock.mode)))
    if not locks:
        return "no lock on a table"
    lock = locks[-1]
    basis = lock.basis if lock.basis in ("measured", "assumed") else f"by {lock.basis}"
    more = f"; {len(locks) - 1} weaker or like it" if len(locks) > 1 else ""
    return f"{lock.mode} on {lock.object} ({basis}{more})"


def read(conn: Conn, plan: Plan, run_id: int | None, to: str, reader: Reader) -> RollbackPreview:
    """What rolling back to just before ``to`` would do. Raises UsageError for an unknown target."""
    if run_id is None:
        found = migrations.rollback_preview(conn, plan, to)
    else:
        found = rollback.preview(conn, plan, run_id, runs.tasks(conn, run_id), to, reading=reader.expected)
    return replace(found, steps=tuple(reader.with_locks(step) for step in found.steps))


def on_paper(plan: Plan, to: str, reader: Reader) -> RollbackPreview:
    """What undoing would run once every task is done, task by task, where there is no run to look at. Raises UsageError for an unknown target."""
    steps = []
    final = [task for task in rollback_order(plan, to) if task.irreversible]
    for task in (task for task in rollback_order(plan, to) if not task.irreversible):
        expected = reader.expected(task) if task.down else of_its_kind(task)
        steps.append(
            reader.with_locks(
                RollbackStep(
                    task.id,
                    rollback.words(plan, task),
                    rollback.statements(plan, task),
                    expected.seconds if expected else None,
                    expected.basis if expected else "its text does not tell, and there is no database to ask",
                )
            )
        )
    return RollbackPreview(
        to=to,
        steps=tuple(steps),
        loses=(),
        keeps=(),
        facts=(
            "as if every task were done, and no application had written anything",
            *(f"once {task.id} {task.title} is done there is no way back beyond it" for task in final),
        ),
        impossible="",
        seconds=rollback.total(steps),
    )
