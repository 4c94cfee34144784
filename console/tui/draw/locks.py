"""Locks, hazards and SQL text as lines: badges carry the lock's own name, colour only repeats it."""

from __future__ import annotations

from rich.text import Text

from console.plan.model import TableName
from console.sql.model import Lock, Mark, Statement
from console.text import plain
from console.tui.draw import numbers
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
SLOW = 5.0  # seconds: longer work is named beside the lock
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
    """A statement's badge: its strongest lock and, unless ``short``, the table and a long time.

    ``!!`` is a hazard or a difference between derived and measured, ``??`` doubt.
    """
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
    if statement.estimate is not None and (statement.estimate.seconds or 0) >= SLOW and not short:
        text.append(f" {numbers.about(statement.estimate.seconds)}", "warn")
    unknown = not statement.read_by.postgresql or any(lock.basis == "assumed" for lock in statement.locks)
    hurts = any(hazard.level == "hurts" for hazard in statement.hazards)
    hurts = hurts or (statement.measured is not None and bool(statement.measured.differences))
    text.append(" !!" if hurts else " ??" if unknown else "   ", "bad" if hurts else "warn")
    return text


def lock_lines(lock: Lock, width: int, size: str = "", mark: Mark | None = None) -> list[Text]:
    """One lock in full: mode, object with its ``size`` in words, how we know, and how long it was held.

    Where that is wider than ``width``, how we know goes to a second line: it must not be cut off.
    """
    if lock.new:
        return [line((lock.mode, "ok"), f" on {name_of(lock.object)}", (" (new: no one waits)", "dim"))]
    how = BASIS.get(lock.basis, lock.basis)
    if mark is not None and lock.basis == "measured" and mark.held_ms > 0:
        how = f"{how}: held {numbers.ms(mark.held_ms)}"
    what = line((lock.mode, lock_style(lock)), f" on {name_of(lock.object)}")
    size = f", {size}" if size else ""
    one = line(what, size, (f" ({how})", "dim"))
    return [one] if one.cell_len <= width else [what, line((f"  {how}{size}", "dim"))]


def yes_no(value: bool | None) -> str:
    """A fact that may be unknown."""
    return "unknown" if value is None else "yes" if value else "no"
