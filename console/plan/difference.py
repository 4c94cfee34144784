"""What differs between two versions of a plan: files added, removed, changed, and how their text changed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from console.plan.model import SourceFile

MOST_LINES = 400  # of a difference that is shown
MOST_TEXT = 400_000  # characters of a file whose lines are compared


@dataclass(frozen=True, slots=True)
class Kept:
    """A file of an earlier version: its digest, perhaps shortened; its text, None where only the digest was kept."""

    sha256: str
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """Paths, each in order, and a unified difference of their texts (empty when no text is known)."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]
    unified: str

    @property
    def words(self) -> str:
        """The files in one line; empty for no difference."""
        groups = (("changed", self.changed), ("added", self.added), ("removed", self.removed))
        return "; ".join(f"{what}: {_some(paths)}" for what, paths in groups if paths)


def _some(paths: tuple[str, ...], most: int = 5) -> str:
    return ", ".join(paths[:most]) + (f" and {len(paths) - most} more" if len(paths) > most else "")


def compare(old: Mapping[str, Kept], new: Iterable[SourceFile]) -> Difference:
    """How the files of ``new`` differ from those of ``old``."""
    now = {file.path: file for file in new}
    added = tuple(sorted(now.keys() - old.keys()))
    removed = tuple(sorted(old.keys() - now.keys()))
    changed = tuple(
        sorted(path for path in now.keys() & old.keys() if not now[path].sha256.startswith(old[path].sha256))
    )
    lines: list[str] = []
    for path in sorted({*added, *removed, *changed}):
        before = old[path].text if path in old else ""
        after = now[path].text if path in now else ""
        lines += _unified(path, before, after, path in old, path in now)
    if len(lines) > MOST_LINES:
        lines = [*lines[:MOST_LINES], f"... {len(lines) - MOST_LINES:,} more lines"]
    return Difference(added, removed, changed, "\n".join(lines))


def _unified(path: str, before: str | None, after: str, was: bool, is_: bool) -> list[str]:
    if before is None:
        return [f"--- {path}: its text before was not kept, only its digest"] if is_ else [f"--- {path}: removed"]
    if len(before) > MOST_TEXT or len(after) > MOST_TEXT:
        return [f"--- {path}: too long to compare ({len(before):,} and {len(after):,} characters)"]
    names = (f"a/{path}" if was else "/dev/null", f"b/{path}" if is_ else "/dev/null")
    found = list(difflib.unified_diff(before.splitlines(), after.splitlines(), *names, lineterm=""))
    return found or [f"--- {path}: only line ends or invisible characters differ"]
