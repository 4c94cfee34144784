"""Plain numbered files: 001_name.sql, and 001_name.down.sql (or _down, .undo, .rollback, .revert) for back."""

from __future__ import annotations

import re

from console.plan.formats.base import (
    Folder,
    Ids,
    Layout,
    Migration,
    Reading,
    left_out,
    refuse_twice,
    title_of,
    way_back,
)
from console.plan.model import Origin

_NAME = re.compile(
    r"(\d+(?:\.\d+)*[a-z]?)(?:[ ._-]+(.*?))?(?:[._-](up|down|undo|rollback|revert))?\.sql", re.IGNORECASE
)
_MARKED = re.compile(r"^--[ \t]*(migrate:(up|down)\b|\+goose[ \t])", re.MULTILINE | re.IGNORECASE)


def _key(version: str) -> tuple[tuple[int, ...], str]:
    numbers = version.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
    return tuple(int(part) for part in numbers.split(".")), version[len(numbers) :].lower()


def example(folder: Folder) -> str:
    """A numbered file without marks of another tool and not in one of golang-migrate's pairs."""
    for name in folder.top:
        found = _NAME.fullmatch(name)
        if found and not found.group(3) and not _MARKED.search(folder.glance(name).text):
            return name
        if found and (found.group(3) or "").lower() == "up" and not name.lower().endswith(".up.sql"):
            return name
    return ""


def read(folder: Folder) -> Reading:
    """Files by number; what their BEGIN and COMMIT say holds."""
    ups: dict[tuple[tuple[int, ...], str], str] = {}
    downs: dict[tuple[tuple[int, ...], str], str] = {}
    found = {name: match for name in folder.top if (match := _NAME.fullmatch(name))}
    for name, match in found.items():
        forward = (match.group(3) or "up").lower() == "up"
        other = (ups if forward else downs).setdefault(_key(match.group(1)), name)
        if other != name:
            refuse_twice(folder, ((match.group(1), other), (match.group(1), name)))
    ids, made = Ids(), []
    for key in sorted(ups):
        name = ups[key]
        version, words, _ = found[name].groups()
        back = downs.pop(key, "")
        missing = f"{name.removesuffix('.sql').removesuffix('.up')}.down.sql does not exist"
        down, why = way_back(folder.read(back) if back else None, missing)
        origin = Origin(version, words or "", name)
        made.append(Migration(ids.make(version), title_of(words or "", name), folder.read(name), down, why, origin))
    strange = [name for name in folder.top if name.endswith(".sql") and name not in found]
    return Reading(
        tuple(made),
        (*left_out(downs.values(), "a way back without its file"), *left_out(strange, "they have no number")),
    )


LAYOUT = Layout(
    "plain", "plain numbered files", "BEGIN and COMMIT in the file; else each statement alone", example, read
)
