"""The task tree: phases and tasks as lines, and everything known of the one under the cursor."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text

from console.journal.state import Progress, RunState, RunStatus, TaskState, TaskStatus
from console.sql.model import TaskPreview
from console.text import plain, visible
from console.tui.draw import numbers
from console.tui.draw.bars import bar
from console.tui.draw.base import cell, clip, ends, heading, joined, line, wrap
from console.tui.draw.frame import STATUS_STYLE, phase_status, phases, run_words
from console.tui.draw.locks import lock_summary
from console.tui.draw.log import event_line
from console.tui.facts import ASKS_FOR_A_PERSON, Facts, Missing, is_active, runner_lost
from console.tui.glyphs import Glyphs

QUIET = (TaskStatus.COMPLETED, TaskStatus.BEFORE, TaskStatus.PENDING)  # their title says more than what is noted
OWN_LOG = 6  # lines: each new one moves all of them, and every moved line costs bytes


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the tree: a phase (``task`` is None) or a task."""

    key: str
    phase_id: str
    title: str
    tasks: tuple[TaskState, ...]
    task: TaskState | None = None


def rows(state: RunState, unfolded: Collection[str], words: str = "") -> list[Row]:
    """The tree's lines: every phase, the tasks of unfolded ones; with a filter, the tasks that contain it."""
    found: list[Row] = []
    wanted = words.lower()
    for phase_id, title, tasks in phases(state):
        inside = [task for task in tasks if wanted in f"{task.id} {task.title} {task.kind} {task.status}".lower()]
        if wanted and not inside:
            continue
        found.append(Row(f"phase {phase_id}", phase_id, title, tuple(tasks)))
        if wanted or phase_id in unfolded:
            found += [Row(task.id, phase_id, title, tuple(tasks), task) for task in inside]
    return found


def row_line(row: Row, state: RunState, width: int, glyphs: Glyphs, selected: bool) -> Text:
    """A line of the tree; the chosen one has a mark at its left and the cursor's style."""
    mark = (glyphs.cursor, "mark") if selected else " "
    if row.task is None:
        content = _phase_line(row, width - 1, glyphs)
    else:
        content = _task_line(row.task, state, width - 1, glyphs)
    text = line(mark, content)
    if selected:
        text.stylize("cursor", 1)
    return text


def _phase_line(row: Row, width: int, glyphs: Glyphs) -> Text:
    status = phase_status(row.tasks)
    done = sum(task.status is TaskStatus.COMPLETED for task in row.tasks)
    spent = sum(task.seconds for task in row.tasks)
    planned = sum(task.estimate_minutes for task in row.tasks) * 60
    name = row.phase_id if plain(row.title) == row.phase_id else f"{row.phase_id} {row.title}"
    left = line((glyphs.status(status), STATUS_STYLE[status]), " ", (name, "title"))
    count = line((f"{done} of {len(row.tasks)}", "dim" if not done else ""))
    used = f"{numbers.duration(spent)} of " if spent else ""
    return ends(left, line(count, cell(f"{used}{numbers.duration(planned)} est", 25, "dim", right=True)), width)


