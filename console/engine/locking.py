"""Work under lock_timeout, tried again with growing waits: never long at the head of a lock queue, never for ever."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import psycopg

from console.engine import blockers
from console.engine.session import Session
from console.errors import StepFailed
from console.journal.connect import Conn
from console.text import plain, shorten

ATTEMPTS = 60
LIMIT_SECONDS = 1800.0
FIRST_LOCK_TIMEOUT_MS = 50  # usual writers end sooner; what queues behind a vain attempt waits no longer
FIRST_WAIT_S = 0.1
LONGEST_WAIT_S = 20.0
GROWTH = 1.5
BUILD_LOCK_TIMEOUT_MS = 1_800_000

AGAIN = (
    psycopg.errors.LockNotAvailable,  # 55P03
    psycopg.errors.DeadlockDetected,  # 40P01
    psycopg.errors.SerializationFailure,  # 40001
)


@dataclass(frozen=True, slots=True)
class Limits:
    """Timeouts of a task's statements in milliseconds; a statement_timeout of 0 means none.

    ``build_lock_timeout_ms`` is for concurrent index builds alone: they block nobody while they wait for older
    transactions, and a short limit leaves them INVALID again and again.
    """

    lock_timeout_ms: int
    statement_timeout_ms: int
    build_lock_timeout_ms: int = BUILD_LOCK_TIMEOUT_MS


@dataclass
class Tally:
    """Attempts so far, the time lost in those that failed and the time of the last one, in milliseconds."""

    attempts: int = 0
    waited_ms: float = 0.0
    ms: float = 0.0


@dataclass
class Patience:
    """How often and how long a step is tried; the waits between grow and are spread by chance."""

    attempts: int = field(default_factory=lambda: ATTEMPTS)
    seconds: float = LIMIT_SECONDS
    wait_s: float = field(default_factory=lambda: FIRST_WAIT_S)

    def __post_init__(self) -> None:
        self._began = time.monotonic()

    def is_over(self, tally: Tally) -> bool:
        """Whether there is no further attempt."""
        return tally.attempts >= self.attempts or time.monotonic() - self._began > self.seconds

    def next_wait(self) -> float:
        """Seconds until the next attempt."""
        pause = self.wait_s * random.uniform(0.7, 1.3)  # noqa: S311 - jitter, not a secret
        self.wait_s = min(self.wait_s * GROWTH, LONGEST_WAIT_S)
        return pause


def run_in_transaction(
    session: Session,
    task_id: str,
    what: str,
    limits: Limits,
    work: Callable[[Conn], None],
    tally: Tally | None = None,
    waiting: Callable[[Tally], None] | None = None,
) -> None:
    """Run ``work`` in one transaction under lock_timeout, again and again with growing waits until it gets its locks.

    There is no last attempt without a timeout. A lost connection is not retried here: whether the work was
    committed is for the caller to find out. ``waiting`` is told before each wait for another attempt. Raises
    StepFailed when the attempts or the time are used up, or when an operator cancelled it.
    """
    tally = tally or Tally()
    patience = Patience()
    with session.step.open(task_id, what):
        while True:
            session.wishes.check()
            tally.attempts += 1
            start = time.monotonic()
            try:
                _attempt(session, lock_timeout_of(tally.attempts, limits), limits.statement_timeout_ms, work)
                tally.ms = (time.monotonic() - start) * 1000
                return
            except psycopg.Error as error:
                if session.lost(error):
                    raise
                refuse_cancelled(
                    session.step.cancelled_by,
                    what,
                    error,
                    state="Nothing of it was done; the statements before it stand.",
                )
                if not is_in_the_way(session, error):
                    raise
                tally.waited_ms += (time.monotonic() - start) * 1000
                stand_aside(session, task_id, what, limits.lock_timeout_ms, patience, tally, error, waiting)


def _attempt(session: Session, lock_timeout_ms: int, statement_timeout_ms: int, work: Callable[[Conn], None]) -> None:
    conn = session.conn
    with conn.transaction():
        # The server is asked for its pid: behind a pooler in session mode the client's side has another one.
        row = conn.execute(
            "SELECT pg_backend_pid(), set_config('lock_timeout', %s, true), set_config('statement_timeout', %s, true)",
            (str(lock_timeout_ms), str(statement_timeout_ms)),
        ).fetchone()
        assert row is not None
        session.hold(conn)
        with session.step.attempt(row[0], gives_way=True):
            work(conn)


def is_in_the_way(session: Session, error: psycopg.Error) -> bool:
    """Whether somebody else was in the way, so that the same may be tried again; nothing was done then."""
    gave_way = isinstance(error, psycopg.errors.QueryCanceled) and session.step.gave_way_to > 0
    return gave_way or isinstance(error, AGAIN)


def refuse_cancelled(actor: str, what: str, error: psycopg.Error, *, state: str) -> None:
    """Raise StepFailed if an operator, ``actor``, asked for the statement's end and got it."""
    if actor and isinstance(error, (psycopg.errors.QueryCanceled, *AGAIN)):
        raise StepFailed(
            f"{what}: cancelled by {actor}.", state=state, do="Resume runs it again, or roll back."
        ) from None


def stand_aside(
    session: Session,
    task_id: str,
    what: str,
    lock_timeout_ms: int,
    patience: Patience,
    tally: Tally,
    error: psycopg.Error,
    waiting: Callable[[Tally], None] | None = None,
) -> None:
    """Say who was in the way and wait for the next attempt. Raises StepFailed when there is none."""
    step = session.step
    why = _why(session, error)
    if patience.is_over(tally):
        raise StepFailed(
            f"{what} did not get its lock in {tally.attempts} attempts of up to {lock_timeout_ms} ms: {why}.",
            state="Nothing of it was done; no lock is held.",
            do="See Activity for who is in the way, then resume.",
        ) from None
    pause = patience.next_wait()
    seen = step.seen
    session.event(
        "lock",
        f"{what}: {why}; stood aside after attempt {tally.attempts}, next in {pause:.1f} s",
        task_id=task_id,
        attempt=tally.attempts,
        behind=seen.behind if seen else 0,
        sessions=[
            [item.pid, item.application, item.role, round(item.age_s)]
            for item in (seen.sessions if seen else ())
            if item.role != blockers.OURS
        ],
    )
    if waiting is not None:
        waiting(tally)
    session.wishes.sleep(pause)


def _why(session: Session, error: psycopg.Error) -> str:
    step = session.step
    if isinstance(error, psycopg.errors.DeadlockDetected):
        return "deadlock"
    if isinstance(error, psycopg.errors.SerializationFailure):
        return "changed by another transaction" if error.diag.message_primary else str(error)
    behind = step.gave_way_to or (step.seen.behind if step.seen else 0)
    return f"{blockers.in_the_way_words(step.seen)}; {blockers.behind_words(behind)}"


def lock_timeout_of(attempt: int, limits: Limits) -> int:
    """Milliseconds that the ``attempt``-th try (from 1) may wait for a lock: short first, doubled up to the task's own.

    Whoever comes after us queues behind us for so long, and an autovacuum in the way gives way to nobody who waits
    less than deadlock_timeout: a long first wait would stall applications for nothing.
    """
    return min(limits.lock_timeout_ms, FIRST_LOCK_TIMEOUT_MS << min(attempt - 1, 20))


def short(error: psycopg.Error) -> str:
    """The server's first line, safe and short."""
    return shorten(plain(str(error).splitlines()[0] if str(error) else type(error).__name__), 200)
