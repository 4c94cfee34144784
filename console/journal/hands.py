"""What a copy's runner and its helpers on other hosts tell each other: the pace to keep, and who lends a hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from console.journal import runs
from console.journal.chunks import Copy
from console.journal.connect import Conn

SILENT_SECONDS = 10.0  # by the server's clock: whoever said nothing for so long is not counted on


@dataclass(frozen=True, slots=True)
class Pacing:
    """What the runner asks of every worker now. ``settings`` are BackfillSettings' fields."""

    settings: dict[str, Any]
    batch_rows: int
    duty_percent: float
    hands: int
    held_by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Hand:
    """A process that lends workers."""

    who: str
    host: str
    pid: int
    workers: int

    def __str__(self) -> str:
        return f"{self.workers} of {self.who} on {self.host} (pid {self.pid})"


def _pace_name(copy: Copy) -> str:
    return f"pace:{copy.task_id}:{copy.mapping}"


def _hand_prefix(copy: Copy) -> str:
    return f"hand:{copy.task_id}:{copy.mapping}:"


def tell(conn: Conn, copy: Copy, pacing: Pacing) -> None:
    """The runner says what holds now."""
    payload = {
        "settings": pacing.settings, "batch_rows": pacing.batch_rows, "duty_percent": pacing.duty_percent,
        "hands": pacing.hands, "held_by": list(pacing.held_by),
    }  # fmt: skip
    runs.set_live(conn, copy.run_id, _pace_name(copy), payload)


def told(conn: Conn, copy: Copy) -> Pacing | None:
    """What the runner said last; None when it has been silent."""
    row = conn.execute(
        "SELECT payload FROM pgferry.live WHERE run_id = %s AND name = %s"
        " AND clock_timestamp() - at < make_interval(secs => %s)",
        (copy.run_id, _pace_name(copy), SILENT_SECONDS),
    ).fetchone()
    return None if row is None else Pacing(**{**row[0], "held_by": tuple(row[0]["held_by"])})


def lend(conn: Conn, copy: Copy, hand: Hand) -> None:
    """A helper says that it is there; to be repeated."""
    payload = {"who": hand.who, "host": hand.host, "pid": hand.pid, "workers": hand.workers}
    runs.set_live(conn, copy.run_id, f"{_hand_prefix(copy)}{hand.host}:{hand.pid}", payload)


def leave(conn: Conn, copy: Copy, hand: Hand) -> None:
    """A helper goes."""
    runs.clear_live(conn, copy.run_id, f"{_hand_prefix(copy)}{hand.host}:{hand.pid}")


def lent(conn: Conn, copy: Copy) -> tuple[Hand, ...]:
    """The helpers that were heard lately."""
    rows = conn.execute(
        "SELECT payload FROM pgferry.live WHERE run_id = %s AND starts_with(name, %s)"
        " AND clock_timestamp() - at < make_interval(secs => %s) ORDER BY name",
        (copy.run_id, _hand_prefix(copy), SILENT_SECONDS),
    ).fetchall()
    return tuple(Hand(**row[0]) for row in rows)


def clear(conn: Conn, copy: Copy) -> None:
    """The copy ended: nothing of this is true any more."""
    conn.execute(
        "DELETE FROM pgferry.live WHERE run_id = %s AND (name = %s OR starts_with(name, %s))",
        (copy.run_id, _pace_name(copy), _hand_prefix(copy)),
    )


def running_copy(conn: Conn, run_id: int) -> Copy | None:
    """The copy that is in progress in a run, None when there is none."""
    row = conn.execute(
        "SELECT b.task_id, b.round, b.mapping FROM pgferry.backfill b JOIN pgferry.task t USING (run_id, task_id, round)"
        " JOIN pgferry.run r ON r.id = b.run_id WHERE b.run_id = %s AND t.status = 'in progress' AND r.status = 'running'"
        " AND (NOT b.exhausted OR EXISTS (SELECT 1 FROM pgferry.chunk c WHERE c.run_id = b.run_id"
        " AND c.task_id = b.task_id AND c.round = b.round AND c.mapping = b.mapping AND c.status = 'pending'))"
        " ORDER BY t.position LIMIT 1",
        (run_id,),
    ).fetchone()
    return None if row is None else Copy(run_id, *row)
