"""What applications report of themselves: operations, errors and latencies from the client's side, by the second."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from console.journal.state import Latency, Traffic

BUCKET_GROWTH = 1.1  # each bucket is 10 % wider than the one before: percentiles are right to 10 %
_LOG_GROWTH = math.log(BUCKET_GROWTH)


@dataclass(slots=True)
class Window:
    """Figures of one kind of operation over a short time. Latencies in milliseconds, in exponential buckets."""

    operations: int = 0
    errors: int = 0
    max_ms: float = 0.0
    buckets: dict[int, int] = field(default_factory=dict)
    last_error: str = ""

    def add(self, ms: float) -> None:
        """Count one operation that took ``ms``."""
        self.operations += 1
        self.max_ms = max(self.max_ms, ms)
        index = math.ceil(math.log(max(ms, 0.001)) / _LOG_GROWTH)
        self.buckets[index] = self.buckets.get(index, 0) + 1

    def fail(self, error: str) -> None:
        """Count one operation that failed."""
        self.operations += 1
        self.errors += 1
        self.last_error = error

    def merge(self, other: Window) -> None:
        """Add another window's figures to this one."""
        self.operations += other.operations
        self.errors += other.errors
        self.max_ms = max(self.max_ms, other.max_ms)
        self.last_error = other.last_error or self.last_error
        for index, count in other.buckets.items():
            self.buckets[index] = self.buckets.get(index, 0) + count

    def percentile(self, share: float) -> float:
        """The latency in ms below which ``share`` (0..1) of the operations lie, right to one bucket (10 %)."""
        total = sum(self.buckets.values())
        seen = 0
        for index in sorted(self.buckets):
            seen += self.buckets[index]
            if seen >= share * total:
                return float(min(BUCKET_GROWTH**index, self.max_ms))
        return 0.0

    def latency(self) -> Latency:
        """The window as figures."""
        return Latency(
            operations=self.operations,
            errors=self.errors,
            p50_ms=self.percentile(0.50),
            p99_ms=self.percentile(0.99),
            max_ms=self.max_ms,
        )


@dataclass(slots=True)
class Trace:
    """Every operation of the last second or so: when it began and how long it took, by a monotonic clock in seconds.

    Kept one by one, as a step of a migration may be far shorter than a window.
    """

    starts: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    failed: list[bool] = field(default_factory=list)

    def add(self, start: float, seconds: float, *, failed: bool = False) -> None:
        """Note one operation."""
        self.starts.append(start)
        self.seconds.append(seconds)
        self.failed.append(failed)


def record(conn: psycopg.Connection[Any], source: str, trace: Trace, now: float) -> None:
    """Store a trace; ``now`` is the same monotonic clock at this moment, so that the server's clock dates it."""
    if not trace.starts:
        return
    first = min(trace.starts)
    last = max(start + took for start, took in zip(trace.starts, trace.seconds, strict=True))
    conn.execute(
        "INSERT INTO pgferry.app_operations (source, began_at, ended_at, starts_us, took_us, failed)"
        " SELECT %s, t - make_interval(secs => %s), t - make_interval(secs => %s), %s, %s, %s FROM clock_timestamp() t",
        (
            source, now - first, now - last, [_us(start - first) for start in trace.starts],
            [_us(took) for took in trace.seconds], trace.failed,
        ),
    )  # fmt: skip


def _us(seconds: float) -> int:
    return min(round(seconds * 1e6), 2**31 - 1)


def report(conn: psycopg.Connection[Any], source: str, windows: Mapping[str, Window]) -> None:
    """Store the figures that ``source`` (a worker's name) gathered since its last report, by kind of operation."""
    with conn.cursor() as cur:
        cur.executemany(
            "INSERT INTO pgferry.app_window (source, kind, operations, errors, max_ms, buckets, last_error)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s)",
            [
                (source, kind, w.operations, w.errors, w.max_ms, Jsonb(w.buckets), w.last_error)
                for kind, w in windows.items()
                if w.operations
            ],
        )


def leads(conn: psycopg.Connection[Any]) -> dict[str, str]:
    """Which shape leads for each mapping id: old, both or new. Empty before any run."""
    return dict(conn.execute("SELECT mapping, leads FROM pgferry.lead").fetchall())


def _window(row: tuple[Any, ...]) -> Window:
    operations, errors, max_ms, buckets, last_error = row
    return Window(operations, errors, max_ms, {int(k): v for k, v in buckets.items()}, last_error)


class Tally:
    """The windows read so far, so that each read looks only at the newest ones."""

    def __init__(self) -> None:
        self._last_id = 0
        self._started_at: datetime | None = None
        self._before, self._during = Window(), Window()
        self._kinds: dict[str, Window] = {}
        self._recent: deque[tuple[datetime, Window]] = deque()
        self._errors: deque[str] = deque(maxlen=5)

    def read(
        self, conn: psycopg.Connection[Any], started_at: datetime | None, finished_at: datetime | None
    ) -> Traffic | None:
        """The applications' figures before the run, during it and over the last 5 seconds; None without any report."""
        if started_at != self._started_at:
            self.__init__()  # type: ignore[misc]  # what counted as before may now be during
            self._started_at = started_at
        rows = conn.execute(
            "SELECT id, at, kind, operations, errors, max_ms, buckets, last_error FROM pgferry.app_window"
            " WHERE id > %s AND at <= coalesce(%s, 'infinity'::timestamptz) ORDER BY id",
            (self._last_id, finished_at),
        ).fetchall()
        for id_, at, kind, *figures in rows:
            self._last_id = id_
            self._take(at, kind, _window(tuple(figures)))
        if not self._last_id:
            return None
        now = Window()
        row = conn.execute("SELECT clock_timestamp() - interval '5 s'").fetchone()
        assert row is not None
        while self._recent and self._recent[0][0] < row[0]:
            self._recent.popleft()
        for _, window in self._recent:
            now.merge(window)
        return Traffic(
            before=self._before.latency(),
            during=self._during.latency(),
            now=now.latency(),
            by_kind=tuple((kind, w.latency()) for kind, w in sorted(self._kinds.items())),
            last_errors=tuple(self._errors),
        )

    def _take(self, at: datetime, kind: str, window: Window) -> None:
        self._recent.append((at, window))
        if window.last_error:
            self._errors.append(window.last_error)
        if self._started_at is None or at < self._started_at:
            self._before.merge(window)
            return
        self._during.merge(window)
        self._kinds.setdefault(kind, Window()).merge(window)
