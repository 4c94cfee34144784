"""check: operations_cache
title: The operations resolve pairs from the cache; a new pair is made once
phase: 3
severity: error
"""

from marketdata.cache import Unknown
from marketdata.models import Pair
from marketdata.store import open_store
from support import VENUE, check_exchange, loaded_cache, result, run, ticker, undone

KNOWN = Pair(VENUE, "BTC", "USDT")
FRESH = Pair(VENUE, "NEWCOIN", "USDT")


def main() -> None:
    with undone() as conn:
        check_exchange(conn, [(KNOWN.base, KNOWN.quote)])
        cache = loaded_cache(conn, Unknown.CREATE)
        store = open_store(conn, "normalised", cache)
        loads = cache.stats.loads
        for number in range(100):
            store.insert(ticker(KNOWN, number))
        stats = cache.stats
        ok = stats.loads == loads and stats.hits >= 100 and stats.misses == 0
        result("operations_cache.known", "100 inserts ask for nothing", ok, "0 loads", f"{stats.loads - loads} loads")

        for number in range(10):
            store.insert(ticker(FRESH, number))
        row = conn.execute(
            "SELECT count(*) FROM symbol_directory WHERE exchange = %s AND base_asset = %s", FRESH[:2]
        ).fetchone()
        ok = row == (1,) and cache.stats.misses == 1
        result("operations_cache.fresh", "A new pair is made once", ok, "1 symbol, 1 miss", f"{row}, {cache.stats}")


run(main)
