"""check: balance_operations
title: Balances change with their audit, add up, and never fall below zero
phase: 4
severity: error
"""

from decimal import Decimal
from itertools import pairwise

from marketdata import balances
from marketdata.call import run as call
from psycopg import errors
from support import VENUE, check_exchange, refused, result, run, undone


def main() -> None:
    with undone() as conn:
        check_exchange(conn)
        call(conn, balances.change(VENUE, "SPOT", "USDT", free=Decimal(100), reason="DEPOSIT"))
        call(conn, balances.change(VENUE, "SPOT", "USDT", free=Decimal(-40), locked=Decimal(40), reason="LOCK"))
        call(conn, balances.change(VENUE, "SPOT", "USDT", locked=Decimal("-39.99999999"), reason="TRADE"))
        (now,) = call(conn, balances.balances(VENUE))
        ok = (now.free, now.locked, now.total) == (Decimal(60), Decimal("0.00000001"), Decimal("60.00000001"))
        result("balance_operations.total", "Total is free plus locked", ok, "60.00000001", str(now.total))

        audit = call(conn, balances.changes(now.id))
        ok = len(audit) == 3 and (audit[-1].free_after, audit[-1].locked_after) == (now.free, now.locked)
        chained = all(a.free_after == b.free_before for a, b in pairwise(audit))
        result("balance_operations.audit", "Each change is audited", ok and chained, "3 rows", f"{len(audit)} rows")

        def overdraw() -> object:
            return call(conn, balances.change(VENUE, "SPOT", "USDT", free=Decimal(-61), reason="WITHDRAWAL"))

        ok = refused(conn, overdraw, errors.CheckViolation) and call(conn, balances.balances(VENUE)) == [now]
        result("balance_operations.overdrawn", "Refused: more than there is", ok, "refused", str(ok))


run(main)
