"""Replicas and replication slots, a line each; what cannot be seen is said to be unknown."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from console.journal.activity import Replica, Slot
from console.tui.draw import numbers
from console.tui.draw.base import cell, fit, heading, line
from console.tui.facts import Facts


def lines(facts: Facts, width: int, roomy: bool) -> list[Text]:
    """Those that are furthest behind first; one line for all where room is short, nothing before anybody looked."""
    activity = facts.state.activity if facts.state else None
    if activity is None:
        return []
    if not activity.replicas and not activity.slots:
        return [line(" ", ("no replicas, no replication slots", "dim"))]
    found = [heading(facts.glyphs, width, "replicas and slots")]
    replicas = sorted(activity.replicas, key=lambda item: (item.behind is not None, -(item.behind or 0), item.name))
    if not roomy:
        return [_brief(replicas, activity.slots, width)]
    for item in replicas:
        lag = _lag(item)
        state = ", ".join(word for word in (item.state, item.sync) if word) or "state unknown"
        style = "warn" if item.behind is None or item.state != "streaming" else ""
        found.append(fit(line(" ", cell(item.name, 28), cell(state, 20, style), lag), width))
    for slot in sorted(activity.slots, key=lambda slot: (slot.active, -(slot.kept or 0), slot.name)):
        kept = "keeps nothing" if slot.kept is None else f"keeps {numbers.size(max(slot.kept, 0))} of WAL"
        read = "in use" if slot.active else "nobody reads it"
        lost = f", {slot.status}" if slot.status not in ("reserved", "") else ""
        name = cell(f"slot {slot.name}", 28)
        found.append(
            fit(line(" ", name, cell(f"{slot.kind}, {read}", 30, "" if slot.active else "warn"), kept + lost), width)
        )
    return found


def _lag(item: Replica) -> str:
    if item.behind is None or item.seconds is None:
        return "lag unknown"
    return f"{numbers.size(item.behind)}, {numbers.age(item.seconds)} behind" if item.behind else "up to date"


def _brief(replicas: Sequence[Replica], slots: Sequence[Slot], width: int) -> Text:
    """The worst of each."""
    worst = f"{len(replicas)} replicas: {replicas[0].name} {_lag(replicas[0])}" if replicas else "no replicas"
    unread = [slot for slot in slots if not slot.active]
    first = max(unread or slots, key=lambda slot: slot.kept or 0, default=None)
    if first is None:
        return fit(line(" ", worst), width)
    kept = f"{'nobody reads it, ' if unread else ''}keeps {numbers.size(max(first.kept or 0, 0))}"
    return fit(line(" ", worst, f"; slot {first.name}: ", (kept, "warn" if unread else "")), width)
