"""Who leads is switched only while every write is still carried: what came to hide one since the sync went on is named."""

from __future__ import annotations

from dataclasses import replace

import pytest

from console.journal.connect import Conn
from console.journal.state import RunStatus, Verb
from console.plan.model import Leads
from tests.engine.scene import WHOLE, a_database, a_plan, a_run, order

SYNC, REVERSE, BOTH = WHOLE[0], WHOLE[3], WHOLE[4]
PLAN = a_plan(SYNC, REVERSE, replace(BOTH, leads=Leads.NEW))


@pytest.mark.parametrize(
    ("done", "undone", "words"),
    [
        (
            "ALTER TABLE sales DISABLE TRIGGER zz_pgferry_forward",
            "ALTER TABLE sales ENABLE TRIGGER zz_pgferry_forward",
            "trigger zz_pgferry_forward on sales is disabled",
        ),
        (
            "ALTER TABLE sales_v2 ENABLE REPLICA TRIGGER zz_pgferry_reverse",
            "ALTER TABLE sales_v2 ENABLE TRIGGER zz_pgferry_reverse",
            "trigger zz_pgferry_reverse on sales_v2 fires for replicas only",
        ),
        (
            "CREATE RULE elsewhere AS ON INSERT TO sales DO INSTEAD NOTHING",
            "DROP RULE elsewhere ON sales",
            "elsewhere",
        ),
        (
            "ALTER TABLE sales_v2 ADD CONSTRAINT late FOREIGN KEY (good_id) REFERENCES goods (id)"
            " DEFERRABLE INITIALLY DEFERRED",
            "ALTER TABLE sales_v2 DROP CONSTRAINT late",
            "late of",
        ),
    ],
    ids=["disabled", "for replicas only", "a rule", "a deferred constraint"],
)
def test_what_came_to_hide_a_write_since_stops_the_switch(database: str, done: str, undone: str, words: str) -> None:
    with a_database(database, rows=20) as conn:
        run_id = a_run(database, PLAN)
        status, answer = order(database, PLAN, run_id, Verb.START, until="reverse")
        assert status is RunStatus.WAITING, answer
        conn.execute(done)
        status, answer = order(database, PLAN, run_id, Verb.START)
        assert status is RunStatus.FAILED
        assert leads(conn) == "old", "nothing was switched"
        assert words in why(conn, run_id)
        conn.execute(undone)
        status, answer = order(database, PLAN, run_id, Verb.RESUME)
        assert status is RunStatus.DONE, answer
        assert leads(conn) == "new"


def leads(conn: Conn) -> str:
    row = conn.execute("SELECT leads FROM pgferry.lead").fetchone()
    assert row is not None
    return str(row[0])


def why(conn: Conn, run_id: int) -> str:
    row = conn.execute("SELECT error FROM pgferry.task WHERE run_id = %s AND error <> ''", (run_id,)).fetchone()
    assert row is not None
    return str(row[0])
