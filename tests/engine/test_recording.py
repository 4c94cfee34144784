"""A run recorded by its own journal: at every moment it says what the screens said then, from a file as well."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from console.errors import UsageError
from console.journal.connect import Conn, connect
from console.journal.read import run_state
from console.journal.recorded import record
from console.journal.recording import Recording
from console.journal.recording_file import from_lines, to_lines
from console.journal.state import RunState, RunStatus, TaskStatus, Verb
from tests.engine.scene import WHOLE, a_database, a_plan, a_run, order
from tests.engine.tiny import ferry, tiny_plan

STOPS = ("compare", "drain")  # the run stops behind these, so that its state then can be kept beside


def _comparable(state: RunState) -> RunState:
    """What a recording promises to say as the screens did: everything but clocks, the lease and sampled facts."""
    return replace(
        state,
        server_now=datetime.min,
        lease=None,
        finished_at=None,
        sessions=(),
        lock_wait=None,
        traffic=None,
        progress=tuple(p for p in state.progress if p.finished),
        tasks=tuple(replace(task, note="", seconds=round(task.seconds, 3)) for task in state.tasks),
        comparisons=tuple(replace(found, age_s=0.0) for found in state.comparisons),
        checks=tuple(sorted(state.checks, key=lambda check: (check.task_id, check.check_id))),
    )


def _now(conn: Conn, run_id: int) -> tuple[datetime, RunState]:
    state = run_state(conn, run_id, environment="DEV")
    return state.server_now, _comparable(state)


@pytest.fixture
def told(database: str) -> tuple[Recording, list[tuple[datetime, RunState]]]:
    """A whole run forward with two stops and back to the start, and its state at each stop."""
    a_database(database, rows=400).close()
    plan = a_plan(*WHOLE)
    run_id = a_run(database, plan)
    seen = []
    with connect(database, application_name="pgferry test") as conn:
        seen.append(_now(conn, run_id))
        for until in (*STOPS, "end"):
            order(database, plan, run_id, Verb.START, until=until)
            seen.append(_now(conn, run_id))
        order(database, plan, run_id, Verb.ROLLBACK, to="start")
        seen.append(_now(conn, run_id))
        return record(conn, run_id, "DEV"), seen


def test_a_recording_says_what_the_screens_said_at_each_moment(
    told: tuple[Recording, list[tuple[datetime, RunState]]],
) -> None:
    recorded, seen = told
    for moment, state in seen:
        shown = _comparable(recorded.at(moment))
        # Rejects that went with the rollback are no longer known; the log and all else is.
        # Of pictures of the surroundings one every two seconds is kept.
        less = replace(shown, rejects=(), activity=None, around=())
        assert less == replace(state, rejects=(), activity=None, around=()), state.status
    assert [state.status for _, state in seen][-2:] == [RunStatus.DONE, RunStatus.ROLLED_BACK]
    assert recorded.at(recorded.began - timedelta(seconds=1)).status is RunStatus.NEW
    middle = recorded.at(next(event.at for event in recorded.events if event.task_id == "copy"))
    assert middle.status is RunStatus.RUNNING
    assert middle.lease is not None
    assert middle.lease.alive
    copying = next(task for task in middle.tasks if task.id == "copy")
    assert copying.status is TaskStatus.IN_PROGRESS
    assert copying.seconds >= 0


def test_a_file_holds_all_of_it(told: tuple[Recording, list[tuple[datetime, RunState]]]) -> None:
    recorded, _ = told
    lines = list(to_lines(recorded))
    again = from_lines(lines, "run.jsonl")
    assert again == recorded
    assert again.at(again.ended) == recorded.at(recorded.ended)
    assert list(to_lines(again)) == lines
    for broken in ('{"is":"event"}', "[]", "nonsense", '{"is":"nothing"}', '{"is":"run","format":0}'):
        with pytest.raises(UsageError, match=r"run\.jsonl:2"):
            from_lines([lines[0] + "\n", broken + "\n"], "run.jsonl")
    with pytest.raises(UsageError, match="no recording"):
        from_lines([], "run.jsonl")


def test_live_facts_are_kept_every_two_seconds_and_their_last_word_always(database: str) -> None:
    a_database(database).close()
    run_id = a_run(database, a_plan(*WHOLE))
    with connect(database, application_name="pgferry test") as conn:

        def live(payload: str) -> None:
            conn.execute(
                "INSERT INTO pgferry.live (run_id, name, payload) VALUES (%s, 'progress:x', %s)"
                " ON CONFLICT (run_id, name) DO UPDATE SET payload = excluded.payload",
                (run_id, payload),
            )

        def kept() -> list[str | None]:
            rows = conn.execute(
                "SELECT payload ->> 'rows' FROM pgferry.history WHERE kind = 'live' ORDER BY id"
            ).fetchall()
            return [row[0] for row in rows]

        for rows in range(5):
            live(f'{{"rows": {rows}, "finished": false}}')
        assert kept() == ["0"]
        conn.execute("UPDATE pgferry.history SET at = at - interval '3 s'")
        live('{"rows": 5, "finished": false}')
        live('{"rows": 6, "finished": false}')
        live('{"rows": 7, "finished": true}')
        live('{"rows": 7, "finished": true}')
        conn.execute("DELETE FROM pgferry.live WHERE run_id = %s", (run_id,))
        assert kept() == ["0", "5", "7", None]


def test_statements_that_may_name_a_secret_are_not_exported(database: str) -> None:
    a_database(database).close()
    run_id = a_run(database, a_plan(*WHOLE))
    with connect(database, application_name="pgferry test") as conn:
        sessions = (
            '[{"pid": 1, "application": "a", "user": "u", "state": "active", "age_s": 1, "role": "blocks us",'
            ' "query": "ALTER ROLE app PASSWORD \'hunter2\'"},'
            ' {"pid": 2, "application": "a", "user": "u", "state": "active", "age_s": 1, "role": "blocks us",'
            ' "query": "SELECT 1"}]'
        )
        conn.execute("INSERT INTO pgferry.live VALUES (%s, 'sessions:lock', %s)", (run_id, sessions))
        text = "\n".join(to_lines(record(conn, run_id, "DEV")))
    assert "hunter2" not in text
    assert "SELECT 1" in text


def test_the_command_exports_a_run_and_refuses_what_is_none(database: str, tmp_path: Path) -> None:
    root = str(tiny_plan(tmp_path))
    assert ferry("apply", "--plan", root, "--dsn", database)[0] == 0
    code, out, err = ferry("report", "--dsn", database, "--format", "jsonl")
    assert code == 0, err
    recorded = from_lines(out.splitlines(), "stdout")
    assert recorded.at(recorded.ended).status is RunStatus.DONE
    nonsense = tmp_path / "x.jsonl"
    nonsense.write_text("{}\n")
    code, _, err = ferry("replay", str(nonsense), TERM="xterm")
    assert code == 2
    assert "x.jsonl:1: this is no line of a recording" in err
    code, _, err = ferry("replay", "77", "--dsn", database, TERM="xterm")
    assert code == 2
    assert "There is no run 77" in err
    code, _, err = ferry("replay", str(tmp_path / "absent.jsonl"), TERM="xterm")
    assert (code, "cannot be read" in err) == (2, True)


def test_the_report_as_a_page_needs_nothing_else(database: str, tmp_path: Path) -> None:
    root = str(tiny_plan(tmp_path))
    assert ferry("apply", "--plan", root, "--dsn", database)[0] == 0
    assert ferry("rollback", "--plan", root, "--dsn", database, "--to", "start")[0] == 0
    code, out, err = ferry("report", "--dsn", database, "--format", "html")
    assert code == 0, err
    assert out.startswith("<!doctype html>")
    assert "http" not in out.replace("http-equiv", "")
    for said in ("the run: running", "the run: rolling back", "A1 Make things", "<h2>Checks</h2>", "<svg "):
        assert said in out
