"""Text that came from a database or a file, made safe and short for a screen."""

from __future__ import annotations

import re
import unicodedata

_ESCAPES = re.compile(r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b\[[0-?]*[ -/]*[@-~]|\x1b.?")


def plain(text: str, *, keep_newlines: bool = False) -> str:
    """``text`` without terminal control sequences, control or bidirectional-override characters.

    Tabs become four spaces; newlines stay only when asked for, else they become one space.
    """
    text = _ESCAPES.sub("", text.replace("\r\n", "\n").replace("\r", "\n")).replace("\t", "    ")
    if not keep_newlines:
        text = text.replace("\n", " ")
    return "".join(ch for ch in text if ch == "\n" or unicodedata.category(ch) not in ("Cc", "Cf"))


def shorten(text: str, width: int) -> str:
    """``text`` cut to ``width`` characters, the cut shown as ``..``."""
    return text if len(text) <= width else text[: max(width - 2, 0)] + ".."
