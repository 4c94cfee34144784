"""The usual write of one row, carried by the row trigger itself: one reading, at most one lock, one write a key.

The functions of ``sync_rows`` do whatever a key may need, with many statements; each statement costs some microseconds
to set up, which is what a writer pays. So the trigger first asks with one statement whether the case is usual: the new
shape takes the row, its values resolve to one, no other old row may stand for its new key, and no reject is noted for
it. A key that a row leaves (DELETE, or UPDATE of the key) is in ``sync_gone``. It reads what the tables hold now, as those functions do. Where any of that is not so, where
evaluating it fails, or where the write meets another, nothing was written and those functions carry the key.

Expressions, casts and CHECKs may all fail: they are evaluated in a block that writes nothing, so it takes no
transaction id. Only what passed is written, outside of the block.
"""

from __future__ import annotations

from psycopg import sql

from console.engine import derive, sync_gone
from console.engine import sync_parts as parts
from console.engine.derive import Composed, ands, column, commas, raw, table
from console.engine.facts import MappingFacts
from console.engine.sync_parts import lock_new, no_reject, same
from console.plan.model import Direction, Mapping, TableName

DECLARATIONS = """DECLARE
  pgferry_s record;
  pgferry_n record;
  pgferry_usual boolean;
  pgferry_locked boolean;
  pgferry_count bigint;
  pgferry_state text;
  pgferry_said text;
"""


def _keeps_key(key: tuple[str, ...]) -> Composed:
    return sql.SQL("({}) IS NOT DISTINCT FROM ({})").format(
        commas(column("OLD", n) for n in key), commas(column("NEW", n) for n in key)
    )


def _no_key(row: str, key: tuple[str, ...]) -> Composed:
    """There is no such row: a statement trigger knows of a key that rows came to, or that rows left, not which ones."""
    return sql.SQL("({} IS NULL)").format(column(row, key[0]))


def _alone(mapping: Mapping, old: TableName) -> Composed:
    """No other old row may stand for the new key: then nobody else's values count, now or while this one is written."""
    if not derive.many_to_one(mapping):
        return raw("true")
    twins = derive.preimage(mapping, old, {name: column("w", name) for name in mapping.new_key})
    return sql.SQL("NOT EXISTS (SELECT 1 FROM {} z WHERE NOT ({}))").format(twins, same("z", "NEW", mapping.old_key))


def _reading(mapping: Mapping, facts: MappingFacts, old: TableName, *, met: bool, fresh: bool) -> Composed:
    """The old row as it is now in the new columns, into pgferry_s; pgferry_usual says whether the case is usual.

    STRICT: several rows come where a value resolves to several, none where the row is gone meanwhile; both raise what
    the block catches. ``met``: also whether the new row is there, and whether it differs. ``fresh``: the old key was
    not there before, so no reject is noted for it.
    """
    names = [name for name, _ in mapping.columns]
    itself = sql.SQL("(SELECT q.* FROM {} q WHERE {})").format(table(old), same("q", "NEW", mapping.old_key))
    there: Composed = raw("")
    join: Composed = raw("")
    if met:
        key = column("n", mapping.new_key[0])
        there = sql.SQL(", {} IS NOT NULL AS pgferry_met, {} AS pgferry_differs").format(
            key, derive.differ("n", "w", names, facts.new)
        )
        join = sql.SQL(" LEFT JOIN {} n ON {}").format(table(mapping.new), same("n", "w", mapping.new_key))
    return sql.SQL(
        """BEGIN
      SELECT {values}, w.pgferry_reason IS NULL AND {alone} AND {no_reject} AS pgferry_usual{there}
      INTO STRICT pgferry_s FROM ({projection}) w{join};
    EXCEPTION WHEN {errors} THEN
      SELECT false AS pgferry_usual INTO pgferry_s;
    END"""
    ).format(
        values=commas(column("w", n) for n in names),
        alone=_alone(mapping, old),
        no_reject=raw("true")
        if fresh
        else no_reject(mapping, Direction.FORWARD, derive.key_json("NEW", mapping.old_key)),
        there=there,
        projection=derive.lean(mapping, facts, itself),
        join=join,
        errors=raw(parts.EVALUATION),
    )


def _insert(mapping: Mapping, facts: MappingFacts) -> Composed:
    """A new row; where one is there after all (another old row's, perhaps) it is left as it is."""
    names = [name for name, _ in mapping.columns]
    insert = sql.SQL(
        "INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE VALUES ({}) ON CONFLICT ({}) DO NOTHING;\n"
        "      pgferry_usual := FOUND"
    ).format(
        table(mapping.new),
        commas(sql.Identifier(n) for n in names),
        commas(column("pgferry_s", n) for n in names),
        commas(sql.Identifier(n) for n in mapping.new_key),
    )
    return parts.guarded(insert, raw("pgferry_usual := false"), risky=parts.risky(facts.new, names))


