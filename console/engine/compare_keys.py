"""Comparison of tables whose keys begin differently, so that no bound cuts both alike: by the old key, then by the new.

First the old rows are walked by their own key, and each looks up the new row that it stands for; then the new rows are
walked by theirs, and each looks for an old row that stands behind it. What looks wrong in a part is judged closely, by
its keys and in a snapshot of its own.
"""

from __future__ import annotations

from dataclasses import replace

from psycopg import sql

from console.engine import compare_close, compare_sql, derive, ranges
from console.engine.compare_sql import Part, Question
from console.engine.derive import Composed, ands, column, raw, table
from console.engine.verdict import Answer
from console.journal.connect import Conn
from console.journal.difference import Values
from console.plan.model import Direction, Mapping

CLOSE_KEYS = 1000  # judged closely in one statement


def twins_possible(conn: Conn, mapping: Mapping) -> bool:
    """Whether two old rows of canonical spelling may stand for one new key."""
    parts = derive.key_parts(mapping)
    told = {part.old for part in parts if part.old}
    for part in parts:
        if part.lookup is None:
            continue
        told.update(old for _, old in part.lookup.match)
        row = conn.execute(
            sql.SQL("SELECT EXISTS (SELECT 1 FROM {} r WHERE r.{} GROUP BY r.{} HAVING count(*) > 1)").format(
                table(part.lookup.relation), sql.Identifier(part.lookup.canonical), sql.Identifier(part.lookup.gives)
            )
        ).fetchone()
        if row and row[0]:
            return True
    return not told.issuperset(mapping.old_key)


def _behind(q: Question, key: dict[str, Composed]) -> Composed:
    """FROM item's inside: the old rows that the new shape takes and that stand for a new key."""
    source = derive.preimage(q.mapping, q.old, key)
    return sql.SQL("({}) w WHERE w.pgferry_reason IS NULL").format(
        derive.forward(q.mapping, q.facts, source, bulk=False)
    )


def old_part(q: Question, part: Part, names: tuple[str, ...], *, twins: bool) -> sql.Composed:
    """One row: old rows, those listed, those with their new row, and as JSON the new and old keys that look wrong."""
    m = q.mapping
    old = sql.SQL("(SELECT s.* FROM {} s WHERE {})").format(
        table(q.old), ranges.between("s", names, part.low, part.high)
    )
    same = ands(sql.SQL("{} = {}").format(column("m", k), column("t", k)) for k in m.new_key)
    new = compare_sql.back_source(q, sql.SQL("(SELECT m.* FROM {} m WHERE {})").format(table(m.new), same))
    listed = compare_sql.listed(q, Direction.FORWARD, derive.projected_key(m, "t"))
    several = sql.SQL("(SELECT count(*) FROM {}) > 1").format(_behind(q, {k: column("t", k) for k in m.new_key}))
    return sql.SQL(
        """SELECT count(*), count(*) FILTER (WHERE t.listed), count(*) FILTER (WHERE t.fits AND NOT t.listed AND n.here),
  jsonb_agg({new_key}) FILTER (WHERE t.fits AND NOT t.listed AND (n.here IS NULL OR n.differs OR {several})),
  jsonb_agg({old_key}) FILTER (WHERE NOT t.fits AND NOT t.listed)
FROM (
  SELECT t.*, t.pgferry_fits AS fits, CASE WHEN t.pgferry_fits AND t.pgferry_canonical THEN false ELSE {listed} END AS listed
  FROM (SELECT x.*, x.pgferry_reason IS NULL AS pgferry_fits FROM ({projection}) x OFFSET 0) t OFFSET 0
) t LEFT JOIN LATERAL (
  SELECT true AS here, ROW({of_n}) IS DISTINCT FROM ROW({of_t}) AS differs FROM {new} LIMIT 1
) n ON t.fits AND NOT t.listed"""
    ).format(
        new_key=compare_sql.texts("t", m.new_key),
        several=sql.SQL("CASE WHEN {} THEN {} ELSE false END").format(
            raw("true") if twins else raw("NOT t.pgferry_canonical"), several
        ),
        old_key=derive.projected_key(m, "t"),
        listed=listed,
        projection=derive.forward(m, q.facts, old, bulk=True),
        of_n=derive.commas([*compare_sql.new_values(q, "n", q.names), *compare_sql.claimed_new(q)]),
        of_t=derive.commas([*compare_sql.new_values(q, "t", q.names), *compare_sql.claimed_old(q, "t")]),
        new=new,
    )


