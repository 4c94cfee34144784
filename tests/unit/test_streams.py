"""The command among other commands: readers that leave, streams that are closed, terminals that know little."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from console.headless.streams import utf8
from console.plan.find import shipped_plan
from tests.engine.tiny import tiny_plan

SHIPPED = shlex.quote(str(shipped_plan()))


def in_a_shell(words: str, **environ: str) -> tuple[list[int], str, str]:
    """The exit codes of a pipeline of bash in which ``pgferry`` is this command, then its stdout and stderr."""
    pgferry = f'pgferry() {{ {shlex.quote(sys.executable)} -m console "$@"; }}\n'
    done = subprocess.run(
        ["bash", "-c", f'{pgferry}{words}\necho "${{PIPESTATUS[@]}}"'],
        capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL, env={**os.environ, **environ},
    )  # fmt: skip
    *out, codes = done.stdout.splitlines()
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr
    return [int(code) for code in codes.split()], "\n".join(out), done.stderr


@pytest.mark.parametrize(
    ("words", "codes"),
    [
        ("pgferry --help | true", [0, 0]),
        (f"pgferry plan --plan {SHIPPED} | head -1", [0, 0]),
        (f"pgferry plan --plan {SHIPPED} --format json | true", [0, 0]),
        ("pgferry completion bash | head -1", [0, 0]),
    ],
)
def test_a_reader_that_leaves_early_is_no_failure(words: str, codes: list[int]) -> None:
    found, _, err = in_a_shell(words)
    assert (found, err) == (codes, "")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("pgferry lint bad.sql | true", 1),
        ("pgferry lint --format json bad.sql | true", 1),
        (f"pgferry plan --plan {SHIPPED} --task NONE 2>&1 >&- | true", 2),
        ("pgferry apply --plan tiny/plan --dsn host=/nowhere 2>&1 | true", 3),
    ],
)
def test_nor_does_it_hide_one(words: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    (tmp_path / "bad.sql").write_text("DROP TABLE orders;\n")
    tiny_plan(tmp_path / "tiny")
    found, _, _ = in_a_shell(f"cd {shlex.quote(str(tmp_path))}; {words}")
    assert found[0] == code


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_changes_nothing_of_the_exit_code(closed: str) -> None:
    assert in_a_shell(f"pgferry plan --plan {SHIPPED} --phase 1 {closed} | cat >/dev/null")[0] == [0, 0]
    codes, out, _ = in_a_shell(f"pgferry plan {closed}")
    assert (codes, out) == ([2], ""), "an error is never taken for a result"
    assert in_a_shell(f"pgferry attach --dsn host=/nowhere {closed}")[0] == [3]


def test_which_locales_are_utf8() -> None:
    assert utf8({"LANG": "en_GB.UTF-8"})
    assert utf8({"LC_ALL": "C.utf8", "LANG": "C"})
    for poor in ({}, {"LANG": ""}, {"LANG": "C"}, {"LC_ALL": "C", "LANG": "en_GB.UTF-8"}, {"LANG": "de_DE.ISO-8859-1"}):
        assert not utf8(poor)