def _update(mapping: Mapping, facts: MappingFacts) -> Composed:
    names = [name for name, _ in mapping.columns]
    rest = parts.settable(facts.new, names, mapping.new_key)
    if not rest:
        return raw("NULL")
    update = sql.SQL("UPDATE {} n SET {} WHERE {};\n      pgferry_usual := FOUND").format(
        table(mapping.new),
        commas(sql.SQL("{} = {}").format(sql.Identifier(n), column("pgferry_s", n)) for n in rest),
        same("n", "pgferry_s", mapping.new_key),
    )
    return parts.guarded(update, raw("pgferry_usual := false"), risky=parts.risky(facts.new, names))


def forward(mapping: Mapping, facts: MappingFacts, old: TableName) -> Composed:
    """Statements of the row trigger that set pgferry_usual to true when they carried NEW (and the key that OLD left).

    A write that a trigger made (the sync's own way back, as a rule) mostly finds both sides equal, and so does one
    that changes nothing: then nothing is locked. If it does differ, the general functions lock first and look again.
    """
    return sql.SQL(
        """  IF TG_OP = 'INSERT' AND pg_trigger_depth() = 1 THEN
    {read};
    IF pgferry_s.pgferry_usual THEN
      {insert};
    END IF;
  ELSIF TG_OP = 'UPDATE' AND {keeps} AND pg_trigger_depth() = 1 AND pg_catalog.record_image_ne(OLD, NEW) THEN
    {lock};
    {read_again};
    IF NOT pgferry_s.pgferry_usual THEN
      NULL;
    ELSIF NOT pgferry_locked THEN
      {insert};
    ELSIF NOT {differs} THEN
      pgferry_usual := true;
    ELSE
      {update};
    END IF;
  ELSIF TG_OP = 'INSERT' OR TG_OP = 'UPDATE' AND ({keeps} OR {came}) THEN
    {read_both};
    IF pgferry_s.pgferry_usual AND pgferry_s.pgferry_met THEN
      pgferry_usual := NOT pgferry_s.pgferry_differs;
    ELSIF pgferry_s.pgferry_usual THEN
      {insert};
    END IF;
  ELSE
    {gone};
    IF pgferry_usual AND TG_OP = 'UPDATE' AND NOT {went} THEN
      pgferry_usual := false;
      {read_again};
      IF pgferry_s.pgferry_usual THEN
        {insert};
      END IF;
    END IF;
  END IF;
"""
    ).format(
        read=_reading(mapping, facts, old, met=False, fresh=True),
        read_again=_reading(mapping, facts, old, met=False, fresh=False),
        read_both=_reading(mapping, facts, old, met=True, fresh=False),
        keeps=_keeps_key(mapping.old_key),
        came=_no_key("OLD", mapping.old_key),
        went=_no_key("NEW", mapping.old_key),
        gone=sync_gone.forward(mapping, facts, old),
        lock=lock_new(mapping, "NEW"),
        differs=derive.differ("pgferry_n", "pgferry_s", [name for name, _ in mapping.columns], facts.new),
        insert=_insert(mapping, facts),
        update=_update(mapping, facts),
    )


def _equal(mapping: Mapping, facts: MappingFacts, projection: Composed) -> Composed:
    """Exactly one old row may stand for the new key, and it is equal to NEW: there is nothing to carry.

    If the new row was changed since, that change is carried for itself.
    """
    return sql.SQL(
        """BEGIN
      pgferry_usual := (
        SELECT count(*) = 1 AND bool_and(w.pgferry_reason IS NULL AND NOT {differs}) AND {no_reject}
        FROM ({projection}) w
      );
    EXCEPTION WHEN {errors} THEN
      pgferry_usual := false;
    END"""
    ).format(
        differs=derive.differ("w", "NEW", [name for name, _ in mapping.columns], facts.new),
        no_reject=no_reject(mapping, Direction.REVERSE, derive.key_json("NEW", mapping.new_key)),
        projection=projection,
        errors=raw(parts.EVALUATION),
    )


