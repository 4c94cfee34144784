"""Behind PgBouncer: refused plainly where server processes are shared, at work where each session keeps its own."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from console.errors import ConnectionFailed
from console.journal.connect import connect
from console.journal.state import RunStatus, TaskStatus, Verb
from console.plan.model import Kind
from tests.engine.scene import a_database, a_file, a_plan, a_run, a_task
from tests.engine.tiny import ferry, tiny_plan
from tests.faults.locked import a_holder, running_alone, until_state
from tests.faults.tools import one, send, state_of, until

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
pytestmark = pytest.mark.skipif(PGBOUNCER is None, reason="pgbouncer is not installed (apt-get install pgbouncer)")


def _account() -> dict[str, Any]:
    """As whom it runs: not as root, which it refuses, but as who may reach the server's socket."""
    if os.geteuid() != 0:
        return {}
    names = {entry.pw_name for entry in pwd.getpwall()}
    entry = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": ()}


@contextmanager
def a_pooler(database: str, mode: str, **settings: object) -> Iterator[str]:
    """PgBouncer before the test's server; gives the connection string through it."""
    server = conninfo_to_dict(database)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    lines = {
        "listen_addr": "127.0.0.1", "listen_port": port, "unix_socket_dir": "", "auth_type": "any", "pool_mode": mode,
        "default_pool_size": 20, "server_tls_sslmode": "disable", **settings,
    }  # fmt: skip
    pools = f"* = host={server['host']} port={server['port']} user={server['user']} dbname={server['dbname']}"
    with tempfile.TemporaryDirectory(prefix="pgferry-pooler-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        config = "\n".join(["[databases]", pools, "[pgbouncer]", *(f"{key} = {value}" for key, value in lines.items())])
        (folder / "ini").write_text(config + "\n")
        process = subprocess.Popen([str(PGBOUNCER), "-q", str(folder / "ini")], stderr=subprocess.DEVNULL, **_account())
        through = make_conninfo(host="127.0.0.1", port=port, user=server["user"], dbname=server["dbname"])
        try:
            until(lambda: _answers(through), "the pooler")
            yield through
        finally:
            process.terminate()
            process.wait()


def _answers(conninfo: str) -> bool:
    try:
        psycopg.connect(conninfo, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


@pytest.mark.parametrize(
    ("mode", "settings"),
    [
        ("transaction", {}),
        ("transaction", {"server_round_robin": 1, "min_pool_size": 5}),
        ("transaction", {"default_pool_size": 1}),
        ("statement", {}),
    ],
)
def test_shared_server_processes_are_refused(database: str, mode: str, settings: dict[str, object]) -> None:
    with a_pooler(database, mode, **settings) as through:
        for _ in range(5):
            with pytest.raises(ConnectionFailed, match=f"A connection pooler in {mode} mode") as refused:
                connect(through)
        assert "Connect to the server itself, or through a pool in session mode" in str(refused.value)
        with psycopg.connect(through, autocommit=True, prepare_threshold=None) as app:
            assert app.execute("SHOW lock_timeout").fetchone() == ("0",), (
                "nothing of ours is left on the pool's processes"
            )


def test_the_command_says_it_in_one_sentence(database: str, tmp_path: Path) -> None:
    plan = tiny_plan(tmp_path)
    with a_pooler(database, "transaction") as through:
        for command in (("apply",), ("status",)):
            code, out, err = ferry(*command, "--plan", str(plan), "--dsn", through)
            assert (code, out) == (3, ""), err
            assert err.count("\n") == 1
            assert "in transaction mode stands between here and the server" in err
    with connect(database) as conn:
        assert one(conn, "SELECT count(*) FROM pg_namespace WHERE nspname = 'pgferry'") == 0


def test_a_pool_in_session_mode_carries_a_run(database: str) -> None:
    """Also the pid of our own statement is the server's, not the one the pooler invented."""
    conn = a_database(database, rows=200)
    plan = a_plan(
        a_task("ddl", Kind.SQL, file=a_file("001.sql", "ALTER TABLE sales ADD COLUMN more int;")),
        a_task("index", Kind.SQL, file=a_file("002.sql", "CREATE INDEX CONCURRENTLY sales_note ON sales (note);")),
        a_task("sync", Kind.SYNC, mappings=("sales",)),
        a_task("copy", Kind.BACKFILL, mappings=("sales",)),
    )
    with a_pooler(database, "session") as through:
        run_id = a_run(through, plan)
        holder = a_holder(database)
        send(through, run_id, Verb.START, until="ddl")
        with running_alone(through, plan, run_id) as running:
            state = until_state(through, run_id, lambda state: state.sessions, "the holder")
            roles = [(s.application, s.role) for s in state.sessions if s.role != "our statement"]
            assert roles == [("forgotten psql", "blocks us")]
            holder.close()
            assert running.result() is RunStatus.WAITING, state_of(database, run_id).error
        send(through, run_id, Verb.START, until="end")
        with running_alone(through, plan, run_id) as running:
            running.result()
        state = state_of(database, run_id)
        assert [task.status for task in state.tasks] == [TaskStatus.COMPLETED] * 3 + [state.tasks[3].status], (
            state.error
        )
        assert one(conn, "SELECT count(*) FROM sales_v2") > 0
    conn.close()


def test_a_pool_too_small_for_a_second_session_is_told(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("console.journal.pooler.PATIENCE_S", 1.0)
    gave_up = "The pooler between here and the server gave up"
    with a_pooler(database, "session", default_pool_size=1) as through, pytest.raises(ConnectionFailed, match=gave_up):
        connect(through)
