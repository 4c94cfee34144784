"""The usual leaving of a key (DELETE, or UPDATE of the key), carried by the row trigger itself, as in ``sync_usual``.

Usual is: the key resolves to one, no row stands for it any more on the writer's side, exactly one did on the other, and
no reject is noted for it. The functions of ``sync_rows`` carry what is not so.
"""

from __future__ import annotations

from psycopg import sql

from console.engine import derive, tombstones
from console.engine import sync_parts as parts
from console.engine.derive import Composed, ands, column, commas, raw, table
from console.engine.facts import MappingFacts
from console.plan.model import Direction, Mapping, TableName

_LOST = raw("pgferry_usual := false")


def _new_key(mapping: Mapping, facts: MappingFacts) -> Composed:
    """SELECT of the new key of the old row OLD, in the new columns' types; as many rows as its values resolve to."""
    values, froms, where = parts.new_key_of(mapping, "OLD")
    items = []
    for name, value in zip(mapping.new_key, values, strict=True):
        found = facts.new.column(name)
        as_new = sql.SQL("::{}").format(raw(found.type)) if found else raw("")
        items.append(sql.SQL("{}{} AS {}").format(value, as_new, sql.Identifier(name)))
    query = sql.SQL("SELECT {}").format(commas(items))
    return sql.SQL("{} FROM {} WHERE {}").format(query, commas(froms), ands(where)) if froms else query


def forward(mapping: Mapping, facts: MappingFacts, old: TableName) -> Composed:
    """Statements of the old table's row trigger that set pgferry_usual to true when OLD's new row went.

    It is deleted, and its key noted, by statements that come after the look at whether a copy is under way, also where
    no row was seen before: see ``tombstones``.
    """
    lock = sql.SQL("{};\n    ").format(parts.lock_new(mapping, "OLD")) if derive.many_to_one(mapping) else raw("")
    delete = sql.SQL("DELETE FROM {} n WHERE {}").format(
        table(mapping.new), parts.same("n", "pgferry_s", mapping.new_key)
    )
    return sql.SQL(
        """{lock}BEGIN
      SELECT w.*, NOT EXISTS (SELECT 1 FROM {others} z) AND {no_reject} AS pgferry_usual
      INTO STRICT pgferry_s FROM ({new_key}) w;
    EXCEPTION WHEN {errors} THEN
      SELECT false AS pgferry_usual INTO pgferry_s;
    END;
    pgferry_usual := pgferry_s.pgferry_usual;
    IF pgferry_usual THEN
      {note};
      {delete};
    END IF"""
    ).format(
        lock=lock,
        others=derive.preimage(mapping, old, {name: column("w", name) for name in mapping.new_key}),
        no_reject=parts.no_reject(mapping, Direction.FORWARD, derive.key_json("OLD", mapping.old_key)),
        new_key=_new_key(mapping, facts),
        errors=raw(parts.EVALUATION),
        note=tombstones.note(mapping, derive.key_json("pgferry_s", mapping.new_key)),
        delete=parts.guarded(delete, _LOST, risky=facts.new.referenced or facts.new.more_unique),
    )


def backward(mapping: Mapping, facts: MappingFacts, old: TableName) -> Composed:
    """Statements of the new table's row trigger that set pgferry_usual to true when OLD's old row went, or there is none.

    A delete that a trigger made (the sync's own way forward, as a rule) mostly finds nothing on either side.
    """
    stood = derive.preimage(mapping, old, {name: column("OLD", name) for name in mapping.new_key})
    delete = sql.SQL("DELETE FROM {} o WHERE {};\n      pgferry_usual := FOUND").format(
        table(old),
        ands(
            sql.SQL("{} = pgferry_s.pgferry_old_{}").format(column("o", n), raw(str(i)))
            for i, n in enumerate(mapping.old_key)
        ),
    )
    return sql.SQL(
        """BEGIN
      IF pg_trigger_depth() > 1 THEN
        pgferry_usual := {gone} AND NOT EXISTS (SELECT 1 FROM {stood} z);
        SELECT false AS pgferry_usual INTO pgferry_s;
      ELSE
        SELECT {olds}, {gone} AND w.pgferry_reason IS NULL AND {listed} AS pgferry_usual
        INTO STRICT pgferry_s FROM ({projection}) w;
      END IF;
    EXCEPTION WHEN {errors} THEN
      SELECT false AS pgferry_usual INTO pgferry_s;
    END;
    IF pgferry_s.pgferry_usual THEN
      {delete};
    END IF"""
    ).format(
        gone=sql.SQL("NOT EXISTS (SELECT 1 FROM {} n WHERE {}) AND {}").format(
            table(mapping.new),
            parts.same("n", "OLD", mapping.new_key),
            parts.no_reject(mapping, Direction.REVERSE, derive.key_json("OLD", mapping.new_key)),
        ),
        stood=stood,
        olds=commas(raw(f"w.pgferry_old_{i}") for i in range(len(mapping.old_key))),
        listed=parts.no_reject(mapping, Direction.FORWARD, derive.projected_key(mapping, "w")),
        projection=derive.lean(mapping, facts, stood),
        errors=raw(parts.EVALUATION),
        delete=parts.guarded(delete, _LOST, risky=facts.old.referenced or facts.old.more_unique),
    )
