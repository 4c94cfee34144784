"""The engine's records as immutable data, in the legacy and the normalised form, and the way between the two.

Prices and quantities are Decimals with at most eight decimals, as the tables store them: nothing is rounded here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Context, Decimal, InvalidOperation
from enum import StrEnum
from typing import NamedTuple

DECIMALS = 8
_STEP = Decimal(1).scaleb(-DECIMALS)
_NUMERIC = Context(
    prec=20, traps=[InvalidOperation]
)  # numeric(20,8): quantizing fails beyond twelve digits before the point


class MarketType(StrEnum):
    """What an exchange trades."""

    SPOT = "SPOT"
    FUTURES = "FUTURES"
    OPTIONS = "OPTIONS"


class OrderSide(StrEnum):
    """The side of an order or a trade."""

    BUY = "buy"
    SELL = "sell"


class Pair(NamedTuple):
    """A pair on an exchange, in the exchange's canonical spelling: how the legacy schema names a symbol."""

    exchange: str
    base: str
    quote: str


def exact(value: Decimal | int | str) -> Decimal:
    """``value`` as a Decimal that numeric(20,8) holds without rounding.

    Raises ValueError for what is not a finite number, has more than eight decimals, or is 10^12 or more.
    """
    number = value if type(value) is Decimal else Decimal(value)
    try:
        rounded = number.quantize(_STEP, context=_NUMERIC)
    except InvalidOperation:
        raise ValueError(f"{value} does not fit numeric(20,8)") from None
    if rounded != number:  # not a number is not equal to itself either
        raise ValueError(
            f"{value} has more than {DECIMALS} decimals"
            if number.is_finite()
            else f"{value} does not fit numeric(20,8)"
        )
    return number


@dataclass(frozen=True, slots=True)
class Exchange:
    """A row of ``exchanges``. ``enum_value`` is the engine's own name and the canonical legacy spelling."""

    id: int
    name: str
    enum_value: str
    market_type: MarketType
    is_active: bool = True


@dataclass(frozen=True, slots=True)
class Symbol:
    """A row of ``symbols``: a pair on an exchange, with the exchange's own spelling of it."""

    id: int
    exchange_id: int
    pair: Pair
    symbol_string: str
    is_active: bool = True
    price_precision: int = DECIMALS
    quantity_precision: int = DECIMALS


@dataclass(frozen=True, slots=True)
class BookTicker:
    """A row of ``book_ticker_snapshots_v2``. ``id`` and ``created_at`` are None until the database gave them."""

    timestamp: datetime
    symbol_id: int
    bid_price: Decimal
    bid_qty: Decimal
    ask_price: Decimal
    ask_qty: Decimal
    sequence_number: int | None = None
    update_type: str = "snapshot"
    id: int | None = None
    created_at: datetime | None = None

    def legacy(self, pair: Pair) -> LegacyBookTicker:
        """The same ticker in the legacy form; ``pair`` is what ``symbol_id`` stands for."""
        return LegacyBookTicker(
            self.timestamp,
            pair,
            self.bid_price,
            self.bid_qty,
            self.ask_price,
            self.ask_qty,
            self.sequence_number,
            self.update_type,
            self.id,
            self.created_at,
        )


@dataclass(frozen=True, slots=True)
class LegacyBookTicker:
    """A row of ``book_ticker_snapshots``: exchange and pair as strings."""

    timestamp: datetime
    pair: Pair
    bid_price: Decimal
    bid_qty: Decimal
    ask_price: Decimal
    ask_qty: Decimal
    sequence_number: int | None = None
    update_type: str = "snapshot"
    id: int | None = None
    created_at: datetime | None = None

    def normalised(self, symbol_id: int) -> BookTicker:
        """The same ticker in the normalised form. Raises ValueError for a number that would be rounded."""
        return BookTicker(
            self.timestamp,
            symbol_id,
            exact(self.bid_price),
            exact(self.bid_qty),
            exact(self.ask_price),
            exact(self.ask_qty),
            self.sequence_number,
            self.update_type,
            self.id,
            self.created_at,
        )


