"""What writers delete while it is copied is noted, and worked off when no copy can bring it back: whoever ends when."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import pytest
from psycopg import sql

from console.engine import backfill as backfills
from console.engine import copier, dual_write, ranges, tombstones
from console.engine.backfill import Backfill
from console.engine.copier import Copier
from console.engine.facts import mapping_facts
from console.engine.settle import settle
from console.journal import chunks
from console.journal.chunks import Copy
from console.journal.connect import Conn, connect
from console.plan.model import BackfillSettings, Direction, Kind, Mapping, TableName, Triggers
from tests.engine.scene import MAPPING, a_database, a_plan, a_session, a_task, switch_on
from tests.faults.tools import one, until

ROWS = 400
WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted"
NOTES = "SELECT count(*) FROM pgferry.tombstone"
GHOSTS = """
SELECT count(*) FROM sales_v2 n WHERE NOT EXISTS (
  SELECT 1 FROM sales o JOIN goods_names g USING (shop, item) WHERE o.at = n.at AND g.good_id = n.good_id)
"""
# One old row for each new key: nothing locks the new row before the old one is read.
PLAIN = replace(
    MAPPING, new=TableName("public", "sales_copy"), new_key=MAPPING.old_key, lookups=(), refuse=(),
    columns=tuple((name, f"o.{name}") for name in ("at", "shop", "item", "amount", "note")),
    back=tuple((name, f"n.{name}") for name in ("at", "shop", "item", "amount", "note")),
)  # fmt: skip
SETTINGS = BackfillSettings(batch_rows=50, target_ms=10_000, max_reject_percent=50)


class Scene:
    """The sync is on, a writer, a batch's connection, and a session of the runner."""

    def __init__(self, database: str, mapping: Mapping = MAPPING) -> None:
        self.mapping = mapping
        self.conn = a_database(database, rows=ROWS)
        self.conn.execute("CREATE TABLE sales_copy (LIKE sales INCLUDING ALL)")
        switch_on(self.conn, Direction.FORWARD, mapping)
        task = a_task("copy", Kind.BACKFILL, mappings=("sales",), backfill=SETTINGS)
        self.session = a_session(database, a_plan(task, mapping=mapping))
        self.facts = mapping_facts(self.conn, mapping, "pgferry_archive")
        self.names = ranges.old_order(mapping, self.facts)
        self.writer, self.copy = (connect(database, application_name=name) for name in ("writer", "batch"))
        for setting in ("SET timezone = 'UTC'", *copier.SESSION, "SET lock_timeout = '20s'"):
            self.copy.execute(setting.encode())
        self.which = Copy(self.session.run_id, "copy", 0, "sales")
        self.hand = Copier(
            mapping, self.facts, self.which, self.names,
            copier.make_statement(self.conn, mapping, self.facts, self.names), self.session.hold,
        )  # fmt: skip
        self.pool = ThreadPoolExecutor(2)

    def close(self) -> None:
        self.pool.shutdown()
        for conn in (self.conn, self.writer, self.copy):
            conn.close()
        self.session.drop()

    def plan_all(self) -> None:
        """All rows as one chunk."""
        high = ranges.greatest(self.conn, self.facts.old, self.names)
        chunks.begin(self.conn, self.which, estimate=ROWS, high=high, settings={})
        copier.plan_next(self.conn, self.which, self.facts, self.names, 10 * ROWS, wait=True)

    def open_batch(self) -> None:
        """The chunk is copied, its transaction open."""
        self.copy.execute("BEGIN")
        outcome = self.hand.next(self.copy)
        assert outcome is not None
        assert outcome.written > 0

    def work_off(self, patience_s: float = 20.0) -> tuple[int, int]:
        return tombstones.work_off(self.session, self.mapping, self.facts, patience_s)

    def waits(self, conn: Conn, future: Future[tuple[int, int]]) -> None:
        query = f"SELECT count(*) FROM pg_locks WHERE pid = {conn.info.backend_pid} AND NOT granted"
        until(lambda: future.done() or one(self.conn, query), "a wait")
        assert not future.done()


Make = Callable[..., Scene]


@pytest.fixture
def scene(database: str) -> Iterator[Make]:
    made: list[Scene] = []

    def make(mapping: Mapping = MAPPING) -> Scene:
        made.append(Scene(database, mapping))
        return made[0]

    yield make
    for one_scene in made:
        one_scene.close()


def risen(conn: Conn) -> int:
    """Rows of the new table that no old one stands for."""
    return one(conn, GHOSTS)


