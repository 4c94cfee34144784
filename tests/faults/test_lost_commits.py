"""Connections lost just where it matters: in each kind of task, and in the very moment of a commit."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from concurrent.futures import Future
from contextlib import suppress

import psycopg
import pytest

from console.demo.server import EmbeddedServer
from console.journal import events
from console.journal.connect import Conn, connect
from console.journal.state import RunStatus, Verb
from console.plan.model import BackfillSettings, Direction, Kind, Leads
from tests.engine.scene import a_database, a_file, a_plan, a_run, a_task
from tests.faults.tools import assert_equal, one, runner_thread, send, state_of, until

SALES = ("sales",)
UP = "".join(f"INSERT INTO traces VALUES ({n});\n" for n in range(6)) + (
    "BEGIN;\nINSERT INTO traces VALUES (6);\nCREATE TABLE extra (i int);\nCOMMIT;\n"
    "CREATE INDEX CONCURRENTLY sales_note ON sales (note);\nINSERT INTO traces VALUES (7);\n"
)
TASKS = (
    a_task("ddl", Kind.SQL, file=a_file("1.sql", UP)),
    a_task("sync", Kind.SYNC, mappings=SALES),
    a_task("copy", Kind.BACKFILL, mappings=SALES, backfill=BackfillSettings(batch_rows=100, max_reject_percent=50)),
    a_task("reverse", Kind.SYNC, mappings=SALES, direction=Direction.REVERSE),
    a_task("both", Kind.SWITCH, mappings=SALES, leads=Leads.BOTH),
    a_task("new", Kind.SWITCH, mappings=SALES, leads=Leads.NEW, leads_back=Leads.BOTH),
    a_task("compare", Kind.CHECK, mappings=SALES),
    a_task("drain", Kind.DRAIN, mappings=SALES, quiet_seconds=1),
    a_task("retire", Kind.RETIRE, mappings=SALES),
)
PLAN = a_plan(*TASKS)
CUTS = 6
CUTS_A_TASK = 3  # then it must get on: a drain begins anew each time
AGAIN = "SELECT count(*) FROM pgferry.event WHERE text LIKE 'connected again%'"

# A task that is complete although its effect is not there; one statement, so one moment.
BROKEN_PROMISES = """
WITH done AS (SELECT task_id FROM pgferry.task WHERE status = 'completed')
SELECT array_agg(task_id) FROM done WHERE NOT CASE task_id
    WHEN 'ddl' THEN (SELECT count(*) FROM traces) = 8 AND to_regclass('sales_note') IS NOT NULL
        OR to_regclass('pgferry_archive.sales_note') IS NOT NULL
    WHEN 'sync' THEN EXISTS (SELECT FROM pg_trigger WHERE tgname = 'zz_pgferry_forward')
    WHEN 'copy' THEN EXISTS (SELECT FROM pgferry.backfill WHERE exhausted)
        AND NOT EXISTS (SELECT FROM pgferry.chunk WHERE status <> 'done')
    WHEN 'reverse' THEN EXISTS (SELECT FROM pg_trigger WHERE tgname = 'zz_pgferry_reverse')
    WHEN 'both' THEN EXISTS (SELECT FROM pgferry.lead WHERE leads IN ('both', 'new'))
    WHEN 'new' THEN EXISTS (SELECT FROM pgferry.lead WHERE leads = 'new')
    WHEN 'compare' THEN EXISTS (SELECT FROM pgferry.check_result WHERE task_id = 'compare' AND ok)
    WHEN 'drain' THEN EXISTS (SELECT FROM pgferry.event WHERE task_id = 'drain' AND text LIKE '%nobody%')
        OR NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'old application')
    WHEN 'retire' THEN to_regclass('pgferry_archive.sales') IS NOT NULL AND to_regclass('sales') IS NULL
