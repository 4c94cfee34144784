"""Hazards as SARIF 2.1.0, as code scanning takes it: one run, every rule named, each place relative to the repository.

Hazards that a file or a task accepts are left out: a service that does not know suppressions would open them again.
The properties follow GitHub's page on SARIF support.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from console import __version__
from console.headless.words import safe
from console.plan.model import Task
from console.sql.hazards.rule import Level, Rule
from console.sql.model import Hazard, Statement

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LEVELS = {Level.HURTS: "error", Level.NOTE: "note", Level.STYLE: "note"}


@dataclass(frozen=True, slots=True)
class Found:
    """A hazard and its place: the file as a path on this machine, 1-based lines."""

    file: Path
    line: int
    last_line: int
    sql: str
    hazard: Hazard


def found_in(statement: Statement, file: Path, *, written: bool = True) -> list[Found]:
    """The hazards of a statement; where it is not ``written`` in the file but derived from it, at its first line."""
    first = statement.line if written else 1
    last = first + statement.sql.rstrip().count("\n") if written else 1
    return [Found(file, first, last, statement.sql, hazard) for hazard in statement.hazards]


def found_of(task: Task, hazards: Iterable[Hazard], file: Path) -> list[Found]:
    """What only the whole plan shows of a task, at the first line of ``file``."""
    return [Found(file, 1, 1, task.id, hazard) for hazard in hazards]


def repository_of(place: Path) -> Path:
    """The root of the repository that holds ``place``, else the working directory where it is below, else its folder."""
    here = place.resolve()
    for folder in (here, *here.parents):
        if (folder / ".git").exists():
            return folder
    working = Path.cwd()
    return working if here.is_relative_to(working) else (here if here.is_dir() else here.parent)


def sarif(found: Iterable[Found], rules: Mapping[str, Rule], root: Path) -> dict[str, Any]:
    """The log. Codes that ``rules`` does not have get a rule of their own, with what is known of them."""
    listed = list(found)
    known: dict[str, dict[str, Any]] = {code: _rule(rule) for code, rule in rules.items()}
    for one in listed:
        known.setdefault(one.hazard.code, _bare_rule(one.hazard))
    places = {code: index for index, code in enumerate(known)}
    seen: Counter[str] = Counter()
    results = [_result(one, places[one.hazard.code], root, seen) for one in listed]
    driver = {
        "name": "pgferry",
        "semanticVersion": __version__,
        "rules": list(known.values()),
    }
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {"SRCROOT": {"description": {"text": "The root of the repository."}}},
        "results": results,
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(rule: Rule) -> dict[str, Any]:
    accept = f"-- pgferry: allow {rule.code} REASON"
    text = f"{rule.why}\n\nInstead:\n\n{rule.safe}\n\nTo accept it, above the statement:\n\n{accept}"
    markdown = f"{rule.why}\n\nInstead:\n\n```sql\n{rule.safe}\n```\n\nTo accept it, above the statement: `{accept}`"
    return {
        "id": rule.code,
        "name": "".join(part.capitalize() for part in rule.code.split("-")),
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.why},
        "help": {"text": text, "markdown": markdown},
        "defaultConfiguration": {"level": _LEVELS[rule.level]},
        "properties": {"tags": ["postgresql", "migration"], "precision": "high"},
    }


def _bare_rule(hazard: Hazard) -> dict[str, Any]:
    text = {"text": safe(hazard.message)}
    level = {"level": _level(hazard)}
    return {
        "id": hazard.code, "shortDescription": text, "fullDescription": text, "help": text,
        "defaultConfiguration": level,
    }  # fmt: skip


def _level(hazard: Hazard) -> str:
    return _LEVELS.get(Level(hazard.level), "error") if hazard.level in set(Level) else "error"


def _result(one: Found, rule: int, root: Path, seen: Counter[str]) -> dict[str, Any]:
    hazard = one.hazard
    safer = f"\nSafe form:\n{safe(hazard.safer, keep_newlines=True)}" if hazard.safer else ""
    mark = hashlib.sha256(f"{hazard.code}\n{' '.join(one.sql.split())}".encode()).hexdigest()[:32]
    location = _uri(one.file, root)
    seen[f"{location} {mark}"] += 1  # the same statement twice in one file: two results
    return {
        "ruleId": hazard.code,
        "ruleIndex": rule,
        "level": _level(hazard),
        "message": {"text": safe(hazard.message) + safer},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": location, **({} if ":" in location else {"uriBaseId": "SRCROOT"})},
                    "region": {"startLine": one.line, "endLine": max(one.last_line, one.line)},
                }
            }
        ],
        "partialFingerprints": {"pgferryStatement/v1": f"{mark}:{seen[f'{location} {mark}']}"},
    }


def _uri(file: Path, root: Path) -> str:
    """Relative to the repository, percent-encoded; a file outside of it by its whole address."""
    here = file.resolve()
    return quote(here.relative_to(root).as_posix()) if here.is_relative_to(root) else here.as_uri()
