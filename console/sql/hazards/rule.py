"""What a rule about hazards is. Pure data: no parser, no database."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How much a hazard counts."""

    HURTS = "hurts"  # sessions wait, applications fail or data is lost: fails ``lint`` unless the file accepts it
    NOTE = "note"  # worth knowing before it is signed; never fails anything
    STYLE = "style"  # advice, a choice that is regretted later; shown only when asked for


@dataclass(frozen=True, slots=True)
class Rule:
    """One hazard.

    ``code`` never changes: files accept hazards by it. ``fires`` is SQL in which a server of version ``server`` meets
    the hazard, ``safe`` is SQL for the same end in which it does not; both are run by the tests. Rules of a whole
    plan (``plan``) have a plan's files in their examples, each after a line ``-- file: NAME``. ``source``: where the
    rule is known from.
    """

    code: str
    level: Level
    title: str
    why: str
    fires: str
    safe: str
    source: str = ""
    server: int = 18
    plan: bool = False
