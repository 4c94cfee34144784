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


_LITERAL = re.compile(r"'(?:[^']|'')*(?:'|$)|(\$\w*\$).*?(?:\1|$)", re.DOTALL)
_SECRET_WORDS = re.compile(r"passw|secret|credential|token|api_?key|\bcrypt\b|pgp_sym", re.IGNORECASE)
_SET_TO = re.compile(r"(\b\w*(?:passw\w*|secret|token|api_?key)\s*=\s*)[^\s'\"&;,)$]+", re.IGNORECASE)
_IN_URI = re.compile(r"(\b\w[\w+.-]*://[^\s:/@'\"]*:)[^\s@/'\"]+(?=@)")
MASK = "***"


def without_secrets(text: str) -> str:
    """``text`` with passwords masked: of URIs, of ``password=..``, and every literal of SQL that speaks of a secret.

    A statement that was cut off in the middle of a literal is masked to its end.
    """
    text = _IN_URI.sub(rf"\1{MASK}", text)
    if not _SECRET_WORDS.search(text):
        return text
    return _SET_TO.sub(rf"\1{MASK}", _LITERAL.sub(f"'{MASK}'", text))
