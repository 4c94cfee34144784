"""One runner a run: an advisory lock, a heartbeat, and a fencing number that stale runners cannot pass."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass

import psycopg

from console.errors import LeaseLost, Refused
from console.journal.connect import Conn
from console.journal.state import Lease

HEARTBEAT_SECONDS = 1.0
IN_FLIGHT_SECONDS = 30.0  # how long a new runner waits for what the server still does for the one before
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
    deadline = time.monotonic() + IN_FLIGHT_SECONDS
    while True:
        try:
            return _take(conn, run_id, holder)
        except psycopg.errors.LockNotAvailable:  # the server still works on a statement of the runner before
            if time.monotonic() > deadline:
                conn.execute("SELECT pg_advisory_unlock(%s, %s)", (_CLASS, run_id % 2**31))
                raise Refused(
                    f"A statement of the runner before still works after {IN_FLIGHT_SECONDS:.0f} s.",
                    state="Nothing was changed.",
                    do="Wait for it, or end its session (its application_name begins with 'pgferry run').",
                ) from None


def _take(conn: Conn, run_id: int, holder: str) -> Fence:
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
    """Say that the runner lives, and take the advisory lock if ``conn`` does not have it. Raises LeaseLost.

    It is missing on a new connection while the server still ends the old one, and after a takeover while the
    other runner lives. Only the fence says who runs it.
    """
    row = conn.execute(
        "UPDATE pgferry.lease SET heartbeat_at = clock_timestamp() WHERE run_id = %s AND fence = %s RETURNING 1",
        (fence.run_id, fence.number),
    ).fetchone()
    if row is None:
        raise LeaseLost("Another runner took this run over.", state="This one stopped writing.")
    key = (_CLASS, fence.run_id % 2**31)
    conn.execute(
        "SELECT pg_try_advisory_lock(%s, %s) WHERE NOT EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory'"
        " AND classid = %s AND objid = %s AND pid = pg_backend_pid() AND granted)",
        (*key, *key),
    )


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
