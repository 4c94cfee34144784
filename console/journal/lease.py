"""One runner a plan: an advisory lock, a heartbeat, and a fencing number that stale runners cannot pass.

The advisory lock says who runs it and the fencing number who may write. Clocks, which can be stepped, decide nothing:
the heartbeat is for people, and for how long a second runner waits to see whether a first one still lives.
"""

from __future__ import annotations

import contextlib
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
ENDING_SECONDS = 5.0  # how long the ended sessions of a runner that is taken over are waited for
STALE_SECONDS = 10.0  # by the server's clock: a heartbeat older than this does not answer, though it holds the lock
GONE_SECONDS = 3.0  # a heartbeat older than this counts as dead where nobody holds the lock
RETURN_SECONDS = 6.0  # within which a runner that lost its connections is back: longer than its longest wait
_WATCH = "Watch it with 'pgferry attach', or wait until it stops."
_CLASS = 0x70676665  # "pgfe": the class of our advisory locks


@dataclass(frozen=True, slots=True)
class Fence:
    """The right to write a run's state."""

    run_id: int
    number: int


def acquire(conn: Conn, run_id: int, holder: str, *, takeover: bool = False) -> Fence:
    """Become the runner of ``run_id``; ``conn`` must stay open as long as the lease is held.

    Never waits in an advisory lock (that would stall concurrent index builds). Raises Refused, naming
    who holds it, where and since when; with ``takeover`` a live holder is fenced off instead, and its sessions ended.
    """
    got = _one(conn, "SELECT pg_try_advisory_lock(%s, %s)", _key(run_id))
    if not got and not takeover:
        current = read(conn, run_id)
        raise (
            _already(current)
            if current
            else Refused("Another runner is just taking this run.", state="Nothing was changed.", do=_WATCH)
        )
    deadline = time.monotonic() + IN_FLIGHT_SECONDS
    try:
        if not takeover:
            _refuse_if_it_lives(conn, run_id)
        while True:
            try:
                fence = _take(conn, run_id, holder)
                if takeover:  # only now: it would connect again and go on
                    _end_sessions(conn, run_id)
                return fence
            except psycopg.errors.LockNotAvailable:  # the server still works on a statement of the runner before
                if takeover:
                    _end_sessions(conn, run_id)
                if time.monotonic() > deadline:
                    raise Refused(
                        f"A statement of the runner before still works after {IN_FLIGHT_SECONDS:.0f} s.",
                        state="Nothing was changed.",
                        do="Wait for it, or end its session (its application_name begins with 'pgferry run').",
                    ) from None
    except Refused:
        conn.execute("SELECT pg_advisory_unlock(%s, %s)", _key(run_id))
        raise


def _end_sessions(conn: Conn, run_id: int) -> None:
    """End what the runner before still does here, as far as this role may; what it had begun is rolled back."""
    names = [f"pgferry run {run_id} {what}" for what in ("control", "work", "copy")]
    rows = conn.execute(
        "SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = ANY (%s)"
        " AND pid <> pg_backend_pid() AND datname = current_database() AND usename = current_user",
        (names,),
    ).fetchall()
    pids = [row[0] for row in rows]
    deadline = time.monotonic() + ENDING_SECONDS
    left = "SELECT count(*) FROM pg_stat_activity WHERE pid = ANY (%s)"
    while pids and _one(conn, left, (pids,)) and time.monotonic() < deadline:
        time.sleep(0.05)


def _key(run_id: int) -> tuple[int, int]:
    return _CLASS, run_id % 2**31


def _already(current: Lease) -> Refused:
    return Refused(
        f"{current.holder} already runs this: process {current.pid} on {current.host}, "
        f"since {current.since:%Y-%m-%d %H:%M:%S}, last heard {current.age_s:.0f} s ago.",
        state="Nothing was changed.",
        do=_WATCH
        if current.alive
        else "If its host is frozen or out of reach, take the run over: 'pgferry resume --take-over'.",
    )


def _refuse_if_it_lives(conn: Conn, run_id: int) -> None:
    """A runner whose connections were cut holds no lock for a moment: it is not to be replaced without being asked.

    Waits for a heartbeat of the one before, unless its process is known to have ended or it had time enough.
    """
    before = read(conn, run_id)
    if (
        before is None
        or _process_ended(before)
        or (before.age_s >= GONE_SECONDS and not _server_restarted(conn, run_id))
    ):
        return
    beats = "SELECT heartbeat_at FROM pgferry.lease WHERE run_id = %s"
    last = conn.execute(beats, (run_id,)).fetchone()
    deadline = time.monotonic() + RETURN_SECONDS
    while time.monotonic() < deadline:
        time.sleep(0.1)
        now = conn.execute(beats, (run_id,)).fetchone()
        if now is None:
            return
        if now != last:
            raise _already(before)


def _process_ended(before: Lease) -> bool:
    if before.host != socket.gethostname():
        return False
    with contextlib.suppress(PermissionError):
        try:
            os.kill(before.pid, 0)
        except ProcessLookupError:
            return True
    return False


