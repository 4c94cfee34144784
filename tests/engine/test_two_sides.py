"""Applications that write both sides at once: no deadlock on shared keys, nothing lost, equal when they rest."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import psycopg
import pytest
from psycopg.errors import DeadlockDetected

from console.engine import gate, sync
from console.engine.facts import mapping_facts
from console.journal.connect import Conn, connect
from console.plan.model import Direction, Mapping, Writers
from tests.engine.scene import MAPPING, a_database, switch_on
from tests.faults.tools import one, until

FREE = replace(MAPPING, writers=Writers.FREE)
ADD = {
    "old": "UPDATE sales SET amount = amount + 1 WHERE shop = 'S1' AND item = 'item1' AND note = ANY (%s)",
    "new": "UPDATE sales_v2 SET amount = amount + 1 WHERE good_id = 1 AND note = ANY (%s)",
}


@contextmanager
def both_ways(database: str, keys: int, mapping: Mapping = MAPPING) -> Iterator[Conn]:
    """``keys`` rows on both sides, named by number in ``note``, and every write carried both ways."""
    conn = a_database(database)
    conn.execute(
        "INSERT INTO sales SELECT '2026-01-01Z'::timestamptz + i * interval '1 s', 'S1', 'item1', 1, i"
        " FROM generate_series(0, %s) i",
        (keys - 1,),
    )
    conn.execute("INSERT INTO sales_v2 SELECT at, 1, amount, note FROM sales")
    conn.execute("CREATE INDEX ON sales (note); CREATE INDEX ON sales_v2 (note)")
    for direction in Direction.BOTH.ways:
        switch_on(conn, direction, mapping)
    with conn:
        yield conn


@dataclass
class Load:
    """Writers of both sides that each add one to rows, and count what they were told is committed."""

    database: str
    keys: int
    rows: int = 1  # rows of a statement
    statements: int = 1  # statements of a transaction, over rising keys
    apart: bool = False  # each side has keys of its own
    added: dict[int, int] = field(default_factory=dict)
    deadlocks: int = 0
    failed: list[BaseException] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, seconds: float, each_side: int = 3) -> None:
        """Let them write for some seconds."""
        end = time.monotonic() + seconds
        threads = [
            threading.Thread(target=self._write, args=(side, number, end))
            for number in range(each_side)
            for side in ("old", "new")
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert self.failed == []

    def _write(self, side: str, number: int, end: float) -> None:
        chance = random.Random(f"{side}{number}")
        try:
            with connect(self.database, application_name=side) as conn:
                conn.execute("SET lock_timeout = 0")
                while time.monotonic() < end:
                    self._once(conn, side, chance)
        except BaseException as error:
            self.failed.append(error)

    def _once(self, conn: Conn, side: str, chance: random.Random) -> None:
        low, high = (
            (0, self.keys) if not self.apart else ((0, self.keys // 2), (self.keys // 2, self.keys))[side == "old"]
        )
        keys = sorted(chance.sample(range(low, high), self.rows * self.statements))
        try:
            with conn.transaction():
                for start in range(0, len(keys), self.rows):
                    conn.execute(ADD[side], ([str(key) for key in keys[start : start + self.rows]],))
        except DeadlockDetected:
            self.deadlocks += 1
            return
        with self.lock:
            for key in keys:
                self.added[key] = self.added.get(key, 0) + 1

    def assert_nothing_lost(self, conn: Conn) -> None:
        """Both sides hold every addition that was committed, and nothing else."""
        for relation in ("sales", "sales_v2"):
            held = conn.execute(
                f"SELECT note::int, amount::int - 1 FROM {relation} WHERE amount > 1".encode()
            ).fetchall()
            assert dict(held) == self.added, relation
        assert one(conn, "SELECT count(*) FROM pgferry.recheck") == 0, "no loop between the triggers"


def missed(conn: Conn) -> int:
    return one(conn, "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM pgferry.sales_gate_missed")


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine can hold a transaction longer than an operator would want to wait for."""
    monkeypatch.setattr(gate, "PATIENCE_MS", 30_000)


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(("rows", "statements"), [(1, 1), (1, 3)])
def test_writers_of_both_sides_on_the_same_keys_do_not_deadlock(database: str, rows: int, statements: int) -> None:
    with both_ways(database, 12) as conn:
        load = Load(database, 12, rows, statements)
        load.run(1.2)
        assert load.deadlocks == 0
        assert sum(load.added.values()) > 20
        load.assert_nothing_lost(conn)


@pytest.mark.usefixtures("patient")
def test_statements_of_many_rows_on_both_sides_deadlock_no_more_than_on_one_table(database: str) -> None:
    """Rows of a statement are locked in the order in which they are found: here the same on both sides."""
    with both_ways(database, 12) as conn:
        load = Load(database, 12, rows=6)
        load.run(1.0, each_side=1)
        assert load.deadlocks == 0
        load.assert_nothing_lost(conn)


