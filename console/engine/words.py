"""A statement that is run, and its failure, in words."""

from __future__ import annotations

import psycopg

from console.engine.locking import short
from console.engine.session import Session
from console.errors import StepFailed
from console.journal import runs
from console.journal.runs import Place
from console.sql.split import Piece
from console.text import plain, shorten

ROLLED_BACK = "It was rolled back; the statements before it stand."


def words_of(piece: Piece) -> str:
    """The beginning of a statement, on one line."""
    return shorten(" ".join(plain(piece.sql.strip()).split()), 60)


def failed(
    session: Session, place: Place, pieces: list[Piece], error: psycopg.Error, *, state: str = ROLLED_BACK
) -> StepFailed:
    """Mark the statements as failed; returns what to raise."""
    for piece in pieces:
        runs.statement_status(session.conn, place, piece.ordinal, "failed", error=short(error))
    return StepFailed(
        f"{words_of(pieces[0])} failed ({error.sqlstate}): {short(error)}.",
        state=state,
        do="Mend the cause and resume, or roll back.",
    )
