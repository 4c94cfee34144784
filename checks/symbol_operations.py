"""check: symbol_operations
title: Symbols are found or created once, updated and deactivated; wrong ones are refused
phase: 1
severity: error
"""

from marketdata.models import Pair, Symbol
from psycopg import errors
from support import VENUE, Connection, check_exchange, refused, result, run, undone


def ensure(conn: Connection, base: str, quote: str) -> int:
    row = conn.execute("SELECT ensure_symbol(%s, %s, %s)", (VENUE, base, quote)).fetchone()
    return int(row[0]) if row else 0


def spelling(conn: Connection, symbol_id: int) -> str:
    row = conn.execute("SELECT symbol_string FROM symbols WHERE id = %s", (symbol_id,)).fetchone()
    return str(row[0]) if row else ""


def clash(conn: Connection) -> tuple[str, str]:
    """Two pairs that spell the same without a separator, on an exchange that uses none."""
    conn.execute("SELECT create_exchange('MEXC_CHECK', 'Check', 'Check', 'SPOT')")
    call = "SELECT ensure_symbol('MEXC_CHECK', %s, %s)"
    rows = [conn.execute(call, pair).fetchone() for pair in (("AB", "CUSDT"), ("ABC", "USDT"))]
    first, second = (spelling(conn, int(row[0])) if row else "" for row in rows)
    return first, second


def main() -> None:
    with undone() as conn:
        exchange_id = check_exchange(conn)
        first, second = ensure(conn, "1INCH", "USDT"), ensure(conn, "1INCH", "USDT")
        ok = first == second > 0
        result("symbol_operations.once", "The same pair is one symbol", ok, "one id", f"{first}, {second}")

        model = Symbol(first, exchange_id, Pair(VENUE, "1INCH", "USDT"), spelling(conn, first))
        row = conn.execute("SELECT id FROM symbol_by_string(%s, %s)", (VENUE, model.symbol_string)).fetchone()
        result("symbol_operations.model", "Found by its spelling", row == (first,), str(first), str(row))

        one, two = clash(conn)
        ok = (one, two) == ("ABCUSDT", "ABC_USDT")
        result("symbol_operations.clash", "Two pairs never share a spelling", ok, "ABCUSDT, ABC_USDT", f"{one}, {two}")

        conn.execute("SELECT deactivate_symbol(%s)", (first,))
        hidden = conn.execute("SELECT 1 FROM search_symbols('1INCH') WHERE symbol_id = %s", (first,)).fetchone() is None
        result("symbol_operations.deactivate", "A deactivated symbol is kept, not found by search", hidden, "", "")

        wrong = (("base equals quote", "USDT", "USDT"), ("small letters", "btc", "USDT"), ("no name", "", "USDT"))
        for what, base, quote in wrong:
            ok = refused(conn, lambda b=base, q=quote: ensure(conn, b, q), errors.CheckViolation)  # type: ignore[misc]
            result("symbol_operations.refused", f"Refused: {what}", ok, "refused", "refused" if ok else "taken")


run(main)
