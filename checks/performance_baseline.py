"""check: performance_baseline
title: The legacy tables' latencies are recorded before anything changes
phase: 1
severity: error
"""

from marketdata.cache import SymbolCache
from marketdata.store import open_store
from operations import measure
from support import is_table, record, result, run, sample_pairs, undone

ROUNDS = 300


def main() -> None:
    with undone() as conn:
        pairs = sample_pairs(conn, 20)
        if not pairs or not is_table(conn, "book_ticker_snapshots"):
            result("performance_baseline", "Legacy latencies", True, "recorded", "no legacy rows to measure with")
            return
        times = measure(conn, {"legacy": open_store(conn, "legacy", SymbolCache())}, pairs, ROUNDS)
    for (operation, shape), figures in times.items():
        record(shape, operation, figures)
        result(f"performance_baseline.{operation.split()[0]}", f"Legacy: {operation}", True, "recorded", str(figures))


run(main)
