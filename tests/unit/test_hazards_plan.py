"""Hazards that only a look at the whole plan shows: each rule's example, and what tells it from its neighbours."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from console.commands.plan_hazards import plan_hazards
from console.commands.previews import Previews
from console.plan.load import load_plan
from console.plan.model import Allow, Kind, Leads, Plan, SourceFile, Task
from console.sql.hazards.allow import counted
from console.sql.hazards.catalogue import RULES
from console.sql.hazards.rule import Rule
from console.sql.model import Hazard
from console.tui.draw.preview import UP, header
from console.tui.facts import Facts
from tests.engine.scene import a_plan, a_task

ROOT = Path(__file__).parents[2]
_FILE = re.compile(r"^-- file: (\S+)\n", re.MULTILINE)
TASKS = {
    "backfill": a_task("copy", Kind.BACKFILL, mappings=("sales",)),
    "check": a_task("compare", Kind.CHECK, mappings=("sales",)),
    "switch": a_task("lead", Kind.SWITCH, mappings=("sales",), leads=Leads.NEW),
    "retire": a_task("retire", Kind.RETIRE, mappings=("sales",)),
}


def _sql_task(number: str, files: dict[str, str], **more: object) -> Task:
    down = files.get(f"{number}.down.sql")
    return a_task(
        number, Kind.SQL, file=SourceFile(f"{number}.sql", files[f"{number}.sql"], "0" * 64),
        down=None if down is None else SourceFile(f"{number}.down.sql", down, "0" * 64), **more,
    )  # fmt: skip


def the_plan(text: str, **more: object) -> Plan:
    """The plan whose files an example lists; ``-- file: tasks`` names tasks over the mapping of the scene."""
    parts = _FILE.split(text)[1:]
    files = dict(zip(parts[::2], parts[1::2], strict=True))
    named = [TASKS[word.strip()] for word in files.pop("tasks", "").split(",") if word.strip()]
    numbers = sorted({name.split(".")[0] for name in files})
    return a_plan(*[_sql_task(number, files, **more) for number in numbers], *named)


def found(plan: Plan, server_version: int = 0) -> list[tuple[str, Hazard]]:
    if server_version:
        hazards = plan_hazards(plan, lambda task: Previews(plan).of(task.id).up, server_version=server_version)
        return [(id_, hazard) for id_, several in hazards.items() for hazard in several]
    return [(id_, hazard) for id_, preview in Previews(plan).all().items() for hazard in preview.hazards]


def codes(text: str, server_version: int = 0) -> list[str]:
    return [hazard.code for _, hazard in found(the_plan(text), server_version)]


def of_files(*texts: str) -> str:
    return "".join(f"-- file: {n}.sql\n{text}\n-- file: {n}.down.sql\nSELECT 1;\n" for n, text in enumerate(texts, 1))


@pytest.mark.parametrize("rule", [rule for rule in RULES.values() if rule.plan], ids=lambda rule: rule.code)
def test_a_rule_fires_on_its_example_and_not_on_the_safe_form(rule: Rule) -> None:
    version = rule.server * 10000 if rule.server < 18 else 0
    assert rule.code in codes(rule.fires, version)
    assert codes(rule.safe, version) == []


def test_the_shipped_plan_has_none_that_it_does_not_accept() -> None:
    plan = load_plan(ROOT / "migrations")
    assert found(plan) == []
    previews = Previews(plan).all()
    assert [hazard for p in previews.values() for s in p.up for hazard in counted(s.hazards)] == []
    assert {hazard.code for p in previews.values() for s in p.up for hazard in s.accepted} == {
        "RENAME-BREAKS-CLIENTS", "TWO-HOT-TABLES", "DROP-TABLE",
    }  # fmt: skip


USED = [
    ("ALTER TABLE t DROP COLUMN x;", "UPDATE t SET x = 1 WHERE id = 1;"),
    ("DROP TABLE t;", "ALTER TABLE t ADD COLUMN y bigint;"),
    ("DROP FUNCTION f();", "CREATE TRIGGER g BEFORE INSERT ON n FOR EACH ROW EXECUTE FUNCTION f();"),
    ("ALTER TABLE t RENAME COLUMN x TO y;", "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT x FROM t';"),
]
NOT_USED = [
    ("DROP TABLE t;", "CREATE TABLE t (id bigint);", "ALTER TABLE t ADD COLUMN y bigint;"),
    ("DROP VIEW v;\nCREATE VIEW v AS SELECT 1 AS one;", "GRANT SELECT ON v TO reader;"),
    ("ALTER TABLE t DROP COLUMN x;", "UPDATE u SET x = 1 WHERE id = 1;"),
    ("ALTER TABLE t DROP COLUMN x;", "ALTER TABLE t ADD COLUMN x bigint;", "UPDATE t SET x = 1 WHERE id = 1;"),
    ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT x FROM t';\nDROP FUNCTION f();", "DROP TABLE t;"),
    ("ALTER TABLE t RENAME TO old_t;\nALTER TABLE new_t RENAME TO t;", "UPDATE t SET x = 1 WHERE id = 1;"),
]


@pytest.mark.parametrize("texts", USED)
def test_a_name_that_goes_while_it_is_used(texts: tuple[str, ...]) -> None:
    ((task, hazard),) = [one for one in found(the_plan(of_files(*texts))) if one[1].code == "NAME-STILL-USED"]
    assert task == "1"
    assert "2.sql:1" in hazard.message


@pytest.mark.parametrize("texts", NOT_USED)
def test_a_name_that_is_free_again(texts: tuple[str, ...]) -> None:
    assert "NAME-STILL-USED" not in codes(of_files(*texts))


def test_a_mapping_that_uses_a_dropped_column() -> None:
    plan = the_plan(of_files("ALTER TABLE sales DROP COLUMN amount;") + "-- file: tasks\nbackfill, check, retire")
    said = [hazard.message for _, hazard in found(plan) if hazard.code == "NAME-STILL-USED"]
    assert "mapping sales in task copy" in said[0]


def test_an_old_table_dropped_by_a_file_before_it_was_compared() -> None:
    text = "-- file: tasks\nbackfill\n" + of_files("DROP TABLE sales;")
    plan = the_plan(text)
    reordered = a_plan(plan.tasks[1], plan.tasks[0])
    assert ("1", "CONTRACT-BEFORE-VALIDATION") in [(id_, h.code) for id_, h in found(reordered)]


BOUND = ["id = 5", "id IN (1, 2)", "id BETWEEN 1 AND 9 AND x IS NULL", "id = 1 OR id = 2", "code = 'BTC'::text"]
UNBOUND = ["x IS NULL", "x > 5", "x IS NULL OR id = 1", "status = 'old'", "id IN (SELECT id FROM u)", "NOT id = 5"]


@pytest.mark.parametrize(("where", "bounded"), [(w, True) for w in BOUND] + [(w, False) for w in UNBOUND])
def test_a_change_of_rows_is_bounded_by_what_names_them(where: str, bounded: bool) -> None:
    assert ("UNBOUNDED-DML" in codes(of_files(f"DELETE FROM t WHERE {where};"))) is not bounded


def test_a_table_that_the_plan_made_may_be_changed_freely() -> None:
    assert "UNBOUNDED-DML" not in codes(of_files("CREATE TABLE t (x bigint);", "UPDATE t SET x = 1 WHERE x IS NULL;"))
    said = [h for _, h in found(the_plan(of_files("CREATE TABLE n (x bigint);", "INSERT INTO n SELECT x FROM t;")))]
    assert [(h.code, h.level) for h in said] == [("UNBOUNDED-DML", "note")]


def test_an_index_of_the_database_may_be_there_for_a_table_the_plan_did_not_make() -> None:
    sql = "ALTER TABLE t ADD CONSTRAINT k FOREIGN KEY (p_id) REFERENCES p (id) NOT VALID;"
    hazards = {h.code: h for _, h in found(the_plan(of_files(sql, "ALTER TABLE t VALIDATE CONSTRAINT k;")))}
    assert hazards["FK-WITHOUT-INDEX"].level == "note"
    assert hazards["FK-WITHOUT-INDEX"].safer == "CREATE INDEX CONCURRENTLY t_p_id_idx ON t (p_id);"


def test_a_task_accepts_a_hazard_of_the_plan_and_what_it_accepts_in_vain_is_said() -> None:
    text = of_files("UPDATE t SET x = 0 WHERE x IS NULL;")
    allow = (Allow("unbounded-dml", "ten rows"), Allow("TRUNCATE", "why not"), Allow("UNBOUNDED-DMLL", "typed"))
    plan = the_plan(text, allow=allow)
    preview = Previews(plan).of("1")
    assert [(h.code, h.allowed) for h in preview.accepted] == [("UNBOUNDED-DML", "ten rows")]
    assert [h.code for h in preview.hazards] == ["ALLOW-UNUSED", "ALLOW-UNKNOWN-CODE"]
    assert "UNBOUNDED-DML?" in preview.hazards[1].message


def test_concurrent_builds_are_dangerous_on_some_servers_only() -> None:
    text = of_files("CREATE INDEX CONCURRENTLY i ON t (x);")
    assert codes(text, 140003) == ["CONCURRENT-BUILD-CORRUPTS"]
    assert codes(text, 140004) == codes(text, 180004) == codes(text) == []


def test_the_header_of_a_preview_shows_what_hurts_first() -> None:
    hostile = 'ALTER TABLE t ADD CONSTRAINT "k\x1b[31m" CHECK (x > 0) NOT VALID;\nDELETE FROM t WHERE x IS NULL;'
    preview = Previews(the_plan(of_files(hostile))).of("1")
    lines = [line.plain for line in header(preview, "A task", UP, Facts(), 80)]
    shown = [line for line in lines if "UNBOUNDED-DML" in line or "NEVER-VALIDATED" in line]
    assert [line.split(":")[0].strip() for line in shown] == ["UNBOUNDED-DML", "NEVER-VALIDATED"]
    assert "\x1b" not in "".join(lines)
