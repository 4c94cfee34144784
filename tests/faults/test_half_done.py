"""Taking back a task of which only some statements were done: nothing is left, and nothing is passed over wrongly."""

from __future__ import annotations

import pytest

from console.demo.server import EmbeddedServer
from console.journal.state import RunStatus, Verb
from console.plan.model import Kind
from tests.engine.scene import a_database, a_file, a_plan, a_run, a_task, dump, order
from tests.faults.tools import state_of

FAILS = "SELECT 1 / 0;\n"


def _there_and_back(server: EmbeddedServer, database: str, up: str, down: str) -> tuple[RunStatus, str, bool]:
    """Run ``up``, which fails, then ``down``: the run's status, its error, whether the schema is as before."""
    conn = a_database(database)
    conn.execute("ALTER TABLE sales ADD COLUMN legacy text")
    before = dump(database, server.binaries.dir)
    plan = a_plan(a_task("ddl", Kind.SQL, file=a_file("1.sql", up), down=a_file("1.down.sql", down)))
    run_id = a_run(database, plan)
    assert order(database, plan, run_id, Verb.START, until="end")[0] is RunStatus.FAILED
    status, _ = order(database, plan, run_id, Verb.ROLLBACK, to="start")
    conn.close()
    return status, state_of(database, run_id).error, dump(database, server.binaries.dir) == before


@pytest.mark.parametrize(
    ("up", "down"),
    [
        pytest.param(
            "CREATE TABLE one (i int);\n" + FAILS + "CREATE TABLE two (i int);",
            "BEGIN;\nDROP TABLE two;\nDROP TABLE one;\nCOMMIT;",
            id="one group takes back what was made and what was not",
        ),
        pytest.param(
            "CREATE TABLE one (i int);\n" + FAILS + "CREATE TABLE two (i int);",
            "DROP TABLE two, one;",
            id="one statement drops both",
        ),
        pytest.param(
            "ALTER TABLE sales ADD COLUMN a int;\n" + FAILS + "ALTER TABLE sales ADD COLUMN b int;",
            "ALTER TABLE sales DROP COLUMN b, DROP COLUMN a;",
            id="one statement drops both columns",
        ),
        pytest.param(
            FAILS + "ALTER TABLE sales DROP COLUMN legacy;",
            "ALTER TABLE sales ADD COLUMN legacy text;",
            id="what was never dropped is not made again",
        ),
        pytest.param(
            "CREATE TABLE one (i int);\n"
            + FAILS
            + "ALTER TABLE one RENAME TO uno;\nCREATE INDEX CONCURRENTLY x ON uno (i);",
            "DROP INDEX CONCURRENTLY x;\nALTER TABLE uno RENAME TO one;\nDROP TABLE one;",
            id="renamed back only where it was renamed",
        ),
        pytest.param(
            "CREATE SCHEMA made;\n"
            + FAILS
            + "CREATE TABLE made.t (i int);\nCREATE VIEW made.v AS SELECT * FROM made.t;",
            "BEGIN;\nDROP VIEW made.v;\nDROP TABLE made.t;\nDROP SCHEMA made;\nCOMMIT;",
            id="a schema of its own",
        ),
    ],
)
def test_what_was_made_goes_and_what_was_not_is_passed_over(
    server: EmbeddedServer, database: str, up: str, down: str
) -> None:
    assert _there_and_back(server, database, up, down) == (RunStatus.ROLLED_BACK, "", True)


@pytest.mark.parametrize(
    ("up", "down"),
    [
        pytest.param("CREATE TABLE one (i int);\n" + FAILS, "DROP TABLE onne;", id="a wrong name"),
        pytest.param(
            "CREATE TABLE one (i int);\n" + FAILS + "CREATE TABLE two (i int);",
            "BEGIN;\nDROP TABLE two;\nDROP TABLE onne;\nCOMMIT;",
            id="a wrong name in a group",
        ),
    ],
)
def test_a_way_back_that_misses_what_was_made_fails(server: EmbeddedServer, database: str, up: str, down: str) -> None:
    status, error, as_before = _there_and_back(server, database, up, down)
    assert (status, as_before) == (RunStatus.FAILED, False)
    assert 'relation "onne" does not exist' in error or 'table "onne" does not exist' in error