def test_without_the_gate_one_of_two_is_told_of_the_deadlock_and_nothing_is_lost(database: str) -> None:
    """What the gate is for, step by step: each side holds its row and its trigger wants the other's."""
    with both_ways(database, 1, FREE) as conn:
        conn.execute(
            "CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " IF pg_trigger_depth() = 1 THEN PERFORM pg_sleep(0.3); END IF; RETURN NULL; END $$"
        )
        for relation in ("sales", "sales_v2"):
            conn.execute(
                f"CREATE TRIGGER slow AFTER UPDATE ON {relation} FOR EACH ROW EXECUTE FUNCTION slowly()".encode()
            )
        load = Load(database, 1)
        load.run(0.3, each_side=1)
        assert load.deadlocks >= 1
        load.assert_nothing_lost(conn)


@pytest.mark.parametrize("mapping", [MAPPING, FREE], ids=["ordered", "free"])
def test_writers_of_both_sides_with_keys_of_their_own_never_deadlock(database: str, mapping: Mapping) -> None:
    with both_ways(database, 24, mapping) as conn:
        load = Load(database, 24, 1, 2, apart=True)
        load.run(0.6)
        assert load.deadlocks == 0
        load.assert_nothing_lost(conn)


def test_a_long_transaction_on_one_side_does_not_stop_the_other(database: str) -> None:
    with both_ways(database, 4) as conn:
        with connect(database, autocommit=False) as long, connect(database) as other:
            long.execute(ADD["old"], (["0"],))
            for _ in range(5):
                other.execute(ADD["new"], (["1"],))
            assert missed(conn) == 5, "each went on without the gate"
            long.commit()
        assert conn.execute("SELECT amount::int FROM sales ORDER BY at").fetchall() == [(2,), (6,), (1,), (1,)]


def test_the_gate_is_never_part_of_a_deadlock(database: str) -> None:
    """One holds a row and wants the gate, the other is through the gate and wants that row: as without us."""
    with both_ways(database, 2) as conn:
        conn.execute("CREATE TABLE other (i int PRIMARY KEY); INSERT INTO other VALUES (1)")
        with connect(database, autocommit=False) as one_, connect(database, autocommit=False) as two:
            one_.execute("UPDATE other SET i = 1")
            two.execute(ADD["new"], (["1"],))
            waiting = threading.Thread(target=two.execute, args=(b"UPDATE other SET i = 1",))
            waiting.start()
            until(lambda: one(conn, "SELECT count(*) FROM pg_locks WHERE NOT granted"), "the second to wait")
            one_.execute(ADD["old"], (["0"],))
            one_.commit()
            waiting.join()
            two.commit()
        assert conn.execute("SELECT amount::int FROM sales_v2 ORDER BY at").fetchall() == [(2,), (2,)]


def test_a_rolled_back_savepoint_gives_the_gate_back_and_forgets_that_it_was_passed(database: str) -> None:
    with both_ways(database, 2) as conn:
        held = "SELECT count(*) FROM pg_locks WHERE relation = 'pgferry.sales_gate'::regclass"
        with connect(database, autocommit=False) as writer:
            writer.execute("SAVEPOINT s")
            writer.execute(ADD["old"], (["0"],))
            assert one(conn, held) == 1
            writer.execute("ROLLBACK TO s")
            assert one(conn, held) == 0
            writer.execute(ADD["new"], (["0"],))
            assert conn.execute(held.replace("count(*)", "mode").encode()).fetchall() == [("ShareLock",)]
            writer.commit()
            writer.execute(ADD["old"], (["0"],))
            assert conn.execute(held.replace("count(*)", "mode").encode()).fetchall() == [("RowExclusiveLock",)]


def test_an_application_without_rights_on_the_gate_passes_it(database: str) -> None:
    with both_ways(database, 1) as conn:
        conn.execute("CREATE ROLE teller; GRANT SELECT, UPDATE ON sales_v2 TO teller; SET ROLE teller")
        try:
            conn.execute(ADD["new"], (["0"],))
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute("SELECT * FROM pgferry.sales_gate")
        finally:
            conn.execute("RESET ROLE; DROP OWNED BY teller; DROP ROLE teller")
        assert conn.execute("SELECT amount::int FROM sales").fetchall() == [(2,)]


