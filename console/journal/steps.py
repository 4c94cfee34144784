"""What applications felt of each phase and each kind of step: their operations laid over the run's steps.

An operation counts for a step when the two overlap: for a short one between two steps it counts for both, so that no
step is let off. The steps' times are the runner's events, which outlive a rollback.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from console.journal.connect import Conn
from console.journal.state import Latency, StepLatency

# In an event's data: ``edge`` says that a step begins, or that the open one ends; ``way`` which way it goes.
BEGIN, END = "begin", "end"
FORWARD, BACK = "forward", "back"


@dataclass(frozen=True, slots=True)
class Span:
    """One step's time at work, by the server's clock."""

    way: str
    phase: str
    kind: str
    began: datetime
    ended: datetime


def spans(conn: Conn, run_id: int) -> tuple[Span, ...]:
    """The run's steps in the order in which they were done, both ways.

    A step whose runner was killed ends where the next one begins; one that is at work ends now.
    """
    rows = conn.execute(
        "SELECT e.at, e.data->>'edge', e.data->>'way', t.phase_id, t.phase_title, t.kind FROM pgferry.event e"
        " LEFT JOIN pgferry.task t USING (run_id, task_id) WHERE run_id = %s AND e.data ? 'edge' ORDER BY e.id",
        (run_id,),
    ).fetchall()
    now = conn.execute("SELECT clock_timestamp()").fetchone()
    assert now is not None
    found: list[Span] = []
    open_: tuple[str, str, str, datetime] | None = None
    for at, edge, way, phase_id, phase_title, kind in [*rows, (now[0], END, "", "", "", "")]:
        if open_ is not None:
            found.append(Span(*open_, ended=at))
        open_ = (way, f"{phase_id} {phase_title}", kind, at) if edge == BEGIN else None
    return tuple(found)


def latencies(conn: Conn, run_id: int) -> tuple[StepLatency, ...]:
    """The applications' figures before the run, then by phase and by kind of step: forward, then back.

    Empty before the first step. Where no application reports, every figure is of no operations.
    """
    steps = spans(conn, run_id)
    if not steps:
        return ()
    groups: dict[tuple[str, str, str], list[tuple[datetime, datetime]]] = {}
    for way in (FORWARD, BACK):
        for what in ("phase", "kind"):
            for step in (step for step in steps if step.way == way):
                name = step.phase if what == "phase" else step.kind
                groups.setdefault((way, what, name), []).append((step.began, step.ended))
    figures = overlapping(conn, groups.values())
    return (
        _before(conn, steps[0].began),
        *(
            StepLatency(*group, seconds=sum((end - start).total_seconds() for start, end in times), latency=latency)
            for (group, times), latency in zip(groups.items(), figures, strict=True)
        ),
    )


_FIGURES = (
    "count(*), count(*) FILTER (WHERE failed), percentile_disc(0.5) WITHIN GROUP (ORDER BY took) / 1000.0::float8,"
    " percentile_disc(0.99) WITHIN GROUP (ORDER BY took) / 1000.0::float8, max(took) / 1000.0::float8"
)


def _before(conn: Conn, began: datetime) -> StepLatency:
    row = conn.execute(
        "WITH operation AS (SELECT o.took, o.failed, w.began_at FROM pgferry.app_operations w"
        "  CROSS JOIN LATERAL unnest(w.starts_us, w.took_us, w.failed) AS o(start, took, failed)"
        "  WHERE w.began_at < %(began)s"
        "   AND w.began_at + (o.start::bigint + o.took) * interval '1 microsecond' <= %(began)s)"
        f" SELECT {_FIGURES}, coalesce(extract(epoch FROM %(began)s - min(began_at)), 0)::float8 FROM operation",
        {"began": began},
    ).fetchone()
    assert row is not None
    return StepLatency("", "", "", row[5], _latency(row[:5]))


def _latency(row: tuple[int, int, float | None, float | None, float | None]) -> Latency:
    operations, errors, p50, p99, worst = row
    return Latency(operations, errors, p50 or 0.0, p99 or 0.0, worst or 0.0)


def overlapping(conn: Conn, groups: Iterable[list[tuple[datetime, datetime]]]) -> list[Latency]:
    """The figures of the operations that overlap each group of times, each operation once a group."""
    listed = list(groups)
    flat = [(number, began, ended) for number, times in enumerate(listed) for began, ended in times]
    rows = conn.execute(
        "WITH times AS (SELECT * FROM unnest(%s::int[], %s::timestamptz[], %s::timestamptz[]) AS t(number, began, ended)"
        "), operation AS (SELECT DISTINCT t.number, w.id, o.place, o.took, o.failed FROM times t"
        "  JOIN pgferry.app_operations w ON w.ended_at > t.began AND w.began_at < t.ended"
        "  CROSS JOIN LATERAL unnest(w.starts_us, w.took_us, w.failed) WITH ORDINALITY AS o(start, took, failed, place)"
        "  WHERE w.began_at + o.start * interval '1 microsecond' < t.ended"
        "   AND w.began_at + (o.start::bigint + o.took) * interval '1 microsecond' > t.began)"
        f" SELECT number, {_FIGURES} FROM operation GROUP BY number",
        ([number for number, _, _ in flat], [began for _, began, _ in flat], [ended for _, _, ended in flat]),
    ).fetchall()
    found = {row[0]: _latency(row[1:]) for row in rows}
    return [found.get(number, Latency()) for number in range(len(listed))]
