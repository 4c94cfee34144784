"""The plan's checks of a declared kind: each looks at the catalogue or the rows and says what it found.

All of it happens in a read-only transaction of one snapshot; nothing is written but a latency's baseline.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from console.engine.derive import ands, column, commas, raw, table
from console.journal.connect import Conn
from console.plan.check_kinds import (
    Duplicates,
    EqualCounts,
    FreshStatistics,
    Orphans,
    Quiet,
    SequencesAhead,
    Size,
    Spec,
    UnambiguousMapping,
    UsesIndex,
    ValidConstraints,
    ValidIndexes,
)
from console.plan.model import Mapping, Plan, TableName

SAMPLES = 20
SMALL_TABLE_ROWS = 10_000  # below this many rows reading the whole table may be the better plan
TABLES = "rpm"  # relkind of what has rows

Rows = tuple[dict[str, str], ...]


@dataclass(frozen=True, slots=True)
class Found:
    """What a check saw, in words, with sample rows."""

    ok: bool
    actual: str
    rows: Rows = ()


def find(conn: Conn, plan: Plan, spec: Spec, query: str) -> Found:
    """Carry a check out inside the open transaction; latency and quiet have modules and connections of their own."""
    match spec:
        case EqualCounts():
            return _equal_counts(conn, spec)
        case Orphans():
            return _orphans(conn, spec)
        case Duplicates():
            return _duplicates(conn, spec)
        case ValidConstraints():
            return _none_of(conn, spec.tables, _NOT_VALIDATED, "constraint", "all validated")
        case ValidIndexes():
            return _none_of(conn, spec.tables, _NOT_VALID, "index", "all valid")
        case UnambiguousMapping():
            return _unambiguous(conn, plan.mapping(spec.mapping))
        case SequencesAhead():
            return _sequences(conn, spec)
        case FreshStatistics():
            return _statistics(conn, spec)
        case UsesIndex():
            return _uses_index(conn, spec, query)
        case Size():
            return _size(conn, spec)
        case _:
            raise TypeError(f"{type(spec).__name__} is not looked at in one transaction")


def missing(conn: Conn, tables: Sequence[TableName]) -> list[str]:
    """The names among ``tables`` that no table here has."""
    return [
        str(name)
        for name in tables
        if conn.execute(
            "SELECT 1 FROM pg_class WHERE oid = to_regclass(%s) AND strpos(%s, relkind::text) > 0",
            (_quoted(name), TABLES),
        ).fetchone()
        is None
    ]


def _quoted(name: TableName) -> str:
    return sql.Identifier(name.schema, name.name).as_string(None)


def _ask(conn: Conn, query: sql.SQL | sql.Composed, values: Sequence[Any] = ()) -> Rows:
    cursor = conn.execute(query, values)
    names = [c.name for c in cursor.description or ()]
    return tuple(
        {name: "" if value is None else str(value) for name, value in zip(names, row, strict=True)}
        for row in cursor.fetchmany(SAMPLES + 1)
    )


def _count(rows: Rows, what: str) -> str:
    more = " or more" if len(rows) > SAMPLES else ""
    return f"{min(len(rows), SAMPLES)}{more} {what}"


def _equal_counts(conn: Conn, spec: EqualCounts) -> Found:
    row = conn.execute(
        sql.SQL("SELECT (SELECT count(*) FROM {}), (SELECT count(*) FROM {})").format(
            table(spec.first), table(spec.second)
        )
    ).fetchone()
    assert row is not None
    return Found(row[0] == row[1], f"{row[0]:,} in {spec.first}, {row[1]:,} in {spec.second}")


def _orphans(conn: Conn, spec: Orphans) -> Found:
    keys = commas(column("t", name) for name in spec.columns)
    rows = _ask(
        conn,
        sql.SQL(
            "SELECT {keys}, count(*) AS row_count FROM {table} t WHERE {known} AND NOT EXISTS"
            " (SELECT FROM {references} r WHERE {same}) GROUP BY {keys} LIMIT {limit}"
        ).format(
            keys=keys,
            table=table(spec.table),
            known=ands(sql.SQL("{} IS NOT NULL").format(column("t", name)) for name in spec.columns),
            references=table(spec.references),
            same=ands(
                sql.SQL("{} = {}").format(column("r", to), column("t", name))
                for name, to in zip(spec.columns, spec.referenced, strict=True)
            ),
            limit=sql.Literal(SAMPLES + 1),
        ),
    )
    return Found(not rows, _count(rows, "values without a row there") if rows else "none without a row there", rows)


def _duplicates(conn: Conn, spec: Duplicates) -> Found:
    keys = commas(column("t", name) for name in spec.columns)
    rows = _ask(
        conn,
        sql.SQL(
            "SELECT {keys}, count(*) AS row_count FROM {table} t WHERE {known} GROUP BY {keys} HAVING count(*) > 1"
            " LIMIT {limit}"
        ).format(
            keys=keys,
            table=table(spec.table),
            known=ands(sql.SQL("{} IS NOT NULL").format(column("t", name)) for name in spec.columns),
            limit=sql.Literal(SAMPLES + 1),
        ),
    )
    return Found(not rows, _count(rows, "values more than once") if rows else "no value twice", rows)


# pg_constraint.conenforced is new in 18 (release notes, E.1.3.2): a constraint that is not enforced holds for nothing.
_NOT_VALIDATED = """
SELECT conrelid::regclass AS table_name, conname AS constraint_name, pg_get_constraintdef(oid) AS definition
FROM pg_constraint c
WHERE conrelid = ANY(%s::regclass[])
  AND (NOT convalidated OR coalesce((to_jsonb(c) ->> 'conenforced')::boolean, true) IS FALSE)
