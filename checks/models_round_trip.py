"""check: models_round_trip
title: Rows of both shapes pass through the models and back without loss
phase: 3
severity: error
"""

from marketdata.cache import SymbolCache
from marketdata.models import BookTicker, LegacyBookTicker, LegacyTrade, OrderSide, Pair
from support import Connection, loaded_cache, result, run, undone

ROWS = 2000
_LEGACY = """
SELECT "timestamp", exchange, symbol_base, symbol_quote,
    bid_price, bid_qty, ask_price, ask_qty, sequence_number, update_type, id, created_at
FROM book_ticker_snapshots_legacy ORDER BY "timestamp" DESC LIMIT %s
"""
_NORMALISED = """
SELECT "timestamp", symbol_id,
    bid_price, bid_qty, ask_price, ask_qty, sequence_number, update_type, id, created_at
FROM book_ticker_snapshots_v2 ORDER BY "timestamp" DESC LIMIT %s
"""
_TRADES = """
SELECT "timestamp", exchange, symbol_base, symbol_quote,
    price, quantity, side, trade_id, quote_quantity, is_buyer, is_maker, id, created_at
FROM trades_legacy ORDER BY "timestamp" DESC, id DESC LIMIT %s
"""


def symbol_id(cache: SymbolCache, pair: Pair) -> int:
    symbol = cache.by_pair(pair)
    return symbol.id if symbol else -1


def report(name: str, title: str, rows: int, wrong: list[str]) -> None:
    samples = [{"row": text} for text in wrong]
    result(f"models_round_trip.{name}", title, not wrong, f"{rows} rows", f"{rows - len(wrong)} rows", samples)


def tickers(conn: Connection, cache: SymbolCache) -> None:
    wrong = []
    rows = conn.execute(_LEGACY, (ROWS,)).fetchall()
    for row in rows:
        old = LegacyBookTicker(row[0], Pair(*row[1:4]), *row[4:])
        if old.normalised(symbol_id(cache, old.pair)).legacy(old.pair) != old:
            wrong.append(str(old))
    report("legacy", "Legacy tickers", len(rows), wrong)
    wrong = []
    rows = conn.execute(_NORMALISED, (ROWS,)).fetchall()
    for row in rows:
        new = BookTicker(*row)
        pair = cache.by_id(new.symbol_id).pair
        if new.legacy(pair).normalised(symbol_id(cache, pair)) != new:
            wrong.append(str(new))
    report("normalised", "Normalised tickers", len(rows), wrong)


def main() -> None:
    with undone(snapshot=True) as conn:
        cache = loaded_cache(conn)
        tickers(conn, cache)
        wrong = []
        rows = conn.execute(_TRADES, (ROWS,)).fetchall()
        for row in rows:
            old = LegacyTrade(row[0], Pair(*row[1:4]), row[4], row[5], OrderSide(row[6]), *row[7:])
            if old.normalised(symbol_id(cache, old.pair)).legacy(old.pair) != old:
                wrong.append(str(old))
        report("trades", "Trades", len(rows), wrong)


run(main)
