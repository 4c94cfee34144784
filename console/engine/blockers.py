"""Who is in the way of a statement of ours, and who queues behind it: asked of the server, told in words."""

from __future__ import annotations

from dataclasses import dataclass, replace

from console.journal.connect import Conn
from console.journal.state import Session
from console.text import plain, shorten

BLOCKS = "blocks us"
BLOCKS_BLOCKER = "blocks a blocker"
WAITS = "waits behind us"
OURS = "our statement"
USES_OLD = "uses the old table"
USES_NEW = "uses the new table"
USES_TABLES = "uses both tables"
BLOCKS_OTHERS = "blocks others"
WAITS_TOO = "waits"
LISTED = 20  # sessions named; the others are counted
DEPTH = 6  # how far a chain of waits is followed
OUR_PLACE = 50  # of our own statement, between those it waits for and those that wait for it

# Start of session and of transaction: what tells this one from the next with the same pid. Empty where not visible.
MARK = "coalesce(extract(epoch FROM a.backend_start)::text || ' ' || coalesce(extract(epoch FROM a.xact_start)::text, '-'), '')"
# The same for somebody who uses an old table in one short transaction after the other: the session alone.
SESSION_MARK = "coalesce(extract(epoch FROM a.backend_start)::text || ' *', '')"
FACTS = (
    "a.pid, coalesce(nullif(a.application_name, ''), a.backend_type, ''), coalesce(a.usename, ''),"
    " coalesce(a.state, CASE WHEN a.backend_start IS NULL THEN 'not visible' ELSE '' END),"
    " coalesce(extract(epoch FROM clock_timestamp() - coalesce(a.xact_start, a.query_start)), 0)::float,"
    " left(a.query, 200)"
)

# pg_locks alone says who waits at all, to every role; pg_blocking_pids is asked only about those and our own chain.
_LOOK = f"""
WITH RECURSIVE chain(pid, via, depth) AS (
    SELECT blocker, %(pid)s::int, 1 FROM unnest(pg_blocking_pids(%(pid)s)) blocker
    UNION
    SELECT blocker, chain.pid, depth + 1 FROM chain, unnest(pg_blocking_pids(chain.pid)) blocker
    WHERE depth < {DEPTH} AND chain.pid NOT IN (0, %(pid)s)
), waiting AS MATERIALIZED (
    SELECT pid, pg_blocking_pids(pid) AS blockers
    FROM (SELECT DISTINCT pid FROM pg_locks WHERE NOT granted AND pid <> %(pid)s LIMIT 200) w
), behind(pid, via, depth) AS (
    SELECT pid, %(pid)s::int, 1 FROM waiting WHERE %(pid)s = ANY (blockers) AND pid NOT IN (SELECT pid FROM chain)
    UNION
    SELECT w.pid, behind.pid, depth + 1 FROM behind JOIN waiting w ON behind.pid = ANY (w.blockers)
    WHERE depth < {DEPTH} AND w.pid NOT IN (SELECT pid FROM chain)
), found AS (
    SELECT pid, min(depth) AS depth, 0 AS via FROM chain WHERE pid <> %(pid)s GROUP BY pid
    UNION ALL SELECT %(pid)s, {OUR_PLACE}, (SELECT min(pid) FROM chain WHERE depth = 1)
        WHERE EXISTS (SELECT FROM chain) OR EXISTS (SELECT FROM behind)
    UNION ALL SELECT pid, {OUR_PLACE} + min(depth), (array_agg(via ORDER BY depth, via))[1] FROM behind GROUP BY pid
)
SELECT {FACTS}, CASE WHEN depth = 1 THEN '{BLOCKS}' WHEN depth < {OUR_PLACE} THEN '{BLOCKS_BLOCKER}'
        WHEN depth = {OUR_PLACE} THEN '{OURS}' ELSE '{WAITS}' END, '',
    {MARK}, coalesce(nullif(found.via, 0), (SELECT min(c.pid) FROM chain c WHERE c.via = found.pid), 0),
    (SELECT count(DISTINCT pid) FROM behind), found.pid
FROM found LEFT JOIN pg_stat_activity a ON a.pid = found.pid ORDER BY depth, 5 DESC
"""

_PREPARED = f"""
SELECT 0, 'prepared transaction', p.owner, 'prepared', extract(epoch FROM clock_timestamp() - p.prepared)::float,
    p.gid, '{BLOCKS}' FROM pg_prepared_xacts p
WHERE p.database = current_database() AND EXISTS (
    SELECT 1 FROM pg_locks held JOIN pg_locks wanted ON wanted.pid = %(pid)s AND NOT wanted.granted
        AND held.locktype = wanted.locktype AND held.relation IS NOT DISTINCT FROM wanted.relation
        AND held.transactionid IS NOT DISTINCT FROM wanted.transactionid
        JOIN pg_locks its ON its.virtualtransaction = held.virtualtransaction AND its.transactionid = p.transaction
    WHERE held.granted AND held.pid IS NULL AND its.pid IS NULL)
"""


