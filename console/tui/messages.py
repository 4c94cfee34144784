"""Every message that threads post to the screen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from textual.message import Message

from console.journal.state import RunState


class RunChanged(Message, bubble=False):
    """The run as it is now; a newer one replaces one that still waits to be handled."""

    def __init__(self, state: RunState) -> None:
        self.state = state
        super().__init__()

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, RunChanged)


class FeedLost(Message, bubble=False):
    """The run cannot be read at the moment; ``text`` says why."""

    def __init__(self, text: str) -> None:
        self.text = text
        super().__init__()

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, FeedLost)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a question to the world brought: a value, or an error sentence and perhaps lines that show it."""

    value: object = None
    error: str = ""
    detail: str = ""


class Answered(Message, bubble=False):
    """A question asked in a thread has its answer; ``then`` runs on the screen's side."""

    def __init__(self, then: Callable[[Outcome], None], outcome: Outcome) -> None:
        self.then = then
        self.outcome = outcome
        super().__init__()
