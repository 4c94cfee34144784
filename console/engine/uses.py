"""Uses of the old and new tables per minute: by application as sampled, writes and scans as the server counts them."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from console.journal.activity import MINUTES, NEW, OLD, Activity, Counts, Use

MINUTE_S = 60.0
NAMED = 8  # applications a side


@dataclass
class _Minute:
    looks: int = 0
    seen: Counter[tuple[str, str]] = field(default_factory=Counter)  # side, application
    writes: Counter[str] = field(default_factory=Counter)
    scans: Counter[str] = field(default_factory=Counter)


class Uses:
    """The last minutes by the server's clock. Several threads may look; times are seconds of the epoch."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._minutes: dict[int, _Minute] = {}
        self._last: dict[tuple[str, str], int] = {}
        self._noted: set[tuple[str, str]] = set()

    def note(self, users: Iterable[tuple[str, str]]) -> None:
        """Seen between two looks, by somebody who looks more often: belongs to the next one."""
        with self._guard:
            self._noted.update(users)

    def saw(self, now: float, users: Iterable[tuple[str, str]]) -> None:
        """One look, and the (side, application) pairs that it found."""
        with self._guard:
            minute = self._minute(now)
            minute.looks += 1
            minute.seen.update({*users, *self._noted})
            self._noted.clear()

    def counted(self, now: float, what: str, totals: Mapping[str, int]) -> None:
        """Counters of ``writes`` or ``scans`` by side; the first reading only says where they stand."""
        with self._guard:
            minute = self._minute(now)
            for side, total in totals.items():
                before = self._last.get((what, side), total)
                self._last[what, side] = total
                grown = total - before if total >= before else total  # made anew, or the statistics were reset
                getattr(minute, what)[side] += grown

    def _minute(self, now: float) -> _Minute:
        number = int(now // MINUTE_S)
        if number not in self._minutes:
            self._minutes = {n: m for n, m in self._minutes.items() if number - MINUTES < n <= number}
            self._minutes[number] = _Minute()
        return self._minutes[number]

    def picture(self, now: float) -> tuple[tuple[int, ...], tuple[Use, ...], tuple[Counts, ...]]:
        """Looks, uses and counts of each minute up to now. The applications seen in most looks come first."""
        with self._guard:
            last = int(now // MINUTE_S)
            minutes = [self._minutes.get(number) for number in range(last - MINUTES + 1, last + 1)]
        pairs = sorted(
            {pair for minute in minutes if minute for pair in minute.seen},
            key=lambda pair: (pair[0] != OLD, -sum(m.seen[pair] for m in minutes if m), pair),
        )
        uses = [Use(*pair, tuple(m.seen[pair] if m else 0 for m in minutes)) for pair in pairs]
        named = [use for side in (OLD, NEW) for use in [use for use in uses if use.side == side][:NAMED]]
        return tuple(m.looks if m else 0 for m in minutes), tuple(named), tuple(_counts(minutes))

    def recall(self, known: Activity) -> None:
        """Go on from what an earlier runner saw."""
        last = int(known.at.timestamp() // MINUTE_S)
        with self._guard:
            for index, looks in enumerate(known.looks):
                minute = _Minute(looks)
                for use in known.uses:
                    minute.seen[use.side, use.application] = use.seen[index]
                for count in known.counts:
                    for what, values in (("writes", count.writes), ("scans", count.scans)):
                        value = values[index]
                        if value is not None:
                            getattr(minute, what)[count.side] = value
                minute.seen = +minute.seen
                if looks:
                    self._minutes[last - len(known.looks) + 1 + index] = minute


def _counts(minutes: list[_Minute | None]) -> list[Counts]:
    return [
        Counts(
            side,
            tuple(m.writes[side] if m and side in m.writes else None for m in minutes),
            tuple(m.scans[side] if m and side in m.scans else None for m in minutes),
        )
        for side in (OLD, NEW)
    ]