@pytest.mark.parametrize(("emptied", "writer"), [("sales_v2", "old"), ("sales", "new")])
@pytest.mark.parametrize("resting", [False, True], ids=["at the gate", "without the gate"])
def test_truncate_of_one_side_and_a_writer_of_the_other_do_not_deadlock(
    database: str, emptied: str, writer: str, *, resting: bool
) -> None:
    """The writer meets the truncated table while TRUNCATE wants the writer's: it waits before it locks a row."""
    with both_ways(database, 4) as conn, connect(database) as mine, connect(database, autocommit=False) as emptying:
        conn.execute(
            "CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN IF pg_trigger_depth() = 1 THEN PERFORM pg_advisory_xact_lock(1); END IF; RETURN NULL; END $$"
        )
        slow = "CREATE TRIGGER aa_slow AFTER TRUNCATE ON {} FOR EACH STATEMENT EXECUTE FUNCTION slowly()"
        conn.execute(slow.format(emptied).encode())
        mine.execute("SET lock_timeout = 0")
        if resting:
            mine.execute("SET pgferry.gate_rest = 'infinity'")
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        conn.execute("SELECT pg_advisory_lock(1)")
        emptier = Outcome(emptying, f"TRUNCATE {emptied}")
        until(lambda: one(conn, waiting) == 1, "TRUNCATE to have its own table")
        writing = Outcome(mine, ADD[writer], ["0", "1"])
        until(lambda: one(conn, waiting) == 2, "the writer to wait")
        conn.execute("SELECT pg_advisory_unlock(1)")
        emptier.join()
        assert (emptier.error, writing.error) == (None, None)
        emptying.commit()
        writing.join()
        assert (emptier.error, writing.error) == (None, None)
        assert one(conn, "SELECT (SELECT count(*) FROM sales) + (SELECT count(*) FROM sales_v2)") == 0


class Outcome(threading.Thread):
    """A statement on its way; afterwards ``error`` is what it failed with."""

    def __init__(self, conn: Conn, statement: str, *parameters: object) -> None:
        super().__init__(daemon=True)
        self.conn, self.statement, self.parameters = conn, statement, parameters
        self.error: psycopg.Error | None = None
        self.start()

    def run(self) -> None:
        try:
            self.conn.execute(self.statement.encode(), self.parameters)
        except psycopg.Error as error:
            self.error = error


def test_the_applications_own_lock_timeout_stays_as_it_was(database: str) -> None:
    def patience(conn: Conn) -> object:
        return (conn.execute("SHOW lock_timeout").fetchone() or ("",))[0]

    with both_ways(database, 2) as conn:
        before = patience(conn)
        with connect(database, autocommit=False) as other:
            other.execute(ADD["new"], (["1"],))
            with conn.transaction():
                conn.execute("SET LOCAL lock_timeout = '7s'")
                conn.execute(ADD["old"], (["0"],))
                assert (missed(conn), patience(conn)) == (1, "7s"), "past a gate that was missed"
            other.commit()
        conn.execute("SET pgferry.gate_rest = ''")
        with conn.transaction():
            conn.execute(ADD["old"], (["0"],))
            assert (missed(conn), patience(conn)) == (1, before), "past the gate"


@pytest.mark.long
@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("statements", [1, 2, 3])
def test_many_writers_of_both_sides_for_long(database: str, statements: int) -> None:
    with both_ways(database, 100) as conn:
        load = Load(database, 100, 1, statements)
        load.run(60.0, each_side=4)
        assert load.deadlocks == 0
        load.assert_nothing_lost(conn)


@pytest.mark.parametrize("direction", [Direction.REVERSE, Direction.BOTH])
def test_the_old_table_is_locked_before_the_new_one(database: str, direction: Direction) -> None:
    """As its writers do. With the new one locked they would hold the old one and wait for us, who wait for the old one."""
    with a_database(database) as conn:
        facts = mapping_facts(conn, MAPPING, "pgferry_archive")
        switch_on(conn, Direction.FORWARD)
        switched_on = sync.triggers(MAPPING, Direction.REVERSE, MAPPING.old, facts)
        with conn.transaction():
            for statement in sync.prepare(MAPPING, facts, Direction.REVERSE, MAPPING.old):
                conn.execute(statement)
            conn.execute(switched_on[0])
            assert locked(conn) == {"sales": "ShareRowExclusiveLock"}
            for statement in switched_on[1:]:
                conn.execute(statement)
        with conn.transaction():
            conn.execute(sync.drop_triggers(MAPPING, direction, MAPPING.old)[0])
            assert locked(conn) == {"sales": "AccessExclusiveLock"}


def locked(conn: Conn) -> dict[str, str]:
    """The strong locks of this session on both tables."""
    return dict(
        conn.execute(
            "SELECT c.relname, l.mode FROM pg_locks l JOIN pg_class c ON c.oid = l.relation WHERE l.pid = pg_backend_pid()"
            " AND c.relname IN ('sales', 'sales_v2') AND l.mode IN ('ShareRowExclusiveLock', 'AccessExclusiveLock')"
        ).fetchall()
    )
