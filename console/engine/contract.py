"""The end of the old shape, and the way back from it: who leads, who still uses it, retire, purge."""

from __future__ import annotations

import contextlib
import gzip
import os
import time
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path

import psycopg
from psycopg import sql

from console.engine import lookup_changes, lookups, naming, sync, sync_state, users
from console.engine.blockers import USES_NEW, USES_OLD
from console.engine.derive import table
from console.engine.facts import archived, mapping_facts
from console.engine.locking import Limits, run_in_transaction
from console.engine.session import Session
from console.errors import StepFailed
from console.journal import comparisons, runs
from console.journal.activity import NEW, OLD, Drain
from console.journal.connect import Conn
from console.journal.state import Session as OtherSession
from console.plan.model import Direction, Leads, Mapping, Plan, TableName, Task
from console.text import several

SAMPLE_S = 0.2
SHOW_EVERY_S = 1.0
SAY_EVERY_S = 15.0
RECENT_S = 5.0  # who used a table in a short transaction is shown so long
LISTED = 20
SESSIONS = "sessions:drain"
DRAIN = "drain"
ROLES = {OLD: USES_OLD, NEW: USES_NEW}
SERVERS = ("autovacuum worker", "walsender")  # of the server's own, no use by an application


def limits(task: Task) -> Limits:
    """The task's own timeouts."""
    return Limits(task.lock_timeout_ms, task.statement_timeout_ms, task.build_lock_timeout_ms)


def switch(session: Session, task: Task) -> None:
    """Say which shape leads, after seeing that the triggers still carry every write. Raises StepFailed."""
    for mapping in session.mappings(task.mappings):
        found = sync_state.faults(session.conn, mapping, session.old_table(mapping))
        if found:
            raise StepFailed(
                f"Mapping {mapping.id} is not in sync: {'; '.join(found)}.",
                state="Nothing was switched.",
                do="Enable the trigger (or create it again by taking the sync back), compare every row, then resume.",
            )
    set_leads(session, task, task.leads)


def set_leads(session: Session, task: Task, leads: Leads) -> None:
    """Say which shape applications should use; a policy, so a stale reading of it loses no row."""
    with session.conn.transaction():
        session.hold(session.conn)
        for mapping in session.mappings(task.mappings):
            session.conn.execute(lead_statement(mapping, leads))
    session.event("run", f"{', '.join(task.mappings)}: applications should use {leads.value}", task_id=task.id)


def lead_statement(mapping: Mapping, leads: Leads) -> sql.Composed:
    """The statement that says which shape leads."""
    return sql.SQL("UPDATE pgferry.lead SET leads = {}, at = clock_timestamp() WHERE mapping = {}").format(
        sql.Literal(leads.value), sql.Literal(mapping.id)
    )


def _writes(conn: Conn, mapping: Mapping, side: str) -> int:
    """The applications' own writes to a side so far."""
    counter = naming.write_counter(mapping, side)
    if conn.execute("SELECT to_regclass(%s)", (counter.as_string(None),)).fetchone() == (None,):
        return 0
    row = conn.execute(sql.SQL("SELECT last_value, is_called FROM {}").format(counter)).fetchone()
    return int(row[0]) if row and row[1] else 0


def wait_quiet(
    session: Session, task: Task, mappings: tuple[Mapping, ...], side: str, quiet_s: float, limit_s: float | None
) -> None:
    """Return once nobody has used that side's tables for ``quiet_s``: writes are counted exactly, readers sampled.

    Raises StepFailed, naming who still does, after ``limit_s``; without a limit it waits, and says for whom.
    """
    began = time.monotonic()
    watch = _Quiet(session, task, mappings, side, quiet_s)
    try:
        while not watch.is_quiet():
            session.wishes.sleep(SAMPLE_S)
            watch.look()
            if limit_s is not None and time.monotonic() - began > limit_s:
                names = ", ".join(name for name, _ in watch.seen.most_common(5)) or "an application"
                raise StepFailed(
                    f"The {side} tables are still in use after {limit_s:.0f} s: {names}.",
                    state="Both directions still carry every write; nothing is lost.",
                    do="Move those applications to the other shape, then resume.",
                )
    finally:
        if not session.lost():  # else the next runner clears it
            with contextlib.suppress(psycopg.Error):
                forget_drain(session.conn, session.run_id)


