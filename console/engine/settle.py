"""Before rows are judged: carry again what could not be judged when it was written."""

from __future__ import annotations

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from console.engine import derive
from console.engine.derive import ands, column, commas, table
from console.engine.facts import MappingFacts
from console.engine.naming import function_name
from console.engine.session import Session
from console.journal.connect import Conn
from console.plan.model import Mapping

# Shorter than deadlock_timeout (1 s by default): against a writer it is always the comparison that gives way.
CARRY_LOCK_TIMEOUT_MS = 500
_RIPE = (  # noted before every transaction that is open now
    "at < coalesce((SELECT min(xact_start) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
    " AND datname = current_database()), 'infinity')"
)
_TAKE_RECHECKS = f"DELETE FROM pgferry.recheck WHERE mapping = %s AND key <> '{{}}' AND {_RIPE} RETURNING key"


def settle(session: Session, mapping: Mapping, facts: MappingFacts) -> int:
    """Carry again what could not be judged when it was written: keys under old snapshots, and rejects that may be good.

    Waits (bounded by the operator's patience: any wish stops it) until every transaction that was open when such
    a key was noted has ended. Returns the number of keys carried.
    """
    conn = session.conn
    call = _touch(mapping, facts)
    carried = 0
    while True:
        row = conn.execute(
            "SELECT count(*) FROM pgferry.recheck WHERE mapping = %s AND key <> '{}'", (mapping.id,)
        ).fetchone()
        noted = row[0] if row else 0
        taken = _carry_all(session, call, _TAKE_RECHECKS, mapping) if noted else 0
        carried += taken
        if taken >= noted:
            break
        session.wishes.sleep(0.5)
    return carried + _carry_all(
        session, call, "SELECT key FROM pgferry.reject WHERE mapping = %s AND direction = 'forward'", mapping
    )


def _touch(mapping: Mapping, facts: MappingFacts) -> sql.Composed:
    arguments = [
        sql.SQL("(k.key->>{})::{}").format(sql.Literal(name), derive.raw(_type(facts, name)))
        for name in mapping.old_key
    ]
    gone = sql.SQL("NOT EXISTS (SELECT 1 FROM {} o WHERE {})").format(
        table(facts.old.name),
        ands(
            sql.SQL("{} = {}").format(column("o", name), argument)
            for name, argument in zip(mapping.old_key, arguments, strict=True)
        ),
    )
    return sql.SQL("SELECT count({}({}, {})::text) FROM jsonb_array_elements(%s) k(key)").format(
        function_name(mapping, "touch_old"), commas(arguments), gone
    )


def _type(facts: MappingFacts, name: str) -> str:
    found = facts.old.column(name)
    assert found is not None
    return found.type


def _carry_all(session: Session, call: sql.Composed, find: str, mapping: Mapping) -> int:
    """Carry the keys that ``find`` gives, in one transaction; stands aside for writers and tries again."""
    while True:
        conn = session.conn
        try:
            with conn.transaction():
                conn.execute(derive.raw(f"SET LOCAL lock_timeout = {CARRY_LOCK_TIMEOUT_MS}"))
                keys = [row[0] for row in conn.execute(derive.raw(find), (mapping.id,)).fetchall()]
                for start in range(0, len(keys), 500):
                    conn.execute(call, (Jsonb(keys[start : start + 500]),))
            return len(keys)
        except (
            psycopg.errors.LockNotAvailable,
            psycopg.errors.DeadlockDetected,
            psycopg.errors.SerializationFailure,
        ):
            session.wishes.sleep(0.1)


def rejects(conn: Conn, mapping: Mapping) -> int:
    """Old rows that the new shape refused so far."""
    row = conn.execute(
        "SELECT count(*) FROM pgferry.reject WHERE mapping = %s AND direction = 'forward'", (mapping.id,)
    ).fetchone()
    return int(row[0]) if row else 0


def rechecks(conn: Conn, mapping: Mapping) -> int:
    """Keys noted because they were written under an older snapshot."""
    row = conn.execute(
        "SELECT count(*) FROM pgferry.recheck WHERE mapping = %s AND key <> '{}'", (mapping.id,)
    ).fetchone()
    return int(row[0]) if row else 0
