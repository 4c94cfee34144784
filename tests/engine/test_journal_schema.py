"""The journal's schema: made once, brought up to date, refused when it is newer, and its events only ever added."""

from __future__ import annotations

import psycopg
import pytest

from console.errors import Refused
from console.journal import events, runs, schema
from console.journal.connect import connect
from tests.engine.scene import WHOLE, a_plan


def test_an_older_journal_is_brought_up_to_date(database: str) -> None:
    with connect(database) as conn:
        schema.install(conn)
        conn.execute("DROP TRIGGER append_only ON pgferry.event")
        conn.execute("COMMENT ON SCHEMA pgferry IS 'journal of pgferry, version 1'")
        schema.install(conn)
        assert schema.version(conn) == schema.VERSION
        found = conn.execute("SELECT count(*) FROM pg_trigger WHERE tgname = 'append_only'").fetchone()
        assert found == (2,)  # of events, of approvals


def test_a_newer_journal_is_left_alone(database: str) -> None:
    with connect(database) as conn:
        schema.install(conn)
        conn.execute(f"COMMENT ON SCHEMA pgferry IS 'journal of pgferry, version {schema.VERSION + 1}'")
        with pytest.raises(Refused, match="newer pgferry"):
            schema.install(conn)


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE pgferry.event SET text = 'nothing happened'",
        "DELETE FROM pgferry.event",
        "TRUNCATE pgferry.event",
        "DELETE FROM pgferry.run",
    ],
)
def test_events_are_only_ever_added(database: str, tampering: str) -> None:
    with connect(database) as conn:
        schema.install(conn)
        run_id = runs.create(conn, a_plan(*WHOLE), "tester")
        events.append(conn, run_id, "run", "began", actor="tester")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="only ever added"):
            conn.execute(tampering)
        assert events.broken_links(conn, run_id) == []


@pytest.mark.parametrize("table", ["plan_version", "latency", "history", "control", "noting", "tombstone"])
def test_a_journal_of_this_version_that_lacks_a_table_gets_it(database: str, table: str) -> None:
    with connect(database) as conn:
        schema.install(conn)
        conn.execute(f"DROP TABLE pgferry.{table} CASCADE")
        schema.install(conn)
        assert conn.execute("SELECT to_regclass(%s) IS NOT NULL", (f"pgferry.{table}",)).fetchone() == (True,)
