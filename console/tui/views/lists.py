"""Screens 3, 4 and 6: backfill, checks, log."""

from __future__ import annotations

from rich.text import Text

from console.tui.draw import backfill, checks, log
from console.tui.draw.base import fill, line, rule, scrolled, span
from console.tui.facts import Facts
from console.tui.views.base import Size, View


class BackfillView(View):
    """Screen 3: the copies, and the settings of the one under the cursor; follows what runs until it is moved."""

    name = "backfill"
    title = "Backfill"

    def __init__(self) -> None:
        super().__init__()
        self.following = True
        self.opened = False  # the settings are shown in place of the signals, where both do not fit

    def settle(self, facts: Facts) -> None:
        progress = facts.state.progress if facts.state else ()
        if self.following:
            self.cursor = next((i for i, item in enumerate(progress) if not item.finished), 0)
        super().settle(facts)

    def move(self, lines: int, facts: Facts) -> None:
        self.following = False
        super().move(lines, facts)

    def count(self, facts: Facts) -> int:
        return backfill.count_of(facts.state)

    def draw(self, facts: Facts, size: Size) -> list[Text]:
        return backfill.screen(facts, self.cursor, self.opened, size)

    def open(self) -> None:
        """The settings, or the signals again."""
        self.opened = not self.opened

    def back(self) -> bool:
        opened, self.opened = self.opened, False
        return opened or super().back()


class ChecksView(View):
    """Screen 4: results of checks; ``opened`` shows one, where the cursor moves among the rows that differ."""

    name = "checks"
    title = "Checks"
    filterable = True

    def __init__(self) -> None:
        super().__init__()
        self.opened = False
        self.row = 0

    def count(self, facts: Facts) -> int:
        return len(checks.ranked(facts.state, self.words))

    def settle(self, facts: Facts) -> None:
        super().settle(facts)
        self.row = max(0, min(self.row, self._rows(facts) - 1)) if self.opened else 0

    def move(self, lines: int, facts: Facts) -> None:
        if self.opened:
            self.row += lines
            self.settle(facts)
        else:
            super().move(lines, facts)

    def _rows(self, facts: Facts) -> int:
        items = checks.ranked(facts.state, self.words)
        return len(checks.rows_of(facts.state, items[self.cursor])) if items else 0

    def back(self) -> bool:
        if self.opened:
            self.opened = False
            return True
        return super().back()

    def draw(self, facts: Facts, size: Size) -> list[Text]:
        items = checks.ranked(facts.state, self.words)
        return checks.screen(facts, items, self.cursor, self.row if self.opened and items else None, size)


class LogView(View):
    """Screen 6: events; the cursor stays on the newest until it is moved."""

    name = "log"
    title = "Log"
    filterable = True

    def __init__(self) -> None:
        super().__init__()
        self.following = True
        self._top = 0
        self._sight = ""

    def count(self, facts: Facts) -> int:
        return len(log.matching(facts.state.events if facts.state else (), self.words))

    def settle(self, facts: Facts) -> None:
        if self.following:
            self.cursor = self.count(facts) - 1
        super().settle(facts)

    def move(self, lines: int, facts: Facts) -> None:
        self.following = False
        super().move(lines, facts)
        self.following = lines > 0 and self.cursor == self.count(facts) - 1

    def follow(self, facts: Facts) -> None:
        """Stay on the newest line from now on."""
        self.following = True
        self.settle(facts)

    def label(self, facts: Facts) -> str:
        follows = "following" if self.following else "f follows the newest"
        return ", ".join(item for item in (super().label(facts), self._sight, follows) if item)

    def draw(self, facts: Facts, size: Size) -> list[Text]:
        width, height = size
        events = log.matching(facts.state.events if facts.state else (), self.words)
        if not events:
            return fill([line(), line(" ", ("Nothing to show.", "dim"))], width, height)
        below: list[Text] = []
        if not self.following:  # the chosen line in full
            below = [rule(facts.glyphs, width), *log.in_full(events[self.cursor], width)]
            height -= len(below)
        self._top = scrolled(self._top, self.cursor, len(events), height)
        self._sight = span(self._top, height, len(events))
        lines: list[Text] = []
        for index, event in enumerate(events[self._top : self._top + height], start=self._top):
            text = log.full_line(event, width - 1)
            selected = index == self.cursor and not self.following
            if selected:
                text.stylize("cursor")
            lines.append(line((facts.glyphs.cursor, "mark") if selected else " ", text))
        return [*fill(lines, width, height), *fill(below, width, len(below))]
