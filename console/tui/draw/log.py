"""The log: events with time, actor and words."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from console.journal.state import Event
from console.tui.draw import numbers
from console.tui.draw.base import cell, fit, line, wrap

WIDE = 99  # columns from which on an event's whole actor and task have places of their own
KIND_STYLE = {
    "error": "bad",
    "throttle": "warn",
    "lock": "warn",
    "warning": "warn",
    "operator": "accent",
    "check": "",
    "task": "",
    "run": "title",
    "ddl": "",
    "batch": "dim",
}


def event_line(event: Event, width: int, *, own: bool = False) -> Text:
    """An event in a narrow place: time, task (not in the task's ``own`` log) and words."""
    task = f"{event.task_id} " if event.task_id and event.task_id not in event.text and not own else ""
    return fit(line((f"{numbers.clock(event.at)} {task}", "dim"), (event.text, KIND_STYLE.get(event.kind, ""))), width)


def full_line(event: Event, width: int) -> Text:
    """An event on its own screen: time, kind, who (without the host where room is scarce), words."""
    style = KIND_STYLE.get(event.kind, "")
    head = line(" ", (numbers.clock(event.at), "dim"), "  ", cell(event.kind, 8, style), " ")
    if width >= WIDE:
        return fit(line(head, _who(event.actor, 16), cell(event.task_id, 8, "dim"), " ", (event.text, style)), width)
    task = "" if not event.task_id or event.task_id in event.text else f"{event.task_id} "
    return fit(line(head, _who(event.actor.partition("@")[0], 9), (task, "dim"), (event.text, style)), width)


def _who(actor: str, width: int) -> Text:
    return line(cell(actor, width - 1, "dim"), " ")


def in_full(event: Event, width: int) -> list[Text]:
    """An event with its date and whole actor, and as many of its words as three lines hold."""
    parts = (f"{event.at:%Y-%m-%d %H:%M:%S}", event.kind, event.actor, event.task_id)
    about = "  ".join(part for part in parts if part)
    return [fit(line(" ", (about, "dim")), width), *(line(" ", item) for item in wrap(event.text, width - 2, limit=3))]


def matching(events: Sequence[Event], words: str) -> list[Event]:
    """Events that contain the words, in time order."""
    wanted = words.lower()
    return [e for e in events if wanted in f"{e.kind} {e.actor} {e.task_id} {e.text}".lower()]
