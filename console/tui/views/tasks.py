"""Screen 1: phases and tasks, what runs now, and at 110 columns and more the details of the chosen task."""

from __future__ import annotations

from rich.text import Text

from console.journal.state import RunState, TaskStatus
from console.tui.draw import tasks as drawing
from console.tui.draw.base import beside, fill, line, rule, scrolled, span
from console.tui.draw.frame import phases
from console.tui.draw.live import strip
from console.tui.draw.log import event_line
from console.tui.facts import Facts
from console.tui.views.base import Size, View

WIDE = 110


class TasksView(View):
    """The tree. Follows the running task until the cursor is moved."""

    name = "tasks"
    title = "Tasks"
    filterable = True

    def __init__(self) -> None:
        super().__init__()
        self.following = True
        self.chosen = ""  # key of the row under the cursor
        self.unfolded: set[str] = set()
        self._by_hand = False  # the operator has folded or unfolded something
        self._current = ""
        self._height = 11
        self._top = 0
        self._sight = ""

    def rows(self, facts: Facts) -> list[drawing.Row]:
        """The lines of the tree now."""
        return drawing.rows(facts.state, self.unfolded, self.words) if facts.state else []

    def count(self, facts: Facts) -> int:
        return len(self.rows(facts))

    def settle(self, facts: Facts) -> None:
        """Follow the running task, or keep the cursor on the row it stood on."""
        if facts.state is None:
            return
        here = _here(facts.state)
        if here != self._current and self.following:
            self._by_hand = False
        self._current = here
        if not self._by_hand:
            self.unfolded = _unfold(facts.state, here, self._height)
        if self.following and here:
            self.chosen = here
        keys = [row.key for row in self.rows(facts)]
        if self.chosen in keys:
            self.cursor = keys.index(self.chosen)
        else:
            self.cursor = max(0, min(self.cursor, len(keys) - 1))
            self.chosen = keys[self.cursor] if keys else ""

    def move(self, lines: int, facts: Facts) -> None:
        rows = self.rows(facts)
        if rows:
            self.following = False
            self.cursor = max(0, min(self.cursor + lines, len(rows) - 1))
            self.chosen = rows[self.cursor].key

    def choose(self, key: str, facts: Facts) -> None:
        """Put the cursor on a task or phase."""
        self.following = False
        self.chosen = key
        self.settle(facts)

    def task_id(self, facts: Facts) -> str:
        """The task under the cursor; for a phase its first unfinished task; empty without any."""
        rows = self.rows(facts)
        if not rows:
            return ""
        row = rows[min(self.cursor, len(rows) - 1)]
        if row.task is not None:
            return row.task.id
        unfinished = (task.id for task in row.tasks if task.status is not TaskStatus.COMPLETED)
        return next(unfinished, row.tasks[0].id)

    def phase_id(self, facts: Facts) -> str:
        """The phase the cursor is in."""
        rows = self.rows(facts)
        return rows[min(self.cursor, len(rows) - 1)].phase_id if rows else ""

    def on_phase(self) -> bool:
        """Whether the cursor stands on a phase."""
        return self.chosen.startswith("phase ")

    def fold(self, facts: Facts, *, unfold: bool) -> None:
        """Fold the phase the cursor is in, or unfold it."""
        phase = self.phase_id(facts)
        self.following = False
        self._by_hand = True
        if unfold:
            self.unfolded.add(phase)
        elif phase in self.unfolded:
            self.unfolded.discard(phase)
            self.chosen = f"phase {phase}"
        self.settle(facts)

    def follow(self, facts: Facts) -> None:
        """Keep the cursor on the running task from now on."""
        self.following = True
        self._by_hand = False
        self.settle(facts)

    def label(self, facts: Facts) -> str:
        return super().label(facts) or self._sight

    def draw(self, facts: Facts, size: Size) -> list[Text]:
        width, height = size
        if facts.state is None:
            return fill([line(), line(" ", ("Reading the run from the database..", "dim"))], width, height)
        wide = width >= WIDE
        events_height = 4 if wide and height >= 30 else 2
        live_height = 5 if wide and height >= 30 else 4
        if height < 16:
            events_height = 0
        live = fill(strip(facts, width, live_height), width, live_height)
        events = (
            [event_line(event, width - 1) for event in facts.state.events[-events_height:]] if events_height else []
        )
        lower = [rule(facts.glyphs, width, drawing.summary(facts.state)), *live]
        if events_height:
            blank = [line()] * (events_height - len(events))
            lower += [rule(facts.glyphs, width), *(line(" ", item) for item in (*events, *blank))]
        upper = self._upper(facts, (width, height - len(lower)))
        return fill([*upper, *lower], width, height)

    def _upper(self, facts: Facts, size: Size) -> list[Text]:
        width, height = size
        state = facts.state
        if height != self._height:
            self._height = height
            self.settle(facts)
        rows = self.rows(facts)
        if state is None or not rows:
            return fill([line(" ", ("No task has these words.", "dim"))], width, height)
        list_width = width * 11 // 20 if width >= WIDE else width
        self._top = scrolled(self._top, self.cursor, len(rows), height)
        self._sight = span(self._top, height, len(rows))
        shown = rows[self._top : self._top + height]
        listed = [drawing.row_line(row, state, list_width, facts.glyphs, row.key == self.chosen) for row in shown]
        if width < WIDE:
            return fill(listed, width, height)
        detail_width = width - list_width - 3
        row = rows[min(self.cursor, len(rows) - 1)]
        if row.task is None:
            detail = drawing.phase_detail(row, facts, detail_width)
        else:
            detail = drawing.task_detail(row.task, facts, detail_width, height)
        columns = (list_width, detail_width)
        return beside(fill(listed, list_width, height), fill(detail, detail_width, height), facts.glyphs, columns)


def _here(state: RunState) -> str:
    """The task to look at: the current one, else the first unfinished one, else the last."""
    if state.current is not None:
        return state.current.id
    for task in state.tasks:
        if task.status is not TaskStatus.COMPLETED:
            return task.id
    return state.tasks[-1].id if state.tasks else ""


def _unfold(state: RunState, here: str, height: int) -> set[str]:
    """The phases to unfold: the one with ``here``, then later ones, then earlier ones, as long as all fits."""
    groups = phases(state)
    at = next((index for index, group in enumerate(groups) if any(task.id == here for task in group[2])), 0)
    unfolded: set[str] = set()
    used = len(groups)
    for group in (*groups[at:], *reversed(groups[:at])):
        used += len(group[2])
        if unfolded and used > height:
            break
        unfolded.add(group[0])
    return unfolded
