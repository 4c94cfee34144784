"""The copy in full: every table's bar, the batch and why it changed, every throttle signal, what was rejected."""

from __future__ import annotations

from rich.cells import cell_len
from rich.text import Text

from console.journal.state import Progress, RunState, Setting, Signal
from console.text import plain
from console.tui.draw import numbers
from console.tui.draw.bars import bar, sparkline
from console.tui.draw.base import beside, cell, clip, ends, fill, fit, heading, line, rule, scrolled, span, wrap
from console.tui.draw.frame import run_words
from console.tui.facts import Facts, at_work, runner_lost
from console.tui.glyphs import Glyphs

STATE_STYLE = {"ok": "ok", "slowing": "warn", "throttling": "warn", "unknown": "warn"}

WIDE = 110  # columns from which on settings stand beside signals
BY_PLAN = "the plan"
NAME = 15  # cells of a fact's name
REASONS = 3  # of refused rows, where room is scarce


def screen(facts: Facts, chosen: int, opened: bool, size: tuple[int, int]) -> list[Text]:
    """Every copy and comparison with its bar, beneath it the chosen one: ``opened`` its settings, else pace and signals."""
    width, height = size
    state = facts.state
    if state is None or not state.progress:
        return fill(_none_yet(facts), width, height)
    progress, glyphs = state.progress[chosen], facts.glyphs
    lines = _listing(state, chosen, (width, max(height // 4, 4)), glyphs)
    lines += _entry(progress, state, width, glyphs)[2 if lines and width < WIDE else 0 :]  # the list has name and bar
    room = height - len(lines)
    if opened:
        below = [*_settings(progress, width, glyphs), *_rejects(state, progress, width, glyphs, room)]
        return fill([*lines, *below], width, height)
    if width >= WIDE:
        left = (width - 3) * 4 // 9
        right = width - 3 - left
        first = [*_pace(progress, left, facts), *_settings(progress, left, glyphs)]
        second = [*_signals(state, progress, right, glyphs, room), *_rejects(state, progress, right, glyphs, room)]
        columns = (left, right)
        return fill(
            [*lines, *beside(fill(first, left, room), fill(second, right, room), glyphs, columns)], width, height
        )
    rejects = _rejects(state, progress, width, glyphs, REASONS)
    signals = _signals(state, progress, width, glyphs, room - len(rejects) - ESSENTIAL)
    if len(rejects) + len(signals) + ESSENTIAL > room:  # their number stands above, the reasons beside the settings
        rejects = []
    pace = _pace(progress, width, facts)[: max(room - len(rejects) - len(signals), 3)]
    return fill([*lines, *pace, *signals, *rejects], width, height)


ESSENTIAL = 6  # lines of the pace that come before the reasons of refusals: up to the time at work and the workers


def _none_yet(facts: Facts) -> list[Text]:
    lines = [line(), line(" ", "No rows have been copied yet.")]
    tasks = [task for task in (facts.state.tasks if facts.state else ()) if task.kind == "backfill"]
    if tasks:
        lines.append(line(" ", ("The plan copies in:", "dim")))
    return lines + [line("   ", f"{task.id}  {task.title}") for task in tasks]


def _listing(state: RunState, chosen: int, size: tuple[int, int], glyphs: Glyphs) -> list[Text]:
    """A line with a bar for each copy and comparison, as many as fit around the chosen one; nothing where there is one."""
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
        right = line(
            bar(item.share, 12 if width < WIDE else 30, glyphs, style),
            cell(numbers.percent(item.share), 7, right=True),
            cell(
                "" if item.finished or not at_work(state) else f"{numbers.short(item.rate)} rows/s",
                14 if width >= WIDE else 0,
                right=True,
            ),
            "  ",
            cell(_left(item, state), 14, style),
        )
        text = ends(left, right, width - 1)
        if index == chosen:
            text.stylize("cursor")
        lines.append(line((glyphs.cursor, "mark") if index == chosen else " ", text))
    return [*lines, rule(glyphs, width, span(top, room, len(items)))]


def _left(progress: Progress, state: RunState) -> str:
    if progress.finished:
        return "finished"
    if runner_lost(state):
        return "no runner"
    return numbers.eta(progress.eta_low_s, progress.eta_high_s) if at_work(state) else run_words(state)[0]


def _entry(progress: Progress, state: RunState, width: int, glyphs: Glyphs) -> list[Text]:
    names = f"{progress.what} {progress.source} to {progress.target}"
    if progress.what == "compare":
        names = f"compare {progress.source} with {progress.target}"
    left = line((_left(progress, state) + " ", "ok" if progress.finished else "run"))
    first = ends(line(" ", (names, "title")), left, width)
    share = cell(numbers.percent(progress.share), 8, right=True)
    second = line(" ", bar(progress.share, width - 12, glyphs, "ok" if progress.finished else "run"), share)
    rejected = f"{numbers.count(progress.rows_rejected)} rejected"
    done = f"{numbers.count(progress.rows_done)} of {numbers.count(progress.rows_total)} rows read"
    wrote = f", {numbers.count(progress.rows_written)} written" if progress.what == "copy" else ""
    there = progress.rows_done - progress.rows_written - progress.rows_rejected  # the sync had carried them already
    if progress.what == "copy" and there > 0:
        wrote += f", {numbers.count(there)} there already"
    third = line(" ", f"{done}, ", (rejected, "warn" if progress.rows_rejected else "dim"), wrote)
    return [first, second, fit(third, width)]


def _fact(name: str, value: str, more: str = "") -> Text:
    return line(" ", cell(name, NAME, "dim"), value, (f"  {more}" if more else "", "dim"))


def _pace(progress: Progress, width: int, facts: Facts) -> list[Text]:
    """How fast it goes, in which batches and why, with how many hands; the essential lines first."""
    lines = [heading(facts.glyphs, width, f"{progress.task_id}  pace" + ", before it finished" * progress.finished)]
    if not progress.finished and not at_work(facts.state):
        lines.append(_fact("rate", "none: it does not run now"))
    elif not progress.finished:
        spark = sparkline(progress.rates, max(min(width - 40, 40), 0), facts.glyphs)
        lines.append(_fact("rate", f"{numbers.count(round(progress.rate))} rows/s", spark))
    aim = progress.aim_ms or progress.target_ms
    target = f"target {numbers.ms(aim)}" if aim else ""
    batch = f"{numbers.count(progress.batch_rows)} rows in {numbers.ms(progress.batch_ms)}"
    lines.append(_fact("batch", batch, target + _set_by(progress, "target_ms")))
    why, *rest = wrap(progress.reason or "not changed yet", width - NAME - 3, limit=2)
    lines.append(line(" ", cell("why so large", NAME, "dim"), why))
    keys = "  + and - change it" * (facts.can_control and not progress.finished and width >= 70)
    duty = _set_by(progress, "duty_percent").strip()
    lines.append(_fact("at work", f"{progress.duty_percent}% of the time", f"{duty}{keys}".strip()))
    hands = "and " + ", ".join(progress.hands) if progress.hands else ""
    lines.append(_fact("workers", str(progress.workers), f"{_set_by(progress, 'workers').strip()} {hands}".strip()))
    lines[-2:-2] = [line(" ", cell("", NAME), item) for item in rest]
    if progress.retries:
        tried = f"{numbers.count(progress.retries)} failed attempts at batches, each tried again"
        last = f"; last: {progress.last_error}" if progress.last_error else ""
        lines += _wrapped("tried again", tried + last, width)
    shown = ("target_ms", "duty_percent", "workers")
    other = [f"{item.name} = {item.value} ({item.set_by})" for item in _changed(progress) if item.name not in shown]
    return lines if not other else lines + _wrapped("also set", ", ".join(other), width)


def _changed(progress: Progress) -> list[Setting]:
    return [item for item in progress.settings if item.set_by != BY_PLAN]


def _set_by(progress: Progress, name: str) -> str:
    """Who changed a setting; empty where it is the plan's."""
    return next((f"  set by {item.set_by}" for item in _changed(progress) if item.name == name), "")


def _settings(progress: Progress, width: int, glyphs: Glyphs) -> list[Text]:
    """Every setting with its value and who set it, those that were changed first; in two columns where they fit."""
    ranked = sorted(progress.settings, key=lambda item: item.set_by == BY_PLAN)
    if not ranked:
        return []
    columns = 2 if width >= 78 else 1
    cells = [_setting(item, width // columns - 2) for item in ranked]
    rows = -(-len(cells) // columns)
    pairs = [line(*(part for item in cells[row::rows] for part in (" ", item, " "))) for row in range(rows)]
    return [heading(glyphs, width, "settings now, and who set them"), *pairs]


def _setting(item: Setting, width: int) -> Text:
    """A setting: name, value, who set it (without the host where room is scarce)."""
    by_plan = item.set_by == BY_PLAN
    who = item.set_by if width >= 48 else item.set_by.partition("@")[0]
    value = clip(plain(item.value), 20) or "none"
    named = cell(item.name, 21, "" if by_plan else "title")
    return fit(
        line(named, cell(value, max(8, cell_len(value)), right=True), " ", (who, "dim" if by_plan else "warn")), width
    )


def _wrapped(name: str, text: str, width: int) -> list[Text]:
    """A fact over two lines at most."""
    return [
        line(" ", cell("" if number else name, NAME, "dim"), item)
        for number, item in enumerate(wrap(text, width - NAME - 3, limit=2))
    ]


def _signals(state: RunState, progress: Progress, width: int, glyphs: Glyphs, room: int) -> list[Text]:
    """Every signal, those in the way first; quiet ones share lines where ``room`` is too small for a line each."""
    if not progress.signals:
        return []
    lost = f", {numbers.duration(progress.lost_s)} lost to signals so far" if progress.lost_s else ""
    now = progress.held or "nothing holds it back"
    if progress.finished or not at_work(state):
        now = "what was in its way"
    lines = [heading(glyphs, width, f"{now}{lost}")]
    quiet = [item for item in progress.signals if item.state == "ok" and not item.holds]
    loud = [item for item in progress.signals if item not in quiet]
    lines += [_signal_line(item, width) for item in loud]
    if len(loud) + len(quiet) + 1 < room:
        lines.insert(1, _signal_line(HEAD, width, "dim"))
        return lines + [_signal_line(item, width) for item in quiet]
    half = (width - 6) // 2
    for one, *other in (quiet[at : at + 2] for at in range(0, len(quiet), 2)):
        lines.append(
            line(" ", ("ok ", "ok"), *(fit(_brief(item), half if other else 2 * half) for item in (one, *other)))
        )
    return lines


HEAD = Signal("signal", "value", "limit", "state", 0.0)


def _signal_line(signal: Signal, width: int, style: str = "") -> Text:
    """One signal, or their ``HEAD``: name, value, limit, state and the time it has cost."""
    room = min(width, 84) - 1 - 19 - 2 - 10 - 7
    value, limit = room - room * 4 // 10, room * 4 // 10
    cost = "cost" if signal is HEAD else numbers.duration(signal.cost_s) if signal.cost_s else ""
    return fit(
        line(
            " ",
            cell(signal.name, 19, style),
            cell(signal.value, value, style, right=True),
            cell(signal.limit, limit, "dim", right=True),
            "  ",
            cell(signal.state, 10, style or STATE_STYLE.get(signal.state, "")),
            cell(cost, 7, "dim", right=True),
        ),
        width,
    )


def _brief(signal: Signal) -> Text:
    """A quiet signal in half a line."""
    limit = f" (limit {signal.limit})" if signal.limit else ""
    cost = f", cost {numbers.duration(signal.cost_s)}" if signal.cost_s else ""
    return line(f"{signal.name} {signal.value}", (f"{limit}{cost}", "dim"))


def _rejects(state: RunState, progress: Progress, width: int, glyphs: Glyphs, limit: int) -> list[Text]:
    """Why rows were refused, the most frequent reason first."""
    found = [(reason, rows) for mapping, reason, rows in state.rejects if mapping == progress.mapping]
    if not found or progress.what != "copy":
        return []
    ranked = sorted(found, key=lambda item: -item[1])
    most = 2 if width < 70 and 2 * len(ranked) <= limit else 1
    lines = [
        line(cell("" if number else numbers.count(rows), 12, right=True), "  ", part)
        for reason, rows in ranked
        for number, part in enumerate(wrap(reason, width - 15, limit=most))
    ]
    if len(lines) > limit:
        rest = sum(rows for _, rows in ranked[limit - 1 :])
        lines[limit - 1 :] = [line(cell(numbers.count(rest), 12, right=True), "  for other reasons: see the report, S")]
    return [heading(glyphs, width, "refused rows: kept in the old table and in the report"), *lines]


def count_of(state: RunState | None) -> int:
    """How many copies and comparisons can be chosen."""
    return len(state.progress) if state else 0
