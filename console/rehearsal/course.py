"""The course of a rehearsal: every task forward, back and forward again; then the whole plan back, and forward again.

The engine's own runner does the work, given the goals that an operator would give it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from console.engine.files import pieces
from console.engine.runner import Runner
from console.engine.session import Session, Wishes
from console.errors import FerryError
from console.journal import lease, runs, schema
from console.journal.connect import Conn, connect
from console.journal.state import RunStatus
from console.plan.model import Allow, Kind, Plan, SourceFile, Task
from console.plan.rehearsed import DOWN, UP, Difference, Outcome, TaskRehearsed
from console.rehearsal.scratch import Scratch
from console.rehearsal.state import State, compare
from console.rehearsal.trace import TracedConnection, TracedCursor, Tracer
from console.sql.hazards.catalogue import UNKNOWN

OPERATOR = "rehearsal"
PATIENCE_S = 5.0
_NOTHING_TO_UNDO = (Kind.CHECK, Kind.DRAIN, Kind.GATE)
_COPY_EACH = 10  # tasks from one copy of the database to the next
_START = "start"
Say = Callable[[str], None]
Lacking = Callable[[Task, str], str]


@dataclass
class _Judged:
    """What is known of one task so far."""

    outcome: Outcome = Outcome.NOT_REHEARSED
    why: str = "not reached"
    alone: Outcome = Outcome.NOT_REHEARSED
    forward_ms: float = 0.0
    back_ms: float = 0.0
    differences: tuple[Difference, ...] = ()

    def judge(self, outcome: Outcome, why: str = "") -> None:
        self.outcome = self.alone = outcome
        self.why = why


@dataclass
class Course:
    """Carries a plan through a scratch server and judges every task.

    ``lacking`` says, given a task and the error it met, what the scratch server lacks for it; empty for nothing.
    """

    plan: Plan
    scratch: Scratch
    say: Say
    lacking: Lacking = lambda task, error: ""
    only: str = ""  # the one task to rehearse; those before it are only carried forward
    judged: dict[str, _Judged] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.tracer = Tracer(self.scratch.connect)
        self.walked: list[Task] = []  # forward, in order, and standing
        self.states: dict[str, State] = {}  # before each of them
        self.kept: set[str] = set()  # tasks before which a copy of the database is kept
        self._next_copy = _COPY_EACH
        self.session: Session | None = None
        self.run_id = 0
        self.judged = {task.id: _Judged() for task in self.plan.tasks}
        self.current = shortened(self.plan)

    def run(self) -> tuple[TaskRehearsed, ...]:
        """The whole rehearsal; raises only for what is no task's fault."""
        with self.scratch.connect() as conn:
            schema.install(conn)
            self.run_id = runs.create(conn, self.current, OPERATOR)
        self.scratch.keep(_START)
        try:
            last = self._each_alone()
            if not self.only:
                self._in_sequence(last)
        finally:
            self._hang_up()
        return tuple(self._result(task) for task in self.plan.tasks)

    # -- each task alone

    def _each_alone(self) -> State:
        state = self.scratch.state()
        count = len(self.plan.tasks)
        for number, task in enumerate(self.plan.tasks, 1):
            waits = [id_ for id_ in task.depends if id_ not in {one.id for one in self.walked}]
            if waits:
                self._leave_out(task, f"it waits for {', '.join(waits)}")
                continue
            state = self._alone(task, state)
            found = self.judged[task.id]
            self.say(f"{number}/{count} {task.id} {task.title}: {found.outcome}{f', {found.why}' if found.why else ''}")
            if task.id == self.only:
                break
        return state

    def _alone(self, task: Task, before: State) -> State:
        """Forward, back, compare, forward again; returns the state in which the next task begins."""
        judged = self.judged[task.id]
        skip_back = bool(self.only and self.only != task.id)
        looks = task.kind in _NOTHING_TO_UNDO
        if not (skip_back or looks) and (task.irreversible or self._next_copy <= len(self.walked)):
            self._keep(task)
        error, judged.forward_ms = self._forward(task)
        if error:
            return self._stumbled(task, before, error)
        if skip_back:
            judged.judge(Outcome.NOT_REHEARSED, f"only carried forward, to rehearse {self.only}")
        elif looks:
            return self._looked(task, before)
        elif task.irreversible:
            judged.judge(Outcome.PASSED, f"forward alone, there is no way back: {task.irreversible}")
        else:
            self._and_back(task, before)
        return self._stands(task, before)

    def _and_back(self, task: Task, before: State) -> None:
        """Judge the way back of a task that stands; it stands again afterwards."""
        judged = self.judged[task.id]
        error, judged.back_ms = self._back(task)
        found = () if error else compare(before, self.scratch.state())
        if error:
            judged.judge(Outcome.FAILED, f"the way back failed: {error}")
        elif found:
            judged.judge(Outcome.DIFFERS, f"the way back leaves {_counted(found)}")
            judged.differences = found
        else:
            again, _ = self._forward(task, traced=False)
            if not again:
                judged.judge(Outcome.PASSED)
                return
            judged.judge(Outcome.FAILED, f"forward again after the way back failed: {again}")
        self._stand_before(task)
        if task.id not in self.kept:  # the way back of the whole plan comes by here
            self._keep(task)
        self._forward(task, traced=False)

    def _looked(self, task: Task, before: State) -> State:
        """A task that only looks, or waits, has nothing to take back; rows it recorded stay."""
        after = self._stands(task, before)
        found = compare(before, after)
        judged = self.judged[task.id]
        if compare(replace(before, rows={}, sequences={}), after):
            judged.judge(Outcome.DIFFERS, f"it changed the schema, and nothing takes that back: {_counted(found)}")
        else:
            judged.judge(Outcome.PASSED, f"what it records stays: {_counted(found)}" if found else "")
        judged.differences = found
        return after

    def _stands(self, task: Task, before: State) -> State:
        self.walked.append(task)
        self.states[task.id] = before
        return self.scratch.state()

    def _stumbled(self, task: Task, before: State, error: str) -> State:
        """The way forward failed: it is seen whether what it left can be taken back; the plan goes on without it."""
        judged = self.judged[task.id]
        lack = self.lacking(task, error)
        if lack:
            judged.judge(Outcome.NOT_REHEARSED, f"{lack}: {error}")
        else:
            judged.judge(Outcome.FAILED, error)
            back_error, _ = self._back(task, traced=False)
            judged.differences = () if back_error else compare(before, self.scratch.state())
            if back_error:
                judged.why += f" Taking back what it had done failed too: {back_error}"
            elif judged.differences:
                judged.why += f" Taking back what it had done leaves {_counted(judged.differences)}."
        if not self.only:
            self._stand_before(task)
        self.current = _without(self.current, task.id)
        self._hang_up()
        return self.scratch.state()

    def _leave_out(self, task: Task, why: str) -> None:
        self.judged[task.id].judge(Outcome.NOT_REHEARSED, why)
        self.current = _without(self.current, task.id)
        self._hang_up()

    # -- the whole plan back, and forward again

    def _in_sequence(self, last: State) -> None:
        self.say("the whole plan back to the start")
        for task in reversed(self.walked):
            if task.irreversible:
                self._stand_before(task)
                continue
            error, _ = self._back(task, traced=False)
            found = () if error else compare(self.states[task.id], self.scratch.state())
            if error or found:
                self._worse(self.judged[task.id], task, error, found)
                self._stand_before(task)  # the tasks before it are not to be blamed
        self.say("the whole plan forward again")
        self._forward_again(last)

    def _worse(self, judged: _Judged, task: Task, error: str, fresh: tuple[Difference, ...]) -> None:
        if judged.alone is not Outcome.PASSED or task.kind in _NOTHING_TO_UNDO:
            return
        judged.outcome = Outcome.FAILED if error else Outcome.DIFFERS
        words = f"failed: {error}" if error else f"leaves {_counted(fresh)}"
        judged.why = f"alone it passed; in the whole plan's way back it {words}"
        judged.differences = fresh

    def _forward_again(self, last: State) -> None:
        for task in self.walked:
            error, _ = self._forward(task, traced=False)
            if error:
                judged = self.judged[task.id]
                judged.outcome, judged.why = Outcome.FAILED, f"forward again from the start failed: {error}"
                return
        found = compare(replace(last, rows={}, sequences={}), self.scratch.state())
        if found and self.walked:
            judged = self.judged[self.walked[-1].id]
            judged.outcome, judged.differences = Outcome.DIFFERS, found
            judged.why = f"the whole plan forward again gives another schema: {_counted(found)}"

    def _stand_before(self, task: Task) -> None:
        """Come back to just before a task: to the nearest copy before it, and forward from there.

        Rows made again may hold other times and numbers, so what stood between is recorded anew.
        """
        self._hang_up()
        ahead = self.walked[: self.walked.index(task)] if task in self.walked else list(self.walked)
        again: list[Task] = []
        name = _copy_name(task)
        if task.id not in self.kept:
            while ahead and ahead[-1].id not in self.kept:
                again.append(ahead.pop())
            if ahead:
                again.append(ahead[-1])
            name = _copy_name(ahead[-1]) if ahead else _START
        self.scratch.restore(name)
        for one in reversed(again):
            self.states[one.id] = self.scratch.state()
            error, _ = self._forward(one, traced=False)
            if error:
                raise FerryError(
                    f"{one.id} went forward once and not again from the same state: {error}",
                    state="The rehearsal stopped there; nothing outside its temporary folder was changed.",
                    do="Make the task give the same result each time, then rehearse again.",
                )

    # -- the engine

    def _forward(self, task: Task, *, traced: bool = True) -> tuple[str, float]:
        """The error (empty for none) and the milliseconds."""
        return self._drive(task, UP, RunStatus.RUNNING, traced)

    def _back(self, task: Task, *, traced: bool = True) -> tuple[str, float]:
        return self._drive(task, DOWN, RunStatus.ROLLING_BACK, traced)

    def _drive(self, task: Task, side: str, status: RunStatus, traced: bool) -> tuple[str, float]:
        session = self._connected()
        with self.scratch.connect() as conn:
            if side == UP:
                if task.kind is Kind.GATE:
                    runs.task_note(conn, self.run_id, task.id, f"confirmed by {OPERATOR}")
                runs.set_goal(conn, self.run_id, status, until=task.id, back_to="")
            else:
                runs.set_goal(conn, self.run_id, status, back_to=task.id)
        if traced:
            self.tracer.at_work(task.id, side, _ordinals(task.file if side == UP else task.down))
        start = time.monotonic()
        try:
            reached = Runner(session, self.scratch.exports).run()
        finally:
            ms = round((time.monotonic() - start) * 1000, 1)
            self.tracer.at_work("", "", {})
        if reached is not RunStatus.FAILED:
            return "", ms
        with self.scratch.connect() as conn:
            row = conn.execute("SELECT error FROM pgferry.run WHERE id = %s", (self.run_id,)).fetchone()
        words = str(row[0]) if row else ""
        return words.removeprefix("rolling back ").removeprefix(f"{task.id}: "), ms

    def _connected(self) -> Session:
        if self.session is None:
            conn = self.scratch.connect()
            fence = lease.acquire(conn, self.run_id, OPERATOR, takeover=True)
            conn.close()
            self.session = Session(
                self.current, self.scratch.conninfo, self.run_id, fence, OPERATOR, Wishes(), PATIENCE_S, dial=self._dial
            )
        return self.session

    def _dial(self, conninfo: str, **more: object) -> Conn:
        conn = connect(conninfo, kind=TracedConnection, **more)  # type: ignore[arg-type]
        assert isinstance(conn, TracedConnection)
        conn.cursor_factory = TracedCursor
        conn.tracer = self.tracer
        return conn

    def _hang_up(self) -> None:
        """Nobody of ours stays connected: the database can be copied or replaced."""
        if self.session is not None:
            self.session.drop()
            self.session = None

    def _keep(self, task: Task) -> None:
        self._hang_up()
        self.scratch.keep(_copy_name(task))
        self.kept.add(task.id)
        self._next_copy = len(self.walked) + _COPY_EACH

    def _result(self, task: Task) -> TaskRehearsed:
        judged = self.judged[task.id]
        statements = self.tracer.of(task.id)
        return TaskRehearsed(
            task.id, judged.outcome, judged.why, judged.alone, judged.forward_ms, judged.back_ms,
            sum(one.wal_bytes for one in statements if one.side == UP), judged.differences, statements,
        )  # fmt: skip


