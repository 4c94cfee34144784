"""What the console costs a slow line: bytes of the first paint, of a key, and of each second while a copy runs."""

from __future__ import annotations

import time

import pytest

from tests.tui.terminals import SSH, Session, console

SCREENS = {"tasks": "1", "preview": "2", "backfill": "3", "checks": "4", "activity": "5", "log": "6", "rollback": "u"}
SIZES = [(80, 24), (120, 40)]
LONG = pytest.mark.long  # what costs less where its neighbours are tested
LOOKS = {"ssh": SSH, "truecolor": {"COLORTERM": "truecolor"}}


def spent(session: Session, seconds: float) -> int:
    """Bytes written in so many seconds."""
    before = session.total
    time.sleep(seconds)
    return session.total - before


@pytest.mark.parametrize(
    ("look", "size"),
    [("ssh", SIZES[0]), ("ssh", SIZES[1]), ("truecolor", SIZES[1]), pytest.param("truecolor", SIZES[0], marks=LONG)],
)
def test_first_paint_keys_and_idle(look: str, size: tuple[int, int]) -> None:
    """At most 12 kB, 1 kB and nothing. A screen that opens is drawn whole: 4 kB over SSH.

    At 120 columns a key in Tasks draws another task's details too, and colours that are not the terminal's own cost
    twice the bytes: both stay within what a line of 8 kB/s carries in 300 ms.
    """
    screen_costs = 4_000 if look == "ssh" else 6_000
    key_costs = 1_000 if size[0] < 110 and look == "ssh" else 2_400
    with console(size=size, env=LOOKS[look]) as session:
        session.shows("help")
        session.quiet()
        assert session.total <= 12_000
        for key in SCREENS.values():
            before = session.total
            session.press(key)
            session.quiet(0.25)
            assert session.total - before <= screen_costs
            for move in "jk":
                before = session.total
                session.press(move)
                session.quiet(0.25)
                assert session.total - before <= key_costs
            assert spent(session, 0.3) == 0


@pytest.mark.parametrize(("size", "limit"), [((80, 24), 1_500), ((120, 40), 2_500)])
def test_running_over_ssh(size: tuple[int, int], limit: int) -> None:
    """On every screen, where everything that can change does so each second."""
    seconds = 2.0
    with console("BusyWorld", size=size, env=SSH) as session:
        session.shows("help")
        for key in SCREENS.values():
            session.press(key)
            session.quiet(0.1)
            assert spent(session, seconds) <= limit * seconds, session.screen()
        session.press("1")
        assert spent(session, 1.5) > 0
