"""The gate between writers of both sides: who writes one side lets the other side's transactions end first.

A writer of the old table locks its row there, then the sync locks the row of the new table; a writer of the new table
goes the other way round, so two of them on one key deadlock. No row trigger can prevent it: the row is locked before
it fires. A trigger BEFORE the statement can: it takes the mapping's gate in a mode that its own side shares and the
other side does not.

The gate only avoids deadlocks; nothing rests on it. So it is never waited for longer than ``PATIENCE_MS``, which is
less than deadlock_timeout: a long transaction on one side cannot stop the other, and the gate is never part of a
deadlock itself. Who did not get it goes on without, is counted, and does not ask again for a while.

TRUNCATE is the other such pair: it holds its whole table and then wants the rows of the other one, whose writer has
locked some and wants the truncated table. So who passes the gate also locks the other table, as its writers do, before
it locks any row: then it waits for TRUNCATE to end with empty hands, and TRUNCATE waits for it before it begins.
"""

from __future__ import annotations

from psycopg import sql

from console.engine.derive import raw, table
from console.engine.naming import function_name
from console.plan.model import Mapping, TableName, Writers

Runnable = sql.SQL | sql.Composed
PATIENCE_MS = 200  # far below deadlock_timeout (1 s by default), far above a usual transaction
REST_S = 2  # after the gate was missed, a session does not wait for it again for so long
_SIDES = (("old", "ROW EXCLUSIVE"), ("new", "SHARE"))  # each mode goes with itself, not with the other


def gate(mapping: Mapping) -> sql.Identifier:
    """The mapping's gate: an empty table that is only ever locked."""
    return function_name(mapping, "gate")


def missed(mapping: Mapping) -> sql.Identifier:
    """Counts the transactions that went on without the gate."""
    return function_name(mapping, "gate_missed")


def _function_name(mapping: Mapping, side: str) -> sql.Identifier:
    return function_name(mapping, f"{side}_gate")


def _mark(mapping: Mapping) -> str:
    """What stands in the setting pgferry.gate once a transaction has passed."""
    return f",{mapping.id},"


def trigger_name() -> sql.Identifier:
    """``aa_``: before the application's own triggers, which may lock rows."""
    return sql.Identifier("aa_pgferry_gate")


def _function(mapping: Mapping, side: str, mode: str, other: TableName) -> sql.Composed:
    """A transaction passes the gate once: with its first statement, in the mode of that statement's side.

    What it writes to the other side later (the sync's own writes are the usual case) needs no second mode: asking
    for it would be the way to a deadlock. The mark of having passed is gone with the transaction or savepoint, and
    so are the locks.

    The other table is waited for as long as the application waits for locks: its row would be waited for so anyway.
    """
    return sql.SQL(
        """CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $pgferry$
DECLARE
  passed text := coalesce(current_setting('pgferry.gate', true), '');
  waits text := current_setting('lock_timeout');
BEGIN
  IF strpos(passed, {mark}) > 0 OR starts_with(current_setting('application_name'), 'pgferry run') THEN
    RETURN NULL;
  END IF;
  PERFORM set_config('pgferry.gate', passed || {mark}, true);
  IF clock_timestamp() < nullif(current_setting('pgferry.gate_rest', true), '')::timestamptz THEN
    PERFORM nextval({missed}::regclass);
  ELSE
    BEGIN
      PERFORM set_config('lock_timeout', {patience}, true);
      LOCK TABLE {gate} IN {mode} MODE;
      PERFORM set_config('lock_timeout', waits, true);
    EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
      PERFORM nextval({missed}::regclass),
        set_config('pgferry.gate_rest', (clock_timestamp() + interval {rest})::text, false);
    END;
  END IF;
  LOCK TABLE ONLY {other} IN ROW EXCLUSIVE MODE;
  RETURN NULL;
END
$pgferry$"""
    ).format(
        name=_function_name(mapping, side),
        patience=sql.Literal(f"{PATIENCE_MS}ms"),
        mark=sql.Literal(_mark(mapping)),
        missed=sql.Literal(missed(mapping).as_string(None)),
        gate=gate(mapping),
        mode=raw(mode),
        other=table(other),
        rest=sql.Literal(f"{REST_S} s"),
    )


def prepare(mapping: Mapping) -> list[Runnable]:
    """The gate itself; nothing where the plan wants none."""
    if mapping.writers is not Writers.ORDERED:
        return []
    return [
        sql.SQL("CREATE TABLE IF NOT EXISTS {} ()").format(gate(mapping)),
        sql.SQL("CREATE SEQUENCE IF NOT EXISTS {}").format(missed(mapping)),
    ]


def functions(mapping: Mapping, old: TableName) -> list[Runnable]:
    """The functions of both sides' triggers; made anew where the old table goes to another schema."""
    if mapping.writers is not Writers.ORDERED:
        return []
    return [_function(mapping, side, mode, mapping.new if side == "old" else old) for side, mode in _SIDES]


def triggers(mapping: Mapping, old: TableName) -> list[Runnable]:
    """A trigger on each side; both directions must be carried, else there is nothing to order.

    Who has passed already (the sync's own writes, later statements) is told by the condition, without a call.
    """
    if mapping.writers is not Writers.ORDERED:
        return []
    return [
        sql.SQL(
            "CREATE TRIGGER {} BEFORE INSERT OR UPDATE OR DELETE ON {} FOR EACH STATEMENT"
            " WHEN (coalesce(pg_catalog.strpos(pg_catalog.current_setting('pgferry.gate', true), {}), 0)"
            " OPERATOR(pg_catalog.=) 0) EXECUTE FUNCTION {}()"
        ).format(trigger_name(), table(owner), sql.Literal(_mark(mapping)), _function_name(mapping, side))
        for side, owner in (("old", old), ("new", mapping.new))
    ]


def drop_triggers(mapping: Mapping, old: TableName) -> list[Runnable]:
    """The way back of ``triggers``."""
    if mapping.writers is not Writers.ORDERED:
        return []
    return [
        sql.SQL("DROP TRIGGER IF EXISTS {} ON {}").format(trigger_name(), table(owner)) for owner in (old, mapping.new)
    ]


def drop_functions(mapping: Mapping) -> list[Runnable]:
    """The way back of ``prepare`` and ``functions``."""
    if mapping.writers is not Writers.ORDERED:
        return []
    return [
        *(sql.SQL("DROP FUNCTION IF EXISTS {}").format(_function_name(mapping, side)) for side, _ in _SIDES),
        sql.SQL("DROP SEQUENCE IF EXISTS {}").format(missed(mapping)),
        sql.SQL("DROP TABLE IF EXISTS {}").format(gate(mapping)),
    ]
