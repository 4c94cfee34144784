"""The two forms of the tables: every statement on tickers and trades, written once over what differs between them.

Legacy rows name exchange and pair in three columns; normalised rows carry a symbol id. All else is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, LiteralString

from psycopg import sql

from marketdata.call import Answer, Call, Row, nothing, touched_one
from marketdata.models import LegacyBookTicker, LegacyTrade, Opportunity, OrderSide, Pair, exact

Shape = Literal["legacy", "normalised"]
Columns = Sequence[tuple[str, str]]  # names, and types as the catalogue names them

_TICKER: Columns = (
    ("bid_price", "numeric"),
    ("bid_qty", "numeric"),
    ("ask_price", "numeric"),
    ("ask_qty", "numeric"),
    ("sequence_number", "int8"),
    ("update_type", "text"),
)
_TRADE: Columns = (
    ("price", "numeric"),
    ("quantity", "numeric"),
    ("side", "text"),
    ("trade_id", "text"),
    ("quote_quantity", "numeric"),
    ("is_buyer", "bool"),
    ("is_maker", "bool"),
)
# Every pair's latest ticker by one index probe a pair: the legacy pairs are found by a loose scan of the same index.
_LATEST_LEGACY: LiteralString = """
WITH RECURSIVE pairs AS (
    (SELECT exchange, symbol_base, symbol_quote FROM book_ticker_snapshots
     ORDER BY exchange, symbol_base, symbol_quote LIMIT 1)
    UNION ALL
    SELECT n.* FROM pairs p CROSS JOIN LATERAL (
        SELECT b.exchange, b.symbol_base, b.symbol_quote FROM book_ticker_snapshots b
        WHERE (b.exchange, b.symbol_base, b.symbol_quote) > (p.exchange, p.symbol_base, p.symbol_quote)
        ORDER BY b.exchange, b.symbol_base, b.symbol_quote LIMIT 1) AS n
), latest AS (
    SELECT t.* FROM pairs p CROSS JOIN LATERAL (
        SELECT b.exchange, b.symbol_base AS base_asset, b.symbol_quote AS quote_asset, b."timestamp",
               b.bid_price, b.bid_qty, b.ask_price, b.ask_qty, b.sequence_number, b.update_type, b.id, b.created_at
        FROM book_ticker_snapshots b
        WHERE (b.exchange, b.symbol_base, b.symbol_quote) BETWEEN (p.exchange, p.symbol_base, p.symbol_quote)
            AND (p.exchange, p.symbol_base, p.symbol_quote)
        ORDER BY b.exchange, b.symbol_base, b.symbol_quote, b."timestamp" DESC LIMIT 1) AS t
)"""
_LATEST_NORMALISED: LiteralString = """
WITH latest AS (SELECT * FROM latest_book_ticker)"""
_ALL_LATEST: LiteralString = """
SELECT exchange, base_asset, quote_asset, "timestamp",
       bid_price, bid_qty, ask_price, ask_qty, sequence_number, update_type, id, created_at
FROM latest ORDER BY exchange, base_asset, quote_asset
"""
_OPPORTUNITIES: LiteralString = """
, fresh AS (
    SELECT * FROM latest WHERE "timestamp" > now() - %s
), pairs_quoted AS (
    SELECT base_asset, quote_asset, count(*) AS exchanges, max("timestamp") AS newest, min("timestamp") AS oldest
    FROM fresh GROUP BY base_asset, quote_asset HAVING count(*) > 1
), buy AS (
    SELECT DISTINCT ON (base_asset, quote_asset) * FROM fresh ORDER BY base_asset, quote_asset, ask_price, exchange
), sell AS (
    SELECT DISTINCT ON (base_asset, quote_asset) * FROM fresh ORDER BY base_asset, quote_asset, bid_price DESC, exchange
)
SELECT q.base_asset, q.quote_asset, q.exchanges,
       buy.exchange, buy.ask_price, buy.ask_qty, sell.exchange, sell.bid_price, sell.bid_qty,
       sell.bid_price - buy.ask_price, round(100 * (sell.bid_price - buy.ask_price) / buy.ask_price, 4),
       q.newest, q.oldest
