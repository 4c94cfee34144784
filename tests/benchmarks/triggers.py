"""(c) What the sync costs whoever writes: single rows in autocommit, and many rows in one statement."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from console.journal.connect import Conn
from console.plan.model import Direction
from tests.benchmarks.backfill import run_limit
from tests.benchmarks.cpu import used
from tests.benchmarks.ground import Ground, say
from tests.benchmarks.lines import Line, line, ratio

GROUP = "writer"
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
_ONE = (
    "exchange = 'MEXC_SPOT' AND symbol_base = 'BTC' AND symbol_quote = 'USDT'"
    " AND \"timestamp\" = '{year}-01-01Z'::timestamptz + %s * interval '1 ms'"
)
_MOVE = (
    "UPDATE book_ticker_snapshots SET \"timestamp\" = '2042-01-01Z'::timestamptz + %s * interval '1 ms' WHERE "
    + _ONE.format(year=2041)
)
_DELETE = "DELETE FROM book_ticker_snapshots WHERE " + _ONE.format(year=2042)
_FEW = 20  # rows of a small statement
_SMALL = (
    "INSERT INTO book_ticker_snapshots SELECT nextval('book_ticker_snapshots_id_seq'), 'MEXC_SPOT', 'BTC', 'USDT',"
    f" 1, 1, 2, 1, '2043-01-01Z'::timestamptz + (%s * {_FEW} + i) * interval '1 ms', 1, 'update', now()"
    f" FROM generate_series(1, {_FEW}) i"
)


def _bulk(conn: Conn, rows: int) -> float:
    """Microseconds a row of one INSERT of many rows."""
    source = "(SELECT *, row_number() OVER () AS n FROM book_ticker_snapshots WHERE exchange = 'MEXC_SPOT' LIMIT %s) s"
    start = time.perf_counter()
    done = conn.execute(f"INSERT INTO book_ticker_snapshots {_ROWS.format(n='n')} FROM {source}", (rows,))
    assert done.rowcount == rows
    return (time.perf_counter() - start) * 1e6 / rows


def _each(conn: Conn, statement: str, rows: int, keys: int = 1, each: int = 1) -> float:
    """Median microseconds a row of a statement that writes ``each`` rows and commits; ``keys`` of its parameters."""
    took = []
    for number in range(rows // each):
        start = time.perf_counter()
        done = conn.execute(statement, (number,) * keys)
        took.append((time.perf_counter() - start) * 1e6 / each)
        assert done.rowcount == each
    return statistics.median(took)


# Name -> how many rows, and how they are written.
WORK: dict[str, tuple[int, Callable[[Conn, int], float]]] = {
    "one INSERT of many": (20_000, _bulk),
    "single INSERTs": (1_000, lambda conn, rows: _each(conn, _SINGLE, rows)),
    "single UPDATEs": (1_000, lambda conn, rows: _each(conn, _UPDATE, rows)),
    "single UPDATEs of the key": (1_000, lambda conn, rows: _each(conn, _MOVE, rows, keys=2)),
    "single DELETEs": (1_000, lambda conn, rows: _each(conn, _DELETE, rows)),
    f"INSERTs of {_FEW}": (4_000, lambda conn, rows: _each(conn, _SMALL, rows, each=_FEW)),
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
    took: dict[tuple[str, str], list[float]] = {(work, state): [] for work in WORK for state in STATES}
    cpu: dict[tuple[str, str], list[float]] = {key: [] for key in took}
    for turn in range(repeats):
        for state, directions in STATES.items():
            _state(ground, directions)
            with ground.connection() as conn:
                for work, (rows, write) in WORK.items():
                    before = used(ground.server_pid)
                    took[work, state].append(write(conn, rows // scale))
                    cpu[work, state].append((used(ground.server_pid) - before) * 1e6 / (rows // scale))
        say(f"  writer {ground.rows:,}: repetition {turn + 1} of {repeats}")
    _state(ground, ())
    return [
        line(
            GROUP, ground.rows, f"{work}, {state}",
            {
                "us/row": took[work, state],
                "x none": ratio(took[work, state], took[work, "no trigger"]),
                "CPU us/row": cpu[work, state],
                "CPU x none": ratio(cpu[work, state], cpu[work, "no trigger"]),
            },
        )
        for work, state in took
    ]  # fmt: skip
