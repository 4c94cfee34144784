"""What every screen has in common: a cursor over a number of lines, a filter, and one drawing function."""

from __future__ import annotations

from abc import ABC, abstractmethod

from rich.text import Text

from console.tui.facts import Facts

Size = tuple[int, int]


class View(ABC):
    """A screen. Subclasses say how many lines can be chosen and draw themselves; they change nothing else."""

    name = ""
    title = ""
    filterable = False

    def __init__(self) -> None:
        self.cursor = 0
        self.words = ""  # the filter

    def count(self, facts: Facts) -> int:
        """How many lines the cursor can stand on."""
        return 0

    @abstractmethod
    def draw(self, facts: Facts, size: Size) -> list[Text]:
        """The lines of the body, exactly as many and as wide as ``size`` (width, height)."""

    def settle(self, facts: Facts) -> None:
        """Bring the cursor back into range after the facts changed."""
        self.cursor = max(0, min(self.cursor, self.count(facts) - 1))

    def move(self, lines: int, facts: Facts) -> None:
        """Move the cursor by so many lines, as far as there are any."""
        self.cursor += lines
        self.settle(facts)

    def filter(self, words: str, facts: Facts) -> None:
        """Show only lines with these words."""
        self.words = words
        self.settle(facts)

    def back(self) -> bool:
        """Undo the last opening inside the screen; False when there is nothing to undo."""
        if self.words:
            self.words = ""
            return True
        return False

    def footer(self, facts: Facts) -> str:
        """Whose keys the last line shows: this view's by name."""
        return self.name

    def label(self, facts: Facts) -> str:
        """Words for the rule above the footer: which lines are in sight, which filter is on."""
        return f"only lines with: {self.words}" if self.words else ""
