"""A role that may connect and read the catalogue, and nothing else, does all that a reviewer does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from console.commands.settings import Settings
from console.commands.world import HIDDEN_RUN, JournalWorld
from console.demo.server import EmbeddedServer
from console.errors import Refused
from console.journal.admission import HIDDEN
from console.journal.state import TaskStatus, Verb
from console.plan.load import load_plan
from console.tui.shell import Shell
from console.tui.terminal import Terminal
from tests.engine.test_approval import ONE
from tests.engine.test_cli import home as home
from tests.engine.test_cli import last, objects, said
from tests.engine.test_cli import runners as runners
from tests.engine.tiny import tiny_plan
from tests.tui.world import settled


@pytest.fixture
def reviewer(server: EmbeddedServer, database: str) -> Iterator[str]:
    """The connection string of a role with CONNECT alone, on a database whose old shape is there."""
    name = "reviewer_" + conninfo_to_dict(database)["dbname"][-8:]
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name)))
        conn.execute("CREATE TABLE wanted AS SELECT generate_series(1, 1000) AS i")
        conn.execute("ANALYZE wanted")
        conn.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
    yield make_conninfo(database, user=name)
    with psycopg.connect(server.conninfo(), autocommit=True) as conn:
        conn.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A plan that asks for one approval, read by r2."""
    monkeypatch.setenv("PGFERRY_OPERATOR", "r2")
    return tiny_plan(tmp_path, toml=ONE, fill="ALTER TABLE wanted ADD COLUMN j int;\n", fill_down="SELECT 1;\n")


