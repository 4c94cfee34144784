"""The state of a run, read in one transaction-less sweep for consoles and reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from console.journal import comparisons, lease, traffic
from console.journal.activity import Activity, Drain, a_drain, an_activity
from console.journal.connect import Conn, target
from console.journal.look import SELDOM
from console.journal.state import (
    CheckState,
    Event,
    LockWait,
    Progress,
    RunState,
    RunStatus,
    Session,
    Setting,
    Signal,
    StatementState,
    Target,
    TaskState,
    TaskStatus,
)
from console.plan.model import Plan

EVENTS_SHOWN = 500


def run_state(
    conn: Conn, run_id: int, *, environment: str, tally: traffic.Tally | None = None, events: int = EVENTS_SHOWN
) -> RunState:
    """Everything a console shows of the run now. Raises KeyError for an unknown run."""
    row = conn.execute(
        "SELECT clock_timestamp(), plan_id, plan_title, plan_sha256, status, until, operator, started_at, finished_at,"
        " error, back_to FROM pgferry.run WHERE id = %s",
        (run_id,),
    ).fetchone()
    if row is None:
        raise KeyError(run_id)
    tasks = _tasks(conn, run_id)
    seen = next(iter(_live(conn, run_id, "activity")), None)
    return RunState(
        target=target(conn, environment),
        server_now=row[0],
        run_id=run_id,
        plan_id=row[1],
        plan_title=row[2],
        plan_sha256=row[3],
        status=RunStatus(row[4]),
        until=row[5],
        operator=row[6],
        started_at=row[7],
        finished_at=row[8],
        error=row[9],
        back_to=row[10],
        lease=lease.read(conn, run_id),
        tasks=tasks,
        statements=_statements(conn, run_id),
        progress=_progress(conn, run_id),
        checks=_checks(conn, run_id),
        events=_events(conn, run_id, events),
        sessions=sessions(conn, run_id),
        lock_wait=_lock_wait(conn, run_id),
        activity=an_activity(seen) if seen else None,
        around=tuple(Session(**item) for item in seen["sessions"]) if seen else (),
        drain=_drain(conn, run_id),
        traffic=(tally or traffic.Tally()).read(conn, row[7], row[8]),
        leads=tuple(conn.execute("SELECT mapping, leads FROM pgferry.lead ORDER BY mapping").fetchall()),
        rejects=tuple(
            conn.execute(
                SELDOM + "SELECT mapping, reason, count(*) FROM pgferry.reject GROUP BY 1, 2 ORDER BY 1, 3 DESC, 2"
            ).fetchall()
        ),
        comparisons=comparisons.newest(conn),
    )


@dataclass(frozen=True, slots=True)
class FoundRun:
    """A run in few words, for somebody who only knows the database. ``going``: a runner holds it or should.

    ``lost``: one should, and none gives a sign of life.
    """

    id: int
    title: str
    status: str
    done: int
    total: int
    operator: str
    started_at: datetime | None
    going: bool
    lost: bool


def found_runs(conn: Conn, limit: int) -> tuple[FoundRun, ...]:
    """The newest runs of this database, newest first."""
    rows = conn.execute(
        "SELECT r.id, r.plan_title, r.status, count(*) FILTER (WHERE t.status = 'completed'), count(t.task_id),"
        " r.operator, r.started_at, r.status IN ('running', 'pausing', 'rolling back')"
        " FROM pgferry.run r LEFT JOIN pgferry.task t ON t.run_id = r.id GROUP BY r.id ORDER BY r.id DESC LIMIT %s",
        (limit,),
    ).fetchall()
    return tuple(FoundRun(*(*row, row[7] and _lost(conn, row[0]))) for row in rows)


def _lost(conn: Conn, run_id: int) -> bool:
    held = lease.read(conn, run_id)
    return held is None or not held.alive


def fresh_state(
    conn: Conn, plan: Plan, *, environment: str, operator: str, before: Mapping[str, str] | None = None
) -> RunState:
    """The state shown before the first start: nothing written to the database, every task pending.

    ``before``: but for those that were done before, with a note for each.
    """
    row = conn.execute("SELECT clock_timestamp()").fetchone()
    assert row is not None
    return paper_state(plan, target(conn, environment), row[0], operator, before)


def paper_state(
    plan: Plan, where: Target, now: datetime, operator: str, before: Mapping[str, str] | None = None
) -> RunState:
    """A plan that nobody has started; ``before`` as above."""
    before = before or {}
    return RunState(
        target=where,
        server_now=now,
        run_id=0,
        plan_id=plan.id,
        plan_title=plan.title,
        plan_sha256=plan.sha256,
        status=RunStatus.NEW,
        until="",
        operator=operator,
        started_at=None,
        finished_at=None,
        error="",
        lease=None,
        tasks=tuple(
            TaskState(
                id=task.id,
                title=task.title,
                kind=task.kind.value,
                phase_id=phase.id,
                phase_title=phase.title,
                status=TaskStatus.BEFORE if task.id in before else TaskStatus.PENDING,
                note=before.get(task.id, ""),
                estimate_minutes=task.minutes,
                irreversible=task.irreversible,
                depends=task.depends,
            )
            for phase in plan.phases
            for task in phase.tasks
        ),
    )


def _tasks(conn: Conn, run_id: int) -> tuple[TaskState, ...]:
    rows = conn.execute(
        "SELECT task_id, title, kind, phase_id, phase_title, status, estimate_minutes, irreversible, depends,"
        " started_at, finished_at, CASE WHEN status = 'in progress' AND started_at IS NOT NULL"
        " THEN greatest(extract(epoch FROM clock_timestamp() - started_at), 0) ELSE extract(epoch FROM worked) END::float,"
        " operator, blocked_on, note, error, attempts FROM pgferry.task WHERE run_id = %s ORDER BY position",
        (run_id,),
    ).fetchall()
    return tuple(
        TaskState(
            id=r[0],
            title=r[1],
            kind=r[2],
            phase_id=r[3],
            phase_title=r[4],
            status=TaskStatus(r[5]),
            estimate_minutes=r[6],
            irreversible=r[7],
            depends=tuple(r[8]),
            started_at=r[9],
            finished_at=r[10],
            seconds=r[11],
            operator=r[12],
            blocked_on=r[13],
            note=r[14],
            error=r[15],
            attempts=r[16],
        )
        for r in rows
    )


def _statements(conn: Conn, run_id: int) -> tuple[StatementState, ...]:
    rows = conn.execute(
        "SELECT s.task_id, s.direction, s.ordinal, s.sql, s.status, s.attempts, s.lock_wait_ms, s.ms, s.error"
        " FROM pgferry.statement s JOIN pgferry.task t USING (run_id, task_id, round) WHERE s.run_id = %(run)s"
        " AND (s.task_id, s.direction) = (SELECT task_id, direction FROM pgferry.statement WHERE run_id = %(run)s"
        " ORDER BY started_at DESC LIMIT 1) ORDER BY s.ordinal",
        {"run": run_id},
    ).fetchall()
    return tuple(StatementState(*r) for r in rows)


def _live(conn: Conn, run_id: int, prefix: str) -> list[Any]:
    rows = conn.execute(
        "SELECT payload FROM pgferry.live WHERE run_id = %s AND starts_with(name, %s) ORDER BY name", (run_id, prefix)
    ).fetchall()
    return [row[0] for row in rows]


def _progress(conn: Conn, run_id: int) -> tuple[Progress, ...]:
    return tuple(a_progress(payload) for payload in _live(conn, run_id, "progress:"))


def a_progress(payload: dict[str, Any]) -> Progress:
    """A copy's or comparison's progress from the journal's live fact."""
    return Progress(
        **{
            **payload,
            "rates": tuple(payload["rates"]),
            "signals": tuple(Signal(**signal) for signal in payload["signals"]),
            "settings": tuple(Setting(**setting) for setting in payload.get("settings", ())),
            "hands": tuple(payload.get("hands", ())),
        }
    )


