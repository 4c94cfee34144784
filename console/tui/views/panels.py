"""What opens over the screens: the rollback panel, help, the palette."""

from __future__ import annotations

from rich.text import Text

from console.journal.state import RollbackPreview
from console.tui import keys
from console.tui.draw import pages, rollback
from console.tui.facts import Facts, Missing
from console.tui.views.base import Size, View


class RollbackView(View):
    """The panel ``u``: the cursor is a point of the run."""

    name = "rollback"
    title = "Roll back"

    def __init__(self) -> None:
        super().__init__()
        self.detailed = False

    def points(self, facts: Facts) -> list[str]:
        """Where one can go back to."""
        return rollback.points(facts.state)

    def count(self, facts: Facts) -> int:
        return len(self.points(facts))

    def point(self, facts: Facts) -> str:
        """The chosen point; empty when there is none."""
        names = self.points(facts)
        return names[min(self.cursor, len(names) - 1)] if names else ""

    def preview(self, facts: Facts) -> RollbackPreview | None:
        """What going back there would do, when it is known."""
        found = facts.rollbacks.get(self.point(facts))
        return None if isinstance(found, Missing) else found

    def back(self) -> bool:
        detailed, self.detailed = self.detailed, False
        return detailed

    def draw(self, facts: Facts, size: Size) -> list[Text]:
        return rollback.screen(facts, self.points(facts), self.cursor, self.detailed, size)


class HelpView(View):
    """The keys of the screen it was opened from."""

    name = "help"
    title = "Keys"

    def __init__(self) -> None:
        super().__init__()
        self.about = "tasks"
        self.about_title = "Tasks"
        self._size: Size = (80, 19)

    def count(self, facts: Facts) -> int:
        lines = pages.help_lines(self.about, self.about_title, facts, self._size[0])
        return max(len(lines) - self._size[1] + 2, 1)

    def draw(self, facts: Facts, size: Size) -> list[Text]:
        self._size = size
        lines = pages.help_lines(self.about, self.about_title, facts, size[0])
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