ORDER BY 1, 2
"""
_NOT_VALID = """
SELECT indrelid::regclass AS table_name, indexrelid::regclass AS index_name,
       indisvalid AS valid, indisready AS ready, indislive AS live
FROM pg_index WHERE indrelid = ANY(%s::regclass[]) AND NOT (indisvalid AND indisready AND indislive)
ORDER BY 1, 2
"""


def _none_of(conn: Conn, tables: Sequence[TableName], query: str, what: str, good: str) -> Found:
    absent = missing(conn, tables)
    if absent:
        return Found(False, f"there is no table {', '.join(absent)}")
    rows = _ask(conn, raw(query), ([_quoted(name) for name in tables],))
    names = ", ".join(row[f"{what}_name"] for row in rows[:3])
    return Found(not rows, f"not so: {names}" if rows else good, rows)


def _unambiguous(conn: Conn, mapping: Mapping) -> Found:
    rows: list[dict[str, str]] = []
    for lookup in mapping.lookups:
        match = [name for name, _ in lookup.match]
        rows += _several(conn, lookup.relation, match, "a value with several rows", sql.SQL("count(*) > 1"))
        if lookup.canonical:
            canonical = sql.SQL("NOT coalesce(bool_or({0}), false) OR count(*) FILTER (WHERE {0}) > 1").format(
                sql.Identifier(lookup.canonical)
            )
            rows += _several(conn, lookup.relation, [lookup.gives], "no canonical spelling, or several", canonical)
    if not mapping.lookups:
        return Found(True, "no lookups")
    words = f"{len(rows)} ambiguous" if rows else f"{len(mapping.lookups)} lookups, nothing ambiguous"
    return Found(not rows, words, tuple(rows[: SAMPLES + 1]))


def _several(
    conn: Conn, relation: TableName, columns: Sequence[str], problem: str, condition: sql.SQL | sql.Composed
) -> list[dict[str, str]]:
    keys = commas(sql.Identifier(name) for name in columns)
    query = sql.SQL(
        "SELECT {relation} AS lookup, {problem} AS problem, concat_ws(' / ', {keys}) AS value, count(*) AS row_count"
        " FROM {table} WHERE {known} GROUP BY {keys} HAVING {condition} LIMIT {limit}"
    ).format(
        relation=sql.Literal(str(relation)),
        problem=sql.Literal(problem),
        keys=keys,
        table=table(relation),
        known=ands(sql.SQL("{} IS NOT NULL").format(sql.Identifier(name)) for name in columns),
        condition=condition,
        limit=sql.Literal(SAMPLES + 1),
    )
    return list(_ask(conn, query))


# Owned by a column (serial, identity), or named in its default.
_FILLED_BY = """
SELECT DISTINCT a.attname, s.oid::regclass::text,
       coalesce((SELECT last_value FROM pg_sequences q WHERE (q.schemaname, q.sequencename) = (n.nspname, s.relname)),
                p.seqstart - p.seqincrement), p.seqincrement
