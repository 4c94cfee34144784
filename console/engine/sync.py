"""Dual writes: functions and triggers that carry every write of one table to the other, in the writer's transaction."""

from __future__ import annotations

from psycopg import sql

from console.engine import derive, gate
from console.engine.derive import Composed, ands, column, commas, raw, table
from console.engine.facts import MappingFacts
from console.plan.model import Direction, Mapping, TableName

SCHEMA = "pgferry"
Runnable = sql.SQL | sql.Composed
_PINS = "SECURITY DEFINER SET search_path = pg_catalog, {path}, pg_temp SET timezone = 'UTC' SET datestyle = 'ISO, MDY'"


def function_name(mapping: Mapping, what: str) -> sql.Identifier:
    """A function of the sync, in the journal's schema."""
    return sql.Identifier(SCHEMA, f"{mapping.id}_{what}")


def trigger_name(direction: Direction, *, truncate: bool = False) -> sql.Identifier:
    """``zz_``: fires after the application's own triggers."""
    return sql.Identifier(f"zz_pgferry_{direction.value}{'_truncate' if truncate else ''}")


def write_counter(mapping: Mapping, side: str) -> sql.Identifier:
    """Counts the applications' own writes to a side (``old`` or ``new``); a sequence: no row, no lock, no wait."""
    return sql.Identifier(SCHEMA, f"{mapping.id}_{side}_writes")


def _arguments(owner: TableName, names: tuple[str, ...]) -> Composed:
    return commas(
        sql.SQL("{} {}.{}%TYPE").format(raw(f"k_{i}"), table(owner), sql.Identifier(name))
        for i, name in enumerate(names)
    )


def _key_values(names: tuple[str, ...]) -> dict[str, Composed]:
    return {name: raw(f"k_{i}") for i, name in enumerate(names)}


def _key_is(alias: str, names: tuple[str, ...]) -> Composed:
    return ands(sql.SQL("{} = {}").format(column(alias, n), raw(f"k_{i}")) for i, n in enumerate(names))


def _function(
    mapping: Mapping, what: str, arguments: Composed, returns: str, pins: str, body: Composed
) -> sql.Composed:
    return sql.SQL(
        "CREATE OR REPLACE FUNCTION {}({}) RETURNS {} LANGUAGE plpgsql {}\nAS $pgferry$\n{}\n$pgferry$"
    ).format(function_name(mapping, what), arguments, raw(returns), _pinned(mapping, pins), body)


def _pinned(mapping: Mapping, pins: str) -> Composed:
    if not pins:
        return raw("")
    schemas = dict.fromkeys([mapping.old.schema, mapping.new.schema, *(k.relation.schema for k in mapping.lookups)])
    return sql.SQL(pins).format(path=commas(sql.Identifier(schema) for schema in schemas))


def _reject(mapping: Mapping, direction: Direction, key: Composed, row: Composed, reason: Composed) -> Composed:
    return sql.SQL(
        "INSERT INTO pgferry.reject AS r (mapping, direction, key, row_data, reason) VALUES ({}, {}, {}, {}, {})\n"
        "      ON CONFLICT (mapping, direction, key) DO UPDATE SET row_data = excluded.row_data,\n"
        "      reason = excluded.reason, at = excluded.at\n"
        "      WHERE (r.row_data, r.reason) IS DISTINCT FROM (excluded.row_data, excluded.reason)"
    ).format(sql.Literal(mapping.id), sql.Literal(direction.value), key, row, reason)


def _unreject(mapping: Mapping, direction: Direction, key: Composed) -> Composed:
    return sql.SQL("DELETE FROM pgferry.reject WHERE mapping = {} AND direction = {} AND key = {}").format(
        sql.Literal(mapping.id), sql.Literal(direction.value), key
    )


def _guarded(write: Composed, otherwise: Composed, *, risky: bool) -> Composed:
    """``write``; where the target could refuse for a reason no expression foretells, in a block of its own."""
    if not risky:
        return write
    return sql.SQL(
        "BEGIN\n      {};\n      EXCEPTION WHEN data_exception OR integrity_constraint_violation THEN\n"
        "      {};\n      END"
    ).format(write, otherwise)


