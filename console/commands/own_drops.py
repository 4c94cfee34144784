"""Drops that ways back and contracts are made of: of what the plan itself made, and of what is pgferry's own.

Dropping them is what they are for. What is lost with a table stays a hazard.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import postgast
from google.protobuf.message import DecodeError
from postgast import pg_query_pb2 as pb

from console.sql.drops import object_name
from console.sql.grammar import TooDeep, parse
from console.sql.model import Statement
from console.sql.nodes import inner, plain_name, relation, strings, which

_ON_TABLE = (pb.OBJECT_TRIGGER, pb.OBJECT_RULE, pb.OBJECT_POLICY)
_OF_THE_PLAN = frozenset({"DROP-OBJECT"})
_OF_PGFERRY = frozenset({"DROP-OBJECT", "DROP-TABLE", "CASCADE"})


def without_expected(made_by: Iterable[Statement], statements: Sequence[Statement]) -> tuple[Statement, ...]:
    """``statements`` without hazards of dropping what ``made_by`` makes, or what is pgferry's own."""
    made = {name for one in made_by if one.kind.startswith("CREATE ") for name in _made(one.sql)}
    return tuple(_expected(one, made) if one.kind.startswith("DROP ") and one.hazards else one for one in statements)


def _expected(statement: Statement, made: set[str]) -> Statement:
    names = _dropped(statement.sql)
    if not names:
        return statement
    if all(_own(name) for name in names):
        passed = _OF_PGFERRY
    elif all(name in made or _own(name) for name in names):
        passed = _OF_THE_PLAN
    else:
        return statement
    return replace(statement, hazards=tuple(h for h in statement.hazards if h.code not in passed))


def _own(name: str) -> bool:
    """Whether it is in pgferry's schema, or one of its triggers."""
    trigger, _, table = name.partition(" on ")
    return name.startswith("pgferry.") or bool(table and "pgferry_" in trigger)


def _node(sql: str) -> Any:
    try:
        found = parse(sql)
    except (postgast.PgQueryError, DecodeError, TooDeep):
        return None
    return found[0].stmt if len(found) == 1 else None


def _dropped(sql: str) -> list[str]:
    """The names in a DROP; a trigger's with its table, ``name on table``."""
    node = _node(sql)
    if node is None or which(node) != "drop_stmt":
        return []
    stmt = inner(node)
    names = []
    for one in stmt.objects:
        parts = object_name(one)
        on_table = stmt.remove_type in _ON_TABLE
        names.append(f"{parts[-1]} on {plain_name(parts[:-1])}" if on_table else plain_name(parts))
    return names


def _made(sql: str) -> list[str]:
    """The name of what a CREATE makes, as ``_dropped`` gives it."""
    node = _node(sql)
    if node is None:
        return []
    stmt = inner(node)
    match which(node):
        case "create_function_stmt":
            return [plain_name(strings(stmt.funcname))]
        case "view_stmt":
            return [relation(stmt.view)]
        case "create_table_as_stmt":
            return [relation(stmt.into.rel)]
        case "create_seq_stmt":
            return [relation(stmt.sequence)]
        case "create_trig_stmt":
            return [f"{stmt.trigname} on {relation(stmt.relation)}"]
        case "create_policy_stmt":
            return [f"{stmt.policy_name} on {relation(stmt.table)}"]
        case "create_enum_stmt" | "create_range_stmt":
            return [plain_name(strings(stmt.type_name))]
        case "create_domain_stmt":
            return [plain_name(strings(stmt.domainname))]
        case "composite_type_stmt":
            return [relation(stmt.typevar)]
        case "create_schema_stmt":
            return [stmt.schemaname]
    return []
