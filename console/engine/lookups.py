"""Changes in lookups, seen by triggers on their tables: noted, and carried at commit where they concern few rows.

A trigger compares the lookup's rows before and after the statement; each one that came or went is noted in
``pgferry.lookup_change`` in the writer's own transaction. At its commit a deferred trigger carries the rows that
resolve through it, if an index finds them and they are few; a failure there leaves the note and never the writer's
commit. ``console.engine.lookup_changes`` works notes off for good before rows are compared.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from psycopg import sql

from console.engine.derive import Composed, ands, column, commas, raw, table
from console.engine.facts import MappingFacts
from console.engine.lookup_rows import SETTINGS, at_commit, at_once, find, relook
from console.engine.lookup_tables import Base, bases, texts
from console.engine.naming import SCHEMA, lookup_function, lookup_prefix
from console.engine.sync import Runnable
from console.journal.connect import Conn
from console.plan.model import Changes, Lookup, Mapping, TableName

# A statement that changes more rows of a lookup leaves them all to the runner; each is carried in a subtransaction, of
# which a transaction should have fewer than 64.
AT_ONCE_CHANGES = 50
_EVENTS = (
    ("insert", "AFTER INSERT", "REFERENCING NEW TABLE AS pgferry_new"),
    ("update", "AFTER UPDATE", "REFERENCING OLD TABLE AS pgferry_old NEW TABLE AS pgferry_new"),
    ("delete", "AFTER DELETE", "REFERENCING OLD TABLE AS pgferry_old"),
    ("truncate", "BEFORE TRUNCATE", ""),
)


def watched(mapping: Mapping) -> tuple[Lookup, ...]:
    """The lookups whose changes the plan wants seen."""
    return tuple(lookup for lookup in mapping.lookups if lookup.changes is not Changes.UNCOVERED)


def _names(mapping: Mapping, lookup: Lookup, number: int) -> sql.Identifier:
    return lookup_function(mapping, f"lookup:{lookup.name}:{number}")


def _watch_name(mapping: Mapping, lookup: Lookup, event: str) -> sql.Identifier:
    """A trigger's name, cut to what PostgreSQL takes and still its own."""
    name = f"zz_pgferry_lookup_{mapping.id}_{lookup.name}"
    if len(name) > 50:
        name = f"zz_pgferry_lookup_{sha256(name.encode()).hexdigest()[:16]}"
    return sql.Identifier(f"{name}_{event}")


def _at_commit_name(mapping: Mapping) -> sql.Identifier:
    return sql.Identifier(f"at_commit_{sha256(mapping.id.encode()).hexdigest()[:16]}")


def _tuples(lookup: Lookup, source: Composed) -> Composed:
    """Rows of the relation as one jsonb array, values as texts."""
    match = commas(sql.SQL("{}, {}::text").format(sql.Literal(c), column("v", c)) for c, _ in lookup.match)
    return sql.SQL(
        "(SELECT coalesce(jsonb_agg(jsonb_build_object('match', jsonb_build_object({match}), 'gives', {gives}::text,"
        " 'canonical', coalesce({canonical}, false))), '[]') FROM {source} v)"
    ).format(
        match=match, gives=column("v", lookup.gives), canonical=column("v", lookup.canonical), source=source
    )  # fmt: skip


def _forbidden(lookup: Lookup) -> Composed:
    """Refuse what takes a value away, or makes one stand for several."""
    if lookup.changes is not Changes.FORBID:
        return raw("")
    several = ands(
        sql.SQL("{}::text = a.value->'match'->>{}").format(column("r", c), sql.Literal(c)) for c, _ in lookup.match
    )
    return sql.SQL(
        """
  IF EXISTS (SELECT value FROM jsonb_array_elements(before) EXCEPT ALL SELECT value FROM jsonb_array_elements(after))
    OR EXISTS (SELECT 1 FROM (SELECT value FROM jsonb_array_elements(after)
        EXCEPT ALL SELECT value FROM jsonb_array_elements(before)) a
      WHERE (SELECT count(*) FROM {relation} r WHERE {several}) > 1) THEN
    RAISE EXCEPTION '%', {words} USING ERRCODE = 'restrict_violation',
      HINT = 'Adding values is allowed. Change others after the migration, or go back to before the sync.';
  END IF;"""
    ).format(
        relation=table(lookup.relation),
        several=several,
        words=sql.Literal(
            f"rows resolve through {lookup.relation}: the migration's plan forbids to change or remove its values, or to"
            " make one ambiguous, while the sync is on"
        ),
    )


