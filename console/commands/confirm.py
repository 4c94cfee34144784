"""``pgferry confirm``: a person's answer to a gate, and the typed confirmation of a step with no way back."""

from __future__ import annotations

import sys

from console.commands.operate import out, the_plan
from console.commands.settings import Settings
from console.commands.world import JournalWorld
from console.errors import Refused, UsageError
from console.headless.words import safe
from console.journal.state import TaskState, TaskStatus, Verb
from console.plan.model import Kind, Plan, Task


def confirm(settings: Settings, task_id: str, *, typed: str, yes: bool) -> int:
    """Answer the gate ``task_id``, or begin a purge; what it means is said first, and asked for on a terminal.

    Elsewhere a gate needs ``yes`` and a purge the database's name in ``typed``. Raises UsageError for a task that
    waits for nobody, Refused where it was not confirmed.
    """
    plan = the_plan(settings)
    task = _asks_a_person(plan, task_id)
    world = JournalWorld(settings, plan)
    try:
        state = world.state()
        standing = next((one for one in state.tasks if one.id == task.id), None)
        if standing is not None and standing.status in (TaskStatus.COMPLETED, TaskStatus.BEFORE):
            raise Refused(f"{task.id} is done already.", state="Nothing was changed.")
        if task.kind is Kind.PURGE:
            name = state.target.database
            _say_what(f"There is NO WAY BACK from {task.id}, {task.title}: {task.irreversible}")
            if (typed or _answer(f"To do it, type the database's name, {name}: ")) != name:
                raise Refused("It was not confirmed.", state="Nothing was changed.", do=_how(task, name))
            receipt = world.send(Verb.PURGE, task=task.id, typed=name)
        else:
            _say_what(_waits(task, standing))
            if not yes and _answer("Is that so? Type yes: ").lower() not in ("y", "yes"):
                raise Refused("It was not confirmed.", state="Nothing was changed.", do=_how(task, ""))
            receipt = world.send(Verb.CONFIRM, task=task.id)
        if not receipt.accepted:
            raise Refused(receipt.text)
        out(receipt.text)
        return 0
    finally:
        world.close()


def _asks_a_person(plan: Plan, task_id: str) -> Task:
    """The task. Raises UsageError where it is none that a person confirms."""
    asking = [task for task in plan.tasks if task.kind in (Kind.GATE, Kind.PURGE)]
    for task in asking:
        if task.id == task_id:
            return task
    known = f"These do: {', '.join(task.id for task in asking)}." if asking else "No task of this plan does."
    raise UsageError(f"{task_id} is no task that waits for a person.", do=known)


def _waits(task: Task, standing: TaskState | None) -> str:
    early = "" if standing and standing.status is TaskStatus.BLOCKED else " (the run has not come to it yet)"
    return f"{task.id}, {task.title}{early}: {task.question}"


def _how(task: Task, name: str) -> str:
    if name:
        return f"Type {name} when asked, or say --typed {name}."
    return "Type yes when asked, or say --yes."


def _say_what(text: str) -> None:
    print(safe(text), file=sys.stderr)


def _answer(prompt: str) -> str:
    """What a person types; empty without a terminal. The prompt goes to stderr: stdout is for results."""
    if not sys.stdin.isatty():
        return ""
    print(safe(prompt), end=" ", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip()
