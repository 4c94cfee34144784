"""What a rollback's preview says of rows, times and points of no return, and that the runner holds to it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from console.commands.rollback_look import Cancelled, Looker
from console.engine import contract, dual_write
from console.engine.dropped_rows import own_tables
from console.engine.rollback import preview
from console.journal import runs
from console.journal.connect import Conn, connect
from console.journal.state import RollbackPreview, RunStatus, Verb
from console.plan.model import Kind, Plan, Task
from console.tui.draw.rollback_points import first_reachable, points
from tests.engine.scene import WHOLE, a_database, a_file, a_plan, a_run, a_task, order
from tests.faults.tools import one, runner_thread, send, state_of, until

PLAN: Plan = a_plan(*WHOLE)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dual_write, "PARTING_QUIET_S", 0.02)
    monkeypatch.setattr(contract, "SAMPLE_S", 0.01)


def a_file_task(task_id: str, up: str, down: str) -> Task:
    """A task of statements with its way back."""
    return a_task(task_id, Kind.SQL, file=a_file(f"{task_id}.sql", up), down=a_file(f"{task_id}.down.sql", down))


NOTES: Plan = a_plan(
    a_file_task(
        "kinds",
        "CREATE TABLE kinds (id int PRIMARY KEY);\nINSERT INTO kinds VALUES (1), (2);",
        "DROP TABLE kinds;",
    ),
    a_file_task(
        "notes",
        "CREATE TABLE notes (id int PRIMARY KEY);\n"
        "CREATE FUNCTION note(n int) RETURNS void LANGUAGE sql AS 'INSERT INTO notes VALUES (n)';",
        "DROP FUNCTION note(int);\nDROP TABLE notes;",
    ),
    a_file_task("late", "SELECT 1;", "SELECT count(*) FROM notes;"),
)


def _forward(database: str, plan: Plan, until_task: str) -> tuple[Conn, int]:
    conn = a_database(database, rows=100)
    run_id = a_run(database, plan)
    order(database, plan, run_id, Verb.START, until=until_task)
    return conn, run_id


def _preview(database: str, plan: Plan, run_id: int, to: str = "start") -> RollbackPreview:
    with connect(database, read_only=True) as conn:
        return preview(conn, plan, run_id, runs.tasks(conn, run_id), to)


def test_rows_written_through_the_new_shape_are_counted_and_said_to_be_in_the_old_table(database: str) -> None:
    conn, run_id = _forward(database, PLAN, "new")
    conn.execute("UPDATE sales_v2 SET amount = 7 WHERE note IN ('row 1', 'row 2', 'row 3')")
    shown = _preview(database, PLAN, run_id, "reverse")
    (written,) = shown.written
    assert (written.new, written.old, written.writes, written.per_second) == ("sales_v2", "sales", 3, 0.0)
    assert written.since is not None
    assert "3 writes through sales_v2 since" in shown.facts[0]
    assert "no application writes to the new side now; at reverse" in shown.before[0]
    assert (shown.loses, shown.at_risk, shown.needs_typing) == ((), (), "")
    still = _preview(database, PLAN, run_id, "new")  # the sync stays: nobody has to leave
    assert (still.written[0].writes, still.written[0].per_second, still.before) == (3, None, ())
    conn.close()


def test_each_step_says_how_long_it_takes_and_from_what(database: str) -> None:
    conn, run_id = _forward(database, PLAN, "new")
    by_task = {step.task_id: step for step in _preview(database, PLAN, run_id).steps}
    assert "100 rows of sales to compare" in by_task["copy"].basis
    assert "as a connection did in the last comparison" in by_task["copy"].basis
    assert all(step.seconds is not None for step in by_task.values())
    assert "nobody has written to the new side" in by_task["reverse"].basis
    assert order(database, PLAN, run_id, Verb.ROLLBACK, to="reverse")[0] is RunStatus.WAITING
    order(database, PLAN, run_id, Verb.START, until="new")
    again = {step.task_id: step for step in _preview(database, PLAN, run_id, "reverse").steps}
    assert "as when it was taken back at" in again["reverse"].basis
    conn.close()


def test_what_a_statement_reads_tells_its_time_where_it_never_ran(database: str) -> None:
    conn, run_id = _forward(database, NOTES, "late")
    by_task = {step.task_id: step for step in _preview(database, NOTES, run_id).steps}
    assert by_task["notes"].basis == "as long as its way forward took"
    looker = Looker(database, Path("/nonexistent"))
    read = {step.task_id: step for step in looker.look(NOTES, "start", run_id).steps}
    looker.close()
    assert read["notes"].basis == "only the catalogue changes"
    assert read["notes"].locks[1].startswith("ACCESS EXCLUSIVE on notes")
    conn.close()


def test_rows_that_the_plan_did_not_write_are_lost_with_their_table_and_typed_for(database: str) -> None:
    conn, run_id = _forward(database, NOTES, "late")
    assert own_tables(NOTES) == {"kinds"}, "what a function writes is written by whoever calls it"
    empty = _preview(database, NOTES, run_id)
    assert (empty.loses, [(r.table, r.rows, r.exact) for r in empty.goes]) == ((), [("kinds", 2, True)])
    conn.execute("INSERT INTO notes VALUES (1), (2), (3)")
    shown = _preview(database, NOTES, run_id)
    assert [(risk.table, risk.rows, risk.exact) for risk in shown.at_risk] == [("notes", 3, True)]
    assert shown.loses[0].startswith("3 rows of notes: undoing notes drops them")
    assert shown.needs_typing == conn.info.dbname
    assert _preview(database, NOTES, run_id, "late").loses == ()
    status, answer = order(database, NOTES, run_id, Verb.ROLLBACK, to="start")
    assert "3 rows of notes" in answer
    assert f"Type {conn.info.dbname} to accept it" in answer
    assert one(conn, "SELECT count(*) FROM notes") == 3
    status, _ = order(database, NOTES, run_id, Verb.ROLLBACK, to="start", typed=conn.info.dbname)
    assert status is RunStatus.ROLLED_BACK
    assert [e.text for e in state_of(database, run_id).events if e.text == "lost, as accepted: 3 rows of notes"]
    conn.close()


def test_values_of_a_column_that_goes_are_lost_too(database: str) -> None:
    plan = a_plan(
        a_file_task(
            "columns",
            "ALTER TABLE sales ADD COLUMN remark text;\nALTER TABLE sales ADD COLUMN flag int DEFAULT 1;",
            "ALTER TABLE sales DROP COLUMN flag, DROP COLUMN remark;",
        )
    )
    conn, run_id = _forward(database, plan, "columns")
    assert _preview(database, plan, run_id).loses == (), "nobody wrote any; a default is nobody's"
    conn.execute("UPDATE sales SET remark = 'mine' WHERE note IN ('row 1', 'row 2')")
    shown = _preview(database, plan, run_id)
    assert shown.loses[0].startswith("2 values of sales.remark: undoing columns drops them")
    assert shown.needs_typing
    conn.close()


def test_a_purge_that_dropped_something_before_it_stopped_has_no_way_back(database: str) -> None:
    conn, run_id = _forward(database, PLAN, "retire")
    conn.execute("UPDATE pgferry.task SET status = 'failed' WHERE task_id = 'purge'")
    assert not _preview(database, PLAN, run_id).impossible
    conn.execute("DROP TABLE pgferry_archive.sales CASCADE")
    assert "has dropped pgferry_archive.sales already" in _preview(database, PLAN, run_id).impossible
    conn.close()


def test_rows_that_come_after_the_question_stop_the_rollback(database: str) -> None:
    """The way back of a later task stands for an application that writes while the rollback is at work."""
    plan = a_plan(
        *NOTES.tasks[:2],
        a_file_task("late", "SELECT 1;", "SELECT note(1);"),
    )
    conn, run_id = _forward(database, plan, "late")
    assert _preview(database, plan, run_id).loses == ()
    status, _ = order(database, plan, run_id, Verb.ROLLBACK, to="start")
    state = state_of(database, run_id)
    assert status is RunStatus.FAILED
    assert "would drop 1 row of notes, which this plan did not write" in state.error
    assert "Nothing of it was undone" in state.error
    assert one(conn, "SELECT count(*) FROM notes") == 1
    conn.execute("DELETE FROM notes")
    assert order(database, plan, run_id, Verb.RESUME)[0] is RunStatus.ROLLED_BACK
    conn.close()


def test_a_table_that_cannot_be_counted_now_is_unknown_and_asked_for(database: str) -> None:
    conn, run_id = _forward(database, NOTES, "late")
    with connect(database, autocommit=False) as holder:
        holder.execute("LOCK TABLE notes")
        shown = _preview(database, NOTES, run_id)
        holder.rollback()
    assert [(risk.table, risk.rows) for risk in shown.at_risk] == [("notes", None)]
    assert "could not be counted within 2s" in shown.loses[0]
    assert shown.needs_typing
    conn.close()


def test_beyond_a_purge_no_point_can_be_reached(database: str) -> None:
    conn, run_id = _forward(database, PLAN, "retire")
    before = points(state_of(database, run_id))
    assert (len(before), first_reachable(before)) == (len(WHOLE) - 1, 0)
    assert order(database, PLAN, run_id, Verb.PURGE, task="purge", typed=conn.info.dbname)[0] is RunStatus.DONE
    after = points(state_of(database, run_id))
    assert first_reachable(after) == len(after) == len(WHOLE)
    wall = after[0].wall
    assert wall is not None
    assert (wall.id, wall.irreversible, wall.finished_at is not None) == ("purge", "the old rows are gone", True)
    assert "has no way back" in _preview(database, PLAN, run_id, "retire").impossible
    conn.close()


@pytest.mark.parametrize(
    ("stands", "verb", "args", "ends"),
    [
        ("copy", Verb.ROLLBACK, {"to": "start"}, RunStatus.ROLLED_BACK),
        ("compare", Verb.START, {"until": "reverse"}, RunStatus.WAITING),
        ("reverse", Verb.ROLLBACK, {"to": "reverse"}, RunStatus.WAITING),
    ],
    ids=["emptying", "reverse sync on", "reverse sync off"],
)
def test_the_old_table_is_locked_before_the_new_one(
    database: str, stands: str, verb: Verb, args: dict[str, str], ends: RunStatus
) -> None:
    """A writer of the old table holds it and then waits for the new one: the other order would only ever time out."""
    conn, run_id = _forward(database, PLAN, stands)
    waits = (
        "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'sales'::regclass"
        " AND mode IN ('AccessExclusiveLock', 'ShareRowExclusiveLock')"
    )
    both = (
        "SELECT count(*) FROM pg_locks w JOIN pg_locks h ON h.pid = w.pid AND h.granted AND NOT w.granted"
        " WHERE w.relation = 'sales'::regclass AND h.relation = 'sales_v2'::regclass"
        " AND h.mode IN ('AccessExclusiveLock', 'ShareRowExclusiveLock')"
    )
    with connect(database, autocommit=False) as writer:
        writer.execute("LOCK TABLE sales IN ROW EXCLUSIVE MODE")
        send(database, run_id, verb, **args)
        with runner_thread(database, PLAN, run_id) as running:
            held = 0
            for _ in range(3):
                until(lambda: one(conn, waits), "the runner to wait for the old table")
                held += one(conn, both)
            writer.execute("UPDATE sales SET amount = 5 WHERE note = 'row 1'")
            writer.commit()
            assert running.result(timeout=60) is ends
    assert held == 0, "the new table was held while the old one was waited for"
    conn.close()


def test_a_look_cannot_write_and_ends_when_nobody_waits_for_it(database: str) -> None:
    conn, run_id = _forward(database, NOTES, "late")
    looker = Looker(database, Path("/nonexistent"))
    assert looker.look(NOTES, "start", run_id).steps
    name = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgferry rollback panel'"
    assert one(conn, name) == 1
    with connect(database, autocommit=False) as holder:
        holder.execute("LOCK TABLE notes")

        def cancel_when_it_waits() -> None:
            with connect(database) as other:
                until(lambda: one(other, "SELECT count(*) FROM pg_locks WHERE NOT granted"), "the look to wait")
            looker.cancel()

        canceller = threading.Thread(target=cancel_when_it_waits)
        canceller.start()
        with pytest.raises(Cancelled):
            looker.look(NOTES, "start", run_id)
        canceller.join()
        holder.rollback()
    assert looker.look(NOTES, "start", run_id).steps, "the next look is not troubled by it"
    looker.close()
    conn.close()