def _task_line(task: TaskState, state: RunState, width: int, glyphs: Glyphs) -> Text:
    style = STATUS_STYLE[task.status]
    name_style = {"run": "title", "bad": "bad", "dim": ""}.get(style, "")
    left = line("   ", (glyphs.status(task.status), style), " ", (task.id, name_style), " ", (task.title, name_style))
    words, note_style = note(task, state, width - 17)
    times = _times(task.seconds, task.estimate_minutes * 60)
    room = width - 17 - left.cell_len - 2  # beside the whole title
    if task.status in QUIET and cell_len(words) > room:
        words = words if room >= 10 else ""
    if not words and len(task.status.value) <= room:  # the sign's word, where it costs nothing
        words, note_style = task.status.value, "dim"
    if not words and not task.seconds:  # the title may have the empty place of the time spent
        return ends(left, times[7:], width)
    words = clip(plain(words), room if task.status in QUIET else max((width - 17) // 2 - 2, 8))
    return ends(ends(left, line((words, note_style)), width - 17) if words else left, times, width)


def _times(spent: float, planned: float) -> Text:
    return line(
        cell(numbers.duration(spent) if spent else "", 7, right=True),
        cell(f"({numbers.duration(planned)})", 9, "dim", right=True),
    )


def note(task: TaskState, state: RunState, room: int) -> tuple[str, str]:
    """The short fact beside a task, and its style; shorter where ``room`` (cells with the title) is small."""
    match task.status:
        case TaskStatus.IN_PROGRESS:
            progress = next((item for item in state.progress if item.task_id == task.id), None)
            if progress is None:
                return task.note or "running", "run"
            if progress.finished:
                return "finishing", "run"
            eta = numbers.eta(progress.eta_low_s, progress.eta_high_s) if room >= 56 else ""
            if runner_lost(state):
                eta = "no runner"
            elif not is_active(state):
                eta = run_words(state)[0]
            return f"{numbers.percent(progress.share)} {eta}".strip(), "run"
        case TaskStatus.BLOCKED:
            return ("waits for you" if task.kind in ASKS_FOR_A_PERSON else f"waits: {task.blocked_on}"), "warn"
        case TaskStatus.FAILED | TaskStatus.DEFERRED | TaskStatus.ROLLED_BACK:
            return task.status.value, STATUS_STYLE[task.status]
        case TaskStatus.PENDING if task.irreversible:
            return "no way back", "warn"
        case TaskStatus.PENDING:
            current = state.current
            return (f"waits for {current.id}" if current and current.id in task.depends else ""), "dim"
        case _:
            return task.note, "dim"


def summary(state: RunState) -> str:
    """The whole tree in a few words: what is done, time spent against the estimate."""
    done = sum(task.status is TaskStatus.COMPLETED for task in state.tasks)
    spent = sum(task.seconds for task in state.tasks)
    planned = sum(task.estimate_minutes for task in state.tasks) * 60
    used = f"{numbers.duration(spent)} of " if spent else ""
    return f"{done} of {len(state.own)} tasks, {used}{numbers.duration(planned)} estimated"


def phase_detail(row: Row, facts: Facts, width: int) -> list[Text]:
    """The right side for a phase: its aim and how far it is."""
    lines = [line((f"Phase {row.phase_id}  {row.title}", "title"))]
    phase = next((item for item in facts.plan.phases if item.id == row.phase_id), None) if facts.plan else None
    if phase is not None:
        lines.append(joined((f"risk {phase.risk}", phase.schedule), facts.glyphs))
        lines += [line(), *wrap(phase.goal, width)]
        if phase.doc:
            lines += [line(), line(("d", "key"), (f" opens its page, {phase.doc}", "dim"))]
    lines.append(line())
    for status in TaskStatus:
        count = sum(task.status is status for task in row.tasks)
        if count:
            lines.append(line((facts.glyphs.status(status), STATUS_STYLE[status]), f" {count} {status.value}"))
    return lines


def task_detail(task: TaskState, facts: Facts, width: int, height: int) -> list[Text]:
    """The right side for a task: its state, its progress, what it runs, its checks and its part of the log."""
    state, glyphs = facts.state, facts.glyphs
    if state is None:
        return []
    lines = _state_lines(task, facts, width)
    for progress in state.progress:
        if progress.task_id == task.id:
            lines += [heading(glyphs, width, progress.what), *_progress_lines(progress, width, glyphs)]
    lines += _preview_lines(facts.previews.get(task.id), task.kind, width, glyphs, max(height // 3, 4))
    results = [check for check in state.checks if check.task_id == task.id]
    if results:
        lines.append(heading(glyphs, width, "checks"))
    for check in results[:4]:
        word = ("ok", "ok") if check.ok else ("!!", "bad")
        lines.append(ends(line(word, " ", check.title), line((f"{check.actual}", "" if check.ok else "bad")), width))
    events = [event for event in state.events if event.task_id == task.id]
    room = min(height - len(lines) - 1, OWN_LOG)
    if events and room > 0:
        lines.append(heading(glyphs, width, "log of this task"))
        lines += [event_line(event, width, own=True) for event in events[-room:]]
    return lines


def _state_lines(task: TaskState, facts: Facts, width: int) -> list[Text]:
    glyphs = facts.glyphs
    lines = wrap(f"{task.id}  {task.title}", width, "title", limit=2)
    status = (f"{glyphs.status(task.status)} {task.status}", STATUS_STYLE[task.status])
    tries = f"attempt {task.attempts}" if task.attempts > 1 else ""
    by = f"by {task.operator}" if task.operator else ""
    lines.append(joined([part for part in (status, task.kind, by, tries) if part], glyphs))
    began = f"began {numbers.clock(task.started_at)}" if task.started_at else ""
    took = f"{numbers.duration(task.seconds)} so far" if task.status is TaskStatus.IN_PROGRESS else ""
    took = took or (f"took {numbers.duration(task.seconds)}" if task.seconds else "")
    estimate = f"estimated {numbers.duration(task.estimate_minutes * 60)}"
    lines.append(joined([part for part in (began, took, estimate) if part], glyphs))
    if task.depends:
        lines.append(line(("after ", "dim"), ", ".join(task.depends)))
    if task.error:
        lines += wrap(task.error, width, "bad", limit=3)
    elif task.blocked_on:
        lines += wrap(f"waits: {task.blocked_on}", width, "warn", limit=3)
    if task.irreversible:
        lines += wrap(f"no way back: {task.irreversible}", width, "warn", limit=2)
    planned = facts.planned(task.id)
    if planned and planned.guards:
        lines.append(line(("guarded by ", "dim"), ", ".join(planned.guards)))
    if planned and planned.deliverables:
        lines += wrap(f"delivers {', '.join(planned.deliverables)}", width, limit=2)
    return lines


def _progress_lines(progress: Progress, width: int, glyphs: Glyphs) -> list[Text]:
    left = "" if progress.finished else numbers.eta(progress.eta_low_s, progress.eta_high_s)
    return [
        line(bar(progress.share, max(width - 8, 10), glyphs), cell(numbers.percent(progress.share), 7, right=True)),
        joined(
            [
                f"{numbers.count(progress.rows_done)} of {numbers.count(progress.rows_total)} rows",
                *([left] if left else ["finished"]),
            ],
            glyphs,
        ),
    ]


def _preview_lines(
    preview: TaskPreview | Missing | None, kind: str, width: int, glyphs: Glyphs, limit: int
) -> list[Text]:
    if preview is None or isinstance(preview, Missing):
        words = preview.text if preview else ""
        return [heading(glyphs, width, "what it runs"), *wrap(words or "reading..", width, "dim", limit=2)]
    origin = f"what it runs: {preview.file}" if preview.file else "what it runs"
    lines = [heading(glyphs, width, origin)]
    texts = preview.text.splitlines()
    for text in texts[:limit]:
        lines += wrap(text, width, "dim", limit=3 if len(texts) < 3 else 2)
    for number, statement in enumerate(preview.up[:limit], start=1):
        badge = lock_summary(statement, short=True)
        lines.append(ends(line((f"{number} ", "dim"), visible(statement.sql)), badge, width))
    if len(preview.up) > limit:
        lines.append(line((f"and {len(preview.up) - limit} more: 2 shows all", "dim")))
    if not preview.no_way_back:
        undo = "nothing to undo" if kind in ("check", "gate", "drain") else "the engine undoes it: u shows how"
        words = preview.down_file or ("made from the mapping" if preview.down else undo)
        lines.append(line(("way back ", "dim"), words))
    return lines


def first_words(facts: Facts) -> Sequence[str]:
    """What to do on a run that has not begun, or that waits; empty when nothing needs saying."""
    state = facts.state
    if state is None or state.status is not RunStatus.NEW:
        return ()
    phase = next(iter(phases(state)), ("1", "", []))
    name = f"phase {phase[0]}" + (f", {plain(phase[1])}" if phase[1] and phase[1] != phase[0] else "")
    if facts.dry_run:
        return (
            "Dry run: the plan as the server would run it; nothing can be written.",
            "enter reads a task: its statements, locks, way back.  d the plan's pages.",
            "There, w shows the way back. For the review: pgferry plan prints all of it.",
        )
    if not facts.can_control:
        take = ("T takes control, to start it from here; it asks first.",) if "T takes" in facts.offer else ()
        return (
            "This run has not started, and this console only reads.",
            *take,
            "enter reads a task: its statements, locks, way back.  d the plan's pages.",
        )
    closing = "Closing this never stops the run." if facts.stays else "Closing this ends the demo."
    return (
        f"Nothing is changed yet. Press s to start {name}; it asks how far.",
        "enter reads a task first: its statements, locks, way back.  d the plan's pages.",
        f"Later: space pauses, u shows the way back. {closing}",
    )
