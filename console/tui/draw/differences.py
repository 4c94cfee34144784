"""Rows that differ between an old table and its new one: a list, and one of them with the values of both sides."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import zip_longest

from rich.cells import cell_len, chop_cells
from rich.text import Text

from console.journal.difference import is_difference, values_of
from console.text import plain, several
from console.tui.draw.base import cell, fit, heading, line, scrolled, span
from console.tui.glyphs import Glyphs

Row = Mapping[str, str]
WHAT = 10  # the width of a kind
LINES = 3  # of one value
SHOWN = 20  # a check keeps at most so many


def are_differences(rows: Sequence[Row]) -> bool:
    """Whether a check's sample rows are differences between two tables."""
    return bool(rows) and all(is_difference(row) for row in rows)


def columns_of(row: Row) -> tuple[str, ...]:
    """The columns that differ."""
    try:
        found = json.loads(row["columns"] or "[]")
    except ValueError:
        return ()
    return tuple(str(name) for name in found) if isinstance(found, list) else ()


def _text(value: str | None) -> str:
    return "NULL" if value is None else value


def _pieces(value: str, width: int) -> list[str]:
    """A value over a few lines where one is too narrow: a difference may stand at its end. What is longer is cut."""
    text = plain(value)
    if cell_len(text) <= width:
        return [text]
    whole = chop_cells(text, width)
    return whole if len(whole) <= LINES else [*whole[: LINES - 1], "".join(whole[LINES - 1 :])]


def _change(row: Row) -> str:
    """The first differing value of both sides, for the row's own line."""
    names = columns_of(row)
    if not names:
        return ""
    old, new = values_of(row["old"]) or {}, values_of(row["new"]) or {}
    more = f", {len(names) - 1} more" if len(names) > 1 else ""
    return f"{names[0]}: {_text(old.get(names[0]))} | {_text(new.get(names[0]))}{more}"


def one_line(row: Row, width: int, *, selected: bool, glyphs: Glyphs) -> Text:
    """A difference as a line: kind, key, what changed."""
    left = line(cell(row["what"], WHAT, "warn"), row["key"])
    room = width - 4 - left.cell_len
    change = next((words for words in (_change(row), ", ".join(columns_of(row))) if 0 < len(words) <= room), "")
    if change:
        left = line(left, "  ", (change, "dim"))
    text = fit(left, width - 1)
    if selected:
        text.stylize("cursor")
    return line((glyphs.cursor, "mark") if selected else " ", text)


def listing(rows: Sequence[Row], chosen: int, size: tuple[int, int], glyphs: Glyphs) -> list[Text]:
    """The differences that are named, under a line with how many there are; ``chosen`` -1 stands for none."""
    width, height = size
    room = max(height - 1, 1)
    top = scrolled(0, max(chosen, 0), len(rows), room)
    seen = span(top, room, len(rows))
    named = f"the first {len(rows)} differing rows" if len(rows) >= SHOWN else several(len(rows), "differing row")
    head = heading(glyphs, width, ", ".join(part for part in (named, seen) if part))
    shown = enumerate(rows[top : top + room], start=top)
    return [head, *(one_line(row, width, selected=index == chosen, glyphs=glyphs) for index, row in shown)]


def side_by_side(row: Row, width: int, glyphs: Glyphs) -> list[Text]:
    """Every column with the value that the old row says and the one the new row has; those that differ come first."""
    old, new = values_of(row["old"]), values_of(row["new"])
    marked = columns_of(row)
    names = [*marked, *(n for n in dict.fromkeys([*(old or {}), *(new or {})]) if n not in marked)]
    title = f"{', '.join(marked)}: old beside new" if marked else row["what"]
    lines = [heading(glyphs, width, title)]
    if not names:
        return [*lines, line("  ", ("no row of either table is behind it", "dim"))]
    name_width = min(max(len("column"), *(len(name) for name in names)), width // 3)
    value_width = max((width - name_width - 6) // 2, 6)
    head = (cell("column", name_width, "dim"), cell("old row says", value_width, "dim"), ("new row has", "dim"))
    lines.append(line("  ", head[0], "  ", head[1], "  ", head[2]))
    for name in names:
        differs = name in marked
        style = "bad" if differs else "dim"
        values = [_pieces("(no row)" if side is None else _text(side.get(name)), value_width) for side in (old, new)]
        label = cell(name, name_width, "title" if differs else "dim")
        mark = line(("!" if differs else " ", "bad"), " ", label)
        for one, other in zip_longest(*values, fillvalue=""):
            lines.append(line(mark, "  ", cell(one, value_width, style), "  ", cell(other, value_width, style)))
            mark = line(" " * mark.cell_len)
    return [fit(item, width) for item in lines]