class _Quiet:
    """Who uses one side's tables, look by look, and since when nobody does."""

    def __init__(self, session: Session, task: Task, mappings: tuple[Mapping, ...], side: str, quiet_s: float) -> None:
        self.session, self.task, self.mappings, self.side, self.quiet_s = session, task, mappings, side, quiet_s
        self.seen: Counter[str] = Counter()  # since the log last named them
        self._places = users.places(session.conn, mappings, session.plan.archive_schema)
        self._counts = self._written()
        self._since = self._looked = self._said = time.monotonic()
        self._shown_at = float("-inf")
        self._recent: dict[int, tuple[float, OtherSession]] = {}
        self._last_user = ""

    def is_quiet(self) -> bool:
        """Whether it has been quiet for as long as it must."""
        return time.monotonic() - self._since >= self.quiet_s

    def _written(self) -> dict[str, int]:
        return {mapping.id: _writes(self.session.conn, mapping, self.side) for mapping in self.mappings}

    def look(self) -> None:
        """Look once."""
        now = time.monotonic()
        found = users.look(self.session.conn, self._places, now - self._looked + SAMPLE_S)
        self._looked = now
        sessions = [user.session for user in found if self.side in user.sides and user.backend not in SERVERS]
        self.session.uses.note((self.side, item.application) for item in sessions)
        names = [item.application or "(no name)" for item in sessions]
        counts = self._written()
        written = sum(counts.values()) - sum(self._counts.values())
        self._counts = counts
        self.seen.update(names)
        if written:
            self.seen["writers"] += written
        if names or written:
            self._since = now
            self._last_user = ", ".join(dict.fromkeys(names)) or "an application that wrote"
        self._recent |= {item.pid: (now, replace(item, role=ROLES[self.side])) for item in sessions}
        if now - self._shown_at >= SHOW_EVERY_S:
            self._show(now)
        if now - self._said > SAY_EVERY_S:
            self._say(now)

    def _show(self, now: float) -> None:
        session, quiet = self.session, now - self._since
        self._shown_at = now
        self._recent = {pid: item for pid, item in self._recent.items() if now - item[0] < RECENT_S}
        listed = sorted((item for _, item in self._recent.values()), key=lambda item: (item.application, item.pid))
        runs.set_live(session.conn, session.run_id, SESSIONS, [asdict(item) for item in listed[:LISTED]])
        drain = Drain(self.task.id, self.side, quiet, self.quiet_s, self._last_user)
        session.live(DRAIN, asdict(drain))
        runs.task_note(session.conn, session.run_id, self.task.id, f"quiet for {quiet:.0f} of {self.quiet_s:.0f} s")

    def _say(self, now: float) -> None:
        self._said = now
        names = ", ".join(f"{name} ({count})" for name, count in self.seen.most_common(5)) or "nobody"
        self.session.event("run", f"still uses the {self.side} tables: {names}", task_id=self.task.id)
        self.seen.clear()


def forget_drain(conn: Conn, run_id: int) -> None:
    """No drain is at work."""
    for name in (SESSIONS, DRAIN):
        runs.clear_live(conn, run_id, name)


def drain(session: Session, task: Task) -> None:
    """Wait until nobody uses the old tables."""
    mappings = session.mappings(task.mappings)
    wait_quiet(session, task, mappings, "old", task.quiet_seconds, None)
    session.event("run", f"nobody used the old tables for {task.quiet_seconds} s", task_id=task.id)


def _move(session: Session, task: Task, mapping: Mapping, source: TableName, goal: TableName) -> None:
    """Move the old table between schemas and point the sync at it, in one transaction.

    The new table is locked first: a writer whose trigger waited inside would find the old name gone.
    """

    def work(conn: Conn) -> None:
        if goal.schema == session.plan.archive_schema:
            conn.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(goal.schema)))
        conn.execute(sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(table(mapping.new)))
        conn.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(table(source)))
        conn.execute(set_schema(source, goal))
        facts = mapping_facts(conn, mapping, session.plan.archive_schema)
        for way in Direction.BOTH.ways:
            if synced(conn, mapping, way, goal):
                for statement in sync.functions(mapping, facts, way, goal):
                    conn.execute(statement)
        if synced(conn, mapping, Direction.FORWARD, goal):
            for statement in lookups.functions(conn, mapping, facts):
                conn.execute(statement)
        conn.execute(
            "UPDATE pgferry.lead SET retired = %s WHERE mapping = %s",
            (goal.schema == session.plan.archive_schema, mapping.id),
        )
        if goal.schema != session.plan.archive_schema:
            _drop_if_empty(conn, session.plan.archive_schema)

    run_in_transaction(session, task.id, f"{source} to {goal}", limits(task), work)
    session.event("ddl", f"{source} is now {goal.schema}.{goal.name}", task_id=task.id)


