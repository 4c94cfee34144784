"""Dropping what the plan or pgferry made is no hazard to anybody; what is lost with a table still is."""

from __future__ import annotations

import pytest

from console.commands.own_drops import without_expected
from console.commands.previews import Previews
from console.sql.analyse import read_file
from console.sql.hazards.allow import counted
from tests.engine.scene import WHOLE, a_plan


def _left(up: str, down: str) -> list[str]:
    found = without_expected(read_file(up), read_file(down))
    return [hazard.code for statement in found for hazard in statement.hazards]


@pytest.mark.parametrize(("up", "down", "left"), [
    ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "DROP FUNCTION f()", []),
    ("CREATE VIEW app.v AS SELECT 1", "DROP VIEW app.v", []),
    ("CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()", "DROP TRIGGER g ON t", []),
    ("CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()", "DROP TRIGGER g ON u", ["DROP-OBJECT"]),
    ("CREATE TYPE mood AS ENUM ('a')", "DROP TYPE mood", []),
    ("CREATE VIEW v AS SELECT 1", "DROP VIEW v, w", ["DROP-OBJECT", "DROP-OBJECT", "TWO-HOT-TABLES"]),
    ("CREATE TABLE n (id bigint)", "DROP TABLE n", ["DROP-TABLE"]),
    ("SELECT 1", "DROP VIEW v", ["DROP-OBJECT"]),
    ("SELECT 1", "DROP FUNCTION pgferry.carry() CASCADE", []),
    ("SELECT 1", 'DROP TRIGGER "zz_pgferry_forward" ON t', []),
    ("SELECT 1", "DROP TABLE pgferry.gate", []),
])  # fmt: skip
def test_what_is_left(up: str, down: str, left: list[str]) -> None:
    assert _left(up, down) == left


def test_a_purge_counts_the_table_and_none_of_its_triggers() -> None:
    hazards = [h for s in Previews(a_plan(*WHOLE)).of("purge").up for h in counted(s.hazards)]
    assert {hazard.code for hazard in hazards} == {"DROP-TABLE"}
    assert len(hazards) == 1
