"""Plan-level hazards with a database at hand: its indexes count as much as the plan's own."""

from __future__ import annotations

from pathlib import Path

from console.commands.previews import Previews
from console.headless.plan_text import plan_json, plan_text
from console.journal.connect import connect
from console.plan.model import Kind
from tests.engine.scene import a_file, a_plan, a_task
from tests.engine.tiny import ferry, tiny_plan

KEY = "ALTER TABLE t ADD CONSTRAINT k FOREIGN KEY (p_id) REFERENCES p (id) NOT VALID;\nALTER TABLE t VALIDATE CONSTRAINT k;"


def test_an_index_that_the_database_has_serves_a_new_foreign_key(database: str) -> None:
    task = a_task("key", Kind.SQL, file=a_file("1.sql", KEY), irreversible="a test")
    plan = a_plan(task)
    with connect(database) as conn:
        conn.execute("CREATE TABLE p (id bigint PRIMARY KEY)")
        conn.execute("CREATE TABLE t (id bigint PRIMARY KEY, p_id bigint)")
        conn.execute("CREATE INDEX partial ON t (p_id) WHERE id > 5")
        (hazard,) = Previews(plan, conn).of("key").hazards
        assert (hazard.code, hazard.level) == ("FK-WITHOUT-INDEX", "hurts")
        conn.execute("CREATE INDEX t_p ON t (p_id, id)")
        assert Previews(plan, conn).of("key").hazards == ()
    (hazard,) = Previews(plan).of("key").hazards
    assert hazard.level == "note"


def test_the_printed_plan_names_the_hazards_of_a_task(tmp_path: Path) -> None:
    plan = a_plan(
        a_task("fix", Kind.SQL, file=a_file("1.sql", "DELETE FROM t WHERE x IS NULL;"), irreversible="a test")
    )
    previews = Previews(plan).all()
    assert "HAZARD      UNBOUNDED-DML: 1.sql:1" in plan_text(plan, previews)
    made = plan_json(plan, previews)
    assert made["totals"]["hazards"] == 1
    (hazard,) = made["phases"][0]["tasks"][0]["preview"]["hazards"]
    assert (hazard["code"], hazard["level"]) == ("UNBOUNDED-DML", "hurts")
    code, out, _ = ferry("plan", "--plan", str(tiny_plan(tmp_path, fill="DELETE FROM t WHERE x IS NULL;\n")))
    assert code == 0
    assert "UNBOUNDED-DML" in out
