"""Whether a value fits its column, as expressions: a row is refused with a reason before a write could fail."""

from __future__ import annotations

import re
from dataclasses import dataclass

from psycopg import sql

from console.engine.facts import Column, Kind, TableFacts

Composed = sql.Composable
_INT2, _INT4, _INT8, _NUMERIC, _FLOATS = 21, 23, 20, 1700, (700, 701)
_TEXTS = (25, 1043, 1042, 18, 19)  # text, varchar, char, "char", name
_VARCHAR, _CHAR, _BIT, _VARBIT = 1043, 1042, 1560, 1562
_WHOLE = {_INT2: (-(2**15), 2**15 - 1), _INT4: (-(2**31), 2**31 - 1), _INT8: (-(2**63), 2**63 - 1)}
_WIDTH = {_INT2: 2, _INT4: 4, _INT8: 8}
_SOFT_INPUT = 16  # the first major version with pg_input_is_valid
_QUOTED = re.compile(r"('(?:[^']|'')*'|\"(?:[^\"]|\"\")*\")")
_VALUE = re.compile(r"\bVALUE\b")


@dataclass(frozen=True, slots=True)
class Test:
    """A condition under which a row is refused, with the SQLSTATE that the write would have met and the reason."""

    when: Composed
    state: str
    reason: str


def _is(template: str, value: Composed) -> Composed:
    return sql.SQL(template).format(v=value)


def _lengths(column: Column, value: Composed, came: Kind | None) -> list[Test]:
    """Too long for a type with a length: an explicit cast would cut the value silently."""
    oid, typmod = column.kind.oid, column.kind.typmod
    if oid in (_VARCHAR, _CHAR) and typmod > 4:
        length = typmod - 4
        if came is not None and came.oid == oid and 4 < came.typmod <= typmod:
            return []
        return [
            Test(
                _is(f"char_length({{v}}::text) > {length}", value), "22001",
                f"{column.name} is longer than {length} characters",
            )
        ]  # fmt: skip
    if oid in (_BIT, _VARBIT) and typmod > 0 and came != column.kind:
        compare = "<>" if oid == _BIT else ">"
        return [
            Test(_is(f"length({{v}}) {compare} {typmod}", value), "22026", f"{column.name} does not have {typmod} bits")
        ]
    if column.base.startswith("character") and column.base.endswith("[]") and typmod > 0 and came != column.kind:
        cut = sql.SQL("({v}::{t})::text[] IS DISTINCT FROM ({v})::text[]").format(v=value, t=sql.SQL(column.base))
        return [Test(cut, "22001", f"{column.name} has an element that is too long")]
    return []


def _numbers(column: Column, value: Composed, came: Kind) -> list[Test]:
    oid, typmod = column.kind.oid, column.kind.typmod
    too_large = f"{column.name} is out of range for {column.base}"
    if oid in _WHOLE and (came.oid in (_NUMERIC, *_FLOATS) or _WIDTH.get(came.oid, 0) > _WIDTH[oid]):
        low, high = _WHOLE[oid]
        return [Test(_is(f"{{v}} NOT BETWEEN {low} AND {high}", value), "22003", too_large)]
    if oid == _NUMERIC and typmod > 4 and came.oid in (_INT2, _INT4, _INT8, _NUMERIC):
        digits = ((typmod - 4) >> 16) & 0xFFFF
        scale = (((typmod - 4) & 0x7FF) ^ 1024) - 1024
        when = f"{{v}} <> 'NaN' AND abs(round({{v}}::numeric, {scale})) >= 1e{digits - scale}::numeric"
        return [Test(_is(when.replace("{v} <> 'NaN'", "{v}::numeric <> 'NaN'"), value), "22003", too_large)]
    return []


def _inputs(column: Column, value: Composed, came: Kind, server: int) -> list[Test]:
    """Text (or another enum) that must read as a value of the type."""
    strange = f"{column.name} is not a value of {column.base}"
    if column.enum and came.oid != column.kind.oid:
        when = sql.SQL("NOT ({}::text = ANY (enum_range(NULL::{})::text[]))").format(value, sql.SQL(column.base))
        return [Test(when, "22P02", strange)]
    if server >= _SOFT_INPUT and came.oid in _TEXTS and column.kind.oid not in _TEXTS:
        when = sql.SQL("NOT pg_input_is_valid({}::text, {})").format(value, sql.Literal(column.base))
        return [Test(when, "22P02", strange)]
    return []


def needs_cast(column: Column, came: Kind | None) -> bool:
    """Whether the expression yields another type (or another length) than the column has."""
    return came is not None and came != column.kind


def before(column: Column, value: Composed, came: Kind | None, server: int) -> list[Test]:
    """What can be said of the value before it is cast to the column's type."""
    tests = _lengths(column, value, came)
    if column.not_null:
        tests.insert(0, Test(_is("{v} IS NULL", value), "23502", f"{column.name} must not be null"))
    if came is not None and came != column.kind:
        tests += _numbers(column, value, came) + _inputs(column, value, came, server)
    return tests


def cast(column: Column, value: Composed, came: Kind | None, server: int) -> Composed:
    """The value in the column's type; NULL where ``before`` refuses it, since the cast would fail."""
    unfit = [test.when for test in before(column, value, came, server) if test.state != "23502"]
    cast_ = sql.SQL("{}::{}").format(value, sql.SQL(column.base))
    if not unfit:
        return cast_
    return sql.SQL("CASE WHEN ({}) THEN NULL ELSE {} END").format(sql.SQL(") OR (").join(unfit), cast_)


def after(facts: TableFacts, names: list[str], alias: str) -> list[Test]:
    """What the table itself demands of a row that is cast to its types: domains, CHECKs, foreign keys."""
    tests = []
    for name in names:
        column = facts.column(name)
        for constraint, expression in column.checks if column else ():
            when = sql.SQL("({}) IS FALSE").format(_of_domain(expression, sql.SQL(alias), name))
            tests.append(Test(when, "23514", f"{name}: constraint {constraint} of its domain"))
    for name, expression in facts.checks_over(names):
        when = sql.SQL("({}) IS FALSE").format(sql.SQL(expression))
        tests.append(Test(when, "23514", f"constraint {name} of {facts.name}"))
    for key in facts.references_over(names):
        there = [(sql.Identifier(c), sql.SQL(f"{alias}.{{}}").format(sql.Identifier(o))) for c, o in zip(key.their, key.columns, strict=True)]  # fmt: skip
        when = sql.SQL("{} AND NOT EXISTS (SELECT 1 FROM {} pgferry_f WHERE {})").format(
            sql.SQL(" AND ").join([sql.SQL("{} IS NOT NULL").format(ours) for _, ours in there]),
            sql.Identifier(key.references.schema, key.references.name),
            sql.SQL(" AND ").join([sql.SQL("pgferry_f.{} = {}").format(theirs, ours) for theirs, ours in there]),
        )
        tests.append(Test(when, "23503", f"{', '.join(key.columns)}: no such row in {key.references}"))
    return tests


def _of_domain(expression: str, alias: Composed, name: str) -> Composed:
    """A domain's CHECK with its VALUE replaced by the column, outside of quotes."""
    parts: list[Composed] = []
    for number, piece in enumerate(_QUOTED.split(expression)):
        if number % 2:
            parts.append(sql.SQL(piece))
            continue
        for index, text in enumerate(_VALUE.split(piece)):
            if index:
                parts.append(sql.SQL("{}.{}").format(alias, sql.Identifier(name)))
            parts.append(sql.SQL(text))
    return sql.Composed(parts)