def synced(conn: Conn, mapping: Mapping, direction: Direction, old: TableName) -> bool:
    """Whether the triggers of the direction (of both, for BOTH) are there."""
    found = conn.execute(
        "SELECT count(*) FROM unnest(%s::text[], %s::text[]) w(owner, name) JOIN pg_trigger t"
        " ON t.tgrelid = to_regclass(w.owner) AND t.tgname = w.name",
        (
            [table(sync.source_of(mapping, way, old)).as_string(None) for way in direction.ways],
            [naming.trigger_text(way) for way in direction.ways],
        ),
    ).fetchone()
    return bool(found and found[0] == len(direction.ways))


def _drop_if_empty(conn: Conn, schema: str) -> None:
    row = conn.execute(
        "SELECT NOT EXISTS (SELECT 1 FROM pg_class c WHERE c.relnamespace = n.oid) FROM pg_namespace n WHERE nspname = %s",
        (schema,),
    ).fetchone()
    if row and row[0]:
        conn.execute(sql.SQL("DROP SCHEMA {}").format(sql.Identifier(schema)))


def set_schema(source: TableName, goal: TableName) -> sql.Composed:
    """The statement that moves a table."""
    return sql.SQL("ALTER TABLE {} SET SCHEMA {}").format(table(source), sql.Identifier(goal.schema))


def move_back(mapping: Mapping, archive_schema: str) -> sql.Composed:
    """The statement that brings a retired table back."""
    return set_schema(archived(mapping.old, archive_schema), mapping.old)


def truncate(mapping: Mapping) -> sql.Composed:
    """The statement that empties the new table."""
    return sql.SQL("TRUNCATE {}").format(table(mapping.new))


def retire(session: Session, task: Task) -> None:
    """Move the old tables to the archive schema; the sync goes on into it, so going back loses nothing.

    Raises StepFailed unless the newest comparison of each was made since the last switch and found no difference.
    """
    for mapping in session.mappings(task.mappings):
        _refuse_unequal(session.conn, mapping)
    for mapping in session.mappings(task.mappings):
        if session.old_table(mapping) == mapping.old:
            _move(session, task, mapping, mapping.old, archived(mapping.old, session.plan.archive_schema))


def _refuse_unequal(conn: Conn, mapping: Mapping) -> None:
    ever, equal, words = comparisons.since_switch(conn, mapping.id)
    if equal:
        return
    what = f"The newest comparison found: {words}" if equal is False else (
        f"The rows of {mapping.old} were not compared since applications were switched" if ever
        else f"The rows of {mapping.old} were never compared"
    )  # fmt: skip
    raise StepFailed(
        f"{what}. The old table stays where it is.",
        state="Both directions still carry every write; nothing is lost.",
        do=f"Compare: pgferry check --rows --mapping {mapping.id} (with --repair where rows differ), then resume.",
    )


def restore(session: Session, task: Task) -> None:
    """The way back of ``retire``."""
    for mapping in reversed(session.mappings(task.mappings)):
        if session.old_table(mapping) != mapping.old:
            _move(session, task, mapping, archived(mapping.old, session.plan.archive_schema), mapping.old)


def purge_statements(mapping: Mapping, old: TableName) -> list[sync.Runnable]:
    """What a purge runs for one mapping: the sync goes, and last the archived table ``old``."""
    return [
        *sync.drop_triggers(mapping, Direction.BOTH, old),
        *sync.drop_functions(mapping, Direction.BOTH),
        sql.SQL("DROP TABLE {}").format(table(old)),
    ]


