"""Results of checks, failing ones first, and the rows behind one of them."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from console.journal.state import CheckState, ComparisonState, RunState
from console.text import plain
from console.tui.draw import differences, numbers
from console.tui.draw.base import beside, cell, ends, fill, fit, heading, line, rule, scrolled, span, wrap
from console.tui.facts import Facts
from console.tui.glyphs import Glyphs


def ranked(state: RunState | None, words: str = "") -> list[CheckState]:
    """Results that contain the words: failing errors, failing warnings, then those that passed."""
    order = {"error": 0, "warning": 1, "info": 2}
    wanted = words.lower()
    found = [
        check
        for check in (state.checks if state else ())
        if wanted in f"{check.task_id} {check.check_id} {check.title} {check.severity}".lower()
    ]
    return sorted(found, key=lambda check: (check.ok, order.get(check.severity, 0)))


def word(check: CheckState) -> tuple[str, str]:
    """Two letters for a result and their style."""
    if check.ok:
        return "ok", "ok"
    return ("!!", "bad") if check.severity == "error" else ("! ", "warn")


def row(check: CheckState, selected: bool, width: int, glyphs: Glyphs) -> Text:
    """A result as one line; what only warns says so."""
    mark = (glyphs.cursor, "mark") if selected else " "
    state = "passed" if check.ok else "failed" if check.severity == "error" else "warns"
    sign, style = word(check)
    left = line((sign, style), " ", cell(state, 7, style), (check.title, "" if check.ok else "title"))
    at = f"  {numbers.clock(check.at)}" if width >= 76 else ""
    text = ends(left, line((f"{check.task_id}{at} ", "dim")), width - 1)
    if selected:
        text.stylize("cursor")
    return line(mark, text)


def newer(state: RunState | None, check: CheckState) -> ComparisonState | None:
    """A comparison of the same rows that was made after the check."""
    mapping = check.check_id.removeprefix("compare.")
    for found in state.comparisons if state and mapping != check.check_id else ():
        if found.mapping == mapping and found.at > check.at and found.origin != check.task_id:
            return found
    return None


def _again(found: ComparisonState) -> list[Text]:
    """That the rows were compared again since, and what was found."""
    passes = f", the same {found.passes} times" if found.passes > 1 else ""
    verdict = ("equal", "ok") if found.ok else ("they differ", "bad")
    lines = [
        line(cell("again", 10, "dim"), f"compared {numbers.age(found.age_s)} ago ({found.origin}{passes}): ", verdict)
    ]
    return lines if found.ok else [*lines, line(cell("", 10), (found.words, "bad"))]


def rows_of(state: RunState | None, check: CheckState) -> tuple[dict[str, str], ...]:
    """The sample rows to show: those of a newer comparison that found differences, else the check's own."""
    later = newer(state, check)
    if later is None:
        return check.rows
    return later.rows if not later.ok else ()


def detail(state: RunState | None, check: CheckState, width: int, glyphs: Glyphs) -> list[Text]:
    """What was expected, what was found, and sample rows."""
    later = newer(state, check)
    rows = rows_of(state, check)
    lines = _verdict(check, later, width)
    if differences.are_differences(rows):
        return [
            *lines,
            *differences.listing(rows, -1, (width, len(rows) + 1), glyphs),
        ]
    if rows:
        lines += [heading(glyphs, width, f"{len(rows)} sample rows"), *table(rows, width)]
    return lines


def opened(state: RunState | None, check: CheckState, chosen: int, size: tuple[int, int], glyphs: Glyphs) -> list[Text]:
    """One check on the whole screen; where rows differ, the list of them and the chosen one with both sides."""
    width, height = size
    rows = rows_of(state, check)
    if not differences.are_differences(rows):
        return detail(state, check, width, glyphs)
    later = newer(state, check)
    top = _verdict(check, later, width)
    below = differences.side_by_side(rows[chosen], width, glyphs)
    room = max(height - len(top) - len(below), min(len(rows) + 1, 5))
    listed = differences.listing(rows, chosen, (width, min(room, len(rows) + 1)), glyphs)
    return [*top, *listed, *below]