def _upsert_new(mapping: Mapping) -> Composed:
    names = [name for name, _ in mapping.columns]
    rest = [name for name in names if name not in mapping.new_key]
    action: Composed = sql.SQL("DO NOTHING")
    if rest:
        action = sql.SQL("DO UPDATE SET {} WHERE ({}) IS DISTINCT FROM ({})").format(
            commas(sql.SQL("{} = excluded.{}").format(sql.Identifier(n), sql.Identifier(n)) for n in rest),
            commas(column("n", n) for n in rest),
            commas(column("excluded", n) for n in rest),
        )
    return sql.SQL("INSERT INTO {} AS n ({}) VALUES ({})\n      ON CONFLICT ({}) {}").format(
        table(mapping.new),
        commas(sql.Identifier(n) for n in names),
        commas(column("s", n) for n in names),
        commas(sql.Identifier(n) for n in mapping.new_key),
        action,
    )


def _old_order(mapping: Mapping) -> Composed:
    return commas(raw(f"p.pgferry_old_{i}") for i in range(len(mapping.old_key)))


def carry_forward(mapping: Mapping, facts: MappingFacts | None, old: TableName) -> sql.Composed:
    """Function: make the new table hold, under one new key, what the old one holds now."""
    source = derive.forward(mapping, facts, derive.preimage(mapping, old, _key_values(mapping.new_key)), bulk=False)
    key = derive.projected_key(mapping, "s")
    row = raw("to_jsonb(s.pgferry_source)")
    same = sql.Literal("another old row already stands for this key")
    refused = _reject(mapping, Direction.FORWARD, key, row, sql.SQL("coalesce(s.pgferry_reason, {})").format(same))
    body = sql.SQL(
        """DECLARE
  s record;
  won boolean := false;
BEGIN
  FOR s IN SELECT p.* FROM ({source}) p
    ORDER BY (p.pgferry_reason IS NULL) DESC, p.pgferry_canonical DESC, {order}
  LOOP
    IF s.pgferry_reason IS NULL AND NOT won THEN
      won := true;
      {unreject};
      {upsert};
    ELSE
      {reject};
    END IF;
  END LOOP;
  IF NOT won THEN
    DELETE FROM {new} n WHERE {key_is};
  END IF;
END"""
    ).format(
        source=source,
        order=_old_order(mapping),
        upsert=_guarded(
            _upsert_new(mapping),
            _reject(mapping, Direction.FORWARD, key, row, raw("SQLERRM")),
            risky=facts is not None and facts.new.more_unique,
        ),
        unreject=_unreject(mapping, Direction.FORWARD, key),
        reject=refused,
        new=table(mapping.new),
        key_is=_key_is("n", mapping.new_key),
    )
    return _function(mapping, "forward", _arguments(mapping.new, mapping.new_key), "void", "", body)


def touch_old(mapping: Mapping, facts: MappingFacts | None, old: TableName) -> sql.Composed:
    """Function: an old key was written; find its new key and carry it, or keep its reject."""
    one = sql.SQL("(SELECT {})").format(
        commas(sql.SQL("k_{} AS {}").format(raw(str(i)), sql.Identifier(n)) for i, n in enumerate(mapping.old_key))
    )
    joins = sql.SQL(" ").join(
        [derive.lookup_join(p.lookup, bulk=False) for p in derive.key_parts(mapping) if p.lookup is not None]
    )
    parts = [
        column("o", p.old) if p.lookup is None else column(p.lookup.name, p.lookup.gives)
        for p in derive.key_parts(mapping)
    ]
    known = [sql.SQL("{}.pgferry_n = 1").format(raw(p.lookup.name)) for p in derive.key_parts(mapping) if p.lookup]
    key = sql.SQL("jsonb_build_object({})").format(
        commas(sql.SQL("{}, k_{}::text").format(sql.Literal(n), raw(str(i))) for i, n in enumerate(mapping.old_key))
    )
    where = sql.SQL("(SELECT q.* FROM {} q WHERE {})").format(table(old), _key_is("q", mapping.old_key))
    body = sql.SQL(
        """DECLARE
  t record;
  s record;
BEGIN
  SELECT {parts}, {known} AS known INTO t FROM {one} o {joins};
  IF t.known THEN
    PERFORM {carry}({keys});
    IF gone THEN
      {unreject};
    END IF;
    RETURN;
  END IF;
  SELECT p.* INTO s FROM ({source}) p;
  IF FOUND THEN
    {reject};
  ELSE
    {unreject};
  END IF;
END"""
    ).format(
        parts=commas(sql.SQL("{} AS k_{}").format(p, raw(str(i))) for i, p in enumerate(parts)),
        known=sql.SQL("coalesce({}, false)").format(ands(known)) if known else raw("true"),
        one=one,
        joins=joins,
        carry=function_name(mapping, "forward"),
        keys=commas(raw(f"t.k_{i}") for i in range(len(parts))),
        unreject=_unreject(mapping, Direction.FORWARD, key),
        source=derive.forward(mapping, facts, where, bulk=False),
        reject=_reject(
            mapping, Direction.FORWARD, key, raw("to_jsonb(s.pgferry_source)"),
            sql.SQL("coalesce(s.pgferry_reason, {})").format(sql.Literal("not resolved")),
        ),
    )  # fmt: skip
    arguments = sql.SQL("{}, gone boolean").format(_arguments(old, mapping.old_key))
    return _function(mapping, "touch_old", arguments, "void", "", body)


