"""Statements that do not get their lock at once: nobody waits behind them for long, and the screen's data say who."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from console.engine import locking
from console.journal.connect import connect
from console.journal.state import RunState, RunStatus, Verb
from tests.engine.scene import a_database, a_run
from tests.faults.locked import Readers, a_holder, a_statement, lines, running_alone, until_state
from tests.faults.tools import one, send, state_of, until

LOCK_TIMEOUT_MS = 200
READERS = 50
MORE = "ALTER TABLE sales ADD COLUMN more int;"


def test_a_holder_delays_the_change_but_nobody_queues_behind_it(database: str) -> None:
    """The server itself sees to it that no reader waits longer than lock_timeout + 50 ms: it would fail."""
    a_database(database, rows=500).close()
    plan = a_statement(MORE, lock_timeout_ms=LOCK_TIMEOUT_MS)
    run_id = a_run(database, plan)
    holder = a_holder(database)
    with Readers(database, READERS, LOCK_TIMEOUT_MS + 50) as readers:
        send(database, run_id, Verb.START, until="end")
        with running_alone(database, plan, run_id) as running:
            blocked: set[str] = set()
            behind: set[str] = set()
            most = 0

            def enough(state: RunState) -> bool:
                nonlocal most
                blocked.update(s.application for s in state.sessions if s.role == "blocks us")
                behind.update(s.application for s in state.sessions if s.role == "waits behind us")
                most = max(most, state.lock_wait.behind if state.lock_wait else 0)
                return len(lines(state, "stood aside")) >= 4 and bool(behind) and bool(blocked)

            state = until_state(database, run_id, enough, "four attempts, and who is in the way")
            readers.all_read_on()
            assert not running.done(), "the change waits as long as the holder stays"
            holder.rollback()
            assert running.result() is RunStatus.DONE, state_of(database, run_id).error
        readers.all_read_on()
    assert readers.failed == []
    assert blocked == {"forgotten psql"}
    assert behind <= {f"reader {number}" for number in range(READERS)}
    assert most > 0
    told = lines(state, "stood aside")
    assert any("forgotten psql (idle in transaction" in text for text in told)
    assert any("behind us; stood aside" in text and "nobody" not in text for text in told)
    state = state_of(database, run_id)
    assert state.statements[0].attempts > 4
    assert state.statements[0].lock_wait_ms >= (50 + 100 + 2 * LOCK_TIMEOUT_MS) * 0.9
    assert state.sessions == (), "nobody is shown as blocking once it is over"
    assert state.lock_wait is None
    assert "more" in [c.name for c in holder.execute("SELECT * FROM sales LIMIT 0").description or ()]
    holder.close()


def test_a_long_lock_timeout_ends_early_when_many_queue(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a plan lets a statement wait for long, more than 20 sessions behind it end the attempt all the same."""
    monkeypatch.setattr(locking, "FIRST_LOCK_TIMEOUT_MS", 600_000)
    a_database(database, rows=10).close()
    plan = a_statement(MORE, lock_timeout_ms=600_000)
    run_id = a_run(database, plan)
    holder = a_holder(database)
    with Readers(database, 30, 20_000) as readers:
        send(database, run_id, Verb.START, until="end")
        with running_alone(database, plan, run_id) as running:
            state = until_state(database, run_id, lambda state: len(lines(state, "stood aside")) >= 2, "two attempts")
            readers.all_read_on()
            holder.rollback()
            assert running.result() is RunStatus.DONE, state_of(database, run_id).error
    assert readers.failed == []
    queued = [int(text.split(" sessions wait behind us")[0].split()[-1]) for text in lines(state, "stood aside")]
    assert all(count > 20 for count in queued), queued
    holder.close()


def test_between_two_tries_the_holder_is_still_named(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locking, "FIRST_WAIT_S", 2.0)
    a_database(database).close()
    plan = a_statement(MORE, lock_timeout_ms=LOCK_TIMEOUT_MS)
    run_id = a_run(database, plan)
    holder = a_holder(database)
    send(database, run_id, Verb.START, until="end")
    with running_alone(database, plan, run_id) as running:
        aside = until_state(
            database,
            run_id,
            lambda state: (
                state.lock_wait
                and not state.lock_wait.waits
                and state.sessions
                and state.statements[0].status == "waiting for a lock"
            ),
            "a pause",
        )
        assert [(s.application, s.role) for s in aside.sessions] == [("forgotten psql", "blocks us")]
        assert aside.lock_wait is not None
        assert aside.lock_wait.behind == 0
        holder.close()
        assert running.result() is RunStatus.DONE, state_of(database, run_id).error


