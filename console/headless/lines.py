"""A run as dated lines, for logs, pipes and screen readers: each fact when it is new, and what can be done about it."""

from __future__ import annotations

from collections.abc import Iterator

from console.headless.report import done_tasks, lock_words, progress_words
from console.headless.words import count, duration, safe
from console.journal.state import RunState, RunStatus, Session, TaskStatus, Traffic

_LINE_EVERY_S = 10.0  # a line for what changes all the time at most so often, by the server's clock
_DONE = "done in "  # as the runner begins its word of a task that is complete
_AT_WORK = (RunStatus.RUNNING, RunStatus.PAUSING, RunStatus.ROLLING_BACK)


def traffic_words(traffic: Traffic) -> str:
    """The applications' figures of the last seconds beside those before the run."""
    now, before = traffic.now, traffic.before
    was = f"before {before.p99_ms:.1f} ms" if before.operations else "before unknown"
    return (
        f"traffic: {count(now.operations)} operations in 5 s, p50 {now.p50_ms:.1f} ms, p99 {now.p99_ms:.1f} ms"
        f" ({was}), {count(traffic.during.errors)} errors so far"
    )


class LineWriter:
    """Says of each new state only what is new since the last one, as lines with the server's time."""

    def __init__(self, *, ascii_only: bool = False) -> None:
        self._ascii_only = ascii_only
        self._status = ""
        self._tasks: dict[str, str] = {}
        self._event = 0
        self._said_at: dict[tuple[str, str], float] = {}
        self._in_the_way: set[tuple[int, str]] = set()
        self._errors = 0
        self._looks = 0
        self._silent = False

    def lines(self, state: RunState) -> list[str]:
        """The lines for ``state``, oldest fact first."""
        makers = (self._events, self._changes, self._runner, self._sessions, self._lock, self._progress, self._traffic)
        return [safe(line, ascii_only=self._ascii_only) for maker in makers for line in maker(state)]

    def _due(self, state: RunState, *what: str) -> bool:
        """Whether something that changes all the time may be said again."""
        key, at = (what[0], "".join(what[1:])), state.server_now.timestamp()
        if at - self._said_at.get(key, float("-inf")) < _LINE_EVERY_S:
            return False
        self._said_at[key] = at
        return True

    def _events(self, state: RunState) -> Iterator[str]:
        titles = {task.id: task.title for task in state.tasks}
        for event in state.events:
            if event.id > self._event:
                self._event = event.id
                if event.kind == "task" and (event.text == titles.get(event.task_id) or event.text.startswith(_DONE)):
                    continue  # that it began, or is done: said with the task itself
                task = f" {event.task_id}" if event.task_id else ""
                yield f"{event.at:%Y-%m-%d %H:%M:%S} {event.kind}{task}: {event.text}"

    def _changes(self, state: RunState) -> Iterator[str]:
        now = f"{state.server_now:%Y-%m-%d %H:%M:%S}"
        for task in state.tasks:
            if self._tasks.get(task.id, "pending") != task.status.value and task.status is not TaskStatus.BEFORE:
                why = task.error or task.blocked_on
                took = f" in {duration(task.seconds)}" if task.status is TaskStatus.COMPLETED else ""
                yield f"{now} {task.id} {task.title}: {task.status.value}{took}{f' ({why})' if why else ''}"
            self._tasks[task.id] = task.status.value
        if state.status.value != self._status:
            self._status = state.status.value
            tasks = f"{done_tasks(state)}/{len(state.own)} tasks"
            why, then = (f": {state.error}" if state.error else ""), next_words(state)
            yield f"{now} run {state.run_id}: {self._status}, {tasks}{why}{f'; next: {then}' if then else ''}"

    def _runner(self, state: RunState) -> Iterator[str]:
        """That nobody carries the run on, and that somebody does again.

        Without a lease only at the second look: for an instant there is none between two runners.
        """
        gone = state.lease is None or not state.lease.alive
        self._looks = self._looks + 1 if gone and state.status in _AT_WORK else 0
        silent = self._looks >= (2 if state.lease is None else 1)
        if silent != self._silent:
            self._silent = silent
            if not silent and state.status not in _AT_WORK:
                return
            if not silent:
                yield f"{_now(state)} the runner answers"
            elif state.lease is None:
                yield f"{_now(state)} no runner works at the run: pgferry resume starts one, which continues where it stands"
            else:
                yield (
                    f"{_now(state)} the runner of {state.lease.holder}, process {state.lease.pid} on {state.lease.host},"
                    f" was last heard {duration(state.lease.age_s)} ago: if it does not come back, pgferry resume --take-over"
                )

    def _sessions(self, state: RunState) -> Iterator[str]:
        """Who is in the way, once, and that it no longer is."""
        found = {(one.pid, one.mark): one for one in state.sessions if one.role.startswith("blocks")}
        for key, one in found.items():
            if key not in self._in_the_way:
                where = f" on {one.table}" if one.table else ""
                yield (
                    f"{_now(state)} pid {one.pid} ({one.application}, {one.user}) {one.role}{where}: {one.state} for"
                    f" {duration(one.age_s)}: {one.query}{_remedy(one)}"
                )
        for key in sorted(self._in_the_way - found.keys()):
            yield f"{_now(state)} pid {key[0]} is no longer in the way"
        self._in_the_way = set(found)

    def _lock(self, state: RunState) -> Iterator[str]:
        wait = state.lock_wait
        if wait is not None and self._due(state, "lock", wait.task_id, wait.what):
            yield f"{_now(state)} {lock_words(wait)}"

    def _progress(self, state: RunState) -> Iterator[str]:
        for progress in state.progress:
            if not progress.finished and self._due(state, progress.task_id, progress.mapping):
                yield f"{_now(state)} {progress.task_id} {progress_words(progress)}"

    def _traffic(self, state: RunState) -> Iterator[str]:
        """The applications' figures whenever they saw more errors."""
        errors = state.traffic.during.errors if state.traffic is not None else 0
        if state.traffic is not None and errors > self._errors and self._due(state, "traffic"):
            self._errors = errors
            yield f"{_now(state)} {traffic_words(state.traffic)}"


def _remedy(session: Session) -> str:
    """How to get it out of the way: one that is idle has no statement to cancel, a prepared transaction no process."""
    if not session.pid:
        return ""
    if session.state.startswith("idle"):
        return f"; pgferry cancel {session.pid} --terminate ends it"
    return f"; pgferry cancel {session.pid} cancels its statement"


def _now(state: RunState) -> str:
    return f"{state.server_now:%Y-%m-%d %H:%M:%S}"


def next_words(state: RunState) -> str:
    """How a run that stopped on purpose goes on, or what a done one leaves to a person; empty for any other."""
    final = next((task for task in state.tasks if task.kind == "purge" and task.status is TaskStatus.DEFERRED), None)
    if state.status is RunStatus.DONE and final is not None:
        return f"{final.id} is left and has no way back: pgferry confirm {final.id} --plan DIR asks for it"
    if state.status is RunStatus.PAUSED:
        return "pgferry resume goes on, pgferry rollback --to TASK goes back, each with --plan DIR"
    if state.status is not RunStatus.WAITING:
        return ""
    gate = next((task for task in state.tasks if task.kind == "gate" and task.status is TaskStatus.BLOCKED), None)
    if gate is not None:
        return f"pgferry confirm {gate.id} --plan DIR, once that is so"
    return "pgferry apply --plan DIR goes on, pgferry rollback --to TASK --plan DIR goes back"
