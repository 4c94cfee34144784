"""The console in a real pseudo-terminal: a hang-up ends it, it is refused where no screen can be drawn."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = (
    "import sys; from tests.tui.world import CannedWorld; from console.tui.app import run_console;"
    "from console.errors import FerryError\n"
    "try: code = run_console(CannedWorld())\n"
    "except FerryError as error: code = error.exit_code; print(error, file=sys.stderr)\n"
    "sys.exit(code)"
)


def start() -> tuple[int, int]:
    """The console as the leader of a session of its own; returns its pid and the terminal's other end."""
    pid, master = pty.fork()
    if pid == 0:
        env = {**os.environ, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
        os.chdir(ROOT)
        os.execve(sys.executable, [sys.executable, "-c", PROGRAM], env)
    return pid, master


def read_until(master: int, wanted: bytes, seconds: float = 15.0) -> bytes:
    """What the terminal got, up to ``wanted``."""
    seen = b""
    end = time.monotonic() + seconds
    while wanted not in seen and time.monotonic() < end:
        if select.select([master], [], [], 0.1)[0]:
            seen += os.read(master, 65536)
    assert wanted in seen, seen[-400:]
    return seen


def ended(pid: int, seconds: float) -> int | None:
    """The exit code within so many seconds, None when it still runs."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    return None


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_hangup_ends_it_every_time() -> None:
    codes = []
    for _ in range(10):
        pid, master = start()
        read_until(master, b"help")
        os.close(master)
        code = ended(pid, 2.0)
        if code is None:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
        codes.append(code)
    assert codes == [129] * 10


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_leaving_restores_the_terminal() -> None:
    pid, master = start()
    read_until(master, b"help")
    os.write(master, b"qq")
    seen = read_until(master, b"Come back to it with: pgferry attach 7")
    assert b"\x1b[?1049l" in seen
    assert ended(pid, 5.0) == 0
    os.close(master)


@pytest.mark.parametrize(("term", "words"), [("dumb", "TERM=dumb"), ("xterm", "needs a terminal")])
def test_refused_without_a_screen(term: str, words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        env={**os.environ, "TERM": term},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2
    assert words in done.stderr
    assert "pgferry status" in done.stderr