def shortened(plan: Plan) -> Plan:
    """The plan as it is rehearsed: drains that wait for nobody, copies by one worker that nothing holds back.

    Statements that nobody understands run here: what they do is to be seen before anybody accepts them.
    """
    unknown = Allow(UNKNOWN, "this is where it is seen")

    def change(task: Task) -> Task:
        backfill = replace(task.backfill, workers=1, duty_percent=100, max_rows_per_second=0, probe_sql="")
        return replace(task, quiet_seconds=min(task.quiet_seconds, 1), backfill=backfill, allow=(*task.allow, unknown))

    return replace(plan, phases=tuple(replace(p, tasks=tuple(map(change, p.tasks))) for p in plan.phases))


def _without(plan: Plan, task_id: str) -> Plan:
    return replace(
        plan, phases=tuple(replace(p, tasks=tuple(t for t in p.tasks if t.id != task_id)) for p in plan.phases)
    )


def _ordinals(file: SourceFile | None) -> dict[str, int]:
    if file is None:
        return {}
    try:
        return {piece.sql.strip(): piece.ordinal for piece in pieces(file, accept_unknown=True)}
    except FerryError:  # told when the task runs
        return {}


def _copy_name(task: Task) -> str:
    return f"before {task.id}"


def _counted(found: tuple[Difference, ...]) -> str:
    names = ", ".join(one.object for one in found[:3])
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return f"{len(found)} difference{'s' if len(found) > 1 else ''}: {names}{more}"
