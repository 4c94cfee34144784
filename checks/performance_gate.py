"""check: performance_gate
title: The normalised tables are not slower than the legacy ones, nor than before the migration
phase: 2
severity: error
"""

from collections.abc import Callable, Mapping

from marketdata.cache import SymbolCache
from marketdata.store import Store, open_store
from operations import INSERT, LATEST, measure
from support import Connection, Times, is_table, loaded_cache, record, result, run, sample_pairs, undone

Figures = Mapping[tuple[str, str], Times]  # by operation and shape
ROUNDS = 400
ATTEMPTS = 3
# The plan's tolerance. In one run both shapes take turns and meet the same weather; the baseline met another.
BESIDE = 1.25
BEFORE = 3.0
SLACK_MS = 0.15  # differences below this are the client's own noise


def recorded(conn: Connection, operation: str) -> float | None:
    """The first recorded legacy median in ms."""
    row = conn.execute(
        "SELECT p50_ms FROM performance_samples WHERE shape = 'legacy' AND operation = %s ORDER BY taken_at LIMIT 1",
        (operation,),
    ).fetchone()
    return float(row[0]) if row else None


def limits_of(operation: str, old: Times | None, baseline: float | None) -> dict[str, float]:
    """In ms: from the legacy figures of this run, where there is a legacy table, and from the recorded ones."""
    limits = {}
    if old:
        limits["legacy"] = old.p50 * BESIDE + SLACK_MS
    if baseline is not None and (operation == LATEST or old is None):
        # While both tables stand, a write pays for carrying; reads, and writes afterwards, pay for nothing.
        limits["legacy before the migration"] = baseline * BEFORE + SLACK_MS
    return limits


def judge(operation: str, new: Times, old: Times | None, baseline: float | None, attempt: int) -> None:
    """The verdict on one operation, with the figures it rests on."""
    limits = limits_of(operation, old, baseline)
    rows = [{"shape": "normalised", "p50_ms": round(new.p50, 4), "p99_ms": round(new.p99, 4)}]
    if old:
        rows.append({"shape": "legacy", "p50_ms": round(old.p50, 4), "p99_ms": round(old.p99, 4)})
    if baseline is not None:
        rows.append({"shape": "legacy before the migration", "p50_ms": baseline})
    slower = [name for name, limit in limits.items() if new.p50 > limit]
    expected = ", ".join(f"p50 at most {limit:.3f} ms ({name})" for name, limit in limits.items())
    ratio = f"; {new.p50 / old.p50:.2f} times legacy" if old else ""
    actual = f"{new}{ratio}"
    if slower:
        actual += f"; slower than {' and '.join(slower)} allows, {attempt} times: try again when the machine is quiet"
    elif attempt > 1:
        actual += f"; in attempt {attempt} of {ATTEMPTS}: something was slower than its limit before"
    check_id = f"performance_gate.{operation.split()[0]}"
    title = f"{operation.capitalize()}: normalised against legacy"
    result(check_id, title, not slower, expected or "no legacy figures to compare with", actual, rows)


def slower_ones(times: Figures, baselines: Mapping[str, float | None]) -> list[str]:
    """The operations that are slower than a limit allows."""
    return [
        operation
        for operation, baseline in baselines.items()
        for limit in limits_of(operation, times.get((operation, "legacy")), baseline).values()
        if times[operation, "normalised"].p50 > limit
    ]


def attempts(once: Callable[[], Figures], baselines: Mapping[str, float | None]) -> tuple[int, Figures]:
    """(how often it was measured, the last figures): again while something is slower than its limit.

    Others use the machine too: what is slow is so every time.
    """
    number, times = 1, once()
    while number < ATTEMPTS and slower_ones(times, baselines):
        number, times = number + 1, once()
    return number, times


def main() -> None:
    with undone() as conn:
        pairs = sample_pairs(conn, 20)
        if not pairs:
            result("performance_gate", "Normalised against legacy", True, "", "no rows to measure with")
            return
        stores: dict[str, Store] = {"normalised": open_store(conn, "normalised", loaded_cache(conn))}
        if is_table(conn, "book_ticker_snapshots"):
            stores["legacy"] = open_store(conn, "legacy", SymbolCache())
        baselines = {operation: recorded(conn, operation) for operation in (LATEST, INSERT)}
        attempt, times = attempts(lambda: measure(conn, stores, pairs, ROUNDS), baselines)
    for (operation, shape), figures in times.items():
        record(shape, operation, figures)
    for operation, baseline in baselines.items():
        judge(operation, times[operation, "normalised"], times.get((operation, "legacy")), baseline, attempt)


run(main)
