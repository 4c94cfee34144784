"""What a terminal shows, cell by cell: a character, and how it looks in the terminal's own codes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from rich.cells import cell_len
from rich.color import ColorSystem
from rich.style import Style
from textual.strip import Strip


class Look(NamedTuple):
    """How a cell looks, as SGR numbers. ``on``: attributes in order; colours are empty where they are the terminal's."""

    on: tuple[str, ...] = ()
    ink: str = ""
    ground: str = ""


class Cell(NamedTuple):
    """One cell. The second half of a wide character has no text."""

    text: str
    look: Look


Row = tuple[Cell, ...]
Picture = tuple[Row, ...]

PLAIN = Look()
BLANK = Cell(" ", PLAIN)
MARKS = {1: "bold", 2: "dim", 3: "italic", 4: "underline", 5: "blink", 7: "reverse", 9: "strike"}
SEEN_ON_BLANKS = {"4", "7", "9"}


def blank(width: int, height: int) -> Picture:
    """A cleared screen."""
    return ((BLANK,) * width,) * height


@lru_cache(maxsize=512)
def look_of(style: Style | None, system: ColorSystem | None) -> Look:
    """A style in the terminal's codes; without a colour system it has no colours."""
    if style is None:
        return PLAIN
    on = tuple(str(number) for number, name in MARKS.items() if getattr(style, name))
    if system is None:
        return Look(on)
    ink, ground = style.color, style.bgcolor
    return Look(
        on,
        ";".join(ink.downgrade(system).get_ansi_codes()) if ink and not ink.is_default else "",
        ";".join(ground.downgrade(system).get_ansi_codes(foreground=False)) if ground and not ground.is_default else "",
    )


@lru_cache(maxsize=512)
def _blank_look(look: Look) -> Look:
    """Blanks show their ground only; with a line or exchanged colours they show everything."""
    return look if SEEN_ON_BLANKS.intersection(look.on) else Look((), "", look.ground)


def row_of(strip: Strip, system: ColorSystem | None) -> Row:
    """The cells of a line. A character that takes no cell stands with the one before it; control characters go."""
    cells: list[Cell] = []
    for text, style, _ in strip:
        look = look_of(style, system)
        if text.isascii() and text.isprintable():
            empty = Cell(" ", _blank_look(look))
            cells += [empty if character == " " else Cell(character, look) for character in text]
            continue
        for character in text:
            width = cell_len(character)
            if character == " ":
                cells.append(Cell(" ", _blank_look(look)))
            elif width and character.isprintable():
                cells += [Cell(character, look), *[Cell("", look)] * (width - 1)]
            elif cells and character.isprintable():
                at = next((n for n in range(len(cells) - 1, -1, -1) if cells[n].text), 0)
                cells[at] = Cell(cells[at].text + character, cells[at].look)
    return tuple(cells)


class Tracer:
    """Makes pictures of lines; a line that stays the same is not looked at again."""

    def __init__(self) -> None:
        self._known: list[tuple[Strip, Row]] = []

    def trace(self, strips: Sequence[Strip], system: ColorSystem | None) -> Picture:
        """The picture of these lines, from top to bottom."""
        known = self._known if len(self._known) == len(strips) else [(Strip([]), ())] * len(strips)
        self._known = [
            (strip, row if strip == before else row_of(strip, system))
            for strip, (before, row) in zip(strips, known, strict=True)
        ]
        return tuple(row for _, row in self._known)


def shifted(old: Picture, new: Picture) -> tuple[int, int, int] | None:
    """Lines that only moved up or down: (top, bottom, by), by > 0 when they moved up. None where few or none did.

    Rows ``top`` to ``bottom`` (exclusive) of ``new`` without the last (first) ``by`` are rows of ``old``, moved.
    """
    places: dict[Row, list[int]] = {}
    for y, row in enumerate(old):
        if not _empty(row):
            places.setdefault(row, []).append(y)
    best = (2, 0, 0, 0)  # rows that need not be sent, top, bottom, by
    for by in {was - y for y, row in enumerate(new) if row != old[y] for was in places.get(row, [])}:
        for start, stop in _runs(old, new, by):
            top, bottom = (start, stop + by) if by > 0 else (start + by, stop)
            lost = range(stop, bottom) if by > 0 else range(top, start)
            saved = sum(new[y] != old[y] and not _empty(new[y]) for y in range(start, stop))
            saved -= sum(new[y] == old[y] and not _empty(new[y]) for y in lost)
            best = max(best, (saved, top, bottom, by))
    return best[1:] if best[3] else None


def _runs(old: Picture, new: Picture, by: int) -> Iterator[tuple[int, int]]:
    """The longest runs (start, stop) of rows of ``new`` that stood ``by`` rows lower in ``old``."""
    start = None
    for y in range(max(-by, 0), min(len(new), len(old) - by) + 1):
        same = y < len(new) and y + by < len(old) and new[y] == old[y + by]
        if same and start is None:
            start = y
        elif not same and start is not None:
            yield start, y
            start = None


def _empty(row: Row) -> bool:
    return all(cell == BLANK for cell in row)


def moved(picture: Picture, top: int, bottom: int, by: int) -> Picture:
    """The picture after rows ``top`` to ``bottom`` (exclusive) moved up by ``by``, or down where it is negative."""
    empty = ((BLANK,) * len(picture[0]),) * abs(by)
    area = picture[top:bottom]
    area = area[by:] + empty if by > 0 else empty + area[:by]
    return picture[:top] + area + picture[bottom:]
