"""The indexes that tables of a database have already."""

from __future__ import annotations

from collections.abc import Iterable

from console.journal.connect import Conn


def existing_indexes(conn: Conn, names: Iterable[str]) -> dict[str, list[tuple[str, ...]]]:
    """Of each of these relations that exists, by the name it was asked by: the plain key columns of its valid indexes.

    Partial indexes and those that begin with an expression do not count: they do not serve a foreign key.
    """
    rows = conn.execute(
        """
        SELECT t.name, array_agg(a.attname ORDER BY k.place) FILTER (WHERE k.attnum > 0)
          FROM unnest(%s::text[]) t(name)
          JOIN pg_class c ON c.oid = to_regclass(t.name)
          LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisvalid AND i.indpred IS NULL
          LEFT JOIN LATERAL unnest(i.indkey::int[]) WITH ORDINALITY k(attnum, place) ON k.place <= i.indnkeyatts
          LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
         GROUP BY t.name, i.indexrelid
        """,
        (sorted(set(names)),),
    ).fetchall()
    found: dict[str, list[tuple[str, ...]]] = {}
    for name, columns in rows:
        found.setdefault(name, [])
        if columns:
            found[name].append(tuple(columns))
    return found
