"""PostgreSQL's own parser, kept from running out of stack: a chain of ten thousand operators ends the whole process."""

from __future__ import annotations

import json
import re
from typing import Any

import postgast
from postgast import pg_query_pb2 as pb
from postgast import plpgsql as native

_LONGEST_CHAIN = 10_000  # tokens between two commas; the parser's stack of 8 MB ends at about 50,000
_BORDER = re.compile("[,;]")
_ONE_BRACE_TOO_MANY = re.compile(r"(?<=[,\[])\{\}\}(?=[,\]])")


class TooDeep(ValueError):
    """The text is nested or chained too deeply to be parsed here."""


def _guard(sql: str) -> None:
    """Refuse what could nest too deeply. Only left-hand chains can: the parser limits everything else itself."""
    if len(sql) <= _LONGEST_CHAIN or all(len(part) <= _LONGEST_CHAIN for part in _BORDER.split(sql)):
        return
    length = 0
    for token in postgast.scan(sql).tokens:
        length = 0 if token.token in (pb.ASCII_44, pb.ASCII_59) else length + 1
        if length > _LONGEST_CHAIN:
            raise TooDeep(f"more than {_LONGEST_CHAIN} words and operators without a comma between them")


def parse(sql: str) -> list[Any]:
    """The raw statements of ``sql``. Raises PgQueryError, DecodeError (nested too deeply) and TooDeep."""
    _guard(sql)
    return list(postgast.parse(sql).stmts)


def parse_plpgsql(definition: str, body: str) -> Any:
    """The tree of a routine or DO block in PL/pgSQL; ``body`` is its body alone. Raises as ``parse`` does."""
    if not body.strip():
        raise ValueError("there is no body")  # libpg_query aborts the process
    _guard(definition)
    _guard(body)
    try:
        return postgast.parse_plpgsql(definition)
    except json.JSONDecodeError:
        return _repaired(definition)


def _repaired(definition: str) -> Any:
    """The tree where libpg_query writes broken JSON: a brace too many for each TG_ variable of a trigger's function."""
    result = native.lib.pg_query_parse_plpgsql(definition.encode())
    try:
        native.check_error(result)
        return json.loads(_ONE_BRACE_TOO_MANY.sub("{}", result.plpgsql_funcs.decode()))
    finally:
        native.lib.pg_query_free_plpgsql_parse_result(result)
