"""An application's traffic on the market data: one worker's writes and reads, and the proof that none was lost."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import Any

import psycopg

from marketdata import ledger as rows
from marketdata.cache import SymbolCache, Unknown
from marketdata.ledger import DELETED, MAPPED, SLOTS, UNMAPPED, Ledger
from marketdata.models import LegacyBookTicker, LegacyTrade, OrderSide, Pair
from marketdata.store import Shape, Store, open_store

_RECENT_KEYS = 2000  # rows that updates and deletes choose from
_SHOWN = 20  # mismatches reported in full


class Workload:
    """One worker of the engine. ``worker`` (0 to 63) keeps its instants apart from the others'.

    Not for several threads. Every row it wrote stays in its ledger.
    """

    def __init__(self, conninfo: str, worker: int, seed: int) -> None:
        if not 0 <= worker < SLOTS:
            raise ValueError(f"worker {worker} is not between 0 and {SLOTS - 1}")
        self._conninfo = conninfo
        self._worker = worker
        self._random = random.Random(seed * SLOTS + worker)  # noqa: S311 (traffic, not secrets)
        self._conn: psycopg.Connection[Any] | None = None
        self._cache = SymbolCache(Unknown.CREATE)
        self._ledger = Ledger()
        self._trades: dict[str, LegacyTrade] = {}
        self._unsure_trades: set[str] = set()
        self._recent: list[int] = []
        self._last_instant = 0
        self._lost: list[str] = []
        self.operations: tuple[tuple[str, int, Callable[[Store], None]], ...] = (
            ("insert", 300, self._insert),
            ("insert many", 60, self._insert_many),
            ("copy", 30, self._copy),
            ("upsert", 120, self._upsert),
            ("update", 120, self._update),
            ("delete", 40, self._delete),
            ("latest", 200, self._latest),
            ("recent", 48, self._last_minutes),
            ("trade", 80, self._trade),
            ("insert unmapped", 2, self._insert_unmapped),
        )
        self._calls = {kind: call for kind, _, call in self.operations}
        self._weights = {kind: weight for kind, weight, _ in self.operations}

    def choose_from(self, weights: dict[str, int]) -> None:
        """Do only these kinds of ``operations``, in these shares."""
        self._weights = weights

    def step(self, shape: Shape) -> str:
        """Do one operation in a shape and return its kind. Raises psycopg.Error, and LookupError for a lost symbol.

        After an error the next step may be called; a broken connection is opened again by it.
        """
        kind = self._random.choices([*self._weights], [*self._weights.values()])[0]
        if kind == "insert unmapped" and shape == "normalised":
            kind = "insert"
        self.perform(kind, shape)
        return kind

    def perform(self, kind: str, shape: Shape) -> None:
        """Do one operation of a kind. Raises as ``step`` does."""
        self._calls[kind](open_store(self._connection(), shape, self._cache))

    def verify(self, shape: Shape) -> list[str]:
        """Compare every row this worker wrote with what the database holds in a shape; empty when all is equal."""
        found = [*self._lost]
        with self._connection().transaction():
            store = open_store(self._connection(), shape, self._cache)
            found += self._compare_tickers(store, shape)
            found += self._compare_trades(store)
        if len(found) > _SHOWN:
            return [*found[:_SHOWN], f"and {len(found) - _SHOWN} more"]
        return found

    def close(self) -> None:
        """Close the connection."""
        if self._conn is not None:
            self._conn.close()
            self._conn = None

    def _connection(self) -> psycopg.Connection[Any]:
        if self._conn is None or self._conn.closed:
            name = f"marketdata worker {self._worker}"
            self._conn = psycopg.connect(self._conninfo, autocommit=True, application_name=name, connect_timeout=10)
        return self._conn

    def _new_key(self, pairs: Sequence[Pair] = MAPPED) -> int:
        """A key of this instant that no other worker and no earlier row has."""
        now = time.time_ns() // 1000
        self._last_instant = max(now - now % SLOTS + self._worker, self._last_instant + SLOTS)
        return rows.make_key(self._last_instant, self._random.choice(pairs))

    def _write(self, versions: dict[int, int], act: Callable[[], object]) -> None:
        """Do a write and note what it makes of each key; when its outcome is unknown, note that."""
        try:
            act()
        except psycopg.Error:
            # An error on a connection that still stands is the server's answer: nothing was written.
            if self._conn is not None and self._conn.closed:
                for key, version in versions.items():
                    self._ledger.may_have_written(key, version)
            raise
        for key, version in versions.items():
            self._ledger.wrote(key, version)
            if version == 0:
                self._remember(key)

    def _remember(self, key: int) -> None:
        if rows.pair_of(key) in UNMAPPED:
            return
        if len(self._recent) < _RECENT_KEYS:
            self._recent.append(key)
        else:
            self._recent[self._random.randrange(_RECENT_KEYS)] = key

    def _choose(self) -> int | None:
        """A row written a while ago whose content is known."""
        for _ in range(5):
            if self._recent:
                key = self._random.choice(self._recent)
                if self._ledger.is_sure(key) and self._ledger.version(key) != DELETED:
                    return key
        return None

    def _insert(self, store: Store) -> None:
        key = self._new_key()
        self._write({key: 0}, lambda: store.insert(rows.ticker(key, 0)))

    def _insert_unmapped(self, store: Store) -> None:
        key = self._new_key(UNMAPPED)
        self._write({key: 0}, lambda: store.insert(rows.ticker(key, 0)))

    def _insert_many(self, store: Store) -> None:
        keys = [self._new_key() for _ in range(5)]
        self._write(dict.fromkeys(keys, 0), lambda: store.insert_many([rows.ticker(key, 0) for key in keys]))

    def _copy(self, store: Store) -> None:
        keys = [self._new_key() for _ in range(20)]
        self._write(dict.fromkeys(keys, 0), lambda: store.copy([rows.ticker(key, 0) for key in keys]))

    def _upsert(self, store: Store) -> None:
        # Half of them meet a row that is there.
        old = self._choose() if self._random.random() < 0.5 else None
        key = self._new_key() if old is None else old
        version = self._ledger.version(key) + 1
        self._write({key: version}, lambda: store.upsert(rows.ticker(key, version)))

    def _update(self, store: Store) -> None:
        key = self._choose()
        if key is None:
            return self._insert(store)
        version = self._ledger.version(key) + 1
        return self._write({key: version}, lambda: self._must(store.update(rows.ticker(key, version)), key, "update"))

    def _delete(self, store: Store) -> None:
        key = self._choose()
        if key is None:
            return self._insert(store)

        def act() -> None:
            self._must(store.delete(rows.instant(key), rows.pair_of(key)), key, "delete")

        return self._write({key: DELETED}, act)

    def _must(self, was_there: bool, key: int, what: str) -> None:
        if not was_there:
            self._lost.append(f"{_name(key)}: the row was not there for an {what}")

    def _latest(self, store: Store) -> None:
        store.latest(self._random.choice(MAPPED))

    def _last_minutes(self, store: Store) -> None:
        store.recent(self._random.choice(MAPPED), minutes=5, limit=100)

    def _trade(self, store: Store) -> None:
        key = self._new_key()
        quote = rows.ticker(key, 0)
        trade = LegacyTrade(
            quote.timestamp,
            quote.pair,
            quote.bid_price,
            quote.bid_qty,
            self._random.choice((OrderSide.BUY, OrderSide.SELL)),
            trade_id=f"w{self._worker}-{key}",
            is_maker=bool(key & 64),
        )
        trade_id = trade.trade_id or ""
        try:
            store.insert_trade(trade)
        except psycopg.Error:
            if self._conn is not None and self._conn.closed:
                self._unsure_trades.add(trade_id)
                self._trades[trade_id] = trade
            raise
        self._trades[trade_id] = trade

    def _compare_tickers(self, store: Store, shape: Shape) -> list[str]:
        span = self._ledger.span()
        if span is None:
            return []
        found: list[str] = []
        seen: set[int] = set()
        for row in store.between(*span):
            instant = rows.microseconds(row.timestamp)
            if instant % SLOTS != self._worker or row.pair not in rows.INDEX:
                continue
            key = rows.make_key(instant, row.pair)
            seen.add(key)
            versions = self._ledger.accepted(key)
            if not any(version != DELETED and _same(row, rows.ticker(key, version)) for version in versions):
                what = "should not be there" if versions == {DELETED} else "differs from what was written"
                found.append(f"{_name(key)}: the row {what}: {_figures(row)}")
        for key in self._ledger:
            expected = shape == "legacy" or rows.pair_of(key) not in UNMAPPED
            if expected and key not in seen and DELETED not in self._ledger.accepted(key):
                found.append(f"{_name(key)}: the row is missing")
        return found

    def _compare_trades(self, store: Store) -> list[str]:
        if not self._trades:
            return []
        instants = [trade.timestamp for trade in self._trades.values()]
        found: list[str] = []
        seen: set[str] = set()
        mine = f"w{self._worker}-"
        for row in store.trades_between(min(instants), max(instants)):
            trade_id = row.trade_id or ""
            if not trade_id.startswith(mine):
                continue
            written = self._trades.get(trade_id)
            if written is None or trade_id in seen or _content(row) != _content(written):
                found.append(f"trade {trade_id} differs from what was written: {row.price} x {row.quantity}")
            seen.add(trade_id)
        missing = self._trades.keys() - seen - self._unsure_trades
        return found + [f"trade {trade_id} is missing" for trade_id in sorted(missing)]


def workload(conninfo: str, worker: int, seed: int) -> Workload:
    """What the demo calls in each worker process."""
    return Workload(conninfo, worker, seed)


def _name(key: int) -> str:
    pair = rows.pair_of(key)
    return f"{rows.instant(key):%H:%M:%S.%f} {pair.exchange} {pair.base}/{pair.quote}"


def _figures(row: LegacyBookTicker) -> str:
    return f"bid {row.bid_price} x {row.bid_qty}, ask {row.ask_price} x {row.ask_qty}, number {row.sequence_number}"


def _same(row: LegacyBookTicker, written: LegacyBookTicker) -> bool:
    return (
        row.sequence_number == written.sequence_number
        and row.bid_price == written.bid_price
        and row.bid_qty == written.bid_qty
        and row.ask_price == written.ask_price
        and row.ask_qty == written.ask_qty
        and row.update_type == written.update_type
    )


def _content(trade: LegacyTrade) -> tuple[Any, ...]:
    t = trade
    return (t.timestamp, t.pair, t.price, t.quantity, t.side, t.quote_quantity, t.is_buyer, t.is_maker)