def _reading_back(mapping: Mapping, facts: MappingFacts, stands: Composed, *, fresh: bool) -> Composed:
    """The new row as it is now in the old columns, into pgferry_s, with the key of the one old row that stands for it.

    ``fresh``: no old row may stand for it. STRICT as in ``_reading``; the new row itself is locked by its writer, and
    whoever would add another old row for it waits for that lock.
    """
    here = same("n", "NEW", mapping.new_key)
    olds = [raw(f"w.pgferry_old_{i}") for i in range(len(mapping.old_key))]
    extra: Composed = raw("")
    source: Composed = raw("")
    usual: Composed = sql.SQL("NOT EXISTS {}").format(stands)
    if not fresh:
        differs = derive.differ("w", "NEW", [name for name, _ in mapping.columns], facts.new)
        extra = sql.SQL(", {}, {} AS pgferry_differs").format(commas(olds), differs)
        source = sql.SQL(" CROSS JOIN ({}) w").format(stands)
        usual = raw("w.pgferry_reason IS NULL")
    return sql.SQL(
        """BEGIN
      SELECT {values}{extra}, b.pgferry_reason IS NULL AND {usual} AND {no_reject} AS pgferry_usual
      INTO STRICT pgferry_s FROM ({projection}) b{source};
    EXCEPTION WHEN {errors} THEN
      SELECT false AS pgferry_usual INTO pgferry_s;
    END"""
    ).format(
        values=commas(column("b", n) for n, _ in mapping.back),
        extra=extra,
        usual=usual,
        no_reject=no_reject(mapping, Direction.REVERSE, derive.key_json("NEW", mapping.new_key)),
        projection=derive.backward(mapping, facts, here),
        source=source,
        errors=raw(parts.EVALUATION),
    )


def _write_old(mapping: Mapping, facts: MappingFacts, old: TableName) -> tuple[Composed, Composed]:
    """(INSERT, UPDATE) of the old table; a row that is there already, or no more, is left to the general functions."""
    back = [name for name, _ in mapping.back]
    rest = parts.settable(facts.old, back, mapping.old_key)
    insert = sql.SQL(
        "INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE VALUES ({}) ON CONFLICT ({}) DO NOTHING;\n"
        "      pgferry_usual := FOUND"
    ).format(
        table(old),
        commas(sql.Identifier(n) for n in back),
        commas(column("pgferry_s", n) for n in back),
        commas(sql.Identifier(n) for n in mapping.old_key),
    )
    update = sql.SQL("UPDATE {} o SET {} WHERE {};\n      pgferry_usual := FOUND").format(
        table(old),
        commas(sql.SQL("{} = {}").format(sql.Identifier(n), column("pgferry_s", n)) for n in rest),
        ands(
            sql.SQL("{} = pgferry_s.pgferry_old_{}").format(column("o", n), raw(str(i)))
            for i, n in enumerate(mapping.old_key)
        ),
    )
    risky = parts.risky(facts.old, back)
    lost = raw("pgferry_usual := false")
    # an old row keeps its own spelling while it resolves to the same: the general functions know when
    kept = not rest or set(rest) & set(derive.spellings(mapping))
    return parts.guarded(insert, lost, risky=risky), raw("NULL") if kept else parts.guarded(update, lost, risky=risky)


def backward(mapping: Mapping, facts: MappingFacts, old: TableName) -> Composed:
    """Statements of the new table's row trigger that set pgferry_usual to true when they carried NEW, or it was an echo."""
    source = derive.preimage(mapping, old, {name: column("NEW", name) for name in mapping.new_key})
    stands = derive.lean(mapping, facts, source)
    insert, update = _write_old(mapping, facts, old)
    return sql.SQL(
        """  IF TG_OP = 'UPDATE' AND NOT ({keeps} OR {came}) OR TG_OP = 'DELETE' THEN
    {gone};
    IF pgferry_usual AND TG_OP = 'UPDATE' AND NOT {went} THEN
      pgferry_usual := false;
      {read};
      IF pgferry_s.pgferry_usual THEN
        {insert};
      END IF;
    END IF;
  ELSIF pg_trigger_depth() > 1 THEN
    {equal};
  ELSIF TG_OP = 'INSERT' OR {came} THEN
    {read};
    IF pgferry_s.pgferry_usual THEN
      {insert};
    END IF;
  ELSE
    {read_again};
    IF NOT pgferry_s.pgferry_usual THEN
      NULL;
    ELSIF NOT pgferry_s.pgferry_differs THEN
      pgferry_usual := true;
    ELSE
      {update};
    END IF;
  END IF;
"""
    ).format(
        keeps=_keeps_key(mapping.new_key),
        came=_no_key("OLD", mapping.new_key),
        went=_no_key("NEW", mapping.new_key),
        gone=sync_gone.backward(mapping, facts, old),
        equal=_equal(mapping, facts, derive.lean(mapping, facts, source, there=True)),
        read=_reading_back(mapping, facts, source, fresh=True),
        insert=insert,
        read_again=_reading_back(mapping, facts, stands, fresh=False),
        update=update,
    )
