"""A sync that is on follows what later tasks change, and says what a write pays for it."""

from __future__ import annotations

import re

from console.journal.state import RunStatus, Verb
from console.plan.model import BackfillSettings, Direction, Kind
from tests.engine.scene import a_database, a_file, a_plan, a_run, a_task, order

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
        assert re.search(r"triggers on; adds to a write of sales about \d+ us a row", row[0]), row
        assert conn.execute("SELECT count(*) FROM sales_v2").fetchone() == (0,)
        assert conn.execute("SELECT count(*) FROM pgferry.reject").fetchone() == (0,)
        assert conn.execute("SELECT is_called FROM pgferry.sales_new_writes").fetchone() == (False,)


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
