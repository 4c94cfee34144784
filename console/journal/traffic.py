"""What applications report of themselves: operations, errors and latencies from the client's side, by the second."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
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


def read(conn: psycopg.Connection[Any], run_id: int) -> Traffic | None:
    """The applications' figures before the run, during it and over the last 5 seconds; None without any report."""
    rows = conn.execute(
        "SELECT w.kind, w.at >= coalesce(r.started_at, 'infinity'), w.at > now() - interval '5 s',"
        " w.operations, w.errors, w.max_ms, w.buckets, w.last_error"
        " FROM pgferry.app_window w, pgferry.run r WHERE r.id = %s"
        " AND w.at <= coalesce(r.finished_at, 'infinity') ORDER BY w.id",
        (run_id,),
    ).fetchall()
    if not rows:
        return None
    before, during, now = Window(), Window(), Window()
    kinds: dict[str, Window] = {}
    errors: list[str] = []
    for kind, is_during, is_now, *figures in rows:
        window = _window(tuple(figures))
        (during if is_during else before).merge(window)
        if is_during:
            kinds.setdefault(kind, Window()).merge(window)
        if is_now:
            now.merge(window)
        if window.last_error:
            errors.append(window.last_error)
    return Traffic(
        before=before.latency(),
        during=during.latency(),
        now=now.latency(),
        by_kind=tuple((kind, w.latency()) for kind, w in sorted(kinds.items())),
        last_errors=tuple(errors[-5:]),
    )
