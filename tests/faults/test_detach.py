"""The console in control goes, by every road there is: the run pauses at a batch where that was chosen, else it goes on."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from console.commands import pulse
from console.commands.console_world import ConsoleWorld
from console.commands.settings import Settings
from console.engine import attendance
from console.engine.attendance import Attendance
from console.errors import FerryError, Refused
from console.journal import control
from console.journal.connect import Conn, connect
from console.journal.state import OnDetach, RunStatus, Verb
from console.plan.model import Plan
from tests.engine.scene import a_database, a_run, order
from tests.faults.relay import Relay, relay
from tests.faults.tools import (
    SLOW,
    a_plan_directory,
    a_slow_plan,
    assert_copied_once,
    chunks_done,
    one,
    runner_thread,
    send,
    state_of,
    until,
)

ROWS = 2500
SLOWER = replace(SLOW, max_rows_per_second=300)  # a copy of some eight seconds


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The times of a night, shortened; their order stays."""
    monkeypatch.setattr(pulse, "EVERY_S", 0.2)
    monkeypatch.setattr(pulse, "RETRY_S", 0.1)
    monkeypatch.setattr(attendance, "ENDED_S", 1.0)
    monkeypatch.setattr(attendance, "SEEN_S", 2.0)


class Watched:
    """A console that reads in a thread, as its screen does, until it is stopped."""

    def __init__(self, dsn: str, plan: Plan, on_detach: OnDetach | None, name: str = "dba-1") -> None:
        self.world = ConsoleWorld(
            Settings(dsn, plan.root, "", name, "DEV"), plan, asked=True, on_detach=on_detach
        )  # fmt: skip
        self.world.state()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while not self._stop.wait(0.1):
            with contextlib.suppress(FerryError):
                self.world.state()

    def stop_reading(self) -> None:
        self._stop.set()
        self._thread.join(5)


@contextmanager
def watched(dsn: str, plan: Plan, on_detach: OnDetach | None, name: str = "dba-1") -> Iterator[Watched]:
    console = Watched(dsn, plan, on_detach, name)
    try:
        yield console
    finally:
        console.stop_reading()
        console.world.close()


@contextmanager
def relayed(database: str, plan: Plan, on_detach: OnDetach | None) -> Iterator[tuple[Watched, Relay]]:
    """A console, and its line to the server."""
    with relay(database) as line:
        console = Watched(line.conninfo, plan, on_detach)
        try:
            yield console, line
        finally:
            line.close()
            console.stop_reading()
            console.world.close()


def said(database: str, run_id: int) -> str:
    return "\n".join(f"{event.actor}: {event.text}" for event in state_of(database, run_id).events)


def pauses_whole(conn: Conn, database: str, plan: Plan, run_id: int) -> None:
    """It stopped in the middle, at a batch, and goes on to the end with nothing lost."""
    assert one(conn, "SELECT count(*) FROM sales_v2") == one(conn, "SELECT sum(rows_written) FROM pgferry.chunk")
    assert one(conn, "SELECT sum(rows_read) FROM pgferry.chunk WHERE status = 'done'") < ROWS
    send(database, run_id, Verb.SPEED, max_rows_per_second=0, batch_rows=500)
    status, _ = order(database, plan, run_id, Verb.RESUME)
    assert status is RunStatus.DONE, "nobody is waited for once it was resumed"
    assert_copied_once(conn, ROWS)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize("how", ["kill -9", "q", "hang-up"])
