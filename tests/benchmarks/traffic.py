"""(b) What the application feels of the copy: its p99 while rows are copied, over its p99 at rest, in the same run."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from console.demo.traffic import Traffic
from console.journal import steps
from console.journal.connect import Conn
from console.journal.state import Latency
from tests.benchmarks import cores
from tests.benchmarks.backfill import run_engine
from tests.benchmarks.ground import Ground, say
from tests.benchmarks.lines import Line, line, ratio

GROUP = "traffic"
SINGLE = "tests.benchmarks.single_rows"
RATE = 500.0  # operations a second over three processes
Span = tuple[datetime, datetime]
# No limit, the aim, the stretch: settings of the backfill, rows a second that it has to reach.
SPEEDS: dict[str, dict[str, object]] = {
    "copy at full speed": {},
    "copy at 55,000 rows/s": {"max_rows_per_second": 55_000},
    "copy at 115,000 rows/s": {"max_rows_per_second": 115_000},
}
# The same as the first throttled one, in other ways: how much of it are the batches, how much the host's scheduler.
WAYS: dict[str, dict[str, object]] = {
    "copy at 55,000 rows/s, short batches": {"max_rows_per_second": 55_000, "throttled_ms": 0},
    "copy at 55,000 rows/s, batches of 800 ms": {"max_rows_per_second": 55_000, "throttled_ms": 800},
}
APART = "copy at 55,000 rows/s, on a core of its own"
AIMS = {
    "copy at 55,000 rows/s": "p99 <= 1.5 x at 50,000 rows/s",
    "copy at 115,000 rows/s": "stretch: p99 <= 1.5 x at 110,000",
}


@dataclass(frozen=True, slots=True)
class Felt:
    """One repetition at one speed: at rest without the sync, at rest with it, during the copy."""

    rest: Latency
    synced: Latency
    copy: Latency
    rows_per_second: float


def _now(conn: Conn) -> datetime:
    row = conn.execute("SELECT clock_timestamp()").fetchone()
    assert row is not None
    return row[0]  # type: ignore[no-any-return]


def _watch(conn: Conn, seconds: float) -> Span:
    """Let the traffic run for so long, and until a worker reported operations of that time."""
    begin = _now(conn)
    deadline = time.monotonic() + seconds + 30
    time.sleep(seconds)
    while not _reported(conn, begin):
        assert time.monotonic() < deadline, "the traffic reports nothing"
        time.sleep(0.1)
    return begin, _now(conn)


def _reported(conn: Conn, since: datetime) -> bool:
    row = conn.execute("SELECT EXISTS (SELECT 1 FROM pgferry.app_operations WHERE began_at > %s)", (since,)).fetchone()
    return bool(row and row[0])


def run(
    ground: Ground,
    seconds: float,
    rate: float,
    settings: Mapping[str, object],
    *,
    module: str = "",
    alone: bool = False,
) -> Felt:
    """From a fresh table: traffic alone, traffic with the sync on, traffic with the copy.

    ``module``: another traffic. ``alone``: the copy has a core of its own, from the beginning.
    """
    ground.fresh()
    plan = ground.plan
    if module and plan.demo is not None:
        plan = replace(plan, demo=replace(plan.demo, traffic=module))
    with ground.connection() as conn:
        conn.execute("TRUNCATE pgferry.app_window, pgferry.app_operations")
        with Traffic(plan, ground.conninfo, rate=rate) as traffic, _cores(ground, traffic, alone=alone):
            _watch(conn, min(2.0, seconds))  # connections, caches
            spans = [_watch(conn, seconds)]
            ground.sync_on()
            spans.append(_watch(conn, seconds))
            begin = _now(conn)
            copied = run_engine(ground, exact=False, **settings)
            spans.append((begin, _now(conn)))
            _watch(conn, 1.5)  # the workers report once a second
            assert traffic.failed() == 0, "a worker of the traffic ended"
        rest, synced, copy = steps.overlapping(conn, [[span] for span in spans])
        conn.execute("DELETE FROM book_ticker_snapshots WHERE \"timestamp\" > '2026-01-01Z'")
        conn.execute("DELETE FROM trades WHERE \"timestamp\" > '2026-01-01Z'")
    for found in (rest, synced, copy):
        assert found.errors == 0, "the application saw errors"
    return Felt(rest, synced, copy, copied.rate)


def _cores(ground: Ground, traffic: Traffic, *, alone: bool) -> contextlib.AbstractContextManager[None]:
    return cores.kept_apart(ground.conninfo, traffic.pids()) if alone else contextlib.nullcontext()


def measure(ground: Ground, repeats: int, *, seconds: float = 8.0, rate: float = RATE) -> list[Line]:
    """The plan's traffic at each speed, then single rows alone at the throttled ones."""
    throttled = {name: settings for name, settings in SPEEDS.items() if settings} | WAYS
    if cores.apart():
        throttled[APART] = {"max_rows_per_second": 55_000}
    return [
        *measured(ground, repeats, seconds, rate, SPEEDS),
        *measured(ground, repeats, seconds, rate, throttled, module=SINGLE, called="single rows, "),
    ]


def measured(
    ground: Ground, repeats: int, seconds: float, rate: float, speeds: Mapping[str, Mapping[str, object]], *,
    module: str = "", called: str = "",
) -> list[Line]:  # fmt: skip
    """Each speed in turn, each with its own time at rest just before; percentiles are medians of the repetitions."""
    felt: dict[str, list[Felt]] = {name: [] for name in speeds}
    for turn in range(repeats):
        for name in speeds:
            felt[name].append(run(ground, seconds, rate, speeds[name], module=module, alone=name == APART))
        say(f"  traffic {ground.rows:,}: {called}repetition {turn + 1} of {repeats}")
    every = [one for found in felt.values() for one in found]
    return [
        _line(ground, f"{called}at rest", [one.rest for one in every], [one.rest for one in every]),
        _line(ground, f"{called}sync on, no copy", [one.synced for one in every], [one.rest for one in every]),
        *(
            _line(
                ground, called + name, [one.copy for one in found], [one.rest for one in found],
                synced=[one.synced for one in found], rates=[one.rows_per_second for one in found], aim=AIMS.get(name, ""),
            )
            for name, found in felt.items()
        ),
    ]  # fmt: skip


def _line(
    ground: Ground, name: str, found: list[Latency], rest: list[Latency], *, synced: list[Latency] | None = None,
    rates: list[float] | None = None, aim: str = "",
) -> Line:  # fmt: skip
    figures = {
        "p50 ms": [one.p50_ms for one in found],
        "p99 ms": [one.p99_ms for one in found],
        "max ms": [one.max_ms for one in found],
        "p99 x rest": ratio([one.p99_ms for one in found], [one.p99_ms for one in rest]),
    }
    if synced is not None:
        figures["p99 x sync"] = ratio([one.p99_ms for one in found], [one.p99_ms for one in synced])
    if rates is not None:
        figures["rows/s"] = rates
    return line(GROUP, ground.rows, name, figures, aim)