@dataclass(frozen=True, slots=True)
class Look:
    """What one look showed: blockers first, the longest open first; ``behind`` counts also those not listed."""

    sessions: tuple[Session, ...] = ()
    behind: int = 0

    @property
    def in_the_way(self) -> tuple[Session, ...]:
        """Those that block us themselves."""
        return tuple(item for item in self.sessions if item.role == BLOCKS)

    @property
    def blocking(self) -> tuple[Session, ...]:
        """Those that block us, themselves or through another."""
        return tuple(item for item in self.sessions if item.role in (BLOCKS, BLOCKS_BLOCKER))


def look(conn: Conn, pid: int) -> Look:
    """Who blocks backend ``pid`` and who waits behind it now."""
    rows = conn.execute(_LOOK, {"pid": pid}).fetchall()
    found = [Session(*row[:10]) for row in rows if row[0] is not None]
    if any(row[11] == 0 for row in rows):
        found = [*(Session(*row) for row in conn.execute(_PREPARED, {"pid": pid}).fetchall()), *found]
    return Look(tuple(found[:LISTED]), rows[0][10] if rows else 0)


def own(conn: Conn, pid: int) -> Session | None:
    """Our own statement as a session."""
    row = conn.execute(f"SELECT {FACTS}, %s FROM pg_stat_activity a WHERE a.pid = %s", (OURS, pid)).fetchone()
    return Session(*row) if row else None


def one(conn: Conn, pid: int) -> Session | None:
    """The session with this pid now, whatever it does."""
    row = conn.execute(f"SELECT {FACTS}, '', '', {MARK} FROM pg_stat_activity a WHERE a.pid = %s", (pid,)).fetchone()
    return Session(*row) if row else None


def same(now: str, confirmed: str) -> bool:
    """Whether the mark of now is that of the session, and of the transaction unless any will do, that was confirmed."""
    start, _, transaction = confirmed.partition(" ")
    return bool(start) and (now == confirmed or (transaction == "*" and now.partition(" ")[0] == start))


def signal_backend(conn: Conn, pid: int, mark: str, *, terminate: bool) -> bool:
    """Cancel the statement of the session with this mark, or end it; False when it is no longer that.

    Raises InsufficientPrivilege.
    """
    function = "pg_terminate_backend" if terminate else "pg_cancel_backend"
    row = conn.execute(
        f"SELECT {function}(a.pid) FROM pg_stat_activity a WHERE a.pid = %s AND {MARK} = %s", (pid, mark)
    ).fetchone()
    return bool(row and row[0])


def still_there(conn: Conn, sessions: tuple[Session, ...]) -> tuple[Session, ...]:
    """Of ``sessions``, those whose transaction is the same still, with their state and age of now."""
    if not sessions:
        return ()
    rows = conn.execute(
        f"SELECT {FACTS}, {MARK} FROM pg_stat_activity a WHERE a.pid = ANY (%s)",
        ([item.pid for item in sessions],),
    ).fetchall()
    now = {row[0]: row for row in rows}
    kept = []
    for item in sessions:
        row = now.get(item.pid)
        if row is None:
            kept += [item] if item.pid == 0 else []
        elif row[6] == item.mark:
            kept.append(replace(item, state=row[3], age_s=row[4], query=row[5]))
    return tuple(kept)


def cancel_backend(conn: Conn, pid: int) -> None:
    """Cancel what backend ``pid``, one of ours, does now."""
    conn.execute("SELECT pg_cancel_backend(%s)", (pid,))


def session_words(session: Session) -> str:
    """A session in a few words: ``pid 2211 nightly-report (idle in transaction, 31 min): SELECT ..``."""
    about = ", ".join(item for item in (session.state, _age(session.age_s)) if item)
    query = shorten(plain(session.query), 60)
    chain = f", itself waiting for pid {session.waits_for}" if session.waits_for else ""
    name = "prepared transaction" if session.pid == 0 else f"pid {session.pid} {plain(session.application)}"
    return f"{name} ({about}){chain}{f': {query}' if query else ''}"


def in_the_way_words(seen: Look | None) -> str:
    """Who is in the way, and who is at the root of it where that is somebody else."""
    if seen is None or not seen.in_the_way:
        return "another session is in the way"
    first, *more = seen.in_the_way
    others = f" and {len(more)} more" if more else ""
    roots = [item for item in seen.sessions if item.role == BLOCKS_BLOCKER and not item.waits_for]
    root = f"; at the root of it {session_words(roots[0])}" if roots and first.waits_for else ""
    return f"in the way: {session_words(first)}{others}{root}"


def behind_words(count: int) -> str:
    """How many wait behind us."""
    return f"{count} session{'s wait' if count != 1 else ' waits'} behind us" if count else "nobody waits behind us"


def _age(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 120
        else f"{seconds / 60:.0f} min"
        if seconds < 7200
        else f"{seconds / 3600:.0f} h"
    )
