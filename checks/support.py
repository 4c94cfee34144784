"""What the programs in this folder share: a connection whose work is undone, results as JSON lines, latencies."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
from marketdata.cache import SymbolCache, Unknown
from marketdata.models import LegacyBookTicker, LegacyTrade, OrderSide, Pair

Connection = psycopg.Connection[Any]

# Rows that a program writes and undoes lie before any real one: no application's row has the same key, and no
# query for the latest ticker meets them.
EPOCH = datetime(1990, 1, 1, tzinfo=UTC)
VENUE = "CHECK_SPOT"  # an exchange that exists only inside a program's own transaction
TOLERANCE = 3.0  # times a target or a baseline; less than that can be this machine's mood


def result(
    check_id: str, title: str, ok: bool, expected: str, actual: str, rows: Sequence[dict[str, Any]] = ()
) -> None:
    """Print one result as a line of JSON; at most 20 sample rows."""
    line = {"id": check_id, "title": title, "ok": ok, "expected": expected, "actual": actual, "rows": list(rows[:20])}
    print(json.dumps(line, default=str), flush=True)


def connect(*, autocommit: bool = False) -> Connection:
    """A connection as the console or the PG* variables say; it never waits long for a lock."""
    conn: Connection = psycopg.connect(os.environ.get("PGFERRY_DSN", ""), autocommit=autocommit)
    conn.execute("SELECT set_config('lock_timeout', '2s', false), set_config('application_name', 'check', false)")
    if not autocommit:
        conn.commit()
    return conn


@contextmanager
def undone(*, snapshot: bool = False) -> Iterator[Connection]:
    """A transaction that is always rolled back; ``snapshot``: it sees one moment throughout."""
    with connect() as conn:
        if snapshot:
            conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        try:
            yield conn
        finally:
            conn.rollback()


def refused(conn: Connection, action: Callable[[], object], error: type[Exception]) -> bool:
    """Whether ``action`` raises ``error``; the transaction goes on either way."""
    try:
        with conn.transaction():
            action()
    except error:
        return True
    return False


def run(program: Callable[[], None]) -> None:
    """Run a program; a database error becomes one sentence on standard error and exit code 1."""
    try:
        program()
    except psycopg.Error as error:
        print(f"The check could not run: {str(error).strip().splitlines()[0]}", file=sys.stderr)
        raise SystemExit(1) from None


def ticker(pair: Pair, offset: int = 0) -> LegacyBookTicker:
    """A ticker with the smallest prices and largest quantities that occur, ``offset`` microseconds after EPOCH."""
    return LegacyBookTicker(
        EPOCH + timedelta(microseconds=offset),
        pair,
        Decimal("0.00000352"),
        Decimal("1400000000"),
        Decimal("0.00000353"),
        Decimal("0.00000001"),
        offset,
    )


def trade(pair: Pair, offset: int = 0) -> LegacyTrade:
    """A trade, ``offset`` microseconds after EPOCH."""
    when = EPOCH + timedelta(microseconds=offset)
    return LegacyTrade(when, pair, Decimal("0.00000352"), Decimal("1400000000"), OrderSide.SELL, f"check-{offset}")


def content(row: LegacyBookTicker | LegacyTrade | None) -> LegacyBookTicker | LegacyTrade | None:
    """A row without what the database adds to it."""
    return None if row is None else replace(row, id=None, created_at=None)


def check_exchange(conn: Connection, pairs: Sequence[tuple[str, str]] = ()) -> int:
    """Make the exchange VENUE and these pairs of it in the open transaction; the exchange's id."""
    row = conn.execute("SELECT create_exchange(%s, 'Check', 'Check', 'SPOT')", (VENUE,)).fetchone()
    for base, quote in pairs:
        conn.execute("SELECT ensure_symbol(%s, %s, %s)", (VENUE, base, quote))
    if row is None:
        raise AssertionError("a scalar function returns a row")
    return int(row[0])


def loaded_cache(conn: Connection, unknown: Unknown = Unknown.FETCH) -> SymbolCache:
    """A cache with every symbol that ``conn`` sees."""
    cache = SymbolCache(unknown)
    cache.refresh(conn)
    return cache


@dataclass(frozen=True, slots=True)
class Times:
    """Latencies in milliseconds."""

    samples: int
    p50: float
    p99: float
    worst: float

    def __str__(self) -> str:
        return f"p50 {self.p50:.3f} ms, p99 {self.p99:.3f} ms"


def timed(action: Callable[[], object]) -> float:
    """How long ``action`` takes, in milliseconds, from the client's side."""
    start = time.perf_counter()
    action()
    return (time.perf_counter() - start) * 1000


def summary(ms: Sequence[float]) -> Times:
    """Percentiles of at least one measurement."""
    ordered = sorted(ms)
    last = len(ordered) - 1
    return Times(len(ordered), ordered[last // 2], ordered[round(last * 0.99)], ordered[last])


def record(shape: str, operation: str, times: Times) -> None:
    """Keep a measurement in performance_samples, for later comparison."""
    with connect(autocommit=True) as conn:
        conn.execute(
            "INSERT INTO performance_samples (shape, operation, samples, p50_ms, p99_ms, max_ms)"
            " VALUES (%s, %s, %s, %s, %s, %s)",
            (shape, operation, times.samples, times.p50, times.p99, times.worst),
        )


def sample_pairs(conn: Connection, limit: int) -> list[Pair]:
    """Pairs that the data holds, in their canonical spelling, spread over all of them."""
    rows = conn.execute(
        "SELECT exchange, symbol_base, symbol_quote FROM legacy_pairs JOIN legacy_symbol_names"
        " USING (exchange, symbol_base, symbol_quote) WHERE is_canonical AND in_tickers"
        " ORDER BY md5(exchange || symbol_base || symbol_quote) LIMIT %s",
        (limit,),
    ).fetchall()
    return [Pair(*row) for row in rows]


def is_table(conn: Connection, name: str) -> bool:
    """Whether ``name`` is a table here, not a view or missing."""
    row = conn.execute("SELECT relkind IN ('r', 'p') FROM pg_class WHERE oid = to_regclass(%s)", (name,)).fetchone()
    return bool(row and row[0])