def test_commands_of_a_reviewer(
    reviewer: str, database: str, plan: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    on = ("--plan", str(plan), "--dsn", reviewer)
    before = objects(database)
    for command in (("plan", *on, "--database"), ("plan", *on, "--format", "markdown"), ("status", *on)):
        code, out, err = said(capsys, *command)
        assert (code, err) == (0, "")
        assert "0 of 1 approvals" in out
    code, out, err = said(capsys, "plan", *on, "--database", "--task", "A2")
    assert (code, err) == (0, "")
    assert "wanted: about 1,000 rows" in out, "the catalogue tells without USAGE on the schema"
    code, out, err = said(capsys, "plan", *on, "--format", "json")
    assert code == 0
    data = json.loads(out)
    assert data["approval"]["enough"] is False
    code, _, err = said(capsys, "lint", str(plan / "003_fill.sql"))
    assert (code, err) == (0, "")
    code, out, _ = said(capsys, "approve", *on)
    assert code == 0
    assert "may not write to the journal" in out
    assert said(capsys, "plan", *on, "--diff")[0] == 0
    code, out, _ = said(capsys, "plan", *on)
    assert "approved by r2" in out
    assert objects(database) == before, "nothing was written to the database"
    monkeypatch.setenv("PGFERRY_OPERATOR", "op")
    code, _, err = said(capsys, "apply", "--plan", str(plan), "--dsn", database, "--until", "A1")
    assert code == 0, err


async def test_the_console_of_a_reviewer(
    reviewer: str, database: str, plan: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(dsn=reviewer, plan_dir=plan, operator="r2")
    world = JournalWorld(settings, load_plan(plan), control=False, reviewing=True)
    app = Shell(world, Terminal(theme="textual-dark", ascii_only=False, per_second=50.0), dry_run=True)
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        await pilot.press("2")
        await settled(pilot, lambda: app.preview.preview(app.facts) is not None)
        assert app.facts.state is not None
        assert "0 of 1 approvals" in "\n".join(line.plain for line in app.lines(120, 40))
        await pilot.press("a", *"read", "enter")
        await settled(pilot, lambda: "approvals.jsonl" in app.notice[0])
        await settled(pilot, lambda: "approved by r2" in "\n".join(line.plain for line in app.lines(120, 40)))
        await pilot.press("escape", "u")
        await settled(pilot)
    with pytest.raises(Refused):
        world.send(Verb.START, until="end")
    world.close()
    assert json.loads((plan / "approvals.jsonl").read_text())["comment"] == "read"


def test_a_journal_that_the_reviewer_may_not_read(
    reviewer: str, database: str, plan: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert said(capsys, "approve", "--plan", str(plan), "--file")[0] == 0
    monkeypatch.setenv("PGFERRY_OPERATOR", "op")
    code, _, err = said(capsys, "apply", "--plan", str(plan), "--dsn", database, "--until", "A1")
    assert code == 0, err
    world = JournalWorld(Settings(dsn=reviewer, operator="r2"), load_plan(plan), control=False, reviewing=True)
    try:
        state = world.state()
        assert state.error == HIDDEN_RUN, "what cannot be seen is said, not shown as not begun"
        assert {task.status for task in state.tasks} == {TaskStatus.PENDING}
        assert state.approval is not None
        assert state.approval.unread == (HIDDEN,)
        assert [one.name for one in state.approval.counted] == ["r2"]
        assert world.preview("A2").up
    finally:
        world.close()


def test_files_that_changed_under_the_console_are_not_approved(reviewer: str, plan: Path) -> None:
    world = JournalWorld(Settings(dsn=reviewer, operator="r2"), load_plan(plan), control=False, reviewing=True)
    (plan / "003_fill.sql").write_text("DROP TABLE wanted;\n")
    with pytest.raises(Exception, match=r"others than this console read.*changed: 003_fill\.sql.*Nothing was recorded"):
        world.approve("")
    world.close()
    assert not (plan / "approvals.jsonl").exists()


def test_a_rehearsal_is_reported(tmp_path: Path, plan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From the plan's files alone: a scratch server, and reports in every form."""
    (plan / "plan.toml").write_text(
        (plan / "plan.toml").read_text().replace("[paths]", '[paths]\nbaseline = "001_baseline.sql"', 1)
    )
    (plan / "001_baseline.sql").write_text("CREATE TABLE wanted (i int);\n")
    (plan / "003_fill.down.sql").write_text("SELECT 1;\n")
    files = [tmp_path / f"r.{form}" for form in ("md", "html", "json")]
    words = [word for file in files for word in ("--report", str(file))]
    code, _, err = said(capsys, "rehearse", "--plan", str(plan), "--rows", "10", *words)
    assert code == 1, err
    data = json.loads(files[2].read_text())
    outcomes = {task["task_id"]: task["outcome"] for task in data["tasks"]}
    assert (outcomes["A1"], outcomes["A2"]) == ("passed", "differs")
    for file in files[:2]:
        text = file.read_text()
        assert "A2: DIFFERS" in text
        assert "ACCESS EXCLUSIVE on wanted" in text
    code, _, err = said(capsys, "rehearse", "--plan", str(plan), "--report", str(tmp_path / "r.pdf"))
    assert code == 2
    code, out, _ = said(capsys, "plan", "--plan", str(plan), "--format", "markdown")
    assert "1 differs" in out


def test_a_rehearsal_from_the_database_needs_select(
    reviewer: str, database: str, plan: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """pg_dump locks what it dumps: that is said, with what to grant; with SELECT the reviewer rehearses it too."""
    (plan / "003_fill.down.sql").write_text("ALTER TABLE wanted DROP COLUMN j;\n")
    on = ("rehearse", "--plan", str(plan), "--dsn", reviewer, "--data", "made", "--task", "A2")
    code, _, err = said(capsys, *on)
    assert code == 3
    assert "permission denied" in last(err)
    assert "SELECT" in last(err)
    role = sql.Identifier(str(conninfo_to_dict(reviewer)["user"]))
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute(sql.SQL("GRANT USAGE ON SCHEMA public TO {}").format(role))
        conn.execute(sql.SQL("GRANT SELECT ON ALL TABLES IN SCHEMA public TO {}").format(role))
    before = objects(database)
    code, _, err = said(capsys, *on)
    assert code == 0, err
    assert objects(database) == before
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute(sql.SQL("DROP OWNED BY {}").format(role))
