"""Keeps a cache fresh: the database's notifications name what changed; a full load now and then catches the rest.

Whatever was missed while the connection was down is caught by the full load after it stands again.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Self

import psycopg

from marketdata.cache import AsyncSymbolCache, SymbolCache

CHANNEL = "marketdata_cache"
EVERY_S = 60.0  # a full load at the latest
POLL_S = 0.5  # how soon a thread sees that it should end
RETRY_S = (0.2, 5.0)  # the first and the longest wait for a lost server
_LISTEN = b"LISTEN " + CHANNEL.encode()


def symbols_named(payloads: Iterable[str]) -> set[int] | None:
    """The ids of the symbols that notifications name; None where they do not say which: all may have changed."""
    ids: set[int] = set()
    for payload in payloads:
        try:
            named = json.loads(payload)["symbols"]
            ids.update(int(id_) for id_ in named)
        except (ValueError, TypeError, KeyError):
            return None
    return ids


class CacheWatch:
    """A thread that keeps a cache fresh on a connection of its own, from ``with`` to its end.

    ``every_s``: seconds from one full load to the next. The first load is done when ``with`` is entered: it raises
    psycopg.Error. A connection lost later is opened again, however long it takes; ``trouble`` says why it is down.
    """

    def __init__(self, cache: SymbolCache, conninfo: str, *, every_s: float = EVERY_S) -> None:
        self._cache = cache
        self._conninfo = conninfo
        self._every_s = every_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="marketdata cache", daemon=True)
        self._conn: psycopg.Connection[tuple[object, ...]] | None = None
        self.trouble = ""

    def __enter__(self) -> Self:
        self._connect()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join()
        if self._conn is not None:
            self._conn.close()

    def _connect(self) -> psycopg.Connection[tuple[object, ...]]:
        conn = psycopg.connect(self._conninfo, autocommit=True, application_name="marketdata cache")
        try:
            conn.execute(_LISTEN)  # before the load, so that no change falls between the two
            self._cache.refresh(conn)
        except BaseException:
            conn.close()
            raise
        self._conn, self.trouble = conn, ""
        return conn

    def _follow(self) -> None:
        waits = _waits()
        while not self._ended.is_set():
            try:
                conn = self._conn if self._conn is not None and not self._conn.closed else self._connect()
                waits = _waits()
                self._once(conn)
            except psycopg.Error as error:
                self.trouble = str(error).strip() or type(error).__name__
                if self._conn is not None:
                    self._conn.close()
                self._ended.wait(next(waits))

    def _once(self, conn: psycopg.Connection[tuple[object, ...]]) -> None:
        """Wait for notifications and work them off, or load everything when it is time."""
        left = self._every_s - self._cache.loaded_s
        if left <= 0:
            self._cache.refresh(conn)
            return
        payloads = [note.payload for note in conn.notifies(timeout=min(left, POLL_S), stop_after=1)]
        payloads += [note.payload for note in conn.notifies(timeout=0)] if payloads else []
        ids = symbols_named(payloads)
        if ids is None:
            self._cache.refresh(conn)
        elif ids:
            self._cache.refresh_some(conn, ids)


async def keep_fresh(
    cache: AsyncSymbolCache,
    conninfo: str,
    *,
    every_s: float = EVERY_S,
    on_error: Callable[[psycopg.Error], None] | None = None,
) -> None:
    """Keeps a cache fresh on a connection of its own until the task is cancelled.

    A lost connection is opened again, however long it takes; ``on_error`` is told each time why it is down.
    """
    waits = _waits()
    while True:
        try:
            conn = await psycopg.AsyncConnection.connect(conninfo, autocommit=True, application_name="marketdata cache")
            async with conn:
                await conn.execute(_LISTEN)
                await cache.refresh(conn)
                waits = _waits()
                while True:
                    await _once_async(cache, conn, every_s)
        except psycopg.Error as error:
            if on_error is not None:
                on_error(error)
        await asyncio.sleep(next(waits))


async def _once_async(
    cache: AsyncSymbolCache, conn: psycopg.AsyncConnection[tuple[object, ...]], every_s: float
) -> None:
    left = every_s - cache.loaded_s
    if left <= 0:
        await cache.refresh(conn)
        return
    payloads = [note.payload async for note in conn.notifies(timeout=left, stop_after=1)]
    payloads += [note.payload async for note in conn.notifies(timeout=0)] if payloads else []
    ids = symbols_named(payloads)
    if ids is None:
        await cache.refresh(conn)
    elif ids:
        await cache.refresh_some(conn, ids)


def _waits() -> Iterator[float]:
    wait, most = RETRY_S
    while True:
        yield wait
        wait = min(wait * 2, most)
