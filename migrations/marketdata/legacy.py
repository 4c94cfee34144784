"""Operations on the legacy schema, in which every row spells out its exchange and pair."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import psycopg

from marketdata.models import LegacyBookTicker, LegacyTrade, OrderSide, Pair

_INSERT = """
INSERT INTO book_ticker_snapshots ("timestamp", exchange, symbol_base, symbol_quote,
    bid_price, bid_qty, ask_price, ask_qty, sequence_number, update_type)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
_UPSERT = (
    _INSERT
    + """
ON CONFLICT ("timestamp", exchange, symbol_base, symbol_quote) DO UPDATE SET
    bid_price = excluded.bid_price, bid_qty = excluded.bid_qty,
    ask_price = excluded.ask_price, ask_qty = excluded.ask_qty,
    sequence_number = excluded.sequence_number, update_type = excluded.update_type
"""
)
_INSERT_MANY = """
INSERT INTO book_ticker_snapshots ("timestamp", exchange, symbol_base, symbol_quote,
    bid_price, bid_qty, ask_price, ask_qty, sequence_number, update_type)
SELECT * FROM unnest(%s::timestamptz[], %s::text[], %s::text[], %s::text[],
    %s::numeric[], %s::numeric[], %s::numeric[], %s::numeric[], %s::bigint[], %s::text[])
"""
_COPY = """
COPY book_ticker_snapshots ("timestamp", exchange, symbol_base, symbol_quote,
    bid_price, bid_qty, ask_price, ask_qty, sequence_number, update_type) FROM STDIN
"""
_UPDATE = """
UPDATE book_ticker_snapshots
SET bid_price = %s, bid_qty = %s, ask_price = %s, ask_qty = %s, sequence_number = %s, update_type = %s
WHERE "timestamp" = %s AND exchange = %s AND symbol_base = %s AND symbol_quote = %s
"""
_DELETE = """
DELETE FROM book_ticker_snapshots
WHERE "timestamp" = %s AND exchange = %s AND symbol_base = %s AND symbol_quote = %s
"""
_LATEST = """
SELECT "timestamp", exchange, symbol_base, symbol_quote,
    bid_price, bid_qty, ask_price, ask_qty, sequence_number, update_type, id, created_at
FROM book_ticker_snapshots
WHERE exchange = %s AND symbol_base = %s AND symbol_quote = %s
ORDER BY "timestamp" DESC LIMIT 1
"""
_RECENT = """
SELECT "timestamp", exchange, symbol_base, symbol_quote,
    bid_price, bid_qty, ask_price, ask_qty, sequence_number, update_type, id, created_at
FROM book_ticker_snapshots
WHERE exchange = %s AND symbol_base = %s AND symbol_quote = %s AND "timestamp" > now() - make_interval(mins => %s)
ORDER BY "timestamp" DESC LIMIT %s
"""
_BETWEEN = """
SELECT "timestamp", exchange, symbol_base, symbol_quote,
    bid_price, bid_qty, ask_price, ask_qty, sequence_number, update_type, id, created_at
FROM book_ticker_snapshots WHERE "timestamp" BETWEEN %s AND %s ORDER BY "timestamp"
"""
_INSERT_TRADE = """
INSERT INTO trades ("timestamp", exchange, symbol_base, symbol_quote,
    price, quantity, side, trade_id, quote_quantity, is_buyer, is_maker)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
_RECENT_TRADES = """
SELECT "timestamp", exchange, symbol_base, symbol_quote,
    price, quantity, side, trade_id, quote_quantity, is_buyer, is_maker, id, created_at
FROM trades
WHERE exchange = %s AND symbol_base = %s AND symbol_quote = %s AND "timestamp" > now() - make_interval(mins => %s)
ORDER BY "timestamp" DESC LIMIT %s
"""
_TRADES_BETWEEN = """
SELECT "timestamp", exchange, symbol_base, symbol_quote,
    price, quantity, side, trade_id, quote_quantity, is_buyer, is_maker, id, created_at
