"""Which picture of a past run is wanted: nothing heavy, so that the command's words can use it."""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from pathlib import Path

SCREENS = ("tasks", "preview", "backfill", "checks", "activity", "log")  # console.tui.keys.SCREENS, without a screen
LARGEST = (400, 200)


@dataclass(frozen=True, slots=True)
class PictureWanted:
    """Where it goes, which screen, at what moment (see ``moment``; empty: the end), and how large in cells."""

    file: Path
    screen: str = "tasks"
    at: str = ""
    size: tuple[int, int] = (120, 40)


def cells(text: str) -> tuple[int, int]:
    """A type for argparse: ``120x40`` as width and height in cells."""
    found = re.fullmatch(r"(\d{1,4})x(\d{1,4})", text)
    width, height = (int(found[1]), int(found[2])) if found else (0, 0)
    if not (60 <= width <= LARGEST[0] and 16 <= height <= LARGEST[1]):
        most = "x".join(map(str, LARGEST))
        raise argparse.ArgumentTypeError(f"{text!r} is no size of a screen: 60x16 to {most}, for instance 120x40")
    return width, height
