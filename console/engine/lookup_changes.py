"""Works off noted changes in lookups: every row they concern is carried again, in batches, before rows are compared.

A writer that resolved its row before a change was committed may commit after it. So a note is worked off only when
every transaction that was open when the note was first seen has ended: then no row can still resolve the old way.
"""

from __future__ import annotations

import time
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from console.engine import derive, lookup_rows, ranges, sync_parts
from console.engine.derive import Composed, ands, column, commas, raw, table
from console.engine.facts import MappingFacts
from console.engine.naming import function_name
from console.engine.session import Session
from console.journal.chunks import Key
from console.journal.connect import Conn
from console.plan.model import Direction, Lookup, Mapping

PAGE_ROWS = 500
SAY_AFTER_S = 5.0
# Shorter than deadlock_timeout (1 s by default): against a writer it is always we who give way.
LOCK_TIMEOUT_MS = 500
# Transactions open in this database, prepared ones too; by their locks, which every role may see.
_OPEN = (
    "SELECT l.virtualxid FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid WHERE l.locktype = 'virtualxid'"
    " AND l.granted AND l.mode = 'ExclusiveLock' AND l.pid <> pg_backend_pid()"
    " AND a.datid = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND NOT starts_with(coalesce(a.backend_type, ''), 'autovacuum')"
    " UNION ALL SELECT 'prepared ' || gid FROM pg_prepared_xacts WHERE database = current_database()"
)
_AGAIN = (
    psycopg.errors.LockNotAvailable,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.SerializationFailure,
)


def open_notes(conn: Conn, mapping: Mapping) -> int:
    """Changes in lookups whose rows were not carried yet: while there is one, the tables may differ."""
    there = conn.execute("SELECT to_regclass('pgferry.lookup_change') IS NOT NULL").fetchone()
    if not there or not there[0]:  # a comparison where no run ever was
        return 0
    row = conn.execute(
        "SELECT count(*) FROM pgferry.lookup_change WHERE mapping = %s AND NOT carried", (mapping.id,)
    ).fetchone()
    return int(row[0]) if row else 0


def newest(conn: Conn) -> int:
    """The number of the newest change noted of any lookup, worked off or not; it only ever grows.

    0 for a role that may only read the journal's tables: up to 16 the server refuses it the number, later it hides it.
    """
    there = conn.execute("SELECT to_regclass('pgferry.lookup_change') IS NOT NULL").fetchone()
    if not there or not there[0]:
        return 0
    row = conn.execute(
        "SELECT CASE WHEN has_sequence_privilege(s.name, 'SELECT') THEN pg_sequence_last_value(s.name::regclass) END"
        " FROM pg_get_serial_sequence('pgferry.lookup_change', 'id') s(name)"
    ).fetchone()
    return int(row[0] or 0) if row else 0


def work_off(session: Session, mapping: Mapping, facts: MappingFacts) -> int:
    """Carry every row that noted changes concern; returns how many. Waits for open transactions, unless stopped."""
    carried = 0
    began = time.monotonic()
    said = False
    last = _last_note(session.conn, mapping)
    while last is not None:
        ripe, waiting = _ripe(session.conn, mapping, last)
        if ripe:
            carried += _carry(session, mapping, facts, ripe)
        if not waiting:
            break
        if not said and time.monotonic() - began > SAY_AFTER_S:
            said = True
            _say(
                session, f"{mapping.id}: a lookup changed; waits for transactions that were open then to end: {waiting}"
            )
        session.wishes.sleep(0.1)
    if carried:
        _say(session, f"{mapping.id}: {carried:,} rows carried again after changes in lookups")
    return carried


def _say(session: Session, text: str) -> None:
    if session.run_id:  # a comparison outside of any run has no log
        session.event("check", text)


def _last_note(conn: Conn, mapping: Mapping) -> int | None:
    """The newest note now: later ones are for the next time, or a busy lookup would hold us for ever."""
    row = conn.execute("SELECT max(id) FROM pgferry.lookup_change WHERE mapping = %s", (mapping.id,)).fetchone()
    return row[0] if row else None


