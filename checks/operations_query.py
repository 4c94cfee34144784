"""check: operations_query
title: Latest ticker and recent rows are what the legacy tables answer
phase: 3
severity: error
"""

from datetime import datetime

from marketdata.cache import SymbolCache
from marketdata.models import Pair
from marketdata.store import open_store
from support import Connection, loaded_cache, result, run, sample_pairs, undone

PAIRS = 40


def under_other_spelling(conn: Connection, pair: Pair, moment: datetime) -> bool:
    """Whether the legacy table has a row of this moment under another spelling of the pair."""
    row = conn.execute(
        "SELECT 1 FROM legacy_symbol_names c JOIN legacy_symbol_names l USING (symbol_id)"
        " JOIN book_ticker_snapshots o ON o.exchange = l.exchange AND o.symbol_base = l.symbol_base"
        ' AND o.symbol_quote = l.symbol_quote AND o."timestamp" = %s'
        " WHERE c.exchange = %s AND c.symbol_base = %s AND c.symbol_quote = %s AND NOT l.is_canonical",
        (moment, *pair),
    ).fetchone()
    return row is not None


def main() -> None:
    with undone(snapshot=True) as conn:
        pairs = sample_pairs(conn, PAIRS)
        old, new = open_store(conn, "legacy", SymbolCache()), open_store(conn, "normalised", loaded_cache(conn))
        latest, recent = [], []
        for pair in pairs:
            was, now = old.latest(pair), new.latest(pair)
            newer = now is not None and (was is None or now.timestamp > was.timestamp)
            if was != now and not (newer and now and under_other_spelling(conn, pair, now.timestamp)):
                latest.append({"pair": "/".join(pair), "legacy": was, "normalised": now})
            missing = {row.timestamp for row in old.recent(pair, 1)} - {row.timestamp for row in new.recent(pair, 1)}
            if missing:
                recent.append({"pair": "/".join(pair), "missing": len(missing)})
        for name, title, wrong in (
            ("latest", "Latest ticker of a pair", latest),
            ("recent", "Tickers of the last minute", recent),
        ):
            actual = f"{len(pairs) - len(wrong)} of {len(pairs)} pairs agree"
            result(f"operations_query.{name}", title, not wrong, "all agree", actual, wrong)


run(main)