END
"""


class OldApplication(threading.Thread):
    """Reads the old table until it is told to stop: as long as it does, the old table is not drained."""

    def __init__(self, conninfo: str) -> None:
        super().__init__(daemon=True)
        self.conninfo = conninfo
        self.ended = threading.Event()

    def run(self) -> None:
        with connect(self.conninfo, application_name="old application") as conn, suppress(psycopg.Error):
            while not self.ended.is_set():
                conn.execute("SELECT count(*), pg_sleep(0.05) FROM sales")


def _traced(database: str, rows: int) -> Conn:
    conn = a_database(database, rows=rows)
    conn.execute("CREATE TABLE traces (n int NOT NULL)")
    return conn


def _assert_done_once(conn: Conn, database: str, run_id: int, status: RunStatus) -> None:
    assert status is RunStatus.DONE, state_of(database, run_id).error
    assert conn.execute("SELECT n FROM traces ORDER BY n").fetchall() == [(n,) for n in range(8)]
    assert one(conn, "SELECT sum(rows_read) FROM pgferry.chunk") == one(
        conn, "SELECT count(*) FROM pgferry_archive.sales"
    )
    assert events.broken_links(conn, run_id) == []
    assert_equal(database, PLAN)


def test_a_lost_connection_never_advances_a_task(database: str) -> None:
    """Cut in every kind of task: whatever is marked as complete has been done, at every moment."""
    conn = _traced(database, 1000)
    run_id = a_run(database, PLAN)
    chance = random.Random(5)
    application = OldApplication(database)
    application.start()
    send(database, run_id, Verb.START, until="end")
    name = f"pgferry run {run_id} work"
    cut: Counter[str] = Counter()
    with runner_thread(database, PLAN, run_id) as running:
        while not running.done():
            assert conn.execute(BROKEN_PROMISES.encode()).fetchone() == (None,)
            row = conn.execute("SELECT task_id FROM pgferry.task WHERE status = 'in progress'").fetchone()
            current = row[0] if row else ""
            if cut[current] < CUTS_A_TASK:
                cut[current] += conn.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s", (name,)
                ).rowcount
            if current == "drain" and cut["drain"] and not application.ended.is_set():
                time.sleep(1.3)  # longer than it has to be quiet
                assert state_of(database, run_id).tasks[7].status.value == "in progress", "it is in use"
                application.ended.set()
            time.sleep(chance.uniform(0.0, 0.04))  # some tasks take no longer
        status = running.result()
    application.ended.set()
    application.join()
    assert len([task for task, times in cut.items() if task and times]) >= 3, cut
    _assert_done_once(conn, database, run_id, status)
    conn.close()


def test_a_commit_that_failed_is_known_to_have_failed(database: str) -> None:
    """The session is ended in COMMIT, before it is committed: the statement runs again."""
    conn = _traced(database, 0)
    conn.execute(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_sleep(0.7) WHERE NEW.n IN (2, 6); RETURN NULL; END $$"
    )
    conn.execute(
        "CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON traces DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION slow()"
    )
    plan = a_plan(TASKS[0])
    run_id = a_run(database, plan)
    send(database, run_id, Verb.START, until="end")
    end = (
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name LIKE 'pgferry run%work'"
        " AND wait_event = 'PgSleep' AND query = 'COMMIT'"
    )
    with runner_thread(database, plan, run_id) as running:
        for times in (1, 2):
            until(lambda: one(conn, end) or running.done(), "a commit to be cut")
            until(lambda: one(conn, AGAIN) == times or running.done(), "it to connect again")  # noqa: B023
        assert running.result(timeout=30) is RunStatus.DONE, state_of(database, run_id).error
    assert conn.execute("SELECT n FROM traces ORDER BY n").fetchall() == [(n,) for n in range(8)]
    assert one(conn, AGAIN) == 2
    conn.close()


def _cut_commits(conn: Conn, running: Future[RunStatus], chance: random.Random) -> int:
    """Now and then a commit waits for a standby that does not exist; its session is ended there: it is committed."""
    cut = 0
    while not running.done() and cut < CUTS:
        conn.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        conn.execute("SELECT pg_reload_conf()")
        deadline = time.monotonic() + 0.5
        while time.monotonic() < deadline:
            cut_now = one(
                conn,
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
                " AND application_name LIKE 'pgferry run%' AND application_name NOT LIKE '%control'",
            )
            if cut_now:
                cut += cut_now
                break
            time.sleep(0.01)
        conn.execute("ALTER SYSTEM RESET synchronous_standby_names")
        conn.execute("SELECT pg_reload_conf()")
        time.sleep(chance.uniform(0.02, 0.2))
    return cut


@pytest.mark.parametrize("seed", [1])
def test_commits_whose_answer_was_lost_are_not_done_again(server: EmbeddedServer, seed: int) -> None:
    with EmbeddedServer(server.binaries, settings=server.settings) as own:
        database = own.create_database("commits")
        conn = _traced(database, 1000)
        conn.execute("SET synchronous_commit = local")
        run_id = a_run(database, PLAN)
        send(database, run_id, Verb.START, until="end")
        with runner_thread(database, PLAN, run_id) as running:
            cut = _cut_commits(conn, running, random.Random(seed))
            status = running.result()
        assert cut >= 3
        _assert_done_once(conn, database, run_id, status)
        conn.close()
