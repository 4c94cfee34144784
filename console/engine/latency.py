"""Latency checks: a query's percentiles as a client sees them, against a budget, a recorded baseline, or another query.

Queries that are held against each other are run in turns within one run, so that both meet the same weather.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from console.engine.check_kinds import Found
from console.engine.derive import raw
from console.journal import latencies
from console.journal.connect import Conn
from console.journal.latencies import Figures
from console.plan.check_kinds import Latency
from console.plan.model import Check, Plan

WARM_SHARE = 0.1  # of the rounds: the first ones fill caches and plan


@dataclass(frozen=True, slots=True)
class Measured:
    """A query's own figures, and those of the query beside it."""

    own: Figures
    beside: Figures | None


def measure(conn: Conn, plan: Plan, check: Check, spec: Latency) -> Measured:
    """Run the queries in a read-only transaction. Raises psycopg.Error when one fails."""
    queries = [check.sql] + ([plan.check(spec.beside).sql] if spec.beside else [])
    took: list[list[float]] = [[] for _ in queries]
    for number in range(spec.rounds + int(spec.rounds * WARM_SHARE)):
        order = range(len(queries)) if number % 2 else range(len(queries) - 1, -1, -1)
        for index in order:
            start = time.perf_counter()
            conn.execute(raw(queries[index]), prepare=True).fetchall()
            took[index].append((time.perf_counter() - start) * 1000)
    figures = [latencies.figures(times[-spec.rounds :], spec.percentile) for times in took]
    return Measured(figures[0], figures[1] if spec.beside else None)


def judge(spec: Latency, measured: Measured, baseline: Figures | None) -> Found:
    """The figures against everything that is asked of them."""
    own = measured.own
    words, faults, rows = [str(own)], [], [_row("now", own)]
    if spec.budget_ms is not None and own.percentile_ms > spec.budget_ms:
        faults.append(f"over {spec.budget_ms:g} ms")
    for name, other in ((spec.beside, measured.beside), (spec.baseline, baseline)):
        if not name:
            continue
        if other is None:
            faults.append(f"no baseline {name} was recorded in this run")
            continue
        rows.append(_row(name, other))
        ratio = own.p50_ms / other.p50_ms if other.p50_ms else 1.0
        words.append(f"{ratio:.2f} times the median of {name}")
        limit = 1 + spec.tolerance_percent / 100
        slower = [
            what
            for what, mine, theirs in (
                ("the median", own.p50_ms, other.p50_ms),
                (f"p{spec.percentile:g}", own.percentile_ms, other.percentile_ms),
            )
            if mine > theirs * limit + spec.slack_ms
        ]
        if slower:
            faults.append(f"slower than {name} allows: {' and '.join(slower)}")
    return Found(not faults, "; ".join([*words, *faults]), tuple(rows))


def _row(name: str, figures: Figures) -> dict[str, str]:
    return {
        "query": name,
        "samples": str(figures.samples),
        "p50_ms": f"{figures.p50_ms:.3f}",
        f"p{figures.percentile:g}_ms": f"{figures.percentile_ms:.3f}",
        "max_ms": f"{figures.max_ms:.3f}",
    }
