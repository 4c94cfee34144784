"""Account balances: every change audited, in one transaction, by the database's own function.

Each function gives a call for ``marketdata.call.run`` or ``run_async``. The legacy schema has no balances.
"""

from __future__ import annotations

from decimal import Decimal

from marketdata.call import Call, only
from marketdata.models import AccountBalance, BalanceChange, exact

_CHANGE = b"SELECT change_balance(%s, %s, %s, %s::numeric, %s::numeric, %s, %s)"
_BALANCES = b"""
SELECT a.id, a.exchange_id, a.account_type, a.asset, a.free, a.locked, a.total, a.snapshot_time
FROM account_balances a JOIN exchanges e ON e.id = a.exchange_id
WHERE e.enum_value = %s AND a.account_type = %s ORDER BY a.asset
"""
_CHANGES = b"""
SELECT id, balance_id, free_before, free_change, free_after, locked_before, locked_change, locked_after,
    reason, reference, changed_at
FROM balance_changes WHERE balance_id = %s ORDER BY id
"""


def change(
    exchange: str,
    account_type: str,
    asset: str,
    *,
    free: Decimal = Decimal(0),
    locked: Decimal = Decimal(0),
    reason: str,
    reference: str | None = None,
) -> Call[int]:
    """Add ``free`` and ``locked`` (negative to take away) to a balance; gives the id of its audit row.

    The balance begins at zero when it does not exist. Raises psycopg.errors.CheckViolation when it would fall below
    zero or nothing changes, NoDataFound for an unknown exchange; then nothing is written. ValueError for a number
    that numeric(20,8) would round.
    """
    return Call(_CHANGE, (exchange, account_type, asset, exact(free), exact(locked), reason, reference), only)


def balances(exchange: str, account_type: str = "SPOT") -> Call[list[AccountBalance]]:
    """What an account holds, by asset."""
    return Call(_BALANCES, (exchange, account_type), lambda answer: [AccountBalance(*row) for row in answer.rows])


def changes(balance_id: int) -> Call[list[BalanceChange]]:
    """The audit of a balance, oldest first."""
    return Call(_CHANGES, (balance_id,), lambda answer: [BalanceChange(*row) for row in answer.rows])
