"""One interface over both forms of the tables: the flag ``shape`` switches an application over.

Records come and go in the application's own words (pair by name); the form writes them as its tables have them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import psycopg

from marketdata.cache import SymbolCache
from marketdata.call import Row, run
from marketdata.forms import FORMS, Form, ticker_values, trade_values
from marketdata.forms import Shape as Shape
from marketdata.models import LegacyBookTicker, LegacyTrade, Opportunity, Pair

STREAMED = 5000  # rows fetched at a time


class Store:
    """Tickers and trades in one form, over an autocommit connection.

    Every method raises psycopg.Error when the database refuses, ValueError for a number that numeric(20,8) would
    round and, in the normalised form, UnknownPairError for a pair that the cache may not make up.
    """

    def __init__(self, conn: psycopg.Connection[Any], form: Form, cache: SymbolCache) -> None:
        self._conn = conn
        self._form = form
        self._cache = cache

    def insert(self, ticker: LegacyBookTicker) -> None:
        """Store one ticker."""
        run(self._conn, self._form.insert(self._key(ticker.pair), ticker))

    def insert_many(self, tickers: Sequence[LegacyBookTicker]) -> None:
        """Store tickers with one statement: all or none."""
        if tickers:
            run(self._conn, self._form.insert_many(self._rows(tickers)))

    def copy(self, tickers: Sequence[LegacyBookTicker]) -> None:
        """Store tickers by COPY: all or none; the quickest way for many."""
        self._copy(self._form.tickers.copy, self._rows(tickers))

    def upsert(self, ticker: LegacyBookTicker) -> None:
        """Store one ticker, or replace the one of the same instant and pair."""
        run(self._conn, self._form.upsert(self._key(ticker.pair), ticker))

    def update(self, ticker: LegacyBookTicker) -> bool:
        """Replace the ticker of the same instant and pair; False when there is none."""
        return run(self._conn, self._form.update(self._key(ticker.pair), ticker))

    def delete(self, timestamp: datetime, pair: Pair) -> bool:
        """Remove a ticker; False when there is none."""
        return run(self._conn, self._form.delete(self._key(pair), timestamp))

    def latest(self, pair: Pair) -> LegacyBookTicker | None:
        """The newest ticker of a pair."""
        return run(self._conn, self._form.latest(self._key(pair), pair))

    def latest_all(self) -> list[LegacyBookTicker]:
        """The newest ticker of every pair, by exchange and pair."""
        return run(self._conn, self._form.latest_all())

    def recent(self, pair: Pair, minutes: int, limit: int = 1000) -> list[LegacyBookTicker]:
        """A pair's tickers of the last minutes, newest first, at most ``limit``."""
        return run(self._conn, self._form.recent(self._key(pair), pair, minutes, limit))

    def between(self, first: datetime, last: datetime) -> Iterator[LegacyBookTicker]:
        """All tickers from ``first`` to ``last``, both included, by time. Streams; open a transaction around it."""
        for row in self._stream("tickers_between", self._form.tickers.between, (first, last)):
            yield self._form.ticker(row, self._pair(row))

    def opportunities(self, max_age: timedelta = timedelta(minutes=1)) -> list[Opportunity]:
        """Pairs that several exchanges quote, the best spread first, from tickers not older than ``max_age``."""
        return run(self._conn, self._form.opportunities(max_age))

    def insert_trade(self, trade: LegacyTrade) -> None:
        """Store one trade."""
        run(self._conn, self._form.insert_trade(self._key(trade.pair), trade))

    def insert_trades(self, trades: Sequence[LegacyTrade]) -> None:
        """Store trades with one statement: all or none."""
        if trades:
            run(self._conn, self._form.insert_trades(self._trade_rows(trades)))

    def copy_trades(self, trades: Sequence[LegacyTrade]) -> None:
        """Store trades by COPY: all or none; the quickest way for many."""
        self._copy(self._form.trades.copy, self._trade_rows(trades))

    def recent_trades(self, pair: Pair, minutes: int, limit: int = 1000) -> list[LegacyTrade]:
        """A pair's trades of the last minutes, newest first, at most ``limit``."""
        return run(self._conn, self._form.recent_trades(self._key(pair), pair, minutes, limit))

    def trades_between(self, first: datetime, last: datetime) -> Iterator[LegacyTrade]:
        """All trades from ``first`` to ``last``, both included, by time. Streams; open a transaction around it."""
        for row in self._stream("trades_between", self._form.trades.between, (first, last)):
            yield self._form.trade(row, self._pair(row))

    def _key(self, pair: Pair) -> Row:
        return pair if self._form.shape == "legacy" else (self._cache.resolve(self._conn, pair).id,)

    def _pair(self, row: Row) -> Pair:
        return Pair(*row[1:4]) if self._form.shape == "legacy" else self._cache.by_id(row[1]).pair

    # Resolved before the statement begins: an unknown pair needs the connection for a query.
    def _rows(self, tickers: Sequence[LegacyBookTicker]) -> list[Row]:
        return [ticker_values(self._key(ticker.pair), ticker) for ticker in tickers]

    def _trade_rows(self, trades: Sequence[LegacyTrade]) -> list[Row]:
        return [trade_values(self._key(trade.pair), trade) for trade in trades]

    def _copy(self, query: bytes, rows: Sequence[Row]) -> None:
        with self._conn.cursor() as cur, cur.copy(query) as copy:
            for row in rows:
                copy.write_row(row)

    def _stream(self, name: str, query: bytes, values: Row) -> Iterator[Row]:
        if self._form.shape == "normalised":
            self._cache.refresh(self._conn)
        with self._conn.cursor(name) as cur:
            cur.itersize = STREAMED
            yield from cur.execute(query, values)


def open_store(conn: psycopg.Connection[Any], shape: Shape, cache: SymbolCache) -> Store:
    """The store for a shape over an autocommit connection."""
    return Store(conn, FORMS[shape], cache)
