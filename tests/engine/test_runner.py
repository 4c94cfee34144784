"""A whole run on a real server: forward to the end, back to the start, forward again."""

from __future__ import annotations

import pytest

from console.demo.server import EmbeddedServer
from console.errors import PlanError, Refused
from console.journal import events, lease
from console.journal.connect import Conn, connect
from console.journal.read import run_state
from console.journal.state import RunState, RunStatus, TaskStatus, Verb
from console.plan.model import Kind
from tests.engine.scene import WHOLE, a_database, a_file, a_plan, a_run, a_task, dump, order


def rows(conn: Conn, table: str) -> list[tuple[object, ...]]:
    return conn.execute(f"SELECT * FROM {table} t ORDER BY t.*").fetchall()


def state_of(conninfo: str, run_id: int) -> RunState:
    with connect(conninfo) as conn:
        return run_state(conn, run_id, environment="DEV")


def test_forward_to_the_end_and_back_to_the_start(server: EmbeddedServer, database: str) -> None:
    conn = a_database(database, rows=1000)
    plan = a_plan(*WHOLE)
    before, old_rows = dump(database, server.binaries.dir), rows(conn, "sales")
    run_id = a_run(database, plan)

    status, _ = order(database, plan, run_id, Verb.START, until="end")
    state = state_of(database, run_id)
    assert status is RunStatus.DONE, state.error
    assert [t.status for t in state.tasks[:-1]] == [TaskStatus.COMPLETED] * 9
    assert state.tasks[-1].status is TaskStatus.DEFERRED, "a purge runs only when asked for by name"
    assert all(check.ok for check in state.checks)
    assert len([c for c in state.checks if c.check_id == "compare.sales"]) == 2
    copied = next(p for p in state.progress if p.what == "copy")
    assert (copied.rows_done, copied.rows_written, copied.rows_rejected) == (1000, 959, 41)
    assert copied.share == 1.0
    assert conn.execute("SELECT to_regclass('sales'), count(*) FROM pgferry_archive.sales").fetchone() == (None, 1000)

    conn.execute("INSERT INTO sales_v2 VALUES ('2027-01-01Z', 1, 7, 'through the new shape')")
    conn.execute("DELETE FROM sales_v2 WHERE at = (SELECT min(at) FROM sales_v2)")
    status, answer = order(database, plan, run_id, Verb.ROLLBACK, to="start")
    state = state_of(database, run_id)
    assert status is RunStatus.ROLLED_BACK, (answer, state.error)
    assert dump(database, server.binaries.dir) == before
    expected = [row for row in old_rows if row != old_rows[0]]
    assert rows(conn, "sales")[:-1] == expected
    assert rows(conn, "sales")[-1][1:] == ("S1", "item1", 7, "through the new shape")
    assert rows(conn, "sales_v2") == []
    assert conn.execute("SELECT count(*) FROM pgferry.reject").fetchone() == (0,)

    status, _ = order(database, plan, run_id, Verb.START, until="end")
    assert status is RunStatus.DONE, state_of(database, run_id).error
    assert events.broken_links(conn, run_id) == []
    conn.close()


def test_going_back_half_way_keeps_what_stands_before(database: str) -> None:
    conn = a_database(database, rows=200)
    plan = a_plan(*WHOLE)
    run_id = a_run(database, plan)
    order(database, plan, run_id, Verb.START, until="both")
    status, _ = order(database, plan, run_id, Verb.ROLLBACK, to="compare")
    state = state_of(database, run_id)
    assert status is RunStatus.WAITING
    assert [t.status.value for t in state.tasks[:5]] == ["completed"] * 2 + ["rolled back"] * 3
    conn.execute("INSERT INTO sales VALUES ('2027-01-01Z', 'S1', 'item1', 5, 'still carried')")
    assert conn.execute("SELECT count(*) FROM sales_v2 WHERE note = 'still carried'").fetchone() == (1,)
    conn.close()