def purged(conn: Conn, plan: Plan, task: Task) -> list[str]:
    """The archived tables of a purge that are no longer there."""
    found = []
    for old in (archived(plan.mapping(id_).old, plan.archive_schema) for id_ in task.mappings):
        row = conn.execute("SELECT to_regclass(%s) IS NULL", (table(old).as_string(None),)).fetchone()
        if row and row[0]:
            found.append(f"{old.schema}.{old.name}")
    return found


def purge(session: Session, task: Task, export_to: Path) -> None:
    """Write the archived rows to files unless told not to, then drop the sync and the archived tables for good."""
    for mapping in session.mappings(task.mappings):
        old = archived(mapping.old, session.plan.archive_schema)
        exists = session.conn.execute("SELECT to_regclass(%s)", (table(old).as_string(None),)).fetchone()
        if not exists or exists[0] is None:
            continue  # dropped before the runner died
        if task.export:
            rows, path = _export(session.conn, old, export_to)
            session.event("run", f"{several(rows, 'row')} of {old.name} written to {path}", task_id=task.id)

        def work(conn: Conn, mapping: Mapping = mapping, old: TableName = old) -> None:
            conn.execute(sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(table(mapping.new)))
            lookups.drop_triggers(conn, mapping)
            lookups.drop_functions(conn, mapping)
            lookup_changes.forget(conn, mapping)
            *stop_sync, drop = purge_statements(mapping, old)
            for statement in stop_sync:
                conn.execute(statement)
            _keep_sequences(conn, old, mapping.new)
            conn.execute(drop)
            _drop_if_empty(conn, old.schema)

        run_in_transaction(session, task.id, f"purge {old.name}", limits(task), work)
        session.event("ddl", f"{old.schema}.{old.name} is dropped", task_id=task.id)


def _export(conn: Conn, relation: TableName, folder: Path) -> tuple[int, Path]:
    """Write the rows to a new file, on the disk before anything is dropped; an earlier export is never overwritten."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{relation.name}.csv.gz"
    number = 1
    while path.exists():  # of another database, or of a purge that was interrupted
        number += 1
        path = folder / f"{relation.name}-{number}.csv.gz"
    partial = path.with_suffix(".partial")
    query = sql.SQL("COPY {} TO STDOUT WITH (FORMAT csv, HEADER)").format(table(relation))
    with partial.open("wb") as file:
        with gzip.open(file, "wb", compresslevel=3) as out, conn.cursor() as cursor:
            with cursor.copy(query) as rows:
                for block in rows:
                    out.write(block)
            count = cursor.rowcount
        os.fsync(file.fileno())
    partial.rename(path)
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    return count, path


def _keep_sequences(conn: Conn, old: TableName, new: TableName) -> None:
    """Give sequences of the old table that the new one's defaults draw from to the new table."""
    rows = conn.execute(
        "SELECT s.relname, sn.nspname, a.attname FROM pg_depend own JOIN pg_class s ON s.oid = own.objid AND s.relkind = 'S'"
        " JOIN pg_namespace sn ON sn.oid = s.relnamespace"
        " JOIN pg_depend used ON used.refobjid = s.oid AND used.classid = 'pg_attrdef'::regclass"
        " JOIN pg_attrdef d ON d.oid = used.objid AND d.adrelid = to_regclass(%s)"
        " JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum"
        " WHERE own.classid = 'pg_class'::regclass AND own.deptype = 'a' AND own.refobjid = to_regclass(%s)",
        (table(new).as_string(None), table(old).as_string(None)),
    ).fetchall()
    for sequence, schema, column in rows:
        conn.execute(sql.SQL("ALTER SEQUENCE {} OWNED BY NONE").format(sql.Identifier(schema, sequence)))
        conn.execute(
            sql.SQL("ALTER SEQUENCE {} SET SCHEMA {}").format(
                sql.Identifier(schema, sequence), sql.Identifier(new.schema)
            )
        )
        conn.execute(
            sql.SQL("ALTER SEQUENCE {} OWNED BY {}").format(
                sql.Identifier(new.schema, sequence), sql.Identifier(new.schema, new.name, column)
            )
        )


def writes_through_new(conn: Conn, mapping: Mapping) -> int:
    """Rows applications wrote through the new shape since the reverse sync is on."""
    return _writes(conn, mapping, "new")
