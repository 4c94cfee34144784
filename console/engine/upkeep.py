"""A sync that is on: its functions follow what later tasks change on the tables, and what a write pays for it is measured."""

from __future__ import annotations

import time

import psycopg
from psycopg import sql

from console.engine import sync, sync_state
from console.engine.contract import limits
from console.engine.derive import column, commas, raw, table
from console.engine.facts import MappingFacts, mapping_facts
from console.engine.locking import run_in_transaction
from console.engine.naming import function_name
from console.engine.session import Session
from console.errors import FerryError
from console.journal.connect import Conn
from console.plan.model import Direction, Mapping, TableName, Task

MEASURED_ROWS = 200
MEASURE_LOCK_MS = 100  # an application's writer is never made to wait longer for the measurement, nor it for one


def refresh(session: Session, task: Task) -> None:
    """Remake the functions whose text has changed: a constraint that a task added is then tested by expression too."""
    for mapping in session.plan.mappings:
        ways = [way for way in Direction.BOTH.ways if sync_state.is_on(session.conn, mapping, way)]
        if not ways:
            continue
        try:
            facts = mapping_facts(session.conn, mapping, session.plan.archive_schema)
        except FerryError as error:
            session.event("ddl", f"the sync of {mapping.id} no longer fits its tables: {error}", task_id=task.id)
            continue
        old = facts.old.name
        stale = [s for way in ways for s in sync.functions(mapping, facts, way, old) if not _made(session.conn, s)]
        if stale:

            def work(conn: Conn, stale: list[sync.Runnable] = stale) -> None:
                for statement in stale:
                    conn.execute(statement)

            run_in_transaction(session, task.id, f"functions for {mapping.id}", limits(task), work)
            session.event("ddl", f"the sync of {mapping.id} follows what changed on its tables", task_id=task.id)


def cover(session: Session, task: Task, mapping: Mapping) -> None:
    """Give partitions that were added since the sync went on the TRUNCATE trigger that their parent cannot give them."""
    for way in Direction.BOTH.ways:
        if not sync_state.is_on(session.conn, mapping, way):
            continue
        owner = sync.source_of(mapping, way, session.old_table(mapping))
        for partition in sync_state.uncovered(session.conn, way, owner):
            made = sync.truncate_trigger(mapping, way, partition)

            def work(conn: Conn, statement: sync.Runnable = made) -> None:
                conn.execute(statement)

            run_in_transaction(session, task.id, f"trigger on {partition}", limits(task), work)
            session.event("ddl", f"TRUNCATE of the new partition {partition} is carried too", task_id=task.id)


def _made(conn: Conn, statement: sync.Runnable) -> bool:
    """Whether a function with this text is there already."""
    body = statement.as_string(None).split("$pgferry$")[1]
    row = conn.execute(
        "SELECT EXISTS (SELECT 1 FROM pg_proc WHERE pronamespace = 'pgferry'::regnamespace AND prosrc = %s)", (body,)
    ).fetchone()
    return bool(row and row[0])


def cost(session: Session, mapping: Mapping, facts: MappingFacts, ways: tuple[Direction, ...]) -> str:
    """What the sync adds to a write at most, in words: measured on rows that are carried and rolled back.

    They are carried by the general functions; the usual write, which the trigger carries itself, costs less.

    Nothing of it stays, no trigger of an application fires (where there is one, it is not measured), and it gives way
    to any writer.
    """
    conn = session.conn
    if _application_triggers(conn, mapping, facts.old.name):
        return "its cost was not measured: triggers of the application would fire"
    parts = []
    try:
        with conn.transaction(force_rollback=True):
            conn.execute(raw(f"SET LOCAL lock_timeout = {MEASURE_LOCK_MS}"))
            conn.execute(sync.mark_copying())
            if Direction.FORWARD in ways:
                parts.append(("a write of", mapping.old, _forward_us(conn, mapping, facts.old.name)))
            if Direction.REVERSE in ways:
                parts.append(("what is equal already in", mapping.new, _backward_us(conn, mapping)))
    except psycopg.Error as error:
        if conn.closed or conn.broken:
            raise
        return f"its cost was not measured: {str(error).splitlines()[0]}"
    known = [f"{what} {name} up to about {us:.0f} us a row" for what, name, us in parts if us is not None]
    if not known:
        return "its cost was not measured: the table is empty"
    return f"adds to {', to '.join(known)} (up to {MEASURED_ROWS} rows carried, then rolled back)"


def _application_triggers(conn: Conn, mapping: Mapping, old: TableName) -> bool:
    row = conn.execute(
        "SELECT count(*) FROM pg_trigger WHERE tgrelid IN (to_regclass(%s), to_regclass(%s)) AND NOT tgisinternal"
        " AND tgname NOT LIKE '%%pgferry%%'",
        (table(old).as_string(None), table(mapping.new).as_string(None)),
    ).fetchone()
    return bool(row and row[0])


def _forward_us(conn: Conn, mapping: Mapping, old: TableName) -> float | None:
    keys = commas(column("o", name) for name in mapping.old_key)
    return _us(conn, old, sql.SQL("{}({}, false)").format(function_name(mapping, "touch_old"), keys))


def _backward_us(conn: Conn, mapping: Mapping) -> float | None:
    keys = commas(column("o", name) for name in mapping.new_key)
    return _us(conn, mapping.new, sql.SQL("{}({})").format(function_name(mapping, "backward"), keys))


def _us(conn: Conn, owner: TableName, call: sql.Composed) -> float | None:
    """Microseconds a row; None without rows. The first call plans the function's statements and is not counted."""

    def carry(rows: int) -> int:
        query = sql.SQL("SELECT count({}::text) FROM (SELECT z.* FROM {} z LIMIT {}) o").format(
            call, table(owner), sql.Literal(rows)
        )
        found = conn.execute(query).fetchone()
        return int(found[0]) if found else 0

    carry(1)
    start = time.monotonic()
    rows = carry(MEASURED_ROWS)
    seconds = time.monotonic() - start
    return seconds / rows * 1e6 if rows else None
