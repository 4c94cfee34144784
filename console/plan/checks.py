"""Reads the checks of a plan: queries and programs, each under a header that says what it expects."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal, InvalidOperation

from console.errors import PlanError
from console.plan.check_kinds import KEYS, KINDS, KindFault, Spec, read_kind
from console.plan.model import Check, Severity, SourceFile
from console.plan.schema import ID_PATTERN, MAX_ID
from console.plan.source import suggestion

Header = dict[str, tuple[str, int]]  # key: value and line

_KEYS = ("check", "title", "phase", "severity", "expect", "kind")
_OF_KINDS = tuple(key for key in KEYS if key not in _KEYS)
_START = re.compile(r"^--\s*check\s*:", re.IGNORECASE)
_SQL_HEADER = re.compile(r"^--\s*([a-z_]+)\s*:\s*(.*?)\s*$", re.IGNORECASE)
_PY_HEADER = re.compile(r"^\s*([a-z_]+)\s*:\s*(.*?)\s*$", re.IGNORECASE)
_ID = re.compile(ID_PATTERN)
_EXPECT = re.compile(r"^(zero rows|some rows|true|report|value\s*(=|>=|<=)\s*(\S.*))$")
_EXPECTATIONS = ("zero rows", "some rows", "true", "value = X", "value >= X", "value <= X", "report")
_FIRST_WORD = re.compile(r"^[\s(]*(select|with|values|table|show|explain)\b", re.IGNORECASE)
# Strings, quoted names, dollar quotes and comments: where a semicolon is no end of a statement.
_OPAQUE = re.compile(
    r"(?P<text>'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|\$(\w*)\$.*?\$\2\$)|(?P<comment>--[^\n]*|/\*.*?\*/)", re.DOTALL
)


def _fault(what: str, file: str, line: int, do: str = "") -> PlanError:
    return PlanError(what, file=file, line=line, do=do)


def sql_checks(source: SourceFile, shown: str) -> tuple[Check, ...]:
    """The checks of an SQL file, in its order; ``shown`` names the file in errors. Raises PlanError."""
    lines = source.text.splitlines()
    starts = [number for number, line in enumerate(lines) if _START.match(line)]
    before = "\n".join(lines[: starts[0]] if starts else lines)
    if _code(before):
        line = next(number for number, text in enumerate(before.splitlines(), 1) if _code(text))
        raise _fault("A query stands under no header.", shown, line, "Write '-- check: its_id' above it.")
    if not starts:
        raise _fault("There is no check in this file.", shown, 1, "Write '-- check: its_id' above a query.")
    ends = [*starts[1:], len(lines)]
    return tuple(
        _sql_check(lines[start:end], start + 1, source.path, shown) for start, end in zip(starts, ends, strict=True)
    )


def _sql_check(lines: list[str], first: int, path: str, shown: str) -> Check:
    header, size = _header(lines, first, _SQL_HEADER, shown)
    check = _check(header, first, path, shown)
    sql = "\n".join(lines[size:]).strip()
    if "kind" in header:
        return _check_of_kind(check, header, sql, shown)
    foreign = next((key for key in _OF_KINDS if key in header), None)
    if foreign is not None:
        raise _fault(f"{foreign} belongs to a kind of check.", shown, header[foreign][1], "Add '-- kind: ...'.")
    _check_query(sql, check.id, shown, first)
    if "expect" not in header:
        raise _fault(f"The check {check.id} expects nothing.", shown, first, f"Add '-- expect:' {_one_of()}.")
    return Check(
        id=check.id,
        title=check.title,
        phase=check.phase,
        severity=check.severity,
        file=path,
        line=first,
        sql=sql,
        expect=_expect(header["expect"], shown),
    )


def _check_of_kind(check: Check, header: Header, sql: str, shown: str) -> Check:
    name, line = header["kind"]
    if name not in KINDS:
        raise _fault(f"There is no kind of check {name!r}.", shown, line, suggestion(name, KINDS))
    if "expect" in header:
        raise _fault("A kind says itself what it expects.", shown, header["expect"][1], "Remove the line 'expect:'.")
    spec = _spec(name, header, line, shown)
    if KINDS[name].query:
        _check_query(sql, check.id, shown, check.line)
    elif _code(sql):
        raise _fault(f"A check of kind {name!r} makes its own query.", shown, check.line, "Remove the query below it.")
    return replace(check, sql=sql if KINDS[name].query else "", expect=str(spec), spec=spec)


def _spec(name: str, header: Header, line: int, shown: str) -> Spec:
    values = {key: value for key, (value, _) in header.items() if key not in _KEYS}
    try:
        return read_kind(name, values)
    except KindFault as fault:
        raise _fault(fault.what, shown, header[fault.key][1] if fault.key else line, fault.do) from None


def program_check(source: SourceFile, shown: str) -> Check | None:
    """The check of a Python program; None for a helper module, whose docstring begins otherwise. Raises PlanError."""
    try:
        tree = ast.parse(source.text)
    except SyntaxError as error:
        raise _fault(f"This is not valid Python: {error.msg}.", shown, error.lineno or 0) from None
    docstring = ast.get_docstring(tree, clean=False)
    if docstring is None or not docstring.lstrip().lower().startswith("check:"):
        return None
    # The docstring's first line may stand below its quotes.
    skipped = len(docstring) - len(docstring.lstrip())
    first = tree.body[0].lineno + docstring.count("\n", 0, skipped)
    header, _ = _header(docstring.lstrip().splitlines(), first, _PY_HEADER, shown)
    for key in ("expect", "kind"):
        if key in header:
            raise _fault("A program says itself what it expected.", shown, header[key][1], f"Remove the line '{key}:'.")
    check = _check(header, first, source.path, shown)
    return Check(
        id=check.id,
        title=check.title,
        phase=check.phase,
        severity=check.severity,
        file=source.path,
        line=first,
        program=source.path,
    )


def _header(lines: list[str], first: int, pattern: re.Pattern[str], shown: str) -> tuple[Header, int]:
    """The header's keys with value and line, and how many lines it has; it ends at the first other line."""
    header: Header = {}
    for offset, text in enumerate(lines):
        found = pattern.match(text)
        if found is None:
            return header, offset
        name, value, line = found.group(1).lower(), found.group(2), first + offset
        known = (*_KEYS, *_OF_KINDS) if pattern is _SQL_HEADER else _KEYS
        if name not in known:
            raise _fault(f"Unknown key {name} in the header of a check.", shown, line, suggestion(name, known))
        if name in header:
            raise _fault(f"The header names {name} twice.", shown, line, "Remove one of them.")
        if not value:
            raise _fault(f"{name} is empty.", shown, line, "Write a value after the colon.")
        header[name] = (value, line)
    return header, len(lines)