def test_the_root_of_a_chain_of_waits_is_named(database: str) -> None:
    """The session that blocks us waits itself: who it waits for is the one to look at."""
    a_database(database, rows=10).close()
    plan = a_statement(MORE, lock_timeout_ms=LOCK_TIMEOUT_MS)
    run_id = a_run(database, plan)
    root = a_holder(database, "LOCK TABLE goods", "the root")
    middle = a_holder(database, name="the middle")
    middle.execute("SET lock_timeout = 0")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(middle.execute, "SELECT count(*) FROM goods")
        send(database, run_id, Verb.START, until="end")
        with running_alone(database, plan, run_id) as running:
            state = until_state(database, run_id, lambda state: len(state.sessions) == 3, "both, and ours")
            roles = {s.application: (s.role, s.waits_for) for s in state.sessions if s.role != "our statement"}
            assert roles == {
                "the middle": ("blocks us", root.info.backend_pid),
                "the root": ("blocks a blocker", 0),
            }
            named = f"at the root of it pid {root.info.backend_pid} the root"  # seen by an attempt that was looked at
            until_state(
                database, run_id, lambda state: any(named in text for text in lines(state, "stood aside")), "the root"
            )
            root.close()
            waiting.result()
            middle.close()
            assert running.result() is RunStatus.DONE, state_of(database, run_id).error


def test_a_prepared_transaction_in_the_way_is_named(database: str) -> None:
    conn = a_database(database, rows=10)
    plan = a_statement(MORE, lock_timeout_ms=LOCK_TIMEOUT_MS)
    run_id = a_run(database, plan)
    holder = a_holder(database, "UPDATE sales SET note = note")
    holder.execute("PREPARE TRANSACTION 'forgotten'")
    holder.close()
    send(database, run_id, Verb.START, until="end")
    with running_alone(database, plan, run_id) as running:
        state = until_state(database, run_id, lambda state: lines(state, "stood aside"), "an attempt")
        assert any("prepared transaction" in text and "forgotten" in text for text in lines(state, "stood aside"))
        conn.execute("ROLLBACK PREPARED 'forgotten'")
        assert running.result() is RunStatus.DONE, state_of(database, run_id).error
    conn.close()


@pytest.mark.parametrize("victim", ["ours", "theirs"])
def test_a_deadlock_with_an_application(database: str, victim: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two tables locked in opposite order; whoever's deadlock_timeout ends first is the one to give way."""
    monkeypatch.setattr(locking, "FIRST_LOCK_TIMEOUT_MS", 30_000)
    a_database(database, rows=10).close()
    both = "BEGIN; ALTER TABLE sales ADD COLUMN more int; ALTER TABLE goods ADD COLUMN more int; COMMIT;"
    plan = a_statement(both, lock_timeout_ms=30_000)
    run_id = a_run(database, plan)
    app = connect(database, application_name="app", autocommit=False)
    app.execute("SET lock_timeout = 0")
    app.execute(f"SET deadlock_timeout = '{'1min' if victim == 'ours' else '10ms'}'")
    app.execute("SELECT 1 FROM goods")
    with connect(database) as conn:
        send(database, run_id, Verb.START, until="end")
        with running_alone(database, plan, run_id) as running:
            until(
                lambda: one(conn, "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'goods'::regclass"),
                "our second statement to wait",
            )
            if victim == "ours":
                app.execute("SELECT 1 FROM sales")
                app.commit()
            else:
                with pytest.raises(psycopg.errors.DeadlockDetected):
                    app.execute("SELECT 1 FROM sales")
                app.rollback()
            assert running.result() is RunStatus.DONE, state_of(database, run_id).error
    told = lines(state_of(database, run_id), "deadlock")
    assert bool(told) == (victim == "ours"), told
    assert state_of(database, run_id).statements[0].attempts == (2 if victim == "ours" else 1)
    app.close()


def test_after_its_last_attempt_it_stops_and_resume_goes_on(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locking, "ATTEMPTS", 2)
    a_database(database).close()
    plan = a_statement("CREATE TABLE before (n int); " + MORE, lock_timeout_ms=50)
    run_id = a_run(database, plan)
    holder = a_holder(database)
    send(database, run_id, Verb.START, until="end")
    with running_alone(database, plan, run_id) as running:
        assert running.result() is RunStatus.FAILED
    state = state_of(database, run_id)
    assert "did not get its lock in 2 attempts of up to 50 ms" in state.error
    assert [s.status for s in state.statements] == ["done", "failed"]
    holder.close()
    send(database, run_id, Verb.RESUME)
    with running_alone(database, plan, run_id) as running:
        assert running.result() is RunStatus.DONE, state_of(database, run_id).error


def test_the_first_tries_wait_for_a_moment_only() -> None:
    limits = locking.Limits(lock_timeout_ms=200, statement_timeout_ms=0)
    assert [locking.lock_timeout_of(attempt, limits) for attempt in (1, 2, 3, 4, 60)] == [50, 100, 200, 200, 200]
    assert locking.lock_timeout_of(1, locking.Limits(20, 0)) == 20
