"""Connections that are cut and a server that crashes under a run: it connects again and ends as it should."""

from __future__ import annotations

import random
import time
from concurrent.futures import Future
from pathlib import Path

import psycopg
import pytest

from console.demo.server import EmbeddedServer
from console.errors import ConnectionFailed
from console.journal import events
from console.journal.connect import Conn, connect
from console.journal.state import RunStatus, Verb
from tests.engine.scene import a_database, a_run
from tests.faults.tools import (
    a_slow_plan,
    assert_copied_once,
    assert_equal,
    assert_no_runner_left,
    chunks_done,
    one,
    runner_thread,
    send,
    state_of,
    terminate,
    until,
)

ROWS = 3000


def _cut_now_and_then(conn: Conn, run_id: int, chance: random.Random, running: Future[RunStatus]) -> int:
    cut = 0
    while not running.done():
        cut += terminate(conn, run_id, chance.choice(("work", "work", "copy", "control")))
        time.sleep(chance.uniform(0.02, 0.3))
    return cut


def _campaign(database: str, seed: int) -> None:
    chance = random.Random(seed)
    conn = a_database(database, rows=ROWS)
    plan = a_slow_plan()
    run_id = a_run(database, plan)
    send(database, run_id, Verb.START, until="end")
    with runner_thread(database, plan, run_id) as running:
        until(lambda: chunks_done(conn) >= 2, "the copy")
        cut = _cut_now_and_then(conn, run_id, chance, running)
        status = running.result()
    assert cut >= 3, "the campaign cut something"
    assert status is RunStatus.DONE, state_of(database, run_id).error
    assert_copied_once(conn, ROWS)
    assert_equal(database, plan)
    assert events.broken_links(conn, run_id) == []
    assert_no_runner_left(conn, run_id)
    conn.close()


@pytest.mark.parametrize("seed", [1])
def test_connections_cut_at_any_moment(database: str, seed: int) -> None:
    _campaign(database, seed)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10, 40))
def test_connections_cut_at_many_moments(database: str, seed: int) -> None:
    _campaign(database, seed)


def test_the_server_crashes_in_mid_copy(server: EmbeddedServer, tmp_path: Path) -> None:
    with EmbeddedServer(server.binaries, settings=server.settings | {"fsync": "on"}) as own:
        database = own.create_database("crash")
        conn = a_database(database, rows=ROWS)
        plan = a_slow_plan()
        run_id = a_run(database, plan)
        send(database, run_id, Verb.START, until="end")
        with runner_thread(database, plan, run_id) as running:
            for more in (3, 6):
                until(lambda: chunks_done(conn) >= more, "the copy")  # noqa: B023
                own.restart_immediately()
                with pytest.raises(psycopg.OperationalError):
                    conn.execute("SELECT 1")
                conn = connect(database, application_name="application")
            assert one(conn, "SELECT count(*) FROM pgferry.chunk WHERE status = 'pending'") or not running.done()
            status = running.result()
        assert status is RunStatus.DONE, state_of(database, run_id).error
        assert_copied_once(conn, ROWS)
        assert_equal(database, plan)
        conn.close()


def test_a_database_that_was_dropped_is_not_waited_for(server: EmbeddedServer) -> None:
    database = server.create_database("goes")
    conn = a_database(database, rows=ROWS)
    plan = a_slow_plan()
    run_id = a_run(database, plan)
    send(database, run_id, Verb.START, until="end")
    with runner_thread(database, plan, run_id) as running:
        until(lambda: chunks_done(conn) >= 2, "the copy")
        with connect(server.conninfo("postgres")) as admin:
            admin.execute("DROP DATABASE goes WITH (FORCE)")
        with pytest.raises(ConnectionFailed, match="does not exist") as failed:
            running.result(timeout=60)
    assert failed.value.final
    conn.close()
