"""Whatever ends the console, the terminal is as it was and one sentence says how things stand."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tui.terminals import PROGRAM, ROOT, SSH, Session, console

GOES_ON = "Run 7 goes on. Come back to it with: pgferry attach 7"
MOUSE = {"1000", "1002", "1003", "1006", "1015", "1016"}
BREAK = "from console.tui.draw import frame, log; log.full_line = lambda *_: 1 / 0"


def given_back(session: Session) -> None:
    """The ordinary screen, cursor, wrapping and echo are there; no mode of ours, no colour is left on."""
    session.until(lambda: "1049" in session.glass.ever and "1049" not in session.glass.modes, "the ordinary screen")
    session.quiet(0.2)
    assert session.glass.modes <= {"25", "7"}, session.glass.modes
    assert {"25", "7"} <= session.glass.modes
    assert session.raw().rindex(b"\x1b[<u") > session.raw().rindex(b"\x1b[>"), "the keyboard is as it was"
    assert session.raw().rindex(b"\x1b[m") > max(session.raw().rfind(b"\x1b[0;"), session.raw().rfind(b"\x1b[1m"))


def test_leaving_restores_the_terminal() -> None:
    with console() as session:
        session.shows("help")
        session.press("q")
        session.shows("leave")
        session.press("q")
        session.wrote(GOES_ON)
        given_back(session)
        assert session.ended() == 0


def test_nobody_is_asked_back_to_a_server_that_goes_with_the_console() -> None:
    with console(options="stays=False") as session:
        session.shows("help")
        session.press("q")
        session.shows("The demo ends. Run 7 pauses, and then its server goes: its rows too")
        session.press("q")
        assert session.ended() == 0
        assert b"Come back" not in session.raw()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_told_to_end(number: int, code: int) -> None:
    with console("BusyWorld") as session:
        session.shows("help")
        session.signal(number)
        session.wrote(GOES_ON)
        given_back(session)
        assert session.ended() == code


def test_told_to_end_while_nobody_reads() -> None:
    """What was not read is thrown away, so that the terminal gets what gives it back."""
    with console("BusyWorld", env=SSH) as session:
        session.shows("help")
        session.stall()
        for key in "234561" * 8:
            session.press(key)
        session.signal(signal.SIGTERM)
        assert session.ended(15.0) == 143
        session.go_on()
        session.wrote(GOES_ON)
        given_back(session)


def test_an_error_of_its_own_is_one_sentence_and_a_file(tmp_path: Path) -> None:
    with console(before=BREAK, env={"XDG_STATE_HOME": str(tmp_path), "PGPASSWORD": "hunter2"}) as session:
        session.shows("help")
        session.press("6")
        session.wrote("The console ended by an error of its own (ZeroDivisionError). Nothing of the run was touched.")
        session.wrote(GOES_ON)
        given_back(session)
        assert session.ended() == 1
        assert b"Traceback" not in session.raw()
        (kept,) = (tmp_path / "pgferry").glob("console-*.txt")
        assert str(kept).encode() in session.raw().replace(b"\r\n", b"")
    trace = kept.read_text()
    assert "ZeroDivisionError" in trace
    assert "Traceback" in trace
    assert "hunter2" not in trace


@pytest.mark.parametrize("mouse", [False, True])
def test_the_mouse_is_on_only_when_asked_for_and_never_after(mouse: bool) -> None:
    with console(options=f"mouse={mouse}") as session:
        session.shows("help")
        assert session.glass.ever & MOUSE == ({"1000", "1006"} if mouse else set())
        session.signal(signal.SIGTERM)
        given_back(session)
        assert session.ended() == 143


@pytest.mark.parametrize(("term", "words"), [("dumb", "TERM=dumb"), ("xterm", "needs a terminal")])
def test_refused_without_a_screen(term: str, words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(world="CannedWorld", options="", before="")],
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


def test_a_theme_that_is_not_known() -> None:
    with console(options="theme='neon'") as session:
        session.wrote("There is no theme 'neon'. Known: light, dark, ansi-dark")
        assert session.ended() == 2
        assert "1049" not in session.glass.ever
