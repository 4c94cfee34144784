"""Order executions: orders as they are placed and filled, and the history of their status.

Each function gives a call for ``marketdata.call.run`` or ``run_async``. The legacy schema has no orders.
"""

from __future__ import annotations

from decimal import Decimal

from marketdata.call import Answer, Call, Row, only, touched_one
from marketdata.models import OrderExecution, OrderSide, OrderStatus, Status, exact

_PLACE = b"""
INSERT INTO order_executions (symbol_id, order_id, side, quantity, price) VALUES (%s, %s, %s, %s, %s) RETURNING id
"""
# The average price weighs what was filled before with this fill.
_FILL = b"""
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
_END = b"""
UPDATE order_executions SET status = %s, updated_at = now()
WHERE id = %s AND status IN ('NEW', 'PARTIALLY_FILLED')
"""
_GET = b"""
SELECT id, symbol_id, order_id, side, order_type, quantity, filled_quantity, remaining_quantity,
    price, average_price, fee, fee_asset, status, ordered_at
FROM order_executions WHERE id = %s
"""
_HISTORY = b"""
SELECT id, execution_id, old_status, new_status, filled_quantity, changed_at
FROM order_status_history WHERE execution_id = %s ORDER BY id
"""


def place(symbol_id: int, order_id: str, side: OrderSide, quantity: Decimal, price: Decimal | None = None) -> Call[int]:
    """Record a new order; gives its id. Raises psycopg.errors.UniqueViolation when it is recorded already."""
    return Call(_PLACE, (symbol_id, order_id, side, exact(quantity), None if price is None else exact(price)), only)


def fill(
    execution_id: int,
    quantity: Decimal,
    price: Decimal,
    *,
    fee: Decimal = Decimal(0),
    fee_asset: str | None = None,
) -> Call[bool]:
    """Record that a part of an open order was filled; False when the order is not open.

    Raises psycopg.errors.CheckViolation when more would be filled than was ordered.
    """
    values = {
        "id": execution_id, "quantity": exact(quantity), "price": exact(price), "fee": exact(fee),
        "fee_asset": fee_asset,
    }  # fmt: skip
    return Call(_FILL, values, touched_one)


def end(execution_id: int, status: Status) -> Call[bool]:
    """Record that an open order was cancelled, rejected or expired; False when it is not open."""
    return Call(_END, (status, execution_id), touched_one)


def execution(execution_id: int) -> Call[OrderExecution | None]:
    """An order by its id here."""
    return Call(_GET, (execution_id,), lambda answer: _order(answer.rows[0]) if answer.rows else None)


def history(execution_id: int) -> Call[list[OrderStatus]]:
    """The statuses an order had, oldest first."""
    return Call(_HISTORY, (execution_id,), _statuses)


def _order(row: Row) -> OrderExecution:
    values = list(row)
    values[3], values[12] = OrderSide(values[3]), Status(values[12])
    return OrderExecution(*values)


def _statuses(answer: Answer) -> list[OrderStatus]:
    return [
        OrderStatus(own_id, order, Status(old) if old else None, Status(new), filled, at)
        for own_id, order, old, new, filled, at in answer.rows
    ]
