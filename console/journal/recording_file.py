"""A recording in a file: JSON lines, first what run it is, then one fact a line, each with what it is in ``is``.

The first line says how many facts follow, so that a file that was cut is told from a whole one.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from datetime import datetime
from typing import Any

from console.errors import UsageError
from console.journal.public import public
from console.journal.recording import Counted, Felt, Frame, Ran, Recording
from console.journal.state import CheckState, ComparisonState, Event, StatementState, Target, TaskState, TaskStatus

FORMAT = 1

_PARTS: dict[str, type[Any]] = {
    "task": TaskState, "frame": Frame, "statement": Ran, "check": CheckState, "comparison": ComparisonState,
    "reject": Counted, "event": Event, "traffic": Felt,
}  # fmt: skip
_FIELDS = {
    "task": "tasks", "frame": "frames", "statement": "statements", "check": "checks", "comparison": "comparisons",
    "reject": "rejects", "event": "events", "traffic": "traffic",
}  # fmt: skip
_ORDER: dict[str, Callable[[Any], Any]] = {
    "statements": lambda ran: (ran.began, ran.state.ordinal),
    **dict.fromkeys(("frames", "checks", "comparisons", "rejects", "events", "traffic"), lambda fact: fact.at),
}
_OFTEN = ("kind", "name", "actor", "task_id", "mapping", "reason")  # texts that many facts share: kept once
_MOMENTS = ("at", "began", "ended", "started_at", "finished_at")


def to_lines(recording: Recording) -> Iterator[str]:
    """The recording as JSON lines; no secrets."""
    recording = public(recording)
    head = {
        "is": "run", "format": FORMAT, "target": asdict(recording.target), "run_id": recording.run_id,
        "plan_id": recording.plan_id, "plan_title": recording.plan_title, "plan_sha256": recording.plan_sha256,
        "operator": recording.operator, "began": recording.began, "ended": recording.ended,
        "facts": sum(len(getattr(recording, name)) for name in _FIELDS.values()),
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
    """The recording in a file called ``name``. Raises UsageError: cut, edited, of a newer format, or none at all.

    Facts are put in the order of time, whatever order they stand in.
    """
    head: dict[str, Any] = {}
    facts: dict[str, list[Any]] = {field_name: [] for field_name in _FIELDS.values()}
    promised = None
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            data = json.loads(text)
            kind = data.pop("is")
            if kind == "run":
                _refuse_newer(data["format"], name)
                promised = data.pop("facts", None)
                head = _head(data)
            else:
                facts[_FIELDS[kind]].append(_fact(kind, data))
        except (ValueError, TypeError, KeyError, AttributeError):
            if head and not text.endswith("\n"):
                raise _cut(name, sum(map(len, facts.values())), promised) from None
            raise UsageError(
                f"{name}:{number}: this is no line of a recording that this version can read.",
                do="Export the run again: pgferry report --format jsonl.",
            ) from None
    if not head:
        raise UsageError(
            f"{name} is no recording of a run.", do="Export one: pgferry report --format jsonl > run.jsonl."
        )
    found = sum(map(len, facts.values()))
    if promised is not None and promised != found:
        raise _cut(name, found, promised)
    for field_name, order in _ORDER.items():
        facts[field_name].sort(key=order)
    parts: dict[str, Any] = {field_name: tuple(found) for field_name, found in facts.items()}
    return Recording(**head, **parts)


def _refuse_newer(version: object, name: str) -> None:
    """Raises UsageError for what a later pgferry wrote."""
    if isinstance(version, int) and version > FORMAT:
        raise UsageError(
            f"{name} was written by a newer pgferry (format {version}, this one reads {FORMAT}).",
            do="Replay it with that one.",
        )


def _cut(name: str, found: int, promised: object) -> UsageError:
    of = f" of {promised:,}" if isinstance(promised, int) else ""
    return UsageError(
        f"{name} is not whole: it has {found:,}{of} facts of the run.",
        do="Export or copy it again: pgferry report --format jsonl.",
    )


def _head(data: dict[str, Any]) -> dict[str, Any]:
    if data.pop("format") != FORMAT:
        raise ValueError("no format there ever was")
    return {**_with_moments(data), "target": Target(**data["target"])}


def _with_moments(data: dict[str, Any]) -> dict[str, Any]:
    """With times as such. Raises ValueError, TypeError for one that is none."""
    for name in _MOMENTS:
        value = data.get(name)
        if value is not None:
            data[name] = moment = datetime.fromisoformat(value)
            if moment.tzinfo is None:
                raise ValueError("a time without its zone")
    return data


def _fact(kind: str, data: dict[str, Any]) -> Any:
    data = _with_moments(data)
    if kind == "task":
        data["depends"], data["status"] = tuple(data["depends"]), TaskStatus(data["status"])
    elif data["began" if kind == "statement" else "at"] is None:
        raise ValueError("a fact without its time")
    if kind == "frame" and data["kind"] not in ("run", "task", "live", "lead"):
        raise ValueError("a change of what is not known")
    if kind == "statement":
        data["state"] = StatementState(**data["state"])
    if kind in ("check", "comparison"):
        data["rows"] = tuple(data["rows"])
    for name in _OFTEN:
        if isinstance(data.get(name), str):
            data[name] = sys.intern(data[name])
    return _PARTS[kind](**data)
