"""Exchanges and symbols at one moment, immutable: every lookup, and the next moment made from what changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from marketdata.models import Exchange, MarketType, Pair, Symbol

Row = tuple[Any, ...]

# Exchanges without symbols come too, so one query loads everything.
_SELECT = b"""
SELECT e.id, e.name, e.enum_value, e.market_type, e.is_active,
       s.id, s.base_asset, s.quote_asset, s.symbol_string, s.is_active, s.price_precision, s.quantity_precision
FROM exchanges e LEFT JOIN symbols s ON s.exchange_id = e.id
"""
LOAD = _SELECT + b" ORDER BY e.id, s.id"
LOAD_SOME = _SELECT + b" WHERE s.id = ANY(%s) ORDER BY e.id, s.id"
ENSURE = b"SELECT ensure_symbol(%s, %s, %s)"


@dataclass(frozen=True, slots=True)
class Directory:
    """Lookups by id, pair, the exchange's own spelling, and the beginning of a name. ``loaded_at``: monotonic seconds."""

    exchanges: Mapping[int, Exchange] = field(default_factory=dict)
    by_name: Mapping[str, Exchange] = field(default_factory=dict)
    by_id: Mapping[int, Symbol] = field(default_factory=dict)
    by_pair: Mapping[Pair, Symbol] = field(default_factory=dict)
    by_string: Mapping[tuple[str, str], Symbol] = field(default_factory=dict)
    loaded_at: float = float("-inf")

    def search(self, text: str, limit: int) -> tuple[Symbol, ...]:
        """Active symbols whose base, quote or symbol string begins with ``text``, in any case; at most ``limit``."""
        prefix = text.upper()
        found: list[Symbol] = []
        for symbol in self.by_id.values():
            names = (symbol.pair.base, symbol.pair.quote, symbol.symbol_string.upper())
            if symbol.is_active and any(name.startswith(prefix) for name in names):
                found.append(symbol)
        found.sort(key=lambda symbol: (symbol.pair.base, symbol.pair.quote, symbol.pair.exchange))
        return tuple(found[:limit])


def directory(rows: Iterable[Row], now: float) -> Directory:
    """A directory of the rows of LOAD."""
    exchanges, symbols = _read(rows)
    return _made(exchanges, symbols, now)


def changed(before: Directory, ids: Iterable[int], rows: Iterable[Row], now: float) -> Directory:
    """``before`` with the symbols ``ids`` as the rows of LOAD_SOME have them; those without a row are gone."""
    exchanges, symbols = _read(rows)
    gone = set(ids) - symbols.keys()
    kept = {id_: symbol for id_, symbol in before.by_id.items() if id_ not in gone}
    return _made({**before.exchanges, **exchanges}, {**kept, **symbols}, now)


def _read(rows: Iterable[Row]) -> tuple[dict[int, Exchange], dict[int, Symbol]]:
    exchanges: dict[int, Exchange] = {}
    symbols: dict[int, Symbol] = {}
    for row in rows:
        exchange_id, name, enum_value, market, is_active, symbol_id, base, quote, string, active, price, qty = row
        exchange = exchanges.get(exchange_id)
        if exchange is None:
            exchange = exchanges[exchange_id] = Exchange(exchange_id, name, enum_value, MarketType(market), is_active)
        if symbol_id is not None:
            pair = Pair(exchange.enum_value, base, quote)
            symbols[symbol_id] = Symbol(symbol_id, exchange_id, pair, string, active and is_active, price, qty)
    return exchanges, symbols


def _made(exchanges: dict[int, Exchange], symbols: dict[int, Symbol], now: float) -> Directory:
    return Directory(
        exchanges=exchanges,
        by_name={exchange.enum_value: exchange for exchange in exchanges.values()},
        by_id=symbols,
        by_pair={symbol.pair: symbol for symbol in symbols.values()},
        by_string={(symbol.pair.exchange, symbol.symbol_string): symbol for symbol in symbols.values()},
        loaded_at=now,
    )
