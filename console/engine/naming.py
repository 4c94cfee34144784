"""Names of what the sync makes in the database: functions and counters in the journal's schema, triggers on tables."""

from __future__ import annotations

import hashlib

from psycopg import sql

from console.plan.model import Direction, Mapping

SCHEMA = "pgferry"
MAX_NAME = 63  # bytes of a PostgreSQL name; a longer one would be cut, and two of them could become one


def _fitted(mapping_id: str, what: str) -> str:
    name = f"{mapping_id}_{what}"
    if len(name.encode()) <= MAX_NAME:
        return name
    digest = hashlib.sha256(mapping_id.encode()).hexdigest()[:8]
    return f"{mapping_id[: MAX_NAME - len(what) - 10]}_{digest}_{what}"


def function_name(mapping: Mapping, what: str) -> sql.Identifier:
    """A function of the sync, in the journal's schema."""
    return sql.Identifier(SCHEMA, _fitted(mapping.id, what))


def lookup_prefix(mapping: Mapping) -> str:
    """What the names of the functions for a mapping's lookups begin with, and nothing else: no id has a colon."""
    if len(mapping.id.encode()) <= 24:
        return f"{mapping.id}:"
    return f"{mapping.id[:15]}_{hashlib.sha256(mapping.id.encode()).hexdigest()[:8]}:"


def lookup_function(mapping: Mapping, what: str) -> sql.Identifier:
    """A function for a mapping's lookups, in the journal's schema."""
    prefix = lookup_prefix(mapping)
    if len(prefix.encode()) + len(what.encode()) > MAX_NAME:
        what = hashlib.sha256(what.encode()).hexdigest()[:16]
    return sql.Identifier(SCHEMA, prefix + what)


def write_counter(mapping: Mapping, side: str) -> sql.Identifier:
    """Counts the applications' own writes to a side (``old`` or ``new``); a sequence: no row, no lock, no wait."""
    return sql.Identifier(SCHEMA, _fitted(mapping.id, f"{side}_writes"))


def trigger_text(direction: Direction, what: str = "") -> str:
    """A trigger's name; ``zz_``: it fires after the application's own triggers."""
    return f"zz_pgferry_{direction.value}{'_' if what else ''}{what}"


def trigger_name(direction: Direction, what: str = "") -> sql.Identifier:
    """``trigger_text`` as SQL."""
    return sql.Identifier(trigger_text(direction, what))
