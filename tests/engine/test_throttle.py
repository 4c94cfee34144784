"""What holds a copy back: every signal injected on a real server is named, books its seconds, and lets go again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace

import psycopg
import pytest

from console.engine.signals.base import OK, SLOWING, THROTTLING, UNKNOWN, Reading, gauge, unseen
from console.engine.signals.board import Board, throttles
from console.engine.signals.disk import DiskSpace
from console.engine.signals.probe import Probe
from console.engine.signals.replicas import Slots
from console.engine.signals.sessions import ActiveSessions, LockWaiters, OldestTransaction, Vacuum
from console.engine.signals.wal import WalRate
from console.journal.connect import Conn, connect
from console.journal.state import Progress, RunStatus, Verb
from console.plan.model import BackfillSettings, TableName
from tests.engine.scene import a_database, a_run
from tests.faults.tools import SLOW, a_slow_plan, assert_copied_once, one, runner_thread, send, state_of, until


@dataclass
class Script:
    """A signal whose readings the test writes."""

    name: str
    readings: list[Reading] = field(default_factory=list)

    def look(self, conn: Conn) -> Sequence[Reading]:
        return list(self.readings)


@pytest.fixture
def conn(database: str) -> Iterator[Conn]:
    with connect(database) as made:
        yield made


def test_every_second_is_booked_and_the_costs_add_up(conn: Conn) -> None:
    now = [100.0]
    lag, locks = Script("lag"), Script("locks")
    board = Board((lag, locks), clock=lambda: now[0])

    def after(seconds: float) -> dict[str, float]:
        now[0] += seconds
        board.tick(conn)
        return {signal.name: round(signal.cost_s, 3) for signal in board.signals()}

    lag.readings = [gauge("lag", 2.0, 1.0, "2 s", "1 s")]
    board.tick(conn)
    assert [reading.name for reading in board.holding] == ["lag"]
    assert board.words() == "held back by lag (2 s, limit 1 s)"
    locks.readings = [Reading("locks", "5", "3", THROTTLING, True)]
    assert after(4) == {"lag": 4, "locks": 0}
    lag.readings = [gauge("lag", 0.75, 1.0, "0.8 s", "1 s")]
    locks.readings = []
    assert after(2) == {"lag": 5, "locks": 1}, "both held: in equal shares"
    assert (board.holding, board.share) == ([], pytest.approx(0.55))
    assert board.words() == "slowed to 55 % of its time by lag (0.8 s, 75 % of its limit)"
    lag.readings = [gauge("lag", 0.1, 1.0, "0.1 s", "1 s")]
    assert after(10)["lag"] == pytest.approx(9.5), "slowing costs what it takes of the time"
    assert after(50)["lag"] == pytest.approx(9.5)
    assert (board.share, board.words()) == (1.0, "")
    assert board.lost_s == pytest.approx(sum(signal.cost_s for signal in board.signals())) == pytest.approx(10.5)


def test_a_gauge_slows_from_half_of_its_limit_and_holds_beyond_it() -> None:
    states = [gauge("g", value, 10, "", "").state for value in (0, 5, 5.1, 10, 10.1)]
    assert states == [OK, OK, SLOWING, SLOWING, THROTTLING]
    assert [gauge("g", value, 10, "", "").holds for value in (10, 10.1)] == [False, True]
    assert gauge("g", 99, 0, "", "").state == OK, "no limit"


def test_what_cannot_be_seen_is_unknown_and_only_some_of_it_holds(conn: Conn) -> None:
    lag = Script("lag", [unseen("lag", "cannot be seen", "1 s", holds=True)])
    disk = Script("disk", [unseen("disk", "not visible from here", "5 % free", holds=False)])
    board = Board((lag, disk))
    board.tick(conn)
    assert [reading.name for reading in board.holding] == ["lag"]
    assert {signal.state for signal in board.signals()} == {UNKNOWN}


def test_a_signal_that_the_server_refuses_holds_and_says_why(database: str, conn: Conn) -> None:
    conn.execute("DROP ROLE IF EXISTS throttle_tester")
    conn.execute("CREATE ROLE throttle_tester")
    conn.execute("SET ROLE throttle_tester")
    conn.execute("CREATE TEMP TABLE mine (n int)")
    conn.execute("RESET ROLE")
    conn.execute("CREATE TABLE secret (n int)")
    conn.execute("SET ROLE throttle_tester")

    class Refused(Script):
        def look(self, conn: Conn) -> Sequence[Reading]:
            conn.execute("SELECT 1 FROM secret")
            return []

    board = Board((Refused("secret"),))
    board.tick(conn)
    conn.execute("RESET ROLE")
    conn.execute("DROP OWNED BY throttle_tester")
    conn.execute("DROP ROLE throttle_tester")
    assert board.words() == "held back by secret (no privilege to see it)"


@contextmanager
def busy(database: str, *statements: str) -> Iterator[None]:
    """Applications, each in the middle of a statement until the block ends."""
    conns = [connect(database, application_name="application") for _ in statements]

    def run(conn: Conn, statement: str) -> None:
        with suppress(psycopg.errors.QueryCanceled):
            conn.execute(statement.encode())

    threads = [threading.Thread(target=run, args=pair) for pair in zip(conns, statements, strict=True)]
    for conn in conns:
        conn.execute("SET lock_timeout = 0")
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for conn, thread in zip(conns, threads, strict=True):
            conn.cancel()
            thread.join()
            conn.close()


def state(look: Callable[[], Sequence[Reading]]) -> tuple[str, str]:
    """(state, value) of the only reading; ok and nothing without one."""
    readings = look()
    return (readings[0].state, readings[0].value) if readings else (OK, "")


def test_sessions_that_wait_for_locks(database: str, conn: Conn) -> None:
    conn.execute("CREATE TABLE t (n int)")
    signal = LockWaiters(1)
    assert state(lambda: signal.look(conn)) == (OK, "0")
    with connect(database, application_name="application", autocommit=False) as holder:
        holder.execute("LOCK t")
        with busy(database, "SELECT * FROM t", "SELECT count(*) FROM t"):
            until(lambda: state(lambda: signal.look(conn)) == (THROTTLING, "2"), "two that wait")
        holder.rollback()


def test_an_old_transaction(database: str, conn: Conn) -> None:
    with connect(database, application_name="application", autocommit=False) as old:
        old.execute("SELECT 1")
        until(lambda: state(lambda: OldestTransaction(0.2).look(conn))[0] == THROTTLING, "an old one")
        assert state(lambda: OldestTransaction(600).look(conn))[0] == OK
        assert not OldestTransaction(600).look(conn)[0].load, "a slower copy would not help: it is not slowed"


def test_active_sessions_against_the_cores_that_the_plan_names(database: str, conn: Conn) -> None:
    assert list(ActiveSessions(0).look(conn)) == []
    with busy(database, "SELECT pg_sleep(30)", "SELECT pg_sleep(30)"):
        until(lambda: int(state(lambda: ActiveSessions(1).look(conn))[1]) >= 2, "two at work")
        assert state(lambda: ActiveSessions(1).look(conn))[0] == THROTTLING


def test_the_rate_of_wal(conn: Conn) -> None:
    signal = WalRate(0.001)
    assert list(signal.look(conn)) == [], "one look says nothing of a rate"
    conn.execute("CREATE TABLE t AS SELECT repeat('x', 1000) FROM generate_series(1, 2000)")
    assert state(lambda: signal.look(conn))[0] == THROTTLING
    assert state(lambda: replace_limit(signal).look(conn))[0] == OK


def replace_limit(signal: WalRate) -> WalRate:
    """The same signal without a limit: it shows the rate and holds nothing."""
    signal.max_mb_per_second = 0
    return signal


def test_a_vacuum_of_one_of_its_tables(database: str, conn: Conn) -> None:
    conn.execute("CREATE TABLE t AS SELECT repeat('x', 1000) FROM generate_series(1, 5000)")
    table = (TableName("public", "t"),)
    assert state(lambda: Vacuum(table, True).look(conn)) == (OK, "none")
    slow = "SET vacuum_cost_delay = 100; SET vacuum_cost_limit = 1"
    with connect(database, application_name="application") as other:
        other.execute(slow)
        thread = threading.Thread(target=lambda: vacuumed(other))
        thread.start()
        until(lambda: state(lambda: Vacuum(table, True).look(conn))[0] == THROTTLING, "the vacuum")
        assert state(lambda: Vacuum(table, False).look(conn))[0] == OK, "shown, and held only where asked for"
        other.cancel()
        thread.join()


def vacuumed(conn: Conn) -> None:
    """Vacuum until cancelled."""
    with pytest.raises(psycopg.errors.QueryCanceled):
        conn.execute("VACUUM (FREEZE, DISABLE_PAGE_SKIPPING) t")


def test_disk_space_is_seen_only_where_the_data_is(conn: Conn) -> None:
    least, all_of_it = DiskSpace(0.001), DiskSpace(100)
    assert state(lambda: least.look(conn))[0] == OK
    assert "free" in state(lambda: least.look(conn))[1]
    assert state(lambda: all_of_it.look(conn))[0] == THROTTLING


class Elsewhere:
    """A connection whose server is on another machine."""

    class info:  # noqa: N801 (psycopg's own name)
        host = "db.example"


def test_disk_space_elsewhere_is_unknown_and_does_not_hold() -> None:
    reading = DiskSpace(5).look(Elsewhere())[0]  # type: ignore[arg-type]
    assert (reading.state, reading.value, reading.holds) == (UNKNOWN, "not visible from here", False)


def test_a_probe_of_the_operators_choice(database: str, conn: Conn) -> None:
    slow = Probe("SELECT pg_sleep(0.05)", 10, lambda: connect(database))
    assert state(lambda: slow.look(conn))[0] == THROTTLING
    stuck = Probe("SELECT pg_sleep(60)", 10, lambda: connect(database))
    assert state(lambda: stuck.look(conn)) == (THROTTLING, "40.0 ms"), "it is stopped, not waited for"
    quick = Probe("SELECT 1", 60_000, lambda: connect(database))
    assert state(lambda: quick.look(conn))[0] == OK
    writes = Probe("CREATE TABLE t (n int)", 1000, lambda: connect(database))
    reading = writes.look(conn)[0]
    assert (reading.state, reading.holds) == (UNKNOWN, True)
    assert "read-only" in reading.value
    for probe in (slow, stuck, quick, writes):
        probe.close()


def test_a_slot_that_nobody_reads(conn: Conn) -> None:
    name = f"slot_{conn.info.backend_pid}"
    conn.execute("SELECT pg_create_physical_replication_slot(%s, true)", (name,))
    try:
        conn.execute("CREATE TABLE t AS SELECT repeat('x', 1000) FROM generate_series(1, 3000)")
        mine = [r for r in Slots(1).look(conn) if r.name == f"slot {name}"]
        assert [(r.state, r.holds) for r in mine] == [(THROTTLING, True)]
        assert mine[0].value.startswith("nobody reads it, ")
        assert [r.state for r in Slots(4096).look(conn) if r.name == f"slot {name}"] == [OK]
    finally:
        conn.execute("SELECT pg_drop_replication_slot(%s)", (name,))


def test_without_a_limit_nothing_holds(database: str, conn: Conn) -> None:
    free = replace(
        BackfillSettings(), max_replica_lag_s=0, max_replica_lag_mb=0, max_slot_mb=0, max_archive_backlog=0,
        max_lock_waiters=0, max_transaction_s=0, min_free_disk_percent=0,
    )  # fmt: skip
    board = Board(throttles(free, (TableName("public", "t"),), lambda: connect(database)))
    board.tick(conn)
    assert board.holding == []
    assert {"WAL rate", "waiting sessions", "oldest transaction", "vacuum", "disk space"} <= {
        throttle.name for throttle in board.throttles
    }


def copying(database: str, run_id: int) -> Progress | None:
    """The copy's progress as a console sees it."""
    return next((p for p in state_of(database, run_id).progress if p.what == "copy"), None)


