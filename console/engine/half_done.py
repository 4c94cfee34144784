"""The way back of a file of statements that stopped half-way: what was never made is passed over, nothing else.

Which statements were done is in the journal. A statement of the way back may find nothing to undo only if it names
something that a statement names which was not done; else it fails as ever.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import postgast
import psycopg
from postgast import pg_query_pb2 as pb

from console.engine.derive import raw
from console.journal.connect import Conn
from console.sql.split import Piece

NEVER_MADE = (
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedObject,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.UndefinedFunction,
    psycopg.errors.InvalidSchemaName,
)
STILL_THERE = (  # the statement that took it away was not done
    psycopg.errors.DuplicateTable,
    psycopg.errors.DuplicateObject,
    psycopg.errors.DuplicateColumn,
    psycopg.errors.DuplicateFunction,
    psycopg.errors.DuplicateSchema,
)
# Words of the grammar that stand in most statements, and the schema that names nothing by itself.
_NO_NAMES = frozenset(
    """add alter begin by cascade comment commit constraints data delete disable drop enable escape exists first function
    generated if include increment index insert instead is key language materialized name no of off on only option
    owned owner policy procedure public rename replace restrict returns role rule schema sequence sequences set sql
    start statement statistics storage stored temp text trigger truncate type unlogged update valid validate value view
    with without""".split()  # noqa: SIM905 - a list of eighty words is for reading
)
_DROPS_PART = (pb.AT_DropColumn, pb.AT_DropConstraint)


@dataclass(frozen=True, slots=True)
class HalfDone:
    """A task of which not every statement was done; ``names`` are all that stand in those that were not."""

    names: frozenset[str]

    def covers(self, sql: str) -> bool:
        """Whether a statement of the way back may find nothing to undo."""
        return not self.names.isdisjoint(_names(sql))


def half_done(pieces: tuple[Piece, ...], statuses: dict[int, str]) -> HalfDone | None:
    """What was not done of a task's statements, by their status in the journal; None when all of them were."""
    left = [piece.sql for piece in pieces if statuses.get(piece.ordinal) != "done"]
    return HalfDone(frozenset().union(*(_names(sql) for sql in left))) if left else None


def _names(sql: str) -> frozenset[str]:
    """The identifiers in a statement."""
    data = sql.encode()
    try:
        tokens = postgast.scan(sql).tokens
    except postgast.PgQueryError:  # accepted as it stands: not even its words are PostgreSQL's
        return frozenset(re.findall(r"\w+", sql.lower())) - _NO_NAMES
    found = [
        data[token.start : token.end].decode()
        for token in tokens
        if token.token in (pb.IDENT, pb.UIDENT) or token.keyword_kind == pb.UNRESERVED_KEYWORD
    ]
    words = {word[1:-1].replace('""', '"') if word.startswith('"') else word.lower() for word in found}
    return frozenset(words - _NO_NAMES)


def execute(conn: Conn, piece: Piece, half: HalfDone | None) -> str:
    """Run one statement in the transaction that is open; "done", or "skipped" if a way back found nothing to undo.

    Of what a statement drops, the parts that were never made are passed over and the others go.
    """
    if half is None:
        conn.execute(raw(piece.sql))
        return "done"
    try:
        with conn.transaction():
            conn.execute(raw(piece.sql))
        return "done"
    except (*NEVER_MADE, *STILL_THERE):
        if not half.covers(piece.sql):
            raise
    parts = _tolerant(piece.sql)
    if parts is None:
        return "skipped"
    try:
        with conn.transaction():
            conn.execute(raw(parts))
    except NEVER_MADE:  # the table itself was never made
        return "skipped"
    return "done"


def _tolerant(sql: str) -> str | None:
    """A DROP of several things with IF EXISTS for each, None for a statement that takes no part-way form."""
    tree = postgast.parse(sql)
    stmt = tree.stmts[0].stmt
    kind = stmt.WhichOneof("node")
    if kind == "drop_stmt" and len(stmt.drop_stmt.objects) > 1:
        stmt.drop_stmt.missing_ok = True
    elif kind == "alter_table_stmt" and len(stmt.alter_table_stmt.cmds) > 1:
        commands = [node.alter_table_cmd for node in stmt.alter_table_stmt.cmds]
        if any(command.subtype not in _DROPS_PART for command in commands):
            return None
        for command in commands:
            command.missing_ok = True
    else:
        return None
    return str(postgast.deparse(tree))
