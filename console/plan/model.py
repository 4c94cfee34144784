"""A plan as immutable data: phases, tasks, mappings, checks. No database, no screen."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from console.plan.check_kinds import Spec
from console.plan.names import TableName as TableName
from console.transactions import Transactions


class Kind(StrEnum):
    """What the engine does for a task."""

    SQL = "sql"  # run the statements of a file
    SYNC = "sync"  # switch the triggers of one direction on
    BACKFILL = "backfill"  # copy the rows of a mapping in batches
    CHECK = "check"  # run checks, and/or compare every row of a mapping
    SWITCH = "switch"  # say which shape leads
    DRAIN = "drain"  # wait until nobody uses the old tables
    RETIRE = "retire"  # move the old tables to the archive schema
    PURGE = "purge"  # drop the archived tables; no way back
    GATE = "gate"  # a person confirms something outside the database


class Direction(StrEnum):
    """Which way a sync carries writes."""

    FORWARD = "forward"  # old to new
    REVERSE = "reverse"  # new to old
    BOTH = "both"  # both ways from the start

    @property
    def ways(self) -> tuple[Direction, ...]:
        """The single directions of it, in the order their triggers are made."""
        return (Direction.FORWARD, Direction.REVERSE) if self is Direction.BOTH else (self,)


class Leads(StrEnum):
    """Which shape applications should use."""

    OLD = "old"
    BOTH = "both"
    NEW = "new"


class Writers(StrEnum):
    """What keeps writers of both sides from deadlocking on one key while both directions are carried."""

    FREE = "free"  # nothing: one of them is told so by the server and tries again
    ORDERED = "ordered"  # a gate: transactions of the two sides take turns


class Missing(StrEnum):
    """What becomes of a row whose value nothing in a lookup matches."""

    REJECT = "reject"  # it stays in the old table and is listed
    CREATE = "create"  # the lookup's row is made by the plan's own expression


class Triggers(StrEnum):
    """How the sync's triggers fire."""

    ROW = "row"  # for each row: least for writers of single rows, and for partitioned tables
    STATEMENT = "statement"  # for each statement, all of its rows at once: least for bulk loads


class Changes(StrEnum):
    """What becomes of a change in a lookup through which rows resolve, while the sync is on."""

    CARRY = "carry"  # the rows it concerns are carried again
    FORBID = "forbid"  # the change is refused; additions are carried
    UNCOVERED = "uncovered"  # nothing watches: the next comparison names what differs


class Severity(StrEnum):
    """What a failing check does: an error fails its task, the others are only shown."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of the plan: its path relative to the plan directory, its text, its digest (hex).

    Where only a ``part`` of the file is meant, the rest is blank in ``text``: offsets and lines stay the file's, and
    so does the digest. ``fault`` (at ``fault_line``) says why its statements must not run as they stand.
    """

    path: str
    text: str
    sha256: str
    transactions: Transactions = Transactions.AS_WRITTEN
    part: str = ""
    fault: str = ""
    fault_line: int = 0

    @property
    def shown(self) -> str:
        """Its path, and which part of it."""
        return f"{self.path} ({self.part})" if self.part else self.path


@dataclass(frozen=True, slots=True)
class RegistryLine:
    """A change or tag as Sqitch's registry holds it: the identity made of the plan's line, and what the line says."""

    id: str
    name: str
    note: str
    planned_at: str  # ISO, UTC
    planner_name: str
    planner_email: str


@dataclass(frozen=True, slots=True)
class RegistryEntry:
    """What Sqitch's registry keeps of a change. Needs are (as written, identity, another project or nothing)."""

    line: RegistryLine
    uri: str
    needs: tuple[tuple[str, str, tuple[str, str] | None], ...] = ()
    conflicts: tuple[str, ...] = ()
    tags: tuple[RegistryLine, ...] = ()