@pytest.mark.parametrize("what", ["waiting sessions", "oldest transaction", "probe"])
def test_a_copy_names_what_holds_it_and_goes_on_after(database: str, what: str) -> None:
    conn = a_database(database, rows=1200)
    conn.execute("CREATE TABLE other (n int); CREATE TABLE seconds AS SELECT 0.0 AS s")
    probe = replace(SLOW, probe_sql="SELECT pg_sleep(s) FROM seconds", probe_limit_ms=50)
    limits = replace(
        probe if what == "probe" else SLOW, max_lock_waiters=1, max_transaction_s=1, max_rows_per_second=100
    )
    plan = a_slow_plan(limits)
    run_id = a_run(database, plan)

    def holding() -> bool:
        progress = copying(database, run_id)
        return progress is not None and any(s.name == what and s.holds for s in progress.signals)

    send(database, run_id, Verb.START, until="copy")
    with runner_thread(database, plan, run_id) as running:
        until(lambda: one(conn, "SELECT count(*) FROM pgferry.chunk WHERE status = 'done'") >= 1, "the copy")
        with connect(database, application_name="application", autocommit=False) as holder:
            if what == "probe":
                conn.execute("UPDATE seconds SET s = 0.1")
                until(holding, what)
            elif what == "oldest transaction":
                holder.execute("SELECT 1")
                until(holding, what)
            else:
                holder.execute("LOCK other")
                with busy(database, "SELECT * FROM other", "SELECT count(*) FROM other"):
                    until(holding, what)
            progress = copying(database, run_id)
            assert progress is not None
            assert progress.held.startswith(f"held back by {what}")
            holder.rollback()
        conn.execute("UPDATE seconds SET s = 0")
        until(lambda: not holding(), "it to go on")
        send(database, run_id, Verb.SPEED, max_rows_per_second=0)
        assert running.result(timeout=60) is RunStatus.WAITING, state_of(database, run_id).error
    assert_copied_once(conn, 1200)
    progress = copying(database, run_id)
    assert progress is not None
    assert progress.lost_s > 0
    assert sum(s.cost_s for s in progress.signals) == pytest.approx(progress.lost_s, abs=0.02)
    assert next(s for s in progress.signals if s.name == what).cost_s > 0
    told = [event.text for event in state_of(database, run_id).events if event.kind == "throttle"]
    assert told[0].startswith("held back by")
    assert told[-1] == "going on"
    conn.close()
