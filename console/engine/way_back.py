"""Emptying the new side on the way back: what only it holds is carried to the old side before anything goes.

While rows are compared and carried, the reverse sync is on, so that what applications write through the new shape
meanwhile is carried in their own transactions; it goes in the transaction that empties the table. Every step may
be repeated: after a crash the rows are compared again, and what was carried is found equal.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field, replace
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from console.engine import derive, lookups, naming, ranges, sync, tombstones
from console.engine.compare import settle
from console.engine.contract import limits, synced, truncate
from console.engine.derive import Composed, ands, column, commas, table
from console.engine.facts import MappingFacts, archived, mapping_facts
from console.engine.locking import run_in_transaction
from console.engine.pace import Pace
from console.engine.session import Session, retry_lost
from console.engine.signals.board import Board, throttles
from console.errors import StepFailed
from console.journal import events, runs
from console.journal.chunks import Key
from console.journal.connect import Conn
from console.plan.model import Direction, Mapping, TableName, Task
from console.text import several

FIRST_ROWS = 20_000
TARGET_MS = 250
CARRY_ROWS = 500  # rows carried back in one transaction
SAMPLES = 5
# Shorter than deadlock_timeout (1 s by default): against a writer it is always the rollback that gives way.
CARRY_LOCK_TIMEOUT_MS = 500
_FORGET = (
    "DELETE FROM pgferry.reject WHERE mapping = %s AND direction = 'reverse'"
    " AND key IN (SELECT jsonb_array_elements(%s))"
)
ONLY_NEW, DIFFERENT, MISSING = "only new", "different", "missing"


@dataclass
class Found:
    """What a comparison on the way back found; keys are those of the new table."""

    carried: int = 0
    missing: int = 0  # rows of the old table that the complete copy should hold and does not
    stuck: int = 0  # carried without effect: neither equal nor refused afterwards
    compared: int = 0  # rows of the ranges that were full, and the milliseconds they took
    ms: float = 0.0
    samples: list[Key] = field(default_factory=list)
    lost_samples: list[Key] = field(default_factory=list)


def empty(session: Session, task: Task, mapping: Mapping, *, complete: bool, forward_off: bool, accept: bool) -> None:
    """Carry back what only the new table holds, then empty it.

    ``complete``: the copy had ended, so a row that is missing was deleted through the new shape while nothing
    carried that. ``forward_off``: the forward sync's triggers go in the same transaction. ``accept``: an operator
    accepted by typing that what the old shape refuses is lost. Raises StepFailed, with nothing emptied.
    """
    both = not forward_off and _both_ways(session, mapping)
    run_in_transaction(
        session,
        task.id,
        f"carry writes of {mapping.new} back",
        limits(task),
        lambda conn: _watch(session, conn, mapping),
    )
    facts = mapping_facts(session.conn, mapping, session.plan.archive_schema)
    settle(session, mapping, facts)
    retry_rejects(session, mapping, facts)
    found = _carry_differences(session, task, mapping, facts)
    if found.carried:
        session.event(
            "batch",
            f"{found.carried:,} rows written only through {mapping.new} were carried back to {mapping.old},"
            f" among them {_keys(found.samples)}",
            task_id=task.id,
        )
    lost = _refuse_loss(session.conn, mapping, found, complete=complete, accept=accept)

    def work(conn: Conn) -> None:
        if (
            forward_off or not both
        ):  # triggers of the old table go too: it is locked as its writers do, before the new one
            conn.execute(lock(session.old_table(mapping), "ACCESS EXCLUSIVE"))
        conn.execute(lock(mapping.new, "ACCESS EXCLUSIVE"))
        if not accept:  # what was written since the comparison was carried, or refused and noted
            _refuse_loss(conn, mapping, found, complete=complete, accept=False)
        conn.execute(sync.mark_copying())  # whatever triggers are left (partitions have their own): the old table stays
        if not both:
            for statement in sync.drop_triggers(mapping, Direction.REVERSE, session.old_table(mapping)):
                conn.execute(statement)
        if forward_off:
            for statement in sync.drop_triggers(mapping, Direction.FORWARD, session.old_table(mapping)):
                conn.execute(statement)
            lookups.drop_triggers(conn, mapping)  # what a change carried now would fill the new table again
        conn.execute(truncate(mapping))
        if not forward_off:  # it may be copied again
            tombstones.begin(conn, mapping)
        conn.execute("DELETE FROM pgferry.reject WHERE mapping = %s AND direction = 'reverse'", (mapping.id,))
        if not both:
            for statement in sync.drop_functions(mapping, Direction.REVERSE):
                conn.execute(statement)

    run_in_transaction(session, task.id, f"empty {mapping.new}", limits(task), work)
    session.event(
        "ddl",
        f"{mapping.new} is empty again{lost}",
        task_id=task.id,
        mapping=mapping.id,
        compared=found.compared,
        ms=found.ms,
    )


def lock(name: TableName, mode: str) -> sql.Composed:
    """The statement that locks a table in this mode until the end of the transaction."""
    return sql.SQL("LOCK TABLE {} IN {} MODE").format(table(name), derive.raw(mode))


def rows_of_old(conn: Conn, archive_schema: str, mapping: Mapping) -> int:
    """Rows of the old table, wherever it stands, as the server last counted them; at least those that were copied."""
    row = conn.execute(
        "SELECT greatest((SELECT max(reltuples) FROM pg_class WHERE oid IN (to_regclass(%s), to_regclass(%s))),"
        " (SELECT max(seen) FROM (SELECT sum(rows_read) AS seen FROM pgferry.chunk WHERE mapping = %s"
        " GROUP BY run_id, task_id, round) s), 0)::bigint",
        (table(mapping.old).as_string(None), table(archived(mapping.old, archive_schema)).as_string(None), mapping.id),
    ).fetchone()
    return int(row[0]) if row else 0


def _both_ways(session: Session, mapping: Mapping) -> bool:
    """Whether a sync task that stays has the reverse direction on; ``_watch`` makes no TRUNCATE trigger."""
    row = session.conn.execute(
        "SELECT count(*) FROM pg_trigger WHERE tgrelid = to_regclass(%s) AND tgname = %s",
        (table(mapping.new).as_string(None), naming.trigger_text(Direction.REVERSE, "truncate")),
    ).fetchone()
    return bool(row and row[0])


def _watch(session: Session, conn: Conn, mapping: Mapping) -> None:
    """The reverse sync's row trigger. Not its TRUNCATE: emptying an incomplete new table must not empty the old one."""
    old = session.old_table(mapping)
    if synced(conn, mapping, Direction.REVERSE, old):
        return
    facts = mapping_facts(conn, mapping, session.plan.archive_schema)
    for statement in (
        lock(old, "SHARE ROW EXCLUSIVE"),  # before the new one, as who writes to the old table does
        *sync.prepare(mapping, facts, Direction.REVERSE, old),
        *sync.triggers(mapping, Direction.REVERSE, old),
        sql.SQL("DROP TRIGGER IF EXISTS {} ON {}").format(
            naming.trigger_name(Direction.REVERSE, "truncate"), table(mapping.new)
        ),
    ):
        conn.execute(statement)


