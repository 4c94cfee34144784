"""Statements that do not get their lock at once: nobody waits behind them for long, and a broken build is built again."""

from __future__ import annotations

import threading

import psycopg
import pytest

from console.journal.connect import connect
from console.journal.state import RunStatus, TaskStatus, Verb
from console.plan.model import Kind
from tests.engine.scene import a_database, a_file, a_plan, a_run, a_task, order
from tests.faults.tools import one, runner_thread, send, state_of, until

LOCK_TIMEOUT_MS = 100


class Readers:
    """Applications that read the table again and again, each under a limit no read may reach."""

    def __init__(self, conninfo: str, count: int, limit_ms: int) -> None:
        self.conninfo, self.limit_ms = conninfo, limit_ms
        self.counts = [0] * count
        self.failed: list[Exception] = []
        self.ended = threading.Event()
        self.threads = [threading.Thread(target=self._read, args=(i,)) for i in range(count)]

    def _read(self, number: int) -> None:
        with connect(self.conninfo, application_name=f"reader {number}") as conn:
            conn.execute(f"SET statement_timeout = {self.limit_ms}")
            while not self.ended.is_set():
                try:
                    conn.execute("SELECT count(*) FROM sales").fetchone()
                except psycopg.Error as error:
                    self.failed.append(error)
                    return
                self.counts[number] += 1
                self.ended.wait(0.01)

    def __enter__(self) -> Readers:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        for thread in self.threads:
            thread.join()


def test_a_holder_delays_the_change_but_nobody_queues_behind_it(database: str) -> None:
    a_database(database, rows=500).close()
    up = a_file("001.sql", "ALTER TABLE sales ADD COLUMN more int;")
    plan = a_plan(a_task("ddl", Kind.SQL, file=up, lock_timeout_ms=LOCK_TIMEOUT_MS))
    run_id = a_run(database, plan)
    holder = connect(database, application_name="forgotten psql", autocommit=False)
    holder.execute("SELECT count(*) FROM sales")
    # Ten times the lock timeout: reached only if a reader queued behind more than one attempt.
    with Readers(database, 4, 10 * LOCK_TIMEOUT_MS) as readers:
        send(database, run_id, Verb.START, until="end")
        with runner_thread(database, plan, run_id) as running:
            seen: set[str] = set()
            lines: list[str] = []
            for wanted in (2, 4):
                before = list(readers.counts)

                def stood_aside(wanted: int = wanted) -> bool:
                    state = state_of(database, run_id)
                    seen.update(s.application for s in state.sessions if s.role == "blocks us")
                    lines[:] = [e.text for e in state.events if "stood aside" in e.text]
                    return len(lines) >= wanted and "forgotten psql" in seen

                until(stood_aside, f"{wanted} attempts")
                assert all(now > then for now, then in zip(readers.counts, before, strict=True)), (
                    "every reader reads on"
                )
            assert not running.done(), "the change waits as long as the holder stays"
            holder.rollback()
            assert running.result() is RunStatus.DONE, state_of(database, run_id).error
        after = list(readers.counts)
        until(lambda: all(now > then for now, then in zip(readers.counts, after, strict=True)), "readers")
    assert readers.failed == []
    state = state_of(database, run_id)
    assert state.statements[0].attempts > 4
    assert state.statements[0].lock_wait_ms >= 4 * LOCK_TIMEOUT_MS * 0.9
    assert state.sessions == (), "nobody is shown as blocking once it is over"
    assert "more" in [c.name for c in holder.execute("SELECT * FROM sales LIMIT 0").description or ()]
    holder.close()


def test_an_invalid_index_is_dropped_and_built_again(database: str) -> None:
    conn = a_database(database, rows=500)
    conn.execute("INSERT INTO sales SELECT at + interval '1 year', shop, item, amount, 'row 1' FROM sales LIMIT 1")
    up = a_file("001.sql", "CREATE UNIQUE INDEX CONCURRENTLY sales_note ON sales (note);")
    plan = a_plan(a_task("ddl", Kind.SQL, file=up))
    run_id = a_run(database, plan)
    valid = "SELECT indisvalid::int FROM pg_index WHERE indexrelid = 'sales_note'::regclass"
    status, _ = order(database, plan, run_id, Verb.START, until="end")
    state = state_of(database, run_id)
    assert status is RunStatus.FAILED
    assert "23505" in state.error
    assert one(conn, valid) == 0, "the failed build left an INVALID index"
    conn.execute("DELETE FROM sales WHERE at >= '2027-01-01Z'")
    status, _ = order(database, plan, run_id, Verb.RESUME)
    state = state_of(database, run_id)
    assert status is RunStatus.DONE, state.error
    assert one(conn, valid) == 1
    assert any("dropping the INVALID index" in event.text for event in state.events)
    conn.close()


@pytest.mark.parametrize("what", ["work", "holder"])
def test_an_index_build_cut_in_the_middle_is_built_again(database: str, what: str) -> None:
    """The build waits for an open transaction; cut there, it leaves an INVALID index behind."""
    conn = a_database(database, rows=500)
    up = a_file("001.sql", "CREATE INDEX CONCURRENTLY sales_note ON sales (note);")
    plan = a_plan(a_task("ddl", Kind.SQL, file=up))
    run_id = a_run(database, plan)
    holder = connect(database, application_name="forgotten psql", autocommit=False)
    holder.execute("UPDATE sales SET note = note WHERE note = 'row 1'")
    waits = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX%' AND wait_event_type = 'Lock'"
    send(database, run_id, Verb.START, until="end")
    with runner_thread(database, plan, run_id) as running:
        until(lambda: one(conn, waits) == 1, "the build to wait")
        if what == "work":
            conn.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX%' AND pid <> pg_backend_pid()"
            )
        else:
            until(lambda: any(s.role == "blocks us" for s in state_of(database, run_id).sessions), "the holder's name")
        holder.rollback()
        assert running.result() is RunStatus.DONE, state_of(database, run_id).error
    state = state_of(database, run_id)
    assert [t.status for t in state.tasks] == [TaskStatus.COMPLETED]
    assert one(conn, "SELECT indisvalid::int FROM pg_index WHERE indexrelid = 'sales_note'::regclass") == 1
    assert any("dropping the INVALID index" in e.text for e in state.events) == (what == "work")
    holder.close()
    conn.close()
