"""Statements that nobody understands run only where the file or the task says so: ``allow UNKNOWN`` and a reason."""

from __future__ import annotations

from collections.abc import Iterable

from console.engine import files
from console.errors import Refused
from console.plan.model import Kind, SourceFile, Task
from console.sql.hazards.catalogue import UNKNOWN, canonical
from console.text import plain, shorten


def accepted_by(task: Task) -> bool:
    """Whether the task accepts, with a reason, that nobody knows what its statements do."""
    return any(canonical(one.hazard) == UNKNOWN and one.reason.strip() for one in task.allow)


def refuse_unknown(tasks: Iterable[Task]) -> None:
    """Refuse tasks with a statement, forward or back, of which neither locks nor effects are known.

    Raises Refused, naming file and line; PlanError where PostgreSQL's grammar does not accept the statement at all.
    Nothing was run then.
    """
    for task in tasks:
        if task.kind is not Kind.SQL:
            continue
        for file in (task.file, task.down):
            if file is not None and not file.fault:
                _refuse(task, file)


def _refuse(task: Task, file: SourceFile) -> None:
    files.pieces(file, accept_unknown=accepted_by(task))
    if accepted_by(task):
        return
    for statement in files.statements(file, second_reader=False):
        for hazard in statement.hazards:
            if hazard.code == UNKNOWN:
                why = hazard.message.removeprefix("What it locks is not known: ").split(". It is counted")[0]
                raise Refused(
                    f"{file.path}:{statement.line}: what this statement of {task.id} locks and does is not known"
                    f" ({why}): {shorten(plain(statement.sql), 60)}.",
                    state="Nothing of the task was run.",
                    do="Rehearse it; then write above it: -- pgferry: allow UNKNOWN REASON, or give the task"
                    ' allow = [{ hazard = "UNKNOWN", reason = "..." }].',
                )
