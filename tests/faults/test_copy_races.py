"""A row is changed while it is copied, in every interleaving: what the application wrote is what both tables hold.

Windows: the writer commits between the batch's snapshot and its scan; it acts before the batch and commits while
the batch waits or is uncommitted; it acts while the batch is uncommitted; it acts after. Writers note what they delete,
as they do in a first copy, or the batch locks the rows. Its snapshot is its statement's own (read
committed), or older than the batch (repeatable read), where its trigger cannot see the copy.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

import psycopg
import pytest
from psycopg import sql

from console.engine import copier, ranges, tombstones
from console.engine.compare import compare
from console.engine.copy import CopyStatement, Way
from console.engine.facts import mapping_facts
from console.engine.settle import settle
from console.journal.connect import Conn, connect
from console.plan.model import Direction, Kind
from tests.engine.scene import MAPPING, a_database, a_plan, a_session, a_task, switch_on
from tests.faults.tools import one, until

ACTIONS = {
    "delete": "DELETE FROM sales WHERE note = %s",
    "value": "UPDATE sales SET amount = 777 WHERE note = %s",
    "key": "UPDATE sales SET at = at + interval '1 year' WHERE note = %s",
    "key ahead": "UPDATE sales SET at = at + interval '500 ms' WHERE note = %s",
    "refused": "UPDATE sales SET item = 'unknown' WHERE note = %s",
    "refused value": "UPDATE sales SET amount = 1000001 WHERE note = %s",
}
WINDOWS = ("scan", "before", "open", "after")
ROWS = """
INSERT INTO sales SELECT '2026-01-01Z'::timestamptz + c * interval '1 min' + j * interval '1 s', 'S1', 'item1', j,
  c || '.' || j FROM generate_series(1, 30) c, generate_series(1, 4) j
"""
# A trigger of the application, before which the batch stands still: its snapshot is taken, its scan is not over.
GATE = """
CREATE FUNCTION stand() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(4711);
  RETURN NEW;
END $$;
CREATE TRIGGER stand BEFORE INSERT ON sales_v2 FOR EACH ROW
  WHEN (current_setting('application_name') = 'copy') EXECUTE FUNCTION stand();
"""


class Case:
    """One batch of four rows, a gate on its first one, and a writer of its third."""

    def __init__(self, database: str, isolation: str, number: int) -> None:
        self.number = number
        self.gate, self.copy, self.writer, self.look = (connect(database, application_name=n) for n in
                                                        ("gate", "copy", "writer", "look"))  # fmt: skip
        for conn in (self.gate, self.copy, self.writer):
            conn.execute("SET lock_timeout = '20s'")
        for setting in ("SET timezone = 'UTC'", *copier.SESSION, "SET lock_timeout = '20s'"):
            self.copy.execute(setting.encode())
        self.facts = mapping_facts(self.look, MAPPING, "pgferry_archive")
        names = ranges.old_order(MAPPING, self.facts)
        self.statement = CopyStatement(MAPPING, self.facts, names)
        self.low, self.high = (
            dict(zip(names, key, strict=True))
            for key in self.copy.execute(
                sql.SQL("SELECT at::text, shop, item FROM sales WHERE note IN ({}, {}) ORDER BY at").format(
                    sql.Literal(f"{number - 1}.4"), sql.Literal(f"{number}.4")
                )
            ).fetchall()
        )
        self.pool = ThreadPoolExecutor(2)
        self.isolation = isolation
        self.writer.execute(f"BEGIN ISOLATION LEVEL {isolation}".encode())
        self.writer.execute("SELECT count(*) FROM sales")  # under repeatable read: the snapshot of all that follows

    def close(self) -> None:
        self.pool.shutdown()
        for conn in (self.gate, self.copy, self.writer, self.look):
            conn.close()

    def batch(self) -> None:
        """The batch in an open transaction; as the engine does, the second way after a violation."""
        for tested in (False, True):
            self.copy.execute("BEGIN")
            way = Way(tested=tested, skip=tested, locked=not tombstones.enter(self.copy, MAPPING))
            text = sql.SQL("WITH {} SELECT * FROM {} d").format(
                self.statement.writing(self.low, self.high, way), self.statement.sums(self.low, self.high, way)
            )
            try:
                self.copy.execute(text)
                return
            except (psycopg.errors.UniqueViolation, psycopg.errors.CheckViolation):
                self.copy.execute("ROLLBACK")
        raise AssertionError("the second way met a row")

    def act(self, action: str) -> None:
        """The writer's statement; an application under repeatable read tries again when it is told to."""
        try:
            self.writer.execute(ACTIONS[action].encode(), (f"{self.number}.3",))
        except psycopg.errors.SerializationFailure:
            assert self.isolation == "repeatable read"
            self.writer.execute("ROLLBACK")
            self.writer.execute("BEGIN")
            self.writer.execute(ACTIONS[action].encode(), (f"{self.number}.3",))

    def waits_or_is_done(self, conn: Conn, future: Future[None]) -> None:
        """Until the session waits for a lock or its work is over."""
        query = f"SELECT count(*) FROM pg_locks WHERE pid = {conn.info.backend_pid} AND NOT granted"
        until(lambda: future.done() or one(self.look, query), "a wait or the end")

    def play(self, action: str, window: str) -> None:
        """The interleaving; afterwards both have committed."""
        if window == "scan":
            self.gate.execute("SELECT pg_advisory_lock(4711)")
            copied = self.pool.submit(self.batch)
            self.waits_or_is_done(self.copy, copied)
            assert not copied.done(), "its snapshot is taken, it waits at the first row"
            self.act(action)
            self.writer.execute("COMMIT")
            self.gate.execute("SELECT pg_advisory_unlock(4711)")
            copied.result(timeout=20)
        elif window == "before":
            self.act(action)
            copied = self.pool.submit(self.batch)
            self.waits_or_is_done(self.copy, copied)
            self.writer.execute("COMMIT")
            copied.result(timeout=20)
        elif window == "open":
            self.batch()
            acted = self.pool.submit(self.act, action)
            self.waits_or_is_done(self.writer, acted)
            self.copy.execute("COMMIT")
            acted.result(timeout=20)
            self.writer.execute("COMMIT")
        else:
            self.batch()
            self.copy.execute("COMMIT")
            self.act(action)
            self.writer.execute("COMMIT")
        with suppress(psycopg.Warning):
            self.copy.execute("COMMIT")


