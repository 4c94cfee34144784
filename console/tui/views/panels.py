"""What opens over the screens: help, the palette."""

from __future__ import annotations

from rich.text import Text

from console.tui import keys
from console.tui.draw import pages
from console.tui.facts import Facts
from console.tui.views.base import Size, View


class HelpView(View):
    """The keys of the screen it was opened from."""

    name = "help"
    title = "Keys"

    def __init__(self) -> None:
        super().__init__()
        self.about = "tasks"
        self.about_title = "Tasks"
        self._beyond = 0  # lines that did not fit when it was last drawn

    def count(self, facts: Facts) -> int:
        return self._beyond + 1

    def draw(self, facts: Facts, size: Size) -> list[Text]:
        lines = pages.help_lines(self.about, self.about_title, facts, size[0])
        self._beyond = max(len(lines) - size[1] + 1, 0)
        self.settle(facts)
        return pages.scrolled_page("Keys", lines, self.cursor, size)


class PaletteView(View):
    """Every command by name."""

    name = "palette"
    title = "Commands"
    filterable = True

    def count(self, facts: Facts) -> int:
        return len(keys.commands(self.words))

    def action(self) -> str:
        """The command under the cursor; empty when none matches."""
        found = keys.commands(self.words)
        return found[self.cursor].action if found else ""

    def draw(self, facts: Facts, size: Size) -> list[Text]:
        return pages.palette(keys.commands(self.words), self.cursor, facts.glyphs, size)
