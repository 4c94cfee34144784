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
from console.sql.nodes import inner, plain_name, quoted, strings, which

Reader = Callable[[Facts, Any], None]

_ASSIGNMENT = re.compile(r"\s*[\w.\"\[\]]+\s*:?=")
_EXPRESSION_MODE = 2
_DYNAMIC_MODE = -1
_DYNAMIC = ("PLpgSQL_stmt_dynexecute", "PLpgSQL_stmt_dynfors")
_PLACE = re.compile(r"%(?:(\d+)\$)?([sIL%])")


def _expressions(tree: Any) -> Iterator[tuple[str, int]]:
    """Every piece of SQL in a PL/pgSQL body with its parse mode; what EXECUTE runs has a mode of its own."""
    stack = [tree]
    while stack:
        current = stack.pop()
        if isinstance(current, list):
            stack.extend(reversed(current))
        elif isinstance(current, dict):
            for query in _dynamic(current):
                yield query, _DYNAMIC_MODE
            if "PLpgSQL_stmt_commit" in current or "PLpgSQL_stmt_rollback" in current:
                yield "COMMIT", 0
            if "query" in current and "parseMode" in current:
                yield str(current["query"]), int(current["parseMode"])
            else:
                stack.extend(reversed(current.values()))


def _dynamic(part: dict[str, Any]) -> Iterator[str]:
    """The expressions whose text this part of a body runs."""
    found = [part[name].get("query") for name in _DYNAMIC if name in part] + [part.get("dynquery")]
    for query in found:
        if query is not None:
            yield str(query["PLpgSQL_expr"]["query"])


def constant_text(node: Any) -> str | None:
    """The text of an expression of constants: literals, ``||``, quote_ident and format(); None for any other."""
    value = inner(node)
    if isinstance(value, pb.TypeCast):
        return constant_text(value.arg)
    if isinstance(value, pb.A_Const):
        if value.HasField("ival"):
            return str(value.ival.ival)
        return str(value.sval.sval) if value.HasField("sval") else None
    if isinstance(value, pb.A_Expr) and strings(value.name) == ["||"]:
        left, right = constant_text(value.lexpr), constant_text(value.rexpr)
        return None if left is None or right is None else left + right
    if not isinstance(value, pb.FuncCall):
        return None
    texts = [constant_text(arg) for arg in value.args]
    known = [text for text in texts if text is not None]
    if len(known) < len(texts) or not known or value.func_variadic:
        return None
    name = plain_name(strings(value.funcname))
    if name == "quote_ident":
        return quoted(known[0])
    return _formatted(*known) if name == "format" else None


def _formatted(form: str, *values: str) -> str | None:
    """format() with constant arguments; None where a place has a width or no value."""
    used = 0

    def place(match: re.Match[str]) -> str:
        nonlocal used
        if match.group(2) == "%":
            return "%"
        used = int(match.group(1)) if match.group(1) else used + 1
        value = values[used - 1] if 0 < used <= len(values) else "\x00"
        return quoted(value) if match.group(2) == "I" else _literal(value) if match.group(2) == "L" else value

    text = _PLACE.sub(place, form)
    return None if "\x00" in text or re.search(r"%(?!(?:\d+\$)?[sIL%])", form.replace("%%", "")) else text


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _execute(facts: Facts, expression: str, read: Reader) -> None:
    """EXECUTE: a constant text is read; any other is unknown until it is rehearsed."""
    (raw,) = parse(f"SELECT {expression}")
    text = constant_text(inner(raw.stmt.select_stmt.target_list[0]).val)
    if text is None:
        facts.give_up("it runs SQL that it puts together (EXECUTE)")
    else:
        _body(facts, text, 0, read)


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
        if mode == _DYNAMIC_MODE:
            _execute(facts, sql, read)
        else:
            _body(facts, sql, mode, read)


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
