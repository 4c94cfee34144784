"""What the runner saw around the plan's tables at its last look: who used them, replicas, slots, a drain. Data only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

MINUTES = 15  # of history that is kept and shown

OLD = "old"
NEW = "new"


@dataclass(frozen=True, slots=True)
class Use:
    """An application on the old or the new tables: at how many looks of each minute it was seen there, oldest first."""

    side: str
    application: str
    seen: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Counts:
    """What the server counted in each minute, oldest first; None where nobody read the counter.

    ``writes`` are statements of the applications' own, counted by the sync; ``scans`` are of everybody, the sync's
    and the copy's too.
    """

    side: str
    writes: tuple[int | None, ...]
    scans: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Replica:
    """A replica or another receiver of WAL. ``behind`` in bytes; None is unknown: the role may not see it."""

    name: str
    state: str
    sync: str
    behind: int | None
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Slot:
    """A replication slot; ``kept`` is the WAL it holds back, in bytes, None where it reserves none."""

    name: str
    kind: str
    active: bool
    status: str
    kept: int | None


@dataclass(frozen=True, slots=True)
class Drain:
    """A wait for the tables of a side to fall quiet, and who used them last."""

    task_id: str
    side: str
    quiet_s: float
    wanted_s: float
    last_user: str


@dataclass(frozen=True, slots=True)
class Activity:
    """One picture. ``looks`` are those in each of the last minutes, oldest first; the last one is not over.

    ``hidden`` says in words what the runner's role may not see; ``more`` counts sessions that are not listed.
    """

    at: datetime
    looks: tuple[int, ...]
    uses: tuple[Use, ...] = ()
    counts: tuple[Counts, ...] = ()
    replicas: tuple[Replica, ...] = ()
    slots: tuple[Slot, ...] = ()
    hidden: tuple[str, ...] = ()
    more: int = 0


def an_activity(payload: dict[str, Any]) -> Activity:
    """The picture from the journal's live fact."""
    return Activity(
        at=datetime.fromisoformat(payload["at"]),
        looks=tuple(payload["looks"]),
        uses=tuple(Use(**{**use, "seen": tuple(use["seen"])}) for use in payload["uses"]),
        counts=tuple(
            Counts(count["side"], tuple(count["writes"]), tuple(count["scans"])) for count in payload["counts"]
        ),
        replicas=tuple(Replica(**replica) for replica in payload["replicas"]),
        slots=tuple(Slot(**slot) for slot in payload["slots"]),
        hidden=tuple(payload["hidden"]),
        more=payload["more"],
    )


def a_drain(payload: dict[str, Any]) -> Drain:
    """A drain from the journal's live fact."""
    return Drain(**payload)
