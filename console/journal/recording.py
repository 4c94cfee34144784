"""A whole run as data that can be kept in a file: JSON lines, one fact a line, and the run's state at any moment of it.

Made from what the journal kept (``history_ddl``); nothing of the database is needed to look at it again.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from console.errors import UsageError
from console.journal.connect import Conn, target
from console.journal.public import public
from console.journal.read import EVENTS_SHOWN, a_progress
from console.journal.state import (
    CheckState,
    ComparisonState,
    Event,
    Lease,
    LockWait,
    RunState,
    RunStatus,
    Session,
    StatementState,
    Target,
    TaskState,
    TaskStatus,
    Traffic,
)
from console.journal.traffic import Window

FORMAT = 1
TRAFFIC_S = 5  # seconds that one figure of the applications' covers
_SECRET = re.compile(r"password|secret|credential|auth", re.IGNORECASE)
_HIDDEN = "(not exported: it may name a secret)"


@dataclass(frozen=True, slots=True)
class Frame:
    """A change: what became of ``name`` (a task's id, a live fact, a mapping), None where it went."""

    at: datetime
    kind: str  # run, task, live, lead
    name: str
    payload: Any


@dataclass(frozen=True, slots=True)
class Ran:
    """A statement with the time it began and ended."""

    began: datetime
    ended: datetime | None
    round: int
    state: StatementState


@dataclass(frozen=True, slots=True)
class Counted:
    """Rows that were rejected at about that time, for one reason."""

    at: datetime
    mapping: str
    reason: str
    rows: int


@dataclass(frozen=True, slots=True)
class Felt:
    """The applications' figures of one kind of operation over TRAFFIC_S seconds; buckets as ``traffic.Window`` has them."""

    at: datetime
    kind: str
    operations: int
    errors: int
    max_ms: float
    buckets: dict[str, int]


@dataclass(frozen=True)
class Recording:
    """A run from its first moment to its last. Every tuple is in the order of time."""

    target: Target
    run_id: int
    plan_id: str
    plan_title: str
    plan_sha256: str
    operator: str
    began: datetime
    ended: datetime
    tasks: tuple[TaskState, ...]  # as they stood before anything was done
    frames: tuple[Frame, ...] = ()
    statements: tuple[Ran, ...] = ()
    checks: tuple[CheckState, ...] = ()
    comparisons: tuple[ComparisonState, ...] = ()
    rejects: tuple[Counted, ...] = ()
    events: tuple[Event, ...] = ()
    traffic: tuple[Felt, ...] = ()

    @cached_property
    def marks(self) -> tuple[datetime, ...]:
        """The moments at which a step began or ended, or something failed: where a viewer may want to jump."""
        return tuple(event.at for event in self.events if event.kind in ("task", "error"))

    def at(self, moment: datetime) -> RunState:
        """The run's state at that moment."""
        live: dict[str, dict[str, Any]] = {"run": {}, "task": {}, "live": {}, "lead": {}}
        for frame in self.frames[: bisect_right(self.frames, moment, key=lambda frame: frame.at)]:
            live[frame.kind][frame.name] = frame.payload
        run = live["run"].get("", {})
        status = RunStatus(run.get("status", RunStatus.NEW))
        operator = run.get("operator", self.operator)
        started = _moment(run.get("started_at"))
        active = status in (RunStatus.RUNNING, RunStatus.PAUSING, RunStatus.ROLLING_BACK)
        facts = live["live"]
        return RunState(
            target=self.target,
            server_now=moment,
            run_id=self.run_id,
            plan_id=self.plan_id,
            plan_title=self.plan_title,
            plan_sha256=self.plan_sha256,
            status=status,
            until=run.get("until", "end"),
            back_to=run.get("back_to", ""),
            operator=operator,
            started_at=started,
            finished_at=_moment(run.get("finished_at")),
            error=run.get("error", ""),
            lease=Lease(operator, "as recorded", 0, started or moment, 0.0, True) if active else None,
            tasks=tuple(_task(task, live["task"].get(task.id), moment) for task in self.tasks),
            statements=self._statements(moment),
            progress=tuple(
                a_progress(facts[name]) for name in sorted(facts) if name.startswith("progress:") and facts[name]
            ),
            checks=self._checks(moment),
            events=self.events[: self._until(self.events, moment)][-EVENTS_SHOWN:],
            sessions=tuple(
                Session(**item) for name in sorted(facts) if name.startswith("sessions:") for item in facts[name] or ()
            ),
            lock_wait=LockWait(**facts["lock:wait"]) if facts.get("lock:wait") else None,
            traffic=self._traffic(moment, started),
            leads=tuple(sorted((name, leads) for name, leads in live["lead"].items() if leads)),
            rejects=self._rejects(moment),
            comparisons=self._comparisons(moment),
        )

    @staticmethod
    def _until(facts: tuple[Any, ...], moment: datetime) -> int:
        return bisect_right(facts, moment, key=lambda fact: fact.at)

    def _statements(self, moment: datetime) -> tuple[StatementState, ...]:
        begun = [ran for ran in self.statements if ran.began <= moment]
        if not begun:
            return ()
        last = begun[-1]
        same = (last.state.task_id, last.state.direction, last.round)
        return tuple(
            ran.state if ran.ended is not None and ran.ended <= moment else replace(ran.state, status="running", ms=0.0)
            for ran in sorted(begun, key=lambda ran: ran.state.ordinal)
            if (ran.state.task_id, ran.state.direction, ran.round) == same
        )

    def _checks(self, moment: datetime) -> tuple[CheckState, ...]:
        newest = {(c.task_id, c.check_id): c for c in self.checks[: self._until(self.checks, moment)]}
        return tuple(sorted(newest.values(), key=lambda check: (check.ok, check.severity != "error")))

    def _comparisons(self, moment: datetime) -> tuple[ComparisonState, ...]:
        newest = {c.mapping: c for c in self.comparisons[: self._until(self.comparisons, moment)]}
        return tuple(replace(c, age_s=(moment - c.at).total_seconds()) for _, c in sorted(newest.items()))

    def _rejects(self, moment: datetime) -> tuple[tuple[str, str, int], ...]:
        counts: dict[tuple[str, str], int] = {}
        for counted in self.rejects[: self._until(self.rejects, moment)]:
            key = (counted.mapping, counted.reason)
            counts[key] = counts.get(key, 0) + counted.rows
        return tuple((*key, rows) for key, rows in sorted(counts.items(), key=lambda item: (item[0][0], -item[1])))

    def _traffic(self, moment: datetime, started: datetime | None) -> Traffic | None:
        heard = self.traffic[: self._until(self.traffic, moment)]
        if not heard:
            return None
        before, during, now = Window(), Window(), Window()
        kinds: dict[str, Window] = {}
        for felt in heard:
            window = Window(felt.operations, felt.errors, felt.max_ms, {int(k): v for k, v in felt.buckets.items()})
            if started is None or felt.at < started:
                before.merge(window)
            else:
                during.merge(window)
                kinds.setdefault(felt.kind, Window()).merge(window)
            if felt.at > moment - timedelta(seconds=2 * TRAFFIC_S):
                now.merge(window)
        by_kind = tuple((kind, window.latency()) for kind, window in sorted(kinds.items()))
        return Traffic(before.latency(), during.latency(), now.latency(), by_kind)


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _task(task: TaskState, change: dict[str, Any] | None, moment: datetime) -> TaskState:
    if change is None:
        return task
    started = _moment(change["started_at"])
    status = TaskStatus(change["status"])
    working = status is TaskStatus.IN_PROGRESS and started is not None
    seconds = (moment - started).total_seconds() if working and started else float(change["worked"])
    return replace(
        task,
        status=status,
        started_at=started,
        finished_at=_moment(change["finished_at"]),
        seconds=max(seconds, 0.0),
        operator=change["operator"],
        blocked_on=change["blocked_on"],
        note=change["note"],
        error=change["error"],
        attempts=change["attempts"],
    )


# reading it from the journal


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
    if kind != "live" or not name.startswith("sessions:") or payload is None:
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


# keeping it in a file

_PARTS: dict[str, type[Any]] = {
    "task": TaskState, "frame": Frame, "statement": Ran, "check": CheckState, "comparison": ComparisonState,
    "reject": Counted, "event": Event, "traffic": Felt,
}  # fmt: skip
_FIELDS = {
    "task": "tasks", "frame": "frames", "statement": "statements", "check": "checks", "comparison": "comparisons",
    "reject": "rejects", "event": "events", "traffic": "traffic",
}  # fmt: skip
_MOMENTS = ("at", "began", "ended", "started_at", "finished_at")


def to_lines(recording: Recording) -> Iterator[str]:
    """The recording as JSON lines: first what run it is, then its facts, each with what it is in ``is``; no secrets."""
    recording = public(recording)
    head = {
        "is": "run", "format": FORMAT, "target": asdict(recording.target), "run_id": recording.run_id,
        "plan_id": recording.plan_id, "plan_title": recording.plan_title, "plan_sha256": recording.plan_sha256,
        "operator": recording.operator, "began": recording.began, "ended": recording.ended,
    }  # fmt: skip
    yield _line(head)
    for kind, name in _FIELDS.items():
        for fact in getattr(recording, name):
            yield _line({"is": kind, **asdict(fact)})


def _line(data: dict[str, Any]) -> str:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"), default=_text)


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def from_lines(lines: Iterable[str], name: str) -> Recording:
    """The recording in a file called ``name``. Raises UsageError naming the line that cannot be read."""
    head: dict[str, Any] = {}
    facts: dict[str, list[Any]] = {field_name: [] for field_name in _FIELDS.values()}
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            data = json.loads(text)
            kind = data.pop("is")
            if kind == "run":
                head = _head(data)
            else:
                facts[_FIELDS[kind]].append(_fact(kind, data))
        except (ValueError, TypeError, KeyError, AttributeError):
            raise UsageError(
                f"{name}:{number}: this is no line of a recording that this version can read.",
                do="Export the run again: pgferry report --format jsonl.",
            ) from None
    if not head:
        raise UsageError(
            f"{name} is no recording of a run.", do="Export one: pgferry report --format jsonl > run.jsonl."
        )
    parts: dict[str, Any] = {field_name: tuple(found) for field_name, found in facts.items()}
    return Recording(**head, **parts)


def _head(data: dict[str, Any]) -> dict[str, Any]:
    if data.pop("format") != FORMAT:
        raise ValueError("another format")
    return {**_with_moments(data), "target": Target(**data["target"])}


def _with_moments(data: dict[str, Any]) -> dict[str, Any]:
    return {k: datetime.fromisoformat(v) if k in _MOMENTS and isinstance(v, str) else v for k, v in data.items()}


def _fact(kind: str, data: dict[str, Any]) -> Any:
    data = _with_moments(data)
    if kind == "task":
        data["depends"], data["status"] = tuple(data["depends"]), TaskStatus(data["status"])
    if kind == "statement":
        data["state"] = StatementState(**data["state"])
    if kind in ("check", "comparison"):
        data["rows"] = tuple(data["rows"])
    return _PARTS[kind](**data)
