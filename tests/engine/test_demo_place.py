"""A second terminal finds the demo that runs, and is told where none does."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from console.commands.demo_place import noted
from console.commands.settings import state_folder
from console.journal.state import Verb
from console.plan.load import load_plan
from tests.engine.scene import a_run, order
from tests.engine.tiny import ferry, tiny_plan


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def test_attach_finds_the_demo_while_it_runs_and_not_after(database: str, tmp_path: Path) -> None:
    plan = load_plan(tiny_plan(tmp_path))
    run_id = a_run(database, plan)
    order(database, plan, run_id, Verb.START, until="end")
    with noted(database):
        note = state_folder() / "demo"
        assert stat.S_IMODE(note.stat().st_mode) == 0o600
        code, out, err = ferry("attach", "--demo", "--plain", "--plan", str(plan.root))
        assert f"run {run_id}" in out, err
    assert not note.exists()
    code, out, err = ferry("attach", "--demo", "--plain")
    assert (code, out) == (2, "")
    assert err == "pgferry: No demo of yours runs on this machine. Start one: pgferry demo.\n"


def test_the_newest_demo_is_the_one_that_is_found() -> None:
    with noted("host=first"):
        with noted("host=second"):
            assert (state_folder() / "demo").read_text() == "host=second"
        assert not (state_folder() / "demo").exists()
    with noted("host=third"), noted("host=fourth"):
        pass


def test_a_demo_that_ends_leaves_the_note_of_a_newer_one() -> None:
    older, newer = noted("host=older"), noted("host=newer")
    older.__enter__()
    newer.__enter__()
    older.__exit__(None, None, None)
    assert (state_folder() / "demo").read_text() == "host=newer"
    newer.__exit__(None, None, None)
