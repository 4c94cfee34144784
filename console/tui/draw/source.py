"""SQL text as numbered, highlighted lines."""

from __future__ import annotations

from functools import lru_cache

from rich.text import Text

from console.sql.highlight import tokens
from console.text import visible
from console.tui.draw.base import line

STYLES = {
    "keyword": "sql.keyword",
    "string": "sql.string",
    "number": "sql.number",
    "comment": "sql.comment",
    "identifier": "",
    "operator": "",
    "type": "sql.type",
    "function": "sql.function",
}


@lru_cache(maxsize=256)
def highlighted(sql: str) -> Text:
    """``sql`` with nothing hidden in it and the classes of its words as styles; newlines kept."""
    clean = visible(sql, keep_newlines=True)
    text = Text(clean, no_wrap=True, end="")
    for start, end, kind in tokens(clean):
        style = STYLES.get(kind, "")
        if style:
            text.stylize(style, start, end)
    return text


def numbered(sql: str, first: int, width: int) -> list[Text]:
    """The lines of ``sql`` with their numbers in the file; what is wider than ``width`` goes on below, unnumbered."""
    lines: list[Text] = []
    room = max(width - 7, 20)
    for number, part in enumerate(highlighted(sql.strip("\n")).split("\n", allow_blank=True), start=first):
        for index, piece in enumerate(_pieces(part, room)):
            lines.append(line(("       " if index else f"{number:>5}  ", "dim"), piece))
    return lines


def _pieces(text: Text, room: int) -> list[Text]:
    """``text`` cut after words into pieces of at most ``room`` cells; later pieces are indented."""
    pieces: list[Text] = []
    indent = ""
    while text.cell_len > room - len(indent):
        cut = room - len(indent)
        space = text.plain.rfind(" ", 1, cut)
        head, text = text.divide([space + 1 if space > cut // 3 else cut])
        pieces.append(line(indent, head))
        indent = "    "
    return [*pieces, line(indent, text)]


def first_line(sql: str) -> Text:
    """``sql`` on one line, highlighted."""
    return highlighted(" ".join(visible(sql).split()))
