"""The watcher: while a statement of ours may wait for a lock, it shows who is in the way and gives way to a long queue.

In between, and every few seconds anyhow, it observes who uses the plan's tables.
"""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import asdict

import psycopg

from console.engine import blockers
from console.engine.blockers import Look
from console.engine.observe import Observer
from console.engine.session import Session, is_lost
from console.engine.step import Attempt
from console.errors import FerryError
from console.journal import events, runs
from console.journal.connect import Conn
from console.journal.state import LockWait
from console.journal.state import Session as OtherSession

FIRST_LOOK_S = 0.02  # most statements are done by then
LOOK_S = 0.05  # several looks within the shortest sensible lock_timeout
BETWEEN_S = 0.25  # between two tries nothing of ours waits
OWN_AFTER_S = 1.0  # a statement that runs so long is shown as a session of its own
AGES_S = 1.0  # ages of the same sessions are shown anew so often

# Where a plan allows more than the default lock_timeout, an attempt still ends once it waited as long as the default
# and more than so many sessions queue behind it. Below that time the lock_timeout itself is the better limit: a busy
# table gathers such a queue within milliseconds that it needs anyway to let the last statements end.
QUEUE_LIMIT = 20
QUEUE_GRACE_S = 0.2

SESSIONS = "sessions:lock"
WAIT = "lock:wait"


class Watcher:
    """A thread with a connection of its own. It never writes after the lease is lost."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._conn: Conn | None = None
        self._shown: tuple[object, ...] = ()
        self._shown_at = 0.0
        self._observer = Observer(session)

    def start(self) -> None:
        """Begin to watch."""
        self.thread.start()

    def stop(self) -> None:
        """End the thread and wait for it."""
        self.ended.set()
        self.thread.join(timeout=10)
        if not self.session.wishes.lost.is_set():
            with contextlib.suppress(psycopg.Error, FerryError):  # the server is gone; the next runner clears it
                self._clear()
        if self._conn is not None:
            self._conn.close()

    def _run(self) -> None:
        while not self.ended.is_set() and not self.session.wishes.lost.is_set():
            wait = BETWEEN_S
            try:
                wait = self._watch()
                self._observe()
            except (psycopg.Error, FerryError):  # looked again with a new connection
                if self._conn is not None:
                    self._conn.close()
                self._conn = None
            if wait:
                self.ended.wait(wait)

    def _observe(self) -> None:
        if self.ended.is_set() or self.session.wishes.lost.is_set() or not self._observer.due():
            return
        attempt = self.session.step.now()
        if attempt is not None and attempt.pid and attempt.seconds < OWN_AFTER_S:
            return  # a short attempt's blockers must not be missed for this
        conn = self._connection()
        try:
            self._observer.look(conn)
        except psycopg.Error as error:
            if is_lost(conn, error):
                raise
            self._observer.rest()  # refused or out of time: the locks are watched all the same

    def _watch(self) -> float:
        """Look once; returns the seconds until the next look."""
        step = self.session.step
        attempt = step.now()
        if attempt is None:
            self._clear()
            step.awake.wait(BETWEEN_S)
            return 0.0
        if attempt.pid and attempt.seconds < FIRST_LOOK_S:
            return FIRST_LOOK_S - attempt.seconds
        if not attempt.pid:
            if self._shown and step.seen is not None:
                self._show(attempt, Look(blockers.still_there(self._connection(), step.seen.blocking)), None)
            return BETWEEN_S if attempt.number else FIRST_LOOK_S
        conn = self._connection()
        look = blockers.look(conn, attempt.pid)
        step.saw(look, attempt.number)
        if not look.blocking and step.seen is not None and attempt.seconds < QUEUE_GRACE_S:  # not at its lock yet
            look = Look(blockers.still_there(conn, step.seen.blocking), look.behind)
        if look.in_the_way and attempt.gives_way and attempt.seconds > QUEUE_GRACE_S and look.behind > QUEUE_LIMIT:
            step.cancel(conn, attempt.pid, behind=look.behind, number=attempt.number)
        own = blockers.own(conn, attempt.pid) if attempt.seconds > OWN_AFTER_S and not look.sessions else None
        if look.sessions or own is not None or self._shown:
            self._show(attempt, look, own)
        return LOOK_S

    def _connection(self) -> Conn:
        if self._conn is None or self._conn.closed:
            self._conn = self.session.connect_once("watch")
        return self._conn

    def _show(self, attempt: Attempt, look: Look, own: OtherSession | None) -> None:
        """Replace what the consoles see, where it changed or grew old."""
        shown = (
            bool(attempt.pid),
            attempt.number,
            look.behind,
            own is not None,
            *((item.pid, item.mark, item.role, item.state) for item in look.sessions),
        )
        age = time.monotonic() - self._shown_at
        if age < AGES_S and (shown == self._shown or age < LOOK_S):
            return
        conn, run_id, step = self._connection(), self.session.run_id, self.session.step
        listed = (*look.sessions, *((own,) if own else ()))
        runs.set_live(conn, run_id, SESSIONS, [asdict(item) for item in listed])
        wait = LockWait(step.task_id, step.what, attempt.number, bool(attempt.pid), look.behind, step.most_behind)
        runs.set_live(conn, run_id, WAIT, asdict(wait))
        events.notify(conn)
        self._shown, self._shown_at = shown, time.monotonic()

    def _clear(self) -> None:
        if not self._shown:
            return
        forget_waits(self._connection(), self.session.run_id)
        self._shown = ()


def forget_waits(conn: Conn, run_id: int) -> None:
    """Nothing of the run waits for a lock."""
    for name in (SESSIONS, WAIT):
        runs.clear_live(conn, run_id, name)
    events.notify(conn)
