"""A file of SQL as the statements PostgreSQL would see, each with its line and its transaction block.

PostgreSQL's own grammar decides where a statement ends. Positions inside it are bytes; everything here is characters.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import postgast
from google.protobuf.message import DecodeError
from postgast import pg_query_pb2 as pb

from console.errors import PlanError
from console.sql.grammar import TooDeep, parse
from console.sql.grouping import one_transaction
from console.sql.hazards.allow import accepts_unknown
from console.sql.kinds import UNKNOWN, kind_of, transactional
from console.sql.nodes import inner, which
from console.sql.psql import SPACE, Clean, clean, psql_variable, skip_blank
from console.text import plain, shorten
from console.transactions import Transactions

_COMPOUND = re.compile(r"\bbegin\s+atomic\b|\bcreate\s+(?:or\s+replace\s+)?rule\b", re.IGNORECASE)
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_COMPOUND_LIMIT = 200  # semicolons tried inside one routine body or rule
_COMPOUND_LENGTH = 200_000  # characters
_TOO_DEEP = "PostgreSQL accepts it, but it is nested too deeply to be analysed here"
_NOT_ACCEPTED = "PostgreSQL's grammar does not accept this"
_DO_ACCEPT = (
    "Correct the file; or, where a newer server knows the statement, write above it: -- pgferry: allow UNKNOWN REASON."
    " Nothing was run."
)
_DO = "Correct the file and read the plan again; nothing was run."


@dataclass(frozen=True, slots=True)
class Piece:
    """An executable statement of a file.

    ``line`` is 1-based, of the first token; ``ordinal`` counts from 1; pieces that share a ``group`` stand in one
    BEGIN..COMMIT of the file. ``transactional`` is false for what cannot run in a transaction block.
    """

    sql: str
    line: int
    ordinal: int
    transactional: bool
    group: int | None
    kind: str


@dataclass(frozen=True, slots=True)
class Part:
    """A statement as it was read, faulty ones included.

    ``node`` is its parse tree, None where there is none; ``fault`` says why it cannot run; ``doubt`` says why a valid
    one was not read; ``comments`` are the comment lines directly above it.
    """

    sql: str
    line: int
    node: Any = None
    group: int | None = None
    fault: str = ""
    doubt: str = ""
    comments: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """The command tag, or ``unknown``."""
        return UNKNOWN if self.node is None else kind_of(self.node)

    @property
    def transactional(self) -> bool:
        """Whether it can run in a transaction block."""
        return self.node is None or transactional(self.node)

    @property
    def unread(self) -> bool:
        """Whether all that is wrong with it is that the grammar of 18 does not know it: a newer server may."""
        return self.fault.startswith(_NOT_ACCEPTED)


def _parse(sql: str) -> tuple[list[Any] | None, str, int]:
    """The raw statements, or None with the parser's message and the byte offset of the fault (-1: valid, too deep)."""
    try:
        return parse(sql), "", 0
    except postgast.PgQueryError as error:
        return None, plain(error.message), max(error.cursorpos - 1, 0)
    except (DecodeError, TooDeep, RecursionError, MemoryError):
        return None, _TOO_DEEP, -1


@dataclass(slots=True)
class _Positions:
    """Byte offsets as character offsets, and those as lines."""

    text: str
    newlines: list[int]
    raw: bytes
    at_byte: int = 0
    at_char: int = 0

    @classmethod
    def of(cls, text: str) -> _Positions:
        return cls(text, [m.start() for m in re.finditer("\n", text)], b"" if text.isascii() else text.encode())

    def char(self, byte: int) -> int:
        """The character offset; cheap when asked in ascending order."""
        if not self.raw:
            return byte
        if byte < self.at_byte:
            self.at_byte = self.at_char = 0
        self.at_char += len(self.raw[self.at_byte : byte].decode("utf-8", "replace"))
        self.at_byte = byte
        return self.at_char

    def line(self, char: int) -> int:
        return bisect_left(self.newlines, char) + 1


def _comments_above(text: str, previous_end: int, start: int) -> tuple[str, ...]:
    """The unbroken run of ``--`` lines directly above the statement that begins at ``start``."""
    if "--" not in text[previous_end:start]:
        return ()
    lines = text[previous_end:start].split("\n")[:-1]
    run: list[str] = []
    for line in reversed(lines):
        if not line.strip().startswith("--"):
            break
        run.append(line.strip())
    return tuple(reversed(run))


def _whole(text: str, stmts: list[Any]) -> Iterator[Part]:
    """Parts of a text that the grammar accepts as a whole."""
    where = _Positions.of(text)
    end = 0
    for raw in stmts:
        begin = where.char(raw.stmt_location)
        start = skip_blank(text, begin)
        previous, end = end, where.char(raw.stmt_location + raw.stmt_len) if raw.stmt_len else len(text)
        comments = _comments_above(text, previous, start)
        yield Part(text[start:end].rstrip(SPACE), where.line(start), raw.stmt, comments=comments)


