"""What a task works with: the plan, the lease, connections, and the operator's wishes that interrupt it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import psycopg

from console.engine.step import Step
from console.engine.uses import Uses
from console.errors import ConnectionFailed, FerryError, LeaseLost
from console.journal import events, lease, runs
from console.journal.connect import Conn, connect
from console.journal.lease import Fence
from console.journal.settle import READER_TIMEOUT
from console.plan.model import Mapping, Plan, TableName
from console.text import plain, shorten

T = TypeVar("T")
LOST = (psycopg.OperationalError, psycopg.InterfaceError)  # what a lost connection is raised as, among other things
_ENDED = (psycopg.errors.AdminShutdown, psycopg.errors.CrashShutdown)  # said just before the server hangs up
SHORT = ("control", "watch")  # connections whose statements are all short; the others' have limits of their own
RECONNECT_SECONDS = 600.0  # how long a lost server is waited for before the run stops


class Interrupted(FerryError):
    """The operator's wish (pause, roll back) stops the task at a safe point; its state is journalled."""

    exit_code = 6


@dataclass
class Wishes:
    """What the control thread heard; the worker looks at every safe point."""

    stop: threading.Event = field(default_factory=threading.Event)  # pause, or a new goal
    lost: threading.Event = field(default_factory=threading.Event)  # the lease is gone
    settings: dict[str, Any] = field(default_factory=dict)  # live backfill settings, by name
    settings_by: dict[str, str] = field(default_factory=dict)
    leave: bool = False  # the process was told to end: pause and go

    def check(self) -> None:
        """Raise Interrupted or LeaseLost if the work must stop here."""
        if self.lost.is_set():
            raise LeaseLost("Another runner took this run over.", state="This one stopped writing.")
        if self.stop.is_set():
            raise Interrupted("Stopped at a safe point on an operator's wish.")

    def sleep(self, seconds: float) -> None:
        """Wait, but not past a wish."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.check()
            time.sleep(min(left, 0.1))


@dataclass
class Session:
    """One runner's hold on one run."""

    plan: Plan
    conninfo: str
    run_id: int
    fence: Fence
    operator: str
    wishes: Wishes
    patience_s: float = RECONNECT_SECONDS
    step: Step = field(default_factory=Step)
    uses: Uses = field(default_factory=Uses)
    dial: Callable[..., Conn] = connect  # how a connection is made: a rehearsal measures what goes through its own
    _conn: Conn | None = None

    @property
    def conn(self) -> Conn:
        """The work connection, autocommit; opened again after it was lost. Raises ConnectionFailed after a while."""
        if self._conn is None or self._conn.closed:
            self._conn = self.open("work")
        return self._conn

    def open(self, what: str) -> Conn:
        """A further connection with the settings every one of ours has."""
        deadline = time.monotonic() + self.patience_s
        wait = 0.2
        while True:
            try:
                return self.connect_once(what)
            except FerryError as error:
                if time.monotonic() > deadline or (isinstance(error, ConnectionFailed) and error.final):
                    raise
                self.wishes.sleep(wait)
                wait = min(wait * 1.5, 5.0)

    def connect_once(self, what: str) -> Conn:
        """As ``open``, without patience. Raises ConnectionFailed."""
        conn = self.dial(
            self.conninfo,
            application_name=f"pgferry run {self.run_id} {what}",
            statement_timeout=READER_TIMEOUT if what in SHORT else "0",
        )
        try:
            for setting in (
                "SET timezone = 'UTC'",  # keys are kept as text: the same in every session
                "SET datestyle = 'ISO, MDY'",
                "SET client_min_messages = warning",
            ):
                conn.execute(setting)
        except psycopg.OperationalError as error:
            conn.close()
            raise ConnectionFailed(f"The connection was lost at once: {str(error).strip()}.") from None
        return conn

    def lost(self, error: Exception | None = None) -> bool:
        """Whether the work connection broke (``error``: what it raised); after ``drop`` it is opened anew on next use."""
        return self._conn is None or is_lost(self._conn, error)

    def drop(self) -> None:
        """Forget the work connection."""
        if self._conn is not None and not self._conn.closed:
            self._conn.close()
        self._conn = None

    def connected_again(self, task_id: str = "") -> None:
        """After a loss: forget the old connection and say so on a new one. Raises ConnectionFailed after a while."""
        self.drop()
        self.event("run", "connected again after the connection was lost", task_id=task_id)

    def hold(self, conn: Conn) -> None:
        """Assert inside a transaction that the lease is ours."""
        lease.hold(conn, self.fence)

    @contextlib.contextmanager
    def fenced(self) -> Iterator[Conn]:
        """A transaction on the work connection in which the lease is ours. Raises LeaseLost, and nothing is written."""
        conn = self.conn
        with conn.transaction():
            self.hold(conn)
            yield conn

    def event(self, kind: str, text: str, *, task_id: str = "", actor: str = "", **data: Any) -> None:
        """Write a line to the audit log on the work connection (never inside a task's transaction)."""
        with self.fenced() as conn:
            events.append(conn, self.run_id, kind, text, actor=actor or "pgferry", task_id=task_id, **data)

    def live(self, name: str, payload: Any) -> None:
        """Replace a live fact and wake the consoles."""
        runs.set_live(self.conn, self.run_id, name, payload)
        events.notify(self.conn)

    def mappings(self, ids: tuple[str, ...]) -> tuple[Mapping, ...]:
        """The plan's mappings with these ids."""
        return tuple(self.plan.mapping(id_) for id_ in ids)

    def old_table(self, mapping: Mapping) -> TableName:
        """Where the old table stands now: its own schema, or the archive once it is retired."""
        row = self.conn.execute("SELECT retired FROM pgferry.lead WHERE mapping = %s", (mapping.id,)).fetchone()
        return TableName(self.plan.archive_schema, mapping.old.name) if row and row[0] else mapping.old


