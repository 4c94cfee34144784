"""What carries rows again after a change in a lookup: one row's function, and the trigger that calls it at commit."""

from __future__ import annotations

import re

from psycopg import sql

from console.engine import derive
from console.engine.derive import Composed, ands, column, commas, raw, table
from console.engine.facts import MappingFacts, TableFacts
from console.engine.lookup_tables import indexed
from console.engine.naming import function_name, lookup_function, trigger_text
from console.journal.connect import Conn
from console.plan.model import Direction, Lookup, Mapping, TableName

AT_ONCE_ROWS = 100  # rows carried at the commit of one transaction; the rest is left to the runner
AT_ONCE_REJECTS = 20_000  # how many rejects are searched for rows that an addition makes good
# Far below deadlock_timeout: against other writers it is always the carrying at commit that gives way.
AT_ONCE_LOCK_TIMEOUT_MS = 100
SETTINGS = "SET timezone = 'UTC' SET datestyle = 'ISO, MDY'"  # values as texts: the same in every session


def resolved_column(mapping: Mapping, lookup: Lookup) -> str:
    """The new column that holds what the lookup gives; ``derive.back_lookups`` refuses a mapping without one."""
    return next(name for name, text in mapping.columns if derive.plain(text) == (lookup.name, lookup.gives))


def is_key(mapping: Mapping, lookup: Lookup) -> bool:
    """Whether the new key is made with it: then a change moves rows to other keys."""
    return any(part.lookup == lookup for part in derive.key_parts(mapping))


def plain_type(facts: TableFacts, name: str) -> Composed:
    """A column's type without its size: a cast to it cuts nothing off."""
    found = facts.column(name)
    assert found is not None
    text = re.sub(r"\(\d+(,\s*-?\d+)?\)", "", found.type)
    return raw({"character": "bpchar", "bit": "varbit"}.get(text, text))


def relook_name(mapping: Mapping, lookup: Lookup) -> sql.Identifier:
    """The function that carries one old row again after a change in a lookup."""
    return lookup_function(mapping, f"relook:{lookup.name}")


def _matches(lookup: Lookup, relation: str, old: str) -> Composed:
    return ands(sql.SQL("{} = {}").format(column(relation, theirs), column(old, o)) for theirs, o in lookup.match)


def _arguments(mapping: Mapping, old: TableName) -> Composed:
    return commas(
        sql.SQL("k_{} {}.{}%TYPE").format(raw(str(i)), table(old), sql.Identifier(name))
        for i, name in enumerate(mapping.old_key)
    )


def _this_row(mapping: Mapping) -> Composed:
    return ands(sql.SQL("{} = k_{}").format(column("o", n), raw(str(i))) for i, n in enumerate(mapping.old_key))


def _former_keys(mapping: Mapping, lookup: Lookup) -> Composed:
    """Carry each new key that this old row stood for, or could stand for: a good one, or one to be emptied."""
    if not is_key(mapping, lookup):
        return raw("")
    parts, joins = [], []
    for part in derive.key_parts(mapping):
        if part.lookup is None:
            parts.append(column("o", part.old))
        elif part.lookup == lookup:
            parts.append(raw("z.gives"))
        else:
            parts.append(column(part.lookup.name, part.lookup.gives))
            joins.append(derive.lookup_join(part.lookup, bulk=False))
    return sql.SQL(
        """
  FOR pgferry_key IN SELECT {parts} FROM (SELECT {one}) o {joins} CROSS JOIN LATERAL (
    SELECT pgferry_former AS gives WHERE pgferry_former IS NOT NULL UNION SELECT {gives} FROM {relation} r WHERE {matches}) z
  LOOP
    PERFORM {carry}({keys});
  END LOOP;"""
    ).format(
        parts=commas(sql.SQL("{} AS k_{}").format(p, raw(str(i))) for i, p in enumerate(parts)),
        one=commas(sql.SQL("k_{} AS {}").format(raw(str(i)), sql.Identifier(n)) for i, n in enumerate(mapping.old_key)),
        joins=sql.SQL(" ").join(joins),
        gives=column("r", lookup.gives),
        relation=table(lookup.relation),
        matches=_matches(lookup, "r", "o"),
        carry=function_name(mapping, "forward"),
        keys=commas(raw(f"pgferry_key.k_{i}") for i in range(len(parts))),
    )


