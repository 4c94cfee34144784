"""Statements that lock tables: never long at the head of a lock queue, each run exactly once."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import postgast
import psycopg
from psycopg import sql

from console.engine.derive import raw
from console.engine.session import LOST, Session
from console.errors import StepFailed
from console.journal import runs
from console.journal.connect import Conn
from console.journal.runs import Place
from console.sql.split import Piece
from console.text import plain, shorten

ATTEMPTS = 60
LIMIT_SECONDS = 1800.0
FIRST_WAIT_S = 0.1
LONGEST_WAIT_S = 20.0
GROWTH = 1.5

_AGAIN = (
    psycopg.errors.LockNotAvailable,  # 55P03
    psycopg.errors.DeadlockDetected,  # 40P01
    psycopg.errors.SerializationFailure,  # 40001
)
_NEVER_MADE = (
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedObject,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.UndefinedFunction,
    psycopg.errors.InvalidSchemaName,
)


@dataclass(frozen=True, slots=True)
class Limits:
    """Timeouts of a task's statements in milliseconds; 0 means none."""

    lock_timeout_ms: int
    statement_timeout_ms: int


@dataclass
class _Tally:
    attempts: int = 0
    waited_ms: float = 0.0
    ms: float = 0.0


def run_in_transaction(
    session: Session, task_id: str, what: str, limits: Limits, work: Callable[[Conn], None], tally: _Tally | None = None
) -> None:
    """Run ``work`` in one transaction under lock_timeout, again and again with growing waits until it gets its locks.

    There is no last attempt without a timeout. A lost connection is not retried here: whether the work was
    committed is for the caller to find out. Raises StepFailed when the attempts or the time are used up.
    """
    tally = tally or _Tally()
    began = time.monotonic()
    wait = FIRST_WAIT_S
    while True:
        session.wishes.check()
        conn = session.conn
        tally.attempts += 1
        session.wishes.watch_pid = conn.info.backend_pid
        start = time.monotonic()
        try:
            with conn.transaction():
                conn.execute(raw(f"SET LOCAL lock_timeout = {int(limits.lock_timeout_ms)}"))
                conn.execute(raw(f"SET LOCAL statement_timeout = {int(limits.statement_timeout_ms)}"))
                session.hold(conn)
                work(conn)
            tally.ms = (time.monotonic() - start) * 1000
            return
        except _AGAIN as error:
            tally.waited_ms += (time.monotonic() - start) * 1000
            if tally.attempts >= ATTEMPTS or time.monotonic() - began > LIMIT_SECONDS:
                raise StepFailed(
                    f"{what} did not get its lock in {tally.attempts} attempts of {limits.lock_timeout_ms} ms: "
                    f"{_short(error)}.",
                    state="Nothing of it was done; no lock is held.",
                    do="See Activity for who blocks it, then resume.",
                ) from None
            pause = wait * random.uniform(0.7, 1.3)  # noqa: S311 - jitter, not a secret
            session.event(
                "lock", f"{what}: {_why(error)}; attempt {tally.attempts}, next in {pause:.1f} s", task_id=task_id
            )
            session.wishes.sleep(pause)
            wait = min(wait * GROWTH, LONGEST_WAIT_S)
        finally:
            session.wishes.watch_pid = 0


def _why(error: psycopg.Error) -> str:
    if isinstance(error, psycopg.errors.LockNotAvailable):
        return "another session holds the lock, stood aside"
    if isinstance(error, psycopg.errors.DeadlockDetected):
        return "deadlock, stood aside"
    return "changed by another transaction"


def _short(error: psycopg.Error) -> str:
    return shorten(plain(str(error).splitlines()[0] if str(error) else type(error).__name__), 200)


def run_pieces(
    session: Session, place: Place, pieces: tuple[Piece, ...], limits: Limits, *, partial: bool = False
) -> None:
    """Run a file's statements in order, skipping those already done; groups run in one transaction.

    ``partial``: the way back of a task that stopped half-way; what was never made is passed over.
    Raises StepFailed with the task's state known.
    """
    for group in _groups(pieces):
        session.wishes.check()
        while True:
            done = runs.statements(session.conn, place)
            left = [piece for piece in group if done.get(piece.ordinal) not in ("done", "skipped")]
            if not left:
                break
            try:
                if left[0].transactional:
                    _run_group(session, place, left, limits, partial=partial)
                else:
                    _run_alone(session, place, left[0], limits, partial=partial)
                break
            except LOST as error:
                # Whether it was committed is in the journal: its row and the statement are one transaction.
                if not session.lost(error):
                    raise
                session.connected_again(place.task_id)


def _groups(pieces: tuple[Piece, ...]) -> list[list[Piece]]:
    groups: list[list[Piece]] = []
    for piece in pieces:
        if groups and piece.group is not None and groups[-1][0].group == piece.group:
            groups[-1].append(piece)
        else:
            groups.append([piece])
    return groups


