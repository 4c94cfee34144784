"""(d) The comparison of every row, both ways, over a plain sequential read of both tables."""

from __future__ import annotations

import time

from console.engine.compare import compare
from tests.benchmarks.backfill import Copied, run_engine
from tests.benchmarks.cpu import used
from tests.benchmarks.ground import COMPARE, Ground, say
from tests.benchmarks.lines import Line, line, ratio

GROUP = "validation"
READ, OURS = "plain sequential read of both", "pgferry, every row both ways"
_SEQUENTIAL = ("enable_indexscan", "enable_indexonlyscan", "enable_bitmapscan")


def run_read(ground: Ground) -> Copied:
    """Both tables read from their first page to their last by one process."""
    mapping = ground.mapping
    with ground.connection() as conn:
        for name in _SEQUENTIAL:
            conn.execute(f"SET {name} = off")
        conn.execute("SET max_parallel_workers_per_gather = 0")
        cpu, start = used(ground.server_pid), time.perf_counter()
        for table in (mapping.old, mapping.new):
            conn.execute(f"SELECT count(*) FROM {table.name}")
        return Copied(ground.rows, time.perf_counter() - start, used(ground.server_pid) - cpu)


def run_compare(ground: Ground) -> Copied:
    """The engine's comparison of the old table's rows with the new one's."""
    with ground.session() as session:
        cpu, start = used(ground.server_pid), time.perf_counter()
        verdict = compare(session, ground.task(COMPARE), ground.mapping)
        seconds, cpu = time.perf_counter() - start, used(ground.server_pid) - cpu
    assert verdict.ok, verdict.words()
    assert verdict.old == ground.rows
    return Copied(ground.rows, seconds, cpu)


def measure(ground: Ground, repeats: int) -> list[Line]:
    """Both in turn on the same copied and indexed tables."""
    ground.fresh()
    run_engine(ground)
    ground.indexed()
    reads: list[Copied] = []
    ours: list[Copied] = []
    for turn in range(repeats):
        reads.append(run_read(ground))
        ours.append(run_compare(ground))
        say(f"  validation {ground.rows:,}: repetition {turn + 1} of {repeats}, {ours[-1].rate:,.0f} rows/s")
    rates = {READ: [one.rate for one in reads], OURS: [one.rate for one in ours]}
    per_cpu = {READ: [_per_cpu(one) for one in reads], OURS: [_per_cpu(one) for one in ours]}
    return [
        line(GROUP, ground.rows, READ, {"rows/s": rates[READ], "rows/CPU s": per_cpu[READ]}),
        line(
            GROUP, ground.rows, OURS,
            {"rows/s": rates[OURS], "of the read": ratio(rates[OURS], rates[READ]), "rows/CPU s": per_cpu[OURS]},
            ">= 1,000,000 rows/s on 2 processors",
        ),
    ]  # fmt: skip


def _per_cpu(one: Copied) -> float:
    return one.rows / max(one.cpu, 0.01)
