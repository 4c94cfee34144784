"""One row that differs between an old table and its new one, as data: what a check keeps, a screen marks, a repair mends."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

Values = dict[str, str | None]  # column -> value as PostgreSQL writes it, None for NULL

KINDS = {
    "changed": "changed",
    "missing": "missing in the new table",
    "extra": "only in the new table",
    "duplicate": "duplicates",
    "unlisted": "refused without a reject",
    "stale": "stale rejects",
}


@dataclass(frozen=True, slots=True)
class Difference:
    """A named difference. ``side`` says whose key it is: ``new``, or ``old`` where no new key is known.

    ``old`` is what the old row says the new one should hold, ``new`` what it holds; None where there is no such row.
    """

    kind: str  # a key of KINDS
    side: str
    key: Values
    old: Values | None
    new: Values | None
    columns: tuple[str, ...] = ()  # those that differ, where there are two rows; equal values may have two texts

    def named(self) -> str:
        """The key in words."""
        return ", ".join(f"{name} = {'NULL' if value is None else value}" for name, value in self.key.items())

    def row(self) -> dict[str, str]:
        """As a sample row of a check's result: texts only."""
        return {
            "what": self.kind,
            "key": self.named(),
            "columns": json.dumps(self.columns, ensure_ascii=False) if self.columns else "",
            "old": "" if self.old is None else json.dumps(self.old, ensure_ascii=False),
            "new": "" if self.new is None else json.dumps(self.new, ensure_ascii=False),
        }


def values_of(text: str) -> Values | None:
    """A row's values from their JSON text in a check's result; None where there is no row, or text of another kind."""
    try:
        found = json.loads(text) if text.startswith("{") else None
    except ValueError:
        return None
    if not isinstance(found, dict):
        return None
    return {str(name): None if value is None else str(value) for name, value in found.items()}


def is_difference(row: Mapping[str, str]) -> bool:
    """Whether a check's sample row is a difference between two tables."""
    return row.keys() == {"what", "key", "columns", "old", "new"} and row["what"] in KINDS
