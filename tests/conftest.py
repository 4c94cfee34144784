"""Fixtures for every test: one PostgreSQL server for the whole run, a fresh database for each test."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from console.demo.server import EmbeddedServer, find_binaries

# Durable enough to mean something (synchronous_commit stays on), but without waiting for the disk.
SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "wal_level": "replica",
    "max_connections": "100",
    "max_prepared_transactions": "5",
    "max_wal_size": "512MB",
}
MEMORY = Path("/dev/shm")
ENOUGH = 4 << 30  # bytes free there for the servers of a run
REPOSITORY = Path(__file__).resolve().parent.parent
# The commands that tests start read compiled modules, also where the environment asks that none be kept: each start
# would compile them again, which is half of its time.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedServer]:
    """A server of the major version in PGFERRY_TEST_MAJOR, 18 by default."""
    yield from _running(int(os.environ.get("PGFERRY_TEST_MAJOR", "18")))


@pytest.fixture(scope="session")
def server16() -> Iterator[EmbeddedServer]:
    """A server of PostgreSQL 16, for long tests: with PGFERRY_TEST_MAJOR=16 the usual ones run on it."""
    yield from _running(16)


def _running(major: int) -> Iterator[EmbeddedServer]:
    """A server that says itself that it is of this major version: the embedded package holds two."""
    running = EmbeddedServer(find_binaries(major), settings=SETTINGS)
    with _temporary_files_in_memory():
        running.start()
    try:
        with psycopg.connect(running.conninfo()) as conn:
            assert conn.info.server_version // 10000 == major
        yield running
    finally:
        running.close()


@contextlib.contextmanager
def _temporary_files_in_memory() -> Iterator[None]:
    """Folders made meanwhile are in memory, where there is room: a database's 300 files cost 10 ms there, 100 on a disk.

    Nothing is tested less: with fsync off a server's files outlive what kills the server, not what kills the machine.
    """
    before = tempfile.tempdir
    if _is_roomy(MEMORY):
        tempfile.tempdir = str(MEMORY)
    try:
        yield
    finally:
        tempfile.tempdir = before


def _is_roomy(folder: Path) -> bool:
    """Whether a server fits in there, its programs too (they are copied where they stand in a closed home)."""
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        return False
    return shutil.disk_usage(folder).free > ENOUGH and not os.statvfs(folder).f_flag & os.ST_NOEXEC


@pytest.fixture
def database(server: EmbeddedServer) -> Iterator[str]:
    """The connection string of a fresh database, dropped after the test."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    yield server.create_database(name)
    server.drop_database(name)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real rows beside the repository; the test is skipped where it is absent."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the real rows are not on this machine: {folder.name}/ beside the repository is missing")
    return folder
