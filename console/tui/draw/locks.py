"""Locks, hazards and SQL text as lines: badges carry the lock's own name, colour only repeats it."""

from __future__ import annotations

from rich.text import Text

from console.plan.model import TableName
from console.sql.model import Lock, Statement
from console.text import plain
from console.tui.draw.base import line

MODES = (  # weakest first, as in PostgreSQL's documentation
    "ACCESS SHARE",
    "ROW SHARE",
    "ROW EXCLUSIVE",
    "SHARE UPDATE EXCLUSIVE",
    "SHARE",
    "SHARE ROW EXCLUSIVE",
    "EXCLUSIVE",
    "ACCESS EXCLUSIVE",
)
BASIS = {"measured": "measured", "catalogue": "by catalogue", "grammar": "by grammar", "assumed": "assumed"}


def lock_style(lock: Lock) -> str:
    """How loud a lock is drawn: what stops reads, what stops writes, what hurts nobody."""
    if lock.new or lock.mode not in MODES:
        return "ok" if lock.new else "warn"
    strength = MODES.index(lock.mode)
    return "bad" if strength == 7 else "warn" if strength >= 4 else "ok"


def strongest(statement: Statement) -> Lock | None:
    """The lock that hurts most: on an existing object before one on a new object."""
    ranked = sorted(
        statement.locks,
        key=lambda lock: (not lock.new, MODES.index(lock.mode) if lock.mode in MODES else len(MODES)),
    )
    return ranked[-1] if ranked else None


def name_of(table: str) -> str:
    """A table's name without ``public.``."""
    schema, _, name = table.rpartition(".")
    return str(TableName(schema or "public", name))


def lock_summary(statement: Statement, short: bool = False) -> Text:
    """A statement's badge: its strongest lock and, unless ``short``, the table; ``!!`` is a hazard, ``??`` doubt."""
    lock = strongest(statement)
    text = line()
    if lock is None:
        text.append("no lock", "dim")
    elif lock.new:
        text.append("new object", "ok")
    else:
        text.append(plain(lock.mode), lock_style(lock))
        if not short:
            text.append_text(line((f" {name_of(lock.object)}", "dim")))
    unknown = not statement.read_by.postgresql or any(lock.basis == "assumed" for lock in statement.locks)
    hurts = any(hazard.level == "hurts" for hazard in statement.hazards)
    text.append(" !!" if hurts else " ??" if unknown else "   ", "bad" if hurts else "warn")
    return text


def lock_line(lock: Lock, size: str = "") -> Text:
    """One lock in full: mode, object with its ``size`` in words, how we know."""
    size = f", {size}" if size else ""
    if lock.new:
        return line((lock.mode, "ok"), f" on {name_of(lock.object)}", (" (new here)", "dim"))
    how = BASIS.get(lock.basis, lock.basis)
    return line((lock.mode, lock_style(lock)), f" on {name_of(lock.object)}{size}", (f" ({how})", "dim"))


def yes_no(value: bool | None) -> str:
    """A fact that may be unknown."""
    return "unknown" if value is None else "yes" if value else "no"
