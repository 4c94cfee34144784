"""What every drawing function may know: the run's state and what was fetched, all immutable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from console.journal.state import OnDetach, RollbackPreview, RunState, RunStatus, TaskState, TaskStatus
from console.plan.model import Doc, Plan, Task
from console.sql.model import TaskPreview
from console.tui.glyphs import UNICODE, Glyphs

ASKS_FOR_A_PERSON = ("gate", "purge")  # kinds of tasks


@dataclass(frozen=True, slots=True)
class Missing:
    """Something asked for that is not there: still being fetched (no text), or an error sentence."""

    text: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """One moment of the console. ``stale`` is the error since which ``state`` is no longer fresh, else empty."""

    state: RunState | None = None
    plan: Plan | None = None
    can_control: bool = False
    dry_run: bool = False
    glyphs: Glyphs = UNICODE
    stale: str = ""
    previews: Mapping[str, TaskPreview | Missing] = field(default_factory=dict)
    rollbacks: Mapping[str, RollbackPreview | Missing] = field(default_factory=dict)
    docs: tuple[Doc, ...] | Missing = ()
    offer: str = ""  # who has control and how to take it, where this console may
    on_detach: OnDetach = OnDetach.GO_ON  # what becomes of the run when the console in control goes
    stays: bool = True  # the server outlives the console; that of the demo does not
    replay: str = ""  # where a replay stands; empty where the run is now

    def task(self, task_id: str) -> TaskState | None:
        """The state of a task, None when the run does not know it."""
        tasks = self.state.tasks if self.state else ()
        return next((task for task in tasks if task.id == task_id), None)

    def planned(self, task_id: str) -> Task | None:
        """The task in the plan on disk, None without one."""
        tasks = self.plan.tasks if self.plan else ()
        return next((task for task in tasks if task.id == task_id), None)


ACTIVE = (RunStatus.RUNNING, RunStatus.PAUSING, RunStatus.ROLLING_BACK)


def is_active(state: RunState | None) -> bool:
    """Whether a runner should be at work now."""
    return state is not None and state.status in ACTIVE


def asks_for_a_person(state: RunState) -> bool:
    """Whether a gate or a purge waits for somebody to confirm it."""
    task = state.current
    return task is not None and task.status is TaskStatus.BLOCKED and task.kind in ASKS_FOR_A_PERSON


def can_resume(state: RunState) -> bool:
    """Whether the run stands where it can go on, forward or back, as it was told before."""
    return state.status in (RunStatus.PAUSED, RunStatus.PAUSING, RunStatus.FAILED) or runner_lost(state)


def runner_lost(state: RunState) -> bool:
    """Whether the run says it is at work but nobody holds its lease."""
    return is_active(state) and (state.lease is None or not state.lease.alive)


def at_work(state: RunState | None) -> bool:
    """Whether a runner holds the run and works at it: only then is there a rate now, and an end to come."""
    return state is not None and is_active(state) and not runner_lost(state)


def runner_frozen(state: RunState) -> bool:
    """Whether its runner does not answer but still holds the run, so that another one has to take it over."""
    return runner_lost(state) and state.lease is not None and state.lease.held
