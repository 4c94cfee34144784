"""A real replica, streaming: its lag holds the copy back by name, and lets go when it replays again."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from console.demo.server import EmbeddedServer, find_binaries
from console.engine.signals.base import OK, THROTTLING, UNKNOWN
from console.engine.signals.replicas import ReplicaLag, Slots
from console.engine.signals.wal import Archiver
from console.journal.connect import Conn, connect
from console.journal.state import Progress, RunStatus, Signal, Verb
from tests.conftest import SETTINGS
from tests.engine.scene import a_database, a_run
from tests.faults.tools import SLOW, a_slow_plan, assert_copied_once, one, runner_thread, send, state_of, until

ROWS = 2500
SLOT = "standby"


@dataclass
class Pair:
    """A primary and the standby that streams from it through a slot."""

    primary: EmbeddedServer
    standby: EmbeddedServer


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    binaries = find_binaries(int(os.environ.get("PGFERRY_TEST_MAJOR", "18")))
    settings = {**SETTINGS, "archive_mode": "on", "archive_command": "false"}
    with EmbeddedServer(binaries, settings=settings) as primary:
        folder = Path(tempfile.mkdtemp(prefix="pgferry-standby-", dir="/var/tmp"))
        folder.chmod(0o755)
        subprocess.run(
            [binaries.dir / "pg_basebackup", "-D", folder / "data", "-d", primary.conninfo(), "-R", "-C", "-S", SLOT,
             "--checkpoint=fast", "--no-sync"],
            check=True, capture_output=True,
        )  # fmt: skip
        owner = primary.data_dir.stat()  # postgres refuses to run as root, and wants its directory to be its own
        for path in (folder, *folder.rglob("*")):
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
        try:
            with EmbeddedServer(binaries, folder, settings={**SETTINGS, "archive_mode": "off"}) as standby:
                yield Pair(primary, standby)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def database(pair: Pair) -> Iterator[str]:
    """A fresh database of the primary."""
    yield pair.primary.create_database("replicated")
    pair.primary.drop_database("replicated")


def copying(database: str, run_id: int) -> Progress | None:
    return next((p for p in state_of(database, run_id).progress if p.what == "copy"), None)


def lag_of(database: str, run_id: int) -> Signal | None:
    """The replica's signal as a console sees it."""
    progress = copying(database, run_id)
    return next((s for s in progress.signals if s.name.startswith("replica lag ")), None) if progress else None


def test_a_replica_that_falls_behind_holds_the_copy_until_it_replays_again(pair: Pair, database: str) -> None:
    conn = a_database(database, rows=ROWS)
    plan = a_slow_plan(replace(SLOW, max_rows_per_second=800))
    run_id = a_run(database, plan)
    send(database, run_id, Verb.START, until="copy")
    with connect(pair.standby.conninfo()) as standby, runner_thread(database, plan, run_id) as running:
        until(lambda: one(conn, "SELECT count(*) FROM pgferry.chunk WHERE status = 'done'") >= 1, "the copy")
        until(lambda: (lag := lag_of(database, run_id)) and lag.state != UNKNOWN, "the replica to be seen")
        standby.execute("SELECT pg_wal_replay_pause()")

        def held() -> bool:
            lag = lag_of(database, run_id)
            return lag is not None and lag.state == THROTTLING and lag.holds

        until(held, "the lag to hold it")
        progress = copying(database, run_id)
        assert progress is not None
        assert progress.held.startswith("held back by replica lag ")
        read = one(conn, "SELECT sum(rows_read) FROM pgferry.chunk")
        until(lambda: (lag := lag_of(database, run_id)) and lag.cost_s > 1, "its cost to be booked")
        assert one(conn, "SELECT sum(rows_read) FROM pgferry.chunk") - read <= 100, "at most the batches at work"
        assert not running.done()
        standby.execute("SELECT pg_wal_replay_resume()")
        assert running.result(timeout=60) is RunStatus.WAITING, state_of(database, run_id).error
    assert_copied_once(conn, ROWS)
    progress = copying(database, run_id)
    assert progress is not None
    assert sum(s.cost_s for s in progress.signals) == pytest.approx(progress.lost_s, abs=0.02)
    conn.close()


def test_bytes_count_as_well_as_seconds(pair: Pair, database: str) -> None:
    by_size = ReplicaLag(max_seconds=0, max_mb=1)
    with connect(pair.standby.conninfo()) as standby, connect(database) as conn:
        standby.execute("SELECT pg_wal_replay_pause()")
        conn.execute("CREATE TABLE t AS SELECT repeat('x', 1000) FROM generate_series(1, 3000)")
        until(lambda: by_size.look(conn)[0].state == THROTTLING, "more than a megabyte behind")
        assert ReplicaLag(0, 0).look(conn)[0].state == OK, "no limit"
        standby.execute("SELECT pg_wal_replay_resume()")
        until(lambda: by_size.look(conn)[0].state == OK, "it to catch up")


def test_a_lag_that_the_role_may_not_see_is_unknown_and_holds(pair: Pair, database: str) -> None:
    with connect(database) as conn:
        conn.execute("CREATE ROLE looker")
        conn.execute("SET ROLE looker")
        readings = ReplicaLag(1, 1).look(conn)
        conn.execute("RESET ROLE")
        conn.execute("DROP ROLE looker")
    assert [(r.state, r.value, r.holds) for r in readings] == [(UNKNOWN, "cannot be seen", True)]


def test_an_archiver_that_fails_falls_behind(pair: Pair, database: str) -> None:
    with connect(database) as conn:
        for n in range(3):
            conn.execute(f"CREATE TABLE t{n} (n int)".encode())
            conn.execute("SELECT pg_switch_wal()")
        until(lambda: Archiver(1).look(conn)[0].state == THROTTLING, "files that wait")
        until(lambda: "failing" in Archiver(1).look(conn)[0].value, "the failure to be known")
        assert Archiver(10_000).look(conn)[0].state == OK
        conn.execute("CREATE ROLE looker")
        conn.execute("SET ROLE looker")
        blind = Archiver(1).look(conn)[0]
        conn.execute("RESET ROLE")
        conn.execute("DROP ROLE looker")
        assert (blind.state, blind.holds) == (UNKNOWN, False), "nothing was archived yet: no file to count from"


def test_a_standby_that_went_away_leaves_a_slot_that_is_named(pair: Pair, database: str) -> None:
    def slots(conn: Conn) -> list[str]:
        return [r.value for r in Slots(0.001).look(conn) if r.name == f"slot {SLOT}" and r.holds]

    with connect(database) as conn:
        assert slots(conn) == [], "while it streams it is the replica that is shown"
        pair.standby.stop()
        conn.execute("CREATE TABLE t AS SELECT repeat('x', 1000) FROM generate_series(1, 3000)")
        until(lambda: slots(conn), "the slot that nobody reads")
        assert slots(conn)[0].startswith("nobody reads it, ")
        assert ReplicaLag(1, 1).look(conn)[0].value == "no replicas"
        pair.standby.start()
        until(lambda: not slots(conn), "the standby to be back")
