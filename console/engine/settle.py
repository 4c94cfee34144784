"""Before rows are judged: carry again what could not be judged when it was written."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from console.engine import derive, lookup_changes, sync_parts, tombstones
from console.engine.derive import Composed, ands, column, commas, table
from console.engine.facts import MappingFacts
from console.engine.naming import function_name
from console.engine.session import Session
from console.journal.connect import Conn
from console.plan.model import Direction, Mapping
from console.text import several

# Shorter than deadlock_timeout (1 s by default): against a writer it is always the comparison that gives way.
CARRY_LOCK_TIMEOUT_MS = 500
# Noted by a transaction that ended before every snapshot now in use was taken. By transaction ids, not by clocks,
# which can be stepped; age() counts how many ids ago one was given out.
_RIPE = (
    "xid < pg_snapshot_xmin(pg_current_snapshot()) AND age(xid::xid) > coalesce((SELECT max(age(backend_xmin))"
    " FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()"
    " AND backend_type NOT LIKE 'autovacuum%%'), -1)"
)
SAY_AFTER_S = 3.0  # a longer wait for other transactions is said
BATCH = 500  # keys carried in one transaction
T = TypeVar("T")
_TAKE_RECHECKS = (
    "DELETE FROM pgferry.recheck WHERE id IN (SELECT id FROM pgferry.recheck WHERE mapping = {mapping}"
    f" AND key <> '{{{{}}}}' AND {_RIPE} ORDER BY id LIMIT {BATCH}) RETURNING key"
)


def settle(session: Session, mapping: Mapping, facts: MappingFacts) -> int:
    """Carry again what could not be judged when it was written: keys under old snapshots, and rejects that may be good.

    Waits (bounded by the operator's patience: any wish stops it) until every transaction that was open when such
    a key was noted has ended. What is noted from now on is for the next time, or an application that always writes above
    READ COMMITTED would hold us for ever. Returns the number of keys carried. Changes in lookups come first.
    """
    carried = lookup_changes.work_off(session, mapping, facts) + tombstones.work_off(session, mapping, facts)[0]
    began, said = time.monotonic(), False
    last = _last_recheck(session.conn, mapping)
    while rechecks(session.conn, mapping, last):
        carried += work_off(session, mapping, facts)
        waiting = rechecks(session.conn, mapping, last)
        if waiting and not said and time.monotonic() - began > SAY_AFTER_S:
            said = True
            session.event(
                "lock", f"{mapping.id}: {several(waiting, 'key')} can be judged once {_oldest(session.conn)} has ended"
            )
        if waiting:
            session.wishes.sleep(0.5)
    _say_what_was_noted(session, mapping)
    carried += _forget_stale(session, mapping, facts)
    doubtful = _patiently(session, lambda conn: conn.execute(_doubtful(mapping, facts)).fetchall())
    for start in range(0, len(doubtful), BATCH):
        session.wishes.check()
        part = doubtful[start : start + BATCH]
        carried += _carry(session, mapping, facts, lambda _, part=part: part)  # type: ignore[misc]
    return carried


def _say_what_was_noted(session: Session, mapping: Mapping) -> None:
    """Notes that name no key (a row that cannot go, triggers that keep changing a row) are told once, and forgotten."""
    if not session.run_id:  # a comparison outside of any run has no log
        return
    rows = session.conn.execute(
        "WITH noted AS (DELETE FROM pgferry.recheck WHERE mapping = %s AND key = '{}' RETURNING reason)"
        " SELECT reason, count(*) FROM noted GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 5",
        (mapping.id,),
    ).fetchall()
    for reason, times in rows:
        session.event("check", f"{mapping.id}: {reason}" + (f" ({times:,} times)" if times > 1 else ""))


def _forget_stale(session: Session, mapping: Mapping, facts: MappingFacts) -> int:
    """Rejects of rows that are not there: a TRUNCATE under an older snapshot could not see them."""
    stale = [
        sql.SQL("r.mapping = {} AND r.direction = {} AND NOT EXISTS (SELECT 1 FROM {} y WHERE {})").format(
            sql.Literal(mapping.id),
            sql.Literal(direction.value),
            table(side.name),
            sync_parts.from_json(side, key, "y", "r.key"),
        )
        for direction, side, key in (
            (Direction.FORWARD, facts.old, mapping.old_key),
            (Direction.REVERSE, facts.new, mapping.new_key),
        )
    ]
    _patiently(session, lambda conn: conn.execute(sql.SQL("DELETE FROM pgferry.reject r WHERE {}").format(stale[1])))
    find = sql.SQL("SELECT r.key FROM pgferry.reject r WHERE {}").format(stale[0])
    return _carry(session, mapping, facts, lambda conn: conn.execute(find).fetchall())


def work_off(session: Session, mapping: Mapping, facts: MappingFacts) -> int:
    """Carry again the keys noted under old snapshots that are ripe now; returns how many."""
    carried = 0
    take = sql.SQL(_TAKE_RECHECKS).format(mapping=sql.Literal(mapping.id))
    while taken := _carry(session, mapping, facts, lambda conn: conn.execute(take).fetchall()):
        carried += taken
    return carried


def _oldest(conn: Conn) -> str:
    """The transaction with the oldest snapshot, in words."""
    row = conn.execute(
        "SELECT pid, coalesce(nullif(application_name, ''), '(no name)'), xact_start FROM pg_stat_activity"
        " WHERE pid <> pg_backend_pid() AND datname = current_database() AND xact_start IS NOT NULL"
        " ORDER BY age(backend_xmin) DESC NULLS LAST, xact_start LIMIT 1"
    ).fetchone()
    return f"the transaction of {row[1]} (pid {row[0]}, open since {row[2]:%H:%M:%S} UTC)" if row else "an older one"


def _carry(
    session: Session, mapping: Mapping, facts: MappingFacts, find: Callable[[Conn], list[tuple[Any, ...]]]
) -> int:
    """Carry the keys that ``find`` gives, in one transaction.

    The old rows are locked first, so that what is read of them stays true until it is carried.
    """

    def work(conn: Conn) -> int:
        conn.execute(sync_parts.settling())
        tombstones.alone(conn, mapping)  # a batch may hold a row that is gone since
        keys = [row[0] for row in find(conn)]
        if keys:
            for statement in _lock_and_touch(mapping, facts, keys):
                conn.execute(statement)
        return len(keys)

    return _patiently(session, work)


def _patiently(session: Session, work: Callable[[Conn], T]) -> T:
    """``work`` in a transaction; stands aside for writers and tries again."""
    while True:
        session.wishes.check()
        conn = session.conn
        try:
            with conn.transaction():
                conn.execute(derive.raw(f"SET LOCAL lock_timeout = {CARRY_LOCK_TIMEOUT_MS}"))
                return work(conn)
        except (
            psycopg.errors.LockNotAvailable,
            psycopg.errors.DeadlockDetected,
            psycopg.errors.SerializationFailure,
        ):
            session.wishes.sleep(0.1)


def _values(mapping: Mapping, facts: MappingFacts, json: str) -> list[Composed]:
    """The old key's columns from its JSON."""
    types = {column.name: column.type for column in facts.old.columns}
    return [
        sql.SQL("({}->>{})::{}").format(derive.raw(json), sql.Literal(name), derive.raw(types[name]))
        for name in mapping.old_key
    ]


def _same(mapping: Mapping, facts: MappingFacts, alias: str, json: str) -> Composed:
    values = _values(mapping, facts, json)
    return ands(
        sql.SQL("{} = {}").format(column(alias, n), value) for n, value in zip(mapping.old_key, values, strict=True)
    )


def _lock_and_touch(mapping: Mapping, facts: MappingFacts, keys: list[Any]) -> tuple[sql.Composed, sql.Composed]:
    given = sql.SQL("jsonb_array_elements({}) k(key)").format(sql.Literal(Jsonb(keys)))
    old = table(facts.old.name)
    return (
        sql.SQL("SELECT 1 FROM {} JOIN {} o ON {} FOR NO KEY UPDATE OF o").format(
            given, old, _same(mapping, facts, "o", "k.key")
        ),
        sql.SQL("SELECT count({}({}, NOT EXISTS (SELECT 1 FROM {} o WHERE {}))::text) FROM {}").format(
            function_name(mapping, "touch_old"),
            commas(_values(mapping, facts, "k.key")),
            old,
            _same(mapping, facts, "o", "k.key"),
            given,
        ),
    )


def _doubtful(mapping: Mapping, facts: MappingFacts) -> sql.Composed:
    """The rejects that may no longer be right: their row is gone, or what is said against it is no longer so."""
    source = sql.SQL("(SELECT o.* FROM {} o WHERE {})").format(
        table(facts.old.name), _same(mapping, facts, "o", "r.key")
    )
    return sql.SQL(
        "SELECT r.key FROM pgferry.reject r WHERE r.mapping = {} AND r.direction = 'forward'"
        " AND (SELECT coalesce(t.pgferry_reason, '') FROM ({}) t) IS DISTINCT FROM r.reason"
    ).format(sql.Literal(mapping.id), derive.forward(mapping, facts, source, bulk=False))


def rejects(conn: Conn, mapping: Mapping) -> int:
    """Old rows that the new shape refused so far."""
    row = conn.execute(
        "SELECT count(*) FROM pgferry.reject WHERE mapping = %s AND direction = 'forward'", (mapping.id,)
    ).fetchone()
    return int(row[0]) if row else 0


def rechecks(conn: Conn, mapping: Mapping, last: int | None = None) -> int:
    """Keys noted because they were written under an older snapshot; up to the note ``last``, if given."""
    row = conn.execute(
        "SELECT count(*) FROM pgferry.recheck WHERE mapping = %s AND key <> '{}' AND id <= coalesce(%s, id)",
        (mapping.id, last),
    ).fetchone()
    return int(row[0]) if row else 0


def _last_recheck(conn: Conn, mapping: Mapping) -> int:
    row = conn.execute("SELECT max(id) FROM pgferry.recheck WHERE mapping = %s", (mapping.id,)).fetchone()
    return int(row[0] or 0) if row else 0
