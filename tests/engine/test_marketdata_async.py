"""The market-data layer's asynchronous half, and the watch that keeps caches fresh, against a real server."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from marketdata import balances, executions, reports
from marketdata.async_store import AsyncStore, open_async_store
from marketdata.cache import AsyncSymbolCache, SymbolCache, Unknown, UnknownPairError
from marketdata.call import run, run_async
from marketdata.forms import FORMS
from marketdata.models import LegacyBookTicker, LegacyTrade, OrderSide, Pair, Status
from marketdata.store import Shape, open_store
from marketdata.watch import CacheWatch, keep_fresh, symbols_named

from tests.engine.market import BTC, ETH, SHAPES, a_schema, content, ticker

Conn = psycopg.Connection[Any]
AsyncConn = psycopg.AsyncConnection[Any]
AGES = (datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))


@pytest.fixture
def schema(database: str) -> str:
    return a_schema(database)


@pytest.fixture
def conn(schema: str) -> Iterator[Conn]:
    with psycopg.connect(schema, autocommit=True) as connection:
        yield connection


@asynccontextmanager
async def opened(schema: str) -> AsyncIterator[AsyncConn]:
    async with await psycopg.AsyncConnection.connect(schema, autocommit=True) as connection:
        yield connection


async def all_tickers(conn: AsyncConn, store: AsyncStore) -> list[LegacyBookTicker]:
    async with conn.transaction():
        return [content(row) async for row in store.between(*AGES)]


@pytest.mark.parametrize("shape", SHAPES)
async def test_every_write_is_read_back_equal(schema: str, shape: Shape) -> None:
    rows = [ticker(BTC if n % 2 else ETH, 100 - n, sequence=n or None) for n in range(8)]
    async with opened(schema) as conn:
        store = open_async_store(conn, shape, AsyncSymbolCache(Unknown.CREATE))
        await store.insert(rows[0])
        await store.insert_many(rows[1:4])
        await store.insert_many([])
        await store.copy(rows[4:7])
        await store.upsert(rows[7])
        assert await all_tickers(conn, store) == rows
        changed = replace(rows[0], bid_price=Decimal("0.00000001"), update_type="update")
        await store.upsert(changed)
        assert await store.update(replace(rows[1], sequence_number=77))
        assert await store.delete(rows[2].timestamp, rows[2].pair)
        assert not await store.delete(rows[2].timestamp, rows[2].pair)
        assert await all_tickers(conn, store) == [changed, replace(rows[1], sequence_number=77), *rows[3:]]
        latest = await store.latest(BTC)
        assert latest is not None
        assert content(latest) == rows[7]
        assert [content(row) for row in await store.recent(BTC, 5, limit=1)] == [rows[7]]
        assert [content(row) for row in await store.latest_all()] == [rows[6], rows[7]]


@pytest.mark.parametrize("shape", SHAPES)
async def test_trades_are_read_back_equal(schema: str, shape: Shape) -> None:
    at = datetime.now(UTC)
    trades = [
        LegacyTrade(at - timedelta(seconds=n), BTC, Decimal(n + 1), Decimal("0.00000001"), OrderSide.SELL, f"t{n}")
        for n in range(5)
    ]
    async with opened(schema) as conn:
        store = open_async_store(conn, shape, AsyncSymbolCache(Unknown.CREATE))
        await store.insert_trade(trades[0])
        await store.insert_trades(trades[1:3])
        await store.copy_trades(trades[3:])
        found = [replace(row, id=None, created_at=None) for row in await store.recent_trades(BTC, 5)]
        assert found == trades
        async with conn.transaction():
            streamed = [row.trade_id async for row in store.trades_between(*AGES)]
        assert streamed == ["t4", "t3", "t2", "t1", "t0"]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_number_that_would_be_rounded_is_refused_and_nothing_is_written(conn: Conn, shape: Shape) -> None:
    store = open_store(conn, shape, SymbolCache(Unknown.CREATE))
    with pytest.raises(ValueError, match="more than 8 decimals"):
        store.insert_many([ticker(BTC, 2), ticker(BTC, 1, price="0.000000001")])
    assert store.latest(BTC) is None


def test_both_shapes_and_the_database_find_the_same_opportunities(conn: Conn) -> None:
    futures = Pair("GATEIO_FUTURES", "BTC", "USDT")
    spot = Pair("GATEIO_SPOT", "BTC", "USDT")
    rows = [
        ticker(BTC, 5, price="100"),  # asks 200
        ticker(spot, 4, price="260"),
        ticker(futures, 3, price="90"),  # asks 180: bought here, sold on spot for 260
        ticker(ETH, 2, price="10"),  # on one exchange only
        ticker(BTC, 900, price="9000"),  # not the latest of its pair
        ticker(Pair("MEXC_SPOT", "ETH", "USDT"), 900, price="10"),  # too old
    ]
    found = {}
    for shape in SHAPES:
        store = open_store(conn, shape, SymbolCache(Unknown.CREATE))
        store.insert_many(rows)
        found[shape] = store.opportunities(timedelta(minutes=1))
    assert found["legacy"] == found["normalised"]
    (best,) = found["legacy"]
    assert (best.base, best.exchanges, best.buy_exchange, best.sell_exchange) == (
        "BTC",
        3,
        "GATEIO_FUTURES",
        "GATEIO_SPOT",
    )
    assert (best.spread, best.spread_percent) == (Decimal(80), Decimal("44.4444"))
    assert (best.oldest, best.newest) == (rows[0].timestamp, rows[2].timestamp)
    row = conn.execute("SELECT * FROM opportunities(interval '1 minute')").fetchall()
    assert [tuple(getattr(best, name) for name in best.__slots__)] == row
    everything = open_store(conn, "legacy", SymbolCache()).opportunities(timedelta(days=1))
    assert [pair.base for pair in everything] == ["BTC", "ETH"]


async def test_balances_orders_and_reports_are_awaited_too(schema: str) -> None:
    cache = AsyncSymbolCache(Unknown.CREATE)
    async with opened(schema) as conn:
        symbol = await cache.resolve(conn, BTC)
        await run_async(conn, balances.change("MEXC_SPOT", "SPOT", "USDT", free=Decimal(7), reason="DEPOSIT"))
        with pytest.raises(ValueError, match="decimals"):
            balances.change("MEXC_SPOT", "SPOT", "USDT", free=Decimal("0.000000001"), reason="DEPOSIT")
        order = await run_async(conn, executions.place(symbol.id, "o1", OrderSide.BUY, Decimal(2), Decimal(100)))
        assert await run_async(conn, executions.fill(order, Decimal(2), Decimal(99)))
        done = await run_async(conn, executions.execution(order))
        assert done is not None
        assert done.status is Status.FILLED
        store = open_async_store(conn, "normalised", cache)
        await store.insert(ticker(BTC, 1))
        await store.insert_trade(LegacyTrade(datetime.now(UTC), BTC, Decimal(3), Decimal(2), OrderSide.BUY))
        first, end = datetime.now(UTC) - timedelta(hours=1), datetime.now(UTC) + timedelta(hours=1)
        (turnover,) = await run_async(conn, reports.turnover(first, end))
        assert (turnover.base, turnover.bought, turnover.turnover) == ("BTC", Decimal(2), Decimal(6))
        (fills,) = await run_async(conn, reports.fills(first, end))
        assert (fills.orders, fills.filled, fills.turnover) == (1, 1, Decimal(198))
        (holding,) = await run_async(conn, reports.portfolio())
        assert (holding.asset, holding.total) == ("USDT", Decimal(7))
        fresh = {row.exchange: row for row in await run_async(conn, reports.freshness())}
        assert fresh["MEXC_SPOT"].symbols == 1
        assert fresh["GATEIO_SPOT"].newest is None
        health = {row.table: row for row in await run_async(conn, reports.health())}
        assert health["symbols"].total_bytes > 0


async def test_many_tasks_that_miss_the_same_pair_make_one_load(schema: str) -> None:
    cache = AsyncSymbolCache(Unknown.CREATE)

    async def ask() -> int:
        async with opened(schema) as conn:
            return (await cache.resolve(conn, BTC)).id

    ids = await asyncio.gather(*(ask() for _ in range(8)))
    assert len(set(ids)) == 1
    assert cache.stats.loads == 2  # one that finds nothing, one after the symbol was made
    async with opened(schema) as conn:
        with pytest.raises(UnknownPairError):
            await AsyncSymbolCache(Unknown.FETCH).resolve(conn, ETH)


async def test_tasks_read_while_others_refresh_and_never_see_half(schema: str) -> None:
    cache = AsyncSymbolCache(Unknown.CREATE)
    pairs = [Pair("MEXC_SPOT", f"A{n}", "USDT") for n in range(30)]
    faults: list[str] = []
    async with opened(schema) as conn:
        for pair in pairs:
            await conn.execute("SELECT ensure_symbol(%s, %s, %s)", pair)
        await cache.refresh(conn)
        running = True

        async def read() -> int:
            looks = 0
            while running:
                for pair in pairs:
                    symbol = cache.by_pair(pair)
                    if symbol is None or cache.by_id(symbol.id).pair != pair:
                        faults.append(str(pair))
                looks += 1
                await asyncio.sleep(0)
            return looks

        async def refresh() -> None:
            async with opened(schema) as own:
                for n in range(15):
                    await own.execute("SELECT ensure_symbol('GATEIO_SPOT', %s, 'USDT')", (f"B{n}",))
                    await cache.refresh(own)

        readers = [asyncio.create_task(read()) for _ in range(4)]
        await asyncio.gather(refresh(), refresh())
        running = False
        assert min(await asyncio.gather(*readers)) > 0
    assert faults == []
    assert cache.stats.size == 45


def until(met: Callable[[], bool], what: str, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < end, what
        time.sleep(0.01)


def test_a_watch_takes_each_change_over_without_loading_everything(schema: str, conn: Conn) -> None:
    cache = SymbolCache()
    make = "SELECT ensure_symbol('MEXC_SPOT', %s, 'USDT')"
    conn.execute(make, ("OLD",))
    with CacheWatch(cache, schema, every_s=3600):
        assert cache.by_pair(Pair("MEXC_SPOT", "OLD", "USDT")) is not None
        conn.execute(make, ("BTC",))
        until(lambda: cache.by_pair(BTC) is not None, "a new symbol")
        conn.execute("UPDATE symbols SET is_active = false, last_seen = now() WHERE base_asset = 'BTC'")
        until(lambda: not (cache.by_pair(BTC) or pytest.fail("it is gone")).is_active, "a symbol that was switched off")
        conn.execute("DELETE FROM symbols WHERE base_asset = 'OLD'")
        until(lambda: cache.by_pair(Pair("MEXC_SPOT", "OLD", "USDT")) is None, "a symbol that went")
        changes = cache.stats.changes
        conn.execute("UPDATE symbols SET last_seen = now()")  # no application asks for it
        conn.execute(make, ("ETH",))
        until(lambda: cache.by_pair(Pair("MEXC_SPOT", "ETH", "USDT")) is not None, "the change after it")
        assert cache.stats.changes == changes + 1
        assert cache.stats.loads == 1
        conn.execute("INSERT INTO symbols (exchange_id, base_asset, quote_asset, symbol_string)"
                     " SELECT 1, 'M' || n, 'USDT', 'M' || n FROM generate_series(1, 500) n")  # fmt: skip
        until(lambda: cache.stats.size == 502, "more symbols than one message names")
        assert cache.stats.loads == 2
        conn.execute("UPDATE exchanges SET is_active = false WHERE id = 1")
        until(
            lambda: not (cache.by_pair(BTC) or pytest.fail("it is gone")).is_active, "an exchange that was switched off"
        )


def test_a_watch_survives_lost_connections_and_catches_up(schema: str, conn: Conn) -> None:
    cache = SymbolCache()
    with CacheWatch(cache, schema, every_s=3600) as watch:
        ended = conn.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE application_name = 'marketdata cache' AND datname = current_database()"
        ).fetchone()
        assert ended == (1,)
        until(lambda: watch.trouble != "" or cache.stats.loads > 1, "the loss is noticed")
        conn.execute("SELECT ensure_symbol('MEXC_SPOT', 'BTC', 'USDT')")
        until(lambda: cache.by_pair(BTC) is not None, "connected again")
        until(lambda: watch.trouble == "", "no trouble any more")
    assert not [thread for thread in threading.enumerate() if thread.name == "marketdata cache"]


def test_a_watch_loads_everything_now_and_then(schema: str, conn: Conn) -> None:
    cache = SymbolCache()
    with CacheWatch(cache, schema, every_s=0.05):
        conn.execute("ALTER TABLE symbols DISABLE TRIGGER ALL")
        conn.execute("SELECT ensure_symbol('MEXC_SPOT', 'BTC', 'USDT')")
        until(lambda: cache.by_pair(BTC) is not None, "a change without a message")
    with pytest.raises(psycopg.OperationalError), CacheWatch(cache, "host=/nowhere connect_timeout=2"):
        pytest.fail("there is no server")


async def _until(met: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 20
    while not met():
        assert time.monotonic() < end, what
        await asyncio.sleep(0.01)


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_task_keeps_a_cache_fresh_through_a_lost_connection(schema: str) -> None:
    cache, errors = AsyncSymbolCache(), list[psycopg.Error]()
    task = asyncio.create_task(keep_fresh(cache, schema, every_s=3600, on_error=errors.append))
    async with opened(schema) as conn:
        await _until(lambda: cache.stats.loads == 1, "the first load")
        await conn.execute("SELECT ensure_symbol('MEXC_SPOT', 'BTC', 'USDT')")
        await _until(lambda: cache.by_pair(BTC) is not None, "a new symbol")
        assert (cache.stats.loads, cache.stats.changes) == (1, 1)
        await conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'marketdata cache'"
            " AND datname = current_database()"
        )
        await _until(lambda: bool(errors), "the loss is told")
        await conn.execute("SELECT ensure_symbol('GATEIO_SPOT', 'ETH', 'USDT')")
        await _until(lambda: cache.by_pair(ETH) is not None, "connected again")
    await _cancelled(task)


@pytest.mark.parametrize(
    ("payloads", "ids"),
    [
        ([], set()),
        (['{"symbols": [1, 2]}', '{"symbols": [2, 3]}'], {1, 2, 3}),
        (['{"symbols": [1]}', "{}"], None),
        (["symbols"], None),
        (['{"symbols": "all"}'], None),
        (["[1]"], None),
    ],
)
def test_what_notifications_name(payloads: list[str], ids: set[int] | None) -> None:
    assert symbols_named(payloads) == ids


def test_a_sync_and_an_async_cache_answer_alike(schema: str, conn: Conn) -> None:
    assert run(conn, balances.balances("MEXC_SPOT")) == []
    for name in ("BTC", "ETH", "SOL"):
        conn.execute("SELECT ensure_symbol('MEXC_SPOT', %s, 'USDT')", (name,))
    cache = SymbolCache()
    cache.refresh(conn)

    async def loaded() -> AsyncSymbolCache:
        other = AsyncSymbolCache()
        async with opened(schema) as own:
            await other.refresh(own)
        return other

    other = asyncio.run(loaded())
    assert other.symbols() == cache.symbols()
    assert other.exchanges() == cache.exchanges()
    assert other.search("s") == cache.search("s")
    assert cache.exchange("MEXC_SPOT") == cache.exchange_by_id(1)


def test_the_latest_ticker_is_found_by_its_pair_even_for_a_pair_without_rows(conn: Conn) -> None:
    conn.execute("INSERT INTO symbols (exchange_id, base_asset, quote_asset, symbol_string)"
                 " SELECT 1, 'E' || n, 'USDT', 'E' || n FROM generate_series(1, 1000) n")  # fmt: skip
    pairs = [Pair("MEXC_SPOT", f"E{n}", "USDT") for n in range(1, 11)]
    rows = [replace(ticker(pairs[n % 10], 1), timestamp=AGES[0] + timedelta(seconds=n)) for n in range(20_000)]
    indexes = {"legacy": "idx_book_ticker_exchange_symbol_time", "normalised": "idx_book_ticker_v2_symbol_time"}
    for shape in SHAPES:
        open_store(conn, shape, SymbolCache(Unknown.CREATE)).copy(rows)
    conn.execute("ANALYZE")
    conn.execute("SET plan_cache_mode = force_generic_plan")
    for shape in SHAPES:
        form, key = FORMS[shape], ("a", "b", "c") if shape == "legacy" else (7,)
        types = b"text, text, text, text, text, text" if shape == "legacy" else b"int, int"
        query = b"PREPARE probe (" + types + b") AS " + form.tickers.latest
        for number in range(1, 2 * len(key) + 1):
            query = query.replace(b"%s", b"$%d" % number, 1)
        conn.execute(query)
        values = ", ".join([f"'{value}'" for value in (*key, *key)])
        found = conn.execute(f"EXPLAIN EXECUTE probe ({values})".encode()).fetchall()
        conn.execute("DEALLOCATE probe")
        assert indexes[shape] in str(found), found
    assert indexes["normalised"] in str(conn.execute("EXPLAIN SELECT * FROM latest_book_ticker").fetchall())
    assert indexes["legacy"] in str(conn.execute(b"EXPLAIN " + FORMS["legacy"].latest_of_all).fetchall())