def retry_rejects(session: Session, mapping: Mapping, facts: MappingFacts) -> None:
    """Carry again what the old shape refused earlier: the row may be gone or good by now."""
    rows = session.conn.execute(
        "SELECT key FROM pgferry.reject WHERE mapping = %s AND direction = 'reverse' ORDER BY key", (mapping.id,)
    ).fetchall()
    _carry(session, mapping, facts, [row[0] for row in rows])


def _carry_differences(session: Session, task: Task, mapping: Mapping, facts: MappingFacts) -> Found:
    found = Found()
    lead = derive.shared_lead(mapping)
    pace = Pace(FIRST_ROWS, TARGET_MS)
    # Without the probe: its query is the copy's own, and going back must not depend on it.
    limits = replace(task.backfill, probe_sql="")
    board = Board(throttles(limits, (facts.old.name, facts.new.name), lambda: session.open("probe")))
    low: Key | None = None
    compared = 0
    total = rows_of_old(session.conn, session.plan.archive_schema, mapping)
    while True:
        session.wishes.check()
        _hold_back(session, task, board)
        high = ranges.step(session.conn, facts.old, (lead[0],), low, None, pace.rows) if lead else None
        statement = differences_statement(mapping, facts, low, high)
        start = time.monotonic()
        rows = _look(session, statement)
        ms = (time.monotonic() - start) * 1000
        if high is not None:
            found.compared, found.ms = found.compared + pace.rows, found.ms + ms
        looked = pace.rows
        pace.feed(pace.rows, ms)
        wanted = [key for what, key, _ in rows if what != MISSING]
        found.missing += next((count for what, _, count in rows if what == MISSING), 0)
        found.lost_samples += [key for what, key, _ in rows if what == MISSING]
        if wanted:
            _carry(session, mapping, facts, wanted)
            stuck = [key for what, key, _ in _look(session, statement) if what != MISSING]
            found.stuck += len(stuck)
            found.lost_samples += stuck
            found.carried += len(wanted) - len(stuck)
            found.samples += wanted
        del found.samples[SAMPLES:], found.lost_samples[SAMPLES:]
        compared += looked
        note = f"about {min(compared, total):,} of {total:,} rows compared" if total else f"{compared:,} rows compared"
        runs.task_note(session.conn, session.run_id, task.id, note)
        events.notify(session.conn)
        if high is None:
            return found
        low = high


