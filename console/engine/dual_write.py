"""Switching the sync of one direction on and off, and emptying the new side on the way back."""

from __future__ import annotations

from console.engine import lookup_changes, lookups, refusals, sync, tombstones, upkeep, way_back
from console.engine.contract import limits, synced, wait_quiet
from console.engine.facts import mapping_facts
from console.engine.locking import run_in_transaction
from console.engine.session import Session
from console.engine.sync import Runnable
from console.journal import runs
from console.journal.connect import Conn
from console.plan.model import Changes, Direction, Kind, Mapping, TableName, Task

PARTING_QUIET_S = 2.0  # before a reverse sync goes, nobody may have written to the new side for so long
PARTING_LIMIT_S = 120.0


def sync_on(session: Session, task: Task) -> None:
    """Create functions, then the triggers: CREATE TRIGGER is the barrier after which no write escapes."""
    notes: list[str] = []
    for mapping in session.mappings(task.mappings):
        facts = mapping_facts(session.conn, mapping, session.plan.archive_schema)
        refusals.refuse(session.conn, mapping, facts, task.direction)
        old = facts.old.name

        def functions(conn: Conn, mapping: Mapping = mapping, old: TableName = old) -> None:
            facts = mapping_facts(conn, mapping, session.plan.archive_schema)
            for statement in sync.prepare(mapping, facts, task.direction, old):
                conn.execute(statement)
            if Direction.FORWARD in task.direction.ways:
                for statement in lookups.functions(conn, mapping, facts):
                    conn.execute(statement)
            conn.execute(
                "INSERT INTO pgferry.lead (mapping, leads, old_table) VALUES (%s, 'old', %s) ON CONFLICT DO NOTHING",
                (mapping.id, str(mapping.old)),
            )

        def barrier(conn: Conn, mapping: Mapping = mapping, old: TableName = old) -> None:
            facts = mapping_facts(conn, mapping, session.plan.archive_schema)
            if Direction.REVERSE in task.direction.ways:  # as writers of the old table lock: it, then the new one
                conn.execute(way_back.lock(old, "SHARE ROW EXCLUSIVE"))
            for way in task.direction.ways:
                if not synced(conn, mapping, way, old):
                    for statement in sync.triggers(mapping, way, old, facts):
                        conn.execute(statement)
                    if way is Direction.FORWARD and _is_copied(session, mapping):
                        tombstones.begin(conn, mapping)
                    for statement in refusals.always(conn, mapping, way, old):
                        conn.execute(statement)

        run_in_transaction(session, task.id, f"functions for {mapping.id}", limits(task), functions)
        if Direction.FORWARD in task.direction.ways:
            _watch_lookups(session, task, mapping)
        run_in_transaction(session, task.id, f"triggers on {mapping.id}", limits(task), barrier)
        if Direction.REVERSE in task.direction.ways:
            way_back.retry_rejects(session, mapping, facts)
        arrow = {
            Direction.FORWARD: f"{mapping.old} to {mapping.new}",
            Direction.REVERSE: f"{mapping.new} to {mapping.old}",
            Direction.BOTH: f"{mapping.old} to {mapping.new} and back",
        }[task.direction]
        paid = upkeep.cost(session, mapping, facts, task.direction.ways)
        session.event("ddl", f"every write is now carried from {arrow}: {paid}", task_id=task.id)
        notes.append(paid)
        if warning := refusals.open_schemas(session.conn, mapping, facts):
            session.event("warning", warning, task_id=task.id)
    runs.task_note(session.conn, session.run_id, task.id, f"triggers on; {'; '.join(notes)}")


def _is_copied(session: Session, mapping: Mapping) -> bool:
    return any(task.kind is Kind.BACKFILL and mapping.id in task.mappings for task in session.plan.tasks)


def _watch_lookups(session: Session, task: Task, mapping: Mapping) -> None:
    """Triggers on the tables behind the lookups, before the first row is carried through them."""
    for owner, statements in lookups.triggers(session.conn, mapping):

        def watch(conn: Conn, statements: list[Runnable] = statements) -> None:
            for statement in statements:
                conn.execute(statement)

        run_in_transaction(session, task.id, f"triggers on {owner}", limits(task), watch)
    for lookup in mapping.lookups:
        words = {
            Changes.CARRY: "changes are carried",
            Changes.FORBID: "changes are forbidden, additions are carried",
            Changes.UNCOVERED: "changes are not seen: a comparison names what they make differ",
        }[lookup.changes]
        session.event("ddl", f"lookup {lookup.relation} of {mapping.id}: {words}", task_id=task.id)


def sync_off(session: Session, task: Task, *, accept: bool) -> None:
    """The way back of ``sync_on``. A reverse sync first waits until nobody writes to the new side any more.

    With the forward sync goes what it brought: the new table is emptied in the transaction that drops the triggers,
    after carrying back what only it holds.
    """
    mappings = tuple(reversed(session.mappings(task.mappings)))
    if Direction.REVERSE in task.direction.ways:
        on = tuple(m for m in mappings if synced(session.conn, m, Direction.REVERSE, m.old))
        if on:
            wait_quiet(session, task, on, "new", PARTING_QUIET_S, PARTING_LIMIT_S)
    for mapping in mappings:
        old = session.old_table(mapping)

        def work(conn: Conn, mapping: Mapping = mapping, old: TableName = old) -> None:
            if Direction.REVERSE in task.direction.ways:  # as writers of the old table lock: it, then the new one
                conn.execute(way_back.lock(old, "ACCESS EXCLUSIVE"))
            for statement in sync.drop_triggers(mapping, task.direction, old):
                conn.execute(statement)
            if Direction.FORWARD in task.direction.ways:
                lookups.drop_triggers(conn, mapping)

        def rest(conn: Conn, mapping: Mapping = mapping) -> None:
            for statement in sync.drop_functions(mapping, task.direction):
                conn.execute(statement)
            if Direction.FORWARD in task.direction.ways:
                lookups.drop_functions(conn, mapping)
                lookup_changes.forget(conn, mapping)
                conn.execute("DELETE FROM pgferry.reject WHERE mapping = %s", (mapping.id,))
                conn.execute("DELETE FROM pgferry.recheck WHERE mapping = %s", (mapping.id,))
                tombstones.forget(conn, mapping)
                conn.execute("DELETE FROM pgferry.lead WHERE mapping = %s", (mapping.id,))

        if Direction.FORWARD in task.direction.ways and synced(session.conn, mapping, Direction.FORWARD, old):
            way_back.empty(session, task, mapping, complete=False, forward_off=True, accept=accept)
        else:
            run_in_transaction(session, task.id, f"triggers off {mapping.id}", limits(task), work)
        run_in_transaction(session, task.id, f"functions of {mapping.id}", limits(task), rest)
        session.event("ddl", f"{mapping.id}: {task.direction.value} sync is off", task_id=task.id)


def empty_new(session: Session, task: Task, *, complete: bool, accept: bool) -> None:
    """The way back of a backfill: the new table is emptied, after carrying back what only it holds.

    ``complete`` and ``accept`` as in ``way_back.empty``.
    """
    for mapping in reversed(session.mappings(task.mappings)):
        way_back.empty(session, task, mapping, complete=complete, forward_off=False, accept=accept)