def _check(header: Header, first: int, path: str, shown: str) -> Check:
    """The part of a check that queries and programs share."""
    check_id, line = header["check"]
    if not _ID.fullmatch(check_id):
        raise _fault(
            f"The id {check_id!r} has characters or a length an id cannot have.",
            shown,
            line,
            f"Use letters, digits, '_', '.' and '-', a letter or digit first, at most {MAX_ID}.",
        )
    if "title" not in header:
        raise _fault(f"The check {check_id} has no title.", shown, first, "Say in one line what holds when it passes.")
    severity, line = header.get("severity", ("error", first))
    known = [member.value for member in Severity]
    if severity not in known:
        raise _fault(f"severity cannot be {severity!r}.", shown, line, suggestion(severity, known))
    phase = header.get("phase", ("", 0))[0]
    return Check(check_id, header["title"][0], phase, Severity(severity), path, first)


def _expect(entry: tuple[str, int], shown: str) -> str:
    text, line = entry
    found = _EXPECT.match(text)
    if found is None:
        raise _fault(f"expect cannot be {text!r}.", shown, line, f"Use {_one_of()}.")
    operator, value = found.group(2), found.group(3)
    if operator is None:
        return text
    if operator != "=" and not _is_number(value):
        raise _fault(f"{value!r} is no number, so nothing can be {operator} it.", shown, line, "Write a number.")
    return f"value {operator} {value}"


def _one_of() -> str:
    return "one of: " + ", ".join(_EXPECTATIONS)


def _is_number(text: str) -> bool:
    try:
        return Decimal(text).is_finite()
    except InvalidOperation:
        return False


def _code(sql: str) -> str:
    """The SQL without comments, and with what is quoted made harmless."""
    return _OPAQUE.sub(lambda found: " " if found.group("comment") else "''", sql).strip()


def _check_query(sql: str, check_id: str, shown: str, first: int) -> None:
    code = _code(sql)
    if not code.strip(";").strip():
        raise _fault(f"The check {check_id} has no query.", shown, first, "Write it below the header.")
    if ";" in code.rstrip().rstrip(";"):
        raise _fault(f"The check {check_id} has several statements.", shown, first, "Give each query its own header.")
    if not _FIRST_WORD.match(code):
        raise _fault(f"The check {check_id} is no query.", shown, first, "Begin it with SELECT, WITH, VALUES or TABLE.")


def duplicate(checks: Iterable[Check]) -> tuple[Check, Check] | None:
    """The first two checks with one id, or None."""
    seen: dict[str, Check] = {}
    for check in checks:
        if check.id in seen:
            return seen[check.id], check
        seen[check.id] = check
    return None