def _back_value(mapping: Mapping, name: str) -> Composed:
    resolved = derive.spellings(mapping).get(name)
    if resolved is None:
        return column("b", name)
    return sql.SQL("CASE WHEN {} IS NOT DISTINCT FROM {} THEN {} ELSE {} END").format(
        column("w", resolved), column("d", resolved), column("o", name), column("b", name)
    )


def carry_backward(mapping: Mapping, facts: MappingFacts | None, old: TableName) -> sql.Composed:
    """Function: make the old table hold, under one new key, what the new one holds now."""
    names = [name for name, _ in mapping.columns]
    back = [name for name, _ in mapping.back]
    rest = [name for name in back if name not in mapping.old_key]
    winners = derive.forward(mapping, facts, derive.preimage(mapping, old, _key_values(mapping.new_key)), bulk=False)
    key = sql.SQL("jsonb_build_object({})").format(
        commas(sql.SQL("{}, k_{}::text").format(sql.Literal(n), raw(str(i))) for i, n in enumerate(mapping.new_key))
    )
    old_is = ands(
        sql.SQL("{} = w.pgferry_old_{}").format(column("o", n), raw(str(i))) for i, n in enumerate(mapping.old_key)
    )
    insert = sql.SQL("INSERT INTO {} AS o ({}) VALUES ({})\n        ON CONFLICT ({}) {}").format(
        table(old),
        commas(sql.Identifier(n) for n in back),
        commas(column("b", n) for n in back),
        commas(sql.Identifier(n) for n in mapping.old_key),
        sql.SQL("DO UPDATE SET {}").format(
            commas(sql.SQL("{} = excluded.{}").format(sql.Identifier(n), sql.Identifier(n)) for n in rest)
        )
        if rest
        else raw("DO NOTHING"),
    )
    update = (
        sql.SQL("UPDATE {} o SET {} WHERE {}").format(
            table(old),
            commas(sql.SQL("{} = {}").format(sql.Identifier(n), _back_value(mapping, n)) for n in rest),
            old_is,
        )
        if rest
        else raw("NULL")
    )
    rejected = _reject(mapping, Direction.REVERSE, key, raw("to_jsonb(d)"), raw("coalesce(b.pgferry_reason, SQLERRM)"))
    risky = facts is not None and facts.old.more_unique
    body = sql.SQL(
        """DECLARE
  d {new}%ROWTYPE;
  b record;
  w record;
  held boolean;
BEGIN
  SELECT n.* INTO d FROM {new} n WHERE {key_is};
  IF NOT FOUND THEN
    FOR w IN SELECT p.* FROM ({winners}) p WHERE p.pgferry_reason IS NULL LOOP
      DELETE FROM {old} o WHERE {old_is};
    END LOOP;
    {unreject};
    RETURN;
  END IF;
  SELECT p.* INTO w FROM ({winners}) p WHERE p.pgferry_reason IS NULL
    ORDER BY p.pgferry_canonical DESC, {order} LIMIT 1;
  held := FOUND;
  IF held AND ({of_w}) IS NOT DISTINCT FROM ({of_d}) THEN
    RETURN;
  END IF;
  SELECT q.* INTO b FROM ({projection}) q;
  IF b.pgferry_reason IS NOT NULL THEN
      {reject};
  ELSIF held THEN
      {update};
      {unreject};
  ELSE
      {unreject};
      {insert};
  END IF;
END"""
    ).format(
        new=table(mapping.new),
        key_is=_key_is("n", mapping.new_key),
        winners=winners,
        old=table(old),
        old_is=old_is,
        order=_old_order(mapping),
        of_w=commas(column("w", n) for n in names),
        of_d=commas(column("d", n) for n in names),
        projection=derive.backward(mapping, facts, _key_is("n", mapping.new_key)),
        reject=_reject(mapping, Direction.REVERSE, key, raw("to_jsonb(d)"), raw("b.pgferry_reason")),
        unreject=_unreject(mapping, Direction.REVERSE, key),
        update=_guarded(update, rejected, risky=risky),
        insert=_guarded(insert, rejected, risky=risky),
    )
    return _function(mapping, "backward", _arguments(mapping.new, mapping.new_key), "void", "", body)


