"""The order of tasks: how far a run goes, and what a rollback undoes."""

from __future__ import annotations

from console.errors import UsageError
from console.plan.model import Kind, Plan, Task
from console.plan.source import suggestion

START = "start"
END = "end"


def run_order(plan: Plan) -> tuple[Task, ...]:
    """Every task in the order it runs; the loader has seen to it that dependencies stand before."""
    return plan.tasks


def until(plan: Plan, target: str) -> tuple[Task, ...]:
    """The tasks to run up to and including ``target``: a task id, a phase id or ``end``.

    A purge, and whatever depends on one, is included only when ``target`` is its own id.
    Raises UsageError for an unknown target.
    """
    last = _last(plan, target)
    held_back: set[str] = set()
    chosen = []
    for task in plan.tasks[: last + 1]:
        if task.id == target:
            chosen.append(task)
        elif task.kind is Kind.PURGE or held_back.intersection(task.depends):
            held_back.add(task.id)
        else:
            chosen.append(task)
    return tuple(chosen)


def rollback_order(plan: Plan, to: str) -> tuple[Task, ...]:
    """The tasks to undo, last first, to stand just before ``to``: a task id, a phase id (its first task) or ``start``.

    Raises UsageError for an unknown target.
    """
    if to == START:
        return plan.tasks[::-1]
    ids = [task.id for task in plan.tasks]
    if to in ids:
        first = ids.index(to)
    else:
        first = next((i for i, task in enumerate(plan.tasks) if task.phase == to), -1)
        if first < 0:
            raise _unknown(plan, to, START)
    return plan.tasks[first:][::-1]


def _last(plan: Plan, target: str) -> int:
    """The position of the last task that ``target`` reaches."""
    if target == END:
        return len(plan.tasks) - 1
    ids = [task.id for task in plan.tasks]
    if target in ids:
        return ids.index(target)
    in_phase = [i for i, task in enumerate(plan.tasks) if task.phase == target]
    if not in_phase:
        raise _unknown(plan, target, END)
    return in_phase[-1]


def _unknown(plan: Plan, target: str, place: str) -> UsageError:
    known = [task.id for task in plan.tasks] + [phase.id for phase in plan.phases] + [place]
    return UsageError(
        f"The plan {plan.id} has no task or phase {target}.",
        state="Nothing was changed.",
        do=suggestion(target, known),
    )
