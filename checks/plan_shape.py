"""check: plan_shape
title: The applications' queries use an index of the normalised tables
phase: 2
severity: error
"""

from collections.abc import Iterator
from typing import Any, LiteralString

from support import Connection, result, run, undone

SMALL = 10_000  # below this many rows reading the whole table may be the better plan
QUERIES: tuple[tuple[str, str, LiteralString], ...] = (
    (
        "latest",
        "book_ticker_snapshots_v2",
        'SELECT * FROM book_ticker_snapshots_v2 WHERE symbol_id = %s ORDER BY "timestamp" DESC LIMIT 1',
    ),
    (
        "recent",
        "book_ticker_snapshots_v2",
        "SELECT * FROM book_ticker_snapshots_v2 WHERE symbol_id = %s AND \"timestamp\" > now() - interval '5 min'",
    ),
    (
        "trades",
        "trade_snapshots_v2",
        'SELECT * FROM trade_snapshots_v2 WHERE symbol_id = %s ORDER BY "timestamp" DESC LIMIT 100',
    ),
)


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every node of a plan."""
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


def explain(conn: Connection, query: LiteralString, symbol_id: int) -> dict[str, Any]:
    row = conn.execute("EXPLAIN (FORMAT JSON) " + query, (symbol_id,)).fetchone()
    plan: dict[str, Any] = row[0][0]["Plan"] if row else {}
    return plan


def main() -> None:
    with undone() as conn:
        row = conn.execute("SELECT coalesce(min(id), 0) FROM symbols").fetchone()
        symbol_id = int(row[0]) if row else 0
        for name, table, query in QUERIES:
            size = conn.execute("SELECT reltuples FROM pg_class WHERE oid = to_regclass(%s)", (table,)).fetchone()
            small = size is None or size[0] < SMALL
            with conn.transaction(force_rollback=True):
                if small:
                    conn.execute("SET LOCAL enable_seqscan = off")
                used = list(nodes(explain(conn, query, symbol_id)))
            scans = [node for node in used if node.get("Relation Name") == table and node["Node Type"] == "Seq Scan"]
            indexes = [str(node["Index Name"]) for node in used if "Index Name" in node]
            actual = ", ".join(indexes) or "no index"
            if small:
                actual += " (table is small: tried without sequential scans)"
            title = f"{name.capitalize()}: plan of the query on {table}"
            result(f"plan_shape.{name}", title, bool(indexes) and not scans, "an index", actual)


run(main)
