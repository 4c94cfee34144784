"""Switching the sync of one direction on and off, and emptying the new side on the way back."""

from __future__ import annotations

from console.engine import sync
from console.engine.compare import extra_rows
from console.engine.contract import limits, synced, truncate, wait_quiet
from console.engine.ddl import run_in_transaction
from console.engine.facts import mapping_facts
from console.engine.session import Session
from console.errors import StepFailed
from console.journal import runs
from console.journal.connect import Conn
from console.plan.model import Direction, Mapping, TableName, Task

PARTING_QUIET_S = 2.0  # before a reverse sync goes, nobody may have written to the new side for so long
PARTING_LIMIT_S = 120.0


def sync_on(session: Session, task: Task) -> None:
    """Create functions, then the triggers: CREATE TRIGGER is the barrier after which no write escapes."""
    for mapping in session.mappings(task.mappings):
        facts = mapping_facts(session.conn, mapping, session.plan.archive_schema)
        old = facts.old.name

        def functions(conn: Conn, mapping: Mapping = mapping, old: TableName = old) -> None:
            facts = mapping_facts(conn, mapping, session.plan.archive_schema)
            for statement in sync.prepare(mapping, facts, task.direction, old):
                conn.execute(statement)
            conn.execute(
                "INSERT INTO pgferry.lead (mapping, leads, old_table) VALUES (%s, 'old', %s) ON CONFLICT DO NOTHING",
                (mapping.id, str(mapping.old)),
            )

        def barrier(conn: Conn, mapping: Mapping = mapping, old: TableName = old) -> None:
            if not synced(conn, mapping, task.direction, old):
                for statement in sync.triggers(mapping, task.direction, old):
                    conn.execute(statement)

        run_in_transaction(session, task.id, f"functions for {mapping.id}", limits(task), functions)
        run_in_transaction(session, task.id, f"triggers on {mapping.id}", limits(task), barrier)
        arrow = (
            f"{mapping.old} to {mapping.new}"
            if task.direction is Direction.FORWARD
            else f"{mapping.new} to {mapping.old}"
        )
        session.event("ddl", f"every write is now carried from {arrow}", task_id=task.id)
    runs.task_note(session.conn, session.run_id, task.id, "triggers on")


def sync_off(session: Session, task: Task) -> None:
    """The way back of ``sync_on``; a reverse sync first waits until nobody writes to the new side any more."""
    mappings = tuple(reversed(session.mappings(task.mappings)))
    if task.direction is Direction.REVERSE and all(synced(session.conn, m, task.direction, m.old) for m in mappings):
        wait_quiet(session, task, mappings, "new", PARTING_QUIET_S, PARTING_LIMIT_S)
    for mapping in mappings:
        old = session.old_table(mapping)

        def work(conn: Conn, mapping: Mapping = mapping, old: TableName = old) -> None:
            for statement in sync.drop_triggers(mapping, task.direction, old):
                conn.execute(statement)

        def rest(conn: Conn, mapping: Mapping = mapping) -> None:
            for statement in sync.drop_functions(mapping, task.direction):
                conn.execute(statement)
            conn.execute(
                "DELETE FROM pgferry.reject WHERE mapping = %s AND direction = %s", (mapping.id, task.direction.value)
            )
            if task.direction is Direction.FORWARD:
                conn.execute("DELETE FROM pgferry.recheck WHERE mapping = %s", (mapping.id,))
                conn.execute("DELETE FROM pgferry.lead WHERE mapping = %s", (mapping.id,))

        run_in_transaction(session, task.id, f"triggers off {mapping.id}", limits(task), work)
        run_in_transaction(session, task.id, f"functions of {mapping.id}", limits(task), rest)
        session.event("ddl", f"{mapping.id}: {task.direction.value} sync is off", task_id=task.id)


def empty_new(session: Session, task: Task, *, even_if_lost: bool) -> None:
    """The way back of a backfill: the new table is emptied, after seeing that the old one holds all of it."""
    for mapping in reversed(session.mappings(task.mappings)):
        facts = mapping_facts(session.conn, mapping, session.plan.archive_schema)
        extra = extra_rows(session.conn, mapping, facts)
        if extra and not even_if_lost:
            raise StepFailed(
                f"{extra:,} rows of {mapping.new} are in no row of {mapping.old}: going back would lose them.",
                state="Nothing of this step was done.",
                do="Save them, or roll back again and type the database's name to accept the loss.",
            )

        def work(conn: Conn, mapping: Mapping = mapping) -> None:
            conn.execute(truncate(mapping))

        run_in_transaction(session, task.id, f"empty {mapping.new}", limits(task), work)
        session.event("ddl", f"{mapping.new} is empty again", task_id=task.id)