@pytest.fixture
def conn(database: str) -> Iterator[Conn]:
    with a_database(database) as made:
        made.execute(ROWS)
        made.execute(GATE)
        made.execute("ANALYZE sales")
        yield made


@pytest.mark.parametrize(
    ("both", "locked"), [(False, False), (True, False), (False, True)], ids=["noted", "noted, both ways", "locked"]
)
@pytest.mark.parametrize("isolation", ["read committed", "repeatable read"])
def test_every_interleaving_ends_as_the_application_wrote_it(
    database: str, conn: Conn, isolation: str, both: bool, locked: bool
) -> None:
    switch_on(conn, Direction.FORWARD)
    if locked:
        tombstones.forget(conn, MAPPING)
    if both:
        switch_on(conn, Direction.REVERSE)
    number = 1
    played = {}
    for action in ACTIONS:
        for window in WINDOWS:
            number += 1
            case = Case(database, isolation, number)
            try:
                case.play(action, window)
            finally:
                case.close()
            played[number] = (action, window)
            if action == "delete":
                risen = one(conn, f"SELECT count(*) FROM sales WHERE note = '{number}.3'")
                assert risen == 0, f"{window}: the deleted row rose from the dead"
    plan = a_plan(a_task("compare", Kind.CHECK, mappings=("sales",)))
    session = a_session(database, plan)
    settle(session, MAPPING, mapping_facts(conn, MAPPING, "pgferry_archive"))
    for number, what in played.items():
        old = held(conn, "sales", f"{number}.3")
        new = held(conn, "sales_v2", f"{number}.3")
        expected = {
            "delete": [], "value": [(2026, 777)], "key": [(2027, 3)], "key ahead": [(2026, 3)],
            "refused value": [(2026, 1000001)],
        }  # fmt: skip
        assert old == expected.get(what[0], [(2026, 3)]), what
        assert new == ([] if what[0].startswith("refused") else expected[what[0]]), what
        assert one(conn, f"SELECT count(*) FROM sales_v2 WHERE note LIKE '{number}.%'") == 3 + len(new), what
    conn.execute("DELETE FROM sales WHERE at < (SELECT min(at) + interval '1 min' FROM sales)")  # copied by no batch
    conn.execute(f"DELETE FROM sales WHERE split_part(note, '.', 1)::int NOT BETWEEN 2 AND {number}")
    verdict = compare(session, plan.task("compare"), MAPPING)
    session.drop()
    assert verdict.ok, (verdict.words(), verdict.samples)
    assert one(conn, "SELECT count(*) FROM pgferry.recheck") == 0


def held(conn: Conn, table: str, note: str) -> list[tuple[int, int]]:
    """(year, amount) of the row with this note."""
    query = sql.SQL("SELECT extract(year FROM at)::int, amount::int FROM {} WHERE note = {}")
    return [(row[0], row[1]) for row in conn.execute(query.format(sql.Identifier(table), sql.Literal(note))).fetchall()]
