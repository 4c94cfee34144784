"""Operations on the normalised schema: rows carry a symbol id, which the cache resolves without a round trip."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import psycopg

from marketdata.cache import SymbolCache
from marketdata.models import BookTicker, LegacyBookTicker, LegacyTrade, OrderSide, Pair, Trade

_INSERT = """
INSERT INTO book_ticker_snapshots_v2 ("timestamp", symbol_id,
    bid_price, bid_qty, ask_price, ask_qty, sequence_number, update_type)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
"""
_UPSERT = (
    _INSERT
    + """
ON CONFLICT ("timestamp", symbol_id) DO UPDATE SET
    bid_price = excluded.bid_price, bid_qty = excluded.bid_qty,
    ask_price = excluded.ask_price, ask_qty = excluded.ask_qty,
    sequence_number = excluded.sequence_number, update_type = excluded.update_type
"""
)
_INSERT_MANY = """
INSERT INTO book_ticker_snapshots_v2 ("timestamp", symbol_id,
    bid_price, bid_qty, ask_price, ask_qty, sequence_number, update_type)
SELECT * FROM unnest(%s::timestamptz[], %s::integer[],
    %s::numeric[], %s::numeric[], %s::numeric[], %s::numeric[], %s::bigint[], %s::text[])
"""
_COPY = """
COPY book_ticker_snapshots_v2 ("timestamp", symbol_id,
    bid_price, bid_qty, ask_price, ask_qty, sequence_number, update_type) FROM STDIN
"""
_UPDATE = """
UPDATE book_ticker_snapshots_v2
SET bid_price = %s, bid_qty = %s, ask_price = %s, ask_qty = %s, sequence_number = %s, update_type = %s
WHERE "timestamp" = %s AND symbol_id = %s
"""
_DELETE = """
DELETE FROM book_ticker_snapshots_v2
WHERE "timestamp" = %s AND symbol_id = %s
"""
_LATEST = """
SELECT "timestamp", symbol_id,
    bid_price, bid_qty, ask_price, ask_qty, sequence_number, update_type, id, created_at
FROM book_ticker_snapshots_v2
WHERE symbol_id = %s
ORDER BY "timestamp" DESC LIMIT 1
"""
_RECENT = """
SELECT "timestamp", symbol_id,
    bid_price, bid_qty, ask_price, ask_qty, sequence_number, update_type, id, created_at
FROM book_ticker_snapshots_v2
WHERE symbol_id = %s AND "timestamp" > now() - make_interval(mins => %s)
ORDER BY "timestamp" DESC LIMIT %s
"""
_BETWEEN = """
SELECT "timestamp", symbol_id,
    bid_price, bid_qty, ask_price, ask_qty, sequence_number, update_type, id, created_at
FROM book_ticker_snapshots_v2 WHERE "timestamp" BETWEEN %s AND %s ORDER BY "timestamp"
"""
_INSERT_TRADE = """
INSERT INTO trade_snapshots_v2 ("timestamp", symbol_id,
    price, quantity, side, trade_id, quote_quantity, is_buyer, is_maker)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
_RECENT_TRADES = """
SELECT "timestamp", symbol_id,
    price, quantity, side, trade_id, quote_quantity, is_buyer, is_maker, id, created_at
FROM trade_snapshots_v2
WHERE symbol_id = %s AND "timestamp" > now() - make_interval(mins => %s)
ORDER BY "timestamp" DESC LIMIT %s
"""
_TRADES_BETWEEN = """
SELECT "timestamp", symbol_id,
    price, quantity, side, trade_id, quote_quantity, is_buyer, is_maker, id, created_at
FROM trade_snapshots_v2 WHERE "timestamp" BETWEEN %s AND %s ORDER BY "timestamp"
"""


def _values(ticker: BookTicker) -> tuple[Any, ...]:
    t = ticker
    content = (t.bid_price, t.bid_qty, t.ask_price, t.ask_qty, t.sequence_number, t.update_type)
    return (t.timestamp, t.symbol_id, *content)


def _trade(row: tuple[Any, ...]) -> Trade:
    return Trade(row[0], row[1], row[2], row[3], OrderSide(row[4]), *row[5:])


