"""Results of checks, failing ones first, and the rows behind one of them."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from console.journal.state import CheckState, RunState
from console.text import plain
from console.tui.draw import numbers
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


def row(check: CheckState, selected: bool, width: int, glyphs: Glyphs, words_width: int = 17) -> Text:
    """A result as one line; ``words_width`` is the room for passed or failed."""
    mark = (glyphs.cursor, "mark") if selected else " "
    state = "passed" if check.ok else f"failed ({check.severity})"
    sign, style = word(check)
    left = line((sign, style), " ", cell(state, words_width, style), (check.title, "" if check.ok else "title"))
    at = f"  {numbers.clock(check.at)}" if width >= 76 else ""
    text = ends(left, line((f"{check.task_id}{at} ", "dim")), width - 1)
    if selected:
        text.stylize("cursor")
    return line(mark, text)


def detail(check: CheckState, width: int, glyphs: Glyphs) -> list[Text]:
    """What was expected, what was found, and sample rows."""
    sign, style = word(check)
    lines = [
        line((f"{check.check_id}", "title"), ("  after " + check.task_id, "dim")),
        *wrap(check.title, width),
        line(cell("expected", 10, "dim"), check.expected),
        line(cell("found", 10, "dim"), (check.actual, "" if check.ok else style), ("  " + sign, style)),
        line(cell("took", 10, "dim"), numbers.ms(check.ms), (f" at {numbers.clock(check.at)}", "dim")),
    ]
    if check.rows:
        lines += [heading(glyphs, width, f"{len(check.rows)} sample rows"), *table(check.rows, width)]
    return lines


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


def screen(facts: Facts, items: Sequence[CheckState], chosen: int, opened: bool, size: tuple[int, int]) -> list[Text]:
    """The list with the chosen result's detail; ``opened`` gives the detail the whole screen."""
    width, height = size
    if not items:
        return fill([line(), line(" ", "No check has run yet."), *_planned(facts)], width, height)
    check = items[chosen]
    if opened:
        return fill([line(" ", item) for item in detail(check, width - 2, facts.glyphs)], width, height)
    failing = sum(not item.ok and item.severity == "error" for item in items)
    warned = sum(not item.ok for item in items) - failing
    state_width = 17 if failing or warned else 7
    after = f", {warned} only warn" if warned else ""
    passed = f" {'all ' if not warned else ''}{len(items) - warned} passed"
    words = (f" {failing} of {len(items)} failed{after}", "bad") if failing else (passed + after, "ok")
    if width >= 110:
        left_width = width * 11 // 20
        right_width = width - left_width - 3
        top = scrolled(0, chosen, len(items), height - 1)
        seen = line((span(top, height - 1, len(items)) + " ", "dim"))
        left = [
            ends(line(words), seen, left_width),
            *(row(item, item is check, left_width, facts.glyphs, state_width) for item in items[top:]),
        ]
        right = detail(check, right_width, facts.glyphs)
        return beside(
            fill(left, left_width, height), fill(right, right_width, height), facts.glyphs, (left_width, right_width)
        )
    below = [line(" ", item) for item in detail(check, width - 2, facts.glyphs)]
    listing = max(min(len(items), height - 2 - len(below)), 3)
    top = scrolled(0, chosen, len(items), listing)
    listed = [row(item, item is check, width, facts.glyphs, state_width) for item in items[top:]]
    label = span(top, listing, len(items))
    return fill([line(words), *fill(listed, width, listing), rule(facts.glyphs, width, label), *below], width, height)


def _planned(facts: Facts) -> list[Text]:
    checks = facts.plan.checks if facts.plan else ()
    if not checks:
        return []
    return [line(" ", (f"The plan has {len(checks)}:", "dim"))] + [
        line("   ", cell(check.id, 26), (check.title, "dim")) for check in checks
    ]
