"""What every signal is: a name, a value and a limit in words, a state, and whether it holds the copy back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from console.journal.connect import Conn

OK = "ok"
SLOWING = "slowing"  # between half of its limit and the limit: the copy works a smaller share of the time
THROTTLING = "throttling"  # beyond its limit: the copy waits
UNKNOWN = "unknown"  # cannot be seen
HALF = 0.5


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at one signal. ``load`` is its value as a share of the limit, where a slower copy would lower it."""

    name: str
    value: str
    limit: str
    state: str = OK
    holds: bool = False
    load: float = 0.0


class Throttle(Protocol):
    """One kind of signal; ``look`` must be quick, hold no snapshot, and may give several readings or none."""

    @property
    def name(self) -> str:
        """What it watches; readings of several things say which."""

    def look(self, conn: Conn) -> Sequence[Reading]:
        """Look once, by the server's clock where time matters."""


def gauge(name: str, value: float, limit: float, text: str, limit_text: str) -> Reading:
    """A value that a slower copy lowers: slows from half of its limit on, holds beyond it. ``limit`` 0 is none."""
    if limit <= 0:
        return Reading(name, text, "none")
    load = value / limit
    state = THROTTLING if load > 1 else SLOWING if load > HALF else OK
    return Reading(name, text, limit_text, state, state == THROTTLING, load)


def barrier(name: str, value: float, limit: float, text: str, limit_text: str) -> Reading:
    """A value that a slower copy does not change: holds beyond its limit, and nothing before. ``limit`` 0 is none."""
    if limit <= 0:
        return Reading(name, text, "none")
    return Reading(name, text, limit_text, THROTTLING, True) if value > limit else Reading(name, text, limit_text)


def unseen(name: str, why: str, limit: str, *, holds: bool) -> Reading:
    """What cannot be seen. Where not seeing it could hurt others it ``holds``: unknown is never none."""
    return Reading(name, why, limit, UNKNOWN, holds)


def megabytes(size: float) -> str:
    """Bytes in MB or GB."""
    return f"{size / 2**30:.1f} GB" if size >= 2**30 else f"{size / 2**20:.0f} MB"
