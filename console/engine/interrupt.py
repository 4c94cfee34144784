"""Cancelling a statement or ending a session on an operator's word: only the one confirmed, only while it is in the way."""

from __future__ import annotations

import psycopg

from console.engine import blockers
from console.engine.session import Session
from console.engine.step import Attempt
from console.errors import Refused, UsageError
from console.journal import read
from console.journal.commands import Command
from console.journal.connect import Conn
from console.journal.state import Session as OtherSession

NOTHING = "Nothing was done."
IDLE = ("idle in transaction", "idle in transaction (aborted)", "idle")
SETTLED_S = 0.2  # an attempt that began just now may not have come to its lock yet
IN_THE_WAY = (
    blockers.BLOCKS, blockers.BLOCKS_BLOCKER, blockers.BLOCKS_OTHERS, blockers.WAITS_TOO,
    blockers.USES_OLD, blockers.USES_NEW, blockers.USES_TABLES,
)  # fmt: skip


def signal(session: Session, conn: Conn, command: Command, *, terminate: bool) -> str:
    """Cancel the statement of the session in ``command``, or end that session; says in words what was done.

    The session must be the one the operator saw (``mark``): a pid is soon another's. Raises Refused, UsageError.
    """
    pid, mark = command.args.get("pid"), command.args.get("mark")
    if isinstance(pid, bool) or not isinstance(pid, int) or not isinstance(mark, str):
        raise UsageError("Name the session by its pid and mark.", state=NOTHING)
    attempt = session.step.now()
    if attempt is not None and pid and attempt.pid == pid:
        return _cancel_ours(session, conn, pid, command.actor, terminate=terminate)
    found = blockers.one(conn, pid)
    if pid == 0:
        raise Refused(
            "A prepared transaction has no session to signal.",
            state=NOTHING,
            do="Its owner ends it with COMMIT PREPARED or ROLLBACK PREPARED.",
        )
    if found is None:
        raise Refused(f"Session {pid} is gone already.", state=NOTHING)
    if found.application.startswith("pgferry"):
        raise Refused(
            f"Session {pid} is pgferry's own ({found.application}).",
            state=NOTHING,
            do="Pause the run, or cancel its statement while it runs.",
        )
    if not found.mark:
        raise Refused(
            f"The runner's role may not see enough of session {pid} to be sure whose it is.",
            state=NOTHING,
            do="Grant it pg_read_all_stats and pg_signal_backend, or ask the session's owner.",
        )
    _refuse_servers_own(conn, pid)
    if not blockers.same(found.mark, mark):
        raise Refused(f"Session {pid} is another one by now, or in another transaction.", state=NOTHING)
    known = _in_the_way(session, conn, pid, attempt)
    if not known:
        raise Refused(f"Session {pid} is not in the way of this run.", state=NOTHING)
    if found.application not in {item.application for item in known}:
        raise Refused(
            f"Session {pid} is pooled: it serves {found.application} now, not {known[0].application}.", state=NOTHING
        )
    if not terminate and found.state in IDLE:
        raise Refused(
            f"Session {pid} is {found.state}: it has no statement to cancel.",
            state=NOTHING,
            do="End the session instead; its open transaction is rolled back then.",
        )
    _send(conn, found, terminate=terminate)
    return f"{'ended' if terminate else 'cancelled the statement of'} {blockers.session_words(found)}"


def _cancel_ours(session: Session, conn: Conn, pid: int, actor: str, *, terminate: bool) -> str:
    if terminate:
        raise Refused(
            "That is this run's own statement.", state=NOTHING, do="Cancel it: the task stops, its state known."
        )
    if not session.step.cancel(conn, pid, actor=actor):
        raise Refused("This run's statement has just ended.", state=NOTHING)
    return f"cancel our own statement: {session.step.what}"


def _refuse_servers_own(conn: Conn, pid: int) -> None:
    """Raises Refused for a process that is no client's, but for an autovacuum that may be cancelled."""
    row = conn.execute(
        "SELECT backend_type, coalesce(to_jsonb(a) ->> 'leader_pid', '0')::int, query LIKE '%%(to prevent wraparound)%%'"
        " FROM pg_stat_activity a WHERE pid = %s",
        (pid,),
    ).fetchone()
    kind, leader, wraparound = row or ("", 0, False)
    if leader not in (0, pid):
        raise Refused(
            f"Session {pid} is a parallel worker of session {leader}.", state=NOTHING, do=f"Name {leader} instead."
        )
    if kind == "autovacuum worker" and wraparound:
        raise Refused(
            f"Session {pid} is an autovacuum that prevents transaction ID wraparound; cancelled, it begins again.",
            state=NOTHING,
            do="Let it finish, then resume.",
        )
    if kind == "walsender":
        raise Refused(f"Session {pid} sends WAL to a replica; it is not in the way.", state=NOTHING)
    if kind not in ("client backend", "autovacuum worker", "", None):
        raise Refused(f"Session {pid} is the server's own ({kind}).", state=NOTHING, do="Ask who administers it.")


def _in_the_way(session: Session, conn: Conn, pid: int, attempt: Attempt | None) -> list[OtherSession]:
    """How it is known: it blocks us now, did so in this step's last attempt, or is shown around the plan's tables."""
    found = [*read.sessions(conn, session.run_id), *read.around(conn, session.run_id)]
    if attempt is not None and attempt.pid:
        found += blockers.look(conn, attempt.pid).blocking
    if session.step.seen is not None and attempt is not None and (not attempt.pid or attempt.seconds < SETTLED_S):
        found += session.step.seen.blocking
    return [item for item in found if item.pid == pid and item.role in IN_THE_WAY]


def _send(conn: Conn, found: OtherSession, *, terminate: bool) -> None:
    try:
        sent = blockers.signal_backend(conn, found.pid, found.mark, terminate=terminate)
    except psycopg.errors.InsufficientPrivilege as error:
        raise Refused(
            f"The runner's role may not signal session {found.pid} of {found.user or 'the server'}:"
            f" {str(error).splitlines()[0]}.",
            state=NOTHING,
            do="Grant it pg_signal_backend (a superuser's session is a superuser's to end), or ask its owner.",
        ) from None
    if not sent:
        raise Refused(f"Session {found.pid} ended, or went on to another transaction, just now.", state=NOTHING)