def _run_group(session: Session, place: Place, pieces: list[Piece], limits: Limits, *, partial: bool) -> None:
    for piece in pieces:
        runs.statement_begun(session.conn, place, piece.ordinal, piece.sql)
    tally = _Tally()

    def work(conn: Conn) -> None:
        for piece in pieces:
            start = time.monotonic()
            conn.execute(raw(piece.sql))
            ms = (time.monotonic() - start) * 1000
            runs.statement_status(
                conn, place, piece.ordinal, "done", ms=ms, lock_wait_ms=tally.waited_ms, attempts=tally.attempts
            )

    what = _what(pieces[0])
    try:
        run_in_transaction(session, place.task_id, what, limits, work, tally)
    except _NEVER_MADE as error:
        if not partial:
            raise _failed(session, place, pieces, error) from None
        for piece in pieces:
            runs.statement_status(session.conn, place, piece.ordinal, "skipped", error=_short(error))
        session.event("ddl", f"passed over, never made: {what}", task_id=place.task_id)
        return
    except psycopg.Error as error:
        if session.lost(error):
            raise
        raise _failed(session, place, pieces, error) from None
    waited = f" after {tally.attempts} attempts" if tally.attempts > 1 else ""
    session.event("ddl", f"{what}: {tally.ms:.0f} ms{waited}", task_id=place.task_id)


def _failed(session: Session, place: Place, pieces: list[Piece], error: psycopg.Error) -> StepFailed:
    for piece in pieces:
        runs.statement_status(session.conn, place, piece.ordinal, "failed", error=_short(error))
    return StepFailed(
        f"{_what(pieces[0])} failed ({error.sqlstate}): {_short(error)}.",
        state="It was rolled back; the statements before it stand.",
        do="Mend the cause and resume, or roll back.",
    )


def _what(piece: Piece) -> str:
    first = plain(piece.sql.strip())
    return shorten(" ".join(first.split()), 60)


def _run_alone(session: Session, place: Place, piece: Piece, limits: Limits, *, partial: bool) -> None:
    """A statement that cannot run in a transaction: a concurrent build, VACUUM and the like.

    Such a build gets no short lock_timeout: it would only break it, and it blocks nobody while it waits
    (measured: a 200 ms limit behind an open writer leaves an INVALID index).
    """
    conn = session.conn
    index = _index_of(piece.sql)
    died_before = runs.statements(conn, place).get(piece.ordinal) == "running"
    if index is not None and _clear_index(session, place, index):
        runs.statement_begun(conn, place, piece.ordinal, piece.sql)
        runs.statement_status(conn, place, piece.ordinal, "done")
        return
    runs.statement_begun(conn, place, piece.ordinal, piece.sql)
    session.wishes.watch_pid = conn.info.backend_pid
    start = time.monotonic()
    try:
        conn.execute("SET lock_timeout = 0")
        conn.execute(raw(f"SET statement_timeout = {int(limits.statement_timeout_ms)}"))
        conn.execute(raw(piece.sql))
    except _NEVER_MADE as error:
        if not partial and not died_before:
            raise _failed(session, place, [piece], error) from None
        runs.statement_status(conn, place, piece.ordinal, "skipped", error=_short(error))
        return
    except psycopg.Error as error:
        if session.lost(error):
            raise
        raise _failed(session, place, [piece], error) from None
    finally:
        session.wishes.watch_pid = 0
        if not session.lost():
            conn.execute("SET lock_timeout = '1s'")
            conn.execute("SET statement_timeout = 0")
    ms = (time.monotonic() - start) * 1000
    if index is not None and not _is_valid(conn, index):
        runs.statement_status(conn, place, piece.ordinal, "failed", error="the index is INVALID")
        raise StepFailed(f"{_what(piece)} left an INVALID index.", do="Resume: it is dropped and built again.")
    runs.statement_status(conn, place, piece.ordinal, "done", ms=ms, attempts=1)
    session.event("ddl", f"{_what(piece)}: {ms:.0f} ms, outside a transaction", task_id=place.task_id)


def _index_of(statement: str) -> tuple[str | None, str] | None:
    """(schema, name) of the index a CREATE INDEX CONCURRENTLY makes, None for anything else."""
    node = postgast.parse(statement).stmts[0].stmt
    if node.WhichOneof("node") != "index_stmt" or not node.index_stmt.idxname:
        return None
    return node.index_stmt.relation.schemaname or None, node.index_stmt.idxname


_FIND_INDEX = (
    "SELECT n.nspname, i.indisvalid AND i.indisready FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
    " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relname = %(name)s"
    " AND n.nspname = coalesce(%(schema)s, n.nspname) AND n.nspname = ANY (current_schemas(false) || %(schema)s::text)"
)


def _is_valid(conn: Conn, index: tuple[str | None, str]) -> bool:
    row = conn.execute(_FIND_INDEX, {"schema": index[0], "name": index[1]}).fetchone()
    return bool(row and row[1])


def _clear_index(session: Session, place: Place, index: tuple[str | None, str]) -> bool:
    """Whether a valid index of ours is already there; a broken one, left by a build that died, is dropped."""
    begun = runs.statements(session.conn, place)
    row = session.conn.execute(_FIND_INDEX, {"schema": index[0], "name": index[1]}).fetchone()
    if row is None:
        return False
    if row[1]:
        return any(status in ("running", "failed") for status in begun.values())
    session.event("ddl", f"dropping the INVALID index {index[1]}, left by a build that died", task_id=place.task_id)
    session.conn.execute("SET lock_timeout = 0")
    session.conn.execute(sql.SQL("DROP INDEX CONCURRENTLY {}").format(sql.Identifier(row[0], index[1])))
    return False
