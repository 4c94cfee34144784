"""Who uses which shape, minute by minute: applications as sampled, writes and scans as the server counts them."""

from __future__ import annotations

from rich.text import Text

from console.journal.activity import Activity, Counts, Use
from console.tui.draw import numbers
from console.tui.draw.base import cell, fit, heading, line
from console.tui.facts import Facts
from console.tui.glyphs import Glyphs


def lines(facts: Facts, width: int, roomy: bool) -> list[Text]:
    """A line for each application and side, then the exact counts; none before anybody looked."""
    activity = facts.state.activity if facts.state else None
    if activity is None or not sum(activity.looks):
        return []
    glyphs = facts.glyphs
    title = "uses per minute, the last 15: applications sampled"
    found = [heading(glyphs, width, title)]
    uses = activity.uses[: 8 if roomy else 3]
    found += [_use(use, activity, width, glyphs) for use in uses]
    if not uses:
        found.append(line(" ", ("no application was seen on the tables", "ok")))
    if len(activity.uses) > len(uses):
        found.append(line(" ", (f"and {len(activity.uses) - len(uses)} more", "dim")))
    return found + [_count(count, width, glyphs) for count in activity.counts if any(count.writes) or any(count.scans)]


def _use(use: Use, activity: Activity, width: int, glyphs: Glyphs) -> Text:
    """The height is the share of a minute's looks that saw it; a blank is a minute in which nobody looked."""
    last = len(glyphs.spark) - 1
    marks = "".join(
        glyphs.spark[-(-seen * last // looks)] if looks else " "
        for seen, looks in zip(use.seen, activity.looks, strict=True)
    )
    seen, looks = use.seen[-1] + use.seen[-2], activity.looks[-1] + activity.looks[-2]
    now = f"in {seen} of the last {looks} looks" if seen else "not seen for a minute"
    style = "warn" if use.side == "old" and seen else "ok" if use.side == "old" else ""
    return fit(
        line(" ", cell(use.side, 4, style), cell(use.application or "(no name)", 24), marks, "  ", (now, style)), width
    )


def _count(count: Counts, width: int, glyphs: Glyphs) -> Text:
    def row(values: tuple[int | None, ...]) -> str:
        top = max((value or 0 for value in values), default=0) or 1
        last = len(glyphs.spark) - 1
        return "".join(" " if value is None else glyphs.spark[-(-value * last // top)] for value in values)

    now = sum(value or 0 for value in count.writes[-2:])
    scans = sum(value or 0 for value in count.scans[-2:])
    words = f"{numbers.count(now)} in 2 min; {numbers.count(scans)} scans by anybody"
    return fit(
        line(" ", cell(count.side, 4, "dim"), cell("writes, exact", 24, "dim"), row(count.writes), "  ", words),
        width,
    )
