"""The statements of a file, in order, each run exactly once or known not to have been."""

from __future__ import annotations

import time
from collections.abc import Callable

import psycopg

from console.engine import half_done
from console.engine.alone import run_alone
from console.engine.derive import raw
from console.engine.files import sets_session
from console.engine.half_done import HalfDone
from console.engine.locking import Limits, Tally, run_in_transaction
from console.engine.session import LOST, Session, retry_lost
from console.engine.words import failed, words_of
from console.errors import StepFailed
from console.journal import runs
from console.journal.connect import Conn
from console.journal.runs import Place
from console.sql.split import Piece

Closing = Callable[[Conn, bool], None]  # the flag: the statements are rolled back if it raises
LOSSES = 6  # connections lost in one and the same statement: it may be what ends them


def run_pieces(
    session: Session,
    place: Place,
    pieces: tuple[Piece, ...],
    limits: Limits,
    *,
    partial: HalfDone | None = None,
    closing: Closing | None = None,
) -> None:
    """Run a file's statements in order, skipping those already done; groups run in one transaction.

    ``partial``: the way back of a task that stopped half-way, and what of it was not done. ``closing`` writes its
    part in the last transaction; where the last statement runs in none, in one of its own that may come again.
    Raises StepFailed with the task's state known.
    """
    groups = _groups(pieces)
    with_last = bool(groups) and groups[-1][0].transactional
    settled = False
    for group in groups:
        session.wishes.check()
        losses = 0
        while True:
            done = runs.statements(session.conn, place)
            left = [piece for piece in group if done.get(piece.ordinal) not in ("done", "skipped")]
            if not left:
                break
            try:
                if not settled:
                    _set_again(session, pieces, done, left[0].ordinal)
                    settled = True
                if left[0].transactional:
                    last = closing if with_last and group is groups[-1] else None
                    _run_group(session, place, left, limits, partial=partial, closing=last)
                else:
                    run_alone(session, place, left[0], limits, partial=partial)
                break
            except LOST as error:
                # Whether it was committed is in the journal: its row and the statement are one transaction.
                if not session.lost(error):
                    raise
                session.connected_again(place.task_id)
                settled = False
                losses += 1
                if losses == LOSSES:
                    _refuse_more_losses(session, place, left)
    if closing is not None and not with_last:
        retry_lost(session, lambda: _close(session, place, limits, closing))


def _close(session: Session, place: Place, limits: Limits, closing: Closing) -> None:
    run_in_transaction(session, place.task_id, "note the migration", limits, lambda conn: closing(conn, False))


def _set_again(session: Session, pieces: tuple[Piece, ...], done: dict[int, str], before: int) -> None:
    """What the file's statements before this one set for the session is set again: theirs may have been another one."""
    for piece in pieces:
        if piece.ordinal < before and done.get(piece.ordinal) == "done" and sets_session(piece):
            session.conn.execute(raw(piece.sql))


def _refuse_more_losses(session: Session, place: Place, pieces: list[Piece]) -> None:
    """Stop if the statement was not committed all the same by the last attempt."""
    done = runs.statements(session.conn, place)
    if done.get(pieces[0].ordinal) not in ("done", "skipped"):
        what = f"The connection was lost {LOSSES} times in {words_of(pieces[0])}."
        for piece in pieces:
            runs.statement_status(session.conn, place, piece.ordinal, "failed", error=what)
        raise StepFailed(
            what,
            state="It was rolled back each time; the statements before it stand.",
            do="See the server's log for why it ended the session, then resume.",
        ) from None


def _groups(pieces: tuple[Piece, ...]) -> list[list[Piece]]:
    groups: list[list[Piece]] = []
    for piece in pieces:
        if groups and piece.group is not None and groups[-1][0].group == piece.group:
            groups[-1].append(piece)
        else:
            groups.append([piece])
    return groups


def _run_group(
    session: Session,
    place: Place,
    pieces: list[Piece],
    limits: Limits,
    *,
    partial: HalfDone | None,
    closing: Closing | None,
) -> None:
    for piece in pieces:
        runs.statement_begun(session.conn, place, piece.ordinal, piece.sql)
    tally = Tally()
    became: dict[int, str] = {}

    def work(conn: Conn) -> None:
        for piece in pieces:
            start = time.monotonic()
            became[piece.ordinal] = half_done.execute(conn, piece, partial)
            ms = (time.monotonic() - start) * 1000
            runs.statement_status(
                conn,
                place,
                piece.ordinal,
                became[piece.ordinal],
                ms=ms,
                lock_wait_ms=tally.waited_ms,
                attempts=tally.attempts,
            )
        if closing is not None:
            closing(conn, True)

    def waiting(tally: Tally) -> None:
        for piece in pieces:
            runs.statement_waits(session.conn, place, piece.ordinal, tally.waited_ms, tally.attempts)

    what = words_of(pieces[0])
    try:
        run_in_transaction(session, place.task_id, what, limits, work, tally, waiting)
    except StepFailed as error:
        for piece in pieces:
            runs.statement_status(
                session.conn, place, piece.ordinal, "failed", error=error.what, lock_wait_ms=tally.waited_ms,
                attempts=tally.attempts,
            )  # fmt: skip
        raise
    except psycopg.Error as error:
        if session.lost(error):
            raise
        raise failed(session, place, pieces, error) from None
    waited = f" after {tally.attempts} attempts" if tally.attempts > 1 else ""
    for piece in pieces:
        if became.get(piece.ordinal) == "skipped":
            session.event("ddl", f"passed over, never made: {words_of(piece)}", task_id=place.task_id)
    session.event("ddl", f"{what}: {tally.ms:.0f} ms{waited}", task_id=place.task_id)
