"""Two transactions at once, in every order: what both committed is what both tables hold."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from console.engine import dual_write, sync_sets
from console.engine import settle as settling
from console.engine.facts import mapping_facts
from console.engine.settle import settle
from console.journal.connect import Conn
from console.journal.state import RunStatus, Verb
from console.plan.model import BackfillSettings, Direction, Kind, Triggers
from tests.engine.scene import MAPPING, a_database, a_plan, a_run, a_session, a_task, order, switch_on

AT = "2026-02-01 10:00:00+00"
ALIAS, CANONICAL = "s0", "S0"
_RIVALS = [
    (before, ops, first)
    for before in (set(), {ALIAS}, {CANONICAL}, {ALIAS, CANONICAL})
    for ops in itertools.product(
        *((("update", "delete") if who in before else ("insert",)) for who in (ALIAS, CANONICAL))
    )
    for first in (ALIAS, CANONICAL)
]


@pytest.fixture(params=list(Triggers))
def conn(database: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Conn]:
    monkeypatch.setattr(sync_sets, "FEW", 0)  # statement triggers carry even one row as a set
    with a_database(database) as conn:
        switch_on(conn, Direction.BOTH, replace(MAPPING, triggers=request.param))
        yield conn


def write(conn: Conn, who: str, op: str) -> None:
    """One write of one spelling's row; its note says which and what."""
    if op == "insert":
        conn.execute("INSERT INTO sales VALUES (%s, %s, 'item3', 1, %s)", (AT, who, f"{who} insert"))
    elif op == "update":
        conn.execute("UPDATE sales SET note = %s WHERE shop = %s", (f"{who} update", who))
    else:
        conn.execute("DELETE FROM sales WHERE shop = %s", (who,))


def wait_for(conn: Conn, thread: threading.Thread, pid: int) -> None:
    """Until the other session waits for a lock, or is through."""
    deadline = time.monotonic() + 20
    while thread.is_alive() and time.monotonic() < deadline:
        row = conn.execute("SELECT wait_event_type FROM pg_stat_activity WHERE pid = %s", (pid,)).fetchone()
        if row and row[0] == "Lock":
            return
        time.sleep(0.002)


def test_two_spellings_of_one_key_at_the_same_instant(database: str, conn: Conn) -> None:
    with psycopg.connect(database) as one, psycopg.connect(database, autocommit=True) as two:
        for before, ops, first in _RIVALS:
            what = f"{before or 'nothing'} before, then {ops}, {first} first"
            op_of = dict(zip((ALIAS, CANONICAL), ops, strict=True))
            second = CANONICAL if first == ALIAS else ALIAS
            conn.execute("TRUNCATE sales")
            for who in sorted(before):
                write(conn, who, "insert")
            write(one, first, op_of[first])
            thread = threading.Thread(target=write, args=(two, second, op_of[second]))
            thread.start()
            wait_for(conn, thread, two.info.backend_pid)
            one.commit()
            thread.join(20)
            assert not thread.is_alive(), what
            left = {who: f"{who} {op}" for who, op in op_of.items() if op != "delete"}
            assert dict(conn.execute("SELECT shop, note FROM sales").fetchall()) == left, (
                f"{what}: the applications' writes"
            )
            winner = left.get(CANONICAL, left.get(ALIAS))
            notes = [row[0] for row in conn.execute("SELECT note FROM sales_v2").fetchall()]
            assert notes == ([winner] if winner else []), what
            refused = [row[0] for row in conn.execute("SELECT key->>'shop' FROM pgferry.reject").fetchall()]
            assert refused == ([ALIAS] if len(left) == 2 else []), what


def test_a_key_written_anew_under_an_older_snapshot_is_told_to_begin_again(database: str, conn: Conn) -> None:
    """It still sees the row that another deleted: two rows of one key, of which the older would be carried."""
    writes = {
        "sales": f"INSERT INTO sales VALUES ('{AT}', 'S1', 'item1', 2, 'anew')",
        "sales_v2": f"INSERT INTO sales_v2 VALUES ('{AT}', 1, 2, 'anew')",
    }
    with psycopg.connect(database, autocommit=True) as older:
        for table, write in writes.items():
            conn.execute("TRUNCATE sales")
            conn.execute("INSERT INTO sales VALUES (%s, 'S1', 'item1', 1, 'deleted')", (AT,))
            older.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            older.execute("SELECT 1 FROM sales")
            conn.execute("DELETE FROM sales")
            with pytest.raises(psycopg.errors.SerializationFailure):
                older.execute(write.encode())
            older.execute("ROLLBACK")
            older.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            older.execute(write.encode())
            older.execute("COMMIT")
            for side in ("sales", "sales_v2"):
                assert conn.execute(f"SELECT note FROM {side}".encode()).fetchall() == [("anew",)], table