@dataclass(frozen=True, slots=True)
class Origin:
    """A migration as the tool knows it that it was written for.

    ``version`` as that tool's table holds it, empty for a repeatable one; ``name`` in that tool's words; ``script``
    its file; ``checksum`` as that tool computes it, empty where it keeps none.
    """

    version: str
    name: str
    script: str
    checksum: str = ""
    down_checksum: str = ""
    registry: RegistryEntry | None = None


@dataclass(frozen=True, slots=True)
class Lookup:
    """How values of an old row resolve to a value of the new one, and back.

    ``relation`` is a table or view with one row for each accepted spelling: ``match`` names its columns and
    the old columns they equal; ``gives`` is the column with the resolved value; ``canonical`` is a boolean
    column, true for the one spelling that the way back writes. A value that resolves to nothing or to
    several is rejected with a reason, never guessed.
    """

    name: str
    relation: TableName
    match: tuple[tuple[str, str], ...]  # (relation column, old column)
    gives: str
    canonical: str
    missing: Missing = Missing.REJECT
    create: str = ""  # SQL expression over the old row ``o`` that makes the missing row; with Missing.CREATE
    changes: Changes = Changes.CARRY


@dataclass(frozen=True, slots=True)
class Refusal:
    """A condition over the old row (``o``) and lookups under which the new shape refuses it, and why."""

    when: str
    reason: str


@dataclass(frozen=True, slots=True)
class Mapping:
    """Old and new table, declared once; triggers, copy, validation and rollback are derived from it.

    ``columns``: new column -> SQL expression over the old row ``o`` and lookups by name.
    ``back``: old column -> SQL expression over the new row ``n`` and lookups by name.
    Keys are unique, not null; the new key's expressions use only old key columns and lookups on them.
    """

    id: str
    old: TableName
    new: TableName
    old_key: tuple[str, ...]
    new_key: tuple[str, ...]
    columns: tuple[tuple[str, str], ...]
    back: tuple[tuple[str, str], ...]
    lookups: tuple[Lookup, ...] = ()
    refuse: tuple[Refusal, ...] = ()
    writers: Writers = Writers.ORDERED
    triggers: Triggers = Triggers.ROW


@dataclass(frozen=True, slots=True)
class Check:
    """A check of the plan: a query with its expectation, a kind with its settings, or a program printing JSON lines.

    ``expect`` for SQL: ``zero rows``, ``some rows``, ``true``, ``value = X``, ``value >= X``, ``value <= X`` or
    ``report`` (always ok, its rows are shown).
    ``spec`` for a kind; ``sql`` is then the query it is about, if it is about one. A ``script`` is SQL that is run and
    rolled back, and passes if no statement of it fails. ``file`` is where the check stands, ``line`` the first line of
    its header. ``sql`` is empty for a program.
    """

    id: str
    title: str
    phase: str
    severity: Severity
    file: str
    line: int
    sql: str = ""
    expect: str = ""
    program: str = ""
    script: bool = False
    spec: Spec | None = None


@dataclass(frozen=True, slots=True)
class Allow:
    """A hazard accepted for a task, with the reason."""

    hazard: str
    reason: str


@dataclass(frozen=True, slots=True)
class BackfillSettings:
    """Where a backfill starts from; all of it can be changed while it runs. A limit of 0 is none."""

    batch_rows: int = 20_000
    target_ms: int = 100
    throttled_ms: int = 0  # the target while duty_percent or max_rows_per_second slows it, where that is longer
    workers: int = 1
    duty_percent: int = 100
    max_rows_per_second: int = 0  # 0: no limit
    max_rejects: int = 0  # 0: no limit
    max_reject_percent: float = 5.0
    max_replica_lag_s: float = 1.0
    max_replica_lag_mb: float = 256.0
    max_slot_mb: float = 4096.0
    max_wal_mb_per_s: float = 0.0
    max_archive_backlog: int = 42
    max_lock_waiters: int = 3
    max_transaction_s: float = 600.0
    max_active_sessions: int = 0  # for instance the server's cores
    hold_for_vacuum: bool = False
    min_free_disk_percent: float = 5.0
    probe_sql: str = ""
    probe_limit_ms: float = 0.0
    synchronous_commit: bool = False  # false: a batch lost in a crash is done again, its row in the journal is lost too
    content_hash: bool = True  # of what each batch wrote


