"""check: cache_correct
title: The cache finds every symbol by id, pair and spelling, and no other
phase: 1
severity: error
"""

from marketdata.cache import UnknownPairError
from marketdata.models import Pair
from support import VENUE, check_exchange, loaded_cache, refused, result, run, undone


def main() -> None:
    with undone() as conn:
        check_exchange(conn, [("BTC", "USDT"), ("1INCH", "USDT"), ("BTC", "EUR")])
        cache = loaded_cache(conn)
        wrong = []
        rows = conn.execute(
            "SELECT symbol_id, exchange, base_asset, quote_asset, symbol_string, is_active FROM symbol_directory"
        ).fetchall()
        for symbol_id, exchange, base, quote, spelling, is_active in rows:
            by_id = cache.by_id(symbol_id)
            by_pair = cache.by_pair(Pair(exchange, base, quote))
            by_string = cache.by_string(exchange, spelling)
            if not by_id == by_pair == by_string or by_id.is_active is not is_active:
                wrong.append({"symbol_id": symbol_id, "pair": f"{exchange} {base}/{quote}"})
        actual = f"{len(rows) - len(wrong)} of {len(rows)}"
        result("cache_correct.lookups", "Lookups agree", not wrong, f"{len(rows)} of {len(rows)}", actual, wrong)

        found = {symbol.pair for symbol in cache.search("btc", 10_000) if symbol.pair.exchange == VENUE}
        expected = {Pair(VENUE, "BTC", "USDT"), Pair(VENUE, "BTC", "EUR")}
        result("cache_correct.search", "Search by the beginning of a name", found == expected, "2", str(len(found)))

        unknown = Pair(VENUE, "NO", "SUCH")
        ok = cache.by_pair(unknown) is None and refused(conn, lambda: cache.resolve(conn, unknown), UnknownPairError)
        result("cache_correct.unknown", "An unknown pair is not made up", ok, "UnknownPairError", str(ok))

        conn.execute("SELECT ensure_symbol(%s, %s, %s)", unknown)
        ok = cache.resolve(conn, unknown).pair == unknown
        result("cache_correct.refresh", "A symbol that was added is found", ok, "found", "found" if ok else "missing")


run(main)
