"""What a column definition costs: its type, its default, the constraints written beside it."""

from __future__ import annotations

from typing import Any

from postgast import pg_query_pb2 as pb

from console.sql.facts import Facts, worse
from console.sql.functions import STEADY, TYPES, VOLATILE
from console.sql.nodes import descend, inner, plain_name, strings

SERIALS = frozenset({"serial", "serial2", "serial4", "serial8", "bigserial", "smallserial"})

# Types that some other type changes to without rewriting rows: varchar(50) to text, for instance.
_RELABELLED = frozenset(
    {"text", "varchar", "bpchar", "varbit", "bit", "numeric", "timestamp", "timestamptz", "time", "timetz", "interval"}
    | {"inet", "xml", "oid", "regclass"}
)


def type_word(type_name: Any) -> str:
    """The type's name without its schema where that is pg_catalog: ``int4``, ``bigserial``, ``app.price``."""
    return plain_name(p for p in strings(type_name.names) if p != "pg_catalog")


def is_serial(column: Any) -> bool:
    """Whether the column is of one of the serial pseudo-types."""
    return type_word(column.type_name) in SERIALS


def steady(node: Any, facts: Facts) -> bool | None:
    """Whether an expression gives every row the same value; None when it calls what was not read."""
    answer: bool | None = False
    for part in descend(node):
        if isinstance(part, pb.FuncCall):
            names = strings(part.funcname)
            bare = names[-1] if len(names) == 1 or names[0] == "pg_catalog" else ""
            answer = worse(answer, True if bare in VOLATILE else False if bare in STEADY else None)
    return None if answer is None else not answer


def checked_type(column: Any, facts: Facts) -> bool | None:
    """Whether the type can be a domain with a check: False for PostgreSQL's own, else unknown."""
    word = type_word(column.type_name)
    if word in TYPES or word in SERIALS or word in facts.known.types:
        return False
    return None


def constraints(column: Any) -> list[Any]:
    """The constraints written beside the column."""
    return [inner(c) for c in column.constraints]


def of_type(column: Any, contype: int) -> Any:
    """The first constraint of this type beside the column, or None."""
    for constraint in constraints(column):
        if constraint.contype == contype:
            return constraint
    return None


def type_change(new_type: Any, using: Any, facts: Facts) -> bool | None:
    """Whether changing a column to ``new_type`` rewrites the table; None where the old type decides."""
    if using is not None and not isinstance(using, pb.ColumnRef):
        return True
    word = type_word(new_type)
    if new_type.array_bounds or word not in TYPES:
        return None
    return None if word in _RELABELLED else True
