"""Screen 2: what one task would run, forward or back."""

from __future__ import annotations

from rich.text import Text

from console.sql.model import TaskPreview
from console.tui.draw import preview as drawing
from console.tui.draw.base import fill, line, wrap
from console.tui.facts import Facts, Missing
from console.tui.views.base import Size, View
from console.tui.views.tasks import WIDE


class PreviewView(View):
    """The statements of ``task_id``; ``whole`` shows all of their SQL."""

    name = "preview"
    title = "Preview"
    filterable = True

    def __init__(self) -> None:
        super().__init__()
        self.task_id = ""
        self.side = drawing.UP
        self.whole = False
        self._width = 80

    def show(self, task_id: str) -> None:
        """Show another task from its first statement on."""
        if task_id != self.task_id:
            self.task_id, self.cursor, self.side, self.whole, self.words = task_id, 0, drawing.UP, False, ""

    def preview(self, facts: Facts) -> TaskPreview | None:
        """The preview when it is there."""
        found = facts.previews.get(self.task_id)
        return None if isinstance(found, Missing) else found

    def count(self, facts: Facts) -> int:
        preview = self.preview(facts)
        if preview is None:
            return 0
        if self.whole:
            return len(drawing.whole_lines(preview, self.side, self._width, facts.glyphs))
        return len(drawing.statements(preview, self.side, self.words))

    def turn(self) -> None:
        """The other direction."""
        self.side = drawing.DOWN if self.side == drawing.UP else drawing.UP
        self.cursor = 0

    def open(self) -> None:
        """All the SQL, or the list again."""
        self.whole = not self.whole
        self.cursor = 0

    def back(self) -> bool:
        if super().back():
            return True
        if self.whole:
            self.open()
            return True
        if self.side == drawing.DOWN:
            self.turn()
            return True
        return False

    def sql(self, facts: Facts) -> str:
        """The text to copy: the chosen statement, or all of them in the whole view."""
        preview = self.preview(facts)
        items = drawing.statements(preview, self.side, "" if self.whole else self.words) if preview else ()
        if not items:
            return ""
        chosen = items if self.whole else items[self.cursor : self.cursor + 1]
        return "\n\n".join(f"{item.sql.rstrip().rstrip(';')};" for item in chosen) + "\n"

    def draw(self, facts: Facts, size: Size) -> list[Text]:
        width, height = size
        self._width = width
        task = facts.task(self.task_id)
        title = task.title if task else ""
        found = facts.previews.get(self.task_id)
        if found is None or isinstance(found, Missing):
            words = (found.text if found else "") or "Reading what this task would run.."
            style = "bad" if found and found.text else "dim"
            head = line((f" {self.task_id}  {title}", "title"))
            return fill([head, line(), *(line(" ", item) for item in wrap(words, width - 2, style))], width, height)
        if self.whole:
            return drawing.whole(found, self.side, self.cursor, facts, size)
        arrange = drawing.split if width >= WIDE else drawing.stacked
        return arrange(found, title, self.side, self.cursor, facts, size, self.words)
