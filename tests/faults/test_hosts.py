"""Workers of several processes share a copy: each batch once, whoever is killed, pauses or takes over."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from console.commands.spawn import start_runner
from console.journal.connect import Conn
from console.journal.state import RunStatus, Verb
from console.plan.model import Plan
from tests.engine.scene import a_database, a_run
from tests.faults.tools import (
    a_plan_directory,
    assert_copied_once,
    assert_equal,
    chunks_done,
    one,
    run_to_the_end,
    runner_process,
    send,
    state_of,
    until,
)

ROWS = 1200
HELPERS = "SELECT count(*) FROM pgferry.live WHERE name LIKE 'hand:%'"


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return a_plan_directory(tmp_path / "plan")


@contextmanager
def helper(database: str, plan: Plan) -> Iterator[subprocess.Popen[str]]:
    """``pgferry work`` on what could be another host, killed at the end of the block."""
    command = [sys.executable, "-m", "console", "work", "--plan", str(plan.root), "--dsn", database]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def begin(database: str, plan: Plan, conn: Conn) -> int:
    """A run that copies slowly enough for others to join."""
    run_id = a_run(database, plan)
    send(database, run_id, Verb.SPEED, max_rows_per_second=50, batch_rows=5, target_ms=1, workers=1)
    send(database, run_id, Verb.START, until="end")
    return run_id


def hurry(database: str, run_id: int) -> None:
    send(database, run_id, Verb.SPEED, max_rows_per_second=0, batch_rows=200)


def test_a_helper_shares_the_work_and_is_shown(database: str, plan: Plan) -> None:
    conn = a_database(database, rows=ROWS)
    run_id = begin(database, plan, conn)
    with runner_process(database, plan, run_id) as ended:
        until(lambda: chunks_done(conn) >= 2, "the copy")
        with helper(database, plan) as process:
            until(lambda: one(conn, HELPERS), "the helper to join")
            until(lambda: any(p.hands for p in state_of(database, run_id).progress), "it to be shown")
            before = chunks_done(conn)
            until(lambda: chunks_done(conn) >= before + 10, "both to copy")
            assert one(conn, "SELECT sum(rows_read) FROM pgferry.chunk") < ROWS
            hurry(database, run_id)
            out, said = process.communicate(timeout=30)
            assert process.returncode == 0, said
            assert int(out.split()[0]) >= 2, "batches copied by the helper"
        until(lambda: ended() is not None, "the run", seconds=40)
    assert state_of(database, run_id).status is RunStatus.DONE, state_of(database, run_id).error
    assert_copied_once(conn, ROWS)
    assert one(conn, HELPERS) == 0
    assert_equal(database, plan)
    conn.close()


def test_a_helper_killed_in_mid_batch_leaves_its_batch_to_others(database: str, plan: Plan) -> None:
    conn = a_database(database, rows=ROWS)
    run_id = begin(database, plan, conn)
    with runner_process(database, plan, run_id) as ended:
        until(lambda: chunks_done(conn) >= 2, "the copy")
        with helper(database, plan) as process:
            until(lambda: one(conn, HELPERS), "the helper to join")
            before = chunks_done(conn)
            until(lambda: chunks_done(conn) >= before + 5, "both to copy")
            process.kill()
            process.wait()
        hurry(database, run_id)
        until(lambda: ended() is not None, "the run", seconds=40)
    assert state_of(database, run_id).status is RunStatus.DONE, state_of(database, run_id).error
    assert_copied_once(conn, ROWS)
    conn.close()


def test_a_helper_rests_while_the_runner_is_gone_and_ends_with_the_next_one(database: str, plan: Plan) -> None:
    conn = a_database(database, rows=ROWS)
    run_id = begin(database, plan, conn)
    runner = start_runner(database, plan.root, run_id, "tester")
    try:
        until(lambda: chunks_done(conn) >= 2, "the copy")
        with helper(database, plan) as process:
            until(lambda: one(conn, HELPERS), "the helper to join")
            runner.kill()
            runner.wait()
            hurry(database, run_id)
            run_to_the_end(database, plan, run_id)
            _, said = process.communicate(timeout=30)
            assert process.returncode in (0, 5), said
    finally:
        runner.kill()
        runner.wait()
    assert_copied_once(conn, ROWS)
    assert_equal(database, plan)
    conn.close()


def test_a_fenced_helper_writes_nothing_more(database: str, plan: Plan) -> None:
    conn = a_database(database, rows=ROWS)
    run_id = begin(database, plan, conn)
    with runner_process(database, plan, run_id):
        until(lambda: chunks_done(conn) >= 2, "the copy")
        with helper(database, plan) as process:
            until(lambda: one(conn, HELPERS), "the helper to join")
            conn.execute("UPDATE pgferry.run SET fence = fence + 1")
            _, said = process.communicate(timeout=30)
            assert process.returncode == 5, said
            assert "took this run over" in said
    hurry(database, run_id)
    run_to_the_end(database, plan, run_id)
    assert_copied_once(conn, ROWS)
    conn.close()


def test_a_pause_ends_the_helper_and_nothing_running_refuses_it(database: str, plan: Plan) -> None:
    conn = a_database(database, rows=ROWS)
    run_id = begin(database, plan, conn)
    with helper(database, plan) as process:
        _, said = process.communicate(timeout=30)
        assert (process.returncode, "No copy of this plan is running" in said) == (5, True), said
    with runner_process(database, plan, run_id) as ended:
        until(lambda: chunks_done(conn) >= 2, "the copy")
        with helper(database, plan) as process:
            until(lambda: one(conn, HELPERS), "the helper to join")
            send(database, run_id, Verb.PAUSE)
            _, said = process.communicate(timeout=30)
            assert process.returncode == 6, said
        until(lambda: ended() is not None, "the runner to end")
    assert state_of(database, run_id).status is RunStatus.PAUSED
    read = one(conn, "SELECT sum(rows_read) FROM pgferry.chunk WHERE status = 'done'")
    assert one(conn, "SELECT count(*) FROM sales_v2") + one(conn, "SELECT count(*) FROM pgferry.reject") == read
    conn.close()
