"""The symbols and exchanges in memory: a pair resolves to its id without a round trip.

All of it is one immutable directory that a refresh replaces as a whole, so readers in other threads and tasks need no
lock and never see half of a refresh.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import psycopg

from marketdata.directory import ENSURE, LOAD, LOAD_SOME, Directory, changed, directory
from marketdata.models import Exchange, Pair, Symbol


class Unknown(Enum):
    """What to do about a pair that is not in the cache."""

    FETCH = "fetch"  # load again; UnknownPairError when it is still not there
    CREATE = "create"  # load again, and make the symbol when it is still not there


class UnknownPairError(LookupError):
    """No symbol stands for this pair."""


@dataclass(frozen=True, slots=True)
class CacheStats:
    """Figures of a cache. ``age_s`` is the time since the last load or change, infinite before the first."""

    hits: int
    misses: int
    loads: int  # of everything
    changes: int  # of some symbols
    size: int
    age_s: float


class Lookups:
    """What sync and async caches share: lookups in the directory of the moment, and the figures."""

    def __init__(self, unknown: Unknown = Unknown.FETCH) -> None:
        self._unknown = unknown
        self._directory = Directory()
        self._hits = 0
        self._misses = 0
        self._loads = 0
        self._changes = 0
        self._loaded_at = float("-inf")

    def by_id(self, symbol_id: int) -> Symbol:
        """The symbol with this id. Raises UnknownPairError."""
        symbol = self._counted(self._directory.by_id.get(symbol_id))
        if symbol is None:
            raise UnknownPairError(f"no symbol has the id {symbol_id}")
        return symbol

    def by_pair(self, pair: Pair) -> Symbol | None:
        """The symbol of a pair, None when the cache does not know it."""
        # Counters may miss a beat under several threads; they are figures, not locks. Written out: the hot path.
        symbol = self._directory.by_pair.get(pair)
        if symbol is None:
            self._misses += 1
        else:
            self._hits += 1
        return symbol

    def by_string(self, exchange: str, symbol_string: str) -> Symbol | None:
        """The symbol that an exchange spells so, None when the cache does not know it."""
        return self._counted(self._directory.by_string.get((exchange, symbol_string)))

    def exchange(self, enum_value: str) -> Exchange | None:
        """The exchange with this name of the engine's, None when there is none."""
        return self._directory.by_name.get(enum_value)

    def exchange_by_id(self, exchange_id: int) -> Exchange | None:
        """The exchange with this id, None when there is none."""
        return self._directory.exchanges.get(exchange_id)

    def exchanges(self) -> tuple[Exchange, ...]:
        """Every exchange, by id."""
        return tuple(self._directory.exchanges.values())

    def symbols(self) -> tuple[Symbol, ...]:
        """Every symbol."""
        return tuple(self._directory.by_id.values())

    def search(self, text: str, limit: int = 50) -> tuple[Symbol, ...]:
        """Active symbols whose base, quote or symbol string begins with ``text``, in any case; at most ``limit``."""
        return self._directory.search(text, limit)

    @property
    def stats(self) -> CacheStats:
        """The figures at this moment."""
        now = self._directory
        age = time.monotonic() - now.loaded_at
        return CacheStats(self._hits, self._misses, self._loads, self._changes, len(now.by_id), age)

    @property
    def loaded_s(self) -> float:
        """Seconds since everything was loaded, infinite before the first time."""
        return time.monotonic() - self._loaded_at

    def _counted(self, symbol: Symbol | None) -> Symbol | None:
        if symbol is None:
            self._misses += 1
        else:
            self._hits += 1
        return symbol

    def _replace(self, rows: Iterable[tuple[Any, ...]]) -> None:
        self._directory = directory(rows, time.monotonic())
        self._loads += 1
        self._loaded_at = self._directory.loaded_at

    def _change(self, ids: list[int], rows: Iterable[tuple[Any, ...]]) -> None:
        self._directory = changed(self._directory, ids, rows, time.monotonic())
        self._changes += 1

    def _or_unknown(self, pair: Pair) -> Symbol:
        symbol = self._directory.by_pair.get(pair)
        if symbol is None:
            raise UnknownPairError(f"no symbol stands for {pair.base}/{pair.quote} on {pair.exchange}")
        return symbol

    def _creates(self, pair: Pair) -> bool:
        return pair not in self._directory.by_pair and self._unknown is Unknown.CREATE


class SymbolCache(Lookups):
    """For threads: many may read while one refreshes."""

    def __init__(self, unknown: Unknown = Unknown.FETCH) -> None:
        super().__init__(unknown)
        self._refreshing = threading.Lock()

    def refresh(self, conn: psycopg.Connection[Any]) -> None:
        """Load everything in one round trip. Raises psycopg.Error; then nothing changed."""
        with self._refreshing:
            self._load(conn)

    def refresh_some(self, conn: psycopg.Connection[Any], ids: Iterable[int]) -> None:
        """Load these symbols again in one round trip. Raises psycopg.Error; then nothing changed."""
        wanted = sorted(set(ids))
        with self._refreshing:
            self._change(wanted, conn.execute(LOAD_SOME, (wanted,)).fetchall())

    def resolve(self, conn: psycopg.Connection[Any], pair: Pair) -> Symbol:
        """The symbol of a pair; an unknown one is fetched or created, as the cache's policy says.

        However many threads ask for the same unknown pair, one of them goes to the database. Raises
        UnknownPairError, and psycopg.Error when the exchange does not exist or the database refuses the pair.
        """
        symbol = self.by_pair(pair)
        if symbol is not None:
            return symbol
        seen = self._directory
        with self._refreshing:
            if self._directory is seen:
                self._load(conn)
            if self._creates(pair):
                conn.execute(ENSURE, pair)
                self._load(conn)
        return self._or_unknown(pair)

    def _load(self, conn: psycopg.Connection[Any]) -> None:
        self._replace(conn.execute(LOAD).fetchall())


class AsyncSymbolCache(Lookups):
    """For the tasks of one event loop: many may read while one refreshes."""

    def __init__(self, unknown: Unknown = Unknown.FETCH) -> None:
        super().__init__(unknown)
        self._refreshing = asyncio.Lock()

    async def refresh(self, conn: psycopg.AsyncConnection[Any]) -> None:
        """See SymbolCache."""
        async with self._refreshing:
            await self._load(conn)

    async def refresh_some(self, conn: psycopg.AsyncConnection[Any], ids: Iterable[int]) -> None:
        """See SymbolCache."""
        wanted = sorted(set(ids))
        async with self._refreshing:
            self._change(wanted, await (await conn.execute(LOAD_SOME, (wanted,))).fetchall())

    async def resolve(self, conn: psycopg.AsyncConnection[Any], pair: Pair) -> Symbol:
        """See SymbolCache: of all tasks that ask for the same unknown pair, one goes to the database."""
        symbol = self.by_pair(pair)
        if symbol is not None:
            return symbol
        seen = self._directory
        async with self._refreshing:
            if self._directory is seen:
                await self._load(conn)
            if self._creates(pair):
                await conn.execute(ENSURE, pair)
                await self._load(conn)
        return self._or_unknown(pair)

    async def _load(self, conn: psycopg.AsyncConnection[Any]) -> None:
        self._replace(await (await conn.execute(LOAD)).fetchall())
