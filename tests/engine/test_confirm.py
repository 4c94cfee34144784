"""``pgferry confirm``: what waits for a person is answered without a screen, said first and never by accident."""

from __future__ import annotations

from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from console.plan.find import shipped_plan
from console.plan.load import load_plan
from console.plan.model import Kind
from tests.engine.tiny import PLAN_TOML, ferry, tiny_plan, wait_until

GATE = """\
[[phase.task]]
id = "G1"
title = "The new version is out"
kind = "gate"
minutes = 1
depends = ["A1"]
question = "Is the new version out everywhere?"
[[phase.task]]
id = "A2"
"""


@pytest.fixture
def on(database: str, tmp_path: Path) -> tuple[str, ...]:
    """The words that name the plan, a gate before its second task, and the database."""
    toml = PLAN_TOML.replace('[[phase.task]]\nid = "A2"\n', GATE).replace(
        'depends = ["A1"]\nfile', 'depends = ["G1"]\nfile'
    )
    assert 'depends = ["G1"]' in toml
    return "--plan", str(tiny_plan(tmp_path, toml=toml)), "--dsn", database


def stands(on: tuple[str, ...], words: str) -> bool:
    return words in ferry("status", *on)[1]


def test_a_gate_is_answered_and_the_run_goes_on(on: tuple[str, ...]) -> None:
    code, _, err = ferry("apply", *on)
    assert code == 6
    assert "Is the new version out everywhere?" in err
    code, out, err = ferry("confirm", "G1", *on)
    assert (code, out) == (5, "")
    assert err.splitlines() == [
        "G1, The new version is out: Is the new version out everywhere?",
        "pgferry: It was not confirmed. Nothing was changed. Type yes when asked, or say --yes.",
    ]
    assert stands(on, "1 of 4 completed")

    code, out, _ = ferry("confirm", "G1", "--yes", *on)
    assert (code, out) == (0, "G1 confirmed\n")
    assert wait_until(lambda: stands(on, "4 of 4 completed"))
    code, _, err = ferry("confirm", "G1", "--yes", *on)
    assert (code, err) == (5, "pgferry: G1 is done already. Nothing was changed.\n")

    # A gate answered after a rollback leads forward for good: what resumes later does not go back once more.
    assert ferry("rollback", "--to", "G1", *on)[0] == 0
    assert stands(on, "1 of 4 completed")
    assert ferry("confirm", "G1", "--yes", *on)[0] == 0
    assert wait_until(lambda: stands(on, "4 of 4 completed"))
    code, out, _ = ferry("resume", *on)
    assert (code, out) == (0, "resume: run until end\n")
    assert stands(on, "4 of 4 completed")


def test_what_waits_for_nobody_is_usage(on: tuple[str, ...]) -> None:
    for word in ("A1", "A9"):
        code, _, err = ferry("confirm", word, "--yes", *on)
        assert (code, err) == (2, f"pgferry: {word} is no task that waits for a person. These do: G1.\n")


def test_a_purge_needs_the_databases_name(database: str) -> None:
    purge = next(task.id for task in load_plan(shipped_plan()).tasks if task.kind is Kind.PURGE)
    on = ("confirm", purge, "--plan", str(shipped_plan()), "--dsn", database)
    name = conninfo_to_dict(database)["dbname"]
    for words in ((), ("--yes",), ("--typed", "other")):
        code, out, err = ferry(*on, *words)
        assert (code, out) == (5, "")
        assert f"There is NO WAY BACK from {purge}" in err
        assert f"say --typed {name}." in err
    code, _, err = ferry(*on, "--typed", str(name))
    assert code == 5
    assert "Nothing was started yet." in err
