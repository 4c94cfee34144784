"""The log: events with time, actor and words."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from console.journal.state import Event
from console.tui.draw import numbers
from console.tui.draw.base import cell, fit, line

KIND_STYLE = {
    "error": "bad",
    "throttle": "warn",
    "lock": "warn",
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
    """An event on its own screen: time, kind, who (where there is room), words."""
    actor = cell(event.actor, 14, "dim") if width >= 100 else line()
    return fit(
        line(
            " ",
            (numbers.clock(event.at), "dim"),
            "  ",
            cell(event.kind, 9, KIND_STYLE.get(event.kind, "")),
            actor,
            cell(event.task_id, 8, "dim"),
            " ",
            (event.text, KIND_STYLE.get(event.kind, "")),
        ),
        width,
    )


def matching(events: Sequence[Event], words: str) -> list[Event]:
    """Events that contain the words, in time order."""
    wanted = words.lower()
    return [e for e in events if wanted in f"{e.kind} {e.actor} {e.task_id} {e.text}".lower()]