class NormalisedStore:
    """The normalised schema behind the interface of ``marketdata.store.Store``.

    A pair that no symbol stands for is fetched or created, as the cache's policy says; where that fails, the
    methods raise UnknownPairError. A number that numeric(20,8) would round raises ValueError.
    """

    def __init__(self, conn: psycopg.Connection[Any], cache: SymbolCache) -> None:
        self._conn = conn
        self._cache = cache

    def insert(self, ticker: LegacyBookTicker) -> None:
        """See Store."""
        self._conn.execute(_INSERT, self._row(ticker))

    def insert_many(self, tickers: Sequence[LegacyBookTicker]) -> None:
        """See Store."""
        if tickers:
            columns = zip(*[self._row(ticker) for ticker in tickers], strict=True)
            self._conn.execute(_INSERT_MANY, [list(column) for column in columns])

    def copy(self, tickers: Sequence[LegacyBookTicker]) -> None:
        """See Store."""
        # Resolved before COPY begins: an unknown pair needs the connection for a query.
        rows = [self._row(ticker) for ticker in tickers]
        with self._conn.cursor() as cur, cur.copy(_COPY) as copy:
            for row in rows:
                copy.write_row(row)

    def upsert(self, ticker: LegacyBookTicker) -> None:
        """See Store."""
        self._conn.execute(_UPSERT, self._row(ticker))

    def update(self, ticker: LegacyBookTicker) -> bool:
        """See Store."""
        timestamp, symbol_id, *content = self._row(ticker)
        return self._conn.execute(_UPDATE, (*content, timestamp, symbol_id)).rowcount == 1

    def delete(self, timestamp: datetime, pair: Pair) -> bool:
        """See Store."""
        return self._conn.execute(_DELETE, (timestamp, self._symbol_id(pair))).rowcount == 1

    def latest(self, pair: Pair) -> LegacyBookTicker | None:
        """See Store."""
        row = self._conn.execute(_LATEST, (self._symbol_id(pair),)).fetchone()
        return BookTicker(*row).legacy(pair) if row else None

    def recent(self, pair: Pair, minutes: int, limit: int = 1000) -> list[LegacyBookTicker]:
        """See Store."""
        rows = self._conn.execute(_RECENT, (self._symbol_id(pair), minutes, limit)).fetchall()
        return [BookTicker(*row).legacy(pair) for row in rows]

    def between(self, first: datetime, last: datetime) -> Iterator[LegacyBookTicker]:
        """See Store."""
        self._cache.refresh(self._conn)
        with self._conn.cursor("tickers_between") as cur:
            cur.itersize = 5000
            for row in cur.execute(_BETWEEN, (first, last)):
                yield BookTicker(*row).legacy(self._cache.by_id(row[1]).pair)

    def insert_trade(self, trade: LegacyTrade) -> None:
        """See Store."""
        t = trade.normalised(self._symbol_id(trade.pair))
        content = (t.price, t.quantity, t.side, t.trade_id, t.quote_quantity, t.is_buyer, t.is_maker)
        self._conn.execute(_INSERT_TRADE, (t.timestamp, t.symbol_id, *content))

    def recent_trades(self, pair: Pair, minutes: int, limit: int = 1000) -> list[LegacyTrade]:
        """See Store."""
        rows = self._conn.execute(_RECENT_TRADES, (self._symbol_id(pair), minutes, limit)).fetchall()
        return [_trade(row).legacy(pair) for row in rows]

    def trades_between(self, first: datetime, last: datetime) -> Iterator[LegacyTrade]:
        """See Store."""
        self._cache.refresh(self._conn)
        with self._conn.cursor("trades_between") as cur:
            cur.itersize = 5000
            for row in cur.execute(_TRADES_BETWEEN, (first, last)):
                yield _trade(row).legacy(self._cache.by_id(row[1]).pair)

    def _symbol_id(self, pair: Pair) -> int:
        return self._cache.resolve(self._conn, pair).id

    def _row(self, ticker: LegacyBookTicker) -> tuple[Any, ...]:
        return _values(ticker.normalised(self._symbol_id(ticker.pair)))
