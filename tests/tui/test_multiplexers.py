"""Inside tmux and screen: what they show of the console is what it drew, cell by cell, also after every screen and a resize."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tui.terminals import LIMIT, PROGRAM, ROOT

SIZE = (100, 30)
KEYS = "2w1jj3456u?"


class Window:
    """The console in a window of a multiplexer of its own, and what the console drew last."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        program = folder / "console.sh"
        program.write_text(f'#!/bin/sh\ncd "{ROOT}"\nexec "{sys.executable}" "{folder / "program.py"}"\n')
        program.chmod(0o755)
        (folder / "program.py").write_text(PROGRAM.format(world="CannedWorld", options="", before=RECORD))
        self.program = str(program)
        self.env = {
            **{name: value for name, value in os.environ.items() if name not in ("TMUX", "STY", "NO_COLOR")},
            "LC_ALL": "C.UTF-8", "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
            "DRAWN": str(folder / "drawn"),
        }  # fmt: skip

    def run(self, *words: str) -> str:
        """Run the multiplexer's own command."""
        return subprocess.run(words, env=self.env, capture_output=True, text=True, check=True, timeout=LIMIT).stdout

    def drawn(self) -> list[str]:
        """The lines as the console drew them last."""
        path = self.folder / "drawn"
        return path.read_text().split("\n") if path.exists() else []


RECORD = """
import os
from console.tui.painter import Painter
from pathlib import Path
show = Painter.show
def kept(self, picture, *, marks):
    lines = ["".join(cell.text for cell in row).rstrip() for row in picture]
    aside = Path(os.environ["DRAWN"] + ".new")
    aside.write_text("\\n".join(lines))
    aside.replace(os.environ["DRAWN"])
    show(self, picture, marks=marks)
Painter.show = kept
"""


class Tmux(Window):
    """A server and a session of their own."""

    rows = SIZE[1]

    def open(self) -> None:
        columns, rows = map(str, SIZE)
        self._do("new-session", "-d", "-x", columns, "-y", rows, self.program)

    def _do(self, *words: str) -> str:
        return self.run("tmux", "-S", str(self.folder / "tmux"), "-f", "/dev/null", *words)

    def press(self, key: str) -> None:
        """Send a key."""
        self._do("send-keys", "-l", key)

    def resize(self, columns: int, rows: int) -> None:
        """The window gets another size."""
        self._do("resize-window", "-x", str(columns), "-y", str(rows))

    def shown(self) -> list[str]:
        """What stands in the window."""
        return [line.rstrip() for line in self._do("capture-pane", "-p").split("\n")[:-1]]

    def close(self) -> None:
        """End it and what runs in it."""
        self._do("kill-server")

    def kept(self, line: str) -> str:
        """How ``shown`` tells a line."""
        return line


class Screen(Window):
    """A session that nobody is attached to: its size is 80x24, and stays so."""

    rows = 24

    def open(self) -> None:
        sockets = self.folder / "sockets"
        sockets.mkdir(mode=0o700)
        self.env |= {"SCREENDIR": str(sockets), "TERM": "xterm-256color", "SYSSCREENRC": "/dev/null"}
        self.run("screen", "-U", "-c", "/dev/null", "-d", "-m", "-S", "test", "sh", "-c", f"sleep 0.5; {self.program}")

    def _do(self, *words: str) -> str:
        return self.run("screen", "-S", "test", "-p", "0", "-X", *words)

    def press(self, key: str) -> None:
        """Send a key."""
        self._do("stuff", key)

    def shown(self) -> list[str]:
        """What stands in the window."""
        copy = self.folder / "hardcopy"
        copy.unlink(missing_ok=True)
        self._do("hardcopy", str(copy))
        end = time.monotonic() + LIMIT
        while not copy.exists() and time.monotonic() < end:
            time.sleep(0.01)
        return [line.rstrip() for line in copy.read_text("latin-1").split("\n")[:-1]]

    def close(self) -> None:
        """End it and what runs in it."""
        self._do("quit")

    def kept(self, line: str) -> str:
        """How ``shown`` tells a line: its copies hold the last byte of each character."""
        return "".join(chr(ord(character) & 0xFF) for character in line)


@pytest.fixture(params=[Tmux, Screen], ids=["tmux", "screen"])
def window(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Tmux | Screen]:
    made: Tmux | Screen = request.param(tmp_path)
    if shutil.which(request.param.__name__.lower()) is None:
        pytest.skip(f"{request.param.__name__.lower()} is not installed here")
    made.open()
    try:
        yield made
    finally:
        made.close()


def same(window: Tmux | Screen, words: str = "", rows: int = 0) -> None:
    """Wait until the window shows what was drawn, with these words and as many rows."""
    end = time.monotonic() + LIMIT
    while True:
        drawn, shown = [window.kept(line) for line in window.drawn()], window.shown()
        if len(drawn) == (rows or window.rows) and shown == drawn and words in "\n".join(drawn):
            return
        if time.monotonic() > end:
            assert "\n".join(shown) == "\n".join(drawn)
            assert words in "\n".join(shown)
            assert len(shown) == (rows or window.rows)
        time.sleep(0.05)


def test_it_shows_what_was_drawn(window: Tmux | Screen) -> None:
    same(window, "help")
    for key in KEYS:
        before = window.drawn()
        window.press(key)
        end = time.monotonic() + 1.0
        while window.drawn() == before and time.monotonic() < end:
            time.sleep(0.02)
        same(window)
    if isinstance(window, Tmux):
        window.resize(80, 24)
        same(window, "Keys", 24)
        window.resize(*SIZE)
    window.press("\x1b")
    same(window, "help")
