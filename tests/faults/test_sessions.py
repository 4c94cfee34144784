"""Sessions of ours on the server: none holds anything for long, whatever becomes of its client."""

from __future__ import annotations

import contextlib
import gc
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from console.commands.settings import Settings
from console.commands.world import JournalWorld
from console.journal.connect import Conn, connect
from console.journal.settle import client_defaults
from console.journal.state import RunStatus, Verb
from console.plan.model import Plan
from tests.engine.scene import a_database, a_run
from tests.faults.locked import a_holder, a_statement, running_alone
from tests.faults.tools import a_slow_plan, chunks_done, one, send, state_of, until

OURS = "application_name LIKE 'pgferry%' AND pid <> pg_backend_pid() AND datname = current_database()"


@contextmanager
def watched_from_a_console(database: str, plan: Plan) -> Iterator[JournalWorld]:
    """A console that reads the run and listens, as the screens do."""
    world = JournalWorld(Settings(database, plan.root, "tester", "DEV"), plan, control=False)
    ended = threading.Event()

    def read() -> None:
        while not ended.is_set():
            world.state()
            world.wait(0.05)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield world
    finally:
        ended.set()
        thread.join()
        world.close()


def our_connections(conn: Conn) -> dict[int, psycopg.Connection[object]]:
    """Every session of ours that the server knows, with this process's end of it."""
    pids = {pid for (pid,) in conn.execute(f"SELECT pid FROM pg_stat_activity WHERE {OURS}")}
    here = [item for item in gc.get_objects() if isinstance(item, psycopg.Connection) and not item.closed]
    return {item.info.backend_pid: item for item in here if item.info.backend_pid in pids}


def asked(session: psycopg.Connection[object]) -> object:
    """What the session's own server process says; asked again where it is just giving up a transaction.

    None where the session ended meanwhile.
    """
    found: list[object] = []

    def ask() -> bool:
        if session.closed:
            found.append(None)
        with contextlib.suppress(psycopg.errors.InFailedSqlTransaction, psycopg.OperationalError):
            found.append(
                session.execute(
                    "SELECT current_setting('application_name'), current_setting('idle_in_transaction_session_timeout'),"
                    " current_setting('lock_timeout'), current_setting('statement_timeout'),"
                    " current_setting('client_connection_check_interval')"
                ).fetchone()
            )
        return bool(found)

    until(ask, "an answer")
    return found[0]


@pytest.mark.parametrize("work", ["a copy", "a lock wait"])
def test_the_server_says_what_each_of_our_sessions_has_set(database: str, work: str) -> None:
    conn = a_database(database, rows=2500)
    plan = a_slow_plan() if work == "a copy" else a_statement("ALTER TABLE sales ADD COLUMN more int;")
    run_id = a_run(database, plan)
    holder = a_holder(database, "SELECT 1 FROM goods" if work == "a copy" else "SELECT 1 FROM sales")
    expected = {"control", "work", "copy"} if work == "a copy" else {"control", "work", "watch"}
    names = f"SELECT string_agg(DISTINCT substring(application_name FROM '[a-z]+$'), ' ') FROM pg_stat_activity WHERE {OURS}"

    def all_there() -> bool:
        row = conn.execute(names).fetchone()
        return row is not None and row[0] is not None and expected | {"console"} <= set(row[0].split())

    send(database, run_id, Verb.START, until="end")
    with running_alone(database, plan, run_id) as running, watched_from_a_console(database, plan) as world:
        until(lambda: all_there() and (work != "a copy" or chunks_done(conn) > 2), "all of our sessions")
        until(lambda: len(our_connections(conn)) >= 5, "the console's second one")
        found = our_connections(conn)
        answered = set()
        for session in found.values():
            with world._lock:  # not while the console sends a pipeline on the same connection
                row = asked(session)
            if row is None:
                continue
            assert isinstance(row, tuple)
            name, idle, lock, statement, check = row
            assert name.startswith("pgferry")
            answered.add(name.split()[-1])
            assert idle == "1min", name
            assert lock != "0", name
            assert check == "5s", name
            if name.split()[-1] in ("control", "watch", "console"):
                assert statement == "30s", name
        assert answered >= expected | {"console"}
        holder.close()
        send(database, run_id, Verb.SPEED, max_rows_per_second=0)
        assert running.result() is RunStatus.DONE, state_of(database, run_id).error
    conn.close()


def test_no_session_of_ours_stalls_a_concurrent_build(database: str) -> None:
    """While a build waits for others, no session of ours keeps a snapshot, idles in a transaction or waits in a lock."""
    conn = a_database(database, rows=100)
    plan = a_statement("CREATE INDEX CONCURRENTLY sales_note ON sales (note);")
    run_id = a_run(database, plan)
    holder = a_holder(database, "UPDATE sales SET note = note WHERE note = 'row 1'")
    builds = "SELECT count(*) FROM pg_stat_progress_create_index"
    kept: Counter[tuple[object, ...]] = Counter()
    send(database, run_id, Verb.START, until="end")
    with running_alone(database, plan, run_id) as running, watched_from_a_console(database, plan):
        until(lambda: one(conn, builds) == 1, "the build")
        for _ in range(60):
            rows = conn.execute(
                "SELECT pid, application_name, xact_start, state LIKE 'idle in transaction%%' FROM pg_stat_activity"
                f" WHERE {OURS.replace('%', '%%')} AND (backend_xmin IS NOT NULL OR state LIKE 'idle in transaction%%')"
                " AND query NOT LIKE 'CREATE INDEX%%'",
                (),
            ).fetchall()
            kept.update(tuple(row) for row in rows)
            assert one(conn, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted") == 0
            threading.Event().wait(0.02)
        assert all(count < 20 for count in kept.values()), kept
        assert not running.done()
        holder.close()
        assert running.result() is RunStatus.DONE, state_of(database, run_id).error
    conn.close()


def test_limits_on_the_line_are_added_only_where_the_user_gave_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PGSERVICE", raising=False)
    monkeypatch.delenv("PGCONNECT_TIMEOUT", raising=False)
    assert client_defaults("")["tcp_user_timeout"] == 60_000
    assert client_defaults("postgresql://h/d?tcp_user_timeout=5")["keepalives_idle"] == 30
    assert "tcp_user_timeout" not in client_defaults("postgresql://h/d?tcp_user_timeout=5")
    assert "connect_timeout" not in client_defaults("host=h connect_timeout=3")
    assert client_defaults("service=prod") == {}
    monkeypatch.setenv("PGCONNECT_TIMEOUT", "3")
    assert "connect_timeout" not in client_defaults("")


@pytest.mark.long  # the server looks every 5 s
def test_a_statement_of_a_client_that_died_is_ended_by_the_server(database: str) -> None:
    conn = a_database(database)
    dead = connect(database, application_name="pgferry dead")
    dead.execute("BEGIN")
    dead.execute("LOCK TABLE sales")
    dead.pgconn.send_query(b"SELECT pg_sleep(600)")
    asleep = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgferry dead' AND query ~ 'pg_sleep'"
    until(lambda: one(conn, asleep) == 1, "the statement")
    dead.close()
    until(lambda: one(conn, asleep) == 0, "its end")
    conn.execute("SELECT 1 FROM sales")
    conn.close()
