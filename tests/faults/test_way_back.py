"""Going back past the copy: what only the new side holds is carried to the old one, or listed and asked for."""

from __future__ import annotations

import threading

import pytest

from console.engine import dual_write
from console.engine.rollback import preview
from console.journal import runs
from console.journal.connect import Conn, connect
from console.journal.state import RunStatus, TaskStatus, Verb
from console.plan.model import Plan
from tests.engine.scene import WHOLE, a_database, a_plan, a_run, order
from tests.faults.tools import one, runner_thread, send, state_of, until

PLAN: Plan = a_plan(*WHOLE)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dual_write, "PARTING_QUIET_S", 0.02)


def _copied(database: str, until_task: str = "copy") -> tuple[Conn, int]:
    conn = a_database(database, rows=100)
    run_id = a_run(database, PLAN)
    order(database, PLAN, run_id, Verb.START, until=until_task)
    return conn, run_id


def _sale(conn: Conn, note: str, place: str = "sales") -> object:
    return conn.execute(f"SELECT amount::int, shop FROM {place} WHERE note = %s", (note,)).fetchone()


def test_what_was_written_only_through_the_new_shape_comes_back(database: str) -> None:
    """Values changed and rows added there while no reverse sync was on; a newer write through the old shape stays."""
    conn, run_id = _copied(database)
    conn.execute("UPDATE sales_v2 SET amount = 77 WHERE note IN ('row 1', 'row 2')")
    conn.execute("UPDATE sales SET amount = 88 WHERE note = 'row 2'")
    conn.execute("INSERT INTO sales_v2 VALUES ('2027-01-01Z', 1, 5, 'added')")
    with connect(database) as other:
        shown = preview(other, PLAN, run_id, runs.tasks(other, run_id), "start")
    assert [fact for fact in shown.facts if "rows that only sales_v2 holds are looked for" in fact]
    status, answer = order(database, PLAN, run_id, Verb.ROLLBACK, to="start")
    assert status is RunStatus.ROLLED_BACK, (answer, state_of(database, run_id).error)
    assert [_sale(conn, note) for note in ("row 1", "row 2", "added")] == [(77, "S2"), (88, "S0"), (5, "S1")]
    said = [e.text for e in state_of(database, run_id).events if "were carried back" in e.text]
    assert [text for text in said if text.startswith("2 rows written only through")], said
    assert one(conn, "SELECT count(*) FROM sales_v2") == 0
    conn.close()


def test_what_the_old_shape_refuses_is_listed_before_it_is_lost(database: str) -> None:
    conn, run_id = _copied(database)
    conn.execute("UPDATE sales_v2 SET amount = -1 WHERE note = 'row 1'")  # sales has CHECK (amount > 0)
    status, _ = order(database, PLAN, run_id, Verb.ROLLBACK, to="start")
    error = state_of(database, run_id).error
    assert status is RunStatus.FAILED
    assert "would lose 1 row of sales_v2 that sales refuses" in error
    assert '"good_id": "2"' in error
    assert "was not emptied" in error
    assert one(conn, "SELECT count(*) FROM sales_v2") > 90
    conn.execute("UPDATE sales_v2 SET note = 'still carried' WHERE note = 'row 3'")
    assert _sale(conn, "still carried") == (3, "S1"), "until then writes through the new shape are carried"
    with connect(database) as other:
        shown = preview(other, PLAN, run_id, runs.tasks(other, run_id), "start")
    assert "1 row of sales_v2: sales cannot hold them" in shown.loses[0]
    assert '"good_id": "2"' in shown.loses[0]
    assert shown.needs_typing == conn.info.dbname
    _, answer = order(database, PLAN, run_id, Verb.ROLLBACK, to="start")
    assert "Type" in answer
    status, _ = order(database, PLAN, run_id, Verb.ROLLBACK, to="start", typed=conn.info.dbname)
    assert status is RunStatus.ROLLED_BACK
    assert _sale(conn, "row 1") == (1, "S2"), "the old table keeps what it held"
    assert [e.text for e in state_of(database, run_id).events if "lost, as accepted: 1 row" in e.text]
    conn.close()


def test_a_deletion_that_nothing_carried_is_asked_for(database: str) -> None:
    """Nobody deletes old rows by inference; the operator is told that they stay."""
    conn, run_id = _copied(database)
    conn.execute("DELETE FROM sales_v2 WHERE note IN ('row 1', 'row 2', 'row 3')")
    status, _ = order(database, PLAN, run_id, Verb.ROLLBACK, to="start")
    error = state_of(database, run_id).error
    assert status is RunStatus.FAILED
    assert "3 deletions through sales_v2 while nothing carried them" in error
    status, _ = order(database, PLAN, run_id, Verb.ROLLBACK, to="start", typed=conn.info.dbname)
    assert status is RunStatus.ROLLED_BACK
    assert one(conn, "SELECT count(*) FROM sales") == 100
    conn.close()


def test_a_half_done_copy_is_no_deletion(database: str) -> None:
    conn, run_id = _copied(database, "sync")
    conn.execute(
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no' USING ERRCODE = 'io_error'; END $$"
    )
    conn.execute(
        "CREATE TRIGGER no BEFORE UPDATE ON pgferry.chunk FOR EACH ROW WHEN (NEW.ordinal > 1) EXECUTE FUNCTION no()"
    )
    assert order(database, PLAN, run_id, Verb.START, until="copy")[0] is RunStatus.FAILED
    assert 0 < one(conn, "SELECT count(*) FROM sales_v2") < 90
    status, _ = order(database, PLAN, run_id, Verb.ROLLBACK, to="start")
    assert status is RunStatus.ROLLED_BACK, state_of(database, run_id).error
    conn.close()


def test_after_the_reverse_sync_went_nothing_written_through_the_new_shape_is_lost(database: str) -> None:
    """Between the going of the reverse sync and the emptying of the new table, applications go on writing to it."""
    conn, run_id = _copied(database, "new")
    ended = threading.Event()
    written: dict[int, int] = {}

    def write() -> None:
        with connect(database, application_name="late application") as late:
            for number in range(1, 100_000):
                if ended.is_set() or one(late, "SELECT count(*) FROM pgferry.task WHERE status = 'completed'") < 3:
                    return
                late.execute(
                    "INSERT INTO sales_v2 VALUES ('2027-01-01Z'::timestamptz + %s * interval '1 s', 1, %s, 'late')",
                    (number, number),
                )
                written[number] = number

    assert order(database, PLAN, run_id, Verb.ROLLBACK, to="reverse")[0] is RunStatus.WAITING
    assert one(conn, "SELECT count(*) FROM pg_trigger WHERE tgname = 'zz_pgferry_reverse'") == 0
    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    until(lambda: len(written) > 20, "late writes")
    send(database, run_id, Verb.ROLLBACK, to="copy")
    with runner_thread(database, PLAN, run_id) as running:
        status = running.result(timeout=60)
    ended.set()
    writer.join(20)
    state = state_of(database, run_id)
    assert status is RunStatus.WAITING, state.error
    assert state.tasks[1].status is TaskStatus.ROLLED_BACK
    # What was written after the emptying stands in the new table; the forward sync's way back carries that too.
    assert order(database, PLAN, run_id, Verb.ROLLBACK, to="start")[0] is RunStatus.ROLLED_BACK
    held = conn.execute("SELECT amount::int FROM sales WHERE note = 'late'").fetchall()
    assert {row[0] for row in held} == set(written)
    conn.close()
