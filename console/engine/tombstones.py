"""Tombstones: new keys that a writer left without a row while rows were being copied.

A batch of the copy may hold an old row in its snapshot that a writer deletes, gives another key or makes refused
meanwhile. The writer's trigger does not see the batch's uncommitted row, so it finds nothing to delete, and the row
would rise from the dead. Instead of locking every row that is copied, the trigger notes the new key, before it deletes.

Every batch holds one advisory lock of the mapping, shared, from before its snapshot until its end. Who works notes off
holds it exclusively: then no batch is open, every later one sees what the noted writers did, and what a noted key holds
now can be made right. At the end of a copy noting is switched off under the same lock: a writer that does not note any
more sees all that was copied. Writers that noted and are still open hold a lock on the notes' table; they are waited for.

Noting must have been on for every writer that a batch could meet: it begins in the transaction that creates the
triggers, which waits for all writers, or that empties the new table on the way back, which waits for all whose triggers
looked whether to note. A copy that finds it off (a second one of the same rows) locks the rows that it reads.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TypeVar

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from console.engine import derive, sync_parts
from console.engine.derive import Composed, ands, column, commas, raw, table
from console.engine.facts import MappingFacts
from console.engine.naming import function_name
from console.engine.session import Session
from console.journal.connect import Conn
from console.plan.model import Mapping

_CLASS = 0x70676674  # "pgft": the class of the batches' advisory locks
# Shorter than deadlock_timeout (1 s by default): against a writer or a batch it is always we who give way.
LOCK_TIMEOUT_MS = 500
BATCH = 500  # keys carried in one transaction
SAY_AFTER_S = 3.0  # a longer wait for other transactions is said
_AGAIN_S = 0.1
_PASSING = (
    psycopg.errors.LockNotAvailable,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.SerializationFailure,
)
T = TypeVar("T")
# Transactions that wrote notes and are open, prepared ones too; by their locks, which every role may see.
_OPEN = (
    "SELECT DISTINCT virtualtransaction FROM pg_locks WHERE locktype = 'relation' AND granted"
    " AND relation = 'pgferry.tombstone'::regclass AND mode = 'RowExclusiveLock'"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND pid IS DISTINCT FROM pg_backend_pid()"
)


def noting(mapping: Mapping) -> Composed:
    """Condition: a copy may be under way, so that keys left empty must be noted."""
    return sql.SQL("EXISTS (SELECT 1 FROM pgferry.noting WHERE mapping = {})").format(sql.Literal(mapping.id))


def note(mapping: Mapping, key: Composed) -> Composed:
    """PL/pgSQL: note the new key (jsonb of texts). Must come before the statement that deletes its row."""
    return sql.SQL(
        "{}IF {} THEN\n      INSERT INTO pgferry.tombstone (mapping, key) VALUES ({}, {});\n    END IF"
    ).format(before_looking(mapping), noting(mapping), sql.Literal(mapping.id), key)


def before_looking(mapping: Mapping) -> Composed:
    """PL/pgSQL: a lock on the new table, which ``begin`` waits for where the triggers are there already.

    Where several old rows may stand for one key the new row was locked before, and with it the table.
    """
    if derive.many_to_one(mapping):
        return raw("")
    return sql.SQL("PERFORM 1 FROM {} WHERE false;\n    ").format(table(mapping.new))


def noted_set(mapping: Mapping, keys: str) -> Composed:
    """A further CTE that notes the new keys of the CTE ``keys``, in the statement that deletes their rows."""
    return sql.SQL(
        ", pgferry_dead AS (\n      INSERT INTO pgferry.tombstone (mapping, key) SELECT {}, {} FROM {} t\n    )"
    ).format(sql.Literal(mapping.id), derive.key_json("t", mapping.new_key), raw(keys))


def begin(conn: Conn, mapping: Mapping) -> None:
    """Note from now on; in the transaction that creates the triggers, or has the new table to itself."""
    conn.execute("INSERT INTO pgferry.noting (mapping) VALUES (%s) ON CONFLICT DO NOTHING", (mapping.id,))


def forget(conn: Conn, mapping: Mapping) -> None:
    """The triggers are gone: nothing is noted any more."""
    conn.execute("DELETE FROM pgferry.noting WHERE mapping = %s", (mapping.id,))
    conn.execute("DELETE FROM pgferry.tombstone WHERE mapping = %s", (mapping.id,))


def enter(conn: Conn, mapping: Mapping) -> bool:
    """Begin a batch, in its transaction: nothing is worked off until it ends. Whether writers note: else lock the rows.

    The statement that copies must come later, so that its snapshot is newer than the lock.
    """
    conn.execute("SELECT pg_advisory_xact_lock_shared(%s, hashtext(%s))", (_CLASS, mapping.id))
    row = conn.execute(sql.SQL("SELECT {}").format(noting(mapping))).fetchone()
    return bool(row and row[0])


def stop(session: Session, mapping: Mapping) -> None:
    """All is copied: writers need not note any more."""
    _alone(session, mapping, lambda conn: conn.execute("DELETE FROM pgferry.noting WHERE mapping = %s", (mapping.id,)))


def work_off(session: Session, mapping: Mapping, facts: MappingFacts, patience_s: float = math.inf) -> tuple[int, int]:
    """Make right what every noted key holds; waits for the writers that noted and are open now.

    Returns (keys carried, writers still open after ``patience_s``: their notes stay for the next time).
    """
    waiting, began, said = open_writers(session.conn), time.monotonic(), False
    carried = _carry_all(session, mapping, facts)
    while waiting and time.monotonic() < began + patience_s:
        if not said and time.monotonic() > began + SAY_AFTER_S:
            said = True
            text = f"{mapping.id}: waits for {len(waiting):,} transactions that deleted rows while they were copied"
            session.event("lock", text)
        session.wishes.sleep(_AGAIN_S)
        waiting &= open_writers(session.conn)
        if not waiting:
            carried += _carry_all(session, mapping, facts)
    return carried, len(waiting)


def open_writers(conn: Conn) -> set[str]:
    """The transactions, of whatever mapping, that hold notes not yet to be seen."""
    return {row[0] for row in conn.execute(_OPEN).fetchall()}


def noted(conn: Conn, mapping: Mapping) -> bool:
    """Whether there are notes to be seen."""
    row = conn.execute("SELECT EXISTS (SELECT 1 FROM pgferry.tombstone WHERE mapping = %s)", (mapping.id,)).fetchone()
    return bool(row and row[0])


def _carry_all(session: Session, mapping: Mapping, facts: MappingFacts) -> int:
    """Notes whose key has no row go at once: mostly the writer saw the row that it deleted. The others are carried."""
    if not noted(session.conn, mapping):
        return 0
    _alone(session, mapping, lambda conn: conn.execute(_without_row(mapping, facts)))
    carried = 0
    while keys := _alone(session, mapping, lambda conn: _carry(conn, mapping, facts)):
        carried += keys
        session.wishes.check()
    return carried


def _carry(conn: Conn, mapping: Mapping, facts: MappingFacts) -> int:
    """Carry some of the noted keys; returns how many.

    Their rows are locked before the old ones are read: a writer that brings a key back waits, and then writes it.
    """
    keys = [
        row[0]
        for row in conn.execute(
            "DELETE FROM pgferry.tombstone WHERE ctid = ANY (ARRAY(SELECT ctid FROM pgferry.tombstone"
            " WHERE mapping = %s LIMIT %s)) RETURNING key",
            (mapping.id, BATCH),
        )
    ]
    if keys:
        for statement in _lock_and_carry(mapping, facts):
            conn.execute(statement, (Jsonb(keys),))
        # what carrying itself noted meanwhile
        conn.execute("DELETE FROM pgferry.tombstone WHERE mapping = %s AND xid = pg_current_xact_id()", (mapping.id,))
    return len(keys)


def alone(conn: Conn, mapping: Mapping) -> None:
    """Until the transaction ends no batch is open. The statements after this one see what every batch did."""
    conn.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", (_CLASS, mapping.id))


def _alone(session: Session, mapping: Mapping, work: Callable[[Conn], T]) -> T:
    """``work`` in a transaction during which no batch is open; stands aside for writers and tries again."""
    while True:
        conn = session.conn
        try:
            with conn.transaction():
                conn.execute(raw(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}"))
                conn.execute(sync_parts.settling())
                alone(conn, mapping)
                return work(conn)
        except _PASSING:
            session.wishes.sleep(_AGAIN_S)


def _values(mapping: Mapping, facts: MappingFacts, json: str) -> list[Composed]:
    """The new key's columns from its JSON."""
    types = {found.name: found.type for found in facts.new.columns}
    return [sql.SQL("({}->>{})::{}").format(raw(json), sql.Literal(name), raw(types[name])) for name in mapping.new_key]


