"""Statements that cannot run in a transaction: concurrent index builds, VACUUM, CREATE DATABASE and the like.

The journal cannot be written together with such a statement. So after a death in the middle the database is asked
whether it was done, and what it left behind is removed before it runs again.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import postgast
import psycopg
from psycopg import sql

from console.engine import leftovers
from console.engine.derive import raw
from console.engine.half_done import NEVER_MADE, HalfDone
from console.engine.leftovers import Build, Detach, Index, Rebuild, Work
from console.engine.locking import (
    Limits,
    Patience,
    Tally,
    is_in_the_way,
    refuse_cancelled,
    run_in_transaction,
    stand_aside,
)
from console.engine.session import Session
from console.engine.words import failed, words_of
from console.errors import StepFailed
from console.journal import runs
from console.journal.connect import Conn
from console.journal.runs import Place
from console.journal.settle import LOCK_TIMEOUT
from console.sql.nodes import which
from console.sql.split import Piece

BUILD_ATTEMPTS = 5
BUILD_FIRST_WAIT_S = 1.0
SWEEP_LOCK_TIMEOUT_MS = 5000  # how long dropping the leftover of a failed build may wait, before it is left to resume

_THERE_ALREADY = (psycopg.errors.DuplicateObject, psycopg.errors.DuplicateDatabase)
_GONE_ALREADY = (psycopg.errors.UndefinedObject, psycopg.errors.UndefinedTable, psycopg.errors.InvalidCatalogName)


@dataclass
class _Job:
    """One statement outside a transaction; ``status`` is what the journal said of it before, empty for nothing."""

    session: Session
    place: Place
    piece: Piece
    limits: Limits
    partial: HalfDone | None
    node: Any
    work: Work
    status: str
    before: str
    tally: Tally = field(default_factory=Tally)

    @property
    def conn(self) -> Conn:
        return self.session.conn

    @property
    def what(self) -> str:
        return words_of(self.piece)

    @property
    def unsure(self) -> bool:
        """Whether an earlier execution may have done it: it began, and its end was never heard of."""
        return self.status == "running"

    @property
    def waits(self) -> bool:
        return leftovers.waits_for_transactions(self.node)

    @property
    def lock_timeout_ms(self) -> int:
        return self.limits.build_lock_timeout_ms if self.waits else self.limits.lock_timeout_ms

    def broken(self) -> list[Index]:
        """INVALID indexes that this statement left behind, now or earlier."""
        if isinstance(self.work, Build):
            return self.work.broken(self.conn, self.before)
        if isinstance(self.work, Rebuild) and (self.status or self.tally.attempts > 1):
            return self.work.broken(self.conn)
        return []

    def begins(self) -> None:
        with self.session.fenced() as conn:
            runs.statement_begun(conn, self.place, self.piece.ordinal, self.piece.sql, before=self.before)

    def ends(self, status: str, error: str = "") -> None:
        tally = self.tally
        with self.session.fenced() as conn:
            runs.statement_status(
                conn, self.place, self.piece.ordinal, status, ms=tally.ms, lock_wait_ms=tally.waited_ms, error=error,
                attempts=tally.attempts,
            )  # fmt: skip

    def waiting(self, tally: Tally) -> None:
        runs.statement_waits(self.conn, self.place, self.piece.ordinal, tally.waited_ms, tally.attempts)


def run_alone(session: Session, place: Place, piece: Piece, limits: Limits, *, partial: HalfDone | None) -> None:
    """Run the statement until it is done, or known not to be.

    A concurrent build has a lock_timeout of its own: it blocks nobody while it waits for older transactions, and a
    short limit only breaks it (measured: 200 ms behind an open writer leaves an INVALID index). It still is in
    bounds: a build that died is dropped and built again, ``BUILD_ATTEMPTS`` times in all. Raises StepFailed.
    """
    node = postgast.parse(piece.sql).stmts[0].stmt
    status = runs.statements(session.conn, place).get(piece.ordinal, "")
    if status == "running" and leftovers.end_orphans(session):
        session.event("ddl", f"ended what a runner before still did: {words_of(piece)}", task_id=place.task_id)
    work = leftovers.of(node)
    before = runs.statement_before(session.conn, place, piece.ordinal)
    if before is None:
        before = work.before(session.conn) if isinstance(work, Build) else ""
    job = _Job(session, place, piece, limits, partial, node, work, status, before)
    if isinstance(work, Detach):
        _detach(job, work)
    else:
        _tell(job, _until_done(job))


def _tell(job: _Job, done: bool | None) -> None:
    if done is None:
        job.ends("skipped", "never made")
        job.session.event("ddl", f"passed over, never made: {job.what}", task_id=job.place.task_id)
        return
    job.ends("done")
    tries = f" after {job.tally.attempts} attempts" if job.tally.attempts > 1 else ""
    how = (
        f"{job.tally.ms:.0f} ms{tries}, outside a transaction" if done else "had been done before its end was heard of"
    )
    job.session.event("ddl", f"{job.what}: {how}", task_id=job.place.task_id)


def _until_done(job: _Job) -> bool | None:
    """As ``_attempt``, tried again where another session was in the way."""
    session, tally = job.session, job.tally
    builds = Patience(attempts=BUILD_ATTEMPTS, seconds=float("inf"), wait_s=BUILD_FIRST_WAIT_S)
    patience = builds if job.waits else Patience()
    with session.step.open(job.place.task_id, job.what):
        while True:
            session.wishes.check()
            session.hold(job.conn)
            tally.attempts += 1
            start = time.monotonic()
            try:
                done = _attempt(job)
                tally.ms = (time.monotonic() - start) * 1000
                return done
            except psycopg.Error as error:
                if session.lost(error):
                    raise
                _refuse_what_stays_wrong(job, error)
                tally.waited_ms += (time.monotonic() - start) * 1000
                if isinstance(job.work, Detach) and job.work.state(job.conn) == "pending":
                    return False
                try:
                    stand_aside(
                        session, job.place.task_id, job.what, job.lock_timeout_ms, patience, tally, error, job.waiting
                    )
                except StepFailed as end:
                    job.ends("failed", end.what)
                    raise StepFailed(end.what, state=_left_behind(job), do=end.do) from None


def _attempt(job: _Job) -> bool | None:
    """Run it once: True when done now, False when it was done before, None when there was nothing to undo.

    Raises psycopg.Error, StepFailed.
    """
    if isinstance(job.work, Build) and job.unsure:
        found = job.work.found(job.conn, job.before)
        if found and all(index.valid for index in found):
            return False
    for index in job.broken():
        _drop(job, index, job.limits.build_lock_timeout_ms)
    job.begins()
    kind = which(job.node)
    try:
        _execute(job.session, raw(job.piece.sql), job.lock_timeout_ms, job.limits.statement_timeout_ms)
    except (*_GONE_ALREADY, *NEVER_MADE) as error:
        if job.unsure and kind.startswith("drop") and isinstance(error, _GONE_ALREADY):
            return False
        if job.partial and job.partial.covers(job.piece.sql):
            return None
        raise
    except _THERE_ALREADY:
        if job.unsure and kind.startswith("create"):
            return False
        raise
    if isinstance(job.work, Build) and (broken := job.broken()):
        raise _Invalid(f"it ended, but the index {broken[0].name} is INVALID")
    return True


class _Invalid(psycopg.errors.SerializationFailure):
    """A build the server reported as done and the catalogue does not (IF NOT EXISTS met a broken one): once more."""


def _execute(
    session: Session, statement: sql.SQL | sql.Composed, lock_timeout_ms: int, statement_timeout_ms: int
) -> None:
    """Run one statement under its own timeouts; the session's are as before afterwards, whatever happens."""
    conn = session.conn
    set_both = (
        "SELECT pg_backend_pid(), set_config('lock_timeout', %s, false), set_config('statement_timeout', %s, false)"
    )
    row = conn.execute(set_both, (str(lock_timeout_ms), str(statement_timeout_ms))).fetchone()
    assert row is not None
    try:
        with session.step.attempt(row[0], gives_way=False):
            conn.execute(statement)
    finally:
        if not session.lost():
            conn.execute(set_both, (LOCK_TIMEOUT, "0"))


