"""A real full disk under the copied rows, under DDL, under the journal and under the WAL: it stops and says so."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest

from console.commands.spawn import log_file, start_runner
from console.demo.server import EmbeddedServer
from console.errors import FerryError
from console.journal import events
from console.journal.connect import Conn, connect
from console.journal.state import RunStatus, Verb
from console.plan.model import Kind, Plan
from tests.engine.scene import a_database, a_file, a_plan, a_run, a_task, dump, order
from tests.faults.tools import (
    a_plan_directory,
    a_slow_plan,
    assert_copied_once,
    assert_equal,
    chunks_done,
    one,
    runner_thread,
    send,
    state_of,
    until,
)

ROWS = 3000
KB = 1024


class SmallDisk:
    """A file system of its own; ``fill`` leaves only so much of it, ``free`` gives it back."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self, leave: int = 0) -> None:
        with self._ballast.open("ab") as file:
            for _ in range(100):  # others write meanwhile
                space = os.statvfs(self.folder)
                size = file.tell() + space.f_bavail * space.f_bsize - leave
                try:
                    os.posix_fallocate(file.fileno(), 0, max(size, 1))
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                else:
                    return
        pytest.fail("the disk cannot be filled")

    def free(self) -> None:
        self._ballast.unlink()


@contextmanager
def a_small_disk(owner: Path, megabytes: int) -> Iterator[SmallDisk]:
    """Mounted in memory, owned by whoever owns ``owner``."""
    folder = Path(tempfile.mkdtemp(prefix="pgferry-disk-", dir="/tmp"))
    try:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)], capture_output=True, check=False
        )
    except FileNotFoundError:
        mounted = None
    if mounted is None or mounted.returncode != 0:
        folder.rmdir()
        pytest.skip("a small file system cannot be mounted here (it takes root)")
    try:
        account = owner.stat()
        os.chown(folder, account.st_uid, account.st_gid)
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)
        folder.rmdir()


@pytest.fixture
def disk(server: EmbeddedServer) -> Iterator[SmallDisk]:
    """A small disk, as tablespace ``small`` of the server."""
    with a_small_disk(server.data_dir, 24) as disk:
        space = disk.folder / "space"
        space.mkdir()
        shutil.chown(space, disk.folder.stat().st_uid, disk.folder.stat().st_gid)
        with psycopg.connect(server.conninfo(), autocommit=True) as conn:
            conn.execute(f"CREATE TABLESPACE small LOCATION '{space}'".encode())
        yield disk


@pytest.fixture
def spaced(server: EmbeddedServer, disk: SmallDisk) -> Iterator[str]:
    """A database on the big disk; what is put into tablespace ``small`` is on the small one."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    yield server.create_database(name)
    _drop(server, name)


def _drop(server: EmbeddedServer, name: str) -> None:
    server.drop_database(name)
    with psycopg.connect(server.conninfo(), autocommit=True) as conn:
        conn.execute("DROP TABLESPACE small")


def test_the_copy_stops_and_goes_on_after_space_was_made(disk: SmallDisk, spaced: str) -> None:
    conn = a_database(spaced, rows=ROWS)
    conn.execute("ALTER TABLE sales_v2 SET TABLESPACE small")
    conn.execute("ALTER INDEX sales_v2_pkey SET TABLESPACE small")
    plan = a_slow_plan()
    run_id = a_run(spaced, plan)
    send(spaced, run_id, Verb.START, until="end")
    with runner_thread(spaced, plan, run_id) as running:
        until(lambda: chunks_done(conn) >= 3, "the copy")
        disk.fill()
        assert running.result(timeout=40) is RunStatus.FAILED
    error = state_of(spaced, run_id).error
    assert "No space left on device" in error
    assert "53100" in error
    assert "resume" in error
    held = one(conn, "SELECT sum(rows_written) FROM pgferry.chunk WHERE status = 'done'")
    assert one(conn, "SELECT count(*) FROM sales_v2") == held
    disk.free()
    assert order(spaced, plan, run_id, Verb.RESUME)[0] is RunStatus.DONE, state_of(spaced, run_id).error
    assert_copied_once(conn, ROWS)
    assert_equal(spaced, plan)
    conn.close()


def test_ddl_stops_and_runs_once_after_space_was_made(server: EmbeddedServer, disk: SmallDisk, spaced: str) -> None:
    conn = a_database(spaced, rows=ROWS)
    before = dump(spaced, server.binaries.dir)
    up = a_file(
        "1.sql",
        "CREATE TABLE one (i int);\n"
        "CREATE INDEX CONCURRENTLY wide ON sales (note, shop, item) TABLESPACE small;\n"
        "CREATE TABLE big TABLESPACE small AS SELECT i, repeat('x', 100) AS filler FROM generate_series(1, 10000) i;\n",
    )
    down = a_file("1.down.sql", "DROP TABLE big;\nDROP INDEX CONCURRENTLY wide;\nDROP TABLE one;")
    plan = a_plan(a_task("ddl", Kind.SQL, file=up, down=down))
    run_id = a_run(spaced, plan)
    disk.fill()
    status, _ = order(spaced, plan, run_id, Verb.START, until="end")
    error = state_of(spaced, run_id).error
    assert (status, "No space left" in error, "53100" in error) == (RunStatus.FAILED, True, True), error
    disk.free()
    disk.fill(leave=512 * KB)  # enough for the index, not for the table
    status, _ = order(spaced, plan, run_id, Verb.RESUME)
    assert [s.status for s in state_of(spaced, run_id).statements] == ["done", "done", "failed"]
    assert status is RunStatus.FAILED
    disk.free()
    assert order(spaced, plan, run_id, Verb.RESUME)[0] is RunStatus.DONE
    assert one(conn, "SELECT count(*) FROM big") == 10_000
    assert order(spaced, plan, run_id, Verb.ROLLBACK, to="start")[0] is RunStatus.ROLLED_BACK
    assert dump(spaced, server.binaries.dir) == before
    conn.close()


def test_the_journal_on_a_full_disk(
    server: EmbeddedServer, disk: SmallDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may not even be able to write down why: then the runner says so in one sentence and ends."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server.conninfo(), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TABLESPACE small".encode())
    database = server.conninfo(name)
    try:
        conn = a_database(database, rows=ROWS)
        plan = a_plan_directory(tmp_path / "plan")
        run_id = a_run(database, plan)
        send(database, run_id, Verb.START, until="end")
        disk.fill()
        with pytest.raises(psycopg.errors.DiskFull):
            _use_up_the_pages(conn, run_id)
        code, said = _run(database, plan, run_id)
        assert code == 3, said
        assert len(said.strip().splitlines()) == 1
        # of a write, or of the first connection since the catalogue's cache was thrown away
        assert said.startswith(
            ("pgferry: The server's disk is full (53100): could not extend", "pgferry: No connection")
        )
        assert "No space left on device" in said
        assert "resume" in said
        disk.free()

        code, said = _run(
            database, plan, run_id, lambda: (until(lambda: chunks_done(conn) >= 3, "the copy"), disk.fill())
        )
        state = state_of(database, run_id)
        assert code in (1, 3), said  # the copy's failure could be written down, or not
        assert "No space left on device" in state.error + said
        assert state.lease is None or not state.lease.alive
        assert one(conn, "SELECT count(*) FROM sales_v2") == one(
            conn, "SELECT coalesce(sum(rows_written), 0) FROM pgferry.chunk WHERE status = 'done'"
        )
        disk.free()
        assert order(database, plan, run_id, Verb.RESUME)[0] is RunStatus.DONE, state_of(database, run_id).error
        assert_copied_once(conn, ROWS)
        assert_equal(database, plan)
        conn.close()
    finally:
        _drop(server, name)


def _use_up_the_pages(conn: Conn, run_id: int) -> None:
    """A full disk still has room in the journal's pages; this ends in DiskFull."""
    while True:
        events.append(conn, run_id, "run", "x" * 1500, actor="tester")