def _watch_function(mapping: Mapping, lookup: Lookup, number: int, base: Base, *, at_once: bool) -> sql.Composed:
    """The trigger function of one table behind a lookup."""
    before, after = raw("pgferry_old"), raw("pgferry_new")
    return sql.SQL(
        """CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, {path}, pg_temp {settings}
AS $pgferry$
DECLARE
  before jsonb := '[]';
  after jsonb := '[]';
BEGIN
  IF TG_OP = 'UPDATE' THEN
    IF NOT EXISTS (SELECT {of_old} FROM pgferry_old w EXCEPT ALL SELECT {of_new} FROM pgferry_new w) THEN
      RETURN NULL;
    END IF;
    before := {rows_before};
    after := {rows_after};
  ELSIF TG_OP = 'INSERT' THEN
    after := {rows_after};
  ELSIF TG_OP = 'DELETE' THEN
    before := {rows_before};
  ELSE
    before := {all_rows};
  END IF;{forbidden}
  INSERT INTO pgferry.lookup_change (mapping, lookup, match, gives, canonical, removed, at_once)
  SELECT {mapping}, {lookup}, c.value->'match', c.value->>'gives', (c.value->>'canonical')::boolean, c.removed,
    {at_once} AND count(*) OVER () <= {most}
  FROM (
    SELECT b.value, true AS removed FROM (SELECT value FROM jsonb_array_elements(before)
      EXCEPT ALL SELECT value FROM jsonb_array_elements(after)) b
    UNION ALL
    SELECT a.value, false FROM (SELECT value FROM jsonb_array_elements(after)
      EXCEPT ALL SELECT value FROM jsonb_array_elements(before)) a
  ) c;
  RETURN NULL;
END
$pgferry$"""
    ).format(
        name=_names(mapping, lookup, number),
        path=commas(sql.Identifier(schema) for schema in base.schemas),
        settings=raw(SETTINGS),
        of_old=texts("w", base.columns),
        of_new=texts("w", base.columns),
        rows_before=_tuples(lookup, base.over(before, lookup)),
        rows_after=_tuples(lookup, base.over(after, lookup)),
        all_rows=_tuples(lookup, table(lookup.relation)),
        forbidden=_forbidden(lookup),
        mapping=sql.Literal(mapping.id),
        lookup=sql.Literal(lookup.name),
        at_once=raw("true" if at_once else "false"),
        most=raw(str(AT_ONCE_CHANGES)),
    )


def functions(conn: Conn, mapping: Mapping, facts: MappingFacts) -> list[Runnable]:
    """Statements that make (or remake) the functions; no table is locked. Raises Refused for a lookup beyond us."""
    made: list[Runnable] = []
    for lookup in watched(mapping):
        _, can = at_once(conn, mapping, lookup, facts)
        made.append(relook(mapping, lookup, facts.old.name))
        if can:
            made.append(find(conn, mapping, lookup, facts))
        made += [
            _watch_function(mapping, lookup, number, base, at_once=can)
            for number, base in enumerate(bases(conn, mapping, lookup))
        ]
    if made:
        made += [
            at_commit(conn, mapping, facts, watched(mapping)),
            raw("REVOKE ALL ON ALL FUNCTIONS IN SCHEMA pgferry FROM PUBLIC"),
        ]
    return made


