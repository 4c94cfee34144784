"""The functions that carry one key: for each key touched, the other table is made to hold what this one holds now."""

from __future__ import annotations

from psycopg import sql

from console.engine import derive, on_demand, tombstones
from console.engine import sync_parts as parts
from console.engine.derive import Composed, ands, column, commas, raw, table
from console.engine.facts import MappingFacts
from console.engine.naming import function_name
from console.engine.sync_parts import argument, argument_key, key_is
from console.plan.model import Direction, Mapping, TableName

SAME = "another old row already stands for this key"
_RANK = "ORDER BY (p.pgferry_reason IS NULL) DESC, p.pgferry_canonical DESC, {}"


def _insert(goal: TableName, alias: str, names: list[str], row: str, key: tuple[str, ...], action: Composed) -> Composed:  # fmt: skip
    return sql.SQL("INSERT INTO {} AS {} ({}) OVERRIDING SYSTEM VALUE VALUES ({})\n        ON CONFLICT ({}) {}").format(
        table(goal),
        raw(alias),
        commas(sql.Identifier(n) for n in names),
        commas(column(row, n) for n in names),
        commas(sql.Identifier(n) for n in key),
        action,
    )


def _write_new(mapping: Mapping, facts: MappingFacts | None) -> Composed:
    """Make the new row be pgferry_s."""
    names = [name for name, _ in mapping.columns]
    new = facts.new if facts else None
    rest = parts.settable(new, names, mapping.new_key)
    if not derive.many_to_one(mapping):
        action: Composed = sql.SQL("DO NOTHING")
        if rest:
            action = sql.SQL("DO UPDATE SET {}\n        WHERE {}").format(
                commas(sql.SQL("{} = excluded.{}").format(sql.Identifier(n), sql.Identifier(n)) for n in rest),
                derive.differ("n", "excluded", rest, new),
            )
        return _insert(mapping.new, "n", names, "pgferry_s", mapping.new_key, action)
    insert = _insert(mapping.new, "n", names, "pgferry_s", mapping.new_key, raw("DO NOTHING"))
    update = (
        sql.SQL("UPDATE {} n SET {}\n        WHERE {} AND {}").format(
            table(mapping.new),
            commas(sql.SQL("{} = {}").format(sql.Identifier(n), column("pgferry_s", n)) for n in rest),
            key_is("n", mapping.new_key),
            derive.differ("n", "pgferry_s", rest, new),
        )
        if rest
        else raw("NULL")
    )
    return sql.SQL(
        "IF pgferry_met THEN\n        {};\n      ELSE\n        {};\n        pgferry_late := NOT FOUND;\n      END IF"
    ).format(update, insert)


