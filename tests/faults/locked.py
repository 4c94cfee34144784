"""Holders, readers and runs that stand before a lock."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager

import psycopg

from console.journal.connect import Conn, connect
from console.journal.state import RunState, RunStatus
from console.plan.model import Kind, Plan
from tests.engine.scene import a_file, a_plan, a_task
from tests.faults.tools import runner_thread, state_of, until


class Readers:
    """Applications that read the table again and again; the server ends a read that waits longer than ``limit_ms``."""

    def __init__(self, conninfo: str, count: int, limit_ms: int) -> None:
        self.conninfo, self.limit_ms = conninfo, limit_ms
        self.counts = [0] * count
        self.failed: list[Exception] = []
        self.ended = threading.Event()
        self.threads = [threading.Thread(target=self._read, args=(i,), daemon=True) for i in range(count)]

    def _read(self, number: int) -> None:
        with psycopg.connect(self.conninfo, autocommit=True, application_name=f"reader {number}") as conn:
            conn.execute(f"SET lock_timeout = {self.limit_ms}")
            while not self.ended.is_set():
                try:
                    conn.execute("SELECT 1 FROM sales LIMIT 1").fetchone()
                except psycopg.Error as error:
                    self.failed.append(error)
                self.counts[number] += 1
                self.ended.wait(0.05)

    def all_read_on(self) -> None:
        """Wait until every reader has read once more."""
        before = list(self.counts)
        until(lambda: all(now > then for now, then in zip(self.counts, before, strict=True)), "every reader")

    def __enter__(self) -> Readers:
        for thread in self.threads:
            thread.start()
        self.all_read_on()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        for thread in self.threads:
            thread.join()


def a_statement(text: str, **settings: object) -> Plan:
    """A plan of one file."""
    return a_plan(a_task("ddl", Kind.SQL, file=a_file("001.sql", text), **settings))


def a_holder(conninfo: str, query: str = "SELECT count(*) FROM sales", name: str = "forgotten psql") -> Conn:
    """A session that did something and left its transaction open."""
    conn = connect(conninfo, application_name=name, autocommit=False)
    conn.execute(query)
    return conn


def until_state(conninfo: str, run_id: int, true: Callable[[RunState], object], what: str) -> RunState:
    """The first state of the run in which ``true`` holds."""
    found: list[RunState] = []

    def look() -> bool:
        state = state_of(conninfo, run_id)
        found[:] = [state]
        return bool(true(state))

    until(look, what)
    return found[0]


def _end_everybody(conninfo: str) -> None:
    with connect(conninfo) as conn:
        conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid()"
        )
        for (name,) in conn.execute("SELECT gid FROM pg_prepared_xacts WHERE database = current_database()"):
            conn.execute(f"ROLLBACK PREPARED '{name}'")


@contextmanager
def running_alone(conninfo: str, plan: Plan, run_id: int) -> Iterator[Future[RunStatus]]:
    """As ``runner_thread``; where the test fails, everybody in the way is ended, so that the run comes to its end."""
    with runner_thread(conninfo, plan, run_id) as running:
        try:
            yield running
        except BaseException:
            rest_s = 0.3
            while not running.done():  # again and again: the runner connects again, and gives up after a while
                _end_everybody(conninfo)
                time.sleep(rest_s)
                rest_s = min(2 * rest_s, 10.0)  # a drain whose users were ended needs quiet to come to its end
            raise


def lines(state: RunState, words: str) -> list[str]:
    """Lines of the log with these words."""
    return [event.text for event in state.events if words in event.text]
