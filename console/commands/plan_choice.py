"""The part of a plan that a reviewer asked for: some tasks, a phase, only what has hazards."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches

from console.errors import UsageError
from console.plan.model import Plan, Task
from console.sql.model import Hazard, Statement, TaskPreview


def chosen(plan: Plan, tasks: Sequence[str], phase: str) -> Plan:
    """The plan with only these tasks, or this phase's; all of it where neither is named. Raises UsageError."""
    ids = [task.id for task in plan.tasks]
    for name in tasks:
        if name not in ids:
            raise UsageError(f"The plan has no task {name}{_near(name, ids)}.")
    phases = [one.id for one in plan.phases]
    if phase and phase not in phases:
        raise UsageError(f"The plan has no phase {phase}: {', '.join(phases)}.")
    if not tasks and not phase:
        return plan
    wanted = set(tasks) | {task.id for one in plan.phases if one.id == phase for task in one.tasks}
    return _kept(plan, lambda task: task.id in wanted)


def with_hazards_only(plan: Plan, previews: Mapping[str, TaskPreview]) -> tuple[Plan, dict[str, TaskPreview]]:
    """The tasks that have hazards, each with only the statements that do."""
    kept = {
        id_: replace(one, up=_hurting(one.up), down=_hurting(one.down))
        for id_, one in previews.items()
        if _counts(one.hazards) or _hurting((*one.up, *one.down))
    }
    return _kept(plan, lambda task: task.id in kept), kept


def _hurting(statements: Sequence[Statement]) -> tuple[Statement, ...]:
    return tuple(one for one in statements if _counts(one.hazards))


def _counts(hazards: Sequence[Hazard]) -> bool:
    return any(hazard.level == "hurts" for hazard in hazards)


def _kept(plan: Plan, wanted: Callable[[Task], bool]) -> Plan:
    phases = (replace(one, tasks=tuple(task for task in one.tasks if wanted(task))) for one in plan.phases)
    return replace(plan, phases=tuple(phase for phase in phases if phase.tasks))


def _near(name: str, ids: list[str]) -> str:
    like = get_close_matches(name, ids, 1)
    return f"; did you mean {like[0]}?" if like else ""