def differences_statement(mapping: Mapping, facts: MappingFacts, low: Key | None, high: Key | None) -> sql.Composed:
    """(what, key of the new table) of each row of a range that the other side does not hold equal.

    Rows that the old shape refused and that are noted as rejects are left out: nothing carries them.
    """
    lead = derive.shared_lead(mapping)
    old_range: Composed = sql.SQL("true")
    new_range: Composed = sql.SQL("true")
    if lead:
        as_new = [None if key is None else {lead[1]: key[lead[0]]} for key in (low, high)]
        old_range = ranges.between("s", (lead[0],), low, high)
        new_range = ranges.between("m", (lead[1],), as_new[0], as_new[1])
    names = [name for name, _ in mapping.columns]
    keys = commas(column("p", name) for name in mapping.new_key)
    n_key, g_key = derive.key_json("n", mapping.new_key), derive.key_json("g", mapping.new_key)
    return sql.SQL(
        """WITH good AS MATERIALIZED (
  SELECT DISTINCT ON ({keys}) p.* FROM ({projection}) p WHERE p.pgferry_reason IS NULL
  ORDER BY {keys}, p.pgferry_canonical DESC, {order}
), n AS MATERIALIZED (SELECT m.* FROM {new} m WHERE {new_range})
SELECT CASE WHEN {no_n} THEN {missing} WHEN g.pgferry_canonical IS NULL THEN {only_new} ELSE {different} END,
  CASE WHEN {no_n} THEN {g_key} ELSE {n_key} END
FROM good g FULL JOIN n ON {join}
WHERE ({no_n} OR g.pgferry_canonical IS NULL OR {differ})
  AND ({no_n} OR NOT EXISTS (SELECT 1 FROM pgferry.reject r
    WHERE r.mapping = {id} AND r.direction = 'reverse' AND r.key = {n_key}))"""
    ).format(
        keys=keys,
        projection=derive.forward(
            mapping,
            facts,
            sql.SQL("(SELECT s.* FROM {} s WHERE {})").format(table(facts.old.name), old_range),
            bulk=True,
        ),
        order=commas(column("p", f"pgferry_old_{i}") for i in range(len(mapping.old_key))),
        new=table(mapping.new),
        new_range=new_range,
        no_n=sql.SQL("{} IS NULL").format(column("n", mapping.new_key[0])),
        missing=sql.Literal(MISSING),
        only_new=sql.Literal(ONLY_NEW),
        different=sql.Literal(DIFFERENT),
        g_key=g_key,
        n_key=n_key,
        join=ands(sql.SQL("{} = {}").format(column("g", k), column("n", k)) for k in mapping.new_key),
        differ=derive.differ("g", "n", names, facts.new),
        id=sql.Literal(mapping.id),
    )


def _look(session: Session, statement: sql.Composed) -> list[tuple[str, Key, int]]:
    """(what, key, how many of that): every row to carry, of the missing ones a few, as they may be the whole table."""
    some = sql.SQL(
        "SELECT what, key, n FROM (SELECT what, key, count(*) OVER of_what AS n, row_number() OVER of_what AS place"
        " FROM ({}) d (what, key) WINDOW of_what AS (PARTITION BY what)) e WHERE what <> {} OR place <= {}"
    ).format(statement, sql.Literal(MISSING), sql.Literal(SAMPLES))

    def look() -> list[tuple[str, Key, int]]:
        conn = session.conn
        with conn.transaction():
            conn.execute("SET LOCAL work_mem = '64MB'")
            conn.execute("SET LOCAL enable_nestloop = off")  # see compare: the planner expects one row at a live end
            return [(what, key, count) for what, key, count in conn.execute(some).fetchall()]

    return retry_lost(session, look)


