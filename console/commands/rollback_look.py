"""Looks at what a rollback would do: on a connection that cannot write, never for long, and ended when nobody waits."""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path

import psycopg

from console.commands.rollbacks import Reader, read
from console.errors import FerryError
from console.journal.connect import Conn, connect, in_a_sentence
from console.journal.state import RollbackPreview
from console.plan.model import Plan

LOOK_TIMEOUT = "5s"  # of each statement
FRESH_S = 300.0  # how long what was read of the catalogue is used


class Cancelled(FerryError):
    """Nobody waits for the answer any more."""


class Looker:
    """One look at a time; ``cancel`` may be called from any thread."""

    def __init__(self, dsn: str, folder: Path) -> None:
        """``folder``: the state folder, where records of rehearsals are."""
        self._dsn = dsn
        self._folder = folder
        self._lock = threading.Lock()
        self._conn: Conn | None = None
        self._reader: Reader | None = None
        self._read_at = 0.0
        self._looking = False
        self._unwanted = False

    def look(self, plan: Plan, to: str, run_id: int | None) -> RollbackPreview:
        """What going back to ``to`` would do; ``run_id`` None: nothing of the plan was run. Raises FerryError, Cancelled."""
        with self._lock:
            self._unwanted, self._looking = False, True
            try:
                with in_a_sentence():
                    return self._look(plan, to, run_id)
            except FerryError:
                if self._unwanted:
                    raise Cancelled("Another point was chosen.") from None
                raise
            finally:
                self._looking = False

    def _look(self, plan: Plan, to: str, run_id: int | None) -> RollbackPreview:
        conn = self._open()
        if self._reader is None or time.monotonic() - self._read_at > FRESH_S:
            self._reader = Reader(plan, conn, self._folder)
            self._read_at = time.monotonic()
        found = read(conn, plan, run_id, to, self._reader)
        if self._unwanted:  # what was cancelled in it may have been taken for unknown
            raise Cancelled("Another point was chosen.")
        return found

    def _open(self) -> Conn:
        if self._conn is None or self._conn.closed or self._conn.broken:
            self._conn = connect(
                self._dsn, application_name="pgferry rollback panel", read_only=True, statement_timeout=LOOK_TIMEOUT
            )
            self._reader = None
        return self._conn

    def cancel(self) -> None:
        """End the look that is under way, if there is one; returns at once."""
        conn = self._conn
        if self._looking and conn is not None:
            self._unwanted = True
            threading.Thread(target=_cancel, args=(conn,), name="cancel", daemon=True).start()

    def close(self) -> None:
        """Release the connection."""
        if self._conn is not None and not self._conn.closed:
            self._conn.close()


def _cancel(conn: Conn) -> None:
    with contextlib.suppress(psycopg.Error):
        conn.cancel_safe(timeout=2.0)
