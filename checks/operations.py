"""The two operations that both shapes are measured by: the latest ticker of a pair, and one insert, undone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from marketdata.models import Pair
from marketdata.store import Store
from support import Connection, Times, summary, ticker, timed

LATEST = "latest ticker"
INSERT = "single insert"
BATCH = 25  # inserts before they are undone


def measure(
    conn: Connection, stores: Mapping[str, Store], pairs: Sequence[Pair], rounds: int
) -> dict[tuple[str, str], Times]:
    """Times by (operation, shape). Shapes take turns within one run, so that both meet the same weather."""
    times: dict[tuple[str, str], list[float]] = {}
    names = list(stores)
    for number in range(rounds):
        names.reverse()
        pair = pairs[number % len(pairs)]
        for name in names:
            took = timed(lambda store=stores[name], pair=pair: store.latest(pair))  # type: ignore[misc]
            times.setdefault((LATEST, name), []).append(took)
    conn.rollback()
    for number in range(rounds):
        names.reverse()
        pair = pairs[number % len(pairs)]
        for name in names:
            # Each shape its own instant: with sync on, one shape's row is the other's too.
            row = ticker(pair, number * len(names) + names.index(name) + (0 if name == "legacy" else 10_000_000))
            took = timed(lambda store=stores[name], row=row: store.insert(row))  # type: ignore[misc]
            times.setdefault((INSERT, name), []).append(took)
        if number % BATCH == BATCH - 1:
            conn.rollback()
    conn.rollback()
    warm = rounds // 10  # the first calls fill caches and prepare statements
    return {key: summary(values[warm:]) for key, values in times.items()}
