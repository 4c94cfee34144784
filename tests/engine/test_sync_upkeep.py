"""A sync that is on follows what later tasks change, and says what a write pays for it."""

from __future__ import annotations

import re

import pytest

from console.journal.connect import connect
from console.journal.state import RunStatus, Verb
from console.plan.model import BackfillSettings, Direction, Kind, Leads
from tests.engine.scene import a_database, a_file, a_plan, a_run, a_task, order
from tests.engine.shapes import SHAPES

SYNC = a_task("sync", Kind.SYNC, mappings=("sales",), direction=Direction.BOTH)
COPY = a_task("copy", Kind.BACKFILL, mappings=("sales",), backfill=BackfillSettings(max_reject_percent=50))


def test_a_constraint_that_a_later_task_adds_is_tested_by_the_sync(database: str) -> None:
    plan = a_plan(
        SYNC,
        COPY,
        a_task(
            "keys", Kind.SQL,
            file=a_file("1.sql", "CREATE UNIQUE INDEX ON sales_v2 (note);\n"
                        "ALTER TABLE sales_v2 ADD FOREIGN KEY (good_id) REFERENCES goods NOT VALID;"),
            down=a_file("1.down.sql", "SELECT 1;"),
        ),
    )  # fmt: skip
    with a_database(database, rows=100) as conn:
        run_id = a_run(database, plan)
        status, _ = order(database, plan, run_id, Verb.START, until="end")
        assert status is RunStatus.DONE, conn.execute("SELECT error FROM pgferry.run").fetchone()
        conn.execute("DELETE FROM pgferry.reject")
        conn.execute("INSERT INTO sales VALUES ('2027-01-01Z', 'S1', 'item1', 1, 'row 1')")
        assert conn.execute("SELECT sqlstate FROM pgferry.reject").fetchall() == [("23505",)]
        functions = conn.execute(
            "SELECT string_agg(prosrc, '') FROM pg_proc WHERE proname = 'sales_forward'"
        ).fetchone()
        assert functions is not None
        assert "good_id: no such row in goods" in functions[0]
        events = [row[0] for row in conn.execute("SELECT text FROM pgferry.event ORDER BY id").fetchall()]
        assert "the sync of sales follows what changed on its tables" in events


def test_what_a_write_pays_is_measured_and_leaves_nothing(database: str) -> None:
    plan = a_plan(SYNC, COPY)
    with a_database(database, rows=100) as conn:
        run_id = a_run(database, plan)
        order(database, plan, run_id, Verb.START, until="sync")
        row = conn.execute("SELECT note FROM pgferry.task WHERE task_id = 'sync'").fetchone()
        assert row is not None
        assert re.search(r"triggers on; adds to a write of sales up to about \d+ us a row", row[0]), row
        assert conn.execute("SELECT count(*) FROM sales_v2").fetchone() == (0,)
        assert conn.execute("SELECT count(*) FROM pgferry.reject").fetchone() == (0,)
        assert conn.execute("SELECT is_called FROM pgferry.sales_new_writes").fetchone() == (False,)


@pytest.mark.parametrize("anybody", [True, False])
def test_a_schema_in_which_anybody_makes_functions_is_warned_of(database: str, anybody: bool) -> None:
    plan = a_plan(SYNC, COPY)
    with a_database(database, rows=10) as conn:
        conn.execute(f"{'GRANT' if anybody else 'REVOKE'} CREATE ON SCHEMA public {'TO' if anybody else 'FROM'} PUBLIC")
        run_id = a_run(database, plan)
        order(database, plan, run_id, Verb.START, until="sync")
        told = [row[0] for row in conn.execute("SELECT text FROM pgferry.event WHERE kind = 'warning'").fetchall()]
        assert any('REVOKE CREATE ON SCHEMA "public" FROM PUBLIC' in text for text in told) is anybody, told


def test_triggers_of_an_application_are_not_fired_to_measure(database: str) -> None:
    plan = a_plan(SYNC, COPY)
    with a_database(database, rows=100) as conn:
        conn.execute(
            "CREATE SEQUENCE fired; CREATE FUNCTION fire() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN PERFORM nextval('public.fired'); RETURN NEW; END $$;"
            "CREATE TRIGGER fire BEFORE INSERT ON sales_v2 FOR EACH ROW EXECUTE FUNCTION fire()"
        )
        run_id = a_run(database, plan)
        order(database, plan, run_id, Verb.START, until="sync")
        assert conn.execute("SELECT is_called FROM fired").fetchone() == (False,)
        row = conn.execute("SELECT note FROM pgferry.task WHERE task_id = 'sync'").fetchone()
        assert row == ("triggers on; its cost was not measured: triggers of the application would fire",)


def test_a_partition_that_was_added_is_covered_and_a_disabled_trigger_stops_the_switch(database: str) -> None:
    shape = next(shape for shape in SHAPES if shape.id == "partitioned_old")
    plan = a_plan(
        a_task("sync", Kind.SYNC, mappings=(shape.id,), direction=Direction.BOTH),
        a_task("compare", Kind.CHECK, mappings=(shape.id,)),
        a_task("switch", Kind.SWITCH, mappings=(shape.id,), leads=Leads.NEW),
        mapping=shape.mapping(),
    )
    with connect(database, application_name="application") as conn:
        conn.execute(shape.setup)
        run_id = a_run(database, plan)
        order(database, plan, run_id, Verb.START, until="sync")
        conn.execute("CREATE TABLE old_4 PARTITION OF old_t FOR VALUES FROM ('2030-01-01Z') TO ('2031-01-01Z')")
        conn.execute("INSERT INTO old_t VALUES ('2030-05-01Z', 1, 1), ('2026-01-01Z', 2, 2)")
        status, _ = order(database, plan, run_id, Verb.START, until="compare")
        assert status is RunStatus.WAITING, conn.execute("SELECT error FROM pgferry.run").fetchone()
        conn.execute("TRUNCATE old_4")
        assert conn.execute("SELECT id FROM new_t").fetchall() == [(2,)]
        conn.execute("ALTER TABLE old_2 DISABLE TRIGGER zz_pgferry_forward")
        status, _ = order(database, plan, run_id, Verb.START, until="end")
        assert status is RunStatus.FAILED
        row = conn.execute("SELECT error FROM pgferry.task WHERE task_id = 'switch'").fetchone()
        assert row is not None
        assert "trigger zz_pgferry_forward on old_2 is disabled: writes to it are not carried" in row[0]
        assert conn.execute("SELECT leads FROM pgferry.lead").fetchone() == ("old",)
