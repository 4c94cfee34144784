"""Which of several consoles may send commands to a run: one at a time, taken over openly, never silently shared.

Headless commands are single acts of a named operator and do not ask here. A console that was not seen for a while,
by the server's clock, has lost it.
"""

from __future__ import annotations

from dataclasses import dataclass

from console.errors import Refused
from console.journal import events
from console.journal.connect import Conn

SEEN_S = 15.0  # a console that lives says so more often than this

_READ = (
    "SELECT console, holder, to_char(since, 'HH24:MI'), seen_at > clock_timestamp() - make_interval(secs => %(seen)s)"
)


@dataclass(frozen=True, slots=True)
class Holder:
    """The console in control: its own id, who sits there, since when (HH:MM, UTC), and whether it was seen lately."""

    console: str
    name: str
    since: str
    alive: bool


def holder(conn: Conn, run_id: int) -> Holder | None:
    """Who has control of the run now, None when nobody has."""
    row = conn.execute(
        _READ + " FROM pgferry.control WHERE run_id = %(run)s", {"run": run_id, "seen": SEEN_S}
    ).fetchone()
    return Holder(*row) if row else None


def renew(conn: Conn, run_id: int, console: str) -> bool:
    """Say that this console lives; False when it has no control any more."""
    done = conn.execute(
        "UPDATE pgferry.control SET seen_at = clock_timestamp() WHERE run_id = %s AND console = %s", (run_id, console)
    )
    return done.rowcount == 1


def take(conn: Conn, run_id: int, console: str, name: str, *, over: bool) -> Holder | None:
    """Give control to a console, from nobody, from one that was not seen, or (``over``) from any other.

    None when it is given; else who has it. Taking it from somebody is in the run's audit.
    """
    with conn.transaction():
        conn.execute("SELECT 1 FROM pgferry.run WHERE id = %s FOR NO KEY UPDATE", (run_id,))
        before = holder(conn, run_id)
        if before is not None and before.console != console and before.alive and not over:
            return before
        conn.execute(
            "INSERT INTO pgferry.control (run_id, console, holder) VALUES (%(run)s, %(console)s, %(name)s)"
            " ON CONFLICT (run_id) DO UPDATE SET console = excluded.console, holder = excluded.holder,"
            " since = CASE WHEN control.console = excluded.console THEN control.since ELSE excluded.since END,"
            " seen_at = excluded.seen_at",
            {"run": run_id, "console": console, "name": name},
        )
        if before is not None and before.console != console:
            how = "took control over from" if before.alive else "took control, left behind by"
            events.append(conn, run_id, "operator", f"{how} {before.name}", actor=name)
    return None


def release(conn: Conn, run_id: int, console: str) -> None:
    """Give control back, if this console has it."""
    conn.execute("DELETE FROM pgferry.control WHERE run_id = %s AND console = %s", (run_id, console))


def require(conn: Conn, run_id: int, console: str) -> None:
    """Inside a transaction: this console has control until its end. Raises Refused, naming who has it."""
    row = conn.execute("SELECT console, holder FROM pgferry.control WHERE run_id = %s FOR UPDATE", (run_id,)).fetchone()
    if row is None or row[0] != console:
        who = row[1] if row else "Nobody"
        raise Refused(
            f"{who} has control of this run, not this console.",
            state="Nothing was sent.",
            do="T takes it (and says so).",
        )
