"""The fewest bytes that turn what a terminal shows into something else. Pure: it makes text and sends nothing.

Only sequences that every terminal since the VT220 knows: cursor positions, SGR, erasing to the end of a line or
the screen, scroll margins with lines deleted or inserted.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from console.tui.picture import BLANK, PLAIN, Cell, Look, Row

ERASE_FROM = 4  # erasing to the end of the line costs three bytes
OFF = {"1": "22", "2": "22", "3": "23", "4": "24", "5": "25", "7": "27", "9": "29"}


class Pen:
    """Remembers where the cursor stands and which look is on; -1 and None where that is not known."""

    def __init__(self) -> None:
        self._y = -1
        self._x = -1
        self._look: Look | None = None

    def forget(self) -> None:
        """Another program may have written to the terminal."""
        self._y, self._x, self._look = -1, -1, None

    def clear(self) -> str:
        """An empty screen in the terminal's own colours."""
        self._look = PLAIN
        return "\x1b[m\x1b[2J"

    def rest(self) -> str:
        """No attribute and no colour is on after this."""
        return self._change(PLAIN)

    def row(self, y: int, old: Row, new: Row) -> str:
        """Turn one line into another of the same width; empty when nothing differs."""
        if old == new:
            return ""
        end = len(new)
        while end and new[end - 1] == BLANK:
            end -= 1
        erased = sum(cell != BLANK for cell in old[end:]) >= ERASE_FROM
        out: list[str] = []
        for start, stop in spans(old, new, end if erased else len(new)):
            out.append(self._move(y, start))
            out.append(self._cells(new[start:stop], len(new)))
        if erased:
            out += [self._move(y, end), self._change(PLAIN), "\x1b[K"]
        return "".join(out)

    def scroll(self, top: int, bottom: int, by: int) -> str:
        """Move rows ``top`` to ``bottom`` (exclusive) up by ``by``, or down where it is negative."""
        text = self._change(PLAIN) + f"\x1b[{top + 1};{bottom}r\x1b[{top + 1}H"
        text += f"\x1b[{by}M" if by > 0 else f"\x1b[{-by}L"
        self._y, self._x = 0, 0
        return text + "\x1b[r"

    def _cells(self, cells: Sequence[Cell], width: int) -> str:
        out: list[str] = []
        for text, look in cells:
            if text == "":
                continue
            if not (text == " " and self._look is not None and _same_blank(self._look, look)):
                out.append(self._change(look))
            out.append(text)
        self._x += len(cells)
        if self._x >= width:  # terminals differ in where the cursor then stands
            self._x = -1
        return "".join(out)

    def _change(self, look: Look) -> str:
        text, self._look = sgr(self._look, look), look
        return text

    def _move(self, y: int, x: int) -> str:
        here_y, here_x = self._y, self._x
        self._y, self._x = y, x
        if (here_y, here_x) == (y, x):
            return ""
        if y == here_y:
            return f"\x1b[{x + 1}G" if x else "\r"
        if x == 0:
            return "\r\n" if y == here_y + 1 > 0 else f"\x1b[{y + 1}H"
        if x == here_x and y == here_y + 1:
            return "\x1b[B"
        return f"\x1b[{y + 1};{x + 1}H"


def spans(old: Row, new: Row, end: int) -> list[tuple[int, int]]:
    """The parts (start, stop) up to ``end`` that have to be written; wide characters whole, cheap gaps written too."""
    found: list[tuple[int, int]] = []
    x = 0
    while x < end:
        if old[x] == new[x]:
            x += 1
            continue
        start, stop = x, x + 1
        while start and new[start].text == "":
            start -= 1
        while stop < len(new) and new[stop].text == "":
            stop += 1
        if found and _cheap(new, found[-1][1], start):
            found[-1] = (found[-1][0], stop)
        else:
            found.append((start, stop))
        x = stop
    return found


def _cheap(row: Row, start: int, stop: int) -> bool:
    """Whether writing these cells again costs no more than moving over them, which needs four or five bytes."""
    if stop - start > 5:
        return False
    look = row[start - 1].look
    same = all(cell.look == look or (cell.text == " " and _same_blank(look, cell.look)) for cell in row[start:stop])
    return same and len("".join(cell.text for cell in row[start:stop]).encode()) <= len(f"\x1b[{stop + 1}G")


def _same_blank(now: Look, wanted: Look) -> bool:
    """Whether a blank drawn in the look that is on looks as wanted."""
    return now == wanted or (now.ground == wanted.ground and not {"4", "7", "9"}.intersection((*now.on, *wanted.on)))


@lru_cache(maxsize=2048)
def sgr(before: Look | None, after: Look) -> str:
    """The shortest sequence from one look to another."""
    if before == after:
        return ""
    whole = "\x1b[" + ";".join(part for part in ("0", *after.on, after.ink, after.ground) if part) + "m"
    if after == PLAIN:
        whole = "\x1b[m"
    if before is None:
        return whole
    off = {OFF[mark] for mark in before.on if mark not in after.on}
    kept = {mark for mark in before.on if OFF[mark] not in off}
    parts = [*sorted(off), *(mark for mark in after.on if mark not in kept)]
    if before.ink != after.ink:
        parts.append(after.ink or "39")
    if before.ground != after.ground:
        parts.append(after.ground or "49")
    return min(whole, "\x1b[" + ";".join(parts) + "m", key=len)
