"""The server's clock is stepped: nothing that has to be right rests on it, and what is shown stays sensible.

A step is made by shifting the times that the journal holds: to whoever reads them, the clock then went the other way.
"""

from __future__ import annotations

from contextlib import suppress

import pytest
from psycopg.errors import SerializationFailure

from console.errors import Refused
from console.journal import lease
from console.journal.connect import Conn, connect
from console.journal.state import RunStatus, Verb
from tests.engine.scene import a_database, a_run, order
from tests.faults.tools import a_slow_plan, assert_equal, chunks_done, one, runner_thread, send, state_of, until

HOURS = ("5 hours", "-5 hours")


def _shift(conn: Conn, by: str) -> None:
    """All that the runner noted so far is that much later (earlier) than it was: the clock was set back (forward)."""
    conn.execute("UPDATE pgferry.lease SET heartbeat_at = heartbeat_at + %(by)s, since = since + %(by)s", {"by": by})
    conn.execute("UPDATE pgferry.task SET started_at = started_at + %(by)s", {"by": by})
    conn.execute("UPDATE pgferry.run SET started_at = started_at + %(by)s", {"by": by})
    conn.execute("UPDATE pgferry.recheck SET at = at + %(by)s", {"by": by})


@pytest.mark.parametrize("by", ["5 hours", pytest.param("-5 hours", marks=pytest.mark.long)])
def test_a_step_in_mid_copy_makes_no_second_runner_and_no_negative_time(database: str, by: str) -> None:
    conn = a_database(database, rows=2000)
    plan = a_slow_plan()
    run_id = a_run(database, plan)
    send(database, run_id, Verb.START, until="end")
    with runner_thread(database, plan, run_id) as running:
        until(lambda: chunks_done(conn) >= 3, "the copy")
        _shift(conn, by)
        with connect(database) as second, pytest.raises(Refused, match="tester already runs this"):
            lease.acquire(second, run_id, "second")
        state = state_of(database, run_id)
        assert min(task.seconds for task in state.tasks) >= 0
        assert state.lease is not None
        assert state.lease.age_s >= 0
        held = state_of(database, run_id).lease
        until(lambda: (held := lease.read(conn, run_id)) is None or held.alive, "the next heartbeat")
        assert held is not None
        assert running.result(timeout=30) is RunStatus.DONE, state_of(database, run_id).error
    assert one(conn, "SELECT fence FROM pgferry.run") == 1
    assert_equal(database, plan)
    conn.close()


@pytest.mark.parametrize("by", HOURS)
def test_a_dead_runner_is_known_as_dead_whatever_the_clock_says(
    database: str, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    monkeypatch.setattr(lease, "RETURN_SECONDS", 0.3)
    a_database(database).close()
    plan = a_slow_plan()
    run_id = a_run(database, plan)
    with connect(database) as dead, connect(database) as conn:
        lease.acquire(dead, run_id, "first")
        alive = lease.read(conn, run_id)
        assert alive is not None
        assert alive.alive
        dead.close()
        until(lambda: not one(conn, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"), "its lock to go")
        _shift(conn, by)
        gone = lease.read(conn, run_id)
        assert gone is not None
        assert not gone.alive
        assert lease.acquire(conn, run_id, "second").number == 2


@pytest.mark.parametrize("by", HOURS)
def test_a_noted_key_is_judged_when_older_snapshots_are_gone_whatever_the_clock_says(database: str, by: str) -> None:
    """Set back, a rule of timestamps would wait for hours; set forward, it would judge too early."""
    conn = a_database(database, rows=200)
    plan = a_slow_plan()
    run_id = a_run(database, plan)
    order(database, plan, run_id, Verb.START, until="copy")
    with (
        connect(database, application_name="old snapshot", autocommit=False) as old,
        connect(database, application_name="writer") as writer,
    ):
        old.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        assert one(old, "SELECT count(*) FROM sales") == 200
        writer.execute("SET default_transaction_isolation = 'repeatable read'")
        writer.execute("DELETE FROM sales WHERE note = 'row 2'")
        assert one(conn, "SELECT count(*) FROM pgferry.recheck") == 1
        _shift(conn, by)
        send(database, run_id, Verb.START, until="end")
        with runner_thread(database, plan, run_id) as running:
            waits = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'pgferry run%work'"
            until(lambda: state_of(database, run_id).tasks[2].status.value == "in progress" and one(conn, waits), "it")
            assert one(conn, "SELECT count(*) FROM pgferry.recheck") == 1, "it was not judged too early"
            with suppress(SerializationFailure):  # what is written under the old snapshot is judged with it, or refused
                old.execute("INSERT INTO sales SELECT at, shop, item, 7, 'again' FROM sales WHERE note = 'row 2'")
                old.commit()
            old.rollback()
            assert running.result(timeout=20) is RunStatus.DONE, state_of(database, run_id).error
    assert one(conn, "SELECT count(*) FROM pgferry.recheck") == 0
    assert_equal(database, plan)
    conn.close()


def test_a_run_whose_times_lie_ahead_is_carried_on(database: str) -> None:
    conn = a_database(database, rows=200)
    plan = a_slow_plan()
    run_id = a_run(database, plan)
    order(database, plan, run_id, Verb.START, until="copy")
    _shift(conn, "5 hours")
    assert order(database, plan, run_id, Verb.START, until="end")[0] is RunStatus.DONE
    state = state_of(database, run_id)
    assert min(task.seconds for task in state.tasks) >= 0
    assert order(database, plan, run_id, Verb.ROLLBACK, to="start")[0] is RunStatus.ROLLED_BACK
    conn.close()
