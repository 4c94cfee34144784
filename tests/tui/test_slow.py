"""A line that is slow, or that takes nothing at all, holds back nobody; a server that is slow or gone neither."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.tui.terminals import SSH, Session, console

RATE = 8_000.0  # bytes a second
IN_TIME = 2_400  # bytes that such a line carries in 300 ms


def clock(session: Session) -> str:
    """The server's clock in line 1."""
    return session.glass.lines[0].split()[-1]


def test_on_a_slow_line_a_key_is_answered_within_its_share_of_bytes() -> None:
    """While a copy runs and everything changes: what is sent before the answer is less than 300 ms of the line."""
    with console("BusyWorld", rate=RATE, env=SSH) as session:
        session.shows("help")
        for key, words in (("k", "P2.1.1"), ("u", "Roll back"), ("1", "P2.1.2"), ("6", "following"), ("5", "what")):
            session.quiet(0.2)
            before = session.total
            session.press(key)
            session.shows(words)
            assert session.total - before <= IN_TIME


@pytest.mark.parametrize("seconds", [2.0, pytest.param(15.0, marks=pytest.mark.long)])
def test_a_stalled_terminal_stalls_nothing_else(seconds: float) -> None:
    """The states are read on, keys are taken, memory stays; when it reads again it shows what is so now."""
    with console("BusyWorld", size=(120, 40), env=SSH) as session:
        session.shows("help")
        session.quiet(0.2)
        memory = session.memory()
        session.stall()
        stalled = session.total
        for key in "23456" * 20:  # far more than any buffer on the way holds
            session.press(key)
            time.sleep(seconds / 100)
        session.press("6")
        time.sleep(0.2)
        assert session.memory() < memory + 8_000
        before = session.cpu()
        time.sleep(0.5)
        assert session.cpu() - before < 0.3, "it does not spin"
        session.go_on()
        session.shows("following", "throttle dba@bastion")
        session.until(lambda: clock(session) > "23:41:04", "the clock of now")
        assert session.total - stalled < 60_000, "only what the kernel held, and the newest"


def test_while_the_terminal_takes_nothing_nobody_is_said_to_see_it(tmp_path: Path) -> None:
    """The runner counts on it where the operator chose that it pauses when the console goes."""
    seen = tmp_path / "seen"
    with console("WatchedWorld", env={"SEEN": str(seen)}) as session:
        session.shows("help")
        session.until(lambda: seen.stat().st_size > 3, "a screen that is seen")
        session.stall()
        for key in "23456" * 20:
            session.press(key)
            time.sleep(0.03)
        session.until(lambda: _stands(seen), "nobody to see it")
        session.go_on()
        before = seen.stat().st_size
        session.until(lambda: seen.stat().st_size > before + 3, "a screen that is seen again")


def _stands(path: Path) -> bool:
    before = path.stat().st_size
    time.sleep(0.7)
    return path.stat().st_size == before


def test_a_stalled_console_can_be_ended_by_a_hangup_signal() -> None:
    with console("BusyWorld", env=SSH) as session:
        session.shows("help")
        session.stall()
        for key in "23456" * 10:
            session.press(key)
        session.signal(signal.SIGHUP)
        assert session.ended(10.0) == 129


def test_a_silent_server_is_told_and_keys_go_on() -> None:
    """A read hangs for a while: keys are answered meanwhile, the figures are called stale, then all is well."""
    with console("SilentWorld", before="from console.tui import feed; feed.SILENCE_S = 0.5") as session:
        session.shows("stale since 23:41:07", "The server does not answer. Trying again.")
        session.press("6")
        session.shows("throttle dba", "stale since")
        session.until(lambda: "stale" not in session.screen(), "fresh figures")


def test_a_server_that_is_gone_is_told_and_keys_go_on() -> None:
    with console("GoneWorld") as session:
        session.shows("stale since", "does not answer")
        session.press("5")
        session.shows("what", "stale since")
