"""What a comparison found: counts that must add up, and the rows that differ by name."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from console.journal.difference import KINDS, Difference
from console.text import several


@dataclass(frozen=True, slots=True)
class Answer:
    """What was found in one part of the tables, in one snapshot."""

    old: int
    new: int
    rejected: int  # refused, or lost its key to another old row, and listed among the rejects
    faults: dict[str, int] = field(default_factory=dict)  # kind -> rows
    held: int = 0  # the old shape cannot hold what the new row holds, and the rejects say so
    held_extra: int = 0  # of those, rows without any old one
    differences: tuple[Difference, ...] = ()


@dataclass
class Verdict:
    """A whole comparison; ``differences`` names as many as were asked for, ``faults`` counts all of them."""

    old: int = 0
    new: int = 0
    rejected: int = 0
    held: int = 0
    held_extra: int = 0
    open_changes: int = 0  # in lookups, made while rows were compared and not carried yet
    changes: int = 0  # in lookups, made while rows were compared
    faults: Counter[str] = field(default_factory=Counter)
    differences: list[Difference] = field(default_factory=list)
    ms: float = 0.0

    def add(self, part: Answer, limit: int) -> None:
        """Take a part in, keeping at most ``limit`` differences."""
        self.old += part.old
        self.new += part.new
        self.rejected += part.rejected
        self.held += part.held
        self.held_extra += part.held_extra
        self.faults.update(part.faults)
        self.differences.extend(part.differences[: max(limit - len(self.differences), 0)])

    @property
    def different(self) -> int:
        """Rows that differ, of every kind."""
        return self.faults.total()

    @property
    def adds_up(self) -> bool:
        """Whether old = new + rejects to the row; what only the new shape can hold is on the old side of it."""
        return self.old + self.held_extra == self.new + self.rejected

    @property
    def equal(self) -> bool:
        """Nothing differs in the snapshot in which it was looked at."""
        return not self.different and self.adds_up

    @property
    def ok(self) -> bool:
        """Nothing differs, old = new + rejects to the row, and no lookup changed in between."""
        return self.equal and not self.open_changes

    @property
    def samples(self) -> list[dict[str, str]]:
        """The named differences as sample rows of a check's result."""
        return [difference.row() for difference in self.differences]

    def words(self) -> str:
        """One line for people."""
        only = f" + {self.held_extra:,} only the new shape can hold" if self.held_extra else ""
        text = f"{self.old:,} old{only} {'=' if self.adds_up else '<>'} {self.new:,} new + {self.rejected:,} rejected"
        changed = self.held - self.held_extra
        held = f"; {changed:,} hold what the old shape cannot" if changed else ""
        if self.ok:
            followed = f"; {several(self.changes, 'change')} in lookups followed meanwhile" if self.changes else ""
            equal = "every row equal" if self.new or not self.old else "NO ROW ARRIVED: every one was refused"
            return f"{text}, {equal}{held}{followed}"
        found = ", ".join(f"{self.faults[kind]:,} {words}" for kind, words in KINDS.items() if self.faults[kind])
        if not found and self.adds_up:
            found = f"every row equal, but {self.open_changes:,} changes in lookups are not carried yet"
        doubt = (
            f"; lookups kept changing ({several(self.changes, 'change')} meanwhile), and rows differ until such a change is"
            " carried: compare again while the lookups rest"
        )
        return f"{text}; {found or 'the numbers do not add up'}{held}{doubt if self.changes else ''}"