@pytest.mark.parametrize("noted", ["recheck", "tombstone"])
def test_what_is_made_good_later_does_not_undo_a_newer_write(database: str, conn: Conn, noted: str) -> None:
    """A key was noted for a second look; since then the new side wrote what the old one refuses. That is the last word."""
    conn.execute("INSERT INTO sales VALUES (%s, 'S1', 'item1', 1, 'older')", (AT,))
    if noted == "recheck":
        with conn.transaction():
            conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            conn.execute("UPDATE sales SET note = 'old'")
    else:
        conn.execute("DELETE FROM sales")
        conn.execute("INSERT INTO sales VALUES (%s, 'S1', 'item1', 1, 'old')", (AT,))
    assert conn.execute(f"SELECT count(*) > 0 FROM pgferry.{noted}".encode()).fetchone() == (True,)
    conn.execute("UPDATE sales_v2 SET amount = -1, note = 'newest'")
    session = a_session(database, a_plan(a_task("compare", Kind.CHECK, mappings=("sales",))))
    settle(session, MAPPING, mapping_facts(conn, MAPPING, "pgferry_archive"))
    session.drop()
    assert conn.execute(f"SELECT count(*) FROM pgferry.{noted}".encode()).fetchone() == (0,)
    assert conn.execute("SELECT note FROM sales_v2").fetchall() == [("newest",)]
    assert conn.execute("SELECT note FROM sales").fetchall() == [("old",)]
    assert conn.execute("SELECT direction, row_data->>'note' FROM pgferry.reject").fetchall() == [("reverse", "newest")]


def test_writers_above_read_committed_do_not_hold_up_a_comparison(
    database: str, conn: Conn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of their writes is noted for a second look; while they go on, there always is a note."""

    def write(number: int) -> None:
        with conn.transaction():
            conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            conn.execute("UPDATE sales SET amount = %s", (number,))

    written: list[int] = []

    def then_write_again(*args: Any) -> int:
        carried = work_off(*args)
        if len(written) < 6:
            written.append(len(written))
            write(len(written))
        return carried

    work_off = settling.work_off
    monkeypatch.setattr(settling, "work_off", then_write_again)
    conn.execute("INSERT INTO sales VALUES (%s, 'S1', 'item1', 1, 'a')", (AT,))
    write(10)
    session = a_session(database, a_plan(a_task("compare", Kind.CHECK, mappings=("sales",))))
    assert settle(session, MAPPING, mapping_facts(conn, MAPPING, "pgferry_archive")) > 0
    session.drop()
    assert len(written) == 1, "what is noted meanwhile is for the next time"
    assert settling.rechecks(conn, MAPPING) == 1


def test_what_the_copy_brings_is_not_carried_back(conn: Conn) -> None:
    conn.execute("INSERT INTO sales VALUES (%s, 'S1', 'item1', 1, 'here')", (AT,))
    conn.execute("SET pgferry.copying = 'on'")
    conn.execute("INSERT INTO sales_v2 VALUES ('2026-05-01Z', 2, 1, 'was deleted while it was copied')")
    assert conn.execute("SELECT note FROM sales").fetchall() == [("here",)]
    conn.execute("TRUNCATE sales_v2")
    assert conn.execute("SELECT note FROM sales").fetchall() == [("here",)], "the old table is not emptied with it"


def test_both_directions_hold_from_the_start_and_through_a_copy_that_is_taken_back(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dual_write, "PARTING_QUIET_S", 0.2)
    plan = a_plan(
        a_task("sync", Kind.SYNC, mappings=("sales",), direction=Direction.BOTH),
        a_task(
            "copy", Kind.BACKFILL, mappings=("sales",), backfill=BackfillSettings(batch_rows=50, max_reject_percent=50)
        ),
        a_task("compare", Kind.CHECK, mappings=("sales",)),
    )
    with a_database(database, rows=300) as conn:
        run_id = a_run(database, plan)
        order(database, plan, run_id, Verb.START, until="sync")
        conn.execute("INSERT INTO sales_v2 VALUES ('2027-01-01Z', 1, 1, 'new before the copy')")
        assert conn.execute("SELECT shop FROM sales WHERE note = 'new before the copy'").fetchall() == [("S1",)]
        status, _ = order(database, plan, run_id, Verb.START, until="end")
        assert status is RunStatus.DONE, conn.execute("SELECT error FROM pgferry.run").fetchone()
        status, answer = order(database, plan, run_id, Verb.ROLLBACK, to="copy")
        assert status is RunStatus.WAITING, answer
        assert conn.execute("SELECT count(*) FROM sales_v2").fetchone() == (0,)
        assert conn.execute("SELECT count(*) FROM sales").fetchone() == (301,), "only the new table was emptied"
        conn.execute("INSERT INTO sales_v2 VALUES ('2027-01-02Z', 1, 1, 'new after it')")
        assert conn.execute("SELECT shop FROM sales WHERE note = 'new after it'").fetchall() == [("S1",)]
        status, _ = order(database, plan, run_id, Verb.START, until="end")
        assert status is RunStatus.DONE, conn.execute("SELECT error FROM pgferry.run").fetchone()
        status, answer = order(database, plan, run_id, Verb.ROLLBACK, to="start")
        assert status is RunStatus.ROLLED_BACK, answer
        left = conn.execute(
            "SELECT count(*) FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace WHERE nspname = 'pgferry' AND proname LIKE 'sales%'"
        )
        assert left.fetchone() == (0,)
        assert conn.execute("SELECT count(*) FROM sales").fetchone() == (302,)
