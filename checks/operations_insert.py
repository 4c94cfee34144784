"""check: operations_insert
title: Single rows, batches and COPY arrive in the normalised tables to the last decimal
phase: 3
severity: error
"""

from dataclasses import replace
from decimal import Decimal

from marketdata.cache import UnknownPairError
from marketdata.models import Pair
from marketdata.store import open_store
from support import (
    EPOCH,
    VENUE,
    check_exchange,
    content,
    loaded_cache,
    refused,
    result,
    run,
    ticker,
    undone,
)

PAIR = Pair(VENUE, "LUNC", "USDT")
BATCH = 1000


def main() -> None:
    with undone() as conn:
        check_exchange(conn, [(PAIR.base, PAIR.quote)])
        store = open_store(conn, "normalised", loaded_cache(conn))
        store.insert(ticker(PAIR))
        ok = content(store.latest(PAIR)) == ticker(PAIR)
        result("operations_insert.single", "A single row reads back the same", ok, "equal", str(ok))

        dearer = replace(ticker(PAIR), ask_price=Decimal("0.00000399"))
        store.upsert(dearer)
        ok = content(store.latest(PAIR)) == dearer
        result("operations_insert.upsert", "An upsert replaces the row", ok, "replaced", str(ok))

        many = [ticker(PAIR, n) for n in range(1, BATCH + 1)]
        store.insert_many(many)
        copied = [ticker(PAIR, n) for n in range(BATCH + 1, 2 * BATCH + 1)]
        store.copy(copied)
        symbol_id = loaded_cache(conn).resolve(conn, PAIR).id
        row = conn.execute(
            "SELECT count(*), min(bid_price), max(bid_qty) FROM book_ticker_snapshots_v2"
            ' WHERE symbol_id = %s AND "timestamp" > %s',
            (symbol_id, EPOCH),
        ).fetchone()
        ok = row == (2 * BATCH, Decimal("0.00000352"), Decimal("1400000000"))
        result("operations_insert.batch", "1,000 rows by INSERT and 1,000 by COPY", ok, str(2 * BATCH), str(row))

        gone = store.delete(ticker(PAIR).timestamp, PAIR) and not store.delete(ticker(PAIR).timestamp, PAIR)
        result("operations_insert.delete", "A row is removed once", gone, "removed", str(gone))

        unknown = ticker(Pair(VENUE, "NO", "SUCH"))
        ok = refused(conn, lambda: store.insert(unknown), UnknownPairError)
        result("operations_insert.unknown", "A pair without a symbol is an error", ok, "UnknownPairError", str(ok))


run(main)