def _server_restarted(conn: Conn, run_id: int) -> bool:
    """Whether the server was started since the last heartbeat, so that every runner lost its connections."""
    return bool(
        _one(
            conn,
            "SELECT (heartbeat_at < pg_postmaster_start_time())::int FROM pgferry.lease WHERE run_id = %s"
            " UNION ALL SELECT 0 LIMIT 1",
            (run_id,),
        )
    )


def _take(conn: Conn, run_id: int, holder: str) -> Fence:
    with conn.transaction():
        one_at_a_time(conn)
        _refuse_others(conn, run_id)
        conn.execute("SELECT 1 FROM pgferry.run WHERE id = %s FOR UPDATE", (run_id,))
        number = _one(conn, "UPDATE pgferry.run SET fence = fence + 1 WHERE id = %s RETURNING fence", (run_id,))
        conn.execute(
            "INSERT INTO pgferry.lease (run_id, fence, holder, host, pid) VALUES (%s, %s, %s, %s, %s)"
            " ON CONFLICT (run_id) DO UPDATE SET fence = excluded.fence, holder = excluded.holder,"
            " host = excluded.host, pid = excluded.pid, since = clock_timestamp(), heartbeat_at = clock_timestamp()",
            (run_id, number, holder, socket.gethostname(), os.getpid()),
        )
    return Fence(run_id, number)


def one_at_a_time(conn: Conn) -> None:
    """In a transaction: runs are begun and taken one after the other. A table lock, since one waits in it."""
    conn.execute("LOCK TABLE pgferry.lease IN SHARE ROW EXCLUSIVE MODE")


_OTHERS = """
SELECT o.id, o.plan_title, o.status, o.operator, o.created_at, l.holder, l.host, l.pid, l.since, held.pid IS NOT NULL
FROM pgferry.run o LEFT JOIN pgferry.lease l ON l.run_id = o.id
LEFT JOIN pg_locks held ON held.locktype = 'advisory' AND held.granted AND held.classid = %(class)s
    AND held.objid = o.id::int8 %% 2147483648 AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
WHERE o.id <> %(run)s AND (o.plan_id = %(plan)s OR o.tables && %(tables)s::text[])
    AND (o.status <> ALL ('{done,rolled back,new}') OR (l.run_id IS NOT NULL AND held.pid IS NOT NULL)
         OR (%(run)s = 0 AND o.status = 'new' AND o.plan_id = %(plan)s))
ORDER BY held.pid IS NULL, o.id LIMIT 1
"""


def refuse_others(conn: Conn, run_id: int, plan_id: str, tables: list[str]) -> None:
    """Raise Refused if another run of this plan, or of one that changes the same tables, is unfinished.

    ``run_id`` is 0 for a run that is to be begun. Call it under ``one_at_a_time``.
    """
    row = conn.execute(_OTHERS, {"class": _CLASS, "run": run_id, "plan": plan_id, "tables": tables}).fetchone()
    if row is None:
        return
    other, title, status, operator, created, holder, host, pid, since, held = row
    if held and holder:
        who = f"{holder} runs it: process {pid} on {host}, since {since:%Y-%m-%d %H:%M:%S}"
    else:
        who = f"begun by {operator} at {created:%Y-%m-%d %H:%M:%S}, nobody runs it now"
    raise Refused(
        f"Run {other} ({title}) is {status} and works on the same tables: {who}.",
        state="Nothing was changed.",
        do="Watch it with 'pgferry attach'; let it end or roll it back first.",
    )


def _refuse_others(conn: Conn, run_id: int) -> None:
    row = conn.execute("SELECT plan_id, tables FROM pgferry.run WHERE id = %s", (run_id,)).fetchone()
    if row is not None:
        refuse_others(conn, run_id, row[0], row[1])


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
    key = _key(fence.run_id)
    conn.execute(
        "SELECT pg_try_advisory_lock(%s, %s) WHERE NOT EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory'"
        " AND classid = %s AND objid = %s AND pid = pg_backend_pid() AND granted)",
        (*key, *key),
    )


def release(conn: Conn, fence: Fence) -> None:
    """Give the lease back; harmless when it was lost."""
    conn.execute("DELETE FROM pgferry.lease WHERE run_id = %s AND fence = %s", (fence.run_id, fence.number))
    conn.execute("SELECT pg_advisory_unlock(%s, %s)", _key(fence.run_id))


def read(conn: Conn, run_id: int) -> Lease | None:
    """Who runs it, None when nobody does."""
    row = conn.execute(
        "SELECT holder, host, pid, since, extract(epoch FROM clock_timestamp() - heartbeat_at)::float,"
        " EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND granted AND classid = %s AND objid = %s"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))"
        " FROM pgferry.lease WHERE run_id = %s",
        (*_key(run_id), run_id),
    ).fetchone()
    if row is None:
        return None
    holder, host, pid, since, apart_s, held = row
    age_s = abs(apart_s)  # the clock was set back since: unknown, and not young
    return Lease(holder, host, pid, since, age_s, alive=age_s < (STALE_SECONDS if held else GONE_SECONDS), held=held)
