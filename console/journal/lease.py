"""One runner a run: an advisory lock, a heartbeat, and a fencing number that stale runners cannot pass."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass

from console.errors import LeaseLost, Refused
from console.journal.connect import Conn
from console.journal.state import Lease

HEARTBEAT_SECONDS = 1.0
STALE_SECONDS = 10.0  # by the server's clock: a heartbeat older than this counts as dead
_CLASS = 0x70676665  # "pgfe": the class of our advisory locks


@dataclass(frozen=True, slots=True)
class Fence:
    """The right to write a run's state."""

    run_id: int
    number: int


def acquire(conn: Conn, run_id: int, holder: str, *, takeover: bool = False) -> Fence:
    """Become the runner of ``run_id``; ``conn`` must stay open as long as the lease is held.

    Never waits in an advisory lock (that would stall concurrent index builds). Raises Refused, naming
    who holds it, where and since when; with ``takeover`` a live holder is fenced off instead.
    """
    got = _one(conn, "SELECT pg_try_advisory_lock(%s, %s)", (_CLASS, run_id % 2**31))
    if not got and not takeover:
        current = read(conn, run_id)
        who = (
            f"{current.holder} already runs this: process {current.pid} on {current.host}, "
            f"since {current.since:%Y-%m-%d %H:%M:%S}, last heard {current.age_s:.0f} s ago."
            if current
            else "Another runner is just taking this run."
        )
        raise Refused(who, state="Nothing was changed.", do="Watch it with 'pgferry attach', or wait until it stops.")
    with conn.transaction():
        conn.execute("SELECT 1 FROM pgferry.run WHERE id = %s FOR UPDATE", (run_id,))
        number = _one(conn, "UPDATE pgferry.run SET fence = fence + 1 WHERE id = %s RETURNING fence", (run_id,))
        conn.execute(
            "INSERT INTO pgferry.lease (run_id, fence, holder, host, pid) VALUES (%s, %s, %s, %s, %s)"
            " ON CONFLICT (run_id) DO UPDATE SET fence = excluded.fence, holder = excluded.holder,"
            " host = excluded.host, pid = excluded.pid, since = clock_timestamp(), heartbeat_at = clock_timestamp()",
            (run_id, number, holder, socket.gethostname(), os.getpid()),
        )
    return Fence(run_id, number)


def _one(conn: Conn, query: str, args: tuple[object, ...]) -> int:
    row = conn.execute(query, args).fetchone()
    assert row is not None
    return int(row[0])


def hold(conn: Conn, fence: Fence) -> None:
    """Assert, inside a transaction, that the lease is still ours; it then is until the transaction ends.

    Raises LeaseLost.
    """
    held = conn.execute(
        "SELECT 1 FROM pgferry.run WHERE id = %s AND fence = %s FOR KEY SHARE", (fence.run_id, fence.number)
    ).fetchone()
    if held is None:
        raise LeaseLost(
            "Another runner took this run over.",
            state="This one stopped writing.",
            do="Watch it with 'pgferry attach'.",
        )


def beat(conn: Conn, fence: Fence) -> None:
    """Say that the runner lives. Raises LeaseLost."""
    row = conn.execute(
        "UPDATE pgferry.lease SET heartbeat_at = clock_timestamp() WHERE run_id = %s AND fence = %s RETURNING 1",
        (fence.run_id, fence.number),
    ).fetchone()
    if row is None:
        raise LeaseLost("Another runner took this run over.", state="This one stopped writing.")


def hold_again(conn: Conn, fence: Fence) -> None:
    """After a lost connection: the advisory lock again, on the new one. Raises LeaseLost."""
    if not _one(conn, "SELECT pg_try_advisory_lock(%s, %s)", (_CLASS, fence.run_id % 2**31)):
        raise LeaseLost("Another runner took this run over.", state="This one stopped writing.")
    beat(conn, fence)


def release(conn: Conn, fence: Fence) -> None:
    """Give the lease back; harmless when it was lost."""
    conn.execute("DELETE FROM pgferry.lease WHERE run_id = %s AND fence = %s", (fence.run_id, fence.number))
    conn.execute("SELECT pg_advisory_unlock(%s, %s)", (_CLASS, fence.run_id % 2**31))


def read(conn: Conn, run_id: int) -> Lease | None:
    """Who runs it, None when nobody does."""
    row = conn.execute(
        "SELECT holder, host, pid, since, extract(epoch FROM clock_timestamp() - heartbeat_at)::float"
        " FROM pgferry.lease WHERE run_id = %s",
        (run_id,),
    ).fetchone()
    if row is None:
        return None
    holder, host, pid, since, age_s = row
    return Lease(holder, host, pid, since, age_s, alive=age_s < STALE_SECONDS)
