"""check: performance_test
title: The normalised tables are not slower than the legacy ones
phase: 3
severity: error
"""

from marketdata.cache import SymbolCache
from marketdata.store import Store, open_store
from operations import INSERT, LATEST, measure
from support import TOLERANCE, Connection, Times, is_table, loaded_cache, record, result, run, sample_pairs, undone

ROUNDS = 400
SLACK_MS = 0.25  # differences below this are the client's own noise


def recorded(conn: Connection, operation: str) -> float | None:
    """The first recorded legacy median in ms."""
    row = conn.execute(
        "SELECT p50_ms FROM performance_samples WHERE shape = 'legacy' AND operation = %s ORDER BY taken_at LIMIT 1",
        (operation,),
    ).fetchone()
    return float(row[0]) if row else None


def judge(operation: str, new: Times, old: Times | None, baseline: float | None) -> None:
    """Held against the legacy figures of this run; against the recorded ones where no legacy table is left."""
    against = old.p50 if old else baseline
    title = f"{operation.capitalize()}: normalised against legacy"
    check_id = f"performance_test.{operation.split()[0]}"
    if against is None:
        result(check_id, title, True, "no legacy figures to compare with", str(new))
        return
    limit = against * TOLERANCE + SLACK_MS
    rows = [{"shape": "normalised", "p50_ms": round(new.p50, 4), "p99_ms": round(new.p99, 4)}]
    if old:
        rows.append({"shape": "legacy", "p50_ms": round(old.p50, 4), "p99_ms": round(old.p99, 4)})
    if baseline is not None:
        rows.append({"shape": "legacy before the migration", "p50_ms": baseline})
    actual = f"{new}; {new.p50 / against:.2f} times legacy"
    result(check_id, title, new.p50 <= limit, f"p50 at most {limit:.3f} ms", actual, rows)


def main() -> None:
    with undone() as conn:
        pairs = sample_pairs(conn, 20)
        if not pairs:
            result("performance_test", "Normalised against legacy", True, "", "no rows to measure with")
            return
        stores: dict[str, Store] = {"normalised": open_store(conn, "normalised", loaded_cache(conn))}
        if is_table(conn, "book_ticker_snapshots"):
            stores["legacy"] = open_store(conn, "legacy", SymbolCache())
        baselines = {operation: recorded(conn, operation) for operation in (LATEST, INSERT)}
        times = measure(conn, stores, pairs, ROUNDS)
    for (operation, shape), figures in times.items():
        record(shape, operation, figures)
    for operation, baseline in baselines.items():
        judge(operation, times[operation, "normalised"], times.get((operation, "legacy")), baseline)


run(main)
