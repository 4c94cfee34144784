"""The market-data layer against real tables: both schemas behave alike, the cache holds, nothing is lost."""

from __future__ import annotations

import csv
import gzip
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from marketdata import balances, executions
from marketdata.cache import SymbolCache, Unknown, UnknownPairError
from marketdata.call import run
from marketdata.models import LegacyBookTicker, LegacyTrade, OrderSide, Pair, Status
from marketdata.store import Shape, Store, open_store
from marketdata.traffic import Workload

from tests.engine.market import BTC, ETH, SHAPES, a_schema, content, ticker

Conn = psycopg.Connection[Any]


@pytest.fixture
def schema(database: str) -> str:
    return a_schema(database)


@pytest.fixture
def conn(schema: str) -> Iterator[Conn]:
    """An autocommit connection to that database."""
    with psycopg.connect(schema, autocommit=True) as connection:
        yield connection


@pytest.fixture(params=SHAPES)
def store(request: pytest.FixtureRequest, conn: Conn) -> Store:
    """A store over each schema in turn."""
    return open_store(conn, request.param, SymbolCache(Unknown.CREATE))


def stored(conn: Conn, store: Store) -> list[LegacyBookTicker]:
    with conn.transaction():
        everything = store.between(datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
        return [content(row) for row in everything]


def test_every_write_is_read_back_equal(conn: Conn, store: Store) -> None:
    rows = [ticker(BTC if n % 2 else ETH, 100 - n, sequence=n or None) for n in range(8)]
    store.insert(rows[0])
    store.insert_many(rows[1:4])
    store.copy(rows[4:7])
    store.upsert(rows[7])
    assert stored(conn, store) == rows
    changed = replace(rows[0], bid_price=Decimal("0.00000001"), sequence_number=None, update_type="update")
    store.upsert(changed)
    again = replace(rows[1], ask_qty=Decimal("999999999999.99999999"))
    assert store.update(again)
    assert store.delete(rows[2].timestamp, rows[2].pair)
    assert stored(conn, store) == [changed, again, *rows[3:]]


def test_an_update_or_delete_of_a_missing_row_says_so(store: Store) -> None:
    assert not store.update(ticker(BTC, 1))
    assert not store.delete(datetime.now(UTC), BTC)


def test_a_statement_of_many_rows_is_all_or_nothing(conn: Conn, store: Store) -> None:
    rows = [ticker(BTC, 10), ticker(BTC, 9), ticker(BTC, 8)]
    store.insert(rows[2])
    for write in (store.insert_many, store.copy):
        with pytest.raises(psycopg.errors.UniqueViolation):
            write(rows)
    assert stored(conn, store) == [rows[2]]


def test_the_latest_and_the_recent_tickers_of_a_pair(store: Store) -> None:
    rows = [ticker(BTC, age) for age in (600, 120, 60, 1)]
    store.insert_many([*rows, ticker(ETH, 0.5)])
    latest = store.latest(BTC)
    assert latest is not None
    assert content(latest) == rows[3]
    assert latest.id is not None
    assert [content(row) for row in store.recent(BTC, 5)] == [rows[3], rows[2], rows[1]]
    assert [content(row) for row in store.recent(BTC, 5, limit=1)] == [rows[3]]
    assert store.latest(Pair("GATEIO_FUTURES", "BTC", "USDT")) is None


def test_trades_are_read_back_equal(store: Store) -> None:
    at = datetime.now(UTC)
    trade = LegacyTrade(at, BTC, Decimal("112800.5"), Decimal("0.00000001"), OrderSide.SELL, "t1", is_maker=True)
    bare = LegacyTrade(at, BTC, Decimal(1), Decimal(2), OrderSide.BUY)
    store.insert_trade(trade)
    store.insert_trade(bare)
    found = [replace(row, id=None, created_at=None) for row in store.recent_trades(BTC, 5)]
    assert sorted(found, key=lambda row: row.trade_id or "") == [bare, trade]


def test_the_real_rows_pass_through_both_schemas_unchanged(conn: Conn, shared_data: Path) -> None:
    rows: list[LegacyBookTicker] = []
    with gzip.open(shared_data / "book_ticker_snapshots.csv.gz", "rt", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            pair = Pair(row["exchange"], row["symbol_base"], row["symbol_quote"])
            bid, bid_qty, ask, ask_qty = (Decimal(row[n]) for n in ("bid_price", "bid_qty", "ask_price", "ask_qty"))
            rows.append(LegacyBookTicker(datetime.fromisoformat(row["timestamp"]), pair, bid, bid_qty, ask, ask_qty))
    cache = SymbolCache(Unknown.CREATE)
    legacy, normalised = (open_store(conn, shape, cache) for shape in SHAPES)
    legacy.copy(rows)
    normalised.copy(stored(conn, legacy))
    order = sorted(rows, key=lambda row: (row.timestamp, row.pair))
    assert sorted(stored(conn, normalised), key=lambda row: (row.timestamp, row.pair)) == order


def test_the_real_inventory_is_found_by_pair_string_and_search(conn: Conn, shared_data: Path) -> None:
    with (shared_data / "symbols.csv").open(encoding="utf-8") as file:
        pairs = {Pair(r["exchange"], r["symbol_base"], r["symbol_quote"]) for r in csv.DictReader(file)}
    with conn.cursor() as cur:
        cur.executemany("SELECT ensure_symbol(%s, %s, %s)", list(pairs))
    cache = SymbolCache()
    cache.refresh(conn)
    assert {symbol.pair for symbol in cache.symbols()} == pairs
    for symbol in cache.symbols():
        assert cache.by_id(symbol.id) is cache.by_pair(symbol.pair) is symbol
        assert cache.by_string(symbol.pair.exchange, symbol.symbol_string) is symbol
    assert {symbol.pair.base for symbol in cache.search("lunc")} >= {"LUNC"}
    assert len(cache.search("", limit=7)) == 7
    stats = cache.stats
    assert (stats.size, stats.loads, stats.misses) == (len(pairs), 1, 0)
    assert stats.hits == 3 * len(pairs)
    assert 0 <= stats.age_s < 60


def test_an_unknown_pair_is_refused_or_created_as_declared(conn: Conn) -> None:
    fetching, creating = SymbolCache(Unknown.FETCH), SymbolCache(Unknown.CREATE)
    with pytest.raises(UnknownPairError, match=r"BTC/USDT on MEXC_SPOT"):
        fetching.resolve(conn, BTC)
    symbol = creating.resolve(conn, BTC)
    assert fetching.resolve(conn, BTC) == symbol
    with pytest.raises(psycopg.errors.NoDataFound, match="no exchange is called NOWHERE"):
        creating.resolve(conn, Pair("NOWHERE", "BTC", "USDT"))
    with pytest.raises(UnknownPairError):
        creating.by_id(-1)


def test_many_threads_that_miss_the_same_pair_make_one_load(schema: str) -> None:
    cache = SymbolCache(Unknown.CREATE)
    barrier = threading.Barrier(8)
    ids: list[int] = []

    def ask() -> None:
        with psycopg.connect(schema, autocommit=True) as conn:
            barrier.wait()
            ids.append(cache.resolve(conn, BTC).id)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 8
    assert len(set(ids)) == 1
    # One load that finds nothing, one after the symbol was made.
    assert cache.stats.loads == 2


def test_readers_never_see_half_of_a_refresh(schema: str, conn: Conn) -> None:
    cache = SymbolCache()
    for n in range(50):
        conn.execute("SELECT ensure_symbol('MEXC_SPOT', %s, 'USDT')", (f"A{n}",))
    cache.refresh(conn)
    pairs = [symbol.pair for symbol in cache.symbols()]
    faults: list[str] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            for pair in pairs:
                symbol = cache.by_pair(pair)
                if symbol is None or cache.by_id(symbol.id).pair != pair:
                    faults.append(str(pair))
            if len(cache.symbols()) < len(pairs):
                faults.append("fewer symbols")

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for n in range(20):
        conn.execute("SELECT ensure_symbol('GATEIO_SPOT', %s, 'USDT')", (f"B{n}",))
        cache.refresh(conn)
    done.set()
    for thread in threads:
        thread.join()
    assert faults == []
    assert cache.stats.size == 70


def test_a_workload_finds_every_row_it_wrote(schema: str) -> None:
    for shape in SHAPES:
        load = Workload(schema, 5, seed=1)
        kinds = {load.step(shape) for _ in range(400)}
        assert len(kinds) >= 9
        assert load.verify(shape) == []
        load.close()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("tamper", "said"),
    [
        ("UPDATE {t} SET bid_qty = bid_qty + 0.00000001 WHERE {first}", "differs from what was written"),
        ("DELETE FROM {t} WHERE {first}", "is missing"),
        ("UPDATE {t} SET sequence_number = NULL WHERE {first}", "differs from what was written"),
    ],
)
def test_a_workload_detects_a_row_that_was_tampered_with(schema: str, shape: Shape, tamper: str, said: str) -> None:
    load = Workload(schema, 0, seed=2)
    for _ in range(10):
        load.perform("insert", shape)
    table = {"legacy": "book_ticker_snapshots", "normalised": "book_ticker_snapshots_v2"}[shape]
    first = f"timestamp = (SELECT min(timestamp) FROM {table})"
    with psycopg.connect(schema) as conn:
        conn.execute(tamper.format(t=table, first=first).encode())
    found = load.verify(shape)
    load.close()
    assert len(found) == 1
    assert said in found[0]


def test_a_workload_detects_a_deleted_row_that_came_back_and_a_lost_trade(schema: str) -> None:
    load = Workload(schema, 0, seed=3)
    load.perform("insert", "legacy")
    with psycopg.connect(schema) as conn:
        conn.execute("CREATE TABLE kept AS SELECT * FROM book_ticker_snapshots")
    load.perform("delete", "legacy")
    load.perform("trade", "legacy")
    assert load.verify("legacy") == []
    with psycopg.connect(schema) as conn:
        conn.execute("INSERT INTO book_ticker_snapshots SELECT * FROM kept; DELETE FROM trades")
    found = load.verify("legacy")
    load.close()
    assert len(found) == 2
    assert "should not be there" in found[0]
    assert found[1].endswith("is missing")


def test_a_change_of_a_balance_is_audited_and_never_goes_below_zero(conn: Conn) -> None:
    run(conn, balances.change("MEXC_SPOT", "SPOT", "USDT", free=Decimal("100.5"), reason="DEPOSIT", reference="d1"))
    run(conn, balances.change("MEXC_SPOT", "SPOT", "USDT", free=Decimal("-40"), locked=Decimal(40), reason="LOCK"))
    with pytest.raises(psycopg.errors.CheckViolation):
        run(conn, balances.change("MEXC_SPOT", "SPOT", "USDT", free=Decimal("-60.50000001"), reason="WITHDRAWAL"))
    (balance,) = run(conn, balances.balances("MEXC_SPOT"))
    assert (balance.free, balance.locked, balance.total) == (Decimal("60.5"), Decimal(40), Decimal("100.5"))
    audit = run(conn, balances.changes(balance.id))
    assert [(row.free_before, row.free_change, row.free_after) for row in audit] == [
        (Decimal(0), Decimal("100.5"), Decimal("100.5")),
        (Decimal("100.5"), Decimal(-40), Decimal("60.5")),
    ]


def test_an_order_is_filled_in_parts_and_its_history_is_kept(conn: Conn) -> None:
    symbol = SymbolCache(Unknown.CREATE).resolve(conn, BTC)
    order = run(conn, executions.place(symbol.id, "o1", OrderSide.BUY, Decimal(3), Decimal(100)))
    assert run(conn, executions.fill(order, Decimal(1), Decimal(100)))
    assert run(conn, executions.fill(order, Decimal(2), Decimal(97), fee=Decimal("0.1"), fee_asset="USDT"))
    assert not run(conn, executions.fill(order, Decimal(1), Decimal(97)))
    assert not run(conn, executions.end(order, Status.CANCELED))
    done = run(conn, executions.execution(order))
    assert done is not None
    assert (done.status, done.average_price, done.remaining_quantity) == (Status.FILLED, Decimal(98), Decimal(0))
    assert [(row.old_status, row.new_status) for row in run(conn, executions.history(order))] == [
        (None, Status.NEW),
        (Status.NEW, Status.PARTIALLY_FILLED),
        (Status.PARTIALLY_FILLED, Status.FILLED),
    ]
    other = run(conn, executions.place(symbol.id, "o2", OrderSide.SELL, Decimal(1)))
    with pytest.raises(psycopg.errors.CheckViolation):
        run(conn, executions.fill(other, Decimal(2), Decimal(100)))
    assert run(conn, executions.end(other, Status.CANCELED))
    assert run(conn, executions.execution(-1)) is None
