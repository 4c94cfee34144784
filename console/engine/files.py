"""The statements of a plan's files, as its layout says they run."""

from __future__ import annotations

from console.errors import PlanError
from console.plan.model import SourceFile
from console.sql.analyse import read_file
from console.sql.model import Statement
from console.sql.split import Piece, split


def pieces(file: SourceFile, *, accept_unknown: bool = False) -> tuple[Piece, ...]:
    """The executable statements of the file. Raises PlanError, with file and line, for what cannot be carried out.

    ``accept_unknown``: the task accepts statements that PostgreSQL's grammar does not know.
    """
    if file.fault:
        raise PlanError(file.fault, file=file.path, line=file.fault_line)
    return split(file.text, file.path, file.transactions, accept_unknown=accept_unknown)


def statements(file: SourceFile, *, server_major: int = 18, second_reader: bool = True) -> tuple[Statement, ...]:
    """The facts of every statement of the file. Never raises."""
    return read_file(
        file.text, file.path, server_major=server_major, transactions=file.transactions, second_reader=second_reader
    )


def sets_session(piece: Piece) -> bool:
    """Whether the statement may change settings that outlast its transaction: search_path, role, timeouts."""
    return piece.kind in ("SET", "RESET", "DISCARD") or "set_config" in piece.sql.lower()
