"""Headers of checks of a declared kind: what each needs, and one sentence with file and line for what is wrong."""

from __future__ import annotations

import pytest

from console.errors import PlanError
from console.plan.check_kinds import KINDS, Latency, Orphans, Quiet, Size
from console.plan.checks import sql_checks
from console.plan.model import Check, SourceFile, TableName


def read(text: str) -> tuple[Check, ...]:
    return sql_checks(SourceFile("checks/a.sql", text, ""), "checks/a.sql")


def one(settings: str, query: str = "") -> Check:
    lines = "".join(f"-- {line}\n" for line in settings.splitlines())
    (check,) = read(f"-- check: a\n-- title: A\n{lines}{query}")
    return check


GOOD = {
    "equal counts": "tables: a, b",
    "orphans": "table: a\ncolumns: x, y\nreferences: b (p, q)",
    "duplicates": "table: a\ncolumns: x",
    "valid constraints": "tables: a",
    "valid indexes": "tables: a, s.b",
    "unambiguous mapping": "mapping: m",
    "sequences ahead": "tables: a",
    "fresh statistics": "tables: a",
    "uses index": "table: a",
    "latency": "budget_ms: 1",
    "size": "table: a\nat_most_mb: 10",
    "quiet": "tables: a",
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_read_and_says_what_it_expects(kind: str) -> None:
    check = one(f"kind: {kind}\n{GOOD[kind]}", "SELECT 1;\n" if KINDS[kind].query else "")
    assert check.spec is not None
    assert check.expect == str(check.spec)
    assert bool(check.sql) == KINDS[kind].query


def test_names_are_read_as_the_catalogue_has_them() -> None:
    check = one('kind: orphans\ntable: "My, Schema"."T"\ncolumns: "A, b", c\nreferences: s.r (x, "Y")')
    assert check.spec == Orphans(TableName("My, Schema", "T"), ("A, b", "c"), TableName("s", "r"), ("x", "Y"))
    assert one("kind: size\ntable: a\nagainst: b\npercent: 70").spec == Size(
        TableName("public", "a"), None, TableName("public", "b"), 70
    )
    assert one("kind: quiet\ntables: a").spec == Quiet((TableName("public", "a"),), 60)
    latency = one("kind: latency\nrecord: x", "SELECT 1").spec
    assert latency == Latency(200, 99, None, "x", "", "", 20, 0.1)


@pytest.mark.parametrize(
    ("settings", "query", "line", "said"),
    [
        ("kind: orphan", "", 3, "Did you mean orphans"),
        ("kind: orphans\ntable: a\ncolumns: x", "", 3, "references is missing"),
        ("kind: orphans\ntable: a\ncolumns: x\nreferences: b", "", 6, "is no reference"),
        ("kind: orphans\ntable: a\ncolumns: x, y\nreferences: b (z)", "", 6, "2 columns cannot refer to 1"),
        ("kind: equal counts\ntables: a", "", 4, "names 1 tables, not two"),
        ("kind: duplicates\ntable: a b\ncolumns: x", "", 4, "names no table"),
        ("kind: duplicates\ntable: a\ncolumns: x y", "", 5, "names no column"),
        ("kind: quiet\ntables: a\nseconds: soon", "", 5, "must be a number"),
        ("kind: quiet\ntables: a\nseconds: 0", "", 5, "from 1 to 86400"),
        ("kind: quiet\ntables: a\nseconds: nan", "", 5, "must be a number"),
        ("kind: quiet\ntables: a\nmapping: m", "", 5, "has no mapping"),
        ("kind: quiet\ntables: a", "SELECT 1", 1, "makes its own query"),
        ("kind: uses index\ntable: a", "", 1, "has no query"),
        ("kind: latency", "SELECT 1", 3, "Nothing is asked of the latency"),
        ("kind: latency\nbudget_ms: 1", "DELETE FROM a", 1, "is no query"),
        ("kind: size\ntable: a", "", 3, "at_most_mb is missing"),
        ("kind: quiet\ntables: a\nexpect: true", "", 5, "says itself what it expects"),
        ("expect: true\ntables: a", "SELECT true", 4, "belongs to a kind of check"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(settings: str, query: str, line: int, said: str) -> None:
    with pytest.raises(PlanError) as fault:
        one(settings, query)
    assert said in str(fault.value)
    assert fault.value.line == line
    assert "Traceback" not in str(fault.value)
