"""The pulse of the console in control: a connection of its own that says every few seconds that the console lives.

A long read of the screen does not hold it up; with the process it ends at once, which the server tells the runner.
"""

from __future__ import annotations

import contextlib
import threading
import time

import psycopg

from console.errors import FerryError
from console.journal import control
from console.journal.connect import Conn, connect
from console.journal.settle import READER_TIMEOUT

EVERY_S = 3.0
RETRY_S = 0.5  # after the connection was lost
STALLED_S = 10.0  # a terminal that takes nothing for so long shows its operator nothing


class Pulse:
    """Beats until it is stopped, until control is lost, or while the screen stands still."""

    def __init__(self, dsn: str, run_id: int, console: str) -> None:
        self._dsn = dsn
        self._run_id = run_id
        self._console = console
        self._drawn_at = float("inf")  # no screen has said anything yet
        self._ended = threading.Event()
        self.lost = threading.Event()  # another console has control, or nobody
        self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)

    def start(self) -> None:
        """Begin to beat."""
        self._thread.start()

    def stop(self) -> None:
        """End; a beat under way is not waited for."""
        self._ended.set()

    def drawn(self) -> None:
        """The screen has just shown something to its operator."""
        self._drawn_at = time.monotonic()

    def _run(self) -> None:
        while not (self._ended.is_set() or self.lost.is_set()):
            with (
                contextlib.suppress(FerryError, psycopg.Error),  # tried again on a new connection
                connect(self._dsn, application_name="pgferry console", statement_timeout=READER_TIMEOUT) as conn,
            ):
                self._beat(conn)
            self._ended.wait(RETRY_S)

    def _beat(self, conn: Conn) -> None:
        while not self._ended.is_set():
            stalled = time.monotonic() - self._drawn_at > STALLED_S
            if not stalled and not control.renew(conn, self._run_id, self._console):
                self.lost.set()
                return
            self._ended.wait(EVERY_S)
