"""The window changes its size, or the console is put into the background and comes back."""

from __future__ import annotations

import random
import signal
import sys

from tests.tui.terminals import PROGRAM, SSH, Session, console

SIZES = [(120, 40), (60, 16), (59, 16), (60, 15), (59, 15), (200, 60), (20, 5), (81, 25), (80, 24)]


def whole(session: Session, columns: int, rows: int) -> None:
    """The first and the last line of the screen stand where they belong, or the one honest line."""
    if columns < 60 or rows < 16:
        session.until(lambda: "60x16" in session.screen().replace("\n", " "), "the one line")
    else:
        session.until(lambda: session.screen().startswith(" PROD"), "line 1")
        session.until(lambda: "help" in session.glass.lines[-1], "the footer in the last line")


def test_through_many_sizes() -> None:
    with console("BusyWorld", env={**SSH, "COLUMNS": "80", "LINES": "24"}) as session:
        session.shows("help")
        for size in SIZES:
            session.resize(*size)
            whole(session, *size)
        session.press("3")
        session.shows("batch")
        assert b"Traceback" not in session.raw()


def test_while_it_is_dragged() -> None:
    """Many sizes faster than anyone draws them: the last one counts, and nothing is drawn beyond its edges."""
    dice = random.Random(3)
    with console("BusyWorld") as session:
        session.shows("help")
        session.glass.forgiving = True
        for _ in range(60):
            session.resize(dice.randint(20, 140), dice.randint(5, 50))
        session.resize(100, 30)
        whole(session, 100, 30)
        session.glass.forgiving = False
        session.press("2")
        session.shows("way back")


def test_suspended_and_back() -> None:
    """With a shell above it, as at a prompt: the shell has its terminal in between, the console all of it after."""
    program = PROGRAM.format(world="BusyWorld", options="", before="")
    shell = Session(["/bin/bash", "--norc", "-i"], env={"PS1": "shell> ", "CODE": program, "PY": sys.executable})
    try:
        shell.wrote("shell> ")
        for _ in range(2):
            shell.press('"$PY" -c "$CODE"\r' if "1049" not in shell.glass.ever else "fg\r")
            shell.shows(" PROD", "help")
            shell.press("\x1a")
            shell.until(lambda: "1049" not in shell.glass.modes, "the ordinary screen")
            shell.wrote("Stopped")
            shell.press("echo $((6 * 7)) is here\r")
            shell.wrote("42 is here")
        shell.press("fg\r")
        shell.shows(" PROD", "help")
        shell.press("5")
        shell.shows("what")
        shell.press("q")
        shell.shows("esc")
    finally:
        shell.signal(signal.SIGHUP)
        shell.close()


def test_stopped_from_outside_and_continued() -> None:
    """SIGSTOP cannot be seen; SIGCONT afterwards draws everything again, once, with one reader of keys."""
    with console() as session:
        session.shows("help")
        session.quiet()
        session.signal(signal.SIGSTOP)
        before = session.total
        session.signal(signal.SIGCONT)
        session.until(lambda: b"\x1b[2J" in session.raw()[before:], "everything again")
        session.quiet()
        assert session.raw().count(b"\x1b[?1049h") == 1
        session.press("2")
        session.shows("way back")