def progress_of(conn: Conn, run_id: int, name: str) -> Progress | None:
    """One copy's or comparison's progress as it was last reported, None before that."""
    row = conn.execute("SELECT payload FROM pgferry.live WHERE run_id = %s AND name = %s", (run_id, name)).fetchone()
    return None if row is None else a_progress(row[0])


def sessions(conn: Conn, run_id: int) -> tuple[Session, ...]:
    """The sessions that matter to the run now, as its runner last saw them."""
    return tuple(Session(**item) for payload in _live(conn, run_id, "sessions:") for item in payload)


def around(conn: Conn, run_id: int) -> tuple[Session, ...]:
    """The sessions around the plan's tables, as its runner last saw them."""
    return tuple(Session(**item) for payload in _live(conn, run_id, "activity") for item in payload["sessions"])


def activity(conn: Conn, run_id: int) -> Activity | None:
    """What the run's runner last saw around the plan's tables; None where it never looked."""
    return next((an_activity(payload) for payload in _live(conn, run_id, "activity")), None)


def _drain(conn: Conn, run_id: int) -> Drain | None:
    return next((a_drain(payload) for payload in _live(conn, run_id, "drain")), None)


def _lock_wait(conn: Conn, run_id: int) -> LockWait | None:
    return next((LockWait(**payload) for payload in _live(conn, run_id, "lock:wait")), None)


def _checks(conn: Conn, run_id: int) -> tuple[CheckState, ...]:
    rows = conn.execute(
        "SELECT task_id, check_id, title, severity, ok, expected, actual, ms, at, rows FROM ("
        " SELECT DISTINCT ON (task_id, check_id) * FROM pgferry.check_result WHERE run_id = %s"
        " ORDER BY task_id, check_id, id DESC) c ORDER BY ok, severity = 'error' DESC, id",
        (run_id,),
    ).fetchall()
    return tuple(CheckState(*(*r[:9], tuple(r[9]))) for r in rows)


def _events(conn: Conn, run_id: int, limit: int) -> tuple[Event, ...]:
    rows = conn.execute(
        "SELECT id, at, actor, kind, task_id, text FROM pgferry.event WHERE run_id = %s ORDER BY id DESC LIMIT %s",
        (run_id, limit),
    ).fetchall()
    return tuple(Event(*r) for r in reversed(rows))
