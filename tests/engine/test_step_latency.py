"""What applications felt of each phase and kind of step: their operations laid over the run's own steps, both ways."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from console.engine.session import Session
from console.headless.report import report_markdown, report_text
from console.journal import runs, schema, steps
from console.journal.connect import Conn, connect
from console.journal.read import run_state
from console.journal.state import RunStatus, StepLatency, Traffic, Verb
from console.journal.traffic import Trace, record
from console.plan.model import Kind
from tests.engine.scene import WHOLE, a_database, a_plan, a_run, a_session, a_task, order

MS = timedelta(milliseconds=1)
PLAN = a_plan(a_task("ddl", Kind.SQL), a_task("sync", Kind.SYNC, mappings=("sales",)))


@pytest.fixture
def session(database: str) -> Iterator[Session]:
    made = a_session(database, PLAN)
    yield made
    made.drop()


def step(session: Session, task_id: str, way: str, *, end: bool = True) -> None:
    """A step as the runner notes it; it lasts as long as an event takes."""
    session.event("task", "begins", task_id=task_id, edge=steps.BEGIN, way=way)
    session.event("batch", "something in between", task_id=task_id)
    if end:
        session.event("task", "ends", task_id=task_id, edge=steps.END)


def operations(conn: Conn, first: datetime, *known: tuple[timedelta, timedelta, bool]) -> None:
    """One trace whose operations begin so long after ``first``, take so long, and failed or not."""
    us = timedelta(microseconds=1)
    last = max(start + took for start, took, _ in known)
    conn.execute(
        "INSERT INTO pgferry.app_operations (source, began_at, ended_at, starts_us, took_us, failed)"
        " VALUES ('worker', %s, %s, %s, %s, %s)",
        (first, first + last, [s // us for s, _, _ in known], [t // us for _, t, _ in known], [f for _, _, f in known]),
    )


def figures(found: tuple[StepLatency, ...]) -> dict[tuple[str, str], tuple[int, int, float]]:
    """(way, name) -> operations, errors, the slowest in ms."""
    return {(s.way, s.name): (s.latency.operations, s.latency.errors, s.latency.max_ms) for s in found}


def test_an_operation_counts_for_each_step_that_it_overlaps(session: Session) -> None:
    conn = session.conn
    for way in (steps.FORWARD, steps.BACK):
        for task_id in ("ddl", "sync"):
            step(session, task_id, way)
    ddl, sync, ddl_back, sync_back = steps.spans(conn, session.run_id)
    assert [s.kind for s in (ddl, sync, ddl_back, sync_back)] == ["sql", "sync", "sql", "sync"]
    operations(
        conn, ddl.began - 100 * MS,
        (0 * MS, 40 * MS, False), (10 * MS, 20 * MS, True),  # before
        (ddl.began - ddl.began + 99 * MS, (ddl.ended - ddl.began) / 2 + MS, False),  # into the first step
    )  # fmt: skip
    operations(conn, ddl.began, (0 * MS, sync.ended - ddl.began - timedelta(microseconds=1), True))  # through both
    operations(conn, sync_back.began, (timedelta(0), 500 * MS, False))  # from the last step on
    operations(conn, sync_back.ended + 600 * MS, (timedelta(0), 900 * MS, False))  # after all
    found = figures(steps.latencies(conn, session.run_id))
    through = round((sync.ended - ddl.began) / MS, 2)
    assert found["", ""] == (2, 1, 40.0)
    assert found["forward", "sql"][:2] == (2, 1)
    assert found["forward", "sync"][:2] == (1, 1)
    assert found["forward", "sync"][2] == pytest.approx(through, abs=0.02)
    assert found["forward", "1 Only phase"][:2] == (2, 1), "once, though it overlaps two steps of the phase"
    assert found["back", "sql"] == (0, 0, 0.0)
    assert found["back", "sync"] == found["back", "1 Only phase"] == (1, 0, 500.0)


def test_percentiles_are_those_of_the_operations(session: Session) -> None:
    step(session, "ddl", steps.FORWARD)
    (span,) = steps.spans(session.conn, session.run_id)
    operations(session.conn, span.began, *((timedelta(0), n * MS, False) for n in range(1, 101)))
    before, phase, kind = steps.latencies(session.conn, session.run_id)
    assert (kind.latency.p50_ms, kind.latency.p99_ms, kind.latency.max_ms) == (50.0, 99.0, 100.0)
    assert kind.latency == phase.latency
    assert before.latency.operations == 0
    assert kind.seconds == pytest.approx((span.ended - span.began).total_seconds())


def test_a_step_whose_runner_was_killed_ends_where_the_next_begins(session: Session) -> None:
    step(session, "ddl", steps.FORWARD, end=False)
    step(session, "ddl", steps.FORWARD)
    step(session, "sync", steps.FORWARD, end=False)
    first, again, open_ = steps.spans(session.conn, session.run_id)
    assert first.ended == again.began
    assert again.ended < open_.began < open_.ended


def test_a_trace_is_dated_by_the_servers_clock(session: Session) -> None:
    trace = Trace()
    trace.add(100.0, 0.25)
    trace.add(100.5, 1.5, failed=True)
    row = session.conn.execute("SELECT clock_timestamp()").fetchone()
    assert row is not None
    record(session.conn, "worker", trace, 105.0)  # five seconds after the first operation began
    began, ended, upto, rest = (
        session.conn.execute(
            "SELECT began_at, ended_at, clock_timestamp(), (starts_us, took_us, failed)::text FROM pgferry.app_operations"
        ).fetchone()
        or (None,) * 4
    )
    assert row[0] - 5000 * MS <= began <= upto - 5000 * MS
    assert ended - began == 2000 * MS
    assert rest == '("{0,500000}","{250000,1500000}","{f,t}")'


def test_a_whole_run_names_every_kind_of_step_both_ways(database: str) -> None:
    a_database(database, rows=200).close()
    plan = a_plan(*WHOLE)
    run_id = a_run(database, plan)
    with connect(database) as conn:
        trace = Trace()
        trace.add(0.0, 600.0)  # one operation that lasts from before the run till after it
        record(conn, "worker", trace, 1.0)
        assert order(database, plan, run_id, Verb.START, until="end")[0] is RunStatus.DONE
        assert order(database, plan, run_id, Verb.ROLLBACK, to="start")[0] is RunStatus.ROLLED_BACK
        found = steps.latencies(conn, run_id)
        state = run_state(conn, run_id, environment="DEV")
    kinds = ["sync", "backfill", "check", "switch", "drain", "retire"]
    assert [(s.way, s.what, s.name) for s in found] == [
        ("", "", ""),
        ("forward", "phase", "1 Only phase"),
        *(("forward", "kind", kind) for kind in kinds),
        ("back", "phase", "1 Only phase"),
        *(("back", "kind", kind) for kind in ("retire", "drain", "check", "switch", "sync", "backfill")),
    ]
    assert all(s.latency.operations == 1 and s.latency.max_ms == 600_000.0 for s in found[1:])
    drain = next(s for s in found if s.name == "drain")
    assert drain.seconds >= 1.0, "the plan's drain waits for a second of silence"
    none = found[0].latency
    state_with = Traffic(before=none, during=none, now=none, steps=found)
    state = replace(state, traffic=state_with)
    for text in (report_text(state), report_markdown(state)):
        assert "forward, every backfill" in text
        assert "back, every retire" in text
        assert text.count("600000.00") == 3 * (len(found) - 1)


def test_an_interrupted_step_ends_with_the_interruption(database: str) -> None:
    a_database(database, rows=20).close()
    failing = a_task("copy", Kind.BACKFILL, mappings=("sales",))  # without the sync's functions it cannot begin
    plan = a_plan(a_task("look", Kind.CHECK), failing)
    run_id = a_run(database, plan)
    with connect(database) as conn:
        conn.execute("DROP TABLE sales_v2")
        status, _ = order(database, plan, run_id, Verb.START, until="end")
        assert status is RunStatus.FAILED
        *_, copy = steps.spans(conn, run_id)
        row = conn.execute("SELECT max(at) FROM pgferry.event WHERE kind = 'error'").fetchone()
    assert copy.kind == "backfill"
    assert row is not None
    assert copy.ended == row[0]


def test_without_a_step_or_a_report_there_is_nothing(database: str) -> None:
    with connect(database) as conn:
        schema.install(conn)
        assert steps.latencies(conn, runs.create(conn, PLAN, "tester")) == ()
