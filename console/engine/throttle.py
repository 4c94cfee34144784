"""What may hold a copy back: small independent signals, each naming its value, its limit and its reason."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Protocol

import psycopg

from console.journal.connect import Conn
from console.journal.state import Signal

LOOK_EVERY_S = 1.0
OK, THROTTLING, UNKNOWN = "ok", "throttling", "unknown"


@dataclass(frozen=True, slots=True)
class Reading:
    """A signal's value now, in words, and whether it holds the copy back."""

    value: str
    state: str


class Throttle(Protocol):
    """One signal."""

    @property
    def name(self) -> str:
        """What it watches."""

    @property
    def limit(self) -> str:
        """From where on it throttles, in words."""

    def read(self, conn: Conn) -> Reading:
        """Look once; must be quick and hold no snapshot."""


@dataclass(frozen=True, slots=True)
class ReplicaLag:
    """The slowest replica's replay lag. A replica whose lag cannot be seen counts as unknown, never as none."""

    max_seconds: float
    name: str = "replica lag"

    @property
    def limit(self) -> str:
        """In seconds."""
        return f"{self.max_seconds:.1f} s"

    def read(self, conn: Conn) -> Reading:
        """By the server's own clock."""
        rows = conn.execute(
            "SELECT application_name, CASE WHEN replay_lsn = pg_current_wal_lsn() THEN 0"
            " ELSE extract(epoch FROM replay_lag)::float END, pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)::bigint"
            " FROM pg_stat_replication WHERE state <> 'backup'"
        ).fetchall()
        if not rows:
            return Reading("no replicas", OK)
        if any(behind is None for _, _, behind in rows):
            return Reading("cannot be seen", UNKNOWN)
        known = [(seconds, name, behind) for name, seconds, behind in rows if seconds is not None]
        if not known:
            return Reading(f"{max(r[2] for r in rows) / 2**20:.0f} MB, time unknown", UNKNOWN)
        seconds, name, _ = max(known)
        return Reading(f"{name} {seconds:.1f} s", THROTTLING if seconds > self.max_seconds else OK)


@dataclass(frozen=True, slots=True)
class LockWaiters:
    """Sessions of others that wait for locks: a sign that somebody, perhaps we, is in the way."""

    most: int = 3
    name: str = "waiting sessions"

    @property
    def limit(self) -> str:
        """How many."""
        return str(self.most)

    def read(self, conn: Conn) -> Reading:
        """Sessions in this database whose wait event is a lock."""
        row = conn.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
            " AND application_name NOT LIKE 'pgferry%'"
        ).fetchone()
        assert row is not None
        return Reading(str(row[0]), THROTTLING if row[0] > self.most else OK)


@dataclass(frozen=True, slots=True)
class OldestTransaction:
    """The oldest open transaction: while it lasts, what the copy leaves behind cannot be vacuumed."""

    most_seconds: float = 600.0
    name: str = "oldest transaction"

    @property
    def limit(self) -> str:
        """In seconds."""
        return f"{self.most_seconds:.0f} s"

    def read(self, conn: Conn) -> Reading:
        """Age of the oldest transaction that holds a snapshot or an id."""
        row = conn.execute(
            "SELECT extract(epoch FROM clock_timestamp() - min(xact_start))::float FROM pg_stat_activity"
            " WHERE xact_start IS NOT NULL AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        ).fetchone()
        age = row[0] if row and row[0] is not None else 0.0
        return Reading(f"{age:.0f} s", THROTTLING if age > self.most_seconds else OK)


@dataclass
class Board:
    """All signals together: read about once a second, with the seconds each has cost."""

    throttles: tuple[Throttle, ...]
    _readings: dict[str, Reading] = field(default_factory=dict)
    _costs: dict[str, float] = field(default_factory=dict)
    _looked: float = float("-inf")

    def held_by(self, conn: Conn) -> list[str]:
        """Names of the signals that hold the copy back now: the throttling ones, and unknown ones."""
        now = time.monotonic()
        if now - self._looked >= LOOK_EVERY_S:
            self._looked = now
            for throttle in self.throttles:
                try:
                    self._readings[throttle.name] = throttle.read(conn)
                except psycopg.errors.InsufficientPrivilege:
                    self._readings[throttle.name] = Reading("no privilege to see it", UNKNOWN)
        return [name for name, reading in self._readings.items() if reading.state != OK]

    def cost(self, names: list[str], seconds: float) -> None:
        """Book ``seconds`` of waiting to the signals that caused it, in equal shares."""
        for name in names:
            self._costs[name] = self._costs.get(name, 0.0) + seconds / len(names)

    def look_again(self) -> None:
        """The next call reads anew."""
        self._looked = float("-inf")

    def signals(self) -> tuple[Signal, ...]:
        """For the screen."""
        return tuple(
            Signal(t.name, r.value, t.limit, r.state, round(self._costs.get(t.name, 0.0), 1))
            for t in self.throttles
            if (r := self._readings.get(t.name))
        )