@dataclass(frozen=True, slots=True)
class Trade:
    """A row of ``trade_snapshots_v2``."""

    timestamp: datetime
    symbol_id: int
    price: Decimal
    quantity: Decimal
    side: OrderSide
    trade_id: str | None = None
    quote_quantity: Decimal | None = None
    is_buyer: bool | None = None
    is_maker: bool | None = None
    id: int | None = None
    created_at: datetime | None = None

    def legacy(self, pair: Pair) -> LegacyTrade:
        """The same trade in the legacy form; ``pair`` is what ``symbol_id`` stands for."""
        return LegacyTrade(
            self.timestamp,
            pair,
            self.price,
            self.quantity,
            self.side,
            self.trade_id,
            self.quote_quantity,
            self.is_buyer,
            self.is_maker,
            self.id,
            self.created_at,
        )


@dataclass(frozen=True, slots=True)
class LegacyTrade:
    """A row of ``trades``: exchange and pair as strings."""

    timestamp: datetime
    pair: Pair
    price: Decimal
    quantity: Decimal
    side: OrderSide
    trade_id: str | None = None
    quote_quantity: Decimal | None = None
    is_buyer: bool | None = None
    is_maker: bool | None = None
    id: int | None = None
    created_at: datetime | None = None

    def normalised(self, symbol_id: int) -> Trade:
        """The same trade in the normalised form. Raises ValueError for a number that would be rounded."""
        return Trade(
            self.timestamp,
            symbol_id,
            exact(self.price),
            exact(self.quantity),
            self.side,
            self.trade_id,
            None if self.quote_quantity is None else exact(self.quote_quantity),
            self.is_buyer,
            self.is_maker,
            self.id,
            self.created_at,
        )


@dataclass(frozen=True, slots=True)
class Opportunity:
    """A pair that several exchanges quote: where to buy (lowest ask), where to sell (highest bid), what is between."""

    base: str
    quote: str
    exchanges: int
    buy_exchange: str
    ask_price: Decimal
    ask_qty: Decimal
    sell_exchange: str
    bid_price: Decimal
    bid_qty: Decimal
    spread: Decimal
    spread_percent: Decimal
    newest: datetime
    oldest: datetime


@dataclass(frozen=True, slots=True)
class AccountBalance:
    """A row of ``account_balances``: what an account holds of one asset."""

    id: int
    exchange_id: int
    account_type: str
    asset: str
    free: Decimal
    locked: Decimal
    total: Decimal
    snapshot_time: datetime


@dataclass(frozen=True, slots=True)
class BalanceChange:
    """A row of ``balance_changes``: the audit of one change, before + change = after."""

    id: int
    balance_id: int
    free_before: Decimal
    free_change: Decimal
    free_after: Decimal
    locked_before: Decimal
    locked_change: Decimal
    locked_after: Decimal
    reason: str
    reference: str | None
    changed_at: datetime


class Status(StrEnum):
    """Where an order stands."""

    NEW = "NEW"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    FILLED = "FILLED"
    CANCELED = "CANCELED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"


@dataclass(frozen=True, slots=True)
class OrderExecution:
    """A row of ``order_executions``: an order and how far it is filled."""

    id: int
    symbol_id: int
    order_id: str
    side: OrderSide
    order_type: str
    quantity: Decimal
    filled_quantity: Decimal
    remaining_quantity: Decimal
    price: Decimal | None
    average_price: Decimal | None
    fee: Decimal
    fee_asset: str | None
    status: Status
    ordered_at: datetime


@dataclass(frozen=True, slots=True)
class OrderStatus:
    """A row of ``order_status_history``: a status that an order had, written by the database."""

    id: int
    execution_id: int
    old_status: Status | None
    new_status: Status
    filled_quantity: Decimal
    changed_at: datetime
