"""Plan-level hazards with a database at hand: its indexes count as much as the plan's own."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

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


def test_a_partitioned_table_of_the_database_gets_forms_of_its_own(database: str) -> None:
    text = (
        "CREATE INDEX m_x ON m (x);\nALTER TABLE m ADD CONSTRAINT m_key UNIQUE (k);\n"
        "CREATE INDEX CONCURRENTLY m_y ON m (x);\nCREATE INDEX CONCURRENTLY m_z ON ONLY m (x);\nCREATE INDEX m_a ON ONLY m (x);"
    )
    plan = a_plan(a_task("wide", Kind.SQL, file=a_file("1.sql", text), irreversible="a test"))
    with connect(database) as conn:
        conn.execute("CREATE TABLE m (k int, x int) PARTITION BY RANGE (k)")
        index, key, *refused, alone = Previews(plan, conn).of("wide").up
        for statement in refused:
            assert [hazard.code for hazard in statement.hazards] == ["CONCURRENT-ON-PARTITIONED"]
            with pytest.raises(psycopg.errors.FeatureNotSupported):
                conn.execute(statement.sql.encode())
    assert alone.hazards == ()
    assert index.hazards[0].safer.startswith("CREATE INDEX m_x ON ONLY m (x);\n")
    assert key.hazards[0].safer.startswith("ALTER TABLE ONLY m ADD CONSTRAINT m_key UNIQUE (k);\n")
    assert all("CONCURRENTLY" in one.safer for one in (index.hazards[0], key.hazards[0]))


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
