"""The symbols and exchanges in memory: a pair resolves to its id without a round trip.

All of it is one immutable snapshot that a refresh replaces as a whole, so readers in other threads need no lock and
never see half of a refresh.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import psycopg

from marketdata.models import Exchange, MarketType, Pair, Symbol

# Exchanges without symbols come too, so one query loads everything.
_LOAD = """
SELECT e.id, e.name, e.enum_value, e.market_type, e.is_active,
       s.id, s.base_asset, s.quote_asset, s.symbol_string, s.is_active, s.price_precision, s.quantity_precision
FROM exchanges e LEFT JOIN symbols s ON s.exchange_id = e.id
ORDER BY e.id, s.id
"""


class Unknown(Enum):
    """What to do about a pair that is not in the cache."""

    FETCH = "fetch"  # load again; UnknownPairError when it is still not there
    CREATE = "create"  # load again, and make the symbol when it is still not there


class UnknownPairError(LookupError):
    """No symbol stands for this pair."""


@dataclass(frozen=True, slots=True)
class CacheStats:
    """Figures of a cache. ``age_s`` is the time since the last load, infinite before the first."""

    hits: int
    misses: int
    loads: int
    size: int
    age_s: float


@dataclass(frozen=True, slots=True)
class _Snapshot:
    exchanges: Mapping[int, Exchange] = field(default_factory=dict)
    by_name: Mapping[str, Exchange] = field(default_factory=dict)
    by_id: Mapping[int, Symbol] = field(default_factory=dict)
    by_pair: Mapping[Pair, Symbol] = field(default_factory=dict)
    by_string: Mapping[tuple[str, str], Symbol] = field(default_factory=dict)
    loaded_at: float = float("-inf")


class SymbolCache:
    """Looks symbols up by id, pair, symbol string or part of a name. Safe for concurrent readers."""

    def __init__(self, unknown: Unknown = Unknown.FETCH) -> None:
        self._unknown = unknown
        self._snapshot = _Snapshot()
        self._refreshing = threading.Lock()
        self._hits = 0
        self._misses = 0
        self._loads = 0

    def refresh(self, conn: psycopg.Connection[Any]) -> None:
        """Load everything in one round trip and replace the snapshot. Raises psycopg.Error; then nothing changed."""
        with self._refreshing:
            self._load(conn)

    def by_id(self, symbol_id: int) -> Symbol:
        """The symbol with this id. Raises UnknownPairError."""
        symbol = self._snapshot.by_id.get(symbol_id)
        if symbol is None:
            self._misses += 1
            raise UnknownPairError(f"no symbol has the id {symbol_id}")
        self._hits += 1
        return symbol

    def by_pair(self, pair: Pair) -> Symbol | None:
        """The symbol of a pair, None when the cache does not know it."""
        symbol = self._snapshot.by_pair.get(pair)
        # Counters may miss a beat under several threads; they are figures, not locks.
        if symbol is None:
            self._misses += 1
        else:
            self._hits += 1
        return symbol

    def by_string(self, exchange: str, symbol_string: str) -> Symbol | None:
        """The symbol that an exchange spells so, None when the cache does not know it."""
        symbol = self._snapshot.by_string.get((exchange, symbol_string))
        if symbol is None:
            self._misses += 1
        else:
            self._hits += 1
        return symbol

    def exchange(self, enum_value: str) -> Exchange | None:
        """The exchange with this name of the engine's, None when there is none."""
        return self._snapshot.by_name.get(enum_value)

    def exchanges(self) -> tuple[Exchange, ...]:
        """Every exchange, by id."""
        return tuple(self._snapshot.exchanges.values())

    def symbols(self) -> tuple[Symbol, ...]:
        """Every symbol, by exchange and id."""
        return tuple(self._snapshot.by_id.values())

    def search(self, text: str, limit: int = 50) -> tuple[Symbol, ...]:
        """Active symbols whose base, quote or symbol string begins with ``text``, in any case; at most ``limit``."""
        prefix = text.upper()
        found: list[Symbol] = []
        for symbol in self._snapshot.by_id.values():
            names = (symbol.pair.base, symbol.pair.quote, symbol.symbol_string.upper())
            if symbol.is_active and any(name.startswith(prefix) for name in names):
                found.append(symbol)
        found.sort(key=lambda symbol: (symbol.pair.base, symbol.pair.quote, symbol.pair.exchange))
        return tuple(found[:limit])

    def resolve(self, conn: psycopg.Connection[Any], pair: Pair) -> Symbol:
        """The symbol of a pair; an unknown one is fetched or created, as the cache's policy says.

        However many threads ask for the same unknown pair, one of them goes to the database. Raises
        UnknownPairError, and psycopg.Error when the exchange does not exist or the database refuses the pair.
        """
        symbol = self.by_pair(pair)
        if symbol is not None:
            return symbol
        seen = self._snapshot
        with self._refreshing:
            if self._snapshot is seen:
                self._load(conn)
            symbol = self._snapshot.by_pair.get(pair)
            if symbol is None and self._unknown is Unknown.CREATE:
                conn.execute("SELECT ensure_symbol(%s, %s, %s)", pair)
                self._load(conn)
                symbol = self._snapshot.by_pair.get(pair)
        if symbol is None:
            raise UnknownPairError(f"no symbol stands for {pair.base}/{pair.quote} on {pair.exchange}")
        return symbol

    @property
    def stats(self) -> CacheStats:
        """The figures at this moment."""
        snapshot = self._snapshot
        age = time.monotonic() - snapshot.loaded_at
        return CacheStats(self._hits, self._misses, self._loads, len(snapshot.by_id), age)

    def _load(self, conn: psycopg.Connection[Any]) -> None:
        exchanges: dict[int, Exchange] = {}
        by_id: dict[int, Symbol] = {}
        for row in conn.execute(_LOAD).fetchall():
            exchange_id, name, enum_value, market, is_active, symbol_id, base, quote, string, active, price, qty = row
            if exchange_id not in exchanges:
                exchanges[exchange_id] = Exchange(exchange_id, name, enum_value, MarketType(market), is_active)
            if symbol_id is not None:
                exchange = exchanges[exchange_id]
                pair = Pair(exchange.enum_value, base, quote)
                usable = active and exchange.is_active
                by_id[symbol_id] = Symbol(symbol_id, exchange_id, pair, string, usable, price, qty)
        self._snapshot = _Snapshot(
            exchanges=exchanges,
            by_name={exchange.enum_value: exchange for exchange in exchanges.values()},
            by_id=by_id,
            by_pair={symbol.pair: symbol for symbol in by_id.values()},
            by_string={(symbol.pair.exchange, symbol.symbol_string): symbol for symbol in by_id.values()},
            loaded_at=time.monotonic(),
        )
        self._loads += 1