def _chunks(text: str, semicolons: tuple[int, ...]) -> Iterator[Part]:
    """Parts of a text with a fault somewhere: each statement is parsed alone."""
    where = _Positions.of(text)
    ends = [*semicolons, len(text)]
    index = begin = 0
    while index < len(ends):
        start = skip_blank(text, begin)
        end = ends[index]
        if start < end:
            stmts, message, at = _parse(text[start:end])
            limit = index + _COMPOUND_LIMIT if _COMPOUND.search(text, start, end) else index
            grown = index
            limit = min(limit, len(ends) - 1)
            while stmts is None and at >= 0 and grown < limit and ends[grown + 1] - start <= _COMPOUND_LENGTH:
                grown += 1
                stmts, longer, _ = _parse(text[start : ends[grown]])
                if stmts is not None or longer == _TOO_DEEP:
                    index, end, message, at = grown, ends[grown], longer, -1
                    break
            yield _chunk(text[start:end], stmts, message, at, where, start, _comments_above(text, begin, start))
        begin = end + 1
        index += 1


def _chunk(
    sql: str,
    stmts: list[Any] | None,
    message: str,
    at: int,
    where: _Positions,
    start: int,
    comments: tuple[str, ...],
) -> Part:
    line = where.line(start)
    if stmts is not None and len(stmts) == 1:
        return Part(sql.rstrip(SPACE), line, stmts[0].stmt, comments=comments)
    if at < 0:
        return Part(sql.rstrip(SPACE), line, doubt=message, comments=comments)
    fault_char = start + len(sql.encode()[:at].decode("utf-8", "replace"))
    if variable := psql_variable(sql):
        return Part(sql.rstrip(SPACE), line, fault=f"the psql variable {variable} is not set here", comments=comments)
    named = message or "it is not one statement"
    if where.line(fault_char) != line:
        named += f" (line {where.line(fault_char)})"
    return Part(sql.rstrip(SPACE), line, fault=f"{_NOT_ACCEPTED}: {named}", comments=comments)


def _parts(text: str) -> list[Part]:
    """Every statement of a text, transaction control included, with psql's faults as parts of their own."""
    if bad := _UNSTORABLE.search(text):
        sql = _UNSTORABLE.sub("?", text).strip()
        line = text.count("\n", 0, bad.start()) + 1
        return [Part(sql, line, fault="the file holds a character that PostgreSQL cannot store (NUL or half a pair)")]
    cleaned: Clean = clean(text)
    stmts, _, _ = _parse(cleaned.text)
    found = list(_chunks(cleaned.text, cleaned.semicolons) if stmts is None else _whole(cleaned.text, stmts))
    if cleaned.faults:
        where = _Positions.of(text)
        for fault in cleaned.faults:
            end = text.find("\n", fault.offset)
            sql = text[fault.offset : end if end >= 0 else len(text)].rstrip()
            found.append(Part(sql, where.line(fault.offset), fault=fault.what))
        found.sort(key=lambda part: part.line)
    return [_readable(_copy_checked(part)) for part in found]


def _readable(part: Part) -> Part:
    """SET standard_conforming_strings = off: from there on the server reads strings in another way than we do."""
    if part.node is None or which(part.node) != "variable_set_stmt":
        return part
    stmt = inner(part.node)
    if stmt.name != "standard_conforming_strings" or stmt.kind != pb.VAR_SET_VALUE:
        return part
    value = stmt.args[0].a_const
    if value.sval.sval.lower() in ("on", "true", "yes", "1") or value.ival.ival == 1 or value.boolval.boolval:
        return part
    fault = "with standard_conforming_strings off, the strings that follow mean something else; write E'...' instead"
    return replace(part, fault=fault)


def _copy_checked(part: Part) -> Part:
    """COPY from or to the client needs a program that speaks its protocol, and data that is no SQL."""
    if part.node is None or which(part.node) != "copy_stmt":
        return part
    stmt = inner(part.node)
    if stmt.filename:
        return part
    way = "COPY FROM STDIN carries data in the file" if stmt.is_from else "COPY TO STDOUT prints data"
    return replace(
        part, node=None, fault=f"{way}, which is not carried out here; write INSERT, or COPY with a file of the server"
    )


