"""The lines that never change place: the environment band, the phase strip, the notice line and the footer."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from console.journal.state import OnDetach, RunState, RunStatus, TaskState, TaskStatus
from console.text import plain, shorten
from console.tui.draw import numbers
from console.tui.draw.base import Part, ends, fit, line, rule, wrap
from console.tui.facts import Facts, is_active, runner_lost
from console.tui.glyphs import Glyphs

STATUS_STYLE = {
    TaskStatus.PENDING: "dim",
    TaskStatus.IN_PROGRESS: "run",
    TaskStatus.COMPLETED: "ok",
    TaskStatus.BLOCKED: "warn",
    TaskStatus.DEFERRED: "dim",
    TaskStatus.FAILED: "bad",
    TaskStatus.ROLLED_BACK: "warn",
    TaskStatus.BEFORE: "dim",
}
RUN_STYLE = {
    RunStatus.RUNNING: "run",
    RunStatus.PAUSING: "warn",
    RunStatus.PAUSED: "warn",
    RunStatus.WAITING: "warn",
    RunStatus.FAILED: "bad",
    RunStatus.ROLLING_BACK: "warn",
    RunStatus.ROLLED_BACK: "warn",
    RunStatus.DONE: "ok",
    RunStatus.NEW: "dim",
}


def mode(facts: Facts) -> tuple[str, str]:
    """What this console may do: long and short words."""
    if facts.replay:
        return facts.replay, facts.replay
    if facts.dry_run:
        return "dry run: nothing can be written", "dry run"
    if not facts.can_control:
        return "reading", "reading"
    return (
        ("control, leaving pauses", "control/pauses") if facts.on_detach is OnDetach.PAUSE else ("control", "control")
    )


def band(facts: Facts, width: int) -> Text:
    """Line 1: which database, as whom, in which mode, the server's clock. Where room lacks, lesser words go."""
    state = facts.state
    if state is None:
        return fit(line((" pgferry ", "band.word"), "  ", ("reading the run..", "dim")), width)
    target = state.target
    environment = plain(target.environment).upper() or "PROD"
    known = environment if environment in ("PROD", "STAGING", "DEV", "DEMO") else "PROD"
    right = _clock(facts, state)
    style = f"band.{known.lower()}" if target.port else "band.word"  # without a server there is nothing to endanger
    word = line((f" {environment} ", style), "  ")
    where = plain(f"{target.role}@{target.host}:{target.port}/{target.database}" if target.port else target.database)
    server, run = f"pg {target.server_version}", f"run {state.run_id}" if state.run_id else "no run yet"
    long, brief = mode(facts)
    left = line()
    for words in (
        (server, state.operator, run, long),
        (server, run, long),
        (server, state.operator, run, brief),
        (server, run, brief),
        (run, brief),
        (brief,),
    ):
        tail = "".join(f"  {item}" for item in words[:-1] if item)
        left = line(word, where, tail, "  ", (words[-1], "band.control" if facts.can_control else "band.quiet"))
        if left.cell_len + right.cell_len + 1 <= width:
            return ends(left, right, width)
    room = width - word.cell_len - right.cell_len - len(brief) - 3
    return ends(line(word, shorten(where, room), "  ", brief), right, width)


def _clock(facts: Facts, state: RunState) -> Text:
    if facts.stale:
        return line((f"stale since {numbers.clock(state.server_now)} ", "bad"))
    now = numbers.clock(state.server_now)
    return line(f"{now} " if is_active(state) or facts.replay else f"{now[:5]}    ")


def phases(state: RunState) -> list[tuple[str, str, list[TaskState]]]:
    """Phases in order: id, title, tasks."""
    found: dict[str, tuple[str, str, list[TaskState]]] = {}
    for task in state.tasks:
        found.setdefault(task.phase_id, (task.phase_id, task.phase_title, []))[2].append(task)
    return list(found.values())