def test_purge_needs_the_name_typed_and_exports_first(
    database: str, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    conn = a_database(database, rows=100)
    plan = a_plan(*WHOLE)
    run_id = a_run(database, plan)
    order(database, plan, run_id, Verb.START, until="end")
    _, answer = order(database, plan, run_id, Verb.PURGE, task="purge", typed="wrong")
    assert "Type" in answer
    assert conn.execute("SELECT count(*) FROM pgferry_archive.sales").fetchone() == (100,)
    status, _ = order(database, plan, run_id, Verb.PURGE, task="purge", typed=conn.info.dbname)
    assert status is RunStatus.DONE, state_of(database, run_id).error
    assert conn.execute("SELECT to_regclass('pgferry_archive.sales')").fetchone() == (None,)
    from pathlib import Path

    (exported,) = Path(str(tmp_path)).rglob("sales.csv.gz")
    import gzip

    assert len(gzip.decompress(exported.read_bytes()).splitlines()) == 101
    _, answer = order(database, plan, run_id, Verb.ROLLBACK, to="start")
    assert "no way back" in answer
    conn.execute("INSERT INTO sales_v2 VALUES ('2027-01-01Z', 1, 7, 'goes on')")
    conn.close()


def test_a_failed_statement_stops_the_task_with_its_state_known_and_resumes(
    server: EmbeddedServer, database: str
) -> None:
    conn = a_database(database, rows=10)
    up = a_file(
        "001.sql",
        "CREATE TABLE one (a int);\nCREATE INDEX CONCURRENTLY sales_note ON sales (note);\n"
        "ALTER TABLE missing ADD b int;\nCREATE TABLE two (a int);",
    )
    down = a_file(
        "001.down.sql",
        "DROP TABLE two;\nALTER TABLE missing DROP b;\nDROP INDEX CONCURRENTLY sales_note;\nDROP TABLE one;",
    )
    plan = a_plan(a_task("ddl", Kind.SQL, file=up, down=down))
    before = dump(database, server.binaries.dir)
    run_id = a_run(database, plan)
    status, _ = order(database, plan, run_id, Verb.START, until="end")
    state = state_of(database, run_id)
    assert status is RunStatus.FAILED
    assert "42P01" in state.error
    assert [s.status for s in state.statements] == ["done", "done", "failed"]

    assert order(database, plan, run_id, Verb.ROLLBACK, to="start")[0] is RunStatus.ROLLED_BACK
    assert dump(database, server.binaries.dir) == before, "a half-done task is taken back too"

    order(database, plan, run_id, Verb.START, until="end")
    conn.execute("CREATE TABLE missing ()")
    assert order(database, plan, run_id, Verb.RESUME)[0] is RunStatus.DONE
    assert [s.attempts for s in state_of(database, run_id).statements] == [1, 1, 1, 1], "each ran exactly once"
    conn.close()


def test_a_second_runner_is_told_who_holds_it(database: str) -> None:
    a_database(database).close()
    plan = a_plan(*WHOLE)
    run_id = a_run(database, plan)
    with connect(database) as first, connect(database) as second:
        fence = lease.acquire(first, run_id, "alice")
        with pytest.raises(Refused, match="alice already runs this: process"):
            lease.acquire(second, run_id, "bob")
        taken = lease.acquire(second, run_id, "bob", takeover=True)
        with pytest.raises(Refused, match="took this run over"), first.transaction():
            lease.hold(first, fence)
        with second.transaction():
            lease.hold(second, taken)


def test_a_changed_plan_is_refused(database: str) -> None:
    a_database(database).close()
    plan = a_plan(*WHOLE)
    run_id = a_run(database, plan)
    from dataclasses import replace

    from console.engine.runner import carry

    with pytest.raises(PlanError, match="changed since run"):
        carry(database, replace(plan, sha256="e" * 64), run_id, "tester")


def test_too_many_rejects_stop_the_copy(database: str) -> None:
    a_database(database, rows=2000).close()
    from dataclasses import replace

    from console.plan.model import BackfillSettings

    tasks = [replace(t, backfill=BackfillSettings(max_reject_percent=1.0)) for t in WHOLE]
    plan = a_plan(*tasks)
    run_id = a_run(database, plan)
    assert order(database, plan, run_id, Verb.START, until="copy")[0] is RunStatus.FAILED
    assert "more than the plan allows" in state_of(database, run_id).error
    assert "under Backfill" in state_of(database, run_id).error


def test_a_corrupted_row_is_found_and_named(database: str) -> None:
    conn = a_database(database, rows=500)
    plan = a_plan(*WHOLE)
    run_id = a_run(database, plan)
    order(database, plan, run_id, Verb.START, until="copy")
    conn.execute("UPDATE sales_v2 SET amount = amount + 0.00000001 WHERE note = 'row 100'")
    conn.execute("DELETE FROM sales_v2 WHERE note = 'row 200'")
    conn.execute("INSERT INTO sales_v2 VALUES ('2020-01-01Z', 1, 1, 'from nowhere')")
    assert order(database, plan, run_id, Verb.START, until="compare")[0] is RunStatus.FAILED
    (check,) = (c for c in state_of(database, run_id).checks if c.check_id == "compare.sales")
    assert not check.ok
    assert sorted(row["what"] for row in check.rows) == ["changed", "extra", "missing"]
    assert any("row 100" in row["old"] for row in check.rows)
    conn.close()


def test_speed_holds_for_a_later_runner(database: str) -> None:
    a_database(database, rows=500).close()
    plan = a_plan(*WHOLE)
    run_id = a_run(database, plan)
    order(database, plan, run_id, Verb.START, until="sync")
    _, answer = order(database, plan, run_id, Verb.SPEED, duty_percent=50, target_ms=70)
    assert answer == "speed: target_ms = 70, duty_percent = 50"
    order(database, plan, run_id, Verb.START, until="copy")
    (copied,) = state_of(database, run_id).progress
    assert (copied.duty_percent, copied.target_ms) == (50, 70)
