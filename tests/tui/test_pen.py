"""What is sent turns one picture into the other, on a terminal that knows nothing else; and it is little."""

from __future__ import annotations

import os
import random
import threading
import time

import pytest

from console.tui.painter import Painter
from console.tui.pen import Pen, sgr
from console.tui.picture import BLANK, PLAIN, Cell, Look, Picture, blank, moved, shifted
from tests.tui.glass import Glass

LOOKS = [
    PLAIN, Look(("1",)), Look(("2",)), Look(("1", "7"), "31"), Look((), "32"), Look(("4",), "38;5;9"),
    Look((), "", "44"), Look(("1", "2"), "38;2;1;2;3", "48;2;9;9;9"),
]  # fmt: skip


def a_glass(width: int, height: int) -> Glass:
    """A terminal on its alternate screen."""
    glass = Glass(width, height)
    glass.feed(b"\x1b[?1049h")
    return glass


def looked(cell: Cell) -> tuple[str, frozenset[str]]:
    look = cell.look
    return cell.text, frozenset(part for part in (*look.on, look.ink, look.ground) if part)


def seen(glass: Glass) -> list[list[tuple[str, frozenset[str]]]]:
    """The screen, blanks without what does not show on them."""
    return [
        [(text, look if text != " " or look & {"4", "7", "9"} else _ground(look)) for text, look in row]
        for row in glass.cells
    ]


def _ground(look: frozenset[str]) -> frozenset[str]:
    return frozenset(part for part in look if part.startswith("4") and part != "4")


def anything(dice: random.Random, width: int, height: int) -> Picture:
    """Words, blanks, wide and combined characters in any look."""
    rows = []
    for _ in range(height):
        row: list[Cell] = []
        while len(row) < width:
            look = dice.choice(LOOKS)
            kind = dice.random()
            if kind < 0.5:
                ground = look if {"4", "7"} & set(look.on) else Look((), "", look.ground)
                row += [BLANK if dice.random() < 0.7 else Cell(" ", ground)] * dice.randint(1, 9)
            elif kind < 0.6 and len(row) + 2 <= width:
                row += [Cell("漢", look), Cell("", look)]
            else:
                row += [Cell(dice.choice("abc·─█é") + dice.choice(["", "", "\u0301"]), look)] * dice.randint(1, 4)
        while len(row) > width or (row and row[-1].text == "漢"):
            row.pop()
        rows.append((*row, *[BLANK] * (width - len(row))))
    return tuple(rows)


def changed(dice: random.Random, picture: Picture) -> Picture:
    """A little else, or lines that moved, or everything."""
    width, height = len(picture[0]), len(picture)
    other = anything(dice, width, height)
    kind = dice.random()
    if kind < 0.3:
        top = dice.randrange(height - 2)
        bottom = dice.randint(top + 2, height)
        by = dice.choice([1, -1, 2, -2]) if bottom - top > 2 else 1
        picture = moved(picture, top, bottom, by)
        return tuple(other[y] if dice.random() < 0.1 else row for y, row in enumerate(picture))
    return tuple(other[y] if dice.random() < kind else row for y, row in enumerate(picture))


def drawn(pen: Pen, old: Picture, new: Picture) -> str:
    return "".join(pen.row(y, old[y], new[y]) for y in range(len(new)))


@pytest.mark.parametrize("seed", range(24))
def test_one_picture_becomes_any_other(seed: int) -> None:
    dice = random.Random(seed)
    width, height = dice.choice([(20, 5), (41, 12), (80, 8)])
    glass, pen = a_glass(width, height), Pen()
    old = blank(width, height)
    glass.feed(pen.clear().encode())
    for _ in range(25):
        new = changed(dice, old)
        if (found := shifted(old, new)) is not None:
            glass.feed(pen.scroll(*found).encode())
            old = moved(old, *found)
        glass.feed(drawn(pen, old, new).encode())
        assert seen(glass) == [[looked(cell) for cell in row] for row in new]
        old = new


def test_nothing_is_sent_for_what_stands_there() -> None:
    picture = anything(random.Random(1), 40, 5)
    assert drawn(Pen(), picture, picture) == ""


def test_a_digit_costs_a_few_bytes_and_a_blank_tail_three() -> None:
    pen = Pen()
    pen.clear()
    old = tuple(Cell(ch, Look((), "32")) for ch in "rows 1234".ljust(40, "x"))
    new = (*old[:8], Cell("5", old[8].look), *old[9:])
    assert len(pen.row(3, old, new)) <= len("\x1b[4;9H\x1b[32m5")
    assert pen.row(3, new, (*new[:4], *[BLANK] * 36)) == "\x1b[5G\x1b[m\x1b[K"


def test_looks_change_with_what_differs_only() -> None:
    bold, red = Look(("1",)), Look(("1",), "31")
    assert sgr(bold, red) == "\x1b[31m"
    assert sgr(red, PLAIN) == "\x1b[m"
    assert sgr(Look(("1", "2")), Look(("2",))) in ("\x1b[22;2m", "\x1b[0;2m")
    assert sgr(None, PLAIN) == "\x1b[m"


def test_moved_lines_are_moved_by_the_terminal() -> None:
    lines = [tuple(Cell(ch, PLAIN) for ch in f"line {n} of the log".ljust(40, ".")) for n in range(30)]
    old, new = tuple(lines[:20]), tuple(lines[1:21])
    assert shifted(old, new) == (0, 20, 1)
    assert shifted(new, old) == (0, 20, -1)
    assert shifted(old, old) is None


def test_a_terminal_that_does_not_read_holds_back_one_picture_only() -> None:
    """While nobody reads, hundreds of pictures are shown; what comes out afterwards is the newest, and little."""
    reading, writing = os.pipe()
    errors: list[Exception] = []
    painter = Painter(writing, errors.append)
    dice = random.Random(2)
    pictures = [anything(dice, 80, 24) for _ in range(120)]
    for picture in pictures:
        painter.show(picture, marks=False)
        time.sleep(0.002)
    sent = b""

    def read() -> None:
        nonlocal sent
        while data := os.read(reading, 65536):
            sent += data

    reader = threading.Thread(target=read)
    reader.start()
    painter.drain(10.0)
    os.close(writing)
    reader.join()
    os.close(reading)
    glass = a_glass(80, 24)
    glass.feed(sent)
    assert not errors
    assert seen(glass) == [[looked(cell) for cell in row] for row in pictures[-1]]
    one = len(drawn(Pen(), blank(80, 24), pictures[-1]).encode())
    assert len(sent) < 65536 + 4 * one, "a pipe holds 64 kB: what else came was not older pictures"
