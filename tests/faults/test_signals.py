"""Signals to the runner, and consoles that are killed: a run stops only at a safe point, or not at all."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from console.commands.spawn import log_file, start_runner
from console.journal import lease
from console.journal.connect import connect
from console.journal.state import RunStatus, Verb
from tests.engine.scene import a_database, a_run
from tests.engine.tiny import start
from tests.faults.tools import (
    a_plan_directory,
    assert_copied_once,
    assert_equal,
    assert_no_runner_left,
    chunks_done,
    one,
    run_to_the_end,
    send,
    state_of,
    until,
)

ROWS = 3000


@pytest.fixture(autouse=True)
def _own_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.long)])
def test_told_to_end_it_pauses_at_a_batch(database: str, tmp_path: Path, number: signal.Signals) -> None:
    conn = a_database(database, rows=ROWS)
    plan = a_plan_directory(tmp_path / "plan")
    run_id = a_run(database, plan)
    send(database, run_id, Verb.START, until="end")
    process = start_runner(database, plan.root, run_id, "tester")
    try:
        until(lambda: chunks_done(conn) >= 3, "the copy")
        process.send_signal(signal.SIGHUP)  # a terminal that was closed
        more = chunks_done(conn) + 2
        until(lambda: chunks_done(conn) >= more, "it to go on")
        process.send_signal(number)
        process.send_signal(number)
        assert process.wait(timeout=20) == 6, log_file(run_id).read_text()
    finally:
        process.kill()
        process.wait()
    state = state_of(database, run_id)
    assert state.status is RunStatus.PAUSED
    assert [e.text for e in state.events if "told to stop" in e.text]
    assert log_file(run_id).read_text() == ""
    assert_no_runner_left(conn, run_id)
    send(database, run_id, Verb.RESUME)
    run_to_the_end(database, plan, run_id)
    assert_copied_once(conn, ROWS)
    conn.close()


def test_a_killed_console_takes_nothing_with_it(database: str, tmp_path: Path) -> None:
    conn = a_database(database, rows=ROWS)
    plan = a_plan_directory(tmp_path / "plan")
    console = start("apply", "--plan", str(plan.root), "--dsn", database)
    try:
        until(lambda: conn.execute("SELECT to_regclass('pgferry.chunk')").fetchone() != (None,), "the journal")
        until(lambda: chunks_done(conn) >= 3, "the copy")
    finally:
        console.kill()
        console.communicate()
    run_id = one(conn, "SELECT max(id) FROM pgferry.run")
    with connect(database) as other:
        held = lease.read(other, run_id)
        assert held is not None
        assert held.alive
    until(lambda: state_of(database, run_id).status is RunStatus.DONE, "the run to end", seconds=60)
    assert_no_runner_left(conn, run_id)
    assert_copied_once(conn, ROWS)
    assert_equal(database, plan)
    conn.close()
