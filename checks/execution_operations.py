"""check: execution_operations
title: Orders are filled in parts, their history is kept, overfilling is refused
phase: 4
severity: error
"""

from decimal import Decimal

from marketdata import executions
from marketdata.call import run as call
from marketdata.models import OrderSide, Pair, Status
from psycopg import errors
from support import VENUE, check_exchange, loaded_cache, refused, result, run, undone


def main() -> None:
    with undone() as conn:
        check_exchange(conn, [("BTC", "USDT")])
        symbol_id = loaded_cache(conn).resolve(conn, Pair(VENUE, "BTC", "USDT")).id
        order = call(conn, executions.place(symbol_id, "check-1", OrderSide.BUY, Decimal(2), Decimal(100)))
        call(conn, executions.fill(order, Decimal("0.5"), Decimal(100), fee=Decimal("0.1"), fee_asset="USDT"))

        def overfill() -> object:
            return call(conn, executions.fill(order, Decimal(2), Decimal(100)))

        ok = refused(conn, overfill, errors.CheckViolation)
        result("execution_operations.overfilled", "Refused: more than was ordered", ok, "refused", str(ok))

        call(conn, executions.fill(order, Decimal("1.5"), Decimal(104)))
        now = call(conn, executions.execution(order))
        ok = now is not None and (now.status, now.average_price) == (Status.FILLED, Decimal(103))
        result("execution_operations.filled", "Filled, at the weighted average price", ok, "FILLED at 103", str(now))

        statuses = [entry.new_status for entry in call(conn, executions.history(order))]
        ok = statuses == [Status.NEW, Status.PARTIALLY_FILLED, Status.FILLED]
        result("execution_operations.history", "Every status is kept", ok, "3", ", ".join(statuses))

        ok = not call(conn, executions.end(order, Status.CANCELED))
        result("execution_operations.ended", "A filled order cannot be cancelled", ok, "refused", str(ok))


run(main)