FROM pairs_quoted q JOIN buy USING (base_asset, quote_asset) JOIN sell USING (base_asset, quote_asset)
ORDER BY 11 DESC, 1, 2
"""


def _bytes(query: sql.Composable) -> bytes:
    return query.as_bytes(None)


def _names(names: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(name) for name in names)


@dataclass(frozen=True, slots=True)
class _Statements:
    """The statements on one table. ``kinds``: the types of the columns that an insert names."""

    kinds: tuple[str, ...]
    insert: bytes
    insert_many: bytes
    copy: bytes
    latest: bytes
    recent: bytes
    between: bytes


@dataclass(frozen=True, slots=True)
class _ByKey:
    """The statements on a table in which instant and key identify a row."""

    upsert: bytes
    update: bytes
    delete: bytes


_ONE: LiteralString = "{} = %s"


def _of_pair(keys: Sequence[str]) -> sql.Composed:
    return sql.SQL(" AND ").join(sql.SQL(_ONE).format(sql.Identifier(name)) for name in keys)


def _insert(table: str, columns: Sequence[str]) -> sql.Composed:
    values = sql.SQL(", ").join([sql.SQL("%s")] * len(columns))
    return sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(sql.Identifier(table), _names(columns), values)


def _latest_of_pair(keys: Sequence[str]) -> sql.Composed:
    """The pair's newest row by the index that begins with the pair, and by no other.

    With ``=`` and the order of time alone, the planner may walk the primary key backwards: it finds a busy pair at once
    and reads the whole table for one without rows (10 s for 10,000 symbols over 50,000 rows, measured).
    """
    one = sql.SQL("({})").format(sql.SQL(", ").join([sql.SQL("%s")] * len(keys)))
    return sql.SQL('({}) BETWEEN {} AND {} ORDER BY {}, "timestamp" DESC LIMIT 1').format(
        _names(keys), one, one, _names(keys)
    )


def _statements(table: str, key: Columns, content: Columns) -> _Statements:
    typed = [("timestamp", "timestamptz"), *key, *content]
    columns, name = [name for name, _ in typed], sql.Identifier(table)
    arrays = sql.SQL(", ").join(sql.SQL("%s::{}[]").format(sql.Identifier(kind)) for _, kind in typed)
    select = sql.SQL("SELECT {} FROM {} WHERE ").format(_names([*columns, "id", "created_at"]), name)
    keys = [name for name, _ in key]
    of_pair = select + _of_pair(keys)
    newest = sql.SQL(' ORDER BY "timestamp" DESC LIMIT ')
    since = sql.SQL(' AND "timestamp" > now() - make_interval(mins => %s)')
    return _Statements(
        kinds=tuple(kind for _, kind in typed),
        insert=_bytes(_insert(table, columns)),
        insert_many=_bytes(
            sql.SQL("INSERT INTO {} ({}) SELECT * FROM unnest({})").format(name, _names(columns), arrays)
        ),
        copy=_bytes(sql.SQL("COPY {} ({}) FROM STDIN").format(name, _names(columns))),
        latest=_bytes(select + _latest_of_pair(keys)),
        recent=_bytes(of_pair + since + newest + sql.SQL("%s")),
        between=_bytes(select + sql.SQL('"timestamp" BETWEEN %s AND %s ORDER BY "timestamp"')),
    )


def _by_key(table: str, key: Columns, content: Columns) -> _ByKey:
    keys, contents = [name for name, _ in key], [name for name, _ in content]
    row_key, name = ["timestamp", *keys], sql.Identifier(table)
    anew = sql.SQL(", ").join(sql.SQL("{0} = excluded.{0}").format(sql.Identifier(column)) for column in contents)
    conflict = sql.SQL(" ON CONFLICT ({}) DO UPDATE SET {}").format(_names(row_key), anew)
    values = sql.SQL(", ").join(sql.SQL(_ONE).format(sql.Identifier(column)) for column in contents)
    return _ByKey(
        upsert=_bytes(_insert(table, [*row_key, *contents]) + conflict),
        update=_bytes(sql.SQL("UPDATE {} SET {} WHERE {}").format(name, values, _of_pair(row_key))),
        delete=_bytes(sql.SQL("DELETE FROM {} WHERE {}").format(name, _of_pair(row_key))),
    )


@dataclass(frozen=True, slots=True)
class Form:
    """One form of the tables. ``key`` below: a pair's values of the key columns, in their order."""

    shape: Shape
    keys: int  # how many key columns
    tickers: _Statements
    by_key: _ByKey
    trades: _Statements
    latest_of_all: bytes
    best_of_all: bytes

    def insert(self, key: Row, ticker: LegacyBookTicker) -> Call[None]:
        """Store one ticker."""
        return Call(self.tickers.insert, ticker_values(key, ticker), nothing)

    def insert_many(self, rows: Sequence[Row]) -> Call[None]:
        """Store rows (at least one, from ``ticker_values``) with one statement: all or none."""
        return Call(self.tickers.insert_many, _arrays(rows, self.tickers.kinds), nothing)

    def upsert(self, key: Row, ticker: LegacyBookTicker) -> Call[None]:
        """Store one ticker, or replace the one of the same instant and pair."""
        return Call(self.by_key.upsert, ticker_values(key, ticker), nothing)

    def update(self, key: Row, ticker: LegacyBookTicker) -> Call[bool]:
        """Replace the ticker of the same instant and pair; False when there is none."""
        instant, *rest = ticker_values(key, ticker)
        content = rest[self.keys :]
        return Call(self.by_key.update, (*content, instant, *key), touched_one)

    def delete(self, key: Row, instant: datetime) -> Call[bool]:
        """Remove a ticker; False when there is none."""
        return Call(self.by_key.delete, (instant, *key), touched_one)

    def latest(self, key: Row, pair: Pair) -> Call[LegacyBookTicker | None]:
        """The newest ticker of a pair."""

        def read(answer: Answer) -> LegacyBookTicker | None:
            return self.ticker(answer.rows[0], pair) if answer.rows else None

        return Call(self.tickers.latest, (*key, *key), read)

    def recent(self, key: Row, pair: Pair, minutes: int, limit: int) -> Call[list[LegacyBookTicker]]:
        """A pair's tickers of the last minutes, newest first."""
        return Call(
            self.tickers.recent, (*key, minutes, limit), lambda answer: [self.ticker(row, pair) for row in answer.rows]
        )

    def latest_all(self) -> Call[list[LegacyBookTicker]]:
        """The newest ticker of every pair, by exchange and pair."""
        return Call(
            self.latest_of_all,
            (),
            lambda answer: [LegacyBookTicker(row[3], Pair(*row[:3]), *row[4:]) for row in answer.rows],
        )

    def opportunities(self, max_age: timedelta) -> Call[list[Opportunity]]:
        """Pairs that several exchanges quote, the best spread first, from tickers not older than ``max_age``."""
        return Call(self.best_of_all, (max_age,), lambda answer: [Opportunity(*row) for row in answer.rows])

    def insert_trade(self, key: Row, trade: LegacyTrade) -> Call[None]:
        """Store one trade."""
        return Call(self.trades.insert, trade_values(key, trade), nothing)

    def insert_trades(self, rows: Sequence[Row]) -> Call[None]:
        """Store rows (at least one, from ``trade_values``) with one statement: all or none."""
        return Call(self.trades.insert_many, _arrays(rows, self.trades.kinds), nothing)

    def recent_trades(self, key: Row, pair: Pair, minutes: int, limit: int) -> Call[list[LegacyTrade]]:
        """A pair's trades of the last minutes, newest first."""
        return Call(
            self.trades.recent, (*key, minutes, limit), lambda answer: [self.trade(row, pair) for row in answer.rows]
        )

    def ticker(self, row: Row, pair: Pair) -> LegacyBookTicker:
        """A row of the tickers' table; ``pair`` is what its key stands for."""
        return LegacyBookTicker(row[0], pair, *row[1 + self.keys :])

    def trade(self, row: Row, pair: Pair) -> LegacyTrade:
        """A row of the trades' table; ``pair`` is what its key stands for."""
        price, quantity, side, *rest = row[1 + self.keys :]
        return LegacyTrade(row[0], pair, price, quantity, OrderSide(side), *rest)


