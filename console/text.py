"""Text that came from a database or a file, made safe and short for a screen."""

from __future__ import annotations

import re
import unicodedata

_SEQUENCES = re.compile(
    "(?:\x1b[\\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\\\|\x9c)"  # a string with its end: OSC, DCS, ..
    "|(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI
    "|\x1b[ -/]*[0-~]?"
)
_UNUSUAL = re.compile("[^ -~\n]+")
_NUMBER_AT_END = re.compile(r"[0-9.,:]*[0-9][.,:]?$")
_HIDDEN = ("Cc", "Cf", "Cs")  # controls, formats (bidirectional, zero width), lone surrogates
_SPACES = ("Zs", "Zl", "Zp")
_NO_CHARACTER = ("Cn", "Co")  # terminals do not agree how wide they are
MARKS = 4  # accents over one letter; more only pile up on the lines around


def plain(text: str, *, keep_newlines: bool = False) -> str:
    """``text`` without terminal control sequences, control, bidirectional-override or zero-width characters.

    Tabs become four spaces; newlines stay only when asked for, else they become one space.
    """
    if text.isascii() and text.isprintable():
        return text
    text = _SEQUENCES.sub("", _newlines(text)).replace("\t", "    ")
    return _drawn(text if keep_newlines else text.replace("\n", " "), escape=False)


def visible(text: str, *, keep_newlines: bool = False) -> str:
    """``text`` of which nothing may be hidden, such as SQL that someone approves.

    What ``plain`` takes out, and a blank that is no space, is written as Python writes it: ``\\x1b``, ``\\u202e``.
    """
    if text.isascii() and text.isprintable():
        return text
    text = _newlines(text).replace("\t", "    ")
    return _drawn(text if keep_newlines else text.replace("\n", " "), escape=True)


def _newlines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _drawn(text: str, *, escape: bool) -> str:
    """Only characters that a terminal draws, each as wide as is known; newlines stay."""
    return _UNUSUAL.sub(lambda run: _run_drawn(run[0], escape=escape), text)


def _run_drawn(run: str, *, escape: bool) -> str:
    drawn: list[str] = []
    marks = 0
    for character in run:
        kind = unicodedata.category(character)
        marks = marks + 1 if _joins(character, kind) else 0
        hidden = kind in _HIDDEN or _selects(character)
        if escape and (hidden or kind in _SPACES or kind in _NO_CHARACTER or marks > MARKS):
            drawn.append(ascii(character)[1:-1])
        elif kind in _SPACES:
            drawn.append(" ")
        elif kind in _NO_CHARACTER:
            drawn.append("\ufffd")
        elif not hidden and marks <= MARKS:
            drawn.append(character)
    return "".join(drawn)


def _joins(character: str, kind: str) -> bool:
    """Whether a character has no place of its own: accents, and the parts of Hangul syllables after the first."""
    return kind in ("Mn", "Me") or "\u1160" <= character <= "\u11ff" or "\ud7b0" <= character <= "\ud7ff"


def _selects(character: str) -> bool:
    """Whether it only chooses how the one before it looks, on some terminals with another width."""
    return "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef"


def several(number: int, noun: str, more: str = "") -> str:
    """A number of things: ``1 statement``, ``3,000 rows``; ``more`` is the plural where it is not the noun with an s."""
    return f"{number:,} {noun if number == 1 else more or noun + 's'}"


def shorten(text: str, width: int) -> str:
    """``text`` cut to ``width`` characters, the cut shown as ``..``; never cut inside a number."""
    return text if len(text) <= width else without_half_number(text[: max(width - 2, 0)]) + ".."


def without_half_number(text: str) -> str:
    """``text`` without the number it ends in: what was cut after a digit may be read as another number."""
    return _NUMBER_AT_END.sub("", text)


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
