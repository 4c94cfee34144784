"""Applications that write during the copy: what they wrote is what both tables hold at the end."""

from __future__ import annotations

import random
import threading

import psycopg
import pytest
from psycopg.errors import DeadlockDetected, LockNotAvailable, SerializationFailure

from console.journal.connect import Conn, connect
from console.journal.state import RunStatus, Verb
from tests.engine.scene import a_database, a_run, order
from tests.faults.tools import (
    a_slow_plan,
    assert_equal,
    chunks_done,
    one,
    runner_thread,
    send,
    state_of,
    until,
)

ROWS = 3000
Row = tuple[object, ...]


class Writer(threading.Thread):
    """An application with a ledger of its own: what it was told is committed must be there at the end.

    Every writer has its own share of the rows (by number modulo), so that ledgers never disagree.
    """

    def __init__(self, conninfo: str, number: int, of: int, isolation: str, seed: int) -> None:
        super().__init__(name=f"writer {number}")
        self.conninfo, self.number, self.of, self.isolation = conninfo, number, of, isolation
        self.chance = random.Random(seed * 100 + number)
        self.ledger: dict[str, Row | None] = {}  # note -> amount and shop, None once deleted
        self.failed: list[Exception] = []
        self.ended = threading.Event()
        self.writes = 0

    def run(self) -> None:
        with connect(self.conninfo, application_name=self.name) as conn:
            conn.execute(f"SET default_transaction_isolation = '{self.isolation}'")
            conn.execute("SET lock_timeout = '5s'")
            while not self.ended.is_set():
                try:
                    self._write(conn)
                except (SerializationFailure, DeadlockDetected, LockNotAvailable):
                    continue
                except psycopg.Error as error:
                    self.failed.append(error)
                    return
                self.ended.wait(0.002)

    def _write(self, conn: Conn) -> None:
        number = self.chance.randrange(ROWS // self.of) * self.of + self.number + 1
        note, amount = f"row {number}", self.chance.randrange(1, 900_000)
        what = self.chance.choice(("update", "update", "delete", "insert", "key", "item"))
        with conn.transaction():
            if what == "insert":
                note = f"new {self.number}.{self.writes}"
                conn.execute(
                    "INSERT INTO sales VALUES ('2026-01-01Z'::timestamptz + %s * interval '1 s' + %s * interval '1 us',"
                    " 'S1', 'item1', %s, %s)",
                    (number, self.writes * self.of + self.number + 1, amount, note),
                )
                row: tuple[Row, ...] = ((amount,),)
            elif what == "delete":
                conn.execute("DELETE FROM sales WHERE note = %s", (note,))
                row = ()
            elif what == "key":  # to another place among the rows, copied already or not yet
                row = tuple(
                    conn.execute(
                        "UPDATE sales SET amount = %s, at = at + %s * interval '1 s' + %s * interval '1 ms'"
                        " WHERE note = %s RETURNING amount",
                        (amount, self.chance.randrange(-1500, 1500), self.writes % 900 + 1, note),
                    )
                )
            elif what == "item":  # to another good, or to one that nobody knows
                item = self.chance.choice(("item1", "item4", "unknown"))
                row = tuple(
                    conn.execute(
                        "UPDATE sales SET amount = %s, shop = 'S1', item = %s WHERE note = %s RETURNING amount",
                        (amount, item, note),
                    )
                )
            else:
                row = tuple(
                    conn.execute("UPDATE sales SET amount = %s WHERE note = %s RETURNING amount", (amount, note))
                )
        self.writes += 1
        self.ledger[note] = row[0] if row else None

    def verify(self, conn: Conn) -> None:
        """What this writer was told is what the old table holds."""
        for note, row in self.ledger.items():
            held = conn.execute("SELECT amount FROM sales WHERE note = %s", (note,)).fetchone()
            assert (held and int(held[0])) == (row and int(str(row[0]).split(".")[0])), note


def _campaign(database: str, seed: int) -> None:
    conn = a_database(database, rows=ROWS)
    conn.execute("CREATE INDEX ON sales (note)")
    plan = a_slow_plan()
    run_id = a_run(database, plan)
    writers = [
        Writer(database, 0, 3, "read committed", seed),
        Writer(database, 1, 3, "read committed", seed),
        Writer(database, 2, 3, "repeatable read", seed),
    ]
    send(database, run_id, Verb.START, until="copy")
    for writer in writers:
        writer.start()
    with runner_thread(database, plan, run_id) as running:
        try:
            assert running.result(timeout=60) is RunStatus.WAITING, state_of(database, run_id).error
        finally:
            for writer in writers:
                writer.ended.set()
                writer.join()
    assert [writer.failed for writer in writers] == [[], [], []]
    assert min(writer.writes for writer in writers) > 20
    assert_equal(database, plan)
    for writer in writers:
        writer.verify(conn)
    conn.close()


@pytest.mark.parametrize("seed", [1])
def test_what_applications_write_during_the_copy_is_kept(database: str, seed: int) -> None:
    _campaign(database, seed)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10, 30))