def _carry(session: Session, mapping: Mapping, facts: MappingFacts, keys: list[Key]) -> None:
    for start in range(0, len(keys), CARRY_ROWS):
        some = keys[start : start + CARRY_ROWS]
        retry_lost(session, lambda some=some: _carry_some(session, mapping, facts, some))  # type: ignore[misc]


def _carry_some(session: Session, mapping: Mapping, facts: MappingFacts, keys: list[Key]) -> None:
    """Make the old side hold what the new one holds under these keys; stands aside for writers and tries again.

    The new rows are locked first: a writer on the old side, whose trigger must write them, then waits or was
    there before, so that a newer value is never overwritten by an older one.
    """
    arguments = commas(_key_value(facts, name) for name in mapping.new_key)
    keys_from = sql.SQL("FROM jsonb_array_elements(%s) k(key)")
    match = ands(sql.SQL("{} = {}").format(column("n", name), _key_value(facts, name)) for name in mapping.new_key)
    lock = sql.SQL("SELECT count(*) FROM (SELECT 1 {} JOIN {} n ON {} FOR UPDATE OF n) l").format(
        keys_from, table(mapping.new), match
    )
    carry = sql.SQL("SELECT count({}({})::text) {}").format(
        naming.function_name(mapping, "backward"), arguments, keys_from
    )
    while True:
        session.wishes.check()
        try:
            with session.fenced() as conn:
                conn.execute(derive.raw(f"SET LOCAL lock_timeout = {CARRY_LOCK_TIMEOUT_MS}"))
                conn.execute(lock, (Jsonb(keys),))
                conn.execute(_FORGET, (mapping.id, Jsonb(keys)))  # noted anew where it is still refused
                conn.execute(carry, (Jsonb(keys),))
            return
        except (
            psycopg.errors.LockNotAvailable,
            psycopg.errors.DeadlockDetected,
            psycopg.errors.SerializationFailure,
        ):
            session.wishes.sleep(0.1)


def _key_value(facts: MappingFacts, name: str) -> Composed:
    found = facts.new.column(name)
    assert found is not None
    return sql.SQL("(k.key->>{})::{}").format(sql.Literal(name), derive.raw(found.type))


def _hold_back(session: Session, task: Task, board: Board) -> None:
    """Wait while a signal says that the server has enough to do."""
    said = False
    board.tick(session.conn)
    while board.holding:
        if not said:
            said = True
            session.event("throttle", f"going back is {board.words()}", task_id=task.id)
        session.wishes.sleep(0.5)
        board.tick(session.conn)


def _refuse_loss(conn: Conn, mapping: Mapping, found: Found, *, complete: bool, accept: bool) -> str:
    """What is lost in words (empty for nothing). Raises StepFailed unless it was accepted."""
    rows: list[tuple[Any, ...]] = conn.execute(
        "SELECT count(*) OVER (), key, reason FROM pgferry.reject WHERE mapping = %s AND direction = 'reverse'"
        " ORDER BY key LIMIT %s",
        (mapping.id, SAMPLES),
    ).fetchall()
    parts = []
    if rows:
        listed = "; ".join(f"{_keys([key])}: {reason}" for _, key, reason in rows)
        parts.append(f"{several(rows[0][0], 'row')} of {mapping.new} that {mapping.old} refuses ({listed})")
    if found.stuck:
        parts.append(f"{several(found.stuck, 'row')} of {mapping.new} without a way back ({_keys(found.lost_samples)})")
    if found.missing and complete:
        parts.append(
            f"{found.missing:,} deletions through {mapping.new} while nothing carried them"
            f" ({_keys(found.lost_samples)}): {mapping.old} keeps those rows"
        )
    lost = "; ".join(parts)
    if lost and not accept:
        raise StepFailed(
            f"Going back would lose {lost}.",
            state=f"{mapping.new} was not emptied; writes to it are still carried to {mapping.old}.",
            do="Save or mend them, or roll back again and type the database's name to accept the loss.",
        )
    return f"; lost, as accepted: {lost}" if lost else ""


def _keys(keys: list[Key]) -> str:
    return ", ".join(json.dumps(key, ensure_ascii=False) for key in keys)