def _drop(job: _Job, index: Index, lock_timeout_ms: int) -> None:
    words = f"dropping the INVALID index {index.name}, left by a build that died"
    job.session.event("ddl", words, task_id=job.place.task_id)
    _execute(job.session, leftovers.drop_statement(index), lock_timeout_ms, 0)


def _refuse_what_stays_wrong(job: _Job, error: psycopg.Error) -> None:
    """Return only where the statement may be tried again. Raises StepFailed, saying what is left of it."""
    actor = job.session.step.cancelled_by
    if is_in_the_way(job.session, error) and not actor:
        return
    state = _left_behind(job)
    try:
        refuse_cancelled(actor, job.what, error, state=state)
    except StepFailed as end:
        job.ends("failed", end.what)
        raise
    raise failed(job.session, job.place, [job.piece], error, state=state) from None


def _left_behind(job: _Job) -> str:
    """Remove what a failed execution left, if that is quickly done; says what is left then.

    It is not only tidy: an INVALID unique index can go on refusing the applications' writes.
    """
    stand = "the statements before it stand"
    name = ""
    try:
        for index in job.broken():
            name = index.name
            _drop(job, index, min(SWEEP_LOCK_TIMEOUT_MS, job.limits.build_lock_timeout_ms))
    except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected, psycopg.errors.QueryCanceled):
        return f"The INVALID index {name} is left, which no query uses: resume or roll back drops it; {stand}."
    except StepFailed as error:
        return error.what
    kind = which(job.node)
    if isinstance(job.work, Detach) and job.work.state(job.conn) == "pending":
        return f"The partition is half detached, resume finishes it; {stand}."
    if kind == "drop_stmt":
        return f"The index may be INVALID now, resume goes on dropping it; {stand}."
    if kind in ("vacuum_stmt", "cluster_stmt") or (kind == "reindex_stmt" and not job.work):
        return f"What it had finished is kept, and it can be repeated; {stand}."
    return f"Nothing of it is left; {stand}."


def _detach(job: _Job, work: Detach) -> None:
    """Detach a partition; what stopped half-way is finished under the short lock_timeout.

    Both halves keep to it: the second one needs ACCESS EXCLUSIVE on the partition, with its readers behind.
    """
    if work.state(job.conn) == "detached" and job.status in ("running", "waiting for a lock"):
        _tell(job, False)
        return
    if work.state(job.conn) == "attached" and _until_done(job):
        _tell(job, True)
        return
    job.begins()
    what = f"finish {job.what}"
    try:
        run_in_transaction(job.session, job.place.task_id, what, job.limits, work.finish, job.tally, job.waiting)
    except StepFailed as error:
        job.ends("failed", error.what)
        raise StepFailed(error.what, state=_left_behind(job), do=error.do) from None
    except psycopg.Error as error:
        if job.session.lost(error):
            raise
        raise failed(job.session, job.place, [job.piece], error, state=_left_behind(job)) from None
    _tell(job, True)
