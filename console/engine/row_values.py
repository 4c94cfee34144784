"""How two tables' values are made comparable: cast to one type, and those without a hash function as text.

Values are equal as their type says it, not by their text: 1.0 and 1.00, 0 and -0 and two NaN are equal, and so are
NULLs. json, xml, geometric types and others without a hash function count as their text.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import psycopg
from psycopg import sql

from console.engine.derive import Composed, commas, raw
from console.journal.connect import Conn
from console.plan.model import TableName

_ALIKE = (  # sort alike and are compared with each other without a cast
    {"smallint", "integer", "bigint", "numeric"},
    {"text", "character varying"},
)


@dataclass(frozen=True, slots=True)
class Typed:
    """A column as it is compared. ``type`` is without length or scale and below domains; empty: unknown.

    ``textual``: its type has no hash function, so its text is compared.
    """

    name: str
    type: str = ""
    collation: int = 0
    textual: bool = False

    def value(self, expression: Composed) -> Composed:
        """The expression in the form in which this column is compared."""
        cast = sql.SQL("({})::{}").format(expression, raw(self.type)) if self.type else expression
        return sql.SQL("({})::text").format(cast) if self.textual else cast

    def sorts_like(self, other: Typed) -> bool:
        """Whether both columns have one order, so that a bound cuts both tables alike."""
        same = self.type == other.type or any({self.type, other.type} <= family for family in _ALIKE)
        return same and self.collation == other.collation


_TYPES = """
WITH RECURSIVE below AS (
    SELECT attnum, attname::text AS name, atttypid AS type, attcollation AS coll FROM pg_attribute
    WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped
    UNION ALL
    SELECT attnum, name, t.typbasetype, coll FROM below JOIN pg_type t ON t.oid = type AND t.typtype = 'd'
)
SELECT name, format_type(type, -1), coll::bigint FROM below
WHERE NOT EXISTS (SELECT 1 FROM pg_type t WHERE t.oid = type AND t.typtype = 'd') ORDER BY attnum
"""


def typed(conn: Conn, table: TableName) -> dict[str, Typed]:
    """Every column of the table by name."""
    name = sql.Identifier(table.schema, table.name).as_string(None)
    rows = conn.execute(_TYPES, (name,)).fetchall()
    found = {name: Typed(name, type_, collation) for name, type_, collation in rows}
    types = {column.type for column in found.values()}
    plain = set() if _hashes(conn, types) else {type_ for type_ in types if not _hashes(conn, {type_})}
    return {n: Typed(n, c.type, c.collation, textual=c.type in plain) for n, c in found.items()}


def _hashes(conn: Conn, types: Iterable[str]) -> bool:
    """Whether a row of these types can be hashed; before version 14, whether they can be compared at all."""
    nulls = [sql.SQL("NULL::{}").format(raw(type_)) for type_ in sorted(types)]
    probe = sql.SQL("SELECT hash_record_extended(ROW({}), 0)").format(commas(nulls))
    if old_server(conn):
        probe = sql.SQL("SELECT {}").format(commas(sql.SQL("{0} IS DISTINCT FROM {0}").format(null) for null in nulls))
    try:
        conn.execute(probe)
    except psycopg.errors.UndefinedFunction:
        return False
    return True


def old_server(conn: Conn) -> bool:
    """Whether the server has no function yet that hashes a record."""
    return conn.info.server_version < 140000


def row_hash(values: Iterable[Composed], keys: Iterable[Composed], *, by_text: bool) -> Composed:
    """64 bits of a row, seeded with its key: a plain sum of row hashes is blind to two rows exchanging a value.

    ``by_text``: the server is too old to hash records; their text is hashed, and where only the text differs the
    closer look finds them equal.
    """
    one, two = commas(values), commas(keys)
    if by_text:
        return sql.SQL("hashtextextended(ROW({})::text, hashtextextended(ROW({})::text, 0))").format(one, two)
    return sql.SQL("hash_record_extended(ROW({}), hash_record_extended(ROW({}), 0))").format(one, two)
