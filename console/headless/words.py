"""Numbers, times and locks in words, for everything printed without a screen."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any

from console.text import plain, visible

# From weakest to strongest, as in PostgreSQL's table of conflicts.
LOCK_MODES = (
    "ACCESS SHARE",
    "ROW SHARE",
    "ROW EXCLUSIVE",
    "SHARE UPDATE EXCLUSIVE",
    "SHARE",
    "SHARE ROW EXCLUSIVE",
    "EXCLUSIVE",
    "ACCESS EXCLUSIVE",
)
_WAITS = (
    "only ACCESS EXCLUSIVE waits",
    "only EXCLUSIVE and stronger wait",
    "reads and writes go on; index builds and schema changes wait",
    "reads and writes go on; schema changes and vacuum wait",
    "reads go on; writes wait",
    "reads go on; writes wait",
    "plain reads go on; everything else waits",
    "reads and writes wait",
)
_ASCII = str.maketrans({"\u2013": "-", "\u2014": "-", "\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"'})


def safe(text: str, *, ascii_only: bool = False, keep_newlines: bool = False) -> str:
    """Text from a plan or a database made harmless; with ``ascii_only`` other characters become ``?``."""
    text = plain(text, keep_newlines=keep_newlines)
    return text.translate(_ASCII).encode("ascii", "replace").decode("ascii") if ascii_only else text


def strength(mode: str) -> int:
    """How strong a lock mode is, 0 the weakest; an unknown one counts as the strongest."""
    return LOCK_MODES.index(mode) if mode in LOCK_MODES else len(LOCK_MODES)


def waits(mode: str) -> str:
    """What other sessions wait for while a lock of ``mode`` is held."""
    place = strength(mode)
    return _WAITS[place] if place < len(_WAITS) else "unknown"


def minutes(count: int) -> str:
    """Minutes as ``4 h 20 min``."""
    hours, rest = divmod(count, 60)
    return f"{hours} h {rest} min" if hours and rest else f"{hours} h" if hours else f"{rest} min"


def duration(seconds: float) -> str:
    """Seconds as ``0.4 s``, ``42 s``, ``3 min 5 s`` or ``2 h 4 min``."""
    if seconds < 10:
        return f"{max(seconds, 0.0):.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def count(number: float) -> str:
    """A whole number with thousands set apart."""
    return f"{round(number):,}"


def eta(low: float | None, high: float | None) -> str:
    """The range of a remaining time; ``unknown`` when there is none."""
    if low is None or high is None:
        return "unknown"
    first, last = duration(low), duration(high)
    return first if first == last else f"{first} to {last}"


def clock(at: datetime | None) -> str:
    """A moment as ``2026-11-21 23:41:07 UTC``; ``-`` when there is none."""
    if at is None:
        return "-"
    zone = at.tzname() or ""
    return f"{at:%Y-%m-%d %H:%M:%S} {zone}".rstrip()


def to_json(value: Any) -> Any:
    """A dataclass with all it holds, as what ``json`` can write; text is made harmless."""
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_json(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, dict):
        return {safe(str(key)): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    return safe(value, keep_newlines=True) if isinstance(value, str) else value


def table(rows: list[list[str]], *, right: tuple[int, ...] = ()) -> list[str]:
    """Lines of ``rows`` in columns; the columns in ``right`` are set to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    return [
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def markdown_cell(text: str) -> str:
    """Text for a cell of a Markdown table: nothing in it is markup."""
    text = plain(text)
    for mark in "\\`*_[]<>|#":
        text = text.replace(mark, "\\" + mark)
    return text


def fence(text: str, language: str = "") -> list[str]:
    """A Markdown code block that no text can leave."""
    text = visible(text, keep_newlines=True)
    ticks = "```"
    while ticks in text:
        ticks += "`"
    return [ticks + language, *text.splitlines(), ticks]


def markdown_table(head: list[str], rows: list[list[str]]) -> list[str]:
    """A Markdown table, its cells made harmless; nothing for no rows."""
    if not rows:
        return []
    lines = [head, ["---"] * len(head), *([markdown_cell(cell) for cell in row] for row in rows)]
    return ["| " + " | ".join(line) + " |" for line in lines]
