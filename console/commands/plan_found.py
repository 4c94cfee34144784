"""A hazard of a task that only a look at the whole plan shows."""

from __future__ import annotations

from dataclasses import dataclass

from console.sql.hazards.catalogue import level_of
from console.sql.hazards.rule import Level
from console.sql.model import Hazard


@dataclass(frozen=True, slots=True)
class Found:
    """A hazard of a task, as the look at the whole plan shows it."""

    task_id: str
    hazard: Hazard


def hazard(code: str, message: str, safer: str = "", level: Level | None = None) -> Hazard:
    """One hazard; ``level`` where it counts less than its rule says."""
    return Hazard(code, message, safer, (level or level_of(code)).value)