_REFUSED = {
    pb.TRANS_STMT_ROLLBACK: "ROLLBACK would take back what the file did before, which is not carried out here",
    pb.TRANS_STMT_SAVEPOINT: "SAVEPOINT is not carried out here: a task is done or it is not",
    pb.TRANS_STMT_RELEASE: "RELEASE SAVEPOINT is not carried out here",
    pb.TRANS_STMT_ROLLBACK_TO: "ROLLBACK TO SAVEPOINT is not carried out here",
    pb.TRANS_STMT_PREPARE: "PREPARE TRANSACTION would leave the transaction and its locks behind",
    pb.TRANS_STMT_COMMIT_PREPARED: "COMMIT PREPARED ends a transaction of another session",
    pb.TRANS_STMT_ROLLBACK_PREPARED: "ROLLBACK PREPARED ends a transaction of another session",
}
# What BEGIN says that is so anyway.
_DEFAULTS = {"transaction_isolation": "read committed", "transaction_read_only": 0, "transaction_deferrable": 0}


def _usual(option: Any) -> bool:
    """Whether an option of BEGIN only says what is the default."""
    element = inner(option)
    constant = element.arg.a_const
    value = constant.sval.sval.lower() if constant.HasField("sval") else constant.ival.ival
    return bool(value == _DEFAULTS.get(element.defname))


def _control(stmt: Any, open_line: int) -> str:
    """Why this BEGIN, COMMIT or other transaction control is refused; empty when it is taken."""
    if stmt.kind in _REFUSED:
        return _REFUSED[stmt.kind]
    if stmt.kind == pb.TRANS_STMT_COMMIT:
        return "" if open_line else "COMMIT stands without a BEGIN"
    if open_line:
        return f"BEGIN stands inside the block that began in line {open_line}"
    if not all(_usual(option) for option in stmt.options):
        return "BEGIN with options is not carried out here; write BEGIN alone"
    return ""


def read_parts(text: str, transactions: Transactions = Transactions.AS_WRITTEN) -> tuple[Part, ...]:
    """Every statement of a file, its transactions turned into groups; faulty ones are marked. Never raises."""
    result: list[Part] = []
    group = open_line = 0
    for part in _parts(text):
        if part.node is None or which(part.node) != "transaction_stmt":
            result.append(replace(part, group=group) if open_line else part)
            continue
        stmt = inner(part.node)
        if fault := _control(stmt, open_line):
            result.append(replace(part, node=None, fault=fault))
        elif stmt.kind == pb.TRANS_STMT_COMMIT and not stmt.chain:
            open_line = 0
        else:
            group, open_line = group + 1, part.line
    if open_line:
        result.append(Part("BEGIN", open_line, fault="BEGIN stands without a COMMIT"))
    return one_transaction(result, transactions)


def split(
    text: str, file: str = "", transactions: Transactions = Transactions.AS_WRITTEN, *, accept_unknown: bool = False
) -> tuple[Piece, ...]:
    """The executable statements of ``text``, in order.

    psql's harmless commands are passed over; BEGIN and COMMIT become groups, or the whole file is one where
    ``transactions`` says so. ``file`` is named in errors. ``accept_unknown``: what the grammar does not know is left
    to the server, as it is below a comment that says so (``-- pgferry: allow UNKNOWN REASON``).
    Raises PlanError, with file and line, for what cannot be parsed or cannot be carried out: other psql commands,
    ROLLBACK, SAVEPOINT, a BEGIN inside another or without COMMIT, COPY from or to the client, a statement in a
    block that cannot run in one.
    """
    pieces: list[Piece] = []
    for part in read_parts(text, transactions):
        if part.fault and not (part.unread and (accept_unknown or accepts_unknown(part.comments))):
            shown = shorten(plain(part.sql), 60)
            do = _DO_ACCEPT if part.unread else _DO
            raise PlanError(f"{part.fault}: {shown}.", file=file, line=part.line, do=do)
        can_group = part.transactional
        if part.group is not None and not can_group:
            raise PlanError(
                f"{part.kind} cannot run in a transaction block: {shorten(plain(part.sql), 60)}.",
                file=file,
                line=part.line,
                do="Take it out of BEGIN and COMMIT; nothing was run."
                if transactions is Transactions.AS_WRITTEN
                else "All of this file runs in one: put the statement into a file of its own that says it needs none.",
            )
        pieces.append(Piece(part.sql, part.line, len(pieces) + 1, can_group, part.group, part.kind))
    return tuple(pieces)


def without_control(text: str, file: str = "") -> tuple[Piece, ...]:
    """The statements of a script that is run and rolled back, its own BEGIN, COMMIT and ROLLBACK left out.

    Raises PlanError, with file and line, for what cannot be parsed or cannot run in a transaction.
    """
    kept = [part for part in _parts(text) if part.node is None or which(part.node) != "transaction_stmt"]
    for part in kept:
        if part.fault or not part.transactional:
            why = part.fault or f"{part.kind} cannot be rolled back"
            raise PlanError(f"{why}: {shorten(plain(part.sql), 60)}.", file=file, line=part.line, do=_DO)
    return tuple(Piece(part.sql, part.line, n, True, 1, part.kind) for n, part in enumerate(kept, 1))
