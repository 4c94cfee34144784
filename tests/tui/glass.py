"""A terminal for tests: what stands on its screen after the bytes it was sent, as much of it as the console uses."""

from __future__ import annotations

import codecs
import re

from rich.cells import cell_len

ESCAPE = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1bP[^\x1b]*\x1b\\|\x1b\[([0-?]*)[ -/]*([@-~])|\x1b[78=>c]|\x1b\\"
)
UNFINISHED = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b]*\x1b?|P[^\x1b]*\x1b?)?\Z")
Look = frozenset[str]


class Glass:
    """Rows of (character, look) of the alternate screen; modes that were switched on. Feed it bytes."""

    def __init__(self, columns: int, rows: int) -> None:
        self.modes: set[str] = set()
        self.ever: set[str] = set()
        self.sgr: set[str] = set()  # every SGR parameter list seen
        self.forgiving = False  # while sizes change faster than they are drawn, a picture may be meant for an older one
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._rest = ""
        self.resize(columns, rows)

    def resize(self, columns: int, rows: int) -> None:
        """Another size; nobody knows what a terminal then shows, so here nothing."""
        self.size = (columns, rows)
        self._strange = True  # what comes may still be meant for the old size
        self._x = self._y = 0
        self._top, self._bottom = 0, rows
        self._on: dict[str, str] = {}
        self._clear()

    def _clear(self) -> None:
        self.cells = [self._empty() for _ in range(self.size[1])]

    def _empty(self) -> list[tuple[str, Look]]:
        return [(" ", frozenset())] * self.size[0]

    @property
    def lines(self) -> list[str]:
        """The text of every row."""
        return ["".join(text for text, _ in row) for row in self.cells]

    @property
    def text(self) -> str:
        """The text of the whole screen."""
        return "\n".join(line.rstrip() for line in self.lines)

    def feed(self, data: bytes) -> None:
        """Take bytes; a sequence or a character that is not complete waits for the rest."""
        text = self._rest + self._decode(data)
        cut = UNFINISHED.search(text)
        self._rest = text[cut.start() :] if cut else ""
        text = text[: cut.start()] if cut else text
        at = 0
        for found in ESCAPE.finditer(text):
            self._print(text[at : found.start()])
            if found.group(2):
                self._csi(found.group(1), found.group(2))
            at = found.end()
        self._print(text[at:])

    def _print(self, text: str) -> None:
        for character in text:
            if character == "\r":
                self._x = 0
            elif character == "\n" and "1049" in self.modes:
                free = self._strange or self.forgiving
                assert free or self._y + 1 < self.size[1], "a line feed in the last line scrolls"
                self._y += 1
            elif character >= " " and "1049" in self.modes:
                self._put(character)

    def _put(self, character: str) -> None:
        width = cell_len(character)
        outside = self._y >= self.size[1] or self._x + width > self.size[0]
        if outside and (self._strange or self.forgiving):
            return
        row = self.cells[self._y]
        if width == 0:
            before = max(self._x - 1, 0)
            row[before] = (row[before][0] + character, row[before][1])
            return
        assert self._x + width <= self.size[0], f"{character!r} beyond the last column"
        look = frozenset(self._on.values())
        row[self._x : self._x + width] = [(character, look), *[("", look)] * (width - 1)]
        self._x += width

    def _csi(self, given: str, final: str) -> None:
        if given[:1] in "?<=>" and given:
            if given[0] == "?" and final in "hl":
                self._mode(given[1:], on=final == "h")
            return
        numbers = [int(part) if part.isdigit() else 0 for part in given.split(";")]
        first = numbers[0] or 1
        match final:
            case "H":
                self._y, self._x = first - 1, (numbers[1] or 1) - 1 if len(numbers) > 1 else 0
            case "G":
                self._x = first - 1
            case "B":
                self._y += first
            case "K":
                if not self._strange and self._y < self.size[1]:
                    self.cells[self._y][self._x :] = self._empty()[self._x :]
            case "J":
                self._strange = False
                self._clear()
            case "r":
                self._top, self._bottom = (numbers[0] - 1, numbers[1]) if len(numbers) > 1 else (0, self.size[1])
                self._x = self._y = 0
            case "M" | "L":
                self._scroll(first, up=final == "M")
            case "m":
                self.sgr.add(given)
                self._style(numbers)

    def _scroll(self, lines: int, *, up: bool) -> None:
        if self._strange:
            return
        area = self.cells[self._y : self._bottom]
        empty = [self._empty() for _ in range(lines)]
        self.cells[self._y : self._bottom] = [*area[lines:], *empty] if up else [*empty, *area[:-lines]]

    def _mode(self, names: str, *, on: bool) -> None:
        for name in names.split(";"):
            (self.modes.add if on else self.modes.discard)(name)
            if on:
                self.ever.add(name)
            if name == "1049":
                self._clear()

    def _style(self, numbers: list[int]) -> None:
        ends = {
            22: ("1", "2"),
            23: ("3",),
            24: ("4",),
            25: ("5",),
            27: ("7",),
            29: ("9",),
            39: ("ink",),
            49: ("ground",),
        }
        left = list(numbers)
        while left:
            number = left.pop(0)
            if number == 0:
                self._on.clear()
            elif number in ends:
                for name in ends[number]:
                    self._on.pop(name, None)
            elif number in (38, 48):
                many = 2 if left[0] == 5 else 4
                value = ";".join(map(str, (number, *left[:many])))
                del left[:many]
                self._on["ink" if number == 38 else "ground"] = value
            elif 30 <= number <= 37 or 90 <= number <= 97:
                self._on["ink"] = str(number)
            elif 40 <= number <= 47 or 100 <= number <= 107:
                self._on["ground"] = str(number)
            else:
                self._on[str(number)] = str(number)
