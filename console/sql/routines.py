"""What is inside DO blocks and routines: each statement in them is read like one of the file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import postgast
from google.protobuf.message import DecodeError
from postgast import pg_query_pb2 as pb

from console.sql.facts import Facts
from console.sql.grammar import parse, parse_plpgsql
from console.sql.locks import LEVEL, ROW_EXCLUSIVE
from console.sql.nodes import inner, plain_name, strings, which

Reader = Callable[[Facts, Any], None]

_ASSIGNMENT = re.compile(r"\s*[\w.\"\[\]]+\s*:?=")
_EXPRESSION_MODE = 2
_DYNAMIC = "PLpgSQL_stmt_dynexecute", "PLpgSQL_stmt_dynfors"


def _expressions(tree: Any) -> Iterator[tuple[str, int]]:
    """Every piece of SQL in a PL/pgSQL body with its parse mode; a dynamic one as an empty text."""
    stack = [tree]
    while stack:
        current = stack.pop()
        if isinstance(current, list):
            stack.extend(reversed(current))
        elif isinstance(current, dict):
            if any(key in current for key in _DYNAMIC) or "dynquery" in current:
                yield "", 0
            if "PLpgSQL_stmt_commit" in current or "PLpgSQL_stmt_rollback" in current:
                yield "COMMIT", 0
            if "query" in current and "parseMode" in current:
                yield str(current["query"]), int(current["parseMode"])
            else:
                stack.extend(reversed(current.values()))


def _body(facts: Facts, sql: str, mode: int, read: Reader) -> None:
    """One piece of SQL: a statement, an expression, or an assignment."""
    if mode >= _EXPRESSION_MODE:
        sql = "SELECT " + (_ASSIGNMENT.sub("", sql, count=1) if mode > _EXPRESSION_MODE else sql)
    for raw in parse(sql):
        within = facts.apart()
        if which(raw.stmt) == "transaction_stmt":
            facts.transactional = False
            continue
        read(within, raw.stmt)
        facts.include(within)


def _plpgsql(facts: Facts, definition: str, body: str, read: Reader) -> None:
    for sql, mode in _expressions(parse_plpgsql(definition, body)):
        if sql:
            _body(facts, sql, mode, read)
        else:
            facts.give_up("it runs SQL that it puts together (EXECUTE)")


def _option(options: Any, name: str) -> Any:
    for node in options:
        if inner(node).defname == name:
            return inner(node).arg
    return None


def _texts(node: Any) -> list[str]:
    """The text, or the list of texts, of an option."""
    if node is None:
        return []
    value = inner(node)
    return strings(value.items) if isinstance(value, pb.List) else [str(getattr(value, "sval", ""))]


def _guarded(facts: Facts, work: Callable[[], None]) -> None:
    try:
        work()
    except (postgast.PgQueryError, DecodeError, RecursionError, ValueError):
        facts.give_up("its body could not be read")


def do_block(facts: Facts, stmt: Any, read: Reader) -> None:
    """DO: the statements inside; SQL that is put together at run time is unknown."""
    language = (_texts(_option(stmt.args, "language")) or ["plpgsql"])[0]
    if language != "plpgsql":
        facts.give_up(f"a block in {language} is not read")
        return
    body = (_texts(_option(stmt.args, "as")) or [""])[0]
    tag = "$pgferry_body$"
    if tag in body:
        facts.give_up("its body could not be read")
        return
    _guarded(facts, lambda: _plpgsql(facts, f"DO {tag}{body}{tag}", body, read))


def create_function(facts: Facts, stmt: Any, read: Reader, text: str) -> None:
    """CREATE FUNCTION or PROCEDURE: nobody waits; what a call would do is kept for the statements after it.

    ``text`` is the statement itself. PostgreSQL opens the tables of a body in SQL to check it.
    """
    name = plain_name(strings(stmt.funcname))
    if not stmt.replace:
        facts.made.add(name)
    body = facts.apart()
    language = (_texts(_option(stmt.options, "language")) or ["sql"])[0]
    if which(stmt.sql_body):
        _guarded(body, lambda: _atomic(body, inner(stmt.sql_body), read))
    elif language == "sql":
        parts = _texts(_option(stmt.options, "as"))
        _guarded(body, lambda: _body(body, parts[0] if parts else "", 0, read))
    elif language == "plpgsql":
        parts = _texts(_option(stmt.options, "as"))
        _guarded(body, lambda: _plpgsql(body, text, parts[0] if parts else "", read))
    else:
        body.give_up(f"a routine in {language} is not read")
    facts.known.routines[name] = body
    if language == "sql" and not body.doubt:
        for table, (mode, _) in body.held.items():
            if LEVEL[mode] <= LEVEL[ROW_EXCLUSIVE]:
                facts.table(table, mode)
    facts.words = "nobody waits"


def _atomic(facts: Facts, node: Any, read: Reader) -> None:
    """BEGIN ATOMIC ... END, a list of lists of statements, or RETURN expression."""
    if isinstance(node, pb.List):
        for item in node.items:
            _atomic(facts, inner(item), read)
        return
    wrapper = pb.Node()
    if isinstance(node, pb.ReturnStmt):
        target = wrapper.select_stmt.target_list.add()
        target.res_target.val.CopyFrom(node.returnval)
    else:
        _wrap(wrapper, node)
    within = facts.apart()
    read(within, wrapper)
    facts.include(within)


def _wrap(wrapper: Any, message: Any) -> None:
    """Put a message back into the Node that it was taken from."""
    for field in wrapper.DESCRIPTOR.fields:
        if field.message_type is message.DESCRIPTOR:
            getattr(wrapper, field.name).CopyFrom(message)
            return
    raise ValueError(message.DESCRIPTOR.name)


def call(facts: Facts, stmt: Any) -> None:
    """CALL: what is known of a procedure made earlier in the sequence, else unknown."""
    name = plain_name(strings(stmt.funccall.funcname))
    known = facts.known.routines.get(name)
    if known is None:
        facts.give_up(f"the procedure {name} was not read")
    else:
        facts.include(known, named=False)
