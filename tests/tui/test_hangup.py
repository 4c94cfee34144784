"""The line is cut: the console ends at once, with 129, whatever it was doing; a run is not its child and goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tui.terminals import SSH, Session, console

Moment = Callable[[Session], object]


def at_start(session: Session) -> None:
    """Before anything was drawn: the terminal has been taken, no more."""
    session.until(lambda: session.total > 0, "the first byte")


def in_mid_paint(session: Session) -> None:
    session.until(lambda: session.total > 1_500, "half a screen")


def asked(session: Session) -> None:
    session.shows("help")
    session.press("qq" if "leave" not in session.screen() else "q")
    session.shows("esc")


def typing(session: Session) -> None:
    session.shows("help")
    session.press(":")
    session.shows("esc closes")


def stalled(session: Session) -> None:
    session.shows("help")
    session.stall()
    for key in "23456123456123456":
        session.press(key)


def told_too(session: Session) -> None:
    """sshd sends the signal itself, and the line goes."""
    session.shows("help")
    session.signal(1)


MOMENTS: dict[str, tuple[Moment, str, float]] = {  # what happens first, in which world, bytes a second read
    "at start": (at_start, "CannedWorld", 0.0),
    "in mid paint": (in_mid_paint, "CannedWorld", 3_000.0),
    "quiet": (lambda session: session.shows("help"), "CannedWorld", 0.0),
    "busy": (lambda session: session.shows("help"), "BusyWorld", 0.0),
    "a question is open": (asked, "BusyWorld", 0.0),
    "a line is typed": (typing, "CannedWorld", 0.0),
    "stalled": (stalled, "BusyWorld", 0.0),
    "the server is gone": (lambda session: session.shows("stale since"), "GoneWorld", 0.0),
    "the server is silent": (lambda session: session.shows("help"), "SilentWorld", 0.0),
    "a replay plays": (lambda session: session.shows("replay"), "replayed", 0.0),
    "told too": (told_too, "BusyWorld", 0.0),
}


def hang_up(moment: Moment, world: str, rate: float) -> int:
    """The exit code after the line was cut at this moment; the process is gone within two seconds."""
    with console(world, rate=rate, env=SSH) as session:
        moment(session)
        session.hang_up()
        code = session.ended(10.0)
        assert not Path(f"/proc/{session.pid}").exists()
        return code


@pytest.mark.parametrize("name", MOMENTS)
def test_a_hangup_ends_it(name: str) -> None:
    assert hang_up(*MOMENTS[name]) == 129


@pytest.mark.long
@pytest.mark.parametrize("name", MOMENTS)
def test_a_hangup_ends_it_every_time(name: str) -> None:
    assert [hang_up(*MOMENTS[name]) for _ in range(10)] == [129] * 10


APART = """
import os, signal
signal.signal(signal.SIGHUP, signal.SIG_IGN)
if child := os.fork():
    print(child, flush=True)
    os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
os.setsid()
"""


def test_without_any_signal_it_notices_too() -> None:
    """A session that is not the terminal's own gets none: that the terminal cannot be read is enough."""
    with console("BusyWorld", before=APART) as session:
        session.shows("help")
        session.hang_up()
        assert session.ended(10.0) == 129
