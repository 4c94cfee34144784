"""(d) The comparison of every row, both ways, over a plain sequential read of both tables."""

from __future__ import annotations

import time

from console.engine.compare import compare
from tests.benchmarks.backfill import run_engine
from tests.benchmarks.ground import COMPARE, Ground, say
from tests.benchmarks.lines import Line, line, ratio

GROUP = "validation"
READ, OURS = "plain sequential read of both", "pgferry, every row both ways"
_SEQUENTIAL = ("enable_indexscan", "enable_indexonlyscan", "enable_bitmapscan")


def run_read(ground: Ground) -> float:
    """Rows of the old table a second, both tables read from their first page to their last by one process."""
    mapping = ground.mapping
    with ground.connection() as conn:
        for name in _SEQUENTIAL:
            conn.execute(f"SET {name} = off")
        conn.execute("SET max_parallel_workers_per_gather = 0")
        start = time.perf_counter()
        for table in (mapping.old, mapping.new):
            conn.execute(f"SELECT count(*) FROM {table.name}")
        return ground.rows / (time.perf_counter() - start)


def run_compare(ground: Ground) -> float:
    """Rows of the old table a second, by the engine's comparison."""
    with ground.session() as session:
        start = time.perf_counter()
        verdict = compare(session, ground.task(COMPARE), ground.mapping)
        seconds = time.perf_counter() - start
    assert verdict.ok, verdict.words()
    assert verdict.old == ground.rows
    return ground.rows / seconds


def measure(ground: Ground, repeats: int) -> list[Line]:
    """Both in turn on the same copied and indexed tables."""
    ground.fresh()
    run_engine(ground)
    ground.indexed()
    reads: list[float] = []
    ours: list[float] = []
    for turn in range(repeats):
        reads.append(run_read(ground))
        ours.append(run_compare(ground))
        say(f"  validation {ground.rows:,}: repetition {turn + 1} of {repeats}, {ours[-1]:,.0f} rows/s")
    return [
        line(GROUP, ground.rows, READ, {"rows/s": reads}),
        line(GROUP, ground.rows, OURS, {"rows/s": ours, "of the read": ratio(ours, reads)}, ">= 1,000,000 rows/s"),
    ]
