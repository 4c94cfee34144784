"""What a world answers that only shows a run: nothing can be sent from it, and its going changes nothing."""

from __future__ import annotations

from console.errors import Refused
from console.journal.state import OnDetach
from console.tui.ports import Receipt


class Shown:
    """The part of a console's world that has to do with control, where there is none."""

    @property
    def on_detach(self) -> OnDetach:
        """A console without control leaves nothing behind."""
        return OnDetach.GO_ON

    def set_on_detach(self, option: OnDetach) -> Receipt:
        """Always refused."""
        raise Refused("This console only reads.", state="Nothing was changed.")

    def take_over(self) -> Receipt:
        """Always refused."""
        raise Refused("This console only reads.", state="Nothing was changed.")

    def drawn(self) -> None:
        """Nobody has to know."""
