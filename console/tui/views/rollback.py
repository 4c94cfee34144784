"""The panel ``u``: the points of the run one can go back to, and what going back to the chosen one means."""

from __future__ import annotations

from rich.text import Text

from console.journal.state import RollbackPreview
from console.tui.draw import going_back, rollback, rollback_points, rollback_text
from console.tui.draw.rollback_points import Point
from console.tui.facts import Facts
from console.tui.views.base import Size, View

PAGE = 10  # lines: what a page key moves in a list


class RollbackView(View):
    """The cursor is a point of the run; ``step`` the chosen line of what happens, ``detailed`` shows all of it."""

    name = "rollback"
    title = "Roll back"

    def __init__(self) -> None:
        super().__init__()
        self.detailed = False
        self.step = 0
        self._top = 0
        self._size: Size = (80, 19)
        self._sight = ""

    def points(self, facts: Facts) -> list[Point]:
        """Where one can go back to, and where no longer."""
        return rollback_points.points(facts.state, reviewing=facts.dry_run)

    def count(self, facts: Facts) -> int:
        return len(self.points(facts))

    def settle(self, facts: Facts) -> None:
        found = self.points(facts)
        first = rollback_points.first_reachable(found)
        self.cursor = max(first, min(self.cursor, len(found) - 1)) if found else 0
        self.step = max(0, min(self.step, self._steps(facts) - 1))

    def newest(self, facts: Facts) -> None:
        """Choose the last point; of a rollback that stopped half-way the one it goes to."""
        found = self.points(facts)
        goal = facts.state.back_to if facts.state and going_back.ended(facts.state)[0] else ""
        last = max(len(found) - 1, 0)
        self.cursor = next((place for place, point in enumerate(found) if goal and point.id == goal), last)
        self.step, self._top, self.detailed = 0, 0, False
        self.settle(facts)

    def point(self, facts: Facts) -> str:
        """The chosen point; empty when there is none, or none that can be reached."""
        found = self.points(facts)
        return found[self.cursor].id if self.cursor < len(found) else ""

    def preview(self, facts: Facts) -> RollbackPreview | None:
        """What going back there would do, when it is known."""
        return rollback.known(facts, self.point(facts))

    def _steps(self, facts: Facts) -> int:
        preview = self.preview(facts)
        return len(rollback.listed_steps(preview)) if preview else 0

    def choose(self, step: int, facts: Facts) -> None:
        """The point so many places before or after."""
        if not self.detailed:
            self.cursor, self.step = self.cursor + step, 0
            self.settle(facts)

    def move(self, lines: int, facts: Facts) -> None:
        """Lines move through what happens, pages through phases, ends through the points; all of it scrolls in ``v``."""
        found = self.points(facts)
        if self.detailed:
            preview = self.preview(facts)
            total = len(rollback_text.full(preview, self._size[0], facts.glyphs)) if preview else 0
            self._top = max(0, min(self._top + lines, total - self._size[1] + 2))
        elif abs(lines) < PAGE:
            self.step += lines
            self.settle(facts)
        elif found:
            far = abs(lines) > PAGE
            last = len(found) - 1 if lines > 0 else 0
            self.cursor = last if far else rollback_points.next_phase(found, min(self.cursor, len(found) - 1), lines)
            self.step = 0
            self.settle(facts)

    def turn(self) -> None:
        """Everything about it, or the panel again."""
        self.detailed, self._top = not self.detailed, 0

    def back(self) -> bool:
        detailed, self.detailed = self.detailed, False
        return detailed

    def footer(self, facts: Facts) -> str:
        return "going back" if going_back.is_going(facts.state) else self.name

    def label(self, facts: Facts) -> str:
        preview = self.preview(facts)
        looked = f"as of {preview.at:%H:%M:%S}, R looks again" if preview and preview.at else ""
        return self._sight if self.detailed else looked

    def draw(self, facts: Facts, size: Size) -> list[Text]:
        self._size = size
        preview = self.preview(facts)
        if going_back.is_going(facts.state):
            return going_back.progress(facts, size)
        if self.detailed and preview is not None:
            lines, self._sight = rollback.everything(preview, facts, self.point(facts), self._top, size)
            return lines
        return rollback.screen(facts, self.points(facts), self.cursor, self.step, size)
