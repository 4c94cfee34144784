"""The live strip: what runs now, what holds it back, who waits, what the applications feel."""

from __future__ import annotations

from rich.text import Text

from console.journal.state import (
    Latency,
    Progress,
    RunState,
    RunStatus,
    Session,
    Signal,
    StatementState,
    TaskStatus,
    Traffic,
)
from console.text import plain, shorten
from console.tui.draw import numbers
from console.tui.draw.bars import bar, sparkline
from console.tui.draw.base import Part, cell, ends, fit, joined, line, wrap
from console.tui.draw.frame import run_words
from console.tui.draw.going_back import course, ended, how_on_tasks, is_going
from console.tui.draw.lost import lost_words
from console.tui.draw.tasks import first_words, note
from console.tui.facts import ASKS_FOR_A_PERSON, Facts, is_active, runner_frozen, runner_lost
from console.tui.glyphs import Glyphs

BLOCKS = "blocks us"
WAITS = "waits behind us"
USES_OLD = "uses the old table"
BLOCKS_BLOCKER = "blocks a blocker"
OURS = "our statement"
BLOCKS_OTHERS = "blocks others"
WAITS_TOO = "waits"
USES_NEW = "uses the new table"
USES_TABLES = "uses both tables"


def strip(facts: Facts, width: int, height: int) -> list[Text]:
    """``height`` lines (4 or more): the work, its figures, what holds it back, the applications."""
    state = facts.state
    if state is None:
        return []
    words = first_words(facts)
    if words:
        room = height - (1 if state.traffic else 0)
        lines = [line(" ", item) for item in words][:room]
    else:
        lines = _work(state, facts, width)
    held = fit(held_back(state, width - 1), width)
    matters = is_active(state) or any(item.role in (BLOCKS, WAITS) for item in state.sessions)
    if not words and matters and len(lines) < height - (1 if state.traffic else 0):
        lines.append(held)
    if state.traffic is not None:
        lines = lines[: height - 1]
        lines += [line()] * (height - 1 - len(lines))
        lines.append(line(" ", traffic_line(state.traffic, facts.glyphs, width)))
    return lines


def _work(state: RunState, facts: Facts, width: int) -> list[Text]:
    """Two lines (three for an error) about what runs, or why nothing does."""
    if runner_lost(state):
        return _lost(state, facts, width)
    if is_going(state):
        return _going_back(state, facts, width)
    back, style = ended(state)
    if back:
        return [line(" ", item) for item in wrap(back, width - 2, style, limit=2)] + [
            line(" ", (how_on_tasks(facts), "dim"))
        ]
    error = state.error or (state.current.error if state.current else "")
    if state.status is RunStatus.FAILED and error:
        current_id = state.current.id if state.current else ""
        found = any(item.task_id == current_id and item.severity == "error" and not item.ok for item in state.checks)
        look = "4 shows what was found; " if found else ""
        do = f"{look}space tries again from here; u shows the way back."
        if not facts.can_control:
            do = f"{look}the run stands still." if look else "The run stands still."
        return [line(" ", item) for item in wrap(error, width - 2, "bad", limit=2)] + [line(" ", (do, "dim"))]
    current = state.current
    running = [item for item in state.progress if not item.finished]
    if running and (current is None or running[0].task_id == current.id):
        if is_active(state):
            return progress_lines(running[0], width, facts.glyphs)
        how = "space resumes it." if facts.can_control and state.status is RunStatus.PAUSED else ""
        stands = line(
            " ", (f"{run_words(state)[0].capitalize()} in mid copy. ", "warn"), "Every row copied is kept. ", how
        )
        return [*progress_lines(running[0], width, facts.glyphs, run_words(state)[0])[:2], stands]
    if current is not None and current.blocked_on:
        asks = "c answers it." if current.kind in ASKS_FOR_A_PERSON and facts.can_control else ""
        what = f"{current.id} waits: {current.blocked_on}"
        return [line(" ", (item, "warn")) for item in (*_two(what, width - 2), asks) if item]
    if current is not None:
        said = note(current, state, width)[0]
        lines = [line(" ", (f"{current.id} {current.title}", "title"), (f"  {said}" if said != "running" else ""))]
        last = next((item for item in reversed(state.statements) if item.task_id == current.id), None)
        if last is not None:
            lines.append(statement_line(last, width))
        return lines
    left = [task for task in state.tasks if task.status is TaskStatus.DEFERRED and task.irreversible]
    if state.status is RunStatus.DONE and left:
        how = "c asks for it" if facts.can_control else "an operator decides"
        words = f"Left for you: {left[0].id} {left[0].title}. It has no way back; {how}."
        return [_standing(state, facts), *(line(" ", item) for item in wrap(words, width - 2, "dim", limit=2))]
    return [_standing(state, facts)]


