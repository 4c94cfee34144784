"""The console of the command on a real server whose line hangs, breaks and heals; a console that goes leaves nothing there."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import psycopg

from tests.engine.tiny import tiny_plan, wait_until
from tests.faults.relay import Relay
from tests.tui.terminals import Session

NO_ANSWER = "The server does not answer"


def opened(conninfo: str, folder: Path) -> Session:
    """``pgferry run`` on a small plan."""
    words = ["run", "--plan", str(tiny_plan(folder)), "--dsn", conninfo]
    session = Session([sys.executable, "-m", "console", *words], env={"PGFERRY_ENV": "DEV"})
    session.shows(" DEV", "help")
    return session


def sessions(database: str) -> int:
    """Connections of consoles."""
    with psycopg.connect(database) as conn:
        found = conn.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = 'pgferry console'"
        ).fetchone()
    assert found is not None
    return int(found[0])


def test_a_line_that_hangs_then_breaks_then_heals(database: str, tmp_path: Path) -> None:
    line = Relay(database)
    session = opened(line.conninfo, tmp_path)
    try:
        line.hold()
        session.shows("stale since", NO_ANSWER)
        session.press("6")
        session.shows("Nothing to show", "stale since")
        session.press("1")
        session.shows("Make things", "stale since")
        line.let_go()
        session.until(lambda: "stale" not in session.screen(), "fresh figures")
        line.close()
        session.shows("stale since", "Trying again")
        line = Relay(database, line.port)
        session.until(lambda: "stale" not in session.screen(), "a connection again")
        assert b"Traceback" not in session.raw()
    finally:
        session.close()
        line.close()


def test_cut_off_while_the_line_to_the_server_hangs(database: str, tmp_path: Path) -> None:
    """Both lines at once, as when a bastion goes: the console ends, and its connections with it."""
    line = Relay(database)
    session = opened(line.conninfo, tmp_path)
    try:
        assert wait_until(lambda: sessions(database) > 0)
        line.hold()
        session.shows("stale since")
        session.hang_up()
        assert session.ended(10.0) == 129
        line.let_go()
        assert wait_until(lambda: sessions(database) == 0)
    finally:
        session.close()
        line.close()


def test_told_to_end_while_the_line_to_the_server_hangs(database: str, tmp_path: Path) -> None:
    line = Relay(database)
    session = opened(line.conninfo, tmp_path)
    try:
        line.hold()
        session.shows("stale since")
        session.signal(signal.SIGTERM)
        assert session.ended(15.0) == 143
        session.until(lambda: "1049" not in session.glass.modes, "the ordinary screen")
    finally:
        session.close()
        line.close()