def phase_status(tasks: Sequence[TaskState]) -> TaskStatus:
    """The status of a phase: the worst news of its tasks, else how far it is."""
    statuses = {task.status for task in tasks}
    for status in (TaskStatus.FAILED, TaskStatus.BLOCKED, TaskStatus.IN_PROGRESS):
        if status in statuses:
            return status
    if statuses <= {TaskStatus.COMPLETED, TaskStatus.DEFERRED, TaskStatus.BEFORE}:
        return TaskStatus.COMPLETED
    if TaskStatus.COMPLETED in statuses:
        return TaskStatus.IN_PROGRESS
    return TaskStatus.ROLLED_BACK if TaskStatus.ROLLED_BACK in statuses else TaskStatus.PENDING


def run_words(state: RunState) -> tuple[str, str]:
    """The run's status in words, and its style."""
    if runner_lost(state):
        return f"{state.status.value}, no runner", "bad"
    waits = state.current is not None and state.current.status is TaskStatus.BLOCKED
    words = {
        RunStatus.NEW: "not started",
        RunStatus.WAITING: "waiting for you" if waits else "stopped",
        RunStatus.PAUSING: "pausing after this batch",
    }.get(state.status, state.status.value)
    return words, RUN_STYLE[state.status]


def phase_strip(state: RunState, width: int, glyphs: Glyphs) -> Text:
    """Line 2: every phase with its progress, and how the run stands. Titles shrink until it fits."""
    words, style = run_words(state)
    status = line((f"{words} ", style))
    groups = phases(state)
    strip = line()
    for room in (99, 14, 10, 7, 4, 0):
        strip = _strip(groups, room, glyphs)
        if strip.cell_len + status.cell_len + 1 <= width:
            break
    return ends(strip, status, width)


def _strip(groups: list[tuple[str, str, list[TaskState]]], room: int, glyphs: Glyphs) -> Text:
    parts: list[Part] = [" "]
    for number, (phase_id, title, tasks) in enumerate(groups):
        status = phase_status(tasks)
        done = sum(task.status is TaskStatus.COMPLETED for task in tasks)
        current = status not in (TaskStatus.COMPLETED, TaskStatus.PENDING)
        left = any(task.status is TaskStatus.DEFERRED for task in tasks)  # a purge that nobody asked for
        share = f"{done}/{len(tasks)}" if current or left else glyphs.status(status)
        name = phase_id if not room or title == phase_id else f"{phase_id} {_cut(plain(title), room)}"
        if number:
            parts.append((" > ", "dim"))
        parts += [(name, "title" if current else ""), " ", (share, STATUS_STYLE[status])]
    return line(*parts)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "."


def notice_line(glyphs: Glyphs, width: int, notice: tuple[str, str], label: str = "") -> Text:
    """The line above the footer: a rule, or what there is to say as (text, style)."""
    text, style = notice
    return fit(line(" ", (text, style)), width) if text else rule(glyphs, width, label)


def footer(keys: Sequence[tuple[str, str]], width: int) -> Text:
    """The last line: keys and words; where they do not fit, keys before the last are left out."""
    shown = list(keys)
    while True:
        parts: list[Part] = [" "]
        for key, word in shown:
            parts += [(key, "key"), " ", (word, "dim"), "  "]
        text = line(*parts)
        text.rstrip()
        if text.cell_len <= width or len(shown) < 2:
            return fit(text, width)
        del shown[-2]


def too_small(facts: Facts, width: int, height: int) -> list[Text]:
    """The one line of a terminal too small for the screens."""
    state = facts.state
    words = f"{width}x{height} is too small: 60x16 is needed."
    if state is not None:
        done = sum(task.status is TaskStatus.COMPLETED for task in state.tasks)
        status, _ = run_words(state)
        words = f"{state.target.environment} {status}, {done} of {len(state.own)} tasks. {words}"
    return wrap(words, width)
