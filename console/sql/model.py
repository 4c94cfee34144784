"""What is known of an SQL statement without running it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock a statement takes on an object.

    ``mode`` is PostgreSQL's name in capitals (``ACCESS EXCLUSIVE``); ``basis`` says how we know:
    ``measured``, ``catalogue``, ``grammar`` or ``assumed``. ``new`` objects are made earlier in the same
    sequence, so nobody can be waiting for them.
    """

    object: str
    mode: str
    basis: str
    new: bool = False


@dataclass(frozen=True, slots=True)
class Hazard:
    """Something that can hurt: a stable code, why, and the safe form (may be empty).

    ``level`` is ``hurts``, ``note`` or ``style`` (see hazards/rule.py); ``allowed`` is the reason for which the file
    or the task accepts it, empty where nobody does.
    """

    code: str
    message: str
    safer: str = ""
    level: str = "hurts"
    allowed: str = ""


@dataclass(frozen=True, slots=True)
class Readers:
    """Who understood the statement: ``postgresql`` yes or no; ``sqlglot`` parsed, opaque or failed; do they agree."""

    postgresql: bool
    sqlglot: str
    agree: bool | None


@dataclass(frozen=True, slots=True)
class Estimate:
    """How long the work takes and the WAL it writes, None where unknown; ``words`` say so and from what."""

    seconds: float | None
    wal_bytes: int | None
    words: str


@dataclass(frozen=True, slots=True)
class Mark:
    """What a rehearsal measured: run time, time from the strongest lock to the end, WAL, and what differs from the derived.

    ``partial`` says what could not be measured.
    """

    ms: float
    held_ms: float
    wal_bytes: int
    differences: tuple[str, ...] = ()
    partial: str = ""


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of a file. ``sql`` is the file's own text; ``line`` is 1-based.

    ``group``: statements that stand in one BEGIN..COMMIT block of the file share a number and run in one
    transaction; None means the statement runs alone. ``transactional`` is false for what cannot run in a
    transaction. ``rewrite`` and ``scan`` are None when unknown. ``blocks`` says in words what waits.
    """

    file: str
    line: int
    ordinal: int
    sql: str
    kind: str
    transactional: bool
    group: int | None
    rewrite: bool | None
    scan: bool | None
    locks: tuple[Lock, ...]
    hazards: tuple[Hazard, ...]
    read_by: Readers
    tables: tuple[str, ...]
    blocks: str
    accepted: tuple[Hazard, ...] = ()  # hazards that the file or the task allows, each with the reason
    about: str = ""  # the relation whose rows it works on
    empty: bool = False  # made earlier in the plan, and no statement filled it
    estimate: Estimate | None = None
    measured: Mark | None = None
    notes: tuple[str, ...] = ()  # what is no hazard but worth knowing: an object that is not there, who made a table


@dataclass(frozen=True, slots=True)
class TaskPreview:
    """What a task would run, forward and back. ``derived`` is true when the engine makes the SQL from a mapping."""

    task_id: str
    file: str
    down_file: str
    up: tuple[Statement, ...]
    down: tuple[Statement, ...]
    derived: bool
    sizes: tuple[tuple[str, int, int], ...]  # table, rows (estimate), bytes; empty without a database
    text: str  # what the task does, in words
    no_way_back: str  # why there is none; empty when there is one
    hazards: tuple[Hazard, ...] = ()  # what only the whole plan shows of the task
    accepted: tuple[Hazard, ...] = ()  # of those, what the task allows, each with the reason
    rehearsed: str = ""  # what a rehearsal says of the task and its way back; empty without a record
    rehearsed_well: bool = False  # forward and back, and nothing differed
