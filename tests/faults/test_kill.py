"""kill -9 of the runner: the next one goes on, nothing is done twice and nothing is passed over."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from console.journal import events
from console.journal.state import RunStatus, Verb
from tests.engine.scene import a_database, a_run
from tests.faults.tools import (
    STATEMENTS,
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

ROWS = 3000
DONE = "SELECT count(*) FROM pgferry.statement WHERE status = 'done'"


def _campaign(database: str, folder: Path, seed: int, kills: int) -> None:
    chance = random.Random(seed)
    conn = a_database(database, rows=ROWS)
    plan = a_plan_directory(folder / f"plan{seed}")
    run_id = a_run(database, plan)
    send(database, run_id, Verb.START, until="end")
    killed = 0
    for kill in range(kills):
        between_statements = kill < kills // 2
        with runner_process(database, plan, run_id) as ended:
            if between_statements:
                goal = one(conn, DONE) + chance.randrange(1, 4)
                until(lambda: one(conn, DONE) >= goal or ended() is not None, "statements")  # noqa: B023
            else:
                more = chunks_done(conn) + chance.randrange(1, 12)
                until(lambda: chunks_done(conn) >= more or ended() is not None, "chunks")  # noqa: B023
            time.sleep(chance.random() * 0.05)
        if state_of(database, run_id).status is not RunStatus.RUNNING:
            break  # the work was done before the last kills
        killed += 1
    assert killed >= min(kills, 4), "killed in mid work, not ended"
    run_to_the_end(database, plan, run_id)
    state = state_of(database, run_id)
    assert state.status is RunStatus.DONE, state.error
    assert conn.execute("SELECT count(*), sum(times) FROM ran").fetchone() == (STATEMENTS, STATEMENTS)
    assert_copied_once(conn, ROWS)
    assert_equal(database, plan)
    assert events.broken_links(conn, run_id) == []
    conn.close()


@pytest.mark.parametrize("seed", [1])
def test_killed_again_and_again_it_ends_as_if_undisturbed(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    _campaign(database, tmp_path, seed, kills=4)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10, 20))
def test_killed_a_dozen_times(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    _campaign(database, tmp_path, seed, kills=12)