LOCK_TRIES, LOCK_PAUSE_S = 20, 0.2


def is_lost(conn: Conn, error: Exception | None = None) -> bool:
    """Whether the connection broke, or ``error`` says that the server is ending it."""
    return conn.closed or conn.broken or isinstance(error, _ENDED)


_ADVICE = (
    (psycopg.errors.DiskFull, "Free space on the server's disk, then resume."),
    (psycopg.errors.OutOfMemory, "Give the server memory, then resume."),
    (psycopg.errors.InsufficientPrivilege, "Grant this role what it lacks, then resume."),
)


def in_words(error: Exception) -> str:
    """An error as sentences for the journal: what happened, the state of things, what to do."""
    if isinstance(error, OSError):
        where = f" ({error.filename})" if error.filename else ""
        return f"The runner's machine refused: {error.strerror}{where}. Mend the cause and resume, or roll back."
    if not isinstance(error, psycopg.Error):
        return plain(str(error)) or type(error).__name__
    lines = [plain(line).strip() for line in str(error).splitlines() if line.strip()]
    what = shorten(lines[0] if lines else type(error).__name__, 300).rstrip(".")
    disk = "The server's disk is full" if isinstance(error, psycopg.errors.DiskFull) else "The server refused"
    do = next(
        (advice for kind, advice in _ADVICE if isinstance(error, kind)), "Mend the cause and resume, or roll back."
    )
    code = f" ({error.sqlstate})" if error.sqlstate else ""
    return f"{disk}{code}: {what}. What was committed stands; nothing half-done is left. {do}"


def retry_lost(session: Session, work: Callable[[], T]) -> T:
    """Run ``work``; when the connection is lost in it, connect again and run it again. It must be safe to repeat.

    Also, ``LOCK_TRIES`` times, where a lock was not to be had: an application empties or changes the table just now.
    """
    tries = 1
    while True:
        try:
            return work()
        except psycopg.errors.LockNotAvailable:
            if tries == LOCK_TRIES:
                raise
            tries += 1
            session.wishes.sleep(LOCK_PAUSE_S)
        except LOST as error:
            if not session.lost(error):
                raise
            session.wishes.check()
            session.connected_again()
