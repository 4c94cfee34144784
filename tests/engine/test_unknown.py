"""A statement that nobody understands runs only where the file or the task says so, with a reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from console.journal.connect import connect
from console.journal.state import RunStatus, Verb
from console.plan.model import Allow, Kind
from tests.engine.scene import a_file, a_plan, a_run, a_task, order
from tests.engine.tiny import ferry, tiny_plan
from tests.faults.tools import state_of

DYNAMIC = "DO $$ BEGIN EXECUTE replace('INSERT INTO x VALUES (1), (2), (3)', 'x', 'things'); END $$;\n"
ACCEPTED = f"-- pgferry: allow UNKNOWN it was rehearsed\n{DYNAMIC}"


def _exists(database: str, name: str) -> bool:
    with connect(database) as conn:
        row = conn.execute("SELECT to_regclass(%s) IS NOT NULL", (name,)).fetchone()
    assert row is not None
    return bool(row[0])


def test_a_run_with_an_unknown_statement_is_refused_before_anything_is_done(database: str, tmp_path: Path) -> None:
    plan = tiny_plan(tmp_path, fill=DYNAMIC)
    code, out, err = ferry("apply", "--plan", str(plan), "--dsn", database)
    assert (code, out) == (5, "")
    assert "003_fill.sql:1" in err
    assert "EXECUTE" in err
    assert "-- pgferry: allow UNKNOWN REASON" in err
    assert not _exists(database, "things")
    assert not _exists(database, "pgferry.run")


@pytest.mark.parametrize(("text", "allow"), [(ACCEPTED, ()), (DYNAMIC, (Allow("UNKNOWN", "rehearsed"),))])
def test_with_a_reason_it_runs(database: str, text: str, allow: tuple[Allow, ...]) -> None:
    task = a_task(
        "odd",
        Kind.SQL,
        file=a_file("1.sql", f"CREATE TABLE things (i int);\n{text}"),
        irreversible="a test",
        allow=allow,
    )
    plan = a_plan(task)
    status, _ = order(database, plan, a_run(database, plan), Verb.START, until="end")
    assert status is RunStatus.DONE


def test_a_way_back_that_is_unknown_is_refused_on_the_way_there(database: str, tmp_path: Path) -> None:
    plan = tiny_plan(tmp_path, fill_down="DO $$ BEGIN EXECUTE replace('DELETE FROM x', 'x', 'things'); END $$;\n")
    code, _, err = ferry("apply", "--plan", str(plan), "--dsn", database)
    assert code == 5
    assert "003_fill.down.sql:1" in err


def test_what_the_grammar_refuses_needs_the_same_word(database: str, tmp_path: Path) -> None:
    newer = "INSERT INTO things VALUES (1);\nREPACK things;\n"
    plan = tiny_plan(tmp_path, fill=newer)
    code, _, err = ferry("apply", "--plan", str(plan), "--dsn", database)
    assert code == 4
    assert "003_fill.sql:2" in err
    assert "allow UNKNOWN REASON" in err
    assert not _exists(database, "things")
    tiny_plan(
        tmp_path, fill=newer.replace("REPACK", "-- pgferry: allow UNKNOWN the server of next year has it\nREPACK")
    )
    code, out, _ = ferry("apply", "--plan", str(plan), "--dsn", database)
    assert code == 1
    assert "42601" in out  # it was left to the server, which does not know it either


def test_the_engine_itself_runs_nothing_of_such_a_task(database: str) -> None:
    text = "CREATE TABLE first (i int);\n" + DYNAMIC
    task = a_task("odd", Kind.SQL, file=a_file("1.sql", text), irreversible="a test")
    plan = a_plan(task)
    run_id = a_run(database, plan)
    status, _ = order(database, plan, run_id, Verb.START, until="end")
    assert status is RunStatus.FAILED
    assert "not known" in state_of(database, run_id).error
    assert not _exists(database, "first")


def test_a_task_with_a_reason_is_also_taken_back(database: str) -> None:
    allow = (Allow("unknown", "rehearsed"),)
    down = a_file("1.down.sql", "DO $$ BEGIN EXECUTE replace('DROP TABLE x', 'x', 'first'); END $$;")
    task = a_task("odd", Kind.SQL, file=a_file("1.sql", "CREATE TABLE first (i int);"), down=down, allow=allow)
    plan = a_plan(task)
    run_id = a_run(database, plan)
    assert order(database, plan, run_id, Verb.START, until="end")[0] is RunStatus.DONE
    assert order(database, plan, run_id, Verb.ROLLBACK, to="start")[0] is RunStatus.ROLLED_BACK
    assert not _exists(database, "first")
