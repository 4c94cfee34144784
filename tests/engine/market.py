"""The market-data tables of the shipped plan in a test's database, and tickers to fill them with."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import psycopg
from marketdata.models import LegacyBookTicker, Pair
from marketdata.store import Shape

MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"
SHAPES: tuple[Shape, ...] = ("legacy", "normalised")
BTC = Pair("MEXC_SPOT", "BTC", "USDT")
ETH = Pair("GATEIO_SPOT", "ETH", "USDT")


def a_schema(database: str) -> str:
    """The legacy tables and everything that phases 1, 2 and 4 make, without the data's copy; the database itself."""
    with psycopg.connect(database, autocommit=True) as conn:
        for file in sorted(MIGRATIONS.glob("00[1-4]*.sql")):
            text = file.read_text(encoding="utf-8")
            # An index built concurrently cannot be part of several statements sent at once.
            if not file.name.endswith(".down.sql"):
                conn.execute(text.replace("CONCURRENTLY", ""))
    return database


def ticker(pair: Pair, seconds_ago: float, price: str = "0.00000352", sequence: int | None = 1) -> LegacyBookTicker:
    """A ticker of so long ago."""
    at = datetime.now(UTC) - timedelta(seconds=seconds_ago)
    return LegacyBookTicker(
        at, pair, Decimal(price), Decimal("1400000000"), Decimal(price) * 2, Decimal("0.00000001"), sequence
    )


def content(row: LegacyBookTicker) -> LegacyBookTicker:
    """A row without what the database adds to it."""
    return replace(row, id=None, created_at=None)
