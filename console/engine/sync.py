"""Dual writes: functions and triggers that carry every write of one table to the other, in the writer's transaction."""

from __future__ import annotations

from psycopg import sql

from console.engine import derive, gate, on_demand, sync_sets, sync_truncate, sync_usual
from console.engine import sync_parts as parts
from console.engine.derive import Composed, column, commas, raw, table
from console.engine.facts import MappingFacts
from console.engine.naming import function_name, trigger_name, write_counter
from console.engine.sync_rows import carry_backward, carry_forward, touch_old
from console.plan.model import Direction, Mapping, TableName, Triggers

Runnable = sql.SQL | sql.Composed
# The copy marks its transactions with this, so that its rows are not carried back: a row that was deleted in the old
# table while it was being copied would return.
COPYING = "pgferry.copying"
_NOT_COPYING = f"WHEN (current_setting('{COPYING}', true) IS DISTINCT FROM 'on') "


def mark_copying() -> Runnable:
    """Until the transaction ends, writes of this session to the new table are not carried back."""
    return raw(f"SET LOCAL {COPYING} = 'on'")


def _row_trigger(
    mapping: Mapping, facts: MappingFacts | None, direction: Direction, old: TableName, key: tuple[str, ...], call: str,
    *, gone: bool,
) -> sql.Composed:  # fmt: skip
    """The trigger function of a side: counts, caps the depth, carries OLD's then NEW's key.

    ``sync_usual`` is asked first; what it did not carry goes to the functions of ``sync_rows``.
    """
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
    usual: Composed = raw("")
    if facts is not None:
        carry = sync_usual.forward if direction is Direction.FORWARD else sync_usual.backward
        usual = carry(mapping, facts, old)
    body = sql.SQL(
        """{declarations}BEGIN
  IF pg_trigger_depth() = 1 THEN
    pgferry_count := nextval({counter});
  ELSIF pg_trigger_depth() > {depth} THEN
    INSERT INTO pgferry.recheck (mapping, key, reason)
    VALUES ({id}, '{{}}', 'triggers of both sides keep changing the row');
    RETURN NULL;
  END IF;
{version}{usual}  IF pgferry_usual THEN
    NULL;
  ELSIF TG_OP = 'UPDATE' THEN
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
        declarations=raw(sync_usual.DECLARATIONS),
        version=parts.one_version(
            old if direction is Direction.FORWARD else mapping.new,
            key,
            sql.SQL("SELECT {} WHERE TG_OP <> 'DELETE'").format(
                commas(sql.SQL("{} AS {}").format(column("NEW", n), sql.Identifier(n)) for n in key)
            ),
        ),
        usual=usual,
        depth=raw(str(derive.MAX_DEPTH)),
        id=sql.Literal(mapping.id),
        counter=sql.SQL("{}::regclass").format(sql.Literal(write_counter(mapping, side).as_string(None))),
        changed=changed,
        call=name,
        old_gone=arguments("OLD", "true"),
        new_here=arguments("NEW", "false"),
        recheck=recheck,
    )
    return parts.function(mapping, f"{direction.value}_row", raw(""), "trigger", parts.probing(mapping, facts), body)


def functions(mapping: Mapping, facts: MappingFacts | None, direction: Direction, old: TableName) -> list[Runnable]:
    """Statements that make (or remake) the functions of one direction; no table is locked."""
    if direction is Direction.FORWARD:
        return [
            carry_forward(mapping, facts, old),
            *on_demand.functions(mapping, facts, old),
            touch_old(mapping, facts, old),
            _row_trigger(mapping, facts, direction, old, mapping.old_key, "touch_old", gone=True),
            *_of_statements(mapping, facts, direction, old),
            sync_truncate.function(mapping, facts, direction, old),
        ]
    return [
        carry_backward(mapping, facts, old),
        _row_trigger(mapping, facts, direction, old, mapping.new_key, "backward", gone=False),
        *_of_statements(mapping, facts, direction, old),
        sync_truncate.function(mapping, facts, direction, old),
        *gate.functions(mapping, old),
    ]


def _of_statements(mapping: Mapping, facts: MappingFacts | None, way: Direction, old: TableName) -> list[Runnable]:
    if mapping.triggers is not Triggers.STATEMENT:
        return []
    return [sync_sets.function(mapping, facts, way, old, operation) for operation in sync_sets.OPERATIONS]


def prepare(mapping: Mapping, facts: MappingFacts | None, direction: Direction, old: TableName) -> list[Runnable]:
    """Everything before the triggers: counters and functions, which nobody but their owner may call."""
    made: list[Runnable] = []
    for way in direction.ways:
        side = "old" if way is Direction.FORWARD else "new"
        made.append(sql.SQL("CREATE SEQUENCE IF NOT EXISTS {} CACHE 1").format(write_counter(mapping, side)))
        made += functions(mapping, facts, way, old)
        made += gate.prepare(mapping) if way is Direction.REVERSE else ()
    return [*made, raw("REVOKE ALL ON ALL FUNCTIONS IN SCHEMA pgferry FROM PUBLIC")]


def source_of(mapping: Mapping, way: Direction, old: TableName) -> TableName:
    """The table whose writes a direction carries."""
    return old if way is Direction.FORWARD else mapping.new


def triggers(
    mapping: Mapping, direction: Direction, old: TableName, facts: MappingFacts | None = None
) -> list[Runnable]:
    """The barrier: CREATE TRIGGER waits for every transaction that has written the table, then no write escapes.

    The old table is locked first, as its writers do: with the new one locked they would wait for us, and we for them, and
    never would there be none of them.

    Partitions get the row trigger from their parent, but TRUNCATE of one needs a trigger of its own.
    """
    made: list[Runnable] = []
    for way in direction.ways:
        owner = table(source_of(mapping, way, old))
        when = raw(_NOT_COPYING if way is Direction.REVERSE else "")
        writes: list[Runnable] = [
            sql.SQL(
                "CREATE TRIGGER {} AFTER INSERT OR UPDATE OR DELETE ON {} FOR EACH ROW {}EXECUTE FUNCTION {}()"
            ).format(trigger_name(way), owner, when, function_name(mapping, f"{way.value}_row")),
        ]
        if mapping.triggers is Triggers.STATEMENT:
            writes = [
                sync_sets.trigger(mapping, way, source_of(mapping, way, old), operation, when)
                for operation in sync_sets.OPERATIONS
            ]
        made += [
            *(gate.triggers(mapping, old) if way is Direction.REVERSE else ()),
            *writes,
            truncate_trigger(mapping, way, source_of(mapping, way, old)),
            *(truncate_trigger(mapping, way, partition) for partition in _partitions(facts, way)),
        ]
    return made


def trigger_kinds(mapping: Mapping) -> tuple[str, ...]:
    """What the names of one direction's triggers on a table add to the direction."""
    writes = ("", "update", "delete") if mapping.triggers is Triggers.STATEMENT else ("",)
    return (*writes, "truncate")


def _partitions(facts: MappingFacts | None, way: Direction) -> tuple[TableName, ...]:
    if facts is None:
        return ()
    return (facts.old if way is Direction.FORWARD else facts.new).partitions


def truncate_trigger(mapping: Mapping, way: Direction, owner: TableName) -> Runnable:
    """TRUNCATE of a table, or of one partition of it, is carried."""
    when = raw(_NOT_COPYING if way is Direction.REVERSE else "")
    return sql.SQL("CREATE TRIGGER {} AFTER TRUNCATE ON {} FOR EACH STATEMENT {}EXECUTE FUNCTION {}()").format(
        trigger_name(way, "truncate"), table(owner), when, function_name(mapping, f"{way.value}_truncate")
    )


def drop_triggers(mapping: Mapping, direction: Direction, old: TableName) -> list[Runnable]:
    """The way back of ``triggers``; partitions' own are dropped by ``drop_functions``. The old table first, as there."""
    dropped: list[Runnable] = [
        sql.SQL("DROP TRIGGER IF EXISTS {} ON {}").format(trigger_name(way, what), table(source_of(mapping, way, old)))
        for way in direction.ways
        for what in reversed(trigger_kinds(mapping))
    ]
    return (gate.drop_triggers(mapping, old) if Direction.REVERSE in direction.ways else []) + dropped


def drop_functions(mapping: Mapping, direction: Direction) -> list[Runnable]:
    """The way back of ``prepare``; a function without arguments named is found by its unique name."""
    made: list[Runnable] = []
    for way in reversed(direction.ways):
        forward = way is Direction.FORWARD
        names = ("touch_old", "forward", *on_demand.names(mapping)) if forward else ("backward",)
        # CASCADE: the truncate triggers of partitions go with their function
        for name in (f"{way.value}_row", *(f"{way.value}_{o}" for o in (*sync_sets.OPERATIONS, "truncate")), *names):
            made.append(sql.SQL("DROP FUNCTION IF EXISTS {} CASCADE").format(function_name(mapping, name)))
        made.append(sql.SQL("DROP SEQUENCE IF EXISTS {}").format(write_counter(mapping, "old" if forward else "new")))
        made += () if forward else gate.drop_functions(mapping)
    return made
