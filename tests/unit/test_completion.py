"""The shell's completion, tried in a real bash."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

TRY = """
try() {
    COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
    "$(complete -p pgferry | sed 's/.*-F \\([^ ]*\\).*/\\1/')" pgferry "${@: -1}" "${@: -2:1}"
    echo "${COMPREPLY[*]}"
}
"""


def test_bash_completes_commands_options_choices_and_directories(tmp_path: Path) -> None:
    (tmp_path / "plans").mkdir()
    (tmp_path / "planned.txt").touch()
    script = subprocess.run(
        [sys.executable, "-m", "console", "completion", "bash"], capture_output=True, text=True, check=True
    ).stdout
    tries = (
        ["pgferry", "con"],
        ["pgferry", "status", "--for"],
        ["pgferry", "status", "--format", ""],
        ["pgferry", "plan", "--plan", "pla"],
        ["pgferry", "replay", "pla"],
    )
    words = "\n".join(shlex.join(["try", *words]) for words in tries)
    done = subprocess.run(
        ["bash", "--norc", "-c", f"{script}\n{TRY}\n{words}"], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stderr == ""
    found = [set(line.split()) for line in done.stdout.splitlines()]
    assert found == [{"confirm", "config"}, {"--format"}, {"text", "json"}, {"plans"}, {"plans", "planned.txt"}]