def _lost(state: RunState, facts: Facts, width: int) -> list[Text]:
    lost = lost_words(state)
    if not facts.can_control:
        do = "An operator can go on with another one."
    else:
        do = "space takes it over (asks)." if runner_frozen(state) else "space starts another (asks)."
    said = (wrap(lost.who, width - 2, "bad", limit=2), wrap(f"{do} {lost.in_flight}", width - 2, limit=2))
    return [line(" ", item) for item in (*said[0], *said[1], *wrap(lost.kept, width - 2))][:3]


def _going_back(state: RunState, facts: Facts, width: int) -> list[Text]:
    done, left = course(state)
    share = len(done) / max(len(done) + len(left), 1)
    words = f"{left[0].id} {left[0].title}" if left else "everything is undone"
    how = "space pauses; u shows it step by step." if facts.can_control else "u shows it step by step."
    return [
        ends(
            line(" ", ("Rolling back: ", "warn"), words),
            line((f"{len(done)} of {len(done) + len(left)} taken back ", "")),
            width,
        ),
        line(" ", bar(share, width - 3, facts.glyphs, "warn")),
        line(" ", (how, "dim")),
    ]


def _two(text: str, width: int) -> list[str]:
    return [item.plain for item in wrap(text, width, limit=2)]


def _standing(state: RunState, facts: Facts) -> Text:
    last = next((task for task in reversed(state.tasks) if task.status is TaskStatus.COMPLETED), None)
    after = f" after {last.id}" if last else ""
    ready = "s continues to a point you choose." if facts.can_control else ""
    match state.status:
        case RunStatus.DONE:
            return line(
                " ", ("Done: ", "ok"), f"every chosen task is completed, at {numbers.clock(state.finished_at)}."
            )
        case RunStatus.ROLLED_BACK:
            return line(" ", ("Rolled back ", "warn"), f"at {numbers.clock(state.finished_at)}. ", ready)
        case RunStatus.PAUSED:
            return line(" ", ("Paused", "warn"), f"{after}. ", "space resumes." if facts.can_control else "")
        case RunStatus.WAITING:
            return line(" ", ("Stopped where you chose", "warn"), f"{after}. ", ready)
        case _:
            return line(" ", (state.status.value, "dim"), after)


def progress_lines(progress: Progress, width: int, glyphs: Glyphs, stands: str = "") -> list[Text]:
    """A copy or comparison in two lines: the bar with share, rate and ETA; rows, rejects, batch, duty and why.

    ``stands`` says why it does not move, in the place of rate and ETA.
    """
    name = shorten(plain(progress.target or progress.mapping), 24 if width < 100 else 34)
    right = line(
        cell(numbers.percent(progress.share), 6, "title", right=True),
        cell("" if stands else f"{numbers.short(progress.rate)} rows/s", 14, right=True),
        cell(stands or numbers.eta(progress.eta_low_s, progress.eta_high_s), 16, right=True),
        " ",
    )
    spark = f"  {sparkline(progress.rates, 16, glyphs)}" if width >= 110 and progress.rates else ""
    room = width - len(name) - right.cell_len - len(spark) - 4
    first = ends(line(" ", name, "  ", bar(progress.share, max(room, 8), glyphs), (spark, "dim")), right, width)
    rejected: Part = (f"{numbers.count(progress.rows_rejected)} rejected", "warn" if progress.rows_rejected else "dim")
    verb = "" if progress.what == "copy" else "compared, "
    parts: list[Part] = [
        f"{verb}{numbers.count(progress.rows_done)} of {numbers.count(progress.rows_total)}",
        rejected,
        f"batch {numbers.count(progress.batch_rows)} in {numbers.ms(progress.batch_ms)}",
        f"duty {progress.duty_percent}%",
    ]
    if width >= 100:
        parts += [f"{progress.workers} workers"] if progress.workers > 1 else []
    lines = [first, fit(line(" ", joined(parts, glyphs)), width)]
    if width >= 100 and progress.reason:
        lines.append(fit(line((" batch: ", "dim"), progress.reason), width))
    return lines


