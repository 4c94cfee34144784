"""The command without words, lines instead of a screen, and the shell's completion, as a user meets them."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from tests.engine.tiny import ferry, tiny_plan


def _environment(database: str) -> dict[str, str]:
    """libpq's variables for a test's database: the command gets no --dsn."""
    parts = dict(part.split("=", 1) for part in database.split())
    names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "dbname": "PGDATABASE"}
    return {names[key]: value for key, value in parts.items() if key in names}


def test_a_first_start_explains_itself_even_without_a_database() -> None:
    code, out, _ = ferry(PGHOST="/nowhere", PGDATABASE="x")
    assert code == 0
    assert "pgferry demo" in out
    assert "pgferry run --plan DIR --dry-run" in out
    assert "No database was asked for runs: No connection" in out
    assert "Traceback" not in out


def test_without_words_it_shows_the_runs_of_the_database(database: str, tmp_path: Path) -> None:
    here = _environment(database)
    code, out, _ = ferry(**here)
    assert (code, f"no runs of pgferry in database {here['PGDATABASE']} at local:{here['PGPORT']} yet" in out) == (
        0,
        True,
    )
    assert ferry("apply", "--plan", str(tiny_plan(tmp_path)), "--dsn", database, "--until", "A1")[0] == 0
    code, out, _ = ferry(**here)
    assert code == 0
    assert "run 1" in out
    assert "1 of 3 tasks" in out
    assert "A tiny plan" in out
    assert "pgferry attach 1" in out
    assert "Run 1 waits for a person, or stopped where it was told to" in out
    with psycopg.connect(database, autocommit=True) as conn:
        for status, words in (
            ("running", "running, no runner"), ("running", "Run 1 has lost its runner; what it finished is kept"),
            ("paused", "Run 1 is paused"), ("failed", "Run 1 failed; pgferry status says why"),
        ):  # fmt: skip
            conn.execute("UPDATE pgferry.run SET status = %s", (status,))
            assert words in ferry(**here)[1]
        conn.execute("UPDATE pgferry.run SET status = 'running'")
        conn.execute(
            "INSERT INTO pgferry.lease (run_id, fence, holder, host, pid) VALUES (1, 9, 'dba-1', 'db-ops', 4711)"
        )
        out = ferry(**here)[1]
        assert "running  " in out
        assert "no runner" not in out
        conn.execute(
            "INSERT INTO pgferry.run (plan_id, plan_title, plan_sha256, operator) VALUES ('b', 'Another', '', 'x')"
        )
        lines = ferry(**here)[1].splitlines()
        assert [line.split()[1] for line in lines if line.startswith("run ")] == ["2", "1"]


def test_a_role_that_may_not_read_the_journal_is_told_how_to_begin(database: str, tmp_path: Path) -> None:
    assert ferry("apply", "--plan", str(tiny_plan(tmp_path)), "--dsn", database)[0] == 0
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("DROP ROLE IF EXISTS passer_by; CREATE ROLE passer_by LOGIN")
    code, out, err = ferry(**{**_environment(database), "PGUSER": "passer_by"})
    assert (code, err) == (0, "")
    assert "pgferry demo" in out
    assert "cannot be read by this role: whether there are runs is not known" in out


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize(
    ("typed", "said"), [(b"q\n", b""), (b"nonsense\n", b"nothing was opened"), (b"9\n", b"no run 9")]
)
def test_on_a_terminal_it_offers_to_attach(database: str, tmp_path: Path, typed: bytes, said: bytes) -> None:
    assert ferry("apply", "--plan", str(tiny_plan(tmp_path)), "--dsn", database)[0] == 0
    pid, master = pty.fork()
    if pid == 0:
        os.execve(
            sys.executable, [sys.executable, "-m", "console"],
            {**os.environ, **_environment(database), "TERM": "xterm-256color"},
        )  # fmt: skip
    seen, asked, end = b"", False, time.monotonic() + 30
    while time.monotonic() < end:
        try:
            if select.select([master], [], [], 0.1)[0]:
                seen += os.read(master, 65536)
        except OSError:  # the other end is gone
            break
        if b"q to leave: " in seen and not asked:
            asked = True
            os.write(master, typed)
    os.waitpid(pid, 0)
    os.close(master)
    assert asked, seen
    assert said in seen


def test_attach_prints_lines_where_no_screen_can_be_drawn(database: str, tmp_path: Path) -> None:
    assert ferry("apply", "--plan", str(tiny_plan(tmp_path)), "--dsn", database)[0] == 0
    for words, environment in (([], {"TERM": "dumb"}), (["--plain"], {"TERM": "xterm"})):
        code, out, _ = ferry("attach", *words, "--dsn", database, **environment)
        assert code == 0
        assert "A1 Make things: completed" in out
        assert "run 1: done, 3/3 tasks" in out
        assert "\x1b" not in out
    code, _, err = ferry("attach", "--control", "--plain", "--plan", str(tmp_path / "plan"), "--dsn", database)
    assert code == 2
    assert "Lines only show a run" in err


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_the_completion_knows_the_commands(shell: str) -> None:
    code, out, err = ferry("completion", shell)
    assert (code, err) == (0, "")
    for word in ("rollback", "rehearse", "--plan", "--until"):
        assert word.lstrip("-") in out
    if shell == "bash":
        assert subprocess.run(["bash", "-n"], input=out, text=True, check=False).returncode == 0
