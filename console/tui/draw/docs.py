"""Pages of Markdown as lines: the plan's own and the manual's, and the list of both."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len
from rich.text import Text

from console.plan.model import Doc
from console.text import plain
from console.tui.draw.base import cell, fill, fit, heading, line, scrolled, wrap
from console.tui.draw.markdown import bare, wrapped
from console.tui.facts import Facts, Missing
from console.tui.glyphs import Glyphs

_ITEM = re.compile(r"\s*([-*]|\d+\.)\s")
_GAP = 2  # cells between the columns of a table
_NARROW = 8  # a column is not made narrower than this


@dataclass
class _Page:
    """Collects the lines of one page."""

    width: int
    glyphs: Glyphs
    lines: list[Text] = field(default_factory=list)
    paragraph: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    bullet: tuple[str, str] = ("", "")  # indent and sign of the list item that the paragraph belongs to

    def flush(self) -> None:
        """End the paragraph or the table that was being read."""
        indent, sign = self.bullet
        room = self.width - len(indent) - 5 if sign else self.width - 2
        for number, item in enumerate(wrapped(" ".join(self.paragraph), room)):
            self.lines.append(line(indent, cell("" if number else sign, 3, "dim"), item) if sign else line(" ", item))
        self.lines += _table(self.rows, self.width, self.glyphs)
        self.paragraph, self.rows, self.bullet = [], [], ("", "")

    def read(self, raw: str) -> None:
        """One line of the source, outside of code."""
        if raw.startswith("|"):
            self.rows.append([part.strip() for part in re.split(r"(?<!\\)\|", raw.strip().strip("|"))])
            return
        if self.rows:
            self.flush()
        if raw.startswith("#"):
            self.flush()
            self.lines.append(heading(self.glyphs, self.width, bare(raw.lstrip("# "))))
        elif _ITEM.match(raw):
            self.flush()
            mark, _, rest = raw.lstrip().partition(" ")
            sign = mark if mark[0].isdigit() else self.glyphs.dot
            self.bullet = (" " * (len(raw) - len(raw.lstrip()) + 2), sign)
            self.paragraph.append(rest.strip())
        elif raw.strip():
            self.paragraph.append(raw.strip())
        else:
            self.flush()
            self.lines.append(line())


def doc_lines(doc: Doc, width: int, glyphs: Glyphs) -> list[Text]:
    """A page of Markdown as lines: headings, lists, tables, code and paragraphs; other marks stay as written."""
    page = _Page(width, glyphs)
    code = False
    for raw in _body(doc):
        if raw.lstrip().startswith("```"):
            page.flush()
            code = not code
        elif code:
            page.lines += _code(raw, width)
        else:
            page.read(raw)
    page.flush()
    return page.lines


def _body(doc: Doc) -> list[str]:
    """The page's lines without its title, which stands above the page, and the blank lines under it."""
    lines = plain(doc.text, keep_newlines=True).split("\n")
    first = next((n for n, raw in enumerate(lines) if raw.strip()), 0)
    if lines[first].startswith("# ") and bare(lines[first].strip("# ")) == bare(doc.title):
        first = next((n for n, raw in enumerate(lines) if n > first and raw.strip()), len(lines))
    return lines[first:]


def _code(raw: str, width: int) -> list[Text]:
    """A line of code as it is; one that is too long goes on in the next line, further in."""
    room = max(width - 6, _NARROW)
    parts = [raw[at : at + room] for at in range(0, len(raw), room)] or [""]
    return [fit(line("      " if number else "    ", (part, "sql.string")), width) for number, part in enumerate(parts)]


def _table(rows: Sequence[Sequence[str]], width: int, glyphs: Glyphs) -> list[Text]:
    """A table in columns, its cells wrapped where they do not fit; the line under its head is drawn."""
    body = [row for row in rows if not all(re.fullmatch(r":?-+:?", part) for part in row)]
    if not body:
        return []
    columns = max(len(row) for row in body)
    filled = [[*row, *[""] * (columns - len(row))] for row in body]
    widths = _widths(filled, width - 2 - _GAP * (columns - 1))
    lines: list[Text] = []
    for number, row in enumerate(filled):
        head = number == 0 and len(body) < len(rows)
        cut = [wrapped(part, room, "title" if head else "") for part, room in zip(row, widths, strict=True)]
        for at in range(max(1, *map(len, cut))):
            text = line(" ")
            for column, (cells, room) in enumerate(zip(cut, widths, strict=True)):
                text.append_text(line(" " * _GAP if column else ""))
                text.append_text(fit(cells[at] if at < len(cells) else line(), room))
            lines.append(fit(text, width))
        if head:
            lines.append(line(" ", (glyphs.rule * min(sum(widths) + _GAP * (columns - 1), width - 2), "rule")))
    return lines


def _widths(rows: Sequence[Sequence[str]], room: int) -> list[int]:
    """The columns' widths within ``room``: the widest gives way first."""
    widths = [max(cell_len(bare(row[column])) for row in rows) for column in range(len(rows[0]))]
    while sum(widths) > room and max(widths) > _NARROW:
        widths[widths.index(max(widths))] -= 1
    return [max(width, 1) for width in widths]


def doc_list(facts: Facts, manual: Sequence[Doc], chosen: int, size: tuple[int, int]) -> list[Text]:
    """The plan's pages and the manual's; ``chosen`` counts through both."""
    width, height = size
    docs = facts.docs
    known = () if isinstance(docs, Missing) else docs
    why = (docs.text or "reading..") if isinstance(docs, Missing) else "" if docs else "This plan has no pages."
    rows = [_doc_row(doc, i == chosen, facts.glyphs, width) for i, doc in enumerate([*known, *manual])]
    lines = [heading(facts.glyphs, width, "the plan's pages")]
    lines += [line(" ", item) for item in wrap(why, width - 2, "dim")] or rows[: len(known)]
    lines += [line(), heading(facts.glyphs, width, "the manual of pgferry")]
    above = len(lines)
    lines += rows[len(known) :]
    at = chosen + 1 if chosen < len(known) else above + chosen - len(known)
    top = scrolled(0, at, len(lines), height)
    return fill(lines[top:], width, height)


def _doc_row(doc: Doc, selected: bool, glyphs: Glyphs, width: int) -> Text:
    text = fit(line(" ", cell(doc.title, 44), (doc.name, "dim")), width - 1)
    if selected:
        text.stylize("cursor")
    return line((glyphs.cursor, "mark") if selected else " ", text)