def ticker_values(key: Row, ticker: LegacyBookTicker) -> Row:
    """A ticker as the values of its columns. Raises ValueError for a number that numeric(20,8) would round."""
    t = ticker
    content = (exact(t.bid_price), exact(t.bid_qty), exact(t.ask_price), exact(t.ask_qty))
    return (t.timestamp, *key, *content, t.sequence_number, t.update_type)


def trade_values(key: Row, trade: LegacyTrade) -> Row:
    """A trade as the values of its columns. Raises ValueError for a number that numeric(20,8) would round."""
    t = trade
    quote = None if t.quote_quantity is None else exact(t.quote_quantity)
    return (t.timestamp, *key, exact(t.price), exact(t.quantity), t.side, t.trade_id, quote, t.is_buyer, t.is_maker)


def _arrays(rows: Sequence[Row], kinds: Sequence[str]) -> list[Any]:
    """The rows' columns as arrays. All but texts, which need quoting, are written as literals: a third of the time."""
    return [
        list(column)
        if kind == "text"
        else f"{{{','.join(['NULL' if value is None else str(value) for value in column])}}}"
        for kind, column in zip(kinds, zip(*rows, strict=True), strict=True)
    ]


def _form(shape: Shape, tickers: str, trades: str, key: Columns, latest: LiteralString) -> Form:
    return Form(
        shape,
        len(key),
        _statements(tickers, key, _TICKER),
        _by_key(tickers, key, _TICKER),
        _statements(trades, key, _TRADE),
        _bytes(sql.SQL(latest) + sql.SQL(_ALL_LATEST)),
        _bytes(sql.SQL(latest) + sql.SQL(_OPPORTUNITIES)),
    )


LEGACY = _form(
    "legacy",
    "book_ticker_snapshots",
    "trades",
    (("exchange", "text"), ("symbol_base", "text"), ("symbol_quote", "text")),
    _LATEST_LEGACY,
)
NORMALISED = _form(
    "normalised", "book_ticker_snapshots_v2", "trade_snapshots_v2", (("symbol_id", "int4"),), _LATEST_NORMALISED
)
FORMS: dict[Shape, Form] = {"legacy": LEGACY, "normalised": NORMALISED}
