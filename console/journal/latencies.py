"""Latencies that checks recorded: a run's baseline is the first record of a name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from console.journal.connect import Conn


@dataclass(frozen=True, slots=True)
class Figures:
    """Latencies of one query, milliseconds as a client sees them."""

    samples: int
    p50_ms: float
    percentile: float
    percentile_ms: float
    max_ms: float

    def __str__(self) -> str:
        return f"p50 {self.p50_ms:.3f} ms, p{self.percentile:g} {self.percentile_ms:.3f} ms"


def figures(ms: Sequence[float], percentile: float) -> Figures:
    """Percentiles of at least one measurement."""
    ordered = sorted(ms)
    last = len(ordered) - 1
    return Figures(len(ordered), ordered[last // 2], percentile, ordered[round(last * percentile / 100)], ordered[last])


def record(conn: Conn, run_id: int, name: str, found: Figures) -> None:
    """Keep figures under a name."""
    conn.execute(
        "INSERT INTO pgferry.latency (run_id, name, samples, p50_ms, percentile, percentile_ms, max_ms)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s)",
        (run_id, name, found.samples, found.p50_ms, found.percentile, found.percentile_ms, found.max_ms),
    )


def baseline(conn: Conn, run_id: int, name: str) -> Figures | None:
    """The first figures that the run recorded under a name."""
    row = conn.execute(
        "SELECT samples, p50_ms, percentile, percentile_ms, max_ms FROM pgferry.latency"
        " WHERE run_id = %s AND name = %s ORDER BY id LIMIT 1",
        (run_id, name),
    ).fetchone()
    return Figures(*row) if row else None
