"""What operators do in mid copy: pause, resume, change the speed, start a second runner, take a run over."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from console.engine.runner import carry
from console.errors import LeaseLost, Refused
from console.journal import commands, lease, runs
from console.journal.connect import Conn, connect
from console.journal.state import RunStatus, TaskStatus, Verb
from console.plan.model import Kind
from tests.engine.scene import a_database, a_file, a_plan, a_run, a_session, a_task, order
from tests.faults.tools import (
    SLOW,
    a_slow_plan,
    assert_copied_once,
    assert_equal,
    assert_no_runner_left,
    chunks_done,
    one,
    runner_thread,
    send,
    state_of,
    until,
)

ROWS = 2500
SLOWER = replace(SLOW, max_rows_per_second=400)  # time enough to intervene, on a busy machine too


def test_pause_stops_at_a_batch_and_resume_finishes(database: str) -> None:
    conn = a_database(database, rows=ROWS)
    plan = a_slow_plan()
    run_id = a_run(database, plan)
    send(database, run_id, Verb.START, until="end")
    with runner_thread(database, plan, run_id) as running:
        until(lambda: chunks_done(conn) >= 3, "the copy")
        send(database, run_id, Verb.PAUSE)
        assert running.result(timeout=20) is RunStatus.PAUSED
    done = chunks_done(conn)
    read = one(conn, "SELECT sum(rows_read) FROM pgferry.chunk WHERE status = 'done'")
    assert done >= 3
    assert read < ROWS, "it did not copy to the end first"
    written = one(conn, "SELECT sum(rows_written) FROM pgferry.chunk")
    assert one(conn, "SELECT count(*) FROM sales_v2") == written, "whole batches only"
    assert_no_runner_left(conn, run_id)
    status, _ = order(database, plan, run_id, Verb.RESUME)
    assert status is RunStatus.DONE, state_of(database, run_id).error
    assert_copied_once(conn, ROWS)
    assert_equal(database, plan)
    conn.close()


def test_a_resume_sent_right_after_a_pause_is_not_lost(database: str) -> None:
    conn = a_database(database, rows=ROWS)
    plan = a_slow_plan()
    run_id = a_run(database, plan)
    send(database, run_id, Verb.START, until="end")
    with runner_thread(database, plan, run_id) as running:
        for more in range(2, 20, 3):
            until(lambda: chunks_done(conn) >= more or running.done(), "the copy")  # noqa: B023
            send(database, run_id, Verb.PAUSE)
            time.sleep(0.01 * more)
            send(database, run_id, Verb.RESUME)
        status = running.result(timeout=30)
    while status is RunStatus.PAUSED:  # it had ended before it could hear of the last ones
        assert commands.pending(conn, run_id), "a command that was answered is obeyed"
        status = carry(database, plan, run_id, "tester")
    assert status is RunStatus.DONE, state_of(database, run_id).error
    assert_copied_once(conn, ROWS)
    conn.close()


def test_speed_is_changed_in_mid_copy(database: str) -> None:
    conn = a_database(database, rows=ROWS)
    plan = a_slow_plan(SLOWER)
    run_id = a_run(database, plan)
    send(database, run_id, Verb.START, until="copy")
    with runner_thread(database, plan, run_id) as running:
        until(lambda: chunks_done(conn) >= 2, "the copy")
        command = send(database, run_id, Verb.SPEED, batch_rows=7, workers=1, max_rows_per_second=500)
        until(lambda: commands.outcome(conn, command), "the answer")
        answer = (commands.outcome(conn, command) or (False, ""))[1]
        assert set(answer.removeprefix("speed: ").split(", ")) == {
            "batch_rows = 7", "workers = 1", "max_rows_per_second = 500",
        }  # fmt: skip

        def slow() -> bool:
            progress = [p for p in state_of(database, run_id).progress if p.what == "copy"]
            return bool(progress) and progress[0].workers == 1

        until(slow, "one worker")
        until(lambda: one(conn, "SELECT count(*) FROM pgferry.chunk WHERE rows_read = 7"), "a batch of 7 rows")
        bad = send(database, run_id, Verb.SPEED, colour=1)
        until(lambda: commands.outcome(conn, bad), "the refusal")
        assert "No such setting: colour" in (commands.outcome(conn, bad) or (False, ""))[1]
        assert not running.done()
        send(database, run_id, Verb.SPEED, batch_rows=1000, workers=3, max_rows_per_second=0)
        assert running.result(timeout=20) is RunStatus.WAITING, state_of(database, run_id).error
    assert_copied_once(conn, ROWS)
    conn.close()


def test_one_worker_is_enough_after_asking_for_fewer(database: str) -> None:
    conn = a_database(database, rows=ROWS)
    plan = a_slow_plan(SLOWER)
    run_id = a_run(database, plan)
    copies = f"SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgferry run {run_id} copy'"
    send(database, run_id, Verb.START, until="copy")
    with runner_thread(database, plan, run_id) as running:
        until(lambda: one(conn, copies) == 2, "two workers")
        send(database, run_id, Verb.SPEED, workers=1, max_rows_per_second=500)
        until(lambda: one(conn, copies) == 1, "one worker", seconds=5)
        assert not running.done()
        send(database, run_id, Verb.SPEED, max_rows_per_second=0)
        running.result(timeout=20)
    assert_copied_once(conn, ROWS)
    conn.close()


def test_a_second_runner_is_refused_while_the_first_works(database: str) -> None:
    conn = a_database(database, rows=ROWS)
    plan = a_slow_plan(SLOWER)
    run_id = a_run(database, plan)
    send(database, run_id, Verb.START, until="end")
    with runner_thread(database, plan, run_id) as running:
        until(lambda: chunks_done(conn) >= 2, "the copy")
        with runner_thread(database, plan, run_id) as second, pytest.raises(Refused, match="tester already runs this"):
            second.result(timeout=20)
        assert running.result(timeout=30) is RunStatus.DONE, state_of(database, run_id).error
    assert_copied_once(conn, ROWS)
    conn.close()


def test_a_takeover_fences_the_first_runner(database: str) -> None:
    conn = a_database(database, rows=ROWS)
    plan = a_slow_plan(SLOWER)
    run_id = a_run(database, plan)
    send(database, run_id, Verb.START, until="end")
    with runner_thread(database, plan, run_id) as first:
        until(lambda: chunks_done(conn) >= 3, "the copy")
        with runner_thread(database, plan, run_id, takeover=True) as second:
            with pytest.raises(LeaseLost, match="took this run over"):
                first.result(timeout=20)
            until(lambda: _has_the_advisory_lock(conn, run_id, "control"), "the second to hold the lock itself")
            with runner_thread(database, plan, run_id) as third, pytest.raises(Refused, match="already runs this"):
                third.result(timeout=20)
            assert second.result(timeout=30) is RunStatus.DONE, state_of(database, run_id).error
    state = state_of(database, run_id)
    assert state.error == ""
    assert all(task.status is TaskStatus.COMPLETED for task in state.tasks)
    assert not [e.text for e in state.events if e.kind == "error"], "the fenced one wrote no failure"
    assert_copied_once(conn, ROWS)
    assert_equal(database, plan)
    conn.close()


def _has_the_advisory_lock(conn: Conn, run_id: int, what: str) -> bool:
    return bool(
        one(
            conn,
            "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE l.locktype = 'advisory'"
            f" AND a.datname = current_database() AND l.objid = {run_id}"
            f" AND a.application_name = 'pgferry run {run_id} {what}'",
        )
    )


def test_a_new_runner_waits_for_what_the_server_still_does_for_a_killed_one(database: str) -> None:
    a_database(database).close()
    run_id = a_run(database, a_slow_plan())
    with connect(database) as dead, connect(database) as conn:
        fence = lease.acquire(dead, run_id, "first")
        dead.execute("SELECT pg_advisory_unlock_all()")  # its control connection is gone already
        dead.execute("BEGIN")
        lease.hold(dead, fence)  # its work connection still is in a statement, longer than lock_timeout
        conn.execute("SET lock_timeout = '50ms'")
        dead.execute("SET idle_in_transaction_session_timeout = '300ms'")
        taken = lease.acquire(conn, run_id, "second")
        assert taken.number == fence.number + 1
        assert runs.get(conn, run_id) is not None
        dead.close()


def test_a_rollback_ordered_while_a_statement_fails_is_carried_out(database: str) -> None:
    """The failure is noted at its task; it does not take the place of what the operator asked for meanwhile."""
    conn = a_database(database)
    conn.execute("CREATE TABLE go (i int)")
    fails = (
        "CREATE TABLE made (i int);\nDO $$ BEGIN WHILE NOT EXISTS (SELECT FROM go) LOOP PERFORM pg_sleep(0.01);"
        " END LOOP; RAISE 'it fails now'; END $$;"
    )
    plan = a_plan(a_task("ddl", Kind.SQL, file=a_file("1.sql", fails), down=a_file("1.down.sql", "DROP TABLE made;")))
    run_id = a_run(database, plan)
    send(database, run_id, Verb.START, until="end")
    with runner_thread(database, plan, run_id) as running:
        until(lambda: conn.execute("SELECT to_regclass('made')").fetchone() != (None,), "the first statement")
        command = send(database, run_id, Verb.ROLLBACK, to="start")
        until(lambda: commands.outcome(conn, command), "the answer")
        conn.execute("INSERT INTO go VALUES (1)")
        assert running.result(timeout=20) is RunStatus.ROLLED_BACK, state_of(database, run_id).error
    assert [e.text for e in state_of(database, run_id).events if e.kind == "error"], "the failure is in the log"
    assert conn.execute("SELECT to_regclass('made')").fetchone() == (None,)
    conn.close()


def test_a_fenced_runner_writes_nothing_more_into_the_journal(database: str) -> None:
    a_database(database).close()
    plan = a_slow_plan()
    session = a_session(database, plan)
    with connect(database) as other:
        lease.acquire(other, session.run_id, "second", takeover=True)
        before = one(other, "SELECT count(*) FROM pgferry.event")
        with pytest.raises(LeaseLost):
            session.event("run", "too late")
        with pytest.raises(LeaseLost), session.fenced() as conn:
            runs.task_ended(conn, session.run_id, "sync", TaskStatus.COMPLETED, 1.0)
        assert one(other, "SELECT count(*) FROM pgferry.event") == before
        assert runs.tasks(other, session.run_id)["sync"].status is TaskStatus.PENDING
    session.drop()


def test_a_command_that_makes_no_sense_is_refused_and_the_next_one_heard(database: str) -> None:
    conn = a_database(database, rows=ROWS)
    plan = a_slow_plan(SLOWER)
    run_id = a_run(database, plan)
    send(database, run_id, Verb.START, until="end")
    with runner_thread(database, plan, run_id) as running:
        until(lambda: chunks_done(conn) >= 2, "the copy")
        insert = "INSERT INTO pgferry.command (run_id, actor, verb, args) VALUES (%s, 'newer', %s, %s) RETURNING id"
        ids = []
        for verb, args in (("dance", "{}"), ("start", "[1]"), ("rollback", '{"to": 7}'), ("speed", '{"workers": "x"}')):
            row = conn.execute(insert, (run_id, verb, args)).fetchone()
            assert row is not None
            ids.append(row[0])
        until(lambda: all(commands.outcome(conn, id_) for id_ in ids), "the answers")
        assert [(commands.outcome(conn, id_) or (True, ""))[0] for id_ in ids] == [False] * 4
        send(database, run_id, Verb.PAUSE)
        assert running.result(timeout=20) is RunStatus.PAUSED
    conn.close()