def test_what_applications_write_during_many_copies_is_kept(database: str, seed: int) -> None:
    _campaign(database, seed)


def test_a_deleter_with_an_old_snapshot_leaves_no_ghost(database: str) -> None:
    """Its trigger cannot see the copied row; the key is noted and worked off before rows are compared."""
    conn = a_database(database, rows=ROWS)
    plan = a_slow_plan()
    run_id = a_run(database, plan)
    order(database, plan, run_id, Verb.START, until="sync")
    with connect(database, application_name="old snapshot") as old:
        old.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        assert one(old, "SELECT count(*) FROM sales") == ROWS
        send(database, run_id, Verb.START, until="end")
        with runner_thread(database, plan, run_id) as running:
            until(lambda: chunks_done(conn) >= 3, "the copy")
            assert one(conn, "SELECT count(*) FROM sales_v2 WHERE note IN ('row 2', 'row 3', 'row 4')") == 3
            old.execute("DELETE FROM sales WHERE note = 'row 2'")
            old.execute("UPDATE sales SET at = at + interval '1 year' WHERE note = 'row 3'")
            with pytest.raises(SerializationFailure), old.transaction():  # told to try again, as such clients expect
                old.execute("UPDATE sales SET amount = 77 WHERE note = 'row 4'")
            old.execute("COMMIT")
            assert running.result(timeout=60) is RunStatus.DONE, state_of(database, run_id).error
    assert_equal(database, plan)
    kept = "SELECT note, amount::int FROM sales_v2 WHERE note IN ('row 2', 'row 4')"
    assert conn.execute(kept).fetchall() == [("row 4", 4)]
    assert conn.execute("SELECT extract(year FROM at)::int FROM sales_v2 WHERE note = 'row 3'").fetchall() == [(2027,)]
    assert one(conn, "SELECT count(*) FROM pgferry.recheck") == 0
    conn.close()


def test_a_comparison_waits_for_a_row_that_an_application_holds(database: str) -> None:
    """Noted keys are carried before rows are compared; a held row makes that wait, it fails nothing."""
    conn = a_database(database, rows=200)
    plan = a_slow_plan()
    run_id = a_run(database, plan)
    order(database, plan, run_id, Verb.START, until="copy")
    conn.execute(
        "INSERT INTO pgferry.recheck (mapping, key, reason) SELECT 'sales', jsonb_build_object('at', at::text,"
        " 'shop', shop, 'item', item), 'a test' FROM sales WHERE note IN ('row 2', 'row 3')"
    )
    conn.execute("ALTER TABLE sales DISABLE TRIGGER USER")
    conn.execute("UPDATE sales SET amount = 5 WHERE note = 'row 2'")
    conn.execute("ALTER TABLE sales ENABLE TRIGGER USER")
    waits = (
        "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'pgferry run%' AND wait_event_type = 'Lock'"
    )
    with connect(database, application_name="holder", autocommit=False) as holder:
        holder.execute("SELECT 1 FROM sales_v2 WHERE note = 'row 2' FOR UPDATE")
        send(database, run_id, Verb.START, until="end")
        with runner_thread(database, plan, run_id) as running:
            for _ in range(2):  # two waits that ended in a lock timeout
                until(lambda: one(conn, waits) or running.done(), "a wait")
                until(lambda: not one(conn, waits), "it to stand aside")
            holder.rollback()
            assert running.result(timeout=20) is RunStatus.DONE, state_of(database, run_id).error
    assert conn.execute("SELECT amount::int FROM sales_v2 WHERE note = 'row 2'").fetchone() == (5,)
    assert one(conn, "SELECT count(*) FROM pgferry.recheck") == 0
    conn.close()


def test_a_comparison_waits_for_a_table_that_an_application_holds(database: str) -> None:
    """An application empties or alters a table: the comparison tries again instead of failing the run."""
    conn = a_database(database, rows=200)
    plan = a_slow_plan()
    run_id = a_run(database, plan)
    order(database, plan, run_id, Verb.START, until="copy")
    waits = (
        "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'pgferry run%' AND wait_event_type = 'Lock'"
    )
    with connect(database, application_name="holder", autocommit=False) as holder:
        holder.execute("LOCK TABLE sales IN ACCESS EXCLUSIVE MODE")
        send(database, run_id, Verb.START, until="end")
        with runner_thread(database, plan, run_id) as running:
            for _ in range(2):  # two waits that ended in a lock timeout
                until(lambda: one(conn, waits) or running.done(), "a wait")
                until(lambda: not one(conn, waits), "it to stand aside")
            holder.rollback()
            assert running.result(timeout=20) is RunStatus.DONE, state_of(database, run_id).error
    conn.close()
