"""What leaves the journal carries no secret: not the connection's, not a statement's, not another session's."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from console.commands.settings import Settings, state_folder
from console.commands.world import JournalWorld
from console.headless.report import report_json, report_markdown, report_text, status_text
from console.headless.run_html import run_html
from console.headless.words import to_json
from console.journal.recording_file import from_lines, to_lines
from console.journal.state import RunStatus, Verb
from console.plan.load import load_plan
from console.plan.model import Plan
from console.tui.keys import SCREENS
from console.tui.still import Still
from tests.engine.scene import a_run, order

IN_DSN, IN_FILE, IN_SESSION = "connsecret1", "filesecret2", "sessionsecret3"
PLAN = """\
format = 1
id = "exports"
title = "Exports"
[[phase]]
id = "1"
title = "Only"
[[phase.task]]
id = "A1"
title = "A role and a column"
kind = "sql"
minutes = 1
file = "001_role.sql"
"""


@pytest.fixture
def role(database: str) -> Iterator[str]:
    """The name of a role that is gone after the test: roles are the whole server's."""
    name = f"pgferry_test_{uuid.uuid4().hex[:8]}"
    yield name
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute(psycopg.sql.SQL("DROP ROLE IF EXISTS {}").format(psycopg.sql.Identifier(name)))


def a_plan(folder: Path, role: str) -> Plan:
    """A plan whose first statement sets a password and whose second one waits for a lock."""
    (folder / "plan.toml").write_text(PLAN)
    statement = f"CREATE ROLE {role} LOGIN PASSWORD '{IN_FILE}';\nALTER TABLE things ADD COLUMN note text;\n"
    (folder / "001_role.sql").write_text(statement)
    (folder / "001_role.down.sql").write_text(f"ALTER TABLE things DROP COLUMN note;\nDROP ROLE {role};\n")
    return load_plan(folder)


@contextmanager
def in_the_way(database: str) -> Iterator[None]:
    """A session that holds the table, and whose statement names a secret."""
    with psycopg.connect(database, application_name="psql") as conn:
        conn.execute("LOCK TABLE things")
        conn.execute(f"SELECT set_config('app.password', '{IN_SESSION}', true)")
        yield
        conn.rollback()


def until(seen: Callable[[], bool]) -> None:
    """Wait for something of the run."""
    end = time.monotonic() + 60
    while not seen():
        assert time.monotonic() < end
        time.sleep(0.05)


def exports(world: JournalWorld) -> dict[str, str]:
    """Everything that can be saved or printed of a run, by name."""
    state = world.report_state()
    recorded = world.recording(state.run_id)
    saved = Path(world.save_report())
    found = {
        "status": status_text(state),
        "text": report_text(state),
        "markdown": report_markdown(state),
        "json": str(report_json(state)),
        "html": run_html(state, recorded),
        "jsonl": "\n".join(to_lines(recorded)),
        "replayed": str(to_json(from_lines(list(to_lines(recorded)), "a file").at(recorded.ended))),
    }
    found |= {path.suffix: path.read_text() for path in saved.parent.glob(f"{saved.stem}.*")}
    for screen in (*SCREENS, "rollback"):
        still = Still(world, (120, 40))
        still.press(screen)
        found[f"{screen}.svg"] = still.picture()
    return found


def test_no_export_carries_a_secret(database: str, role: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("PGPASSWORD", IN_DSN)
    (folder := tmp_path / "plan").mkdir()
    plan = a_plan(folder, role)
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("CREATE TABLE things (id int PRIMARY KEY)")
    dsn = make_conninfo(database, password=IN_DSN)
    run_id = a_run(database, plan)
    world = JournalWorld(Settings(dsn, plan.root, operator="tester", environment="DEV"), plan)
    try:
        with ThreadPoolExecutor(1) as pool:
            with in_the_way(database):
                running = pool.submit(order, dsn, plan, run_id, Verb.START, until="end")
                until(lambda: any(item.application == "psql" for item in world.state().sessions))
                waiting = exports(world)
            assert running.result()[0] is RunStatus.DONE
        over = exports(world)
        with psycopg.connect(database) as conn:
            over["log"] = "\n".join(text for (text,) in conn.execute("SELECT text FROM pgferry.event").fetchall())
    finally:
        world.close()
    for name, text in [*waiting.items(), *over.items()]:
        for secret in (IN_DSN, IN_FILE, IN_SESSION):
            assert secret not in text, f"{secret} in {name}"
    assert "set_config('***', '***', true)" in waiting["status"]
    assert "PASSWORD '***'" in over["jsonl"]
    assert f"CREATE ROLE {role} LOGIN PASSWORD '***'" in over["log"]
    assert {".md", ".json", ".html", ".jsonl"} <= set(over)
    assert state_folder().is_relative_to(tmp_path)
