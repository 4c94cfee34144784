"""The state of a run as immutable data: what every screen, report and headless line is drawn from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from console.journal.activity import Activity, Drain
from console.plan.approval import Standing
from console.text import without_secrets


class RunStatus(StrEnum):
    """Where a run stands."""

    NEW = "new"
    RUNNING = "running"
    PAUSING = "pausing"
    PAUSED = "paused"
    WAITING = "waiting"  # a gate waits for a person, or the chosen stop was reached
    FAILED = "failed"
    ROLLING_BACK = "rolling back"
    ROLLED_BACK = "rolled back"
    DONE = "done"


class TaskStatus(StrEnum):
    """Where a task stands."""

    PENDING = "pending"
    IN_PROGRESS = "in progress"
    COMPLETED = "completed"
    BLOCKED = "blocked"  # on what: TaskState.blocked_on
    DEFERRED = "deferred"
    FAILED = "failed"
    ROLLED_BACK = "rolled back"
    BEFORE = "done before"  # by another tool or an earlier run: not of this one, and undone only if it is named


class Verb(StrEnum):
    """What an operator can ask of the runner; sent as a row of the command table."""

    START = "start"  # args: {"until": task id, phase id or "end"}
    PAUSE = "pause"
    RESUME = "resume"
    SPEED = "speed"  # args: any of BackfillSettings' field names
    CONFIRM = "confirm"  # args: {"task": id}: answers a gate
    ROLLBACK = "rollback"  # args: {"to": task id or "start", "typed": text}: undoes that task and all after it
    PURGE = "purge"  # args: {"task": id, "typed": database name}
    CANCEL = "cancel"  # args: {"pid": pid, "mark": Session.mark}: cancels the statement of a session that is in the way
    TERMINATE = "terminate"  # args as for cancel: ends that session


class OnDetach(StrEnum):
    """What becomes of a run when the console in control goes: by leaving, or because it is not heard any more."""

    GO_ON = "go on"
    PAUSE = "pause"  # after the batch or statement that runs then


@dataclass(frozen=True, slots=True)
class Target:
    """The database a console is connected to. ``environment``: PROD, STAGING, DEV or DEMO."""

    database: str
    host: str
    port: int
    server_version: str
    role: str
    environment: str = "PROD"


@dataclass(frozen=True, slots=True)
class Lease:
    """Who runs it. ``age_s`` is the heartbeat's age by the server's clock; ``alive`` is age below the limit.

    ``held``: a session of the runner still holds the run, so another one has to take it over.
    """

    holder: str
    host: str
    pid: int
    since: datetime
    age_s: float
    alive: bool
    held: bool = False


@dataclass(frozen=True, slots=True)
class TaskState:
    """One task of the run. ``note`` is a short fact for its line (``63%``, ``trigger on``)."""

    id: str
    title: str
    kind: str
    phase_id: str
    phase_title: str
    status: TaskStatus
    estimate_minutes: int
    irreversible: str = ""
    depends: tuple[str, ...] = ()
    started_at: datetime | None = None
    finished_at: datetime | None = None
    seconds: float = 0.0  # actual work time so far, by the server's clock
    operator: str = ""
    blocked_on: str = ""
    note: str = ""
    error: str = ""
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class StatementState:
    """One statement of a task that ran or runs. ``direction`` is up or down."""

    task_id: str
    direction: str
    ordinal: int
    sql: str
    status: str  # running, done, failed, waiting for a lock
    attempts: int
    lock_wait_ms: float
    ms: float
    error: str = ""


@dataclass(frozen=True, slots=True)
class Signal:
    """One throttle signal: value and limit in words, its state and the seconds it has cost so far."""

    name: str
    value: str
    limit: str
    state: str  # ok, slowing, throttling, unknown
    cost_s: float
    holds: bool = False  # whether the copy waits for it now


@dataclass(frozen=True, slots=True)
class Setting:
    """One live setting of a copy: its value now, and who set it (the plan, or an operator)."""

    name: str
    value: str
    set_by: str


@dataclass(frozen=True, slots=True)
class Progress:
    """Live progress of a copy or a comparison. Rates in rows/s; the ETA is a range in seconds, None when unknown."""

    task_id: str
    mapping: str
    what: str  # copy or compare
    source: str
    target: str
    rows_total: int  # estimate until the copy is done
    rows_done: int  # source rows read
    rows_written: int
    rows_rejected: int
    share: float  # 0..1, never above 1
    finished: bool
    rate: float
    rates: tuple[float, ...] = ()  # recent rates, oldest first
    eta_low_s: float | None = None
    eta_high_s: float | None = None
    batch_rows: int = 0
    batch_ms: float = 0.0
    target_ms: int = 0
    aim_ms: int = 0  # what a batch is sized towards now: target_ms, or a longer time while it is slowed
    duty_percent: int = 100
    workers: int = 1
    reason: str = ""  # why the batch last changed, in words
    signals: tuple[Signal, ...] = ()
    lost_s: float = 0.0  # seconds that the signals have cost together
    held: str = ""  # what holds it back or slows it now, in words
    settings: tuple[Setting, ...] = ()
    chunks: int = 0  # batches done
    retries: int = 0  # attempts at batches that failed
    last_error: str = ""  # of a batch that is not done yet
    content_hash: str = ""  # sum of the hashes of every row as this copy wrote it
    hands: tuple[str, ...] = ()  # workers of other processes: who and where


@dataclass(frozen=True, slots=True)
class CheckState:
    """A check's last result. ``rows`` holds up to 20 sample rows as dictionaries of text."""

    task_id: str
    check_id: str
    title: str
    severity: str
    ok: bool
    expected: str
    actual: str
    ms: float
    at: datetime
    rows: tuple[dict[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ComparisonState:
    """The newest comparison of a mapping's rows. ``age_s`` by the server's clock; ``passes`` in a row found the same.

    ``origin``: the task that compared, or check, watch or repair. ``rows`` as of a CheckState.
    """

    mapping: str
    origin: str
    passes: int
    at: datetime
    age_s: float
    ok: bool
    words: str
    rows: tuple[dict[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the log. ``kind`` groups lines: run, task, ddl, lock, batch, throttle, check, operator, error."""

    id: int
    at: datetime
    actor: str
    kind: str
    task_id: str
    text: str


@dataclass(frozen=True, slots=True)
class Session:
    """A session that matters: a blocker, one that waits, a user of the plan's tables, our own statement.

    ``mark`` tells this session and its transaction from a later one with the same pid; empty where the role of the
    runner may not see it. ``waits_for`` is the pid it waits for itself, 0 for none.
    """

    pid: int  # 0: a prepared transaction
    application: str
    user: str
    state: str
    age_s: float
    query: str
    role: (
        str  # blocks us, blocks a blocker, our statement, waits behind us, uses the old table, ... (engine/blockers.py)
    )
    table: str = ""
    mark: str = ""
    waits_for: int = 0

    def __post_init__(self) -> None:
        """Nobody here has to know a password that another session speaks of: not screen, log nor journal."""
        object.__setattr__(self, "query", without_secrets(self.query))


@dataclass(frozen=True, slots=True)
class LockWait:
    """The statement that waits for its lock now, or stands aside between two tries (``waits`` is false then).

    ``behind`` is how many sessions queue behind it at this moment, ``most_behind`` the most that were seen.
    """

    task_id: str
    what: str
    attempt: int
    waits: bool
    behind: int
    most_behind: int

    def __post_init__(self) -> None:
        """As with sessions: what is shown of a statement shows no password."""
        object.__setattr__(self, "what", without_secrets(self.what))


@dataclass(frozen=True, slots=True)
class Latency:
    """Client-side figures over a window: operations, errors, percentiles in milliseconds."""

    operations: int = 0
    errors: int = 0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    max_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class StepLatency:
    """The applications' figures while some steps of the run were at work.

    ``way`` is forward or back, empty for the time before the run. ``what`` says what ``name`` is: phase or kind
    (sql, sync, backfill, ...), empty before the run. ``seconds`` is how long those steps took together, by the
    server's clock.
    """

    way: str
    what: str
    name: str
    seconds: float
    latency: Latency


@dataclass(frozen=True, slots=True)
class Traffic:
    """The applications' own figures, as they report them: before the run, during it, and the last seconds."""

    before: Latency
    during: Latency
    now: Latency
    by_kind: tuple[tuple[str, Latency], ...] = ()  # operation kind -> figures during
    steps: tuple[StepLatency, ...] = ()  # by phase and by kind of step; only read for a report
    last_errors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RollbackStep:
    """One thing a rollback would do. ``basis`` says what the time was taken from, or why nobody knows it.

    ``locks``: the strongest lock of each statement in words, in their order; empty where the statements were not read.
    """

    task_id: str
    text: str
    statements: tuple[str, ...]
    seconds: float | None  # estimate, None when unknown
    basis: str = ""
    locks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RowsWritten:
    """Writes of applications through a new table since the sync back to the old one is on, counted exactly.

    ``per_second``: those of this moment, None where nobody looked.
    """

    mapping: str
    new: str
    old: str
    writes: int
    since: datetime | None
    per_second: float | None = None


@dataclass(frozen=True, slots=True)
class RowsAtRisk:
    """Rows that nothing brings back. ``exact``: counted one by one; ``keys``: the first of them, as JSON where known."""

    table: str
    rows: int | None  # None: could not be counted
    exact: bool
    why: str
    keys: tuple[str, ...] = ()
    column: str = ""  # then the values of this column, not the rows


@dataclass(frozen=True, slots=True)
class RollbackPreview:
    """What rolling back to just before ``to`` would do and cost. ``loses`` empty means nothing is lost.

    ``at_risk`` is what ``loses`` says in sentences. ``goes``: rows that go and that the plan itself wrote. ``before``:
    what has to be so for it to get through.
    """

    to: str
    steps: tuple[RollbackStep, ...]
    loses: tuple[str, ...]
    keeps: tuple[str, ...]
    facts: tuple[str, ...]  # for instance rows written through the new shape since
    impossible: str  # why it cannot be done; empty when it can
    seconds: float | None
    needs_typing: str = ""  # the text to type where something is lost
    written: tuple[RowsWritten, ...] = ()
    at_risk: tuple[RowsAtRisk, ...] = ()
    goes: tuple[RowsAtRisk, ...] = ()
    before: tuple[str, ...] = ()
    at: datetime | None = None  # when it was looked at, by the server's clock


@dataclass(frozen=True, slots=True)
class Audit:
    """Whether the chain of events is whole. ``broken``: ids of events that do not follow from the ones before."""

    events: int
    intact: bool
    broken: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class RunState:
    """Everything a console shows of a run at one moment (``server_now``, the server's clock)."""

    target: Target
    server_now: datetime
    run_id: int
    plan_id: str
    plan_title: str
    plan_sha256: str
    status: RunStatus
    until: str
    operator: str
    started_at: datetime | None
    finished_at: datetime | None
    error: str
    lease: Lease | None
    tasks: tuple[TaskState, ...]
    statements: tuple[StatementState, ...] = ()  # of the task in progress, or the last one
    progress: tuple[Progress, ...] = ()
    checks: tuple[CheckState, ...] = ()
    events: tuple[Event, ...] = ()
    sessions: tuple[Session, ...] = ()
    lock_wait: LockWait | None = None
    activity: Activity | None = None  # None: nobody looked yet
    around: tuple[Session, ...] = ()  # whoever uses the plan's tables, as of ``activity``
    drain: Drain | None = None
    traffic: Traffic | None = None
    leads: tuple[tuple[str, str], ...] = ()  # mapping id -> old, both, new
    rejects: tuple[tuple[str, str, int], ...] = ()  # mapping id, reason, rows
    comparisons: tuple[ComparisonState, ...] = ()  # the newest of each mapping
    audit: Audit | None = None  # None: not looked at
    approval: Standing | None = None  # of the plan, None: not looked at
    back_to: str = ""  # where the last rollback goes or went; empty while the run goes forward

    @property
    def own(self) -> tuple[TaskState, ...]:
        """The tasks of this run: all but those that were done before it."""
        return tuple(task for task in self.tasks if task.status is not TaskStatus.BEFORE)

    @property
    def current(self) -> TaskState | None:
        """The task in progress, else the failed or blocked one, else None."""
        for wanted in (TaskStatus.IN_PROGRESS, TaskStatus.FAILED, TaskStatus.BLOCKED):
            for task in self.tasks:
                if task.status is wanted:
                    return task
        return None
