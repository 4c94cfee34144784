"""Order executions: orders as they are placed and filled, and the history of their status."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import psycopg

from marketdata.models import OrderExecution, OrderSide, OrderStatus, Status

_PLACE = """
INSERT INTO order_executions (symbol_id, order_id, side, quantity, price) VALUES (%s, %s, %s, %s, %s) RETURNING id
"""
# The average price weighs what was filled before with this fill.
_FILL = """
UPDATE order_executions SET
    average_price = round(
        (coalesce(average_price, 0) * filled_quantity + %(price)s::numeric * %(quantity)s::numeric)
        / (filled_quantity + %(quantity)s::numeric), 8),
    filled_quantity = filled_quantity + %(quantity)s::numeric,
    status = CASE WHEN filled_quantity + %(quantity)s::numeric = quantity THEN 'FILLED' ELSE 'PARTIALLY_FILLED' END,
    fee = fee + %(fee)s::numeric, fee_asset = coalesce(%(fee_asset)s, fee_asset),
    executed_at = now(), updated_at = now()
WHERE id = %(id)s AND status IN ('NEW', 'PARTIALLY_FILLED')
"""
_END = """
UPDATE order_executions SET status = %s, updated_at = now()
WHERE id = %s AND status IN ('NEW', 'PARTIALLY_FILLED')
"""
_GET = """
SELECT id, symbol_id, order_id, side, order_type, quantity, filled_quantity, remaining_quantity,
    price, average_price, fee, fee_asset, status, ordered_at
FROM order_executions WHERE id = %s
"""
_HISTORY = """
SELECT id, execution_id, old_status, new_status, filled_quantity, changed_at
FROM order_status_history WHERE execution_id = %s ORDER BY id
"""


def place(
    conn: psycopg.Connection[Any],
    symbol_id: int,
    order_id: str,
    side: OrderSide,
    quantity: Decimal,
    price: Decimal | None = None,
) -> int:
    """Record a new order and return its id. Raises psycopg.errors.UniqueViolation when it is recorded already."""
    row = conn.execute(_PLACE, (symbol_id, order_id, side, quantity, price)).fetchone()
    if row is None:
        raise AssertionError("INSERT RETURNING gives a row")
    return int(row[0])


def fill(
    conn: psycopg.Connection[Any],
    execution_id: int,
    quantity: Decimal,
    price: Decimal,
    *,
    fee: Decimal = Decimal(0),
    fee_asset: str | None = None,
) -> bool:
    """Record that a part of an open order was filled; False when the order is not open.

    Raises psycopg.errors.CheckViolation when more would be filled than was ordered.
    """
    values = {"id": execution_id, "quantity": quantity, "price": price, "fee": fee, "fee_asset": fee_asset}
    return conn.execute(_FILL, values).rowcount == 1


def end(conn: psycopg.Connection[Any], execution_id: int, status: Status) -> bool:
    """Record that an open order was cancelled, rejected or expired; False when it is not open."""
    return conn.execute(_END, (status, execution_id)).rowcount == 1


def execution(conn: psycopg.Connection[Any], execution_id: int) -> OrderExecution | None:
    """An order by its id here."""
    row = conn.execute(_GET, (execution_id,)).fetchone()
    if row is None:
        return None
    values: list[Any] = list(row)
    values[3], values[12] = OrderSide(values[3]), Status(values[12])
    return OrderExecution(*values)


def history(conn: psycopg.Connection[Any], execution_id: int) -> list[OrderStatus]:
    """The statuses an order had, oldest first."""
    rows = conn.execute(_HISTORY, (execution_id,)).fetchall()
    return [
        OrderStatus(own_id, order, Status(old) if old else None, Status(new), filled, at)
        for own_id, order, old, new, filled, at in rows
    ]
