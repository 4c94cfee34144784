"""A rollback at work, stopped or done: what was taken back, what is next, and how it goes on from there."""

from __future__ import annotations

from rich.text import Text

from console.journal.state import Event, RunState, RunStatus, TaskState, TaskStatus
from console.text import plain
from console.tui.draw import numbers
from console.tui.draw.bars import bar
from console.tui.draw.base import cell, ends, fill, line, rule, scrolled, wrap
from console.tui.facts import Facts, runner_lost

ASKED = "roll back to "  # how the operator's command stands in the log
TOOK = "taken back in "
LOST = "lost, as accepted: "
_WORK = (RunStatus.ROLLING_BACK, RunStatus.PAUSING)
_STANDS = (TaskStatus.COMPLETED, TaskStatus.IN_PROGRESS, TaskStatus.FAILED, TaskStatus.BLOCKED, TaskStatus.BEFORE)


def is_going(state: RunState | None) -> bool:
    """Whether a rollback is at work now, or should be."""
    return state is not None and bool(state.back_to) and state.status in _WORK


def course(state: RunState) -> tuple[list[TaskState], list[TaskState]]:
    """(tasks that this rollback took back, tasks it has yet to take back), in the order in which it goes."""
    ids = [task.id for task in state.tasks]
    phases = [task.phase_id for task in state.tasks]
    named = state.back_to in ids
    first = ids.index(state.back_to) if named else phases.index(state.back_to) if state.back_to in phases else 0
    began = next((event.at for event in reversed(state.events) if event.text.startswith(ASKED)), None)
    back = [task for task in state.tasks[first:] if task.status is TaskStatus.ROLLED_BACK]
    done = [task for task in back if began is None or (task.finished_at and task.finished_at >= began)]
    left = [task for task in state.tasks[first:] if task.status in _STANDS]
    left = [task for task in left if named or task.status is not TaskStatus.BEFORE]
    return done[::-1], left[::-1]