def _row_trigger(
    mapping: Mapping, direction: Direction, key: tuple[str, ...], call: str, *, gone: bool
) -> sql.Composed:
    """The trigger function of a side: counts, caps the depth, carries OLD's then NEW's key."""
    name = function_name(mapping, call)
    changed = sql.SQL("({}) IS DISTINCT FROM ({})").format(
        commas(column("OLD", n) for n in key), commas(column("NEW", n) for n in key)
    )

    def arguments(alias: str, flag: str) -> Composed:
        values = commas(column(alias, n) for n in key)
        return sql.SQL("{}, {}").format(values, raw(flag)) if gone else values

    recheck: Composed = raw("")
    if direction is Direction.FORWARD:
        recheck = sql.SQL(
            """
  IF TG_OP <> 'INSERT' AND current_setting('transaction_isolation') <> 'read committed' THEN
    INSERT INTO pgferry.recheck (mapping, key, reason) VALUES ({}, {}, 'written under an older snapshot');
  END IF;"""
        ).format(sql.Literal(mapping.id), derive.key_json("OLD", key))
    side = "old" if direction is Direction.FORWARD else "new"
    body = sql.SQL(
        """BEGIN
  IF pg_trigger_depth() > {depth} THEN
    INSERT INTO pgferry.recheck (mapping, key, reason)
    VALUES ({id}, '{{}}', 'triggers of both sides keep changing the row');
    RETURN NULL;
  END IF;
  IF pg_trigger_depth() = 1 THEN
    PERFORM nextval({counter});
  END IF;
  IF TG_OP = 'UPDATE' THEN
    IF {changed} THEN
      PERFORM {call}({old_gone});
    END IF;
    PERFORM {call}({new_here});
  ELSIF TG_OP = 'DELETE' THEN
    PERFORM {call}({old_gone});
  ELSE
    PERFORM {call}({new_here});
  END IF;{recheck}
  RETURN NULL;
END"""
    ).format(
        depth=raw(str(derive.MAX_DEPTH)),
        id=sql.Literal(mapping.id),
        counter=sql.SQL("{}::regclass").format(sql.Literal(write_counter(mapping, side).as_string(None))),
        changed=changed,
        call=name,
        old_gone=arguments("OLD", "true"),
        new_here=arguments("NEW", "false"),
        recheck=recheck,
    )
    return _function(mapping, f"{direction.value}_row", raw(""), "trigger", _PINS, body)


def _truncate_trigger(mapping: Mapping, direction: Direction, goal: TableName) -> sql.Composed:
    """TRUNCATE empties the other side too, except for what only that side can hold (its rejects)."""
    keep = sql.SQL("EXISTS (SELECT 1 FROM pgferry.reject r WHERE r.mapping = {} AND r.direction = 'forward')").format(
        sql.Literal(mapping.id)
    )
    rejected = (
        sql.SQL(
            "  IF {} THEN\n    DELETE FROM {} o WHERE NOT EXISTS (SELECT 1 FROM pgferry.reject r WHERE r.mapping = {}"
            " AND r.direction = 'forward' AND r.key = {});\n    RETURN NULL;\n  END IF;\n"
        ).format(keep, table(goal), sql.Literal(mapping.id), derive.key_json("o", mapping.old_key))
        if direction is Direction.REVERSE
        else sql.SQL("  DELETE FROM pgferry.reject WHERE mapping = {} AND direction = 'forward';\n").format(
            sql.Literal(mapping.id)
        )
    )
    body = sql.SQL(
        "BEGIN\n  IF NOT EXISTS (SELECT 1 FROM {goal}) THEN\n    RETURN NULL;\n  END IF;\n{rejected}"
        "  TRUNCATE {goal};\n  RETURN NULL;\nEND"
    ).format(goal=table(goal), rejected=rejected)
    return _function(mapping, f"{direction.value}_truncate", raw(""), "trigger", _PINS, body)