def _ripe(conn: Conn, mapping: Mapping, last: int) -> tuple[list[int], int]:
    """(notes that no open transaction can have missed, how many transactions the others wait for)."""
    conn.execute(
        sql.SQL(
            "UPDATE pgferry.lookup_change SET waits = ARRAY({}) WHERE mapping = %s AND id <= %s AND waits IS NULL"
        ).format(raw(_OPEN)),
        (mapping.id, last),
    )
    row = conn.execute(
        sql.SQL(
            "WITH open AS MATERIALIZED ({open}), n AS (SELECT c.id, ARRAY(SELECT o.virtualxid FROM open o"
            " WHERE o.virtualxid = ANY (c.waits)) AS still FROM pgferry.lookup_change c WHERE mapping = %s AND id <= %s"
            " AND waits IS NOT NULL) SELECT coalesce(array_agg(id) FILTER (WHERE still = '{{}}'), '{{}}'),"
            " coalesce(max(cardinality(still)), 0) FROM n"
        ).format(open=raw(_OPEN)),
        (mapping.id, last),
    ).fetchone()
    assert row is not None
    return row[0], int(row[1])


def _carry(session: Session, mapping: Mapping, facts: MappingFacts, notes: list[int]) -> int:
    """Carry what these notes concern, then forget them; a runner that dies in between does it all again."""
    carried = 0
    for lookup in mapping.lookups:
        carried += _rows(session, mapping, facts, lookup, notes)
    for lookup in mapping.lookups:
        if lookup_rows.is_key(mapping, lookup):
            carried += _left_behind(session, mapping, facts, lookup, notes)
    if _reversed(session.conn, mapping):
        carried += _refused_on_the_way_back(session, mapping, facts)
    session.conn.execute("DELETE FROM pgferry.lookup_change WHERE id = ANY (%s)", (notes,))
    return carried


