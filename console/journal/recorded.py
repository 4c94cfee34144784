"""A run's recording as the journal has it, read in one snapshot."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime
from typing import Any

from console.journal.connect import Conn, target
from console.journal.recording import TRAFFIC_S, Counted, Felt, Frame, Ran, Recording
from console.journal.state import CheckState, ComparisonState, Event, StatementState, TaskState, TaskStatus
from console.journal.traffic import Window

_SECRET = re.compile(r"password|secret|credential|auth", re.IGNORECASE)
_HIDDEN = "(not exported: it may name a secret)"


def record(conn: Conn, run_id: int, environment: str) -> Recording:
    """The whole run as the journal has it now, in one snapshot. Raises KeyError for an unknown run."""
    with conn.transaction():
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        return _record(conn, run_id, environment)


def _record(conn: Conn, run_id: int, environment: str) -> Recording:
    row = conn.execute(
        "SELECT plan_id, plan_title, plan_sha256, operator, created_at, coalesce(finished_at, clock_timestamp())"
        " FROM pgferry.run WHERE id = %s",
        (run_id,),
    ).fetchone()
    if row is None:
        raise KeyError(run_id)
    began, ended = row[4], row[5]
    span = {"run": run_id, "began": began, "ended": ended}
    frames = conn.execute(
        "SELECT at, kind, name, payload FROM pgferry.history WHERE run_id = %(run)s ORDER BY at, id", span
    ).fetchall()
    events = conn.execute(
        "SELECT id, at, actor, kind, task_id, text FROM pgferry.event WHERE run_id = %(run)s ORDER BY at, id", span
    ).fetchall()
    last = max([ended, *(frame[0] for frame in frames[-1:]), *(event[1] for event in events[-1:])])
    return Recording(
        target=target(conn, environment), run_id=run_id, plan_id=row[0], plan_title=row[1], plan_sha256=row[2],
        operator=row[3], began=began, ended=last,
        tasks=_tasks(conn, span),
        frames=tuple(Frame(at, kind, name, _public(kind, name, payload)) for at, kind, name, payload in frames),
        statements=_ran(conn, span),
        checks=_check_states(conn, span),
        comparisons=_compared(conn, span),
        rejects=_counted(conn, span),
        events=tuple(Event(*event) for event in events),
        traffic=_felt(conn, span),
    )  # fmt: skip


def _public(kind: str, name: str, payload: Any) -> Any:
    """A live fact without the statements of other sessions that may name a secret."""
    if kind != "live" or payload is None:
        return payload
    if name == "activity":
        return {**payload, "sessions": _public(kind, "sessions:", payload["sessions"])}
    if not name.startswith("sessions:"):
        return payload
    return [{**item, "query": _HIDDEN} if _SECRET.search(item["query"]) else item for item in payload]


def _tasks(conn: Conn, span: dict[str, Any]) -> tuple[TaskState, ...]:
    rows = conn.execute(
        "SELECT task_id, title, kind, phase_id, phase_title, estimate_minutes, irreversible, depends"
        " FROM pgferry.task WHERE run_id = %(run)s ORDER BY position",
        span,
    ).fetchall()
    return tuple(
        TaskState(r[0], r[1], r[2], r[3], r[4], TaskStatus.PENDING, r[5], irreversible=r[6], depends=tuple(r[7]))
        for r in rows
    )


def _ran(conn: Conn, span: dict[str, Any]) -> tuple[Ran, ...]:
    rows = conn.execute(
        "SELECT started_at, finished_at, round, task_id, direction, ordinal, sql, status, attempts, lock_wait_ms, ms,"
        " error FROM pgferry.statement WHERE run_id = %(run)s ORDER BY started_at, ordinal",
        span,
    ).fetchall()
    return tuple(Ran(began, ended, round_, StatementState(*state)) for began, ended, round_, *state in rows)


def _check_states(conn: Conn, span: dict[str, Any]) -> tuple[CheckState, ...]:
    rows = conn.execute(
        "SELECT task_id, check_id, title, severity, ok, expected, actual, ms, at, rows FROM pgferry.check_result"
        " WHERE run_id = %(run)s ORDER BY at, id",
        span,
    ).fetchall()
    return tuple(replace(CheckState(*facts), rows=tuple(samples)) for *facts, samples in rows)


def _compared(conn: Conn, span: dict[str, Any]) -> tuple[ComparisonState, ...]:
    rows = conn.execute(
        "SELECT mapping, origin, passes, at, ok, words, rows FROM pgferry.comparison"
        " WHERE at BETWEEN %(began)s AND %(ended)s ORDER BY at, id",
        span,
    ).fetchall()
    return tuple(
        ComparisonState(mapping, origin, passes, at, age_s=0.0, ok=ok, words=words, rows=tuple(samples))
        for mapping, origin, passes, at, ok, words, samples in rows
    )


def _counted(conn: Conn, span: dict[str, Any]) -> tuple[Counted, ...]:
    """The rejects that are still there; those that became good or went are no longer known."""
    rows = conn.execute(
        "SELECT date_trunc('second', at), mapping, reason, count(*) FROM pgferry.reject"
        " WHERE at <= %(ended)s GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
        span,
    ).fetchall()
    return tuple(Counted(*r) for r in rows)


def _felt(conn: Conn, span: dict[str, Any]) -> tuple[Felt, ...]:
    windows: dict[tuple[datetime, str], Window] = {}
    cursor = conn.execute(
        "SELECT to_timestamp(floor(extract(epoch FROM at) / %(every)s) * %(every)s), kind, operations, errors, max_ms,"
        " buckets FROM pgferry.app_window WHERE at <= %(ended)s ORDER BY id",
        {**span, "every": TRAFFIC_S},
    )
    for at, kind, operations, errors, max_ms, buckets in cursor:
        window = Window(operations, errors, max_ms, {int(k): v for k, v in buckets.items()})
        windows.setdefault((at, kind), Window()).merge(window)
    return tuple(
        Felt(at, kind, w.operations, w.errors, w.max_ms, {str(k): v for k, v in sorted(w.buckets.items())})
        for (at, kind), w in sorted(windows.items())
    )