def _run(database: str, plan: Plan, run_id: int, meanwhile: Callable[[], object] | None = None) -> tuple[int, str]:
    """A runner until it ends: its exit code and what it said."""
    log_file(run_id).unlink(missing_ok=True)
    process = start_runner(database, plan.root, run_id, "tester")
    try:
        if meanwhile:
            meanwhile()
        code = process.wait(timeout=40)
    finally:
        process.kill()
        process.wait()
    said = log_file(run_id).read_text()
    assert "Traceback" not in said
    return code, said


def test_the_wal_on_a_full_disk(server: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server panics, and comes back only after space was made: the same runner goes on."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    settings = server.settings | {"max_wal_size": "48MB", "min_wal_size": "32MB", "fsync": "on"}
    with (
        a_small_disk(server.data_dir, 140) as disk,
        EmbeddedServer(server.binaries, disk.folder / "home", settings=settings) as own,
    ):
        database = own.create_database("wal")
        conn = a_database(database, rows=ROWS)
        conn.execute("CREATE TABLE filler (t text)")
        conn.execute("ALTER TABLE filler ALTER t SET STORAGE EXTERNAL")
        plan = a_plan_directory(tmp_path / "plan")
        run_id = a_run(database, plan)
        send(database, run_id, Verb.START, until="end")
        process = start_runner(database, plan.root, run_id, "tester", patience_s=60)
        try:
            until(lambda: chunks_done(conn) >= 3, "the copy")
            disk.fill(leave=256 * KB)
            _panic(conn)
            conn.close()
            disk.free()
            _back(own)
            code = process.wait(timeout=60)
        finally:
            process.kill()
            process.wait()
        said = log_file(run_id).read_text()
        assert "Traceback" not in said
        state = state_of(database, run_id)
        if code != 0:  # the copy met the full disk before the server panicked
            assert (code, "No space left" in state.error + said) == (1, True), (code, said, state.error)
            assert order(database, plan, run_id, Verb.RESUME)[0] is RunStatus.DONE, state_of(database, run_id).error
        conn = connect(database)
        assert_copied_once(conn, ROWS)
        assert_equal(database, plan)
        conn.close()


def _panic(conn: Conn) -> None:
    """Write until the server is gone: no segment for its WAL is left."""
    writes = (
        "INSERT INTO filler SELECT repeat('x', 100000) FROM generate_series(1, 20)",
        "TRUNCATE filler",
        "SELECT pg_logical_emit_message(false, 'x', repeat('x', 1000000))",  # WAL alone, where the tables are full
    )
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        for write in writes:
            with suppress(psycopg.OperationalError):
                conn.execute(write.encode())
            if conn.closed or conn.broken:
                return
    pytest.fail("the server did not mind")


def _back(own: EmbeddedServer) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with suppress(FerryError, psycopg.Error):
            if own.pid is None:
                own.start()
            connect(own.conninfo()).close()
            return
        time.sleep(0.1)
    pytest.fail("the server does not come back: " + own.log_file.read_text()[-2000:])
