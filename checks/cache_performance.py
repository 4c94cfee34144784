"""check: cache_performance
title: The cache with 10,000 symbols is near its targets: load, lookup, memory
phase: 1
severity: warning
"""

import gc
import tracemalloc

from support import TOLERANCE, VENUE, check_exchange, loaded_cache, result, run, summary, timed, undone

SYMBOLS = 10_000
ROUNDS = 5


def judge(name: str, title: str, value: float, target: float, unit: str) -> None:
    """Passes up to TOLERANCE times the target; says the target and the figure in any case."""
    expected = f"target {target:g} {unit}, at most {target * TOLERANCE:g}"
    result(f"cache_performance.{name}", title, value <= target * TOLERANCE, expected, f"{value:.3g} {unit}")


def main() -> None:
    with undone() as conn:
        exchange_id = check_exchange(conn)
        conn.execute(
            "INSERT INTO symbols (exchange_id, base_asset, quote_asset, symbol_string)"
            " SELECT %s, 'B' || g, 'USDT', 'B' || g || '_USDT' FROM generate_series(1, %s) AS g",
            (exchange_id, SYMBOLS),
        )
        cache = loaded_cache(conn)
        load = min(timed(lambda: cache.refresh(conn)) for _ in range(ROUNDS))
        judge("load", f"Load {cache.stats.size:,} symbols", load, 100, "ms")

        pairs = [symbol.pair for symbol in cache.symbols() if symbol.pair.exchange == VENUE]
        lookup = cache.by_pair

        def all_pairs() -> None:
            for pair in pairs:
                lookup(pair)

        mean = summary([timed(all_pairs) for _ in range(ROUNDS)]).p50 * 1000 / len(pairs)
        judge("lookup", "Resolve a pair that is cached, mean", mean, 1.0, "us")

        gc.collect()
        tracemalloc.start()
        kept = loaded_cache(conn)
        megabytes = tracemalloc.get_traced_memory()[0] / 1e6 * SYMBOLS / max(kept.stats.size, 1)
        tracemalloc.stop()
        judge("memory", "Memory of 10,000 symbols", megabytes, 10, "MB")


run(main)