def _renamed(mapping: Mapping, lookup: Lookup, old: TableName) -> Composed:
    """Give the old row the new canonical spelling when its own was renamed and the new table holds the row.

    Only with the reverse sync on: before, the old table is the truth and nothing of ours writes to it.
    """
    same = [
        sql.SQL("{} = k_{}").format(column("n", part.new), raw(str(mapping.old_key.index(part.old))))
        for part in derive.key_parts(mapping)
        if part.lookup is None
    ]
    held = ands([*same, sql.SQL("{} = pgferry_former").format(column("n", resolved_column(mapping, lookup)))])
    return sql.SQL(
        """
  IF pgferry_renamed AND EXISTS (SELECT 1 FROM pg_trigger WHERE tgrelid = {new_oid}::regclass AND tgname = {reverse}) THEN
    BEGIN
      UPDATE {old} o SET {set} FROM (SELECT r.*, count(*) OVER () AS pgferry_n FROM {relation} r
        WHERE {gives} = pgferry_former AND {canonical} LIMIT 1) c
      WHERE {this_row} AND c.pgferry_n = 1 AND EXISTS (SELECT 1 FROM {new} n WHERE {held})
        AND NOT EXISTS (SELECT 1 FROM {relation} r WHERE {matches});
    EXCEPTION WHEN data_exception OR integrity_constraint_violation THEN
      NULL;
    END;
  END IF;"""
    ).format(
        new_oid=sql.Literal(table(mapping.new).as_string(None)),
        reverse=sql.Literal(trigger_text(Direction.REVERSE)),
        old=table(old),
        set=commas(sql.SQL("{} = {}").format(sql.Identifier(o), column("c", c)) for c, o in lookup.match),
        relation=table(lookup.relation),
        gives=column("r", lookup.gives),
        canonical=column("r", lookup.canonical),
        this_row=_this_row(mapping),
        new=table(mapping.new),
        held=held,
        matches=_matches(lookup, "r", "o"),
    )


def relook(mapping: Mapping, lookup: Lookup, old: TableName) -> sql.Composed:
    """Function: a lookup changed; carry one old row whose value ``pgferry_former`` was, or is, what it gives."""
    keys = commas(raw(f"k_{i}") for i in range(len(mapping.old_key)))
    return sql.SQL(
        """CREATE OR REPLACE FUNCTION {name}({arguments}, pgferry_former {new}.{resolved}%TYPE, pgferry_renamed boolean)
RETURNS void LANGUAGE plpgsql
AS $pgferry$
DECLARE
  pgferry_key record;
BEGIN
  PERFORM 1 FROM {old} o WHERE {this_row} FOR NO KEY UPDATE;  -- what is read of it stays true until it is carried{rename}{former}
  PERFORM {touch}({keys}, NOT EXISTS (SELECT 1 FROM {old} o WHERE {this_row}));
END
$pgferry$"""
    ).format(
        name=relook_name(mapping, lookup),
        arguments=_arguments(mapping, old),
        new=table(mapping.new),
        resolved=sql.Identifier(resolved_column(mapping, lookup)),
        rename=_renamed(mapping, lookup, old),
        former=_former_keys(mapping, lookup),
        touch=function_name(mapping, "touch_old"),
        keys=keys,
        old=table(old),
        this_row=_this_row(mapping),
    )


def matched(lookup: Lookup, facts: MappingFacts, change: str, old: str = "o") -> Composed:
    """Condition: an old row has the values of a noted change."""
    return ands(
        sql.SQL("{} = ({}.match->>{})::{}").format(
            column(old, o), raw(change), sql.Literal(c), plain_type(facts.old, o)
        )
        for c, o in lookup.match
    )


def _find_name(mapping: Mapping, lookup: Lookup) -> sql.Identifier:
    return lookup_function(mapping, f"find:{lookup.name}")


def find(conn: Conn, mapping: Mapping, lookup: Lookup, facts: MappingFacts) -> sql.Composed:
    """Function: the old keys that a change concerns, one more than may be carried; by an index, or among the rejects.

    A function of its own, as its settings must not reach the plans of what carries. Without an index scan the planner
    could walk the whole table for a few rows; its costs then look high enough for JIT, which would take longer still.
    """
    by_index, _ = at_once(conn, mapping, lookup, facts)
    if by_index:
        keys = sql.SQL("SELECT {} AS key FROM {} o WHERE {} LIMIT {}").format(
            derive.key_json("o", mapping.old_key), table(facts.old.name), matched(lookup, facts, "given"),
            sql.Literal(AT_ONCE_ROWS + 1),
        )  # fmt: skip
    else:
        as_old = commas(sql.SQL("{}, given.match->>{}").format(sql.Literal(o), sql.Literal(c)) for c, o in lookup.match)
        keys = sql.SQL(
            "SELECT r.key FROM (SELECT key FROM pgferry.reject WHERE mapping = {} AND direction = 'forward' LIMIT {}) r"
            " WHERE r.key @> jsonb_build_object({}) LIMIT {}"
        ).format(
            sql.Literal(mapping.id), sql.Literal(AT_ONCE_REJECTS), as_old, sql.Literal(AT_ONCE_ROWS + 1)
        )  # fmt: skip
    return sql.SQL(
        """CREATE OR REPLACE FUNCTION {name}(given pgferry.lookup_change) RETURNS jsonb LANGUAGE plpgsql
SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off
AS $pgferry$
BEGIN
  RETURN (SELECT coalesce(jsonb_agg(f.key ORDER BY f.key), '[]') FROM ({keys}) f);
END
$pgferry$"""
    ).format(name=_find_name(mapping, lookup), keys=keys)


