"""What a column definition costs: its type, its default, the constraints written beside it."""

from __future__ import annotations

from typing import Any

from postgast import pg_query_pb2 as pb

from console.sql.facts import Facts, worse
from console.sql.functions import STEADY, TYPES, VOLATILE
from console.sql.nodes import descend, expression, inner, plain_name, strings

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
            answer = worse(answer, True if bare in VOLATILE else False if bare in STEADY else varies(names, facts))
    return None if answer is None else not answer


def varies(names: list[str], facts: Facts) -> bool | None:
    """Whether the catalogue has a volatile function of this name; None where it cannot tell."""
    known, name = facts.known, plain_name(names)
    if known.catalogue is None or name in known.routines or name in known.touched:
        return None
    if known.path_set and "." not in name:
        return None
    how = known.catalogue.functions.get(name)
    return None if how is None else how == "v"


def checked_type(column: Any, facts: Facts) -> bool | None:
    """Whether the type can be a domain with a check: False for PostgreSQL's own, else unknown."""
    word = type_word(column.type_name)
    if word in TYPES or word in SERIALS or word in facts.known.types:
        return False
    if facts.known.catalogue is None or word in facts.known.touched or facts.known.path_set:
        return None
    return facts.known.catalogue.types.get(word)


def constraints(column: Any) -> list[Any]:
    """The constraints written beside the column."""
    return [inner(c) for c in column.constraints]


def of_type(column: Any, contype: int) -> Any:
    """The first constraint of this type beside the column, or None."""
    for constraint in constraints(column):
        if constraint.contype == contype:
            return constraint
    return None


def type_text(type_name: Any) -> str:
    """A type as SQL text."""
    cast = pb.Node()
    cast.type_cast.arg.a_const.isnull = True
    cast.type_cast.type_name.CopyFrom(type_name)
    text = expression(cast)
    return text.removeprefix("NULL::") if text.startswith("NULL::") else plain_name(strings(type_name.names))


def _numbers(type_name: Any) -> list[int]:
    """What stands in a type's brackets."""
    return [inner(n).ival.ival for n in type_name.typmods if isinstance(inner(n), pb.A_Const)]


def _fits(old: Any, new: Any) -> bool:
    """Whether every value of the old type is one of the new without being touched (measured on 16 and 18)."""
    if old.array_bounds or new.array_bounds:
        return False
    was, becomes, before, after = type_word(old), type_word(new), _numbers(old), _numbers(new)
    if was in ("varchar", "text") and becomes in ("varchar", "text"):
        return not after or (bool(before) and was == "varchar" and after[0] >= before[0])
    if was == becomes == "varbit":
        return not after or (bool(before) and after[0] >= before[0])
    if was == becomes == "numeric":
        return not after or (len(before) == len(after) and after[0] >= before[0] and after[1:] == before[1:])
    return was == becomes and before == after and was in TYPES


def _same_in_utc(old: Any, new: Any, facts: Facts) -> bool:
    """Whether only the meaning of a time changes: free in a session in UTC, as the runner's are (tablecmds.c)."""
    times = {type_word(old), type_word(new)} == {"timestamp", "timestamptz"}
    plan_runs_it = facts.known.catalogue is not None and not facts.known.zone_set
    return times and plan_runs_it and not old.array_bounds and not new.array_bounds and _numbers(old) == _numbers(new)


def type_change(new_type: Any, using: Any, facts: Facts, old_type: Any = None) -> bool | None:
    """Whether changing a column to ``new_type`` rewrites the table; None where an unknown old type decides."""
    if using is not None and not isinstance(using, pb.ColumnRef):
        return True
    if old_type is not None and (_fits(old_type, new_type) or _same_in_utc(old_type, new_type, facts)):
        return False
    word = type_word(new_type)
    if new_type.array_bounds or word not in TYPES:
        return None
    return None if word in _RELABELLED else True
