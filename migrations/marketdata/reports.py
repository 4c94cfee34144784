"""What the database reports of itself and of the market: views and functions of phase 4, as records.

Each function gives a call for ``marketdata.call.run`` or ``run_async``. The legacy schema has none of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TypeVar

from marketdata.call import Answer, Call

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Turnover:
    """What was traded of a symbol in a period."""

    exchange: str
    base: str
    quote: str
    trades: int
    bought: Decimal
    sold: Decimal
    turnover: Decimal
    average_price: Decimal


@dataclass(frozen=True, slots=True)
class Holding:
    """An asset over all accounts."""

    asset: str
    free: Decimal
    locked: Decimal
    total: Decimal
    exchanges: int
    newest: datetime


@dataclass(frozen=True, slots=True)
class Fills:
    """What became of an exchange's orders in a period."""

    exchange: str
    orders: int
    filled: int
    canceled: int
    rejected: int
    fill_percent: Decimal
    turnover: Decimal


@dataclass(frozen=True, slots=True)
class Freshness:
    """How old an exchange's newest ticker is; None where it has none."""

    exchange: str
    symbols: int
    newest: datetime | None
    age: timedelta | None


@dataclass(frozen=True, slots=True)
class TableHealth:
    """The server's counters of one table; sizes in bytes."""

    table: str
    rows: int
    total_bytes: int
    heap_bytes: int
    index_bytes: int
    dead_rows: int
    index_scan_percent: Decimal | None
    last_analyzed: datetime | None


def turnover(first: datetime, end: datetime) -> Call[list[Turnover]]:
    """Trades from ``first`` to before ``end``, by symbol, the largest turnover first."""
    return Call(b"SELECT * FROM trade_report(%s, %s)", (first, end), _all(Turnover))


def portfolio() -> Call[list[Holding]]:
    """What is held, by asset."""
    return Call(b"SELECT * FROM portfolio_report ORDER BY asset", (), _all(Holding))


def fills(first: datetime, end: datetime) -> Call[list[Fills]]:
    """Orders from ``first`` to before ``end``, by exchange."""
    return Call(b"SELECT * FROM execution_report(%s, %s)", (first, end), _all(Fills))


def freshness() -> Call[list[Freshness]]:
    """How old each exchange's newest ticker is."""
    return Call(
        b"SELECT exchange, symbols_with_data, newest, age FROM exchange_freshness ORDER BY exchange",
        (),
        _all(Freshness),
    )


def health() -> Call[list[TableHealth]]:
    """The counters of every table of the normalised schema."""
    return Call(
        b"SELECT table_name, estimated_rows, total_bytes, heap_bytes, index_bytes, dead_rows, index_scan_percent,"
        b" last_analyzed FROM marketdata_table_health ORDER BY table_name",
        (),
        _all(TableHealth),
    )


def _all(record: Callable[..., T]) -> Callable[[Answer], list[T]]:
    return lambda answer: [record(*row) for row in answer.rows]
