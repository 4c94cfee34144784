"""Statements as the JSON that ``pgferry lint --format json`` prints."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from console.sql.model import Hazard, Statement


def _known(answer: bool | None) -> bool | str:
    return "unknown" if answer is None else answer


def _hazard(hazard: Hazard) -> dict[str, str]:
    """One hazard; ``level`` is there where it does not count: ``note`` or ``style``."""
    form = {"code": hazard.code, "message": hazard.message, "safer": hazard.safer}
    return form if hazard.level == "hurts" else {**form, "level": hazard.level}


def _one(statement: Statement) -> dict[str, Any]:
    return {
        "file": statement.file,
        "line": statement.line,
        "sql": statement.sql,
        "kind": statement.kind,
        "transactional": statement.transactional,
        "rewrite": _known(statement.rewrite),
        "scan": _known(statement.scan),
        "locks": [{"object": lock.object, "mode": lock.mode, "basis": lock.basis} for lock in statement.locks],
        "hazards": [_hazard(hazard) for hazard in statement.hazards],
        "read_by": {"postgresql": statement.read_by.postgresql, "sqlglot": statement.read_by.sqlglot},
    }


def lint_json(statements: Iterable[Statement]) -> dict[str, Any]:
    """The statements as a JSON object; ``rewrite`` and ``scan`` are true, false or ``"unknown"``."""
    return {"statements": [_one(statement) for statement in statements]}
