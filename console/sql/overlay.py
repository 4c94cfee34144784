"""A rehearsal's measurements laid over what was derived: what agrees is *measured*, what differs is said.

A lock is never shown weaker than it was derived, nor than it was measured. What a statement was assumed to lock, in
words, is replaced by what it locked on a server with the same schema.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from console.sql.locks import LEVEL, SHARE_UPDATE, UNKNOWN_OBJECT, who_waits
from console.sql.model import Lock, Mark, Statement

MEASURED = "measured"


@dataclass(frozen=True, slots=True)
class Seen:
    """What a server did with one statement: as ``console.plan.rehearsed.Measured`` has it."""

    locks: tuple[tuple[str, str], ...]
    new: tuple[tuple[str, str], ...] = ()
    already: tuple[tuple[str, str], ...] = ()
    rewritten: tuple[str, ...] = ()
    scanned: tuple[str, ...] = ()
    ms: float = 0.0
    held_ms: float = 0.0
    wal_bytes: int = 0
    partial: str = ""


def lay_over(statement: Statement, seen: Seen) -> Statement:
    """The statement with what was measured of it."""
    measured = dict(seen.locks)
    held_before = dict(seen.already)
    locks: list[Lock] = []
    differences: list[str] = []
    for lock in statement.locks:
        if _in_words(lock) and not seen.partial:
            continue
        mode = measured.pop(lock.object, None)
        locks.append(_compared(lock, mode, held_before.get(lock.object), seen, differences))
    strongest = max((LEVEL[lock.mode] for lock in statement.locks if not lock.new), default=0)
    new = {name for name, _ in seen.new}
    for name, mode in measured.items():
        locks.append(Lock(name, mode, MEASURED, name in new))
        if name not in new and LEVEL[mode] > strongest and LEVEL[mode] >= LEVEL[SHARE_UPDATE]:
            differences.append(f"nothing derived for {name}, measured {mode}")
    rewrite = _rewrite(statement, seen, differences)
    ordered = tuple(sorted(locks, key=lambda lock: (-LEVEL[lock.mode], lock.new, lock.object)))
    return replace(
        statement,
        locks=ordered,
        rewrite=rewrite,
        scan=True if seen.scanned and statement.scan is None else statement.scan,
        blocks=who_waits(ordered) if ordered != statement.locks else statement.blocks,
        measured=Mark(seen.ms, seen.held_ms, seen.wal_bytes, tuple(differences), seen.partial),
    )


def _in_words(lock: Lock) -> bool:
    """Whether the lock is on what the analyser could not name."""
    return lock.basis == "assumed" and (" " in lock.object or lock.object == UNKNOWN_OBJECT)


def _compared(lock: Lock, mode: str | None, before: str | None, seen: Seen, differences: list[str]) -> Lock:
    """One derived lock beside the measured mode on the same object, None where none was seen."""
    if lock.new:
        return replace(lock, basis=MEASURED) if dict(seen.new).get(lock.object) == lock.mode else lock
    if before is not None and LEVEL[before] >= LEVEL[lock.mode]:
        return lock  # an earlier statement of the transaction held as much: nothing can be told
    if mode is None:
        if LEVEL[lock.mode] >= LEVEL[SHARE_UPDATE] and not seen.partial:
            differences.append(f"derived {lock.mode} on {lock.object}, not seen in the rehearsal")
        return lock
    if mode == lock.mode:
        return replace(lock, basis=MEASURED)
    if max(LEVEL[mode], LEVEL[lock.mode]) >= LEVEL[SHARE_UPDATE]:  # weaker ones depend on which rows were there
        differences.append(f"derived {lock.mode} on {lock.object}, measured {mode}")
    return replace(lock, mode=mode, basis=MEASURED) if LEVEL[mode] > LEVEL[lock.mode] else lock


def _rewrite(statement: Statement, seen: Seen, differences: list[str]) -> bool | None:
    if statement.kind == "TRUNCATE":
        return statement.rewrite
    tables = [name for name in seen.rewritten if name in {lock.object for lock in statement.locks}]
    if tables and statement.rewrite is False:
        differences.append(f"derived without a rewrite, measured: {', '.join(tables)} written again")
    if tables:
        return True
    if statement.rewrite and not seen.rewritten and not seen.partial:
        differences.append("derived as a rewrite, measured without one")
    if statement.rewrite is None and not seen.rewritten and not seen.partial:
        return False
    return statement.rewrite