FROM pg_attribute a
JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = a.attrelid AND d.refobjsubid = a.attnum
    AND d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
JOIN pg_sequence p ON p.seqrelid = s.oid
JOIN pg_namespace n ON n.oid = s.relnamespace
WHERE a.attrelid = to_regclass(%(table)s)
UNION
SELECT a.attname, s.oid::regclass::text,
       coalesce((SELECT last_value FROM pg_sequences q WHERE (q.schemaname, q.sequencename) = (n.nspname, s.relname)),
                p.seqstart - p.seqincrement), p.seqincrement
FROM pg_attrdef f
JOIN pg_attribute a ON a.attrelid = f.adrelid AND a.attnum = f.adnum
JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = f.oid AND d.refclassid = 'pg_class'::regclass
JOIN pg_class s ON s.oid = d.refobjid AND s.relkind = 'S'
JOIN pg_sequence p ON p.seqrelid = s.oid
JOIN pg_namespace n ON n.oid = s.relnamespace
WHERE f.adrelid = to_regclass(%(table)s)
ORDER BY 1, 2
"""


def _sequences(conn: Conn, spec: SequencesAhead) -> Found:
    absent = missing(conn, spec.tables)
    if absent:
        return Found(False, f"there is no table {', '.join(absent)}")
    behind: list[dict[str, str]] = []
    looked = 0
    for name in spec.tables:
        for filled, sequence, value, increment in conn.execute(_FILLED_BY, {"table": _quoted(name)}).fetchall():
            looked += 1
            end = sql.SQL("max") if increment > 0 else sql.SQL("min")
            row = conn.execute(
                sql.SQL("SELECT {}({}) FROM {}").format(end, sql.Identifier(filled), table(name))
            ).fetchone()
            most = row[0] if row else None
            if most is not None and (value < most if increment > 0 else value > most):
                behind.append(
                    {"table": str(name), "column": filled, "sequence": sequence, "at": str(value), "largest": str(most)}
                )
    if not looked:
        return Found(False, "no sequence fills a column of these tables")
    words = f"{len(behind)} of {looked} behind" if behind else f"{looked} ahead"
    return Found(not behind, words, tuple(behind))


def _statistics(conn: Conn, spec: FreshStatistics) -> Found:
    absent = missing(conn, spec.tables)
    if absent:
        return Found(False, f"there is no table {', '.join(absent)}")
    rows = _ask(
        conn,
        raw(
            "SELECT s.relid::regclass AS table_name, greatest(s.last_analyze, s.last_autoanalyze) AS analyzed,"
            " s.n_mod_since_analyze AS changed, greatest(c.reltuples, 0)::bigint AS rows"
            " FROM pg_stat_all_tables s JOIN pg_class c ON c.oid = s.relid WHERE s.relid = ANY(%s::regclass[])"
            " AND (greatest(s.last_analyze, s.last_autoanalyze) IS NULL"
            "      OR s.n_mod_since_analyze > greatest(c.reltuples, 0) * %s / 100) ORDER BY 1"
        ),
        ([_quoted(name) for name in spec.tables], spec.percent),
    )
    names = ", ".join(f"{row['table_name']} ({row['changed']} changed since)" for row in rows[:3])
    return Found(not rows, f"stale: {names}" if rows else "fresh", rows)


def _uses_index(conn: Conn, spec: UsesIndex, query: str) -> Found:
    row = conn.execute(
        "SELECT oid, reltuples FROM pg_class WHERE oid = to_regclass(%s)", (_quoted(spec.table),)
    ).fetchone()
    if row is None:
        return Found(False, f"there is no table {spec.table}")
    small = row[1] < SMALL_TABLE_ROWS
    if small:
        conn.execute("SET LOCAL enable_seqscan = off")
    answer = conn.execute(raw(f"EXPLAIN (FORMAT JSON, VERBOSE) {query.rstrip().rstrip(';')}")).fetchone()
    assert answer is not None
    names = _family(conn, row[0])
    touched = [
        node for node in _nodes(answer[0][0]["Plan"]) if (node.get("Schema"), node.get("Relation Name")) in names
    ]
    others = [node for node in touched if not _by_index(node, spec.index)]
    if small:
        conn.execute("SET LOCAL enable_seqscan = on")
    if not touched:
        return Found(False, f"the plan does not read {spec.table}")
    words = ", ".join(sorted({str(node.get("Index Name", node["Node Type"])) for node in touched}))
    return Found(not others, words + (" (few rows: tried without sequential scans)" if small else ""))


def _by_index(node: dict[str, Any], index: str) -> bool:
    """Whether a node of a plan reads by an index (the named one); the heap's part of a bitmap scan does."""
    if node["Node Type"] == "Bitmap Heap Scan":
        return True
    return "Index Name" in node and (not index or node["Index Name"] == index)