def _complete(mapping: Mapping, lookup: Lookup, *, by_index: bool) -> Composed:
    """Condition: the rows that are found are all that the change concerns."""
    if by_index:
        return raw("true")
    alone = ands(sql.SQL("{}::text = NEW.match->>{}").format(column("r", c), sql.Literal(c)) for c, _ in lookup.match)
    return sql.SQL(
        "NOT NEW.removed AND (SELECT count(*) FROM {} r WHERE {}) = 1 AND (SELECT count(*) FROM (SELECT 1 FROM"
        " pgferry.reject WHERE mapping = {} AND direction = 'forward' LIMIT {}) x) < {}"
    ).format(
        table(lookup.relation), alone, sql.Literal(mapping.id), sql.Literal(AT_ONCE_REJECTS),
        sql.Literal(AT_ONCE_REJECTS),
    )  # fmt: skip


def _one_lookup_at_commit(mapping: Mapping, lookup: Lookup, facts: MappingFacts, *, by_index: bool) -> Composed:
    return sql.SQL(
        """
  IF NEW.lookup = {lookup} AND {complete} THEN
    found := {find}(NEW);
    spent := spent + jsonb_array_length(found);
    IF spent > {most} THEN
      RETURN NULL;
    END IF;
    FOR k IN SELECT f.key FROM jsonb_array_elements(found) f(key) LOOP
      PERFORM {relook}({keys}, NEW.gives::{gives_type}, NEW.removed AND NEW.canonical);
    END LOOP;
    PERFORM set_config('pgferry.carried', spent::text, true);
    UPDATE pgferry.lookup_change SET carried = true WHERE id = NEW.id;
  END IF;"""
    ).format(
        lookup=sql.Literal(lookup.name),
        complete=_complete(mapping, lookup, by_index=by_index),
        find=_find_name(mapping, lookup),
        most=sql.Literal(AT_ONCE_ROWS),
        relook=relook_name(mapping, lookup),
        keys=commas(
            sql.SQL("(k.key->>{})::{}").format(sql.Literal(n), plain_type(facts.old, n)) for n in mapping.old_key
        ),
        gives_type=plain_type(facts.new, resolved_column(mapping, lookup)),
    )


def at_once(conn: Conn, mapping: Mapping, lookup: Lookup, facts: MappingFacts) -> tuple[bool, bool]:
    """(whether an index finds the rows of a change, whether anything can be carried at commit)."""
    columns = tuple(o for _, o in lookup.match)
    by_index = indexed(conn, facts.old.name, columns)
    return by_index, by_index or set(columns) <= set(mapping.old_key)


def at_commit(conn: Conn, mapping: Mapping, facts: MappingFacts, lookups: tuple[Lookup, ...]) -> sql.Composed:
    """The deferred trigger's function. Whatever fails in it leaves the note, and the writer's commit goes on."""
    able = [(lookup, *at_once(conn, mapping, lookup, facts)) for lookup in lookups]
    schemas = dict.fromkeys([facts.old.name.schema, mapping.new.schema, *(k.relation.schema for k in mapping.lookups)])
    return sql.SQL(
        """CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, {path}, pg_temp {settings}
SET lock_timeout = {patience}
AS $pgferry$
DECLARE
  k record;
  found jsonb;
  spent integer := coalesce(nullif(current_setting('pgferry.carried', true), '')::integer, 0);
BEGIN{lookups}
  RETURN NULL;
EXCEPTION WHEN OTHERS THEN
  RETURN NULL;
END
$pgferry$"""
    ).format(
        name=lookup_function(mapping, "lookups at commit"),
        path=commas(sql.Identifier(schema) for schema in schemas),
        settings=raw(SETTINGS),
        patience=sql.Literal(f"{AT_ONCE_LOCK_TIMEOUT_MS}ms"),
        lookups=sql.SQL("").join(
            _one_lookup_at_commit(mapping, lookup, facts, by_index=by_index) for lookup, by_index, can in able if can
        ),
    )
