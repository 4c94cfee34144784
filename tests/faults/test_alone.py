"""Statements outside a transaction that die in the middle: each ran once in the end, and nothing broken is left."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from console.demo.server import EmbeddedServer
from console.engine import alone, ddl, locking
from console.engine.ddl import run_pieces
from console.engine.locking import Limits
from console.errors import StepFailed
from console.journal import runs
from console.journal.connect import Conn, connect
from console.journal.runs import Place
from console.journal.state import RunStatus, TaskStatus, Verb
from console.plan.load import load_plan
from console.sql.split import split
from tests.engine.scene import a_database, a_run, a_session, order
from tests.engine.tiny import tiny_plan
from tests.faults.locked import a_holder, a_statement, lines, running_alone
from tests.faults.tools import one, runner_process, send, state_of, until

INVALID = "SELECT count(*) FROM pg_index WHERE NOT (indisvalid AND indisready AND indislive)"
INDEX = "CREATE INDEX CONCURRENTLY sales_note ON sales (note);"
WAITS = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype IN ('virtualxid', 'transactionid')"


def invalid(conn: Conn) -> int:
    return one(conn, INVALID)


def is_valid(conn: Conn, name: str) -> bool:
    row = conn.execute(
        "SELECT indisvalid AND indisready FROM pg_index WHERE indexrelid = to_regclass(%s)", (name,)
    ).fetchone()
    return bool(row and row[0])


def cut(conn: Conn, run_id: int) -> int:
    """End the runner's work connection."""
    return one(
        conn,
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        f" WHERE application_name = 'pgferry run {run_id} work'",
    )


def began(conninfo: str, run_id: int, statement: str) -> None:
    """The journal of a runner that died in the middle of the first statement."""
    with connect(conninfo) as conn:
        runs.statement_begun(conn, Place(run_id, "ddl", 0, "up"), 1, statement)


def test_a_build_that_fails_leaves_no_invalid_index(database: str) -> None:
    conn = a_database(database, rows=500)
    conn.execute("INSERT INTO sales SELECT at + interval '1 year', shop, item, amount, 'row 1' FROM sales LIMIT 1")
    plan = a_statement("CREATE UNIQUE INDEX CONCURRENTLY sales_note ON sales (note);")
    run_id = a_run(database, plan)
    status, _ = order(database, plan, run_id, Verb.START, until="end")
    state = state_of(database, run_id)
    assert status is RunStatus.FAILED
    assert "23505" in state.error
    assert "Nothing of it is left" in state.error
    assert invalid(conn) == 0
    assert lines(state, "dropping the INVALID index")
    conn.execute("DELETE FROM sales WHERE at >= '2027-01-01Z'")
    status, _ = order(database, plan, run_id, Verb.RESUME)
    assert status is RunStatus.DONE, state_of(database, run_id).error
    assert is_valid(conn, "sales_note")
    conn.close()