def progress(facts: Facts, size: tuple[int, int]) -> list[Text]:
    """The panel while a rollback is at work: step by step, and how to stop it."""
    width, height = size
    state = facts.state
    assert state is not None
    done, left = course(state)
    total = len(done) + len(left)
    took = _took(state)
    listed = [_row(task, "ok", facts, took.get(task.id, ""), width) for task in done]
    listed += [_row(task, ">>" if not place else "..", facts, "", width) for place, task in enumerate(left)]
    now = _now(state, left, width)
    foot = [rule(facts.glyphs, width), *_how_to_stop(facts, done, left, width)]
    head = [
        ends(
            line((" Rolling back to ", "title"), _goal(state)),
            line((f"{len(done)} of {total} taken back ", "")),
            width,
        ),
        rule(facts.glyphs, width),
        line(" ", bar(len(done) / total if total else 1.0, width - 3, facts.glyphs, "warn")),
    ]
    room = max(height - len(head) - len(now) - len(foot), 1)
    top = scrolled(0, min(len(done) + room // 2, max(len(listed) - 1, 0)), len(listed), room)
    return fill([*head, *fill(listed[top : top + room], width, room), *now, *foot], width, height)


def _goal(state: RunState) -> str:
    return "the start" if state.back_to == "start" else f"just before {plain(state.back_to)}"


def _row(task: TaskState, sign: str, facts: Facts, took: str, width: int) -> Text:
    glyphs = facts.glyphs
    shown = {"ok": glyphs.done, ">>": glyphs.running, "..": glyphs.pending}[sign]
    style = {"ok": "ok", ">>": "run", "..": "dim"}[sign]
    at_work = "stopped here" if facts.state and runner_lost(facts.state) else "at work"
    words = {"ok": "taken back", ">>": at_work, "..": ""}[sign]
    left = line(" ", (shown, style), " ", cell(task.id, 9, "accent" if sign != ".." else "dim"), " ", task.title)
    return ends(left, line((words, style), (f" {took}" if took else "", "dim"), " "), width)


def _now(state: RunState, left: list[TaskState], width: int) -> list[Text]:
    """What the step at work does: its note, its last line in the log."""
    if not left:
        return []
    last = next((event for event in reversed(state.events) if event.task_id == left[0].id), None)
    note = left[0].note if "compared" in left[0].note else ""  # others are of the way forward
    if left[0].note.startswith("quiet for"):
        note = f"waits until applications have left the new tables: {left[0].note}"
    words = [item for item in (last.text if last else "", note) if item]
    return [line(" ", item) for item in wrap("; ".join(words), width - 2, "", limit=2)]


def _took(state: RunState) -> dict[str, str]:
    return {e.task_id: e.text.removeprefix(TOOK) for e in state.events if e.text.startswith(TOOK)}


def _how_to_stop(facts: Facts, done: list[TaskState], left: list[TaskState], width: int) -> list[Text]:
    state = facts.state
    assert state is not None
    if runner_lost(state):
        do = "space starts another (asks)." if facts.can_control else "An operator can start another."
        return [line(" ", ("No runner is at work; what was taken back stays so. ", "bad"), do)]
    if state.status is RunStatus.PAUSING:
        return [line(" ", ("Pausing: ", "warn"), "it stops after the batch or statement that runs now.")]
    if not facts.can_control:
        return [line(" ", ("This console only reads. What is taken back stays so, whatever happens here.", "dim"))]
    words = "stops it after this batch or statement: what is taken back stays so, the rest stands as it was."
    return [line(" ", ("space", "key"), " ", item) if not place else line("   ", item)
            for place, item in enumerate(wrap(words, width - 10, "dim", limit=2))]  # fmt: skip


def since_asked(state: RunState) -> tuple[Event, ...]:
    """The log from the moment at which the last rollback was asked for; all of it where that is further back."""
    place = next((n for n in range(len(state.events) - 1, -1, -1) if state.events[n].text.startswith(ASKED)), 0)
    return state.events[place:]


def ended(state: RunState) -> tuple[str, str]:
    """(how the last rollback ended or stopped, style), empty where the run went forward since."""
    if not state.back_to:
        return "", ""
    done, left = course(state)
    where = f"{len(done)} {'step' if len(done) == 1 else 'steps'} taken back"
    if state.status is RunStatus.FAILED and left:
        why = state.error.removeprefix(f"rolling back {left[0].id}: ")
        return f"Rolling back to {_goal(state)} stopped at {left[0].id}: {where}, {len(left)} to go. {why}", "bad"
    if state.status is RunStatus.PAUSED and left:
        return f"Rolling back to {_goal(state)} is paused: {where}, {len(left)} to go; {left[0].id} is next.", "warn"
    if state.status not in (RunStatus.WAITING, RunStatus.ROLLED_BACK) or left:
        return "", ""
    events = since_asked(state)
    lost = [e.text[e.text.index(LOST) + len(LOST) :] for e in events if LOST in e.text]
    seconds = (events[-1].at - events[0].at).total_seconds() if events else 0.0
    what = f"Lost, as accepted: {'; '.join(lost)}." if lost else "Nothing was lost."
    took = f" in {numbers.duration(seconds)}" if events and events[0].text.startswith(ASKED) else ""
    at = numbers.clock(events[-1].at) if events else ""
    return f"Rolled back to {_goal(state)} at {at}: {where}{took}. {what}", "bad" if lost else "ok"


def how_on(facts: Facts) -> str:
    """What an operator may do after a rollback ended or stopped."""
    state = facts.state
    if state is None or not state.back_to or not facts.can_control:
        return ""
    if state.status in (RunStatus.FAILED, RunStatus.PAUSED):
        return "space goes on with it; enter goes to the chosen point; s goes forward again."
    return "s goes forward again from there."


def how_on_tasks(facts: Facts) -> str:
    """The same beside the tasks."""
    state = facts.state
    if state is None or not facts.can_control:
        return ""
    if state.status in (RunStatus.FAILED, RunStatus.PAUSED):
        return "space goes on with it; u chooses a point again; s goes forward again."
    return "s goes forward again; u goes further back."


def ended_lines(facts: Facts, width: int) -> list[Text]:
    """The same for the panel: at most five lines."""
    if facts.state is None:
        return []
    words, style = ended(facts.state)
    if not words:
        return []
    do = how_on(facts)
    return [line(" ", item) for item in wrap(words, width - 2, style, limit=4)] + (
        [line(" ", item) for item in wrap(do, width - 2, "dim", limit=1)] if do else []
    )