def new_part(q: Question, part: Part, names: tuple[str, ...]) -> sql.Composed:
    """One row: new rows, and as JSON the keys of those that no old row stands behind, or that are there twice."""
    m = q.mapping
    behind = _behind(q, {k: column("t", k) for k in m.new_key})
    twice: Composed = raw("false")
    if q.facts is not None and not q.facts.new.guarantees(m.new_key):
        same = ands(sql.SQL("{} = {}").format(column("d", k), column("t", k)) for k in m.new_key)
        twice = sql.SQL("(SELECT count(*) FROM {} d WHERE {}) > 1").format(table(m.new), same)
    return sql.SQL(
        "SELECT count(*), jsonb_agg({key}) FILTER (WHERE (SELECT count(*) FROM {behind}) = 0 OR {twice})"
        " FROM {new} t WHERE {part}"
    ).format(
        key=compare_sql.texts("t", m.new_key),
        behind=behind,
        twice=twice,
        new=table(m.new),
        part=ranges.between("t", names, part.low, part.high),
    )


def judge_old(conn: Conn, q: Question, part: Part, *, twins: bool) -> Answer:
    """The old rows of a part, each against its new row."""
    assert q.facts is not None
    row = conn.execute(old_part(q, part, ranges.index_order(q.facts.old, q.mapping.old_key), twins=twins)).fetchone()
    assert row is not None
    old, listed, here, new_keys, old_keys = row
    found = closely(conn, q, new_keys or [], old_keys or [])
    faults = {kind: rows for kind, rows in found.faults.items() if kind != "extra"}
    differences = tuple(d for d in found.differences if d.kind != "extra")
    return Answer(old, here, listed, faults, found.held - found.held_extra, 0, differences)


def judge_new(conn: Conn, q: Question, part: Part) -> Answer:
    """The new rows of a part that no old row stands behind."""
    assert q.facts is not None
    row = conn.execute(new_part(q, part, ranges.index_order(q.facts.new, q.mapping.new_key))).fetchone()
    assert row is not None
    _, keys = row
    found = closely(conn, q, keys or [], [])
    differences = tuple(
        d for d in found.differences if d.kind == "extra" or (d.kind == "duplicate" and d.side == "new")
    )
    faults: dict[str, int] = {}
    for difference in differences:
        faults[difference.kind] = faults.get(difference.kind, 0) + 1
    return Answer(
        0, sum(faults.values()) + found.held_extra, 0, faults, found.held_extra, found.held_extra, differences
    )


def closely(conn: Conn, q: Question, new_keys: list[Values], old_keys: list[Values]) -> Answer:
    """Every row of these keys, in as many statements as needed; all that differ are named."""
    total = Answer(0, 0, 0)
    steps = max(-(-len(new_keys) // CLOSE_KEYS), -(-len(old_keys) // CLOSE_KEYS))
    for step in range(steps):
        part = slice(step * CLOSE_KEYS, (step + 1) * CLOSE_KEYS)
        old, new = compare_close.of_keys(q, new_keys[part], old_keys[part])
        statement = compare_close.close(q, old, new, limit=100 * CLOSE_KEYS, bulk=False)
        row = conn.execute(statement).fetchone()
        assert row is not None
        found = compare_close.answer(row)
        faults = {k: total.faults.get(k, 0) + found.faults.get(k, 0) for k in {*total.faults, *found.faults}}
        total = replace(
            total, old=total.old + found.old, new=total.new + found.new, rejected=total.rejected + found.rejected,
            faults=faults, held=total.held + found.held, held_extra=total.held_extra + found.held_extra,
            differences=(*total.differences, *found.differences),
        )  # fmt: skip
    return total
