"""With the mouse asked for: a click chooses a line and does nothing else, the wheel moves."""

from __future__ import annotations

from tests.tui.terminals import Session, console

WHEEL_DOWN, WHEEL_UP = 65, 64


def sent(button: int, x: int, y: int) -> str:
    """What a terminal sends for a button pressed and let go at a cell (from 0), or for a notch of the wheel."""
    where = f"\x1b[<{button};{x + 1};{y + 1}"
    return where + "M" if button >= WHEEL_UP else f"{where}M{where}m"


def marked(session: Session) -> int:
    """The line with the cursor."""
    return next((y for y, line in enumerate(session.screen().splitlines()) if line.startswith("▌")), -1)


def test_click_and_wheel() -> None:
    with console(options="mouse=True") as session:
        session.shows("help")
        target = next(y for y, line in enumerate(session.screen().splitlines()) if "P3.1.2" in line)
        session.press(sent(0, 10, target))
        session.until(lambda: marked(session) == target, "the clicked line")
        session.press(sent(WHEEL_UP, 10, 10))
        session.until(lambda: marked(session) == target - 3, "three lines up")
        session.press(sent(WHEEL_DOWN, 10, 10))
        session.until(lambda: marked(session) == target, "three lines down")
        session.press(sent(0, 10, 23))  # the footer: nothing
        session.press("2")
        session.shows("P3.1.2", "way back")
        assert b"asked" not in session.raw()