def test_a_real_console_goes_and_the_run_pauses(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(attendance, "ENDED_S", 4.0)  # more than the console's own beat
    conn = a_database(database, rows=ROWS)
    plan = a_plan_directory(tmp_path / "plan")
    run_id = a_run(database, plan)
    pid, master = _console(database, plan)
    drain = threading.Thread(target=_drain, args=(master,), daemon=True)
    try:
        drain.start()
        until(lambda: control.holder(conn, run_id), "the console to take control")
        send(database, run_id, Verb.SPEED, max_rows_per_second=150, workers=1)
        send(database, run_id, Verb.START, until="end")
        with runner_thread(database, plan, run_id) as running:
            until(lambda: chunks_done(conn) >= 2, "the copy")
            if how == "kill -9":
                os.kill(pid, signal.SIGKILL)
            elif how == "q":
                os.write(master, b"q")
                time.sleep(0.3)
                os.write(master, b"q")
            else:
                os.kill(pid, signal.SIGHUP)
            assert running.result(timeout=30) is RunStatus.PAUSED
    finally:
        with_kill(pid)
        os.close(master)
    why = "is gone, its connection ended" if how == "kill -9" else "the console in control left"
    assert why in said(database, run_id)
    assert control.holder(conn, run_id) is None
    pauses_whole(conn, database, plan, run_id)
    conn.close()


def _console(database: str, plan: Plan) -> tuple[int, int]:
    pid, master = pty.fork()
    if pid == 0:
        words = ["run", "--plan", str(plan.root), "--dsn", database, "--on-detach", "pause"]
        env = {**os.environ, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", "PGFERRY_ENV": "DEV"}
        os.execve(sys.executable, [sys.executable, "-m", "console", *words], env)
    return pid, master


def _drain(master: int) -> None:
    try:
        while True:
            if select.select([master], [], [], 0.2)[0] and not os.read(master, 65536):
                return
    except (OSError, ValueError):
        return


def with_kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    os.waitpid(pid, 0)


def test_a_line_that_went_dead_without_a_word(database: str) -> None:
    """The server sees nothing: the console's connections stay open and are silent."""
    conn = a_database(database, rows=ROWS)
    plan = a_slow_plan(SLOWER)
    run_id = a_run(database, plan)
    send(database, run_id, Verb.START, until="end")
    with runner_thread(database, plan, run_id) as running, relayed(database, plan, OnDetach.PAUSE) as (console, line):
        assert console.world.can_control
        until(lambda: chunks_done(conn) >= 2, "the copy")
        line.cut()
        assert running.result(timeout=30) is RunStatus.PAUSED
    assert "is gone, not heard for 2 s" in said(database, run_id)
    pauses_whole(conn, database, plan, run_id)
    conn.close()


@pytest.mark.parametrize("option", [None, OnDetach.GO_ON])
def test_without_that_choice_the_run_goes_on(database: str, option: OnDetach | None) -> None:
    conn = a_database(database, rows=ROWS)
    plan = a_slow_plan()
    run_id = a_run(database, plan)
    send(database, run_id, Verb.START, until="end")
    with runner_thread(database, plan, run_id) as running, relayed(database, plan, option) as (_, line):
        line.cut()
        assert running.result(timeout=40) is RunStatus.DONE
    assert "gone" not in said(database, run_id)
    conn.close()


def test_only_the_console_in_control_counts_and_the_choice_moves_with_control(database: str) -> None:
    conn = a_database(database, rows=ROWS)
    plan = a_slow_plan(SLOWER)
    run_id = a_run(database, plan)
    send(database, run_id, Verb.START, until="end")
    with (
        runner_thread(database, plan, run_id) as running,
        watched(database, plan, OnDetach.PAUSE) as first,
        watched(database, plan, None, "dba-2") as second,
    ):
        assert not second.world.can_control
        assert second.world.on_detach is OnDetach.PAUSE, "who reads sees it too"
        with pytest.raises(Refused, match="no control"):
            second.world.set_on_detach(OnDetach.GO_ON)
        second.world.take_control()
        until(lambda: not first.world.can_control, "the first to notice")
        with watched(database, plan, None, "dba-3") as reader:
            assert not reader.world.can_control
        first.stop_reading()
        first.world.close()
        done = chunks_done(conn)
        until(lambda: chunks_done(conn) > done + 4, "the copy to go on: neither of those had control")
        assert not running.done()
        second.stop_reading()
        second.world.close()
        assert running.result(timeout=20) is RunStatus.PAUSED
    assert "dba-2: pause after the current batch or statement (the console in control left)" in said(database, run_id)
    pauses_whole(conn, database, plan, run_id)
    conn.close()


def test_the_choice_can_be_changed_while_the_run_goes(database: str) -> None:
    conn = a_database(database, rows=ROWS)
    plan = a_slow_plan(SLOWER)
    run_id = a_run(database, plan)
    send(database, run_id, Verb.START, until="end")
    with runner_thread(database, plan, run_id) as running:
        until(lambda: chunks_done(conn) >= 1, "the copy")
        with watched(database, plan, None) as console:
            assert console.world.on_detach is OnDetach.GO_ON
            assert "pauses" in console.world.set_on_detach(OnDetach.PAUSE).text
            assert console.world.on_detach is OnDetach.PAUSE
        assert running.result(timeout=20) is RunStatus.PAUSED
    assert "dba-1@" in said(database, run_id)
    assert "when the console in control goes, the run pauses" in said(database, run_id)
    conn.close()


def test_a_console_whose_terminal_stands_still_is_gone(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line to the operator is dead and nobody noticed yet: the process lives, and nobody sees what it shows."""
    monkeypatch.setattr(pulse, "STALLED_S", 0.3)
    conn = a_database(database, rows=ROWS)
    plan = a_slow_plan(SLOWER)
    run_id = a_run(database, plan)
    send(database, run_id, Verb.START, until="end")
    with runner_thread(database, plan, run_id) as running, watched(database, plan, OnDetach.PAUSE) as console:
        until(lambda: chunks_done(conn) >= 1, "the copy")
        console.world.drawn()  # and never again
        assert running.result(timeout=20) is RunStatus.PAUSED
        assert "not heard for" in said(database, run_id)
    conn.close()


def test_a_restarted_server_or_a_set_clock_makes_nobody_seem_gone(database: str) -> None:
    with a_database(database) as conn:
        run_id = a_run(database, a_slow_plan())
        now = 0.0
        looks = Attendance(run_id, clock=lambda: now)
        assert looks.look(conn) is None, "nobody has control"
        control.take(conn, run_id, "a", "dba-1", over=False, on_detach=OnDetach.PAUSE)
        with connect(database) as beats:
            control.renew(beats, run_id, "a")
            assert looks.look(conn) is None
            now += 1.5
            assert looks.look(conn) is None, "its connection lives"
            conn.execute("UPDATE pgferry.control SET seen_at = seen_at - interval '1 hour'")
            assert looks.look(conn) is None, "the clock was set: a sign of life all the same"
            now += 1.9
            looks.reconnected()
            now += 1.9
            assert looks.look(conn) is None, "the server was away"
            now += 0.2
            gone = looks.look(conn)
            assert gone is not None
            assert gone.why == "not heard for 2 s"
            with conn.transaction():
                assert control.renew(beats, run_id, "a")
                assert not control.left_behind(conn, run_id, gone.presence), "it was heard just now"
        fresh = Attendance(run_id, clock=lambda: now)
        conn.execute("UPDATE pgferry.control SET seen_at = seen_at - interval '1 hour'")
        until(lambda: not (control.presence(conn, run_id) or gone.presence).held, "the server to end the session")
        fresh.look(conn)
        now += 100.0
        assert fresh.look(conn) is None, "gone before this runner began: not what was just started is to pause"