def carry_forward(mapping: Mapping, facts: MappingFacts | None, old: TableName) -> sql.Composed:
    """Function: make the new table hold, under one new key, what the old one holds now.

    Where several old rows may stand for one new key, the new row is locked before the old ones are read: whoever
    comes second sees what the first committed, and an insert that met another's begins again.
    """
    many = derive.many_to_one(mapping)
    direction = Direction.FORWARD
    key = derive.projected_key(mapping, "pgferry_s")
    source = raw("to_jsonb(pgferry_s.pgferry_source)")
    of_o, row_o = derive.key_json("pgferry_o", mapping.old_key), raw("to_jsonb(pgferry_o)")
    said, state = raw("pgferry_said"), raw("pgferry_state")
    tests = derive.forward_tests(mapping, facts)
    reason = sql.SQL("coalesce(pgferry_s.pgferry_reason, {})").format(sql.Literal(SAME))
    reason_state = derive.state_of(tests, raw("pgferry_s.pgferry_reason"))
    lost = sql.SQL("pgferry_won := false;\n        {}").format(
        parts.reject(mapping, direction, key, source, state, said)
    )
    delete = sql.SQL("DELETE FROM {} n WHERE {}").format(table(mapping.new), key_is("n", mapping.new_key))
    kept = sql.SQL("INSERT INTO pgferry.recheck (mapping, key, reason) VALUES ({}, '{{}}', {} || pgferry_said)").format(
        sql.Literal(mapping.id), sql.Literal(f"a row of {mapping.new} cannot go: ")
    )
    lock = sql.SQL("PERFORM 1 FROM {} n WHERE {} FOR NO KEY UPDATE").format(
        table(mapping.new), key_is("n", mapping.new_key)
    )
    begin: Composed = raw("")
    end = raw("")
    if many:
        begin = sql.SQL(
            "  LOOP\n  pgferry_won := false;\n  pgferry_late := false;\n  pgferry_fine := NULL;\n"
            "  {};\n  pgferry_met := FOUND;\n"
        ).format(lock)
        end = raw("  EXIT WHEN NOT pgferry_late;\n  END LOOP;\n")
    body = sql.SQL(
        """DECLARE{declarations}
  pgferry_s record;
  pgferry_won boolean := false;
  pgferry_met boolean;
  pgferry_late boolean := false;
BEGIN
{begin}  IF current_setting({settling}, true) = 'on' THEN
    {lock};
    IF FOUND AND EXISTS (
      SELECT 1 FROM pgferry.reject r WHERE r.mapping = {id} AND r.direction = 'reverse' AND r.key = {goal}
    ) THEN
      RETURN;
    END IF;
  END IF;
{evaluate};
  WHILE pgferry_more LOOP
    IF pgferry_s.pgferry_reason IS NULL AND NOT pgferry_won THEN
      pgferry_won := true;
      {unreject};
      {write};
    ELSE
      {reject};
    END IF;
    {next};
  END LOOP;
{end}  IF NOT pgferry_won THEN
    {note};
    {delete};
  END IF;
END"""
    ).format(
        declarations=raw(parts.DECLARATIONS),
        begin=begin,
        settling=sql.Literal(parts.SETTLING),
        lock=lock,
        id=sql.Literal(mapping.id),
        goal=argument_key(mapping.new_key),
        end=end,
        evaluate=parts.evaluate(
            mapping, facts, old, "pgferry_s",
            sql.SQL(_RANK).format(parts.old_order(mapping)) if many else raw(""),
            parts.reject(mapping, direction, of_o, row_o, state, said),
        ),
        unreject=parts.unreject(mapping, direction, key),
        write=parts.guarded(
            _write_new(mapping, facts), lost,
            risky=parts.risky(facts.new if facts else None, [name for name, _ in mapping.columns]),
        ),
        reject=parts.reject(mapping, direction, key, source, reason_state, reason),
        next=parts.next_row(mapping, "pgferry_s"),
        note=tombstones.note(mapping, argument_key(mapping.new_key)),
        delete=parts.guarded(delete, kept, risky=facts is not None and (facts.new.referenced or facts.new.more_unique)),
    )  # fmt: skip
    return parts.function(
        mapping, "forward", parts.arguments(mapping.new, mapping.new_key), "void", parts.probing(mapping, facts), body
    )


