"""The asynchronous twin of ``marketdata.store``: the same operations, awaited."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import psycopg

from marketdata.cache import AsyncSymbolCache
from marketdata.call import Row, run_async
from marketdata.forms import FORMS, Form, Shape, ticker_values, trade_values
from marketdata.models import LegacyBookTicker, LegacyTrade, Opportunity, Pair
from marketdata.store import STREAMED


class AsyncStore:
    """See Store; each method does and raises what its twin does."""

    def __init__(self, conn: psycopg.AsyncConnection[Any], form: Form, cache: AsyncSymbolCache) -> None:
        self._conn = conn
        self._form = form
        self._cache = cache

    async def insert(self, ticker: LegacyBookTicker) -> None:
        """See Store."""
        await run_async(self._conn, self._form.insert(await self._key(ticker.pair), ticker))

    async def insert_many(self, tickers: Sequence[LegacyBookTicker]) -> None:
        """See Store."""
        if tickers:
            await run_async(self._conn, self._form.insert_many(await self._rows(tickers)))

    async def copy(self, tickers: Sequence[LegacyBookTicker]) -> None:
        """See Store."""
        await self._copy(self._form.tickers.copy, await self._rows(tickers))

    async def upsert(self, ticker: LegacyBookTicker) -> None:
        """See Store."""
        await run_async(self._conn, self._form.upsert(await self._key(ticker.pair), ticker))

    async def update(self, ticker: LegacyBookTicker) -> bool:
        """See Store."""
        return await run_async(self._conn, self._form.update(await self._key(ticker.pair), ticker))

    async def delete(self, timestamp: datetime, pair: Pair) -> bool:
        """See Store."""
        return await run_async(self._conn, self._form.delete(await self._key(pair), timestamp))

    async def latest(self, pair: Pair) -> LegacyBookTicker | None:
        """See Store."""
        return await run_async(self._conn, self._form.latest(await self._key(pair), pair))

    async def latest_all(self) -> list[LegacyBookTicker]:
        """See Store."""
        return await run_async(self._conn, self._form.latest_all())

    async def recent(self, pair: Pair, minutes: int, limit: int = 1000) -> list[LegacyBookTicker]:
        """See Store."""
        return await run_async(self._conn, self._form.recent(await self._key(pair), pair, minutes, limit))

    async def between(self, first: datetime, last: datetime) -> AsyncIterator[LegacyBookTicker]:
        """See Store."""
        async for row in self._stream("tickers_between", self._form.tickers.between, (first, last)):
            yield self._form.ticker(row, self._pair(row))

    async def opportunities(self, max_age: timedelta = timedelta(minutes=1)) -> list[Opportunity]:
        """See Store."""
        return await run_async(self._conn, self._form.opportunities(max_age))

    async def insert_trade(self, trade: LegacyTrade) -> None:
        """See Store."""
        await run_async(self._conn, self._form.insert_trade(await self._key(trade.pair), trade))

    async def insert_trades(self, trades: Sequence[LegacyTrade]) -> None:
        """See Store."""
        if trades:
            await run_async(self._conn, self._form.insert_trades(await self._trade_rows(trades)))

    async def copy_trades(self, trades: Sequence[LegacyTrade]) -> None:
        """See Store."""
        await self._copy(self._form.trades.copy, await self._trade_rows(trades))

    async def recent_trades(self, pair: Pair, minutes: int, limit: int = 1000) -> list[LegacyTrade]:
        """See Store."""
        return await run_async(self._conn, self._form.recent_trades(await self._key(pair), pair, minutes, limit))

    async def trades_between(self, first: datetime, last: datetime) -> AsyncIterator[LegacyTrade]:
        """See Store."""
        async for row in self._stream("trades_between", self._form.trades.between, (first, last)):
            yield self._form.trade(row, self._pair(row))

    async def _key(self, pair: Pair) -> Row:
        return pair if self._form.shape == "legacy" else ((await self._cache.resolve(self._conn, pair)).id,)

    def _pair(self, row: Row) -> Pair:
        return Pair(*row[1:4]) if self._form.shape == "legacy" else self._cache.by_id(row[1]).pair

    async def _rows(self, tickers: Sequence[LegacyBookTicker]) -> list[Row]:
        return [ticker_values(await self._key(ticker.pair), ticker) for ticker in tickers]

    async def _trade_rows(self, trades: Sequence[LegacyTrade]) -> list[Row]:
        return [trade_values(await self._key(trade.pair), trade) for trade in trades]

    async def _copy(self, query: bytes, rows: Sequence[Row]) -> None:
        async with self._conn.cursor() as cur, cur.copy(query) as copy:
            for row in rows:
                await copy.write_row(row)

    async def _stream(self, name: str, query: bytes, values: Row) -> AsyncIterator[Row]:
        if self._form.shape == "normalised":
            await self._cache.refresh(self._conn)
        async with self._conn.cursor(name) as cur:
            cur.itersize = STREAMED
            async for row in await cur.execute(query, values):
                yield row


def open_async_store(conn: psycopg.AsyncConnection[Any], shape: Shape, cache: AsyncSymbolCache) -> AsyncStore:
    """The store for a shape over an asynchronous autocommit connection."""
    return AsyncStore(conn, FORMS[shape], cache)
