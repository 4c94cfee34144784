"""check: exchange_model
title: The application's model reads every exchange
phase: 1
severity: error
"""

from marketdata.models import Exchange, MarketType
from support import result, run, undone


def main() -> None:
    with undone(snapshot=True) as conn:
        rows = conn.execute("SELECT id, name, enum_value, market_type, is_active FROM exchanges ORDER BY id").fetchall()
    unread = []
    for number, name, enum_value, market_type, is_active in rows:
        try:
            model = Exchange(number, name, enum_value, MarketType(market_type), is_active)
        except ValueError as error:
            unread.append({"exchange": enum_value, "error": str(error)})
            continue
        if (model.id, model.enum_value, str(model.market_type)) != (number, enum_value, market_type):
            unread.append({"exchange": enum_value, "error": f"read as {model}"})
    actual = f"{len(rows) - len(unread)} of {len(rows)}"
    result("exchange_model", "Exchanges as models", not unread, f"{len(rows)} of {len(rows)}", actual, unread)


run(main)