def test_notes_are_worked_off_only_when_no_batch_is_open(scene: Make) -> None:
    s = scene()
    s.plan_all()
    s.open_batch()
    s.writer.execute("DELETE FROM sales WHERE note IN ('row 20', 'row 21')")
    worked = s.pool.submit(s.work_off)
    s.waits(s.session.conn, worked)
    s.copy.execute("COMMIT")
    assert worked.result(timeout=20) == (2, 0)
    assert (risen(s.conn), one(s.conn, NOTES)) == (0, 0)
    assert one(s.conn, "SELECT count(*) FROM sales_v2 WHERE note = 'row 22'") == 1


def test_a_batch_begins_after_what_is_worked_off_and_never_meets_it(scene: Make) -> None:
    s = scene()
    s.plan_all()
    s.writer.execute("DELETE FROM sales WHERE note = 'row 20'")
    with s.session.conn.transaction():
        tombstones.alone(s.session.conn, MAPPING)
        s.copy.execute("SET lock_timeout = '50ms'")
        outcome = s.hand.next(s.copy)
        assert outcome is not None
        assert outcome.again
    assert one(s.conn, "SELECT count(*) FROM sales_v2") == 0
    outcome = s.hand.next(s.copy)
    assert outcome is not None
    assert outcome.written
    assert s.work_off() == (0, 0), "its key has no row: there is nothing to carry"
    assert (risen(s.conn), one(s.conn, NOTES)) == (0, 0)