def test_a_build_that_waited_too_long_is_built_again(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its leftover cannot be dropped while the same transaction is open: that is said, and resume does it."""
    monkeypatch.setattr(alone, "BUILD_ATTEMPTS", 2)
    monkeypatch.setattr(alone, "BUILD_FIRST_WAIT_S", 0.1)
    conn = a_database(database, rows=500)
    plan = a_statement(INDEX, build_lock_timeout_ms=300)
    run_id = a_run(database, plan)
    holder = a_holder(database, "UPDATE sales SET note = note WHERE note = 'row 1'")
    status, _ = order(database, plan, run_id, Verb.START, until="end")
    state = state_of(database, run_id)
    assert status is RunStatus.FAILED
    assert "in 2 attempts of up to 300 ms: in the way: pid" in state.error
    assert "forgotten psql" in state.error
    assert "The INVALID index sales_note is left" in state.error
    assert invalid(conn) == 1
    holder.close()
    status, _ = order(database, plan, run_id, Verb.RESUME)
    assert status is RunStatus.DONE, state_of(database, run_id).error
    assert is_valid(conn, "sales_note")
    conn.close()


@pytest.mark.parametrize("what", ["work", "holder"])
@pytest.mark.parametrize("name", ["sales_note", ""])
def test_a_build_cut_in_the_middle_is_built_again(database: str, what: str, name: str) -> None:
    """The build waits for an open transaction; cut there, it leaves an INVALID index, with or without a name."""
    conn = a_database(database, rows=500)
    conn.execute("CREATE INDEX ON sales (note)")  # another one like it, which is not ours
    plan = a_statement(f"CREATE INDEX CONCURRENTLY {name} ON sales (note);")
    run_id = a_run(database, plan)
    holder = a_holder(database, "UPDATE sales SET note = note WHERE note = 'row 1'")
    send(database, run_id, Verb.START, until="end")
    with running_alone(database, plan, run_id) as running:
        until(lambda: one(conn, WAITS) == 1, "the build to wait")
        if what == "work":
            assert cut(conn, run_id) == 1
            until(lambda: "connected again" in str(lines(state_of(database, run_id), "connected")), "a new connection")
        else:
            until(lambda: any(s.role == "blocks us" for s in state_of(database, run_id).sessions), "the holder's name")
        holder.rollback()
        assert running.result() is RunStatus.DONE, state_of(database, run_id).error
    state = state_of(database, run_id)
    assert [t.status for t in state.tasks] == [TaskStatus.COMPLETED]
    assert invalid(conn) == 0
    assert one(conn, "SELECT count(*) FROM pg_index WHERE indrelid = 'sales'::regclass") == 3, "key, theirs, ours"
    assert is_valid(conn, "sales_note_idx"), "theirs stands"
    assert bool(lines(state, "dropping the INVALID index")) == (what == "work")
    holder.close()
    conn.close()


def test_a_runner_killed_in_a_build_leaves_no_second_one_at_work(database: str, tmp_path: Path) -> None:
    """The server goes on with the build of a killed runner; the next one ends it and builds anew."""
    build = "CREATE INDEX CONCURRENTLY things_id ON things (i);\n"
    plan = load_plan(tiny_plan(tmp_path, fill=build, fill_down="DROP INDEX CONCURRENTLY things_id;\n"))
    conn = connect(database)
    run_id = a_run(database, plan)
    send(database, run_id, Verb.START, until="A1")
    with runner_process(database, plan, run_id) as poll:
        until(lambda: poll() is not None, "the table")
    holder = a_holder(database, "LOCK TABLE things IN ROW EXCLUSIVE MODE")
    send(database, run_id, Verb.START, until="A2")
    with runner_process(database, plan, run_id):
        until(lambda: one(conn, WAITS) == 1, "the build to wait")
    assert one(conn, WAITS) == 1, "the killed runner's build still waits on the server"
    with running_alone(database, plan, run_id) as running:
        until(lambda: lines(state_of(database, run_id), "ended what a runner before still did"), "its end")
        holder.close()
        running.result()
    assert is_valid(conn, "things_id"), state_of(database, run_id).error
    assert invalid(conn) == 0
    conn.close()


def test_an_invalid_index_of_somebody_else_is_never_taken_for_done(database: str) -> None:
    conn = a_database(database, rows=500)
    conn.execute("INSERT INTO sales SELECT at + interval '1 year', shop, item, amount, 'row 1' FROM sales LIMIT 1")
    for table in ("sales (note)", "spellings (shop)"):
        with pytest.raises(Exception, match="could not create unique"):
            conn.execute(f"CREATE UNIQUE INDEX CONCURRENTLY broken_{table[:5]} ON {table}")
    assert invalid(conn) == 2
    plan = a_statement("CREATE INDEX CONCURRENTLY IF NOT EXISTS broken_sales ON sales (note);")
    status, _ = order(database, plan, (run_id := a_run(database, plan)), Verb.START, until="end")
    assert status is RunStatus.DONE, state_of(database, run_id).error
    assert is_valid(conn, "broken_sales")
    plan = a_statement("CREATE INDEX CONCURRENTLY IF NOT EXISTS broken_spell ON sales (note);")
    status, _ = order(database, plan, (run_id := a_run(database, plan)), Verb.START, until="end")
    assert status is RunStatus.FAILED
    assert "belongs to an INVALID index of another table" in state_of(database, run_id).error
    assert invalid(conn) == 1, "it is not ours to drop"
    conn.close()


def test_a_valid_index_of_somebody_else_is_not_claimed(database: str) -> None:
    conn = a_database(database)
    conn.execute("CREATE INDEX sales_note ON sales (amount)")
    plan = a_statement(INDEX)
    run_id = a_run(database, plan)
    for verb in (Verb.START, Verb.RESUME):
        status, _ = order(database, plan, run_id, verb, **({"until": "end"} if verb is Verb.START else {}))
        assert status is RunStatus.FAILED
        assert "42P07" in state_of(database, run_id).error
    assert is_valid(conn, "sales_note")
    conn.close()


def test_a_partitioned_parent_is_told_in_one_sentence(database: str) -> None:
    conn = a_database(database)
    conn.execute("CREATE TABLE parted (n int) PARTITION BY RANGE (n)")
    plan = a_statement("CREATE INDEX CONCURRENTLY parted_n ON parted (n);")
    run_id = a_run(database, plan)
    status, _ = order(database, plan, run_id, Verb.START, until="end")
    assert status is RunStatus.FAILED
    error = state_of(database, run_id).error
    assert 'cannot create index on partitioned table "parted" concurrently. Nothing of it is left' in error
    conn.close()


def test_a_reindex_cut_in_the_middle_leaves_no_copies(database: str) -> None:
    conn = a_database(database, rows=500)
    plan = a_statement("REINDEX TABLE CONCURRENTLY sales;")
    run_id = a_run(database, plan)
    holder = a_holder(database, "UPDATE sales SET note = note WHERE note = 'row 1'")
    send(database, run_id, Verb.START, until="end")
    with running_alone(database, plan, run_id) as running:
        until(lambda: one(conn, WAITS) == 1 and invalid(conn) > 0, "the rebuild to wait")
        cut(conn, run_id)
        holder.close()
        assert running.result() is RunStatus.DONE, state_of(database, run_id).error
    assert invalid(conn) == 0
    assert one(conn, "SELECT count(*) FROM pg_class WHERE relname ~ '_cc(new|old)'") == 0
    conn.close()


def test_dropping_an_index_cut_in_the_middle_is_finished(database: str) -> None:
    conn = a_database(database, rows=500)
    conn.execute("CREATE INDEX sales_note ON sales (note)")
    plan = a_statement("DROP INDEX CONCURRENTLY sales_note;")
    run_id = a_run(database, plan)
    holder = a_holder(database)
    send(database, run_id, Verb.START, until="end")
    with running_alone(database, plan, run_id) as running:
        until(lambda: one(conn, WAITS) == 1, "the drop to wait")
        cut(conn, run_id)
        holder.close()
        assert running.result() is RunStatus.DONE, state_of(database, run_id).error
    assert one(conn, "SELECT count(*) FROM pg_class WHERE relname = 'sales_note'") == 0
    conn.close()


@pytest.mark.parametrize("how", ["times out", "is cut"])
def test_a_partition_half_detached_is_finished(database: str, how: str) -> None:
    conn = a_database(database)
    conn.execute("CREATE TABLE parted (n int) PARTITION BY RANGE (n)")
    conn.execute("CREATE TABLE part PARTITION OF parted FOR VALUES FROM (1) TO (2)")
    limit = 300 if how == "times out" else 60_000
    plan = a_statement("ALTER TABLE parted DETACH PARTITION part CONCURRENTLY;", lock_timeout_ms=limit)
    run_id = a_run(database, plan)
    holder = a_holder(database, "SELECT count(*) FROM parted")
    pending = "SELECT count(*) FROM pg_inherits WHERE inhdetachpending"
    send(database, run_id, Verb.START, until="end")
    with running_alone(database, plan, run_id) as running:
        until(lambda: one(conn, pending) == 1, "the first half")
        if how == "is cut":
            cut(conn, run_id)
        until(lambda: lines(state_of(database, run_id), "connected" if how == "is cut" else "stood aside"), "an error")
        holder.close()
        assert running.result() is RunStatus.DONE, state_of(database, run_id).error
    assert one(conn, "SELECT count(*) FROM pg_inherits WHERE inhparent = 'parted'::regclass") == 0
    conn.close()


def test_vacuum_stands_aside_like_everything_that_queues(database: str) -> None:
    conn = a_database(database, rows=10)
    plan = a_statement("VACUUM (FULL) sales;", lock_timeout_ms=100)
    run_id = a_run(database, plan)
    holder = a_holder(database)
    send(database, run_id, Verb.START, until="end")
    with running_alone(database, plan, run_id) as running:
        until(lambda: len(lines(state_of(database, run_id), "stood aside")) >= 2, "two attempts")
        holder.close()
        assert running.result() is RunStatus.DONE, state_of(database, run_id).error
    assert state_of(database, run_id).statements[0].attempts > 2
    conn.close()


def test_what_was_done_before_its_end_was_heard_of_is_not_done_again(database: str) -> None:
    conn = a_database(database)
    name = conn.info.dbname + "_more"
    for statement, undo in (
        (f"CREATE DATABASE {name}", f"DROP DATABASE {name}"),
        ("DROP INDEX CONCURRENTLY gone", ""),
        (INDEX, "DROP INDEX sales_note"),
    ):
        plan = a_statement(statement)
        run_id = a_run(database, plan)
        began(database, run_id, statement)
        if undo:
            conn.execute(statement)
        status, _ = order(database, plan, run_id, Verb.START, until="end")
        state = state_of(database, run_id)
        assert status is RunStatus.DONE, state.error
        assert lines(state, "had been done before its end was heard of")
        if undo:
            conn.execute(undo)
    conn.close()


def test_the_session_is_as_before_whatever_happens(database: str) -> None:
    conn = a_database(database)
    plan = a_statement("VACUUM nothing;")
    session = a_session(database, plan)
    settings = "SELECT current_setting('lock_timeout') || current_setting('statement_timeout')"
    before = session.conn.execute(settings).fetchone()
    place = Place(session.run_id, "ddl", 0, "up")
    with pytest.raises(StepFailed, match="42P01"):
        run_pieces(session, place, split("VACUUM nothing"), Limits(123, 456_000), partial=False)
    assert session.conn.execute(settings).fetchone() == before
    run_pieces(session, Place(session.run_id, "ddl", 1, "up"), split("VACUUM sales"), Limits(123, 456_000))
    assert session.conn.execute(settings).fetchone() == before
    session.drop()
    conn.close()


@pytest.mark.long
@pytest.mark.parametrize(
    "statement", [INDEX, "REINDEX TABLE CONCURRENTLY sales;", "ALTER TABLE sales ADD COLUMN more int;"]
)
def test_the_server_restarts_in_the_middle(
    server: EmbeddedServer, statement: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The holder goes with the server; the statement is done once, by whichever server."""
    monkeypatch.setattr(locking, "FIRST_LOCK_TIMEOUT_MS", 600_000)
    with EmbeddedServer(server.binaries, settings=server.settings | {"fsync": "on"}) as own:
        database = own.create_database("restart")
        conn = a_database(database, rows=500)
        plan = a_statement(statement, lock_timeout_ms=600_000)
        run_id = a_run(database, plan)
        holder = a_holder(database, "UPDATE sales SET note = note WHERE note = 'row 1'")
        send(database, run_id, Verb.START, until="end")
        with running_alone(database, plan, run_id) as running:
            until(lambda: one(conn, "SELECT count(*) FROM pg_locks WHERE NOT granted") == 1, "it to wait")
            own.restart_immediately()
            assert running.result() is RunStatus.DONE, state_of(database, run_id).error
        for gone in (conn, holder):
            gone.close()
        with connect(database) as conn:
            assert invalid(conn) == 0
            assert one(conn, "SELECT count(*) FROM pg_index WHERE indrelid = 'sales'::regclass") == 1 + (
                statement == INDEX
            )
        assert [s.status for s in state_of(database, run_id).statements] == ["done"]


CUTS = 12  # then it is left alone: a busy machine may connect again slower than it is cut
MANY = """
CREATE INDEX CONCURRENTLY one ON sales (note);
CREATE TABLE ran (n int PRIMARY KEY);
CREATE INDEX CONCURRENTLY ON sales (amount);
INSERT INTO ran VALUES (1);
REINDEX INDEX CONCURRENTLY one;
CREATE INDEX CONCURRENTLY two ON sales (amount, note);
INSERT INTO ran VALUES (2);
DROP INDEX CONCURRENTLY two;
VACUUM sales;
INSERT INTO ran VALUES (3);
"""


def _campaign(database: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ddl, "LOSSES", 1000)  # here it is no statement that ends the connections
    chance = random.Random(seed)
    conn = a_database(database, rows=3000)
    plan = a_statement(MANY)
    run_id = a_run(database, plan)
    send(database, run_id, Verb.START, until="end")
    cuts = 0
    with running_alone(database, plan, run_id) as running:
        while not running.done() and cuts < CUTS:
            time.sleep(chance.uniform(0.005, 0.06))
            cuts += cut(conn, run_id)
        status = running.result()
    assert status is RunStatus.DONE, state_of(database, run_id).error
    assert cuts > 0
    assert invalid(conn) == 0
    assert one(conn, "SELECT count(*) FROM pg_index WHERE indrelid = 'sales'::regclass") == 3, "key, one, the unnamed"
    assert one(conn, "SELECT count(*) FROM ran") == 3
    assert {s.status for s in state_of(database, run_id).statements} == {"done"}
    conn.close()


def test_a_statement_that_ends_every_connection_is_given_up(database: str) -> None:
    conn = a_database(database)
    suicide = "DO $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); END $$;"
    plan = a_statement("CREATE TABLE before (n int); " + suicide)
    run_id = a_run(database, plan)
    status, _ = order(database, plan, run_id, Verb.START, until="end")
    assert status is RunStatus.FAILED
    assert "The connection was lost 6 times in DO $$" in state_of(database, run_id).error
    assert [s.status for s in state_of(database, run_id).statements] == ["done", "failed"]
    conn.close()


@pytest.mark.parametrize("seed", [1, 2])
def test_each_ran_once_though_the_connection_was_cut(database: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    _campaign(database, seed, monkeypatch)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10, 60))
def test_each_ran_once_though_the_connection_was_cut_often(
    database: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    _campaign(database, seed, monkeypatch)
