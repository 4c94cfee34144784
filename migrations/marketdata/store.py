"""One interface over both schemas: the flag ``shape`` switches an application over.

Records come and go in the application's own words (pair by name); each store writes them in its schema's form.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Literal, Protocol

import psycopg

from marketdata.cache import SymbolCache
from marketdata.legacy import LegacyStore
from marketdata.models import LegacyBookTicker, LegacyTrade, Pair
from marketdata.normalised import NormalisedStore

Shape = Literal["legacy", "normalised"]


class Store(Protocol):
    """Operations on tickers and trades. Every method raises psycopg.Error when the database refuses."""

    def insert(self, ticker: LegacyBookTicker) -> None:
        """Store one ticker."""

    def insert_many(self, tickers: Sequence[LegacyBookTicker]) -> None:
        """Store tickers with one statement: all or none."""

    def copy(self, tickers: Sequence[LegacyBookTicker]) -> None:
        """Store tickers by COPY: all or none; the quickest way for many."""

    def upsert(self, ticker: LegacyBookTicker) -> None:
        """Store one ticker, or replace the one of the same instant and pair."""

    def update(self, ticker: LegacyBookTicker) -> bool:
        """Replace the ticker of the same instant and pair; False when there is none."""

    def delete(self, timestamp: datetime, pair: Pair) -> bool:
        """Remove a ticker; False when there is none."""

    def latest(self, pair: Pair) -> LegacyBookTicker | None:
        """The newest ticker of a pair."""

    def recent(self, pair: Pair, minutes: int, limit: int = 1000) -> list[LegacyBookTicker]:
        """A pair's tickers of the last minutes, newest first, at most ``limit``."""

    def between(self, first: datetime, last: datetime) -> Iterator[LegacyBookTicker]:
        """All tickers from ``first`` to ``last``, both included, by time. Streams; open a transaction around it."""

    def insert_trade(self, trade: LegacyTrade) -> None:
        """Store one trade."""

    def recent_trades(self, pair: Pair, minutes: int, limit: int = 1000) -> list[LegacyTrade]:
        """A pair's trades of the last minutes, newest first, at most ``limit``."""

    def trades_between(self, first: datetime, last: datetime) -> Iterator[LegacyTrade]:
        """All trades from ``first`` to ``last``, both included, by time. Streams; open a transaction around it."""


def open_store(conn: psycopg.Connection[Any], shape: Shape, cache: SymbolCache) -> Store:
    """The store for a shape over an autocommit connection."""
    return LegacyStore(conn) if shape == "legacy" else NormalisedStore(conn, cache)
