"""Walking a table by its key: bounds as text, never arithmetic on keys, so gaps and skew do not matter."""

from __future__ import annotations

from psycopg import sql

from console.engine.derive import Composed, ands, column, commas, table
from console.engine.facts import MappingFacts, TableFacts
from console.journal.chunks import Key
from console.journal.connect import Conn
from console.plan.model import Mapping


def index_order(facts: TableFacts, key: tuple[str, ...]) -> tuple[str, ...]:
    """The key's columns in the order of the unique index on them, so that a walk needs no sort."""
    return next((unique for unique in facts.unique_keys if set(unique) == set(key)), key)


STRIDE = 5_000  # rows walked by one statement


def beyond(alias: str, names: tuple[str, ...], low: Key | None) -> Composed:
    """Condition: the key is greater than ``low``."""
    if low is None:
        return sql.SQL("true")
    return sql.SQL("({}) > ({})").format(
        commas(column(alias, n) for n in names), commas(sql.Literal(low[n]) for n in names)
    )


def upto(alias: str, names: tuple[str, ...], high: Key | None) -> Composed:
    """Condition: the key is at most ``high``."""
    if high is None:
        return sql.SQL("true")
    return sql.SQL("({}) <= ({})").format(
        commas(column(alias, n) for n in names), commas(sql.Literal(high[n]) for n in names)
    )


def _key(conn: Conn, query: sql.Composed, names: tuple[str, ...]) -> Key | None:
    row = conn.execute(query).fetchone()
    return None if row is None else dict(zip(names, row, strict=True))


def _texts(alias: str, names: tuple[str, ...]) -> Composed:
    return commas(sql.SQL("{}::text").format(column(alias, n)) for n in names)


def greatest(conn: Conn, facts: TableFacts, names: tuple[str, ...]) -> Key | None:
    """The table's last key, None when it is empty."""
    order = commas(sql.SQL("{} DESC").format(column("o", n)) for n in names)
    query = sql.SQL("SELECT {} FROM {} o ORDER BY {} LIMIT 1").format(_texts("o", names), table(facts.name), order)
    return _key(conn, query, names)


def step(
    conn: Conn, facts: TableFacts, names: tuple[str, ...], low: Key | None, high: Key | None, rows: int
) -> Key | None:
    """The key ``rows`` further than ``low`` (index-only walks), None when fewer are left up to ``high``.

    In strides, so that no walk keeps a core for long: one of 13 ms (100,000 rows) cost writers on 2 cores half as much as
    the copy of these rows, see ``Orders.target_ms``.
    """
    key = low
    for done in range(0, rows, STRIDE):
        key = _stride(conn, facts, names, key, high, min(STRIDE, rows - done))
        if key is None:
            return None
    return key


def _stride(
    conn: Conn, facts: TableFacts, names: tuple[str, ...], low: Key | None, high: Key | None, rows: int
) -> Key | None:
    query = sql.SQL("SELECT {} FROM {} o WHERE {} AND {} ORDER BY {} OFFSET {} LIMIT 1").format(
        _texts("o", names),
        table(facts.name),
        beyond("o", names, low),
        upto("o", names, high),
        commas(column("o", n) for n in names),
        sql.Literal(rows - 1),
    )
    return _key(conn, query, names)


def between(alias: str, names: tuple[str, ...], low: Key | None, high: Key | None) -> Composed:
    """Condition: ``low`` < key <= ``high``.

    Leading columns that are the same at both ends are written as equalities: a comparison of whole rows is
    estimated by its first column alone, and where that has few values the planner would read the whole table.
    """
    if low is None or high is None:
        return ands([beyond(alias, names, low), upto(alias, names, high)])
    same = next((i for i, n in enumerate(names[:-1]) if low[n] != high[n]), len(names) - 1)
    equal = [sql.SQL("{} = {}").format(column(alias, n), sql.Literal(low[n])) for n in names[:same]]
    return ands([*equal, beyond(alias, names[same:], low), upto(alias, names[same:], high)])


def count_left(conn: Conn, facts: TableFacts, names: tuple[str, ...], low: Key | None, high: Key, most: int) -> int:
    """How many rows there are beyond ``low`` up to ``high``; counts no further than ``most``."""
    query = sql.SQL("SELECT count(*) FROM (SELECT 1 FROM {} o WHERE {} LIMIT {}) r").format(
        table(facts.name), between("o", names, low, high), sql.Literal(most)
    )
    row = conn.execute(query).fetchone()
    return int(row[0]) if row else 0


def rows_estimate(conn: Conn, facts: TableFacts) -> int:
    """The planner's estimate; counted where the table was never analysed."""
    if facts.rows > 0:
        return facts.rows
    row = conn.execute(sql.SQL("SELECT count(*) FROM {}").format(table(facts.name))).fetchone()
    return int(row[0]) if row else 0


def old_order(mapping: Mapping, facts: MappingFacts) -> tuple[str, ...]:
    """The old key in the order in which it is walked."""
    return index_order(facts.old, mapping.old_key)
