"""All signals together: read about once a second, with the seconds each has cost and what they leave of the speed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import psycopg

from console.engine.signals.base import HALF, Reading, Throttle, unseen
from console.engine.signals.disk import DiskSpace
from console.engine.signals.probe import Probe
from console.engine.signals.replicas import ReplicaLag, Slots
from console.engine.signals.sessions import ActiveSessions, LockWaiters, OldestTransaction, Vacuum
from console.engine.signals.wal import Archiver, WalRate
from console.journal.connect import Conn
from console.journal.state import Signal
from console.plan.model import BackfillSettings, TableName

LOOK_EVERY_S = 1.0
LEAST_SHARE = 0.1  # of the time that slowing signals leave; beyond their limits they hold


def throttles(
    settings: BackfillSettings, tables: Sequence[TableName], probe: Callable[[], Conn]
) -> tuple[Throttle, ...]:
    """Every signal with its limit; ``probe`` opens the connection that the probe's query runs on."""
    return (
        ReplicaLag(settings.max_replica_lag_s, settings.max_replica_lag_mb),
        Slots(settings.max_slot_mb),
        WalRate(settings.max_wal_mb_per_s),
        Archiver(settings.max_archive_backlog),
        LockWaiters(settings.max_lock_waiters),
        OldestTransaction(settings.max_transaction_s),
        ActiveSessions(settings.max_active_sessions),
        Vacuum(tuple(tables), settings.hold_for_vacuum),
        DiskSpace(settings.min_free_disk_percent),
        Probe(settings.probe_sql, settings.probe_limit_ms, probe),
    )


@dataclass
class Board:
    """Reads the signals and books every second that they cost.

    A second of holding is booked in equal shares to those that hold; a second at a lowered share of the time, by
    what it was lowered, to the one that lowered it. So the costs add up to ``lost_s``.
    """

    throttles: tuple[Throttle, ...]
    clock: Callable[[], float] = time.monotonic
    lost_s: float = 0.0
    _readings: dict[str, list[Reading]] = field(default_factory=dict)
    _costs: dict[str, float] = field(default_factory=dict)
    _looked: float = float("-inf")
    _booked: float | None = None

    def tick(self, conn: Conn) -> None:
        """Book the time since the last tick, and look again where a second is over."""
        now = self.clock()
        if self._booked is not None:
            self._book(now - self._booked)
        self._booked = now
        if now - self._looked >= LOOK_EVERY_S:
            self._looked = now
            self._readings = {throttle.name: self._look(throttle, conn) for throttle in self.throttles}

    def replace(self, throttles: tuple[Throttle, ...]) -> None:
        """Other limits: the signals are read anew at the next tick."""
        self.close()
        self.throttles = throttles
        self._looked = float("-inf")

    def close(self) -> None:
        """Give back what the signals hold."""
        for throttle in self.throttles:
            if isinstance(throttle, Probe):
                throttle.close()

    def _look(self, throttle: Throttle, conn: Conn) -> list[Reading]:
        """A signal that fails is an unknown one, and holds: only a lost connection is raised."""
        try:
            return list(throttle.look(conn))
        except psycopg.errors.InsufficientPrivilege:
            return [unseen(throttle.name, "no privilege to see it", "", holds=True)]
        except (psycopg.ProgrammingError, psycopg.DataError, psycopg.NotSupportedError) as error:
            why = (error.diag.message_primary or type(error).__name__)[:60]
            return [unseen(throttle.name, why, "", holds=True)]

    def _book(self, seconds: float) -> None:
        holding = self.holding
        if holding:
            for reading in holding:
                self._charge(reading.name, seconds / len(holding))
        elif slowing := self._heaviest():
            self._charge(slowing.name, seconds * (1 - _share(slowing)))

    def _charge(self, name: str, seconds: float) -> None:
        self._costs[name] = self._costs.get(name, 0.0) + seconds
        self.lost_s += seconds

    @property
    def readings(self) -> list[Reading]:
        """The last look at all of them."""
        return [reading for some in self._readings.values() for reading in some]

    @property
    def holding(self) -> list[Reading]:
        """Those that hold the copy back now: beyond their limits, or unknown where that is no comfort."""
        return [reading for reading in self.readings if reading.holds]

    @property
    def share(self) -> float:
        """What slowing signals leave of the duty cycle: 1 up to half of a limit, a tenth just below it."""
        slowing = self._heaviest()
        return 1.0 if slowing is None else _share(slowing)

    def _heaviest(self) -> Reading | None:
        loaded = [reading for reading in self.readings if HALF < reading.load <= 1]
        return max(loaded, key=lambda reading: reading.load, default=None)

    def words(self) -> str:
        """Why the copy waits or works less, in one line; empty where nothing is in its way."""
        if self.holding:
            return "held back by " + ", ".join(
                f"{reading.name} ({reading.value}{f', limit {reading.limit}' if reading.limit else ''})"
                for reading in self.holding
            )
        slowing = self._heaviest()
        if slowing is None:
            return ""
        return (
            f"slowed to {100 * self.share:.0f} % of its time by {slowing.name}"
            f" ({slowing.value}, {100 * slowing.load:.0f} % of its limit)"
        )

    def restore(self, signals: Sequence[Signal]) -> None:
        """Take over what the signals had cost before, under an earlier runner or before a pause."""
        for signal in signals:
            if signal.cost_s:
                self._charge(signal.name, signal.cost_s)

    def signals(self) -> tuple[Signal, ...]:
        """For the screen: those in the way first; one that went away is listed while its cost is known."""
        seen = {reading.name: reading for reading in self.readings}
        gone = [Reading(name, "gone", "") for name in self._costs if name not in seen]
        ranked = sorted([*seen.values(), *gone], key=lambda reading: (not reading.holds, reading.load <= HALF))
        return tuple(
            Signal(r.name, r.value, r.limit, r.state, round(self._costs.get(r.name, 0.0), 3), holds=r.holds)
            for r in ranked
        )


def _share(reading: Reading) -> float:
    over = (reading.load - HALF) / (1 - HALF)
    return 1 - over * (1 - LEAST_SHARE)