def touch_old(mapping: Mapping, facts: MappingFacts | None, old: TableName) -> sql.Composed:
    """Function: an old key was written; find its new key and carry it, or keep its reject.

    Where the row is gone its reject goes first: whoever brings the row back meanwhile waits with a reject of his own, or
    his row is seen by the statements that follow, which note it again.
    """
    one = sql.SQL("(SELECT {})").format(
        commas(sql.SQL("{} AS {}").format(argument(i), sql.Identifier(n)) for i, n in enumerate(mapping.old_key))
    )
    key_parts = derive.key_parts(mapping)
    joins = sql.SQL(" ").join([derive.lookup_join(p.lookup, bulk=False) for p in key_parts if p.lookup is not None])
    made = [
        column("o", p.old) if p.lookup is None else column(p.lookup.name, p.lookup.gives) for p in key_parts
    ]  # fmt: skip
    known = [sql.SQL("{}.pgferry_n = 1").format(raw(p.lookup.name)) for p in key_parts if p.lookup]
    key = argument_key(mapping.old_key)
    itself = sql.SQL("(SELECT q.* FROM {} q WHERE {})").format(table(old), key_is("q", mapping.old_key))
    unreject = parts.unreject(mapping, Direction.FORWARD, key)
    reason_state = derive.state_of(derive.forward_tests(mapping, facts), raw("pgferry_s.pgferry_reason"))
    body = sql.SQL(
        """DECLARE
  pgferry_t record;
  pgferry_s record;
  pgferry_state text;
  pgferry_said text;
BEGIN
  IF pgferry_gone THEN
    {unreject};
  END IF;
{create}  SELECT {made}, {known} AS known INTO pgferry_t FROM {one} o {joins};
  IF pgferry_t.known THEN
    PERFORM {carry}({keys});
    RETURN;
  END IF;
  BEGIN
    SELECT p.* INTO pgferry_s FROM ({source}) p;
  EXCEPTION WHEN {errors} THEN
    GET STACKED DIAGNOSTICS pgferry_state = RETURNED_SQLSTATE, pgferry_said = MESSAGE_TEXT;
    {failed};
    RETURN;
  END;
  IF FOUND THEN
    {reject};
  ELSE
    {unreject};
  END IF;
END"""
    ).format(
        create=on_demand.when_missing(mapping, old),
        made=commas(sql.SQL("{} AS k_{}").format(p, raw(str(i))) for i, p in enumerate(made)),
        known=sql.SQL("coalesce({}, false)").format(ands(known)) if known else raw("true"),
        one=one,
        joins=joins,
        carry=function_name(mapping, "forward"),
        keys=commas(raw(f"pgferry_t.k_{i}") for i in range(len(made))),
        unreject=unreject,
        source=derive.forward(mapping, facts, itself, bulk=False),
        errors=raw(parts.EVALUATION),
        failed=parts.reject(
            mapping, Direction.FORWARD, key, sql.SQL("(SELECT to_jsonb(z) FROM {} z)").format(itself),
            raw("pgferry_state"), raw("pgferry_said"),
        ),
        reject=parts.reject(
            mapping, Direction.FORWARD, key, raw("to_jsonb(pgferry_s.pgferry_source)"), reason_state,
            sql.SQL("coalesce(pgferry_s.pgferry_reason, {})").format(sql.Literal("not resolved")),
        ),
    )  # fmt: skip
    arguments = sql.SQL("{}, pgferry_gone boolean").format(parts.arguments(old, mapping.old_key))
    return parts.function(mapping, "touch_old", arguments, "void", parts.probing(mapping, facts), body)


def _back_value(mapping: Mapping, name: str) -> Composed:
    resolved = derive.spellings(mapping).get(name)
    if resolved is None:
        return column("pgferry_b", name)
    return sql.SQL("CASE WHEN {} IS NOT DISTINCT FROM {} THEN {} ELSE {} END").format(
        column("pgferry_s", resolved), column("pgferry_d", resolved), column("o", name), column("pgferry_b", name)
    )


def _write_old(mapping: Mapping, facts: MappingFacts | None, old: TableName) -> tuple[Composed, Composed]:
    """(UPDATE of the old row that stands for the new one, INSERT where none does)."""
    back = [name for name, _ in mapping.back]
    rest = parts.settable(facts.old if facts else None, back, mapping.old_key)
    update: Composed = raw("NULL")
    action: Composed = raw("DO NOTHING")
    if rest:
        update = sql.SQL("UPDATE {} o SET {} WHERE {}").format(
            table(old),
            commas(sql.SQL("{} = {}").format(sql.Identifier(n), _back_value(mapping, n)) for n in rest),
            _stands(mapping),
        )
        action = sql.SQL("DO UPDATE SET {}").format(
            commas(sql.SQL("{} = excluded.{}").format(sql.Identifier(n), sql.Identifier(n)) for n in rest)
        )
    return update, _insert(old, "o", back, "pgferry_b", mapping.old_key, action)


def _stands(mapping: Mapping) -> Composed:
    return ands(
        sql.SQL("{} = pgferry_s.pgferry_old_{}").format(column("o", n), raw(str(i)))
        for i, n in enumerate(mapping.old_key)
    )