def _family(conn: Conn, oid: int) -> set[tuple[str, str]]:
    """The table and its partitions, by schema and name."""
    rows = conn.execute(
        "WITH RECURSIVE family AS (SELECT %s::oid AS oid UNION"
        " SELECT i.inhrelid FROM pg_inherits i JOIN family f ON f.oid = i.inhparent)"
        " SELECT n.nspname, c.relname FROM family JOIN pg_class c USING (oid) JOIN pg_namespace n ON n.oid = c.relnamespace",
        (oid,),
    ).fetchall()
    return {(schema, name) for schema, name in rows}


def _nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for child in plan.get("Plans", ()) for node in _nodes(child))]


def _size(conn: Conn, spec: Size) -> Found:
    absent = missing(conn, [name for name in (spec.table, spec.against) if name is not None])
    if absent:
        return Found(False, f"there is no table {', '.join(absent)}")
    size, rows = _bytes(conn, spec.table)
    if spec.megabytes is not None:
        return Found(size <= spec.megabytes * 1e6, f"{size / 1e6:,.1f} MB")
    assert spec.against is not None
    other, other_rows = _bytes(conn, spec.against)
    if not rows or not other_rows:
        return Found(True, "one of the tables has no rows yet")
    share = 100 * (size / rows) / (other / other_rows)
    words = f"{size / rows:,.0f} bytes a row, {other / other_rows:,.0f} in {spec.against}: {share:.0f} %"
    return Found(share <= spec.percent, words)


def _bytes(conn: Conn, name: TableName) -> tuple[int, int]:
    """Bytes with indexes, and rows counted, of a table and its partitions."""
    row = conn.execute(
        "WITH RECURSIVE family AS (SELECT to_regclass(%s)::oid AS oid UNION"
        " SELECT i.inhrelid FROM pg_inherits i JOIN family f ON f.oid = i.inhparent)"
        " SELECT sum(pg_total_relation_size(oid))::bigint FROM family",
        (_quoted(name),),
    ).fetchone()
    counted = conn.execute(sql.SQL("SELECT count(*) FROM {}").format(table(name))).fetchone()
    assert row is not None
    assert counted is not None
    return int(row[0]), int(counted[0])


_TRAFFIC = """
SELECT relid::regclass::text, coalesce(seq_scan, 0) + coalesce(idx_scan, 0), n_tup_ins + n_tup_upd + n_tup_del
FROM pg_stat_all_tables WHERE relid = ANY(%s::regclass[]) ORDER BY 1
"""


def quiet(conn: Conn, spec: Quiet, sleep: Callable[[float], None]) -> Found:
    """Watch the server's counters on an autocommit connection for the whole time, or until there is traffic."""
    absent = missing(conn, spec.tables)
    if absent:
        return Found(False, f"there is no table {', '.join(absent)}")
    names = [_quoted(name) for name in spec.tables]
    began = time.monotonic()
    before = conn.execute(_TRAFFIC, (names,)).fetchall()
    while (left := began + spec.seconds - time.monotonic()) > 0:
        sleep(min(left, 1.0))
        now = conn.execute(_TRAFFIC, (names,)).fetchall()
        seen = tuple(
            {"table": name, "scans": str(scans - old[1]), "rows written": str(written - old[2])}
            for (name, scans, written), old in zip(now, before, strict=True)
            if (scans, written) != tuple(old[1:])
        )
        if seen:
            used = ", ".join(row["table"] for row in seen)
            return Found(False, f"{used} used after {time.monotonic() - began:.0f} s", seen)
    return Found(True, f"no scan and no write for {spec.seconds} s")