@pytest.mark.parametrize("batch", ["COMMIT", "ROLLBACK", "dies"])
@pytest.mark.parametrize("writer", ["COMMIT", "ROLLBACK", "rolls back to a savepoint"])
def test_whoever_ends_first_and_however(scene: Make, batch: str, writer: str) -> None:
    s = scene()
    s.plan_all()
    s.open_batch()
    s.writer.execute("BEGIN")
    s.writer.execute("SAVEPOINT before")
    s.writer.execute("DELETE FROM sales WHERE note = 'row 20'")
    if batch == "dies":
        s.conn.execute("SELECT pg_terminate_backend(%s)", (s.copy.info.backend_pid,))
        until(
            lambda: not one(s.conn, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'batch'"), "its end"
        )
    else:
        s.copy.execute(batch.encode())
    assert s.work_off(0.2)[1] == 1, "the writer is open: what it noted is not to be seen yet"
    for end in ("ROLLBACK TO before", "COMMIT") if writer.startswith("rolls") else (writer,):
        s.writer.execute(end.encode())
    if batch != "COMMIT":
        again = s.hand.next(s.conn)  # the chunk is pending: another worker copies it
        assert again is not None
        assert again.written
    assert s.work_off()[1] == 0
    stays = writer != "COMMIT"
    assert one(s.conn, "SELECT count(*) FROM sales WHERE note = 'row 20'") == stays
    assert one(s.conn, "SELECT count(*) FROM sales_v2 WHERE note = 'row 20'") == stays
    assert (risen(s.conn), one(s.conn, NOTES)) == (0, 0)


@pytest.mark.parametrize("mapping", [MAPPING, PLAIN], ids=["lookups", "plain"])
def test_a_key_that_comes_back_while_it_is_worked_off_stays(scene: Make, mapping: Mapping) -> None:
    s = scene(mapping)
    s.plan_all()
    s.open_batch()
    [row] = s.conn.execute("SELECT * FROM sales WHERE note = 'row 20'").fetchall()
    s.writer.execute("DELETE FROM sales WHERE note = 'row 20'")
    s.copy.execute("COMMIT")
    new = sql.SQL("SELECT amount, note FROM {} WHERE at = {}").format(
        sql.Identifier(mapping.new.name), sql.Literal(row[0])
    )
    assert s.conn.execute(new).fetchall() == [(row[3], "row 20")], "it rose from the dead"
    s.writer.execute("BEGIN")
    s.writer.execute("INSERT INTO sales VALUES (%s, %s, %s, 5, 'back')", row[:3])
    worked = s.pool.submit(s.work_off)
    s.waits(s.session.conn, worked)
    s.writer.execute("COMMIT")
    worked.result(timeout=20)
    assert s.conn.execute(new).fetchall() == [(5, "back")]
    assert one(s.conn, NOTES) == 0


@pytest.mark.parametrize("mapping", [MAPPING, PLAIN], ids=["lookups", "plain"])
def test_a_copy_made_again_on_the_way_back_is_noted_again(scene: Make, mapping: Mapping) -> None:
    """Emptying the new table waits for the writers whose triggers looked whether to note, and did not."""
    s = scene(mapping)
    task = s.session.plan.task("copy")
    Backfill(s.session, task, mapping, 0).run()
    assert not tombstones.enter(s.conn, mapping)
    s.writer.execute("BEGIN")
    s.writer.execute("DELETE FROM sales WHERE note = 'row 20'")
    emptied = s.pool.submit(lambda: (dual_write.empty_new(s.session, task, complete=False, accept=True), 0))
    query = "SELECT count(*) FROM pgferry.statement WHERE attempts > 1 OR status = 'waiting'"
    until(lambda: emptied.done() or one(s.conn, query) or one(s.conn, WAITING), "it to meet the writer")
    assert not emptied.done()
    s.writer.execute("COMMIT")
    emptied.result(timeout=20)
    assert tombstones.enter(s.conn, mapping)
    assert one(s.conn, f"SELECT count(*) FROM {mapping.new.name}") == 0


def test_statement_triggers_note_many_at_once(scene: Make) -> None:
    s = scene(replace(MAPPING, triggers=Triggers.STATEMENT))
    s.plan_all()
    s.open_batch()
    s.writer.execute("DELETE FROM sales WHERE amount < 100")
    s.writer.execute("UPDATE sales SET at = at + interval '1 year' WHERE amount BETWEEN 100 AND 200")
    s.copy.execute("COMMIT")
    assert risen(s.conn) > 150
    assert s.work_off()[1] == 0
    assert (risen(s.conn), one(s.conn, NOTES)) == (0, 0)
    assert one(s.conn, "SELECT count(*) FROM sales_v2 WHERE at >= '2027-01-01'") > 90


def test_truncate_waits_for_the_batch_and_empties_both(scene: Make) -> None:
    s = scene()
    s.plan_all()
    s.open_batch()
    emptied = s.pool.submit(lambda: s.writer.execute("TRUNCATE sales") and (0, 0))
    s.waits(s.writer, emptied)
    s.copy.execute("COMMIT")
    emptied.result(timeout=20)
    assert one(s.conn, "SELECT count(*) FROM sales_v2") == 0


def test_a_deleter_that_outlives_the_copy_is_waited_for_by_the_comparison(
    scene: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfills, "NOTED_PATIENCE_S", 0.2)
    s = scene()
    s.plan_all()
    s.open_batch()
    s.writer.execute("BEGIN")
    s.writer.execute("DELETE FROM sales WHERE note = 'row 20'")
    s.copy.execute("COMMIT")
    Backfill(s.session, s.session.plan.task("copy"), MAPPING, 0).run()
    assert one(s.conn, "SELECT count(*) FROM pgferry.event WHERE text LIKE '1 transactions that deleted%'") == 1
    settled = s.pool.submit(lambda: (settle(s.session, MAPPING, s.facts), 0))
    until(
        lambda: one(s.conn, "SELECT count(*) FROM pgferry.event WHERE text LIKE '%waits for 1 transactions%'"), "a word"
    )
    assert not settled.done()
    s.writer.execute("COMMIT")
    settled.result(timeout=20)
    assert (risen(s.conn), one(s.conn, NOTES)) == (0, 0)


def test_after_the_copy_nothing_is_noted_and_a_second_one_locks_its_rows(scene: Make) -> None:
    s = scene()
    task = s.session.plan.task("copy")
    Backfill(s.session, task, MAPPING, 0).run()
    s.writer.execute("DELETE FROM sales WHERE note = 'row 20'")
    assert (risen(s.conn), one(s.conn, NOTES)) == (0, 0)
    s.writer.execute("DELETE FROM sales_v2 WHERE note = 'row 22'")
    s.writer.execute("BEGIN")
    s.writer.execute("DELETE FROM sales WHERE note = 'row 23'")
    second = s.pool.submit(Backfill(s.session, task, MAPPING, 1).run)
    until(lambda: one(s.conn, "SELECT count(*) FROM pgferry.chunk WHERE round = 1 AND attempts > 0 AND status = 'pending'"),
          "its batch to meet the deleted row")  # fmt: skip
    s.writer.execute("COMMIT")
    second.result(timeout=20)
    assert risen(s.conn) == 0
    assert one(s.conn, "SELECT count(*) FROM sales_v2 WHERE note = 'row 22'") == 1
    assert one(s.conn, "SELECT count(*) FROM sales_v2 WHERE note = 'row 23'") == 0
