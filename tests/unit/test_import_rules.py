"""What a command loads: a preview must not wait for a screen, a screen's library or a database driver it does not use."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from console.plan.find import shipped_plan

HEAVY = ("textual", "psycopg", "sqlglot", "rich")
PROBE = """
import contextlib, io, json, sys
work, heavy = sys.argv[1], json.loads(sys.argv[2])
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    try:
        exec(work)
    except SystemExit:
        pass
print(json.dumps([name for name in heavy if name in sys.modules]))
"""


def loaded(work: str, tmp_path: Path, heavy: tuple[str, ...] = HEAVY) -> set[str]:
    """Which of the heavy packages a fresh interpreter holds after ``work``."""
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", PROBE, work, json.dumps(heavy)],
        capture_output=True, text=True, check=False, cwd=tmp_path, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


@pytest.mark.parametrize(
    "work",
    [
        "import console.cli",
        "from console.cli import main; main(['--version'])",
        "from console.cli import main; main(['--help'])",
        "from console.cli import main; main(['apply', '--help'])",
        "from console.cli import main; main(['apply', '--nonsense'])",
    ],
)
def test_words_alone_load_nothing_heavy(work: str, tmp_path: Path) -> None:
    assert loaded(work, tmp_path) == set()


def test_plan_and_sql_load_neither_driver_nor_screen(tmp_path: Path) -> None:
    work = "import console.plan.load, console.plan.order, console.sql.analyse, console.sql.inverse, console.sql.split"
    assert not loaded(work, tmp_path) & {"psycopg", "textual", "rich"}


def test_lint_loads_no_screen(tmp_path: Path) -> None:
    (tmp_path / "a.sql").write_text("CREATE TABLE a (i int);\n")
    work = "from console.cli import main; assert main(['lint', 'a.sql']) == 0"
    assert "textual" not in loaded(work, tmp_path)


def test_plan_without_a_database_loads_no_screen(tmp_path: Path) -> None:
    work = f"from console.cli import main; assert main(['plan', '--plan', {str(shipped_plan())!r}]) == 0"
    assert "textual" not in loaded(work, tmp_path)


@pytest.mark.parametrize("command", [["status"], ["apply", "--plan", str(shipped_plan())], ["report"]])
def test_commands_on_a_run_load_no_screen(command: list[str], tmp_path: Path) -> None:
    words = [*command, "--dsn", f"host={tmp_path} connect_timeout=2"]
    work = f"from console.cli import main; assert main({words!r}) == 3"
    found = loaded(work, tmp_path)
    assert "psycopg" in found  # it really came as far as the server
    assert "textual" not in found


def test_status_loads_what_it_prints_and_no_more(tmp_path: Path) -> None:
    """It is asked in loops and by monitors: no engine, no grammar, nothing that draws."""
    words = ["status", "--dsn", f"host={tmp_path} connect_timeout=2"]
    dear = ("rich", "sqlglot", "postgast", "google.protobuf", "console.engine", "console.sql", "console.commands.world")
    assert loaded(f"from console.cli import main; assert main({words!r}) == 3", tmp_path, dear) == set()


def test_the_manual_loads_neither_screen_nor_driver(tmp_path: Path) -> None:
    work = "from console.cli import main; assert main(['manual', 'sync']) == 0"
    assert not loaded(work, tmp_path) & {"textual", "psycopg", "sqlglot"}


def test_the_runner_loads_no_screen(tmp_path: Path) -> None:
    assert "textual" not in loaded("import console.engine.runner", tmp_path)


def test_a_screen_does_load_its_library(tmp_path: Path) -> None:
    assert "textual" in loaded("import console.tui.app", tmp_path)
