"""(c) What the sync costs whoever writes: single rows in autocommit, and many rows in one statement."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from console.journal.connect import Conn
from console.plan.model import Direction
from tests.benchmarks.backfill import run_limit
from tests.benchmarks.ground import Ground, say
from tests.benchmarks.lines import Line, line, ratio

GROUP = "writer"
BULK_ROWS, SINGLE_ROWS = 20_000, 1_000
_ROWS = (
    "SELECT nextval('book_ticker_snapshots_id_seq'), exchange, symbol_base, symbol_quote, bid_price, bid_qty, ask_price,"
    " ask_qty, '2040-01-01Z'::timestamptz + {n} * interval '1 ms', sequence_number, update_type, created_at"
)
_SINGLE = (
    "INSERT INTO book_ticker_snapshots VALUES (nextval('book_ticker_snapshots_id_seq'), 'MEXC_SPOT', 'BTC', 'USDT',"
    " 1, 1, 2, 1, '2041-01-01Z'::timestamptz + %s * interval '1 ms', 1, 'update', now())"
)
_UPDATE = (
    "UPDATE book_ticker_snapshots SET bid_qty = bid_qty + 1 WHERE exchange = 'MEXC_SPOT' AND symbol_base = 'BTC'"
    " AND symbol_quote = 'USDT' AND \"timestamp\" = '2041-01-01Z'::timestamptz + %s * interval '1 ms'"
)


def _bulk(conn: Conn, rows: int) -> float:
    """Microseconds a row of one INSERT of many rows."""
    source = "(SELECT *, row_number() OVER () AS n FROM book_ticker_snapshots WHERE exchange = 'MEXC_SPOT' LIMIT %s) s"
    start = time.perf_counter()
    done = conn.execute(f"INSERT INTO book_ticker_snapshots {_ROWS.format(n='n')} FROM {source}", (rows,))
    return (time.perf_counter() - start) * 1e6 / done.rowcount


def _each(conn: Conn, statement: str, rows: int) -> float:
    """Median microseconds of a statement that writes one row and commits."""
    took = []
    for number in range(rows):
        start = time.perf_counter()
        conn.execute(statement, (number,))
        took.append((time.perf_counter() - start) * 1e6)
    return statistics.median(took)


WORK: dict[str, Callable[[Conn, int], float]] = {
    "bulk insert us/row": lambda conn, scale: _bulk(conn, BULK_ROWS // scale),
    "single insert us": lambda conn, scale: _each(conn, _SINGLE, SINGLE_ROWS // scale),
    "single update us": lambda conn, scale: _each(conn, _UPDATE, SINGLE_ROWS // scale),
}


def _state(ground: Ground, directions: tuple[Direction, ...]) -> None:
    """Remove what earlier turns wrote, with no trigger awake; then the triggers asked for."""
    ground.sync_off()
    with ground.connection() as conn:
        for table in (ground.mapping.old, ground.mapping.new):
            conn.execute(f"DELETE FROM {table.name} WHERE \"timestamp\" >= '2040-01-01Z'")
            conn.execute(f"VACUUM {table.name}")
    for direction in directions:
        ground.sync_on(direction)
    with ground.connection() as conn:
        conn.execute("CHECKPOINT")


STATES = {
    "no trigger": (),
    "sync forward": (Direction.FORWARD,),
    "sync both ways": (Direction.FORWARD, Direction.REVERSE),
}


def measure(ground: Ground, repeats: int, *, scale: int = 1) -> list[Line]:
    """The three states of the sync in turn, over copied and indexed tables; ``scale`` divides the rows written."""
    ground.fresh()
    run_limit(ground)
    ground.indexed()
    samples: dict[str, dict[str, list[float]]] = {state: {work: [] for work in WORK} for state in STATES}
    for turn in range(repeats):
        for state, directions in STATES.items():
            _state(ground, directions)
            with ground.connection() as conn:
                for work, run in WORK.items():
                    samples[state][work].append(run(conn, scale))
        say(f"  writer {ground.rows:,}: repetition {turn + 1} of {repeats}")
    _state(ground, ())
    none = samples["no trigger"]
    return [
        line(
            GROUP, ground.rows, state,
            found | {f"{work.removesuffix(' us').removesuffix(' us/row')} x none": ratio(found[work], none[work]) for work in WORK},
        )
        for state, found in samples.items()
    ]  # fmt: skip
