"""``pgferry plan --task``, ``--phase``, ``--hazards``: a part of a long plan."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from console.cli import main

TOML = """
format = 1
id = "p"
title = "P"
[[phase]]
id = "1"
title = "First"
[[phase.task]]
id = "a"
title = "a"
kind = "sql"
minutes = 1
file = "a.sql"
irreversible = "for the test"
[[phase]]
id = "2"
title = "Second"
[[phase.task]]
id = "b"
title = "b"
kind = "sql"
minutes = 1
file = "b.sql"
irreversible = "for the test"
"""


@pytest.fixture
def plan(tmp_path: Path) -> str:
    """Two tasks in two phases; the first statement of the second hurts."""
    (tmp_path / "plan.toml").write_text(TOML)
    (tmp_path / "a.sql").write_text("SET lock_timeout = '1s'; CREATE TABLE n (id bigint PRIMARY KEY);\n")
    (tmp_path / "b.sql").write_text("DROP TABLE old; COMMENT ON TABLE n IS 'x';\n")
    return str(tmp_path)


def _shown(capsys: pytest.CaptureFixture[str], plan: str, *words: str) -> list[tuple[str, list[str]]]:
    assert main(["plan", "--plan", plan, "--format", "json", *words]) == 0
    data = json.loads(capsys.readouterr().out)
    return [
        (task["id"], [statement["kind"] for statement in task["preview"]["up"]])
        for phase in data["phases"]
        for task in phase["tasks"]
    ]


def test_parts_of_a_plan(plan: str, capsys: pytest.CaptureFixture[str]) -> None:
    both = [("a", ["SET", "CREATE TABLE"]), ("b", ["DROP TABLE", "COMMENT"])]
    assert _shown(capsys, plan) == both
    assert _shown(capsys, plan, "--task", "b") == both[1:]
    assert _shown(capsys, plan, "--task", "a", "--task", "b") == both
    assert _shown(capsys, plan, "--phase", "1") == both[:1]
    assert _shown(capsys, plan, "--hazards") == [("b", ["DROP TABLE"])]
    assert _shown(capsys, plan, "--phase", "1", "--hazards") == []


def test_a_part_that_is_not_there(plan: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--plan", plan, "--task", "bb"]) == 2
    assert "The plan has no task bb; did you mean b?" in capsys.readouterr().err
    assert main(["plan", "--plan", plan, "--phase", "9"]) == 2
    assert "The plan has no phase 9: 1, 2." in capsys.readouterr().err