def triggers(conn: Conn, mapping: Mapping) -> list[tuple[TableName, list[Runnable]]]:
    """For each table behind the lookups, and the journal's notes, the triggers it lacks; a barrier like the sync's own."""
    made: list[tuple[TableName, list[Runnable]]] = []
    if not watched(mapping):
        return made
    notes = TableName(SCHEMA, "lookup_change")
    if not _there(conn, notes, _at_commit_name(mapping)):
        statement = sql.SQL(
            "CREATE CONSTRAINT TRIGGER {} AFTER INSERT ON {} DEFERRABLE INITIALLY DEFERRED FOR EACH ROW"
            " WHEN (NEW.mapping = {} AND NEW.at_once) EXECUTE FUNCTION {}()"
        ).format(
            _at_commit_name(mapping), table(notes), sql.Literal(mapping.id), lookup_function(mapping, "lookups at commit")
        )  # fmt: skip
        made.append((notes, [statement]))
    for lookup in watched(mapping):
        for number, base in enumerate(bases(conn, mapping, lookup)):
            lacks: list[Runnable] = [
                sql.SQL("CREATE TRIGGER {} {} ON {} {} FOR EACH STATEMENT EXECUTE FUNCTION {}()").format(
                    _watch_name(mapping, lookup, event), raw(when), table(base.name), raw(rows),
                    _names(mapping, lookup, number),
                )
                for event, when, rows in _EVENTS
                if not _there(conn, base.name, _watch_name(mapping, lookup, event))
            ]  # fmt: skip
            if lacks:
                made.append((base.name, lacks))
    return made


def _there(conn: Conn, owner: TableName, name: sql.Identifier) -> bool:
    row = conn.execute(
        "SELECT EXISTS (SELECT 1 FROM pg_trigger WHERE tgrelid = to_regclass(%s) AND tgname = %s)",
        (table(owner).as_string(None), name.as_string(None).strip('"')),
    ).fetchone()
    return bool(row and row[0])


def _made(conn: Conn, mapping: Mapping) -> list[tuple[Any, ...]]:
    """Everything this module made for the mapping, a row for each trigger of each function.

    (function, trigger, its table's schema, its name, whether the trigger is enabled, whether it is for triggers)
    """
    return conn.execute(
        "SELECT p.oid::regprocedure::text, t.tgname::text, n.nspname::text, c.relname::text, t.tgenabled::text,"
        " p.prorettype = 'trigger'::regtype FROM pg_proc p"
        " LEFT JOIN pg_trigger t ON t.tgfoid = p.oid LEFT JOIN pg_class c ON c.oid = t.tgrelid"
        " LEFT JOIN pg_namespace n ON n.oid = c.relnamespace WHERE p.pronamespace = to_regnamespace(%s)"
        " AND starts_with(p.proname, %s) ORDER BY 4, 2, 1",
        (SCHEMA, lookup_prefix(mapping)),
    ).fetchall()


def drop_triggers(conn: Conn, mapping: Mapping) -> None:
    """Take the triggers away from the tables behind the lookups; ACCESS EXCLUSIVE for a moment."""
    for _, name, schema, owner, *_ in _made(conn, mapping):
        if name and schema and owner:
            conn.execute(sql.SQL("DROP TRIGGER {} ON {}").format(sql.Identifier(name), sql.Identifier(schema, owner)))


def faults(conn: Conn, mapping: Mapping) -> list[str]:
    """One sentence for each trigger that would miss changes of a lookup: someone dropped or disabled it since."""
    made = [row for row in _made(conn, mapping) if row[5]]
    found = [
        f"trigger {name} on {TableName(schema, owner)} does not fire: changes of a lookup are not seen"
        for _, name, schema, owner, enabled, _ in made
        if enabled in ("D", "R")
    ]
    expected = {row[0]: len(_EVENTS) for row in made if ":lookup:" in row[0]}
    for function, wanted in expected.items():
        if sum(row[0] == function and row[1] is not None for row in made) < wanted:
            found.append(f"a trigger of {function} is missing: changes of a lookup are not seen")
    return found


def drop_functions(conn: Conn, mapping: Mapping) -> None:
    """The way back of ``functions``, after ``drop_triggers``."""
    for name in dict.fromkeys(row[0] for row in _made(conn, mapping)):
        conn.execute(sql.SQL("DROP FUNCTION {}").format(raw(name)))
