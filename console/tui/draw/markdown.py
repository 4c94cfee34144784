"""Marks inside a line of Markdown: code and strong words in bold, links as their words, wrapped to a width."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rich.cells import cell_len
from rich.text import Text

from console.text import plain
from console.tui.draw.base import line

_INLINE = re.compile(r"`([^`]+)`|\*\*([^*]+)\*\*|(?<!\*)\*([^*\s][^*]*)\*|\[([^\]\n]+)\]\([^)\s]+\)")
_BOLD = "key"
Piece = tuple[str, str]  # text and style


def pieces(source: str, style: str = "") -> Iterator[Piece]:
    """The text without its marks, piece by piece; what stands in code is left as it is."""
    at = 0
    for found in _INLINE.finditer(source):
        if found.start() > at:
            yield source[at : found.start()], style
        if found[1] is not None:
            yield found[1], _BOLD
        elif found[2] is not None:
            yield from pieces(found[2], _BOLD)
        else:
            yield from pieces(found[3] or found[4], style)
        at = found.end()
    if at < len(source):
        yield source[at:], style


def bare(source: str) -> str:
    """The text without its marks."""
    return "".join(text for text, _ in pieces(source))


def wrapped(source: str, width: int, style: str = "") -> list[Text]:
    """The text over as many lines of ``width`` cells as needed; a word that is wider is cut into several."""
    lines: list[Text] = []
    current = line()
    for word in _words(source, style):
        for part in _cut(word, max(width, 1)):
            if current.cell_len and current.cell_len + 1 + part.cell_len > width:
                lines.append(current)
                current = line()
            current.append_text(line(" ", part) if current.cell_len else part)
    return [*lines, current] if current.cell_len else lines


def _words(source: str, style: str) -> Iterator[Text]:
    """Words, each of one or several pieces."""
    word = line()
    for text, look in pieces(plain(source), style):
        for number, part in enumerate(text.split(" ")):
            if number and word.cell_len:
                yield word
                word = line()
            if part:
                word.append_text(line((part, look)) if look else line(part))
    if word.cell_len:
        yield word


def _cut(word: Text, width: int) -> list[Text]:
    if word.cell_len <= width:
        return [word]
    marks, room = [], 0
    for at, character in enumerate(word.plain):
        room += cell_len(character)
        if room > width and at:
            marks.append(at)
            room = cell_len(character)
    return list(word.divide(marks))
