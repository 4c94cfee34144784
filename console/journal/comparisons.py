"""Comparisons of every row, kept for each mapping: whoever made them, the newest says whether the tables agree."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from console.journal.connect import Conn
from console.journal.state import ComparisonState


def now(conn: Conn) -> datetime:
    """The server's clock, for when a comparison began."""
    row = conn.execute("SELECT clock_timestamp()").fetchone()
    assert row is not None
    return row[0]  # type: ignore[no-any-return]


def may_save(conn: Conn) -> bool:
    """Whether this role may keep comparisons here: the journal is there and lets it."""
    row = conn.execute(
        "SELECT CASE WHEN has_schema_privilege('pgferry', 'USAGE') THEN to_regclass('pgferry.comparison') IS NOT NULL"
        " AND has_table_privilege('pgferry.comparison', 'INSERT, UPDATE') END"
    ).fetchone()
    return bool(row and row[0])


def save(
    conn: Conn, mapping: str, origin: str, actor: str, *, began_at: datetime, ok: bool, faults: dict[str, int],
    words: str, ms: float, rows: list[dict[str, str]],
) -> bool:  # fmt: skip
    """Keep what a comparison found; one that found the same as the one before takes its place.

    Returns whether the verdict is another one than before.
    """
    values: dict[str, Any] = {
        "mapping": mapping, "origin": origin, "actor": actor, "began": began_at, "ok": ok, "faults": Jsonb(faults),
        "words": words, "ms": ms, "rows": Jsonb(rows),
    }  # fmt: skip
    with conn.transaction():
        before = conn.execute(
            "SELECT id, origin, ok AND %(ok)s OR (ok, faults) = (%(ok)s, %(faults)s::jsonb) FROM pgferry.comparison"
            " WHERE mapping = %(mapping)s ORDER BY id DESC LIMIT 1 FOR UPDATE",
            values,
        ).fetchone()
        if before is not None and before[1:] == (origin, True):
            conn.execute(
                "UPDATE pgferry.comparison SET passes = passes + 1, began_at = %(began)s, at = clock_timestamp(),"
                " words = %(words)s, ms = %(ms)s, rows = %(rows)s, actor = %(actor)s WHERE id = %(id)s",
                {**values, "id": before[0]},
            )
        else:
            conn.execute(
                "INSERT INTO pgferry.comparison (mapping, origin, actor, began_at, ok, faults, words, ms, rows) VALUES"
                " (%(mapping)s, %(origin)s, %(actor)s, %(began)s, %(ok)s, %(faults)s, %(words)s, %(ms)s, %(rows)s)",
                values,
            )
    return before is None or not before[2]


def newest(conn: Conn) -> tuple[ComparisonState, ...]:
    """The newest comparison of each mapping."""
    rows = conn.execute(
        "SELECT DISTINCT ON (mapping) mapping, origin, passes, at,"
        " extract(epoch FROM clock_timestamp() - at)::float, ok, words, rows"
        " FROM pgferry.comparison ORDER BY mapping, id DESC"
    ).fetchall()
    return tuple(ComparisonState(*(*row[:7], tuple(row[7]))) for row in rows)


def since_switch(conn: Conn, mapping: str) -> tuple[bool, bool | None, str]:
    """(whether the mapping was ever compared, the newest verdict that began after its last switch or None, its words)."""
    row = conn.execute(
        "SELECT c.ok, c.words, c.began_at > coalesce(l.at, '-infinity') FROM pgferry.comparison c"
        " LEFT JOIN pgferry.lead l ON l.mapping = c.mapping WHERE c.mapping = %s ORDER BY c.id DESC LIMIT 1",
        (mapping,),
    ).fetchone()
    if row is None:
        return False, None, ""
    ok, words, since = row
    return True, (ok if since else None), words
