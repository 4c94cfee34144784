"""Migrations of each tool on a real server: applied and taken back, in the transactions that tool would use."""

from __future__ import annotations

from pathlib import Path

import pytest

from console.commands.init import init
from console.demo.server import EmbeddedServer
from console.journal.connect import connect
from console.journal.read import run_state
from console.journal.state import RunStatus, TaskStatus, Verb
from console.plan.layouts import LAYOUTS
from console.plan.load import load_plan
from tests.engine.scene import a_run, dump, order
from tests.unit.migration_files import DIRECTORIES, put


@pytest.mark.parametrize("layout", LAYOUTS)
def test_forward_back_and_forward(server: EmbeddedServer, database: str, tmp_path: Path, layout: str) -> None:
    plan = load_plan(put(tmp_path, DIRECTORIES[layout]))
    empty = dump(database, server.binaries.dir)
    run_id = a_run(database, plan)
    for _ in range(2):
        status, _ = order(database, plan, run_id, Verb.START, until="end")
        with connect(database) as conn:
            state = run_state(conn, run_id, environment="DEV")
            assert status is RunStatus.DONE, state.error
            assert [t.status for t in state.tasks] == [TaskStatus.COMPLETED] * 3
            assert conn.execute("SELECT count(*) FROM users").fetchone() == (1,)
            assert conn.execute(
                "SELECT indisvalid FROM pg_index WHERE indexrelid = 'posts_author'::regclass"
            ).fetchone() == (True,)
        status, answer = order(database, plan, run_id, Verb.ROLLBACK, to="start")
        assert status is RunStatus.ROLLED_BACK, answer
        assert dump(database, server.binaries.dir) == empty


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name not in ("plain", "sqitch")])
def test_a_file_that_fails_leaves_nothing_of_it(database: str, tmp_path: Path, layout: str) -> None:
    files = {n: t.replace("VALUES (1)", "VALUES (1), (1)") for n, t in DIRECTORIES[layout].items()}
    plan = load_plan(put(tmp_path, files))
    run_id = a_run(database, plan)
    status, _ = order(database, plan, run_id, Verb.START, until="end")
    assert status is RunStatus.FAILED
    with connect(database) as conn:
        assert "duplicate key" in run_state(conn, run_id, environment="DEV").error
        assert conn.execute("SELECT to_regclass('users')").fetchone() == (None,), "all of the file or nothing"


def test_a_failing_verify_script_fails_its_change(database: str, tmp_path: Path) -> None:
    files = dict(DIRECTORIES["sqitch"])
    files["verify/posts.sql"] = "BEGIN;\nINSERT INTO posts VALUES (1, 1);\nSELECT 1/0;\nROLLBACK;\n"
    plan = load_plan(put(tmp_path, files))
    run_id = a_run(database, plan)
    status, _ = order(database, plan, run_id, Verb.START, until="end")
    with connect(database) as conn:
        state = run_state(conn, run_id, environment="DEV")
        rows = conn.execute("SELECT count(*) FROM posts").fetchone()
    assert status is RunStatus.FAILED
    assert "verify/posts.sql:3: 22012: division by zero" in state.error
    assert [(check.check_id, check.ok) for check in state.checks] == [("verify.posts", False), ("verify.users", True)]
    assert rows == (0,), "what a verify script writes is rolled back"


def test_a_scaffolded_plan_applies_and_is_taken_back(server: EmbeddedServer, database: str, tmp_path: Path) -> None:
    init(tmp_path / "shop")
    plan = load_plan(tmp_path / "shop")
    empty = dump(database, server.binaries.dir)
    run_id = a_run(database, plan)
    status, _ = order(database, plan, run_id, Verb.START, until="end")
    with connect(database) as conn:
        state = run_state(conn, run_id, environment="DEV")
    assert status is RunStatus.DONE, state.error
    assert [(check.check_id, check.ok) for check in state.checks] == [("first_table_stands", True)]
    status, _ = order(database, plan, run_id, Verb.ROLLBACK, to="start")
    assert status is RunStatus.ROLLED_BACK
    assert dump(database, server.binaries.dir) == empty


def test_what_a_file_sets_for_its_session_ends_with_the_file(database: str, tmp_path: Path) -> None:
    dumped = "SELECT pg_catalog.set_config('search_path', '', false);\nCREATE TABLE public.a (i int);\n"
    plan = load_plan(put(tmp_path, {"1_a.up.sql": dumped, "2_b.up.sql": "CREATE TABLE b (i int);\n"}))
    run_id = a_run(database, plan)
    status, _ = order(database, plan, run_id, Verb.START, until="end")
    with connect(database) as conn:
        assert status is RunStatus.DONE, run_state(conn, run_id, environment="DEV").error
        assert conn.execute("SELECT to_regclass('public.b') IS NOT NULL").fetchone() == (True,)


def test_what_a_file_set_holds_where_it_goes_on_in_another_session(database: str, tmp_path: Path) -> None:
    text = "SET search_path TO app;\nCREATE TABLE a (i int);\nINSERT INTO a SELECT i FROM missing;\nCREATE TABLE b (i int);\n"
    plan = load_plan(put(tmp_path, {"001_a.sql": text}))
    run_id = a_run(database, plan)
    with connect(database) as conn:
        conn.execute("CREATE SCHEMA app")
        status, _ = order(database, plan, run_id, Verb.START, until="end")
        assert status is RunStatus.FAILED
        conn.execute("CREATE TABLE app.missing (i int)")
        status, _ = order(database, plan, run_id, Verb.RESUME)
        assert status is RunStatus.DONE, run_state(conn, run_id, environment="DEV").error
        assert conn.execute("SELECT to_regclass('app.b') IS NOT NULL").fetchone() == (True,)
