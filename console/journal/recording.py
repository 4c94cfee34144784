"""A whole run as data, and the run's state at any moment of it.

Made from what the journal kept (``recorded``), or from a file (``recording_file``); nothing of the database is needed
to look at it again.
"""

from __future__ import annotations

from bisect import bisect_right
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from console.journal.activity import a_drain, an_activity
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

TRAFFIC_S = 5  # seconds that one figure of the applications' covers
_MARK_EVERY = 500  # figures of the applications between two sums that are kept


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

    @property
    def together(self) -> tuple[str, str, int]:
        """What it ran with: the same task, direction and round."""
        return self.state.task_id, self.state.direction, self.round


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

    def window(self) -> Window:
        """As what can be added up."""
        return Window(self.operations, self.errors, self.max_ms, {int(k): v for k, v in self.buckets.items()})


@dataclass(slots=True)
class _Course:
    """What became of one name: when, and what it was from then on."""

    at: list[datetime] = field(default_factory=list)
    payloads: list[Any] = field(default_factory=list)

    def then(self, moment: datetime) -> Any:
        """What it was at that moment; None before the first change."""
        place = bisect_right(self.at, moment)
        return self.payloads[place - 1] if place else None


@dataclass(slots=True)
class _Sums:
    """The applications' figures from the first on: before the run, during it, and during it by kind."""

    before: Window = field(default_factory=Window)
    during: Window = field(default_factory=Window)
    kinds: dict[str, Window] = field(default_factory=dict)

    def add(self, felt: Felt, started: datetime | None) -> None:
        """Take in the next figure."""
        if started is None or felt.at < started:
            self.before.merge(felt.window())
        else:
            self.during.merge(felt.window())
            self.kinds.setdefault(felt.kind, Window()).merge(felt.window())


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

    @cached_property
    def _courses(self) -> dict[str, dict[str, _Course]]:
        """By kind and name, so that a moment is found without walking through all that went before."""
        found: dict[str, dict[str, _Course]] = {"run": {}, "task": {}, "live": {}, "lead": {}}
        for frame in self.frames:
            course = found[frame.kind].setdefault(frame.name, _Course())
            course.at.append(frame.at)
            course.payloads.append(frame.payload)
        return found

    def _then(self, kind: str, moment: datetime) -> dict[str, Any]:
        return {name: course.then(moment) for name, course in self._courses[kind].items()}

    def at(self, moment: datetime) -> RunState:
        """The run's state at that moment. Raises KeyError, TypeError or ValueError where a fact was edited."""
        run = self._then("run", moment).get("") or {}
        changed = self._then("task", moment)
        facts = {name: payload for name, payload in self._then("live", moment).items() if payload}
        status = RunStatus(run.get("status", RunStatus.NEW))
        operator = run.get("operator", self.operator)
        started = _moment(run.get("started_at"))
        active = status in (RunStatus.RUNNING, RunStatus.PAUSING, RunStatus.ROLLING_BACK)
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
            tasks=tuple(_task(task, changed.get(task.id), moment) for task in self.tasks),
            statements=self._statements(moment),
            progress=tuple(a_progress(facts[name]) for name in sorted(facts) if name.startswith("progress:")),
            checks=self._checks(moment),
            events=self._events(moment),
            sessions=tuple(
                Session(**item) for name in sorted(facts) if name.startswith("sessions:") for item in facts[name]
            ),
            lock_wait=LockWait(**facts["lock:wait"]) if facts.get("lock:wait") else None,
            activity=an_activity(facts["activity"]) if facts.get("activity") else None,
            around=tuple(Session(**item) for item in (facts.get("activity") or {}).get("sessions", ())),
            drain=a_drain(facts["drain"]) if facts.get("drain") else None,
            traffic=self._traffic(moment, started),
            leads=tuple(sorted((name, leads) for name, leads in self._then("lead", moment).items() if leads)),
            rejects=self._rejects(moment),
            comparisons=self._comparisons(moment),
        )

    @staticmethod
    def _until(facts: tuple[Any, ...], moment: datetime) -> int:
        return bisect_right(facts, moment, key=lambda fact: fact.at)

    def _events(self, moment: datetime) -> tuple[Event, ...]:
        end = self._until(self.events, moment)
        return self.events[max(end - EVENTS_SHOWN, 0) : end]

    @cached_property
    def _files(self) -> dict[tuple[str, str, int], list[Ran]]:
        """The statements that ran together: of a task, a direction and a round."""
        found: dict[tuple[str, str, int], list[Ran]] = {}
        for ran in self.statements:
            found.setdefault(ran.together, []).append(ran)
        return found

    def _statements(self, moment: datetime) -> tuple[StatementState, ...]:
        begun = bisect_right(self.statements, moment, key=lambda ran: ran.began)
        if not begun:
            return ()
        same = [ran for ran in self._files[self.statements[begun - 1].together] if ran.began <= moment]
        return tuple(
            ran.state if ran.ended is not None and ran.ended <= moment else replace(ran.state, status="running", ms=0.0)
            for ran in sorted(same, key=lambda ran: ran.state.ordinal)
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
        end = self._until(self.traffic, moment)
        if not end:
            return None
        sums = deepcopy(self._marks_of_traffic(started)[end // _MARK_EVERY])
        for felt in self.traffic[end - end % _MARK_EVERY : end]:
            sums.add(felt, started)
        now = Window()
        for felt in self.traffic[self._until(self.traffic, moment - timedelta(seconds=2 * TRAFFIC_S)) : end]:
            now.merge(felt.window())
        by_kind = tuple((kind, window.latency()) for kind, window in sorted(sums.kinds.items()))
        return Traffic(sums.before.latency(), sums.during.latency(), now.latency(), by_kind)

    def _marks_of_traffic(self, started: datetime | None) -> list[_Sums]:
        """The sums of the first 0, 500, 1000, ... figures. What counts as before depends on when the run started."""
        if started not in self._sums:
            sums, marks = _Sums(), [_Sums()]
            for number, felt in enumerate(self.traffic, 1):
                sums.add(felt, started)
                if number % _MARK_EVERY == 0:
                    marks.append(deepcopy(sums))
            self._sums[started] = marks
        return self._sums[started]

    @cached_property
    def _sums(self) -> dict[datetime | None, list[_Sums]]:
        return {}


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
