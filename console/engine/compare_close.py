"""The close statement of a comparison: row by row, every difference with its kind, its key and both sides' values.

It is asked about a part of the tables, or about keys; the rows it is given must be all that can stand for a key.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from psycopg import sql
from psycopg.types.json import Jsonb

from console.engine import derive
from console.engine.compare_sql import (
    Question,
    back_source,
    claimed_new,
    claimed_old,
    claims,
    from_json,
    listed,
    new_values,
    texts,
)
from console.engine.derive import Composed, ands, column, commas, raw, table
from console.engine.row_values import Typed
from console.engine.verdict import Answer
from console.journal.difference import Difference, Values
from console.plan.model import Direction


def _with_claims(q: Question, values: Composed, claimed: list[Composed]) -> Composed:
    """Values as JSON, with those of the way back where it claims more than the way forward."""
    if not claimed:
        return values
    pairs = (
        sql.SQL("{}, ({})::text").format(sql.Literal(f"{old} (back)"), value)
        for (old, _), value in zip(claims(q), claimed, strict=True)
    )
    return sql.SQL("{} || jsonb_build_object({})").format(values, commas(pairs))


def close(q: Question, old: Composed, new: Composed, *, limit: int, bulk: bool = True) -> sql.Composed:
    """One row: old rows, new rows, {kind: rows}, and up to ``limit`` differences as JSON, by key.

    ``old`` and ``new`` are FROM items with every row of both tables that can stand for the keys in question. The
    kinds are those of ``journal.difference`` and: ``rejected`` (refused or lost its key, and listed), ``held``
    (changed, or only in the new table, and listed as what the old shape cannot hold; ``held_extra`` the latter).
    """
    m = q.mapping
    marks = [raw(f"pgferry_back_{i}") for i in range(len(claims(q)))]
    old_claims = commas([raw(""), *(sql.SQL("{} AS {}").format(v, c) for v, c in zip(claimed_old(q, "p"), marks, strict=True))])  # fmt: skip
    new_claims = commas([raw(""), *(sql.SQL("{} AS {}").format(v, c) for v, c in zip(claimed_new(q), marks, strict=True))])  # fmt: skip
    keys = commas(column("p", name) for name in m.new_key)
    of_g = [*new_values(q, "g", q.names), *(sql.SQL("g.{}").format(c) for c in marks)]
    of_n = [*new_values(q, "n", q.names), *(sql.SQL("n.{}").format(c) for c in marks)]
    names = [*q.names, *(f"{old} (back)" for old, _ in claims(q))]
    return sql.SQL(
        """WITH p AS MATERIALIZED (
  SELECT p.*{old_claims}, p.pgferry_reason IS NULL AS pgferry_fits, row_number() OVER (
    PARTITION BY p.pgferry_reason IS NULL, {keys} ORDER BY p.pgferry_canonical DESC, {order}) AS pgferry_place
  FROM ({projection}) p
), n AS MATERIALIZED (
  SELECT n.*{new_claims}, true AS pgferry_here, row_number() OVER (PARTITION BY {n_keys}) AS pgferry_place FROM {new}
), seen AS (
  SELECT CASE WHEN n.pgferry_place > 1 THEN 'duplicate'
              WHEN n.pgferry_here IS NULL THEN CASE WHEN {g_listed} THEN 'rejected' ELSE 'missing' END
              WHEN g.pgferry_fits IS NULL THEN CASE WHEN {held} THEN 'held_extra' ELSE 'extra' END
              WHEN ROW({of_g}) IS DISTINCT FROM ROW({of_n}) THEN CASE WHEN {held} THEN 'held' ELSE 'changed' END
         END AS kind, 'new' AS side, CASE WHEN g.pgferry_fits THEN {g_key} ELSE {n_key} END AS key,
    CASE WHEN g.pgferry_fits THEN {g_values} END AS old, CASE WHEN n.pgferry_here THEN {n_values} END AS new,
    CASE WHEN g.pgferry_fits AND n.pgferry_here THEN array_remove(ARRAY[{differ}], NULL) END AS columns
  FROM (SELECT p.* FROM p WHERE p.pgferry_fits AND p.pgferry_place = 1) g FULL JOIN n ON {join}
  UNION ALL
  SELECT CASE WHEN {p_listed} THEN 'rejected' WHEN p.pgferry_fits THEN 'duplicate' ELSE 'unlisted' END, 'old', {p_key},
    {p_values}, NULL, NULL
  FROM p WHERE NOT (p.pgferry_fits AND p.pgferry_place = 1)
), found AS MATERIALIZED (SELECT s.* FROM seen s WHERE s.kind IS NOT NULL)
SELECT (SELECT count(*) FROM p), (SELECT count(*) FROM n),
  (SELECT coalesce(jsonb_object_agg(kind, rows), '{{}}') FROM (SELECT kind, count(*) AS rows FROM found GROUP BY 1) k),
  (SELECT jsonb_agg(to_jsonb(d)) FROM (SELECT f.* FROM found f WHERE f.kind NOT IN ('rejected', 'held', 'held_extra')
     ORDER BY f.key::text LIMIT {limit}) d)"""
    ).format(
        old_claims=old_claims if marks else raw(""),
        new_claims=new_claims if marks else raw(""),
        keys=keys,
        order=commas(column("p", f"pgferry_old_{i}") for i in range(len(m.old_key))),
        projection=derive.forward(m, q.facts, old, bulk=bulk),
        n_keys=commas(column("n", name) for name in m.new_key),
        new=back_source(q, new),
        g_listed=listed(q, Direction.FORWARD, derive.projected_key(m, "g")),
        held=listed(q, Direction.REVERSE, derive.key_json("n", m.new_key)),
        of_g=commas(of_g),
        of_n=commas(of_n),
        differ=commas(
            sql.SQL("CASE WHEN {} IS DISTINCT FROM {} THEN {} END").format(a, b, sql.Literal(name))
            for a, b, name in zip(of_g, of_n, names, strict=True)
        ),
        g_key=texts("g", m.new_key),
        n_key=texts("n", m.new_key),
        g_values=_with_claims(q, texts("g", q.names), [sql.SQL("g.{}").format(c) for c in marks]),
        n_values=_with_claims(q, texts("n", q.names), [sql.SQL("n.{}").format(c) for c in marks]),
        join=ands(sql.SQL("{} = {}").format(column("g", k), column("n", k)) for k in m.new_key),
        p_listed=listed(q, Direction.FORWARD, derive.projected_key(m, "p")),
        p_key=derive.projected_key(m, "p"),
        p_values=texts("p", q.names),
        limit=sql.Literal(limit),
    )


def given(keys: Sequence[Values]) -> Composed:
    """FROM item ``k(key)``: keys as JSON. Not parameters: a plan's expressions may hold a percent sign."""
    return sql.SQL("jsonb_array_elements({}) k(key)").format(sql.Literal(Jsonb(list(keys))))


