"""Pages to read: the plan's own, the manual's, and what a refusal has to show."""

from __future__ import annotations

from rich.text import Text

from console.manual.pages import pages
from console.plan.model import Doc
from console.tui.draw.docs import doc_lines, doc_list
from console.tui.draw.pages import scrolled_page
from console.tui.facts import Facts, Missing
from console.tui.views.base import Size, View

WIDEST = 100  # cells; longer lines are hard to read


class DocsView(View):
    """The list of pages, and one of them opened."""

    name = "docs"
    title = "Docs"

    def __init__(self) -> None:
        super().__init__()
        self.opened: Doc | None = None
        self._from = 0
        self._alone = False  # a page that is in no list: closing it leaves the view
        self._size: Size = (80, 19)

    def show(self, page: Doc) -> None:
        """Show a page that is in no list."""
        self.opened, self._alone, self.cursor = page, True, 0

    def _listed(self, facts: Facts) -> tuple[Doc, ...]:
        return (() if isinstance(facts.docs, Missing) else facts.docs) + pages()

    def count(self, facts: Facts) -> int:
        if self.opened is not None:
            lines = doc_lines(self.opened, min(self._size[0], WIDEST), facts.glyphs)
            return max(len(lines) - self._size[1] + 2, 1)
        return len(self._listed(facts))

    def open(self, facts: Facts) -> None:
        """Open the page under the cursor."""
        if self.opened is None:
            self._from, self._alone = self.cursor, False
            self.opened = self._listed(facts)[self.cursor]
            self.cursor = 0

    def back(self) -> bool:
        if self.opened is None:
            return False
        self.opened = None
        self.cursor = self._from
        return not self._alone

    def draw(self, facts: Facts, size: Size) -> list[Text]:
        self._size = size
        if self.opened is None:
            return doc_list(facts, pages(), self.cursor, size)
        lines = doc_lines(self.opened, min(size[0], WIDEST), facts.glyphs)
        return scrolled_page(self.opened.title, lines, self.cursor, size)
