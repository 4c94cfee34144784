"""Going back over a new table that is empty already: its missing rows are counted by the server, not brought here."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from console.engine import way_back
from console.engine.facts import mapping_facts
from tests.engine.scene import MAPPING, WHOLE, a_database, a_plan, a_session


def test_missing_rows_are_counted_where_they_are(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    a_database(database, rows=1000).close()
    plan = a_plan(*WHOLE)
    session = a_session(database, plan)
    fetched: list[int] = []
    fetch = psycopg.Cursor.fetchall

    def counting(cursor: psycopg.Cursor[Any]) -> list[Any]:
        found = fetch(cursor)
        fetched.append(len(found))
        return found

    monkeypatch.setattr(psycopg.Cursor, "fetchall", counting)
    facts = mapping_facts(session.conn, MAPPING, plan.archive_schema)
    found = way_back._carry_differences(session, plan.task("copy"), MAPPING, facts)
    session.drop()
    assert (found.missing, found.carried, found.stuck) == (959, 0, 0)
    assert len(found.lost_samples) == way_back.SAMPLES
    assert max(fetched) < 100
