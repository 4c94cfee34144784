"""check: migration_validator
title: Legacy rows, mapped by a program of its own, are what the normalised tables hold
phase: 2
severity: error
"""

# Written without the mapping's SQL on purpose: names are resolved here, in Python, so that a fault in the mapping
# cannot hide itself. Ten places spread over the whole time, 500 rows each; the engine compares every row.

from collections import Counter
from datetime import datetime
from typing import Any

from support import Connection, loaded_cache, result, run, undone

PLACES = 10
ROWS = 500
_VALUES = "id, bid_price, bid_qty, ask_price, ask_qty, sequence_number, update_type, created_at"
_OLD = (
    'SELECT "timestamp", exchange, symbol_base, symbol_quote, ' + _VALUES + " FROM book_ticker_snapshots"
    ' WHERE "timestamp" >= %s ORDER BY "timestamp" LIMIT %s'
)
_NEW = (
    'SELECT "timestamp", symbol_id, ' + _VALUES + " FROM book_ticker_snapshots_v2"
    ' WHERE "timestamp" BETWEEN %s AND %s ORDER BY "timestamp"'
)

Key = tuple[datetime, int]


class Names:
    """Resolves legacy names to symbol ids, from the small tables alone."""

    def __init__(self, conn: Connection) -> None:
        self.exchange = dict(conn.execute("SELECT legacy_name, exchange_id FROM exchange_names").fetchall())
        symbols = loaded_cache(conn).symbols()
        self.symbol = {(s.exchange_id, s.pair.base, s.pair.quote): s.id for s in symbols}
        self.canonical = {s.exchange_id: s.pair.exchange for s in symbols}

    def key(self, row: tuple[Any, ...]) -> tuple[Key | None, str]:
        """The new key of a legacy row, or None and why it has none."""
        moment, exchange, base, quote = row[:4]
        if base == quote:
            return None, "base equals quote"
        if exchange not in self.exchange:
            return None, "exchange name is not mapped"
        symbol_id = self.symbol.get((self.exchange[exchange], base, quote))
        return ((moment, symbol_id), "") if symbol_id else (None, "pair has no symbol")


def places(conn: Connection) -> list[datetime]:
    """Moments spread evenly from the first legacy ticker to the last; none when there is no row."""
    row = conn.execute(
        'SELECT (SELECT min("timestamp") FROM book_ticker_snapshots), (SELECT max("timestamp") FROM'
        " book_ticker_snapshots)"
    ).fetchone()
    first, last = row if row else (None, None)
    return [first + (last - first) * n / PLACES for n in range(PLACES)] if first else []


def compare(
    names: Names, old: list[tuple[Any, ...]], new: dict[Key, tuple[Any, ...]], rejects: Counter[str]
) -> list[str]:
    """What is wrong between one place's legacy and normalised rows."""
    expected: dict[Key, tuple[bool, tuple[Any, ...]]] = {}
    several: set[Key] = set()
    for row in old:
        key, reason = names.key(row)
        if key is None:
            rejects[reason] += 1
            continue
        canonical = names.canonical[names.exchange[row[1]]] == row[1]
        if key in expected:
            several.add(key)
            rejects["same moment under another spelling"] += 1
        if key not in expected or canonical:
            expected[key] = (canonical, row[4:])
    wrong = [f"extra in normalised: {key}" for key in new.keys() - expected.keys()]
    for key, (canonical, values) in expected.items():
        if key not in new:
            wrong.append(f"missing in normalised: {key}")
        # Which of several odd spellings won is the first one's luck; a canonical one always wins.
        elif new[key] != values and (canonical or key not in several):
            wrong.append(f"differs: {key}")
    return wrong


def main() -> None:
    rejects: Counter[str] = Counter()
    wrong: list[str] = []
    compared = 0
    with undone(snapshot=True) as conn:
        names = Names(conn)
        for start in places(conn):
            old = conn.execute(_OLD, (start, ROWS)).fetchall()
            # The last moment may be cut in two by LIMIT: leave it out on both sides.
            last = old[-1][0]
            if len(old) == ROWS:
                old = [row for row in old if row[0] < last] or old
                last = old[-1][0]
            new = {(row[0], row[1]): row[2:] for row in conn.execute(_NEW, (start, last)).fetchall()}
            wrong += compare(names, old, new, rejects)
            compared += len(old)
    result(
        "migration_validator.rows",
        f"{compared} legacy tickers at {PLACES} places",
        not wrong,
        "0 differences",
        f"{len(wrong)} differences",
        [{"difference": text} for text in wrong],
    )
    rows = [{"reason": reason, "rows": count} for reason, count in sorted(rejects.items())]
    actual = f"{sum(rejects.values())} of {compared}"
    result("migration_validator.rejects", "Legacy rows with no place of their own", True, "reported", actual, rows)


run(main)
