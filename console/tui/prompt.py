"""The one line in which the operator types: a filter, a command's name, a database's name, a comment."""

from __future__ import annotations

from textual.geometry import Size
from textual.widgets import Input


class Prompt(Input):
    """An input line above the footer, there only while it has a label."""

    def __init__(self) -> None:
        super().__init__(select_on_focus=False)
        self.label = ""  # what is asked; empty while the line is closed
        self.cursor_blink = False
        self.can_focus = False

    def open(self, label: str, value: str, size: Size) -> None:
        """Let the operator type, on a screen of this size."""
        self.label = label
        self.value = value
        self.place(size)
        self.display = True
        self.can_focus = True
        self.focus()

    def close(self) -> None:
        """Take the line away."""
        self.label = ""
        self.screen.set_focus(None)
        self.can_focus = False
        self.display = False

    def place(self, size: Size) -> None:
        """Put it behind its label."""
        left = len(self.label) + 1
        self.styles.offset = (left, max(size.height - 2, 0))
        self.styles.width = max(size.width - left, 1)
