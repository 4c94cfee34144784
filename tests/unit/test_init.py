"""``pgferry init`` and ``config``: a plan that is good as it is, nothing overwritten, the schema in one place."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from console.cli import main
from console.commands.init import SCHEMA, init
from console.commands.previews import Previews
from console.errors import UsageError
from console.plan.load import load_plan
from console.plan.schema import json_schema
from tests.unit.test_plan_digest import keeps


def test_the_new_plan_is_valid_and_previews(tmp_path: Path) -> None:
    directory = tmp_path / "new shop!"
    assert init(directory) == 0
    plan = load_plan(directory)
    assert (plan.id, [task.id for task in plan.tasks]) == ("new-shop-", ["1.1"])
    assert [doc.name for doc in plan.docs] == ["overview"]
    preview = Previews(plan).of("1.1")
    assert len(preview.up) == len(preview.down) == 1
    assert not preview.up[0].hazards
    text = (directory / "plan.toml").read_text()
    assert text.startswith(f"#:schema ./{SCHEMA}\n")
    assert keeps(tomllib.loads(text), json_schema())
    assert json.loads((directory / SCHEMA).read_text()) == json_schema()


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "001_first.sql").write_text("mine")
    with pytest.raises(UsageError, match=r"has 001_first\.sql already\. Nothing was written"):
        init(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["001_first.sql"]
    assert (tmp_path / "001_first.sql").read_text() == "mine"


@pytest.mark.parametrize("name", ["start", "...", "x" * 90])
def test_any_name_of_a_directory_makes_an_id(tmp_path: Path, name: str) -> None:
    assert init(tmp_path / (name if name != "..." else "@@")) == 0


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["init", str(tmp_path / "file")]) == 2
    assert main(["init", str(tmp_path / "file" / "below")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_config_prints_schema_reference_and_settings(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "--schema"]) == 0
    assert json.loads(capsys.readouterr().out) == json_schema()
    assert main(["config", "--reference"]) == 0
    assert "## task" in capsys.readouterr().out
    assert main(["config"]) == 0
    assert "environment" in capsys.readouterr().out