def _patiently(
    session: Session, query: sql.Composed, parameters: tuple[Any, ...], lock: sql.Composed | None = None
) -> tuple[Any, ...]:
    """The row of a carrying statement in a transaction of its own; stands aside for writers and tries again.

    ``lock`` locks the rows it reads, with the same parameters: what is read of them stays true until it is carried.
    """
    while True:
        session.wishes.check()
        try:
            with session.conn.transaction():
                session.conn.execute(raw(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}"))
                session.conn.execute(sync_parts.settling())
                if lock is not None:
                    session.conn.execute(lock, parameters)
                row = session.conn.execute(query, parameters).fetchone()
            return row or (0,)
        except _AGAIN:
            session.wishes.sleep(0.1)


def _arguments(facts: MappingFacts, names: tuple[str, ...], *, old: bool) -> Composed:
    side = facts.old if old else facts.new
    return commas(
        sql.SQL("(k.key->>{})::{}").format(sql.Literal(name), lookup_rows.plain_type(side, name)) for name in names
    )


def _rows(session: Session, mapping: Mapping, facts: MappingFacts, lookup: Lookup, notes: list[int]) -> int:
    """Old rows whose value is in the notes, walked by key in pages."""
    names = ranges.old_order(mapping, facts)
    order = commas(column("o", name) for name in names)
    call = sql.SQL(
        "SELECT count({relook}({keys}, (n->>0)::{gives}, (n->>1)::boolean)::text)"
        " FROM jsonb_array_elements(%s) k(key), jsonb_array_elements(k.key->'pgferry_notes') n"
    ).format(
        relook=lookup_rows.relook_name(mapping, lookup),
        keys=_arguments(facts, mapping.old_key, old=True),
        gives=lookup_rows.plain_type(facts.new, lookup_rows.resolved_column(mapping, lookup)),
    )
    carried = 0
    low: Key | None = None
    while True:
        session.wishes.check()
        page = sql.SQL(
            "SELECT {key} || jsonb_build_object('pgferry_notes',"
            " jsonb_agg(DISTINCT jsonb_build_array(c.gives, c.removed AND c.canonical)))"
            " FROM {old} o JOIN pgferry.lookup_change c ON {matched}"
            " WHERE c.id = ANY (%s) AND c.lookup = %s AND {beyond} GROUP BY {order} ORDER BY {order} LIMIT {page}"
        ).format(
            key=derive.key_json("o", mapping.old_key),
            old=table(facts.old.name),
            matched=lookup_rows.matched(lookup, facts, "c"),
            beyond=ranges.beyond("o", names, low),
            order=order,
            page=sql.Literal(PAGE_ROWS),
        )
        found = [row[0] for row in session.conn.execute(page, (notes, lookup.name)).fetchall()]
        if found:
            _patiently(session, call, (Jsonb(found),))
            carried += len(found)
        if len(found) < PAGE_ROWS:
            return carried
        low = {name: found[-1][name] for name in names}


def _left_behind(session: Session, mapping: Mapping, facts: MappingFacts, lookup: Lookup, notes: list[int]) -> int:
    """New rows under a value that was taken away, behind which no old row stands any more."""
    key: dict[str, Composed] = {name: column("n", name) for name in mapping.new_key}
    found = sql.SQL(
        "SELECT {key} AS key FROM {new} n WHERE n.{resolved} IN (SELECT c.gives::{type} FROM pgferry.lookup_change c"
        " WHERE c.id = ANY (%s) AND c.lookup = %s AND c.removed AND c.gives IS NOT NULL)"
        " AND NOT EXISTS (SELECT 1 FROM {behind} z) AND NOT EXISTS (SELECT 1 FROM pgferry.reject r"
        " WHERE r.mapping = {mapping} AND r.direction = 'reverse' AND r.key = {key}) ORDER BY {order} LIMIT {page}"
    ).format(
        key=derive.key_json("n", mapping.new_key),
        new=table(mapping.new),
        resolved=sql.Identifier(lookup_rows.resolved_column(mapping, lookup)),
        type=lookup_rows.plain_type(facts.new, lookup_rows.resolved_column(mapping, lookup)),
        behind=derive.preimage(mapping, facts.old.name, key),
        mapping=sql.Literal(mapping.id),
        order=commas(column("n", name) for name in mapping.new_key),
        page=sql.Literal(PAGE_ROWS),
    )
    call = sql.SQL("SELECT count({carry}({keys})::text) FROM ({found}) k").format(
        carry=function_name(mapping, Direction.FORWARD.value),
        keys=_arguments(facts, mapping.new_key, old=False),
        found=found,
    )
    carried = 0
    while count := int(_patiently(session, call, (notes, lookup.name))[0]):
        carried += count
        if count < PAGE_ROWS:
            break
    return carried


def _reversed(conn: Conn, mapping: Mapping) -> bool:
    row = conn.execute(
        "SELECT to_regprocedure(%s) IS NOT NULL",
        (function_name(mapping, "reverse_row").as_string(None) + "()",),
    ).fetchone()
    return bool(row and row[0])


def _refused_on_the_way_back(session: Session, mapping: Mapping, facts: MappingFacts) -> int:
    """Rows of the new table that the old one could not hold: a lookup may lead back now."""
    rows = session.conn.execute(
        "SELECT key FROM pgferry.reject WHERE mapping = %s AND direction = 'reverse' ORDER BY key", (mapping.id,)
    ).fetchall()
    values = [
        sql.SQL("(k.key->>{})::{}").format(sql.Literal(name), lookup_rows.plain_type(facts.new, name))
        for name in mapping.new_key
    ]
    lock = sql.SQL("SELECT 1 FROM jsonb_array_elements(%s) k(key) JOIN {} n ON {} FOR NO KEY UPDATE OF n").format(
        table(mapping.new),
        ands(
            sql.SQL("{} = {}").format(column("n", name), value)
            for name, value in zip(mapping.new_key, values, strict=True)
        ),
    )
    call = sql.SQL("SELECT count({}({})::text) FROM jsonb_array_elements(%s) k(key)").format(
        function_name(mapping, "backward"), commas(values)
    )
    for start in range(0, len(rows), PAGE_ROWS):
        _patiently(session, call, (Jsonb([row[0] for row in rows[start : start + PAGE_ROWS]]),), lock)
    return len(rows)


def forget(conn: Conn, mapping: Mapping) -> None:
    """The sync is off: what was noted for it means nothing."""
    conn.execute("DELETE FROM pgferry.lookup_change WHERE mapping = %s", (mapping.id,))
