"""check: exchange_operations
title: Exchanges are created, updated and deactivated; wrong ones are refused
phase: 1
severity: error
"""

from psycopg import errors
from support import VENUE, Connection, check_exchange, refused, result, run, undone


def found(conn: Connection) -> dict[str, object]:
    row = conn.execute(
        "SELECT display_name, rate_limit_requests_per_second, is_active FROM exchange_by_enum(%s)", (VENUE,)
    ).fetchone()
    return dict(zip(("display_name", "rate_limit", "is_active"), row, strict=True)) if row else {}


def main() -> None:
    with undone() as conn:
        check_exchange(conn)
        conn.execute("SELECT update_exchange(%s, p_rate_limit => 7)", (VENUE,))
        seen = found(conn)
        ok = seen == {"display_name": "Check", "rate_limit": 7, "is_active": True}
        result("exchange_operations.update", "Only the given setting changes", ok, "rate_limit 7", str(seen))

        conn.execute("SELECT deactivate_exchange(%s)", (VENUE,))
        listed = conn.execute("SELECT 1 FROM active_exchanges() WHERE enum_value = %s", (VENUE,)).fetchone()
        ok = found(conn).get("is_active") is False and listed is None
        result("exchange_operations.deactivate", "A deactivated exchange is kept, not listed", ok, "kept", str(ok))

        wrong = (
            ("a second of the same name", (VENUE, "SPOT"), errors.UniqueViolation),
            ("a name in small letters", ("check_two", "SPOT"), errors.CheckViolation),
            ("an unknown market", ("CHECK_SWAP", "SWAP"), errors.CheckViolation),
        )
        for what, (name, market), error in wrong:
            call = ("SELECT create_exchange(%s, 'x', 'x', %s)", (name, market))
            ok = refused(conn, lambda call=call: conn.execute(*call), error)  # type: ignore[misc]
            result("exchange_operations.refused", f"Refused: {what}", ok, error.__name__, "refused" if ok else "taken")
        ok = refused(conn, lambda: conn.execute("SELECT update_exchange('NO_SUCH')"), errors.NoDataFound)
        result("exchange_operations.unknown", "An unknown exchange is an error", ok, "NoDataFound", str(ok))


run(main)
