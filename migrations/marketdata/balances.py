"""Account balances: every change audited, in one transaction, by the database's own function."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import psycopg

from marketdata.models import AccountBalance, BalanceChange

_CHANGE = "SELECT change_balance(%s, %s, %s, %s::numeric, %s::numeric, %s, %s)"
_BALANCES = """
SELECT a.id, a.exchange_id, a.account_type, a.asset, a.free, a.locked, a.total, a.snapshot_time
FROM account_balances a JOIN exchanges e ON e.id = a.exchange_id
WHERE e.enum_value = %s AND a.account_type = %s ORDER BY a.asset
"""
_CHANGES = """
SELECT id, balance_id, free_before, free_change, free_after, locked_before, locked_change, locked_after,
    reason, reference, changed_at
FROM balance_changes WHERE balance_id = %s ORDER BY id
"""


def change(
    conn: psycopg.Connection[Any],
    exchange: str,
    account_type: str,
    asset: str,
    *,
    free: Decimal = Decimal(0),
    locked: Decimal = Decimal(0),
    reason: str,
    reference: str | None = None,
) -> int:
    """Add ``free`` and ``locked`` (negative to take away) to a balance; returns the id of its audit row.

    The balance begins at zero when it does not exist. Raises psycopg.errors.CheckViolation when it would fall below
    zero or nothing changes, NoDataFound for an unknown exchange; then nothing is written.
    """
    row = conn.execute(_CHANGE, (exchange, account_type, asset, free, locked, reason, reference)).fetchone()
    if row is None:
        raise AssertionError("a scalar function returns a row")
    return int(row[0])


def balances(conn: psycopg.Connection[Any], exchange: str, account_type: str = "SPOT") -> list[AccountBalance]:
    """What an account holds, by asset."""
    return [AccountBalance(*row) for row in conn.execute(_BALANCES, (exchange, account_type)).fetchall()]


def changes(conn: psycopg.Connection[Any], balance_id: int) -> list[BalanceChange]:
    """The audit of a balance, oldest first."""
    return [BalanceChange(*row) for row in conn.execute(_CHANGES, (balance_id,)).fetchall()]
