"""The copy in full: every table's bar, the batch and why it changed, every throttle signal, what was rejected."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from console.journal.state import Progress, RunState
from console.tui.draw import numbers
from console.tui.draw.bars import bar, sparkline
from console.tui.draw.base import cell, ends, fill, fit, heading, line, rule, scrolled, span, wrap
from console.tui.draw.frame import run_words
from console.tui.facts import Facts, is_active
from console.tui.glyphs import Glyphs

STATE_STYLE = {"ok": "ok", "slowing": "warn", "throttling": "warn", "unknown": "warn"}

WIDE = 100  # columns from which on every setting and longer names fit
BY_PLAN = "the plan"


def screen(facts: Facts, chosen: int, size: tuple[int, int]) -> list[Text]:
    """Every copy and comparison with its bar; the chosen one's settings and signals beneath."""
    width, height = size
    state = facts.state
    if state is None or not state.progress:
        return fill(_none_yet(facts), width, height)
    lines = _listing(state, chosen, (width, max(height // 4, 4)), facts.glyphs)
    lines += _entry(state.progress[chosen], state, width, facts.glyphs)
    lines += _settings(state.progress[chosen], width, facts)
    lines += _signals(state.progress[chosen], width, facts.glyphs)
    lines += _rejects(state.rejects, state.progress[chosen], width, facts.glyphs)
    return fill(lines, width, height)


def _none_yet(facts: Facts) -> list[Text]:
    lines = [line(), line(" ", "No rows have been copied yet.")]
    tasks = [task for task in (facts.state.tasks if facts.state else ()) if task.kind == "backfill"]
    if tasks:
        lines.append(line(" ", ("The plan copies in:", "dim")))
    return lines + [line("   ", f"{task.id}  {task.title}") for task in tasks]


def _listing(state: RunState, chosen: int, size: tuple[int, int], glyphs: Glyphs) -> list[Text]:
    """A line for each copy and comparison, as many as fit around the chosen one; nothing where there is only one."""
    width, height = size
    items = state.progress
    if len(items) < 2:
        return []
    room = min(height, len(items))
    top = scrolled(0, chosen, len(items), room)
    lines = []
    for index, item in enumerate(items[top : top + room], start=top):
        style = "ok" if item.finished else "run"
        left = line(cell(item.task_id, 8, "dim"), " ", cell(item.what, 8), item.target)
        right = line(cell(numbers.percent(item.share), 7, right=True), "  ", cell(_left(item, state), 14, style))
        text = ends(left, right, width - 1)
        if index == chosen:
            text.stylize("cursor")
        lines.append(line((glyphs.cursor, "mark") if index == chosen else " ", text))
    return [*lines, rule(glyphs, width, span(top, room, len(items)))]


def _left(progress: Progress, state: RunState) -> str:
    if progress.finished:
        return "finished"
    return numbers.eta(progress.eta_low_s, progress.eta_high_s) if is_active(state) else run_words(state)[0]


def _entry(progress: Progress, state: RunState, width: int, glyphs: Glyphs) -> list[Text]:
    mark = " "
    names = f"{progress.what} {progress.source} to {progress.target}"
    if progress.what == "compare":
        names = f"compare {progress.source} with {progress.target}"
    left = line((_left(progress, state) + " ", "ok" if progress.finished else "run"))
    first = ends(line(mark, (names, "title")), left, width)
    share = cell(numbers.percent(progress.share), 8, right=True)
    second = line(mark, bar(progress.share, width - 12, glyphs, "ok" if progress.finished else "run"), share)
    rejected = f"{numbers.count(progress.rows_rejected)} rejected"
    done = f"{numbers.count(progress.rows_done)} of {numbers.count(progress.rows_total)} rows read"
    wrote = f"{numbers.count(progress.rows_written)} written, " if progress.what == "copy" else ""
    there = progress.rows_done - progress.rows_written - progress.rows_rejected  # the sync had carried them already
    if progress.what == "copy" and there > 0:
        wrote += f"{numbers.count(there)} there already, "
    third = line(mark, f"{done}, {wrote}", (rejected, "warn" if progress.rows_rejected else "dim"))
    return [first, second, fit(third, width)]


def _fact(name: str, value: str, more: str = "", style: str = "") -> Text:
    return line(" ", cell(name, 15, "dim"), (value, style), (f"  {more}" if more else "", "dim"))


def _settings(progress: Progress, width: int, facts: Facts) -> list[Text]:
    lines = [heading(facts.glyphs, width, f"{progress.task_id}  pace")]
    if not progress.finished and is_active(facts.state):
        spark = sparkline(progress.rates, min(width - 40, 40), facts.glyphs)
        lines.append(_fact("rate", f"{numbers.count(round(progress.rate))} rows/s", spark))
    target = f"target {numbers.ms(progress.target_ms)}" if progress.target_ms else ""
    lines.append(
        _fact("batch", f"{numbers.count(progress.batch_rows)} rows in {numbers.ms(progress.batch_ms)}", target)
    )
    if progress.reason:
        lines += [
            line(" ", cell("why" if not number else "", 15, "dim"), item)
            for number, item in enumerate(wrap(progress.reason, width - 18, limit=2))
        ]
    lines.append(_fact("at work", f"{progress.duty_percent}% of the time", "+ and - change it" * facts.can_control))
    lines.append(_fact("workers", str(progress.workers), "and " + ", ".join(progress.hands) if progress.hands else ""))
    lines += _wrapped("now", progress.held, width, "warn")
    if progress.retries:
        tried = f"{numbers.count(progress.retries)} failed attempts at batches, each tried again"
        lines += _wrapped(
            "tried again", tried + (f"; last: {progress.last_error}" if progress.last_error else ""), width
        )
    changed = [f"{item.name} = {item.value} ({item.set_by})" for item in progress.settings if item.set_by != BY_PLAN]
    lines += _wrapped("set", ", ".join(changed), width)
    rest = [f"{item.name} {item.value}" for item in progress.settings if item.set_by == BY_PLAN]
    if width >= WIDE:
        lines += _wrapped("by the plan", ", ".join(rest), width, "dim", limit=4)
    return lines


def _wrapped(name: str, text: str, width: int, style: str = "", limit: int = 2) -> list[Text]:
    """A fact over several lines; none without text."""
    if not text:
        return []
    lines = []
    for number, item in enumerate(wrap(text, width - 18, limit=limit)):
        item.stylize(style)
        lines.append(line(" ", cell("" if number else name, 15, "dim"), item))
    return lines


def _signals(progress: Progress, width: int, glyphs: Glyphs) -> list[Text]:
    if not progress.signals:
        return []
    lost = f", {numbers.duration(progress.lost_s)} in all" if progress.lost_s else ""
    lines = [heading(glyphs, width, f"what holds it back{lost}")]
    name, value = (30, 24) if width >= WIDE else (20, 14)
    for signal in progress.signals:
        cost = f"has cost {numbers.duration(signal.cost_s)}" if signal.cost_s else ""
        lines.append(
            fit(
                line(
                    " ",
                    cell(signal.name, name),
                    cell(signal.value, value, right=True),
                    cell(f"  limit {signal.limit}" if signal.limit else "", 18, "dim"),
                    cell(signal.state, 12, STATE_STYLE.get(signal.state, "")),
                    (cost, "dim"),
                ),
                width,
            )
        )
    return lines


def _rejects(rejects: Sequence[tuple[str, str, int]], progress: Progress, width: int, glyphs: Glyphs) -> list[Text]:
    found = [(reason, rows) for mapping, reason, rows in rejects if mapping == progress.mapping]
    if not found:
        return []
    lines = [heading(glyphs, width, "rows the new shape refused: kept in the old table and in the report")]
    ranked = sorted(found, key=lambda item: -item[1])
    return lines + [line(cell(numbers.count(rows), 14, right=True), "  ", reason) for reason, rows in ranked]


def count_of(state: RunState | None) -> int:
    """How many copies and comparisons can be chosen."""
    return len(state.progress) if state else 0