FROM trades WHERE "timestamp" BETWEEN %s AND %s ORDER BY "timestamp"
"""


def _values(ticker: LegacyBookTicker) -> tuple[Any, ...]:
    t = ticker
    content = (t.bid_price, t.bid_qty, t.ask_price, t.ask_qty, t.sequence_number, t.update_type)
    return (t.timestamp, *t.pair, *content)


def _ticker(row: tuple[Any, ...]) -> LegacyBookTicker:
    return LegacyBookTicker(row[0], Pair(row[1], row[2], row[3]), *row[4:])


def _trade(row: tuple[Any, ...]) -> LegacyTrade:
    return LegacyTrade(row[0], Pair(row[1], row[2], row[3]), row[4], row[5], OrderSide(row[6]), *row[7:])


class LegacyStore:
    """The legacy schema behind the interface of ``marketdata.store.Store``."""

    def __init__(self, conn: psycopg.Connection[Any]) -> None:
        self._conn = conn

    def insert(self, ticker: LegacyBookTicker) -> None:
        """See Store."""
        self._conn.execute(_INSERT, _values(ticker))

    def insert_many(self, tickers: Sequence[LegacyBookTicker]) -> None:
        """See Store."""
        if tickers:
            columns = zip(*(_values(ticker) for ticker in tickers), strict=True)
            self._conn.execute(_INSERT_MANY, [list(column) for column in columns])

    def copy(self, tickers: Sequence[LegacyBookTicker]) -> None:
        """See Store."""
        with self._conn.cursor() as cur, cur.copy(_COPY) as copy:
            for ticker in tickers:
                copy.write_row(_values(ticker))

    def upsert(self, ticker: LegacyBookTicker) -> None:
        """See Store."""
        self._conn.execute(_UPSERT, _values(ticker))

    def update(self, ticker: LegacyBookTicker) -> bool:
        """See Store."""
        timestamp, exchange, base, quote, *content = _values(ticker)
        return self._conn.execute(_UPDATE, (*content, timestamp, exchange, base, quote)).rowcount == 1

    def delete(self, timestamp: datetime, pair: Pair) -> bool:
        """See Store."""
        return self._conn.execute(_DELETE, (timestamp, *pair)).rowcount == 1

    def latest(self, pair: Pair) -> LegacyBookTicker | None:
        """See Store."""
        row = self._conn.execute(_LATEST, pair).fetchone()
        return _ticker(row) if row else None

    def recent(self, pair: Pair, minutes: int, limit: int = 1000) -> list[LegacyBookTicker]:
        """See Store."""
        return [_ticker(row) for row in self._conn.execute(_RECENT, (*pair, minutes, limit)).fetchall()]

    def between(self, first: datetime, last: datetime) -> Iterator[LegacyBookTicker]:
        """See Store."""
        with self._conn.cursor("tickers_between") as cur:
            cur.itersize = 5000
            for row in cur.execute(_BETWEEN, (first, last)):
                yield _ticker(row)

    def insert_trade(self, trade: LegacyTrade) -> None:
        """See Store."""
        t = trade
        content = (t.price, t.quantity, t.side, t.trade_id, t.quote_quantity, t.is_buyer, t.is_maker)
        self._conn.execute(_INSERT_TRADE, (t.timestamp, *t.pair, *content))

    def recent_trades(self, pair: Pair, minutes: int, limit: int = 1000) -> list[LegacyTrade]:
        """See Store."""
        return [_trade(row) for row in self._conn.execute(_RECENT_TRADES, (*pair, minutes, limit)).fetchall()]

    def trades_between(self, first: datetime, last: datetime) -> Iterator[LegacyTrade]:
        """See Store."""
        with self._conn.cursor("trades_between") as cur:
            cur.itersize = 5000
            for row in cur.execute(_TRADES_BETWEEN, (first, last)):
                yield _trade(row)
