"""The record of a rehearsal: what was measured of a plan, as data and as a JSON file. No database, no screen.

A record belongs to exactly one plan by its SHA-256. It names every task of the plan, also those that were not
rehearsed. It is kept in the state folder under that digest, or as ``rehearsal.json`` beside ``plan.toml``, which the
digest does not cover, so that it can be committed with the plan.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import tempfile
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from console.errors import PlanError
from console.plan.model import Plan

FORMAT = 1
NAME = "rehearsal.json"
UP, DOWN = "up", "down"
SCRATCH, TARGET = "scratch", "target"


class Outcome(StrEnum):
    """What a rehearsal says of a task."""

    PASSED = "passed"  # forward and, unless it is irreversible, back: schema and rows as before
    DIFFERS = "differs"  # the way back ran, and left something else than was there before
    FAILED = "failed"  # the way forward or the way back failed
    NOT_REHEARSED = "not rehearsed"  # nothing is known; ``why`` says for what reason


@dataclass(frozen=True, slots=True)
class Measured:
    """One statement as the server ran it.

    ``side`` is ``up`` or ``down``; ``ordinal`` counts the statements of the task's file on that side from 1, and is
    0 for what the engine derives (triggers, functions, batches, whose constants are written as $1). ``locks`` are (object, MODE) on tables, indexes,
    views and sequences that existed before the statement's transaction, as the preview names them; ``new`` the
    same on objects made in it; ``already`` what earlier statements of the transaction held, which this one may have
    needed too. Left out are reads of the engine's own under ACCESS SHARE, and on indexes what writes and reads of
    their table take. ``rewritten`` are tables and indexes whose file was replaced. ``scanned`` are
    tables read in whole, as far as the server's counters tell. ``held_ms``: from taking the strongest lock to the end
    of the transaction. ``times`` statements of one text were run; ``ms`` and ``held_ms`` are the longest of them,
    ``wal_bytes`` their sum. ``partial`` says what could not be measured, in words.
    """

    side: str
    ordinal: int
    sql: str
    sql_sha256: str
    locks: tuple[tuple[str, str], ...]
    rewritten: tuple[str, ...]
    ms: float
    held_ms: float
    wal_bytes: int
    new: tuple[tuple[str, str], ...] = ()
    already: tuple[tuple[str, str], ...] = ()
    scanned: tuple[str, ...] = ()
    times: int = 1
    partial: str = ""


@dataclass(frozen=True, slots=True)
class Difference:
    """An object of the schema, or the rows of a table, before a task and after its way back; empty where absent."""

    object: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class TaskRehearsed:
    """One task's rehearsal.

    ``alone``: the task forward, back, and compared at once. ``outcome``: the worse of that and of its part in the
    whole plan's way back. ``why`` is empty for a plain pass. Times in milliseconds; ``back_ms`` and
    ``wal_bytes`` (the way forward's) are 0 where nothing was run.
    """

    task_id: str
    outcome: Outcome
    why: str
    alone: Outcome
    forward_ms: float = 0.0
    back_ms: float = 0.0
    wal_bytes: int = 0
    differences: tuple[Difference, ...] = ()
    statements: tuple[Measured, ...] = ()


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """A whole rehearsal. ``made_at`` is ISO 8601 in UTC; ``server_version`` as in server_version_num.

    ``mode``: ``scratch`` (a server of its own) or ``target`` (in transactions that were rolled back). ``data`` says in
    words where the rows came from, ``rows`` how many each table had before the first task.
    """

    plan_id: str
    plan_sha256: str
    made_at: str
    server_version: int
    mode: str
    data: str
    rows: tuple[tuple[str, int], ...]
    tasks: tuple[TaskRehearsed, ...]
    lacks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    format: int = FORMAT

    @property
    def ok(self) -> bool:
        """Whether nothing failed and nothing differs. Tasks that were not rehearsed do not count against it."""
        return not any(task.outcome in (Outcome.FAILED, Outcome.DIFFERS) for task in self.tasks)

    @property
    def complete(self) -> bool:
        """Whether every task was rehearsed."""
        return all(task.outcome is not Outcome.NOT_REHEARSED for task in self.tasks)

    def task(self, task_id: str) -> TaskRehearsed | None:
        """What is known of a task; None where the plan of this record has no such task."""
        return next((task for task in self.tasks if task.task_id == task_id), None)

    def measured(self, task_id: str, side: str, sql: str) -> Measured | None:
        """The measurement of just this statement of a task's ``side``; None where it was not run."""
        digest = sql_sha256(sql)
        task = self.task(task_id)
        found = (m for m in task.statements if m.side == side and m.sql_sha256 == digest) if task else iter(())
        return next(found, None)


def sql_sha256(sql: str) -> str:
    """The digest (hex) by which a statement is known again: of its text, white space around it left out."""
    return hashlib.sha256(sql.strip().encode()).hexdigest()


def to_json(record: Rehearsal) -> str:
    """The record as JSON text, keys in a fixed order."""
    return json.dumps(dataclasses.asdict(record), indent=1, ensure_ascii=False) + "\n"


def from_json(text: str, file: str) -> Rehearsal:
    """The record in ``text``. Raises PlanError, naming ``file``, when it is not one this version understands."""
    try:
        data = json.loads(text)
    except ValueError as error:
        raise PlanError(f"This is not JSON: {error}.", file=file, do=_AGAIN) from None
    found = data.get("format") if isinstance(data, dict) else None
    if found != FORMAT:
        raise PlanError(f"This is no record of a rehearsal in format {FORMAT}.", file=file, do=_AGAIN)
    try:
        record: Rehearsal = _value(Rehearsal, data)
    except (KeyError, TypeError, ValueError) as error:
        raise PlanError(f"The record of the rehearsal is damaged: {error}.", file=file, do=_AGAIN) from None
    return record


_AGAIN = "Rehearse the plan again."


def _value(kind: Any, data: Any) -> Any:
    """``data`` as ``kind``: a dataclass, a tuple, an enum or a plain type. Raises TypeError, ValueError, KeyError."""
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        if not isinstance(data, dict):
            raise TypeError(f"{kind.__name__} is not an object")
        hints = get_type_hints(kind)
        known = {f.name: f for f in dataclasses.fields(kind)}
        return kind(**{name: _value(hints[name], data[name]) for name in known if name in data})
    if get_origin(kind) is tuple:
        return _tuple(get_args(kind), data)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return kind(data)
    if kind is float and isinstance(data, int) and not isinstance(data, bool):
        return float(data)
    if not isinstance(data, kind) or (isinstance(data, bool) and kind is not bool):
        raise TypeError(f"{data!r} is not of type {kind.__name__}")
    return data


def _tuple(kinds: tuple[Any, ...], data: Any) -> tuple[Any, ...]:
    if not isinstance(data, list):
        raise TypeError(f"{data!r} is not a list")
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        return tuple(_value(kinds[0], item) for item in data)
    if len(kinds) != len(data):
        raise ValueError(f"a list of {len(kinds)} values has {len(data)}")
    return tuple(_value(kind, item) for kind, item in zip(kinds, data, strict=True))


def read(file: Path) -> Rehearsal:
    """The record in a file. Raises PlanError."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PlanError(f"The record of the rehearsal cannot be read: {error}.", file=str(file), do=_AGAIN) from None
    return from_json(text, str(file))


def write(record: Rehearsal, file: Path) -> None:
    """Write the record, whole or not at all. Raises OSError."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            out.write(to_json(record))
        Path(name).chmod(0o644)
        Path(name).replace(file)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise


def kept_at(plan: Plan, folder: Path) -> Path:
    """Where the record of exactly this plan is kept in the state folder ``folder``."""
    return folder / "rehearsals" / f"{plan.sha256}.json"


def find(plan: Plan, folder: Path) -> Rehearsal | None:
    """The newest record of exactly this plan: in its directory, or in the state folder; None where there is none.

    Raises PlanError when a record is there and cannot be read.
    """
    files = (plan.root / NAME, kept_at(plan, folder))
    records = [read(file) for file in files if file.is_file()]
    mine = [record for record in records if record.plan_sha256 == plan.sha256]
    return max(mine, key=lambda record: record.made_at, default=None)


def outdated(plan: Plan) -> Rehearsal | None:
    """The record in the plan's directory when it is of an older version of the plan; never to be used for marks.

    Raises PlanError when it cannot be read.
    """
    file = plan.root / NAME
    record = read(file) if file.is_file() else None
    return record if record is not None and record.plan_sha256 != plan.sha256 else None