def _verdict(check: CheckState, later: ComparisonState | None, width: int) -> list[Text]:
    sign, style = word(check)
    lines = [
        line((f"{check.check_id}", "title"), ("  after " + check.task_id, "dim")),
        *wrap(check.title, width),
        *_said("expected", check.expected, width),
        *_said("found", f"{check.actual}  {sign}", width, "" if check.ok else style),
        line(cell("took", 10, "dim"), numbers.ms(check.ms), (f" at {numbers.clock(check.at)}", "dim")),
    ]
    return lines if later is None else [*lines, *_again(later)]


def _said(name: str, text: str, width: int, style: str = "") -> list[Text]:
    """A fact, over two lines where it is long, or four where it stands beside the list."""
    words = wrap(text, width - 10, style, limit=2 if width >= 70 else 4)
    return [line(cell("" if index else name, 10, "dim"), item) for index, item in enumerate(words)]


def table(rows: Sequence[dict[str, str]], width: int) -> list[Text]:
    """Rows as a table with a head; columns as wide as needed, the widest cut first."""
    columns = list(dict.fromkeys(name for item in rows for name in item))
    widths = {name: max(len(plain(name)), *(len(plain(item.get(name, ""))) for item in rows)) for name in columns}
    while columns and sum(widths.values()) + 2 * len(columns) > width and max(widths.values()) > 6:
        widest = max(columns, key=lambda name: widths[name])
        widths[widest] -= 1
    lines = [line(*(item for name in columns for item in (cell(name, widths[name], "dim"), "  ")))]
    for values in rows:
        lines.append(line(*(item for name in columns for item in (cell(values.get(name, ""), widths[name]), "  "))))
    return [fit(item, width) for item in lines]


def screen(
    facts: Facts, items: Sequence[CheckState], chosen: int, row_chosen: int | None, size: tuple[int, int]
) -> list[Text]:
    """The list with the chosen result's detail; with ``row_chosen`` the detail has the whole screen."""
    width, height = size
    if not items:
        return fill([line(), line(" ", "No check has run yet."), *_planned(facts)], width, height)
    check = items[chosen]
    if row_chosen is not None:
        shown = opened(facts.state, check, row_chosen, (width - 2, height), facts.glyphs)
        return fill([line(" ", item) for item in shown], width, height)
    failing = sum(not item.ok and item.severity == "error" for item in items)
    warned = sum(not item.ok for item in items) - failing
    after = f", {warned} only warn" if warned else ""
    passed = f" {'all ' if not warned else ''}{len(items) - warned} passed"
    later = [found for item in items if (found := newer(facts.state, item)) is not None and not found.ok]
    words = (f" {failing} of {len(items)} failed{after}", "bad") if failing else (passed + after, "ok")
    if later and not failing:
        words = (f" {passed.strip()}, but compared again {later[0].mapping} differs", "bad")
    if width >= 110:
        left_width = width * 11 // 20
        right_width = width - left_width - 3
        top = scrolled(0, chosen, len(items), height - 1)
        seen = line((span(top, height - 1, len(items)) + " ", "dim"))
        left = [
            ends(line(words), seen, left_width),
            *(row(item, item is check, left_width, facts.glyphs) for item in items[top:]),
        ]
        right = detail(facts.state, check, right_width, facts.glyphs)
        return beside(
            fill(left, left_width, height), fill(right, right_width, height), facts.glyphs, (left_width, right_width)
        )
    below = [line(" ", item) for item in detail(facts.state, check, width - 2, facts.glyphs)]
    listing = max(min(len(items), height - 2 - len(below)), 3)
    top = scrolled(0, chosen, len(items), listing)
    listed = [row(item, item is check, width, facts.glyphs) for item in items[top:]]
    label = span(top, listing, len(items))
    return fill([line(words), *fill(listed, width, listing), rule(facts.glyphs, width, label), *below], width, height)


def _planned(facts: Facts) -> list[Text]:
    checks = facts.plan.checks if facts.plan else ()
    if not checks:
        return []
    return [line(" ", (f"The plan has {len(checks)}:", "dim"))] + [
        line("   ", cell(check.id, 26), (check.title, "dim")) for check in checks
    ]