def statement_line(statement: StatementState, width: int) -> Text:
    """The statement that runs or ran last: status, tries, waits and its text."""
    style = {"done": "ok", "failed": "bad", "running": "run"}.get(statement.status, "warn")
    parts: list[Part] = [" ", (statement.status, style)]
    if statement.attempts > 1:
        parts.append(f", attempt {statement.attempts}")
    if statement.lock_wait_ms >= 1:
        parts.append(f", waited {numbers.ms(statement.lock_wait_ms)} for locks")
    parts += [("  ", ""), (statement.sql, "dim")]
    return fit(line(*parts), width)


def signal_words(signal: Signal) -> str:
    """A throttle signal: ``replica lag 1.4 s (limit 1.0 s)``."""
    return f"{signal.name} {signal.value}" + (f" (limit {signal.limit})" if signal.limit else "")


def held_back(state: RunState, width: int) -> Text:
    """What slows the work and who waits, the worst first: blockers, waiters, then the throttle."""
    blockers = [item for item in state.sessions if item.role == BLOCKS]
    waiters = [item for item in state.sessions if item.role == WAITS]
    if blockers:
        first = blockers[0]
        more = f" and {len(blockers) - 1} more" if len(blockers) > 1 else ""
        count = max(state.lock_wait.behind if state.lock_wait else 0, len(waiters))
        behind = f"{count} wait behind us, " if count else ""
        return line(" ", (behind, "bad"), ("blocked by ", "bad"), session_words(first, more))
    throttling = [
        signal
        for item in state.progress
        if not item.finished
        for signal in item.signals
        if signal.holds or signal.state == "throttling"
    ]
    why = ", ".join(dict.fromkeys(signal_words(signal) for signal in throttling))
    slowed = next((item.held for item in state.progress if item.held and not item.finished), "")
    parts: list[Part] = [" held back by: ", (why or "nothing", "warn" if why else "ok")]
    if slowed and not why:
        parts = [" ", (slowed, "warn")]
    parts += ["   blocking: ", (f"{len(waiters)} wait behind us", "bad") if waiters else ("nobody", "ok")]
    users = [item for item in state.sessions if item.role == USES_OLD]
    if users:
        parts.append((f"   on the old table: {len(users)}", "dim"))
    return line(*parts)


def session_words(session: Session, more: str = "") -> str:
    """Another session in words: ``pid 2211 nightly-report (analyst), idle in transaction 31 min: SELECT ..``.

    ``more`` (other sessions) stands before the query, which may be long.
    """
    who = f"pid {session.pid} {session.application} ({session.user})"
    return f"{who}, {session.state} {numbers.age(session.age_s)}{more}: {session.query}"


def traffic_line(traffic: Traffic, glyphs: Glyphs, width: int) -> Text:
    """The applications in one line: how much they do, how slow it is now against before, errors."""
    now, before, during = traffic.now, traffic.before, traffic.during
    if not now.operations and during.operations:  # the run has ended, or the applications are silent
        did = f"{numbers.short(during.operations)} operations, " if width >= 100 else ""
        parts: list[Part] = [f"applications, while it ran: {did}p99 {numbers.ms(during.p99_ms)} ({_before(before)})"]
        return joined([*parts, _errors(during.errors)], glyphs)
    slower = before.p99_ms > 0 and now.p99_ms > 2 * before.p99_ms
    parts = [
        f"applications: {numbers.short(now.operations / 5)} operations/s",
        (f"p99 {numbers.ms(now.p99_ms)} ({_before(before)})", "warn" if slower else ""),
    ]
    if width >= 100 and during.operations:
        parts.append(f"slowest {numbers.ms(during.max_ms)}")
    return joined([*parts, _errors(during.errors)], glyphs)


def _before(before: Latency) -> str:
    return f"before {numbers.ms(before.p99_ms)}" if before.operations else "before unknown"


def _errors(errors: int) -> Part:
    return (f"{numbers.count(errors)} errors", "bad") if errors else ("no errors", "ok")


def latency_row(name: str, latency: Latency, width: int) -> Text:
    """A line of the table of figures."""
    return fit(
        line(
            " ",
            cell(name, max(width - 62, 18)),
            cell(numbers.count(latency.operations), 13, right=True),
            cell(numbers.count(latency.errors), 8, "bad" if latency.errors else "", right=True),
            cell(numbers.ms(latency.p50_ms), 10, right=True),
            cell(numbers.ms(latency.p99_ms), 10, right=True),
            cell(numbers.ms(latency.max_ms), 10, right=True),
        ),
        width,
    )