def _same(mapping: Mapping, facts: MappingFacts, json: str) -> Composed:
    return ands(
        sql.SQL("{} = {}").format(column("n", name), value)
        for name, value in zip(mapping.new_key, _values(mapping, facts, json), strict=True)
    )


def _without_row(mapping: Mapping, facts: MappingFacts) -> sql.Composed:
    return sql.SQL(
        "DELETE FROM pgferry.tombstone t WHERE t.mapping = {} AND NOT EXISTS (SELECT 1 FROM {} n WHERE {})"
    ).format(sql.Literal(mapping.id), table(mapping.new), _same(mapping, facts, "t.key"))


def _lock_and_carry(mapping: Mapping, facts: MappingFacts) -> tuple[sql.Composed, sql.Composed]:
    keys = raw("jsonb_array_elements(%s) k(key)")
    return (
        sql.SQL("SELECT 1 FROM {} JOIN {} n ON {} ORDER BY {} FOR UPDATE OF n").format(
            keys,
            table(mapping.new),
            _same(mapping, facts, "k.key"),
            commas(column("n", name) for name in mapping.new_key),
        ),
        sql.SQL("SELECT count({}({})::text) FROM {}").format(
            function_name(mapping, "forward"), commas(_values(mapping, facts, "k.key")), keys
        ),
    )