def of_keys(q: Question, new_keys: Sequence[Values], old_keys: Sequence[Values]) -> tuple[Composed, Composed]:
    """FROM items: every row of both tables that can stand for new keys, and for the keys that old ones resolve to."""
    m = q.mapping
    wanted: dict[str, Composed] = {name: from_json(q.new_type(name), "k.key", name) for name in m.new_key}
    by_new = derive.preimage(m, q.old, wanted)
    named = _named(q, old_keys)
    projected = derive.forward(m, q.facts, named, bulk=False)
    resolved: dict[str, Composed] = {name: column("t", name) for name in m.new_key}
    twins = derive.preimage(m, q.old, resolved)
    old = sql.SQL(
        "(SELECT DISTINCT ON ({keys}) z.* FROM ("
        "SELECT y.* FROM {new_keys} CROSS JOIN LATERAL {by_new} y"
        " UNION ALL SELECT y.* FROM {named} y"
        " UNION ALL SELECT y.* FROM ({projected}) t CROSS JOIN LATERAL {twins} y WHERE t.pgferry_reason IS NULL) z)"
    ).format(
        keys=commas(column("z", n) for n in m.old_key), new_keys=given(new_keys), by_new=by_new, named=named,
        projected=projected, twins=twins,
    )  # fmt: skip
    new = sql.SQL(
        "(SELECT m.* FROM (SELECT {wanted} FROM {new_keys}"
        " UNION SELECT {resolved} FROM ({projected}) t WHERE t.pgferry_reason IS NULL) u JOIN {new} m ON {same})"
    ).format(
        wanted=commas(sql.SQL("{} AS {}").format(value, sql.Identifier(n)) for n, value in wanted.items()),
        new_keys=given(new_keys),
        resolved=commas(resolved.values()),
        projected=projected,
        new=table(m.new),
        same=ands(sql.SQL("{} = {}").format(column("m", n), column("u", n)) for n in m.new_key),
    )
    return old, new


def _named(q: Question, old_keys: Sequence[Values]) -> Composed:
    """FROM item: the old rows with these keys."""
    same = same_key("q", q.mapping.old_key, q.old_type)
    return sql.SQL("(SELECT q.* FROM {} JOIN {} q ON {})").format(given(old_keys), table(q.old), same)


def same_key(alias: str, names: tuple[str, ...], types: Callable[[str], Typed]) -> Composed:
    """Condition: the row's key is the one in ``k.key``."""
    return ands(sql.SQL("{} = {}").format(column(alias, n), from_json(types(n), "k.key", n)) for n in names)


def resolved_keys(q: Question, old_keys: Sequence[Values]) -> sql.Composed:
    """The new keys, as JSON, of those old rows that the new shape takes."""
    return sql.SQL("SELECT DISTINCT {} FROM ({}) t WHERE t.pgferry_reason IS NULL").format(
        texts("t", q.mapping.new_key), derive.forward(q.mapping, q.facts, _named(q, old_keys), bulk=False)
    )


def answer(row: tuple[Any, ...]) -> Answer:
    """The one row of ``close`` as an answer."""
    old, new, kinds, differences = row
    rejected = kinds.pop("rejected", 0)
    extra = kinds.pop("held_extra", 0)
    held = kinds.pop("held", 0) + extra
    named = tuple(
        Difference(d["kind"], d["side"], d["key"], d["old"], d["new"], tuple(d["columns"] or ()))
        for d in differences or ()
    )
    return Answer(old, new, rejected, kinds, held, extra, named)
