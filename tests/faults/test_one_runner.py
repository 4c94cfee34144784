"""One runner a plan, and one plan a table: whoever comes second is told who, where and since when."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest

from console.commands.settings import Settings
from console.commands.spawn import log_file, start_runner
from console.commands.world import JournalWorld
from console.errors import Refused
from console.journal import lease, runs, schema
from console.journal.connect import connect
from console.journal.state import RunStatus, Verb
from console.plan.load import load_plan
from console.plan.model import Plan, TableName
from tests.engine.scene import MAPPING, WHOLE, a_database, a_plan, a_run, order
from tests.engine.tiny import ferry, start, tiny_plan
from tests.faults.tools import (
    a_plan_directory,
    a_slow_plan,
    assert_copied_once,
    assert_no_runner_left,
    chunks_done,
    one,
    runner_process,
    runner_thread,
    send,
    state_of,
    terminate,
    until,
)


def _other_plan(old: str, new: str) -> Plan:
    mapping = replace(MAPPING, old=TableName("public", old), new=TableName("public", new))
    return replace(a_plan(*WHOLE, mapping=mapping), id="other", title="Another plan")


def test_a_second_run_of_an_unfinished_plan_is_refused(database: str) -> None:
    a_database(database, rows=10).close()
    plan = a_plan(*WHOLE)
    run_id = a_run(database, plan)
    for until_task in ("", "copy"):
        if until_task:
            order(database, plan, run_id, Verb.START, until=until_task)
        with connect(database) as conn, pytest.raises(Refused, match=f"Run {run_id} .* begun by tester at 20"):
            runs.create(conn, plan, "second")
    order(database, plan, run_id, Verb.ROLLBACK, to="start")
    with connect(database) as conn:
        assert runs.create(conn, plan, "second") > run_id, "nothing of the first stands any more"


def test_another_plan_on_the_same_tables_is_refused_until_the_first_is_done(database: str) -> None:
    a_database(database, rows=10).close()
    plan = a_plan(*WHOLE)
    run_id = a_run(database, plan)
    other = _other_plan("invoices", "sales_v2")
    order(database, plan, run_id, Verb.START, until="copy")
    with connect(database) as conn:
        with pytest.raises(Refused, match=f"Run {run_id} \\(A scene\\) is waiting and works on the same tables"):
            runs.create(conn, other, "tester")
        elsewhere = runs.create(conn, _other_plan("invoices", "invoices_v2"), "tester")
        assert lease.acquire(conn, elsewhere, "tester"), "a plan for other tables is nobody's business"
        lease.release(conn, lease.Fence(elsewhere, 1))
    order(database, plan, run_id, Verb.START, until="end")
    with connect(database) as conn:
        later = runs.create(conn, replace(other, id="later"), "tester")
        runs.set_goal(conn, later, RunStatus.RUNNING)
        with pytest.raises(Refused, match=f"Run {later} \\(Another plan\\) is running"):
            lease.acquire(conn, run_id, "tester")


def test_a_live_runner_of_another_run_is_named(database: str) -> None:
    a_database(database).close()
    with connect(database) as first, connect(database) as second:
        schema.install(first)
        one_run = runs.create(first, _other_plan("sales", "one"), "tester")
        other_run = runs.create(first, replace(_other_plan("sales", "two"), id="two"), "tester")
        lease.acquire(first, one_run, "alice")
        with pytest.raises(
            Refused, match=f"alice runs it: process \\d+ on {re.escape(socket.gethostname())}, since 20"
        ):
            lease.acquire(second, other_run, "bob")
        held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database"
        first.close()
        until(lambda: not one(second, f"{held} WHERE datname = current_database())"), "the server to end the session")
        assert lease.acquire(second, other_run, "bob"), "neither had begun, and the first is gone"


def test_at_the_same_instant_one_begins(database: str) -> None:
    a_database(database).close()
    plan = a_plan(*WHOLE)
    together = threading.Barrier(4)

    def begin(number: int) -> int | Refused:
        with connect(database) as conn:
            schema.install(conn)
            together.wait()
            try:
                return runs.create(conn, plan, f"operator {number}")
            except Refused as error:
                return error

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(begin, range(4)))
    begun = [result for result in results if isinstance(result, int)]
    assert len(begun) == 1, results
    assert all("begun by operator" in str(result) for result in results if isinstance(result, Refused))


def test_two_commands_at_the_same_instant_make_one_run(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    plan = tiny_plan(tmp_path)
    with connect(database) as conn:
        schema.install(conn)
    words = ("apply", "--plan", str(plan), "--dsn", database)
    both = [start(*words), start(*words)]
    ended = [(process.communicate(timeout=60), process.returncode) for process in both]
    codes = sorted(code for _, code in ended)
    assert codes in ([0, 0], [0, 5]), "\n".join(err for (_, err), _ in ended)
    assert not [err for (_, err), _ in ended if "Traceback" in err]
    with connect(database) as conn:
        assert one(conn, "SELECT count(*) FROM pgferry.run") == 1
        assert conn.execute("SELECT count(*) FROM things").fetchone() == (3,)


def test_a_runner_whose_connections_were_cut_is_not_replaced(database: str) -> None:
    """It holds no lock for a moment; whoever comes just then waits for its heartbeat and is refused."""
    conn = a_database(database, rows=3000)
    plan = a_slow_plan()
    run_id = a_run(database, plan)
    send(database, run_id, Verb.START, until="end")
    with runner_thread(database, plan, run_id) as running:
        until(lambda: chunks_done(conn) >= 2, "the copy")
        with connect(database) as second:
            for _ in range(3):
                terminate(conn, run_id, "control")
                with pytest.raises(Refused, match="tester already runs this"):
                    lease.acquire(second, run_id, "second")
        assert running.result(timeout=30) is RunStatus.DONE, state_of(database, run_id).error
    assert one(conn, "SELECT fence FROM pgferry.run") == 1, "nobody took it over"
    conn.close()


def test_after_kill_9_the_next_runner_need_not_wait(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    conn = a_database(database, rows=3000)
    plan = a_plan_directory(tmp_path / "plan")
    run_id = a_run(database, plan)
    send(database, run_id, Verb.START, until="end")
    with runner_process(database, plan, run_id):
        until(lambda: chunks_done(conn) >= 2, "the copy")
    held = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'pgferry run%'"
    until(lambda: one(conn, held) == 0, "the killed one's sessions to end")
    with connect(database) as second:
        monkeypatch.setattr(lease, "RETURN_SECONDS", 1e9)  # it would be seen
        assert lease.acquire(second, run_id, "second").number == 2
    conn.close()


def test_a_killed_runner_is_not_given_the_words_of_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every runner of a run writes into one file; what another one said there is not why this one ended."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    world = JournalWorld(Settings(operator="dba-1"), load_plan(tiny_plan(tmp_path)), run_id=7)
    log_file(7).parent.mkdir(parents=True)
    program = "import sys, time; time.sleep(float(sys.argv[1])); sys.exit(3)"
    for seconds, words in (("60", "it was ended by signal 9"), ("0", "the runner ended with code 3")):
        log_file(7).write_text("pgferry: somebody else was refused.\n")
        made = subprocess.Popen([sys.executable, "-c", program, seconds])
        monkeypatch.setattr("console.commands.world.start_runner", Mock(return_value=made))
        world._start_runner()
        if seconds == "60":
            made.kill()
        made.wait(30)
        assert world.runner_died() == words
    world.close()


def test_a_hung_runner_is_taken_over_only_when_asked(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its host is frozen: it holds the lock and says nothing. Woken up, it finds that it may not write any more."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    conn = a_database(database, rows=3000)
    plan = a_plan_directory(tmp_path / "plan")
    run_id = a_run(database, plan)
    send(database, run_id, Verb.START, until="end")
    words = ("--plan", str(plan.root), "--dsn", database)
    hung = start_runner(database, plan.root, run_id, "alice")
    try:
        until(lambda: chunks_done(conn) >= 3, "the copy")
        hung.send_signal(signal.SIGSTOP)
        conn.execute("UPDATE pgferry.lease SET heartbeat_at = heartbeat_at - interval '1 hour'")
        held = lease.read(conn, run_id)
        assert held is not None
        assert not held.alive
        code, _, err = ferry("apply", *words)
        assert (code, f"alice already runs this: process {hung.pid}" in err) == (5, True), err
        code, _, err = ferry("resume", *words)
        assert (code, "take the run over: 'pgferry resume --take-over'" in err) == (5, True), err
        code, out, _ = ferry("status", *words)
        assert (code, "NOT ANSWERING, but it holds the run: pgferry resume --take-over" in out) == (0, True), out
        code, out, err = ferry("resume", "--take-over", *words)
        assert (code, f"taken over from alice, process {hung.pid} on" in out) == (0, True), out + err
        hung.send_signal(signal.SIGCONT)
        assert hung.wait(timeout=30) == 5
        until(lambda: state_of(database, run_id).status is RunStatus.DONE, "the run to end", seconds=60)
    finally:
        hung.kill()
        hung.wait()
    assert_no_runner_left(conn, run_id)
    assert "took this run over" in log_file(run_id).read_text()
    said = [e.text for e in state_of(database, run_id).events if "carries the run on" in e.text]
    assert [re.sub(r"\d+ s before", "so long before", text.split(": ")[1]) for text in said] == [
        f"the runner of alice, process {hung.pid} on {socket.gethostname()}, did not answer and was cut off, last heard"
        " so long before"
    ]
    assert not [e.text for e in state_of(database, run_id).events if e.kind == "error"]
    assert_copied_once(conn, 3000)
    conn.close()
