"""check: two_way_sync
title: What is written to one side is read on the other, both ways
phase: 3
severity: error
"""

from dataclasses import replace
from decimal import Decimal

from marketdata.cache import SymbolCache
from marketdata.models import Pair
from marketdata.store import Store, open_store
from support import EPOCH, Connection, content, loaded_cache, result, run, sample_pairs, ticker, trade, undone


def tickers(conn: Connection, name: str, writer: Store, reader: Store, pair: Pair, offset: int) -> None:
    """Insert, update and delete a ticker through ``writer``; ``reader`` must see each."""
    row = ticker(pair, offset)
    moment = row.timestamp

    def seen() -> object:
        with conn.transaction():
            return next((content(found) for found in reader.between(moment, moment)), None)

    writer.insert(row)
    inserted = seen() == row
    changed = replace(row, ask_price=Decimal("0.00000399"))
    writer.update(changed)
    updated = seen() == changed
    writer.delete(moment, pair)
    deleted = seen() is None
    actual = f"insert {inserted}, update {updated}, delete {deleted}"
    result(f"two_way_sync.{name}", f"Tickers: {name}", inserted and updated and deleted, "all arrive", actual)


def trades(conn: Connection, name: str, writer: Store, reader: Store, pair: Pair, offset: int) -> None:
    """Insert a trade through ``writer``; ``reader`` must see it."""
    row = trade(pair, offset)
    writer.insert_trade(row)
    with conn.transaction():
        found = [content(other) for other in reader.trades_between(row.timestamp, row.timestamp)]
    result(f"two_way_sync.trades_{name}", f"Trades: {name}", found == [row], "1 row", f"{len(found)} rows")


def main() -> None:
    with undone() as conn:
        pairs = sample_pairs(conn, 1)
        if not pairs:
            result("two_way_sync", "Both directions", True, "", f"no pair to write for after {EPOCH:%Y}")
            return
        old, new = open_store(conn, "legacy", SymbolCache()), open_store(conn, "normalised", loaded_cache(conn))
        tickers(conn, "legacy_to_normalised", old, new, pairs[0], 1)
        tickers(conn, "normalised_to_legacy", new, old, pairs[0], 2)
        trades(conn, "legacy_to_normalised", old, new, pairs[0], 3)
        trades(conn, "normalised_to_legacy", new, old, pairs[0], 4)


run(main)