@dataclass(frozen=True, slots=True)
class Task:
    """One step of the plan. Which of the settings apply depends on ``kind``."""

    id: str
    title: str
    kind: Kind
    minutes: int
    phase: str
    depends: tuple[str, ...] = ()
    guards: tuple[str, ...] = ()  # check ids that must pass after it
    irreversible: str = ""  # why there is no way back; empty when there is one
    deliverables: tuple[str, ...] = ()
    file: SourceFile | None = None  # sql
    down: SourceFile | None = None  # sql: the way back
    mappings: tuple[str, ...] = ()  # sync, backfill, check, switch, drain, retire, purge
    direction: Direction = Direction.FORWARD  # sync
    backfill: BackfillSettings = field(default_factory=BackfillSettings)
    checks: tuple[str, ...] = ()  # check
    leads: Leads = Leads.OLD  # switch
    leads_back: Leads = Leads.OLD  # switch: what the way back sets
    connections: int = 2  # check: how many compare rows
    quiet_seconds: int = 10  # drain: nobody on the old table for so long
    export: bool = True  # purge: write the rows to files first
    question: str = ""  # gate: what the person confirms
    lock_timeout_ms: int = 200
    statement_timeout_ms: int = 0  # 0: none
    build_lock_timeout_ms: int = 1_800_000  # for concurrent builds, which a short one only breaks
    allow: tuple[Allow, ...] = ()
    origin: Origin | None = None  # a migration of another tool


@dataclass(frozen=True, slots=True)
class Phase:
    """A group of tasks done in order."""

    id: str
    title: str
    risk: str
    schedule: str
    goal: str
    doc: str
    tasks: tuple[Task, ...]


@dataclass(frozen=True, slots=True)
class Doc:
    """A page readable in the console: its file name without ``.md``, its first heading, its Markdown."""

    name: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Demo:
    """How to try the plan: SQL that generates rows, and the module whose ``workload`` makes the traffic."""

    generate: SourceFile
    traffic: str


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole plan. ``sha256`` covers every file it uses, by path and content.

    ``layout`` names the tool whose migrations the directory holds, empty for a plan.toml; ``notes`` say how they
    are read; ``project`` is the name under which that tool keeps them. ``approvals`` people must approve it before it starts.
    """

    id: str
    title: str
    root: Path
    server_min: int  # major version
    server_max: int
    archive_schema: str
    baseline: SourceFile | None
    phases: tuple[Phase, ...]
    mappings: tuple[Mapping, ...]
    checks: tuple[Check, ...]
    docs: tuple[Doc, ...]
    demo: Demo | None
    files: tuple[SourceFile, ...]
    sha256: str
    layout: str = ""
    project: str = ""
    notes: tuple[str, ...] = ()
    approvals: int = 0

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Every task, in the order it runs."""
        return tuple(task for phase in self.phases for task in phase.tasks)

    def task(self, task_id: str) -> Task:
        """The task with this id. Raises KeyError."""
        for task in self.tasks:
            if task.id == task_id:
                return task
        raise KeyError(task_id)

    def mapping(self, mapping_id: str) -> Mapping:
        """The mapping with this id. Raises KeyError."""
        for mapping in self.mappings:
            if mapping.id == mapping_id:
                return mapping
        raise KeyError(mapping_id)

    def check(self, check_id: str) -> Check:
        """The check with this id. Raises KeyError."""
        for check in self.checks:
            if check.id == check_id:
                return check
        raise KeyError(check_id)