def functions(mapping: Mapping, facts: MappingFacts | None, direction: Direction, old: TableName) -> list[Runnable]:
    """Statements that make (or remake) the functions of one direction; no table is locked."""
    if direction is Direction.FORWARD:
        return [
            carry_forward(mapping, facts, old),
            touch_old(mapping, facts, old),
            _row_trigger(mapping, direction, mapping.old_key, "touch_old", gone=True),
            _truncate_trigger(mapping, direction, mapping.new),
        ]
    return [
        carry_backward(mapping, facts, old),
        _row_trigger(mapping, direction, mapping.new_key, "backward", gone=False),
        _truncate_trigger(mapping, direction, old),
    ]


def prepare(mapping: Mapping, facts: MappingFacts | None, direction: Direction, old: TableName) -> list[Runnable]:
    """Everything before the triggers: counters and functions, which nobody but their owner may call."""
    side = "old" if direction is Direction.FORWARD else "new"
    return [
        sql.SQL("CREATE SEQUENCE IF NOT EXISTS {} CACHE 1").format(write_counter(mapping, side)),
        *functions(mapping, facts, direction, old),
        *(gate.prepare(mapping) if direction is Direction.REVERSE else ()),
        raw("REVOKE ALL ON ALL FUNCTIONS IN SCHEMA pgferry FROM PUBLIC"),
    ]


def triggers(mapping: Mapping, direction: Direction, old: TableName) -> list[Runnable]:
    """The barrier: CREATE TRIGGER waits for every transaction that has written the table, then no write escapes."""
    owner = table(old if direction is Direction.FORWARD else mapping.new)
    return [
        sql.SQL("CREATE TRIGGER {} AFTER INSERT OR UPDATE OR DELETE ON {} FOR EACH ROW EXECUTE FUNCTION {}()").format(
            trigger_name(direction), owner, function_name(mapping, f"{direction.value}_row")
        ),
        sql.SQL("CREATE TRIGGER {} AFTER TRUNCATE ON {} FOR EACH STATEMENT EXECUTE FUNCTION {}()").format(
            trigger_name(direction, truncate=True), owner, function_name(mapping, f"{direction.value}_truncate")
        ),
        *(gate.triggers(mapping, old) if direction is Direction.REVERSE else ()),
    ]


def drop_triggers(mapping: Mapping, direction: Direction, old: TableName) -> list[Runnable]:
    """The way back of ``triggers``."""
    owner = table(old if direction is Direction.FORWARD else mapping.new)
    return [
        *(
            sql.SQL("DROP TRIGGER IF EXISTS {} ON {}").format(trigger_name(direction, truncate=t), owner)
            for t in (False, True)
        ),
        *(gate.drop_triggers(mapping, old) if direction is Direction.REVERSE else ()),
    ]


def drop_functions(mapping: Mapping, direction: Direction) -> list[Runnable]:
    """The way back of ``prepare``; a function without arguments named is found by its unique name."""
    names = (
        ("forward_row", "forward_truncate", "touch_old", "forward")
        if direction is Direction.FORWARD
        else ("reverse_row", "reverse_truncate", "backward")
    )
    side = "old" if direction is Direction.FORWARD else "new"
    return [
        *(sql.SQL("DROP FUNCTION IF EXISTS {}").format(function_name(mapping, name)) for name in names),
        sql.SQL("DROP SEQUENCE IF EXISTS {}").format(write_counter(mapping, side)),
        *(gate.drop_functions(mapping) if direction is Direction.REVERSE else ()),
    ]
