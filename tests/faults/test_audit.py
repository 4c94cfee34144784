"""The chain of events: whoever reads a report or a status is told whether it is whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from console.journal import events, runs, schema
from console.journal.connect import connect
from tests.engine.scene import WHOLE, a_plan
from tests.engine.tiny import ferry, tiny_plan

TAMPERINGS = {
    "a changed text": "UPDATE pgferry.event SET text = 'nothing happened' WHERE id = 3",
    "a changed actor": "UPDATE pgferry.event SET actor = 'somebody else' WHERE id = 3",
    "an event taken out": "DELETE FROM pgferry.event WHERE id = 3",
    "the last events taken away": "DELETE FROM pgferry.event WHERE id >= 3",
    "all events taken away": "DELETE FROM pgferry.event",
    "a changed event with a hash that fits": (
        "UPDATE pgferry.event SET text = 'x', hash = encode(sha256(convert_to(concat_ws('|', prev_hash,"
        " extract(epoch FROM at), actor, kind, task_id, 'x', data), 'UTF8')), 'hex') WHERE id = 3"
    ),
}


def test_report_and_status_say_whether_the_chain_is_whole(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    plan = tiny_plan(tmp_path)
    assert ferry("apply", "--plan", str(plan), "--dsn", database)[0] == 0
    code, out, _ = ferry("status", "--dsn", database, "--format", "json")
    audit = json.loads(out)["audit"]
    assert (code, audit["intact"], audit["broken"]) == (0, True, [])
    assert audit["events"] > 5
    with connect(database) as conn:
        conn.execute("ALTER TABLE pgferry.event DISABLE TRIGGER append_only")  # a superuser can do that
        conn.execute(TAMPERINGS["a changed text"].encode())
        conn.execute("ALTER TABLE pgferry.event ENABLE TRIGGER append_only")
    code, out, _ = ferry("report", "--dsn", database, "--format", "json")
    audit = json.loads(out)["audit"]
    assert (code, audit["intact"], audit["broken"]) == (0, False, [3])
    assert "BROKEN: events were changed or taken away, see event 3" in ferry("status", "--dsn", database)[1]


@pytest.mark.parametrize("what", TAMPERINGS)
def test_tampering_is_seen(database: str, what: str) -> None:
    with connect(database) as conn:
        schema.install(conn)
        run_id = runs.create(conn, a_plan(*WHOLE), "tester")
        for number in range(5):
            events.append(conn, run_id, "run", f"event {number}", actor="tester", number=number)
        assert events.audit(conn, run_id).intact
        conn.execute("ALTER TABLE pgferry.event DISABLE TRIGGER append_only")
        conn.execute(TAMPERINGS[what].encode())
        audit = events.audit(conn, run_id)
    assert not audit.intact
    assert audit.broken