def carry_backward(mapping: Mapping, facts: MappingFacts | None, old: TableName) -> sql.Composed:
    """Function: make the old table hold, under one new key, what the new one holds now.

    Where the new row is gone, the old rows that stood for it go too; but not the ones that the sync itself had to
    take out of the new table, which are listed among the rejects.
    """
    direction = Direction.REVERSE
    names = [name for name, _ in mapping.columns]
    key = argument_key(mapping.new_key)
    row = raw("to_jsonb(pgferry_d)")
    refused = parts.reject(mapping, direction, key, row, raw("pgferry_state"), raw("pgferry_said"))
    risky = parts.risky(facts.old if facts else None, [name for name, _ in mapping.back])
    update, insert = _write_old(mapping, facts, old)
    stood = sql.SQL(
        "WHERE p.pgferry_reason IS NULL AND NOT EXISTS (SELECT 1 FROM pgferry.reject r WHERE r.mapping = {}"
        " AND r.direction = 'forward' AND r.key = {} AND r.reason <> {}) ORDER BY {}"
    ).format(sql.Literal(mapping.id), derive.projected_key(mapping, "p"), sql.Literal(SAME), parts.old_order(mapping))
    stands = sql.SQL("WHERE p.pgferry_reason IS NULL ORDER BY p.pgferry_canonical DESC, {}").format(
        parts.old_order(mapping)
    )
    delete = sql.SQL("DELETE FROM {} o WHERE {}").format(table(old), _stands(mapping))
    kept = sql.SQL("INSERT INTO pgferry.recheck (mapping, key, reason) VALUES ({}, '{{}}', {} || pgferry_said)").format(
        sql.Literal(mapping.id), sql.Literal(f"a row of {mapping.old} cannot go: ")
    )
    body = sql.SQL(
        """DECLARE{declarations}
  pgferry_s record;
  pgferry_d record;
  pgferry_b record;
BEGIN
  SELECT n.* INTO pgferry_d FROM {new} n WHERE {key_is};
  IF NOT FOUND THEN
  {evaluate_gone};
    WHILE pgferry_more LOOP
      {delete};
      {next};
    END LOOP;
    {unreject};
    RETURN;
  END IF;
{evaluate};
  IF pgferry_more THEN
    {close};
    IF NOT {differs} THEN
      {unreject};
      RETURN;
    END IF;
  END IF;
  BEGIN
    SELECT q.* INTO pgferry_b FROM ({projection}) q;
  EXCEPTION WHEN {errors} THEN
    GET STACKED DIAGNOSTICS pgferry_state = RETURNED_SQLSTATE, pgferry_said = MESSAGE_TEXT;
    {refused};
    RETURN;
  END;
  IF pgferry_b.pgferry_reason IS NOT NULL THEN
    {reject};
  ELSIF pgferry_more THEN
      {unreject};
      {update};
  ELSE
      {unreject};
      {insert};
  END IF;
END"""
    ).format(
        declarations=raw(parts.DECLARATIONS),
        new=table(mapping.new),
        key_is=key_is("n", mapping.new_key),
        evaluate_gone=parts.evaluate(mapping, facts, old, "pgferry_s", stood, raw("NULL")),
        delete=parts.guarded(delete, kept, risky=facts is not None and (facts.old.referenced or facts.old.more_unique)),
        next=parts.next_row(mapping, "pgferry_s"),
        evaluate=parts.evaluate(mapping, facts, old, "pgferry_s", stands, raw("NULL")),
        close=parts.close(mapping),
        differs=derive.differ("pgferry_s", "pgferry_d", names, facts.new if facts else None),
        projection=derive.backward(mapping, facts, key_is("n", mapping.new_key)),
        errors=raw(parts.EVALUATION),
        refused=refused,
        reject=parts.reject(
            mapping, direction, key, row,
            derive.state_of(derive.backward_tests(mapping, facts), raw("pgferry_b.pgferry_reason")),
            raw("pgferry_b.pgferry_reason"),
        ),
        unreject=parts.unreject(mapping, direction, key),
        update=parts.guarded(update, refused, risky=risky),
        insert=parts.guarded(insert, refused, risky=risky),
    )  # fmt: skip
    return parts.function(
        mapping, "backward", parts.arguments(mapping.new, mapping.new_key), "void", parts.probing(mapping, facts), body
    )
