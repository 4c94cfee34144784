"""Which of several consoles may send commands to a run: one at a time, taken over openly, never silently shared.

Headless commands are single acts of a named operator and do not ask here. A console that was not seen for a while,
by the server's clock, has lost it. What becomes of the run when the console in control goes is the operator's choice
(``OnDetach``), kept here and moved on with control: one that leaves says so itself, in the transaction in which it
gives control back; one that is gone without a word is missed by the runner (console.engine.attendance).
"""

from __future__ import annotations

from dataclasses import dataclass

from console.errors import Refused
from console.journal import commands, events
from console.journal.connect import Conn
from console.journal.state import OnDetach, RunStatus, Verb

SEEN_S = 15.0  # a console that lives says so more often than this
_CLASS = 0x70676663  # "pgfc": the class of the locks that consoles hold while their connection lives

_ON_DETACH = "coalesce(to_jsonb(control) ->> 'on_detach', 'go on')"  # a journal not brought up to date lacks it
_READ = (
    "SELECT console, holder, to_char(since, 'HH24:MI'), seen_at > clock_timestamp() - make_interval(secs => %(seen)s),"
    f" {_ON_DETACH}"
)
_HELD = (
    "EXISTS (SELECT FROM pg_locks l WHERE l.locktype = 'advisory' AND l.granted AND l.classid = %(class)s"
    " AND l.objid::int8 = hashtext(control.console)::int8 & 4294967295"
    " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()))"
)


@dataclass(frozen=True, slots=True)
class Holder:
    """The console in control: its own id, who sits there, since when (HH:MM, UTC), and whether it was seen lately."""

    console: str
    name: str
    since: str
    alive: bool
    on_detach: OnDetach = OnDetach.GO_ON


@dataclass(frozen=True, slots=True)
class Presence:
    """A sign of life of the console in control. ``seen`` changes with each; ``held``: its connection lives."""

    console: str
    name: str
    seen: str
    fresh: bool  # given lately, by the server's clock
    held: bool
    on_detach: OnDetach


def _option(word: str) -> OnDetach:
    return OnDetach(word) if word in set(OnDetach) else OnDetach.GO_ON


def holder(conn: Conn, run_id: int) -> Holder | None:
    """Who has control of the run now, None when nobody has."""
    row = conn.execute(
        _READ + " FROM pgferry.control WHERE run_id = %(run)s", {"run": run_id, "seen": SEEN_S}
    ).fetchone()
    return Holder(row[0], row[1], row[2], row[3], _option(row[4])) if row else None


def presence(conn: Conn, run_id: int) -> Presence | None:
    """The last sign of life of the console in control, None when nobody has it."""
    row = conn.execute(
        "SELECT console, holder, seen_at::text, seen_at > clock_timestamp() - make_interval(secs => %(seen)s),"
        f" {_HELD}, {_ON_DETACH} FROM pgferry.control WHERE run_id = %(run)s",
        {"run": run_id, "seen": SEEN_S, "class": _CLASS},
    ).fetchone()
    return Presence(row[0], row[1], row[2], row[3], row[4], _option(row[5])) if row else None


def renew(conn: Conn, run_id: int, console: str) -> bool:
    """Say that this console lives, on a connection that lives as long as it; False when it has no control any more."""
    done = conn.execute(
        "UPDATE pgferry.control SET seen_at = clock_timestamp() WHERE run_id = %s AND console = %s", (run_id, console)
    )
    if done.rowcount == 1:
        conn.execute(
            "SELECT pg_try_advisory_lock(%(class)s, hashtext(%(console)s)) FROM (SELECT %(console)s::text AS console)"
            f" control WHERE NOT {_HELD}",
            {"class": _CLASS, "console": console},
        )
    return done.rowcount == 1


def take(
    conn: Conn, run_id: int, console: str, name: str, *, over: bool, on_detach: OnDetach | None = None
) -> Holder | None:
    """Give control to a console, from nobody, from one that was not seen, or (``over``) from any other.

    None when it is given; else who has it. Taking it from somebody is in the run's audit. ``on_detach`` None: as it was.
    """
    with conn.transaction():
        conn.execute("SELECT 1 FROM pgferry.run WHERE id = %s FOR NO KEY UPDATE", (run_id,))
        before = holder(conn, run_id)
        if before is not None and before.console != console and before.alive and not over:
            return before
        conn.execute(
            "INSERT INTO pgferry.control (run_id, console, holder, on_detach)"
            " VALUES (%(run)s, %(console)s, %(name)s, coalesce(%(detach)s, 'go on'))"
            " ON CONFLICT (run_id) DO UPDATE SET console = excluded.console, holder = excluded.holder,"
            " since = CASE WHEN control.console = excluded.console THEN control.since ELSE excluded.since END,"
            " seen_at = excluded.seen_at, on_detach = coalesce(%(detach)s, control.on_detach)",
            {"run": run_id, "console": console, "name": name, "detach": on_detach.value if on_detach else None},
        )
        if before is not None and before.console != console:
            how = "took control over from" if before.alive else "took control, left behind by"
            events.append(conn, run_id, "operator", f"{how} {before.name}", actor=name)
    return None


def choose(conn: Conn, run_id: int, console: str, name: str, option: OnDetach) -> None:
    """The console in control says what becomes of the run when it goes; in the audit. Raises Refused for any other."""
    with conn.transaction():
        conn.execute("SELECT 1 FROM pgferry.run WHERE id = %s FOR NO KEY UPDATE", (run_id,))
        require(conn, run_id, console)
        done = conn.execute(
            "UPDATE pgferry.control SET on_detach = %s WHERE run_id = %s AND on_detach <> %s",
            (option.value, run_id, option.value),
        )
        if done.rowcount:
            does = "pauses" if option is OnDetach.PAUSE else "goes on"
            events.append(conn, run_id, "operator", f"when the console in control goes, the run {does}", actor=name)


def leave(conn: Conn, run_id: int, console: str, operator: str) -> None:
    """Give control back, if this console has it; the run is told to pause where the operator chose that."""
    with conn.transaction():
        row = conn.execute(
            "DELETE FROM pgferry.control WHERE run_id = %s AND console = %s RETURNING on_detach", (run_id, console)
        ).fetchone()
        if row is None or _option(row[0]) is not OnDetach.PAUSE:
            return
        status = conn.execute("SELECT status FROM pgferry.run WHERE id = %s", (run_id,)).fetchone()
        starting = conn.execute(
            "SELECT 1 FROM pgferry.command WHERE run_id = %s AND status = 'new' LIMIT 1", (run_id,)
        ).fetchone()
        if (status and status[0] in (RunStatus.RUNNING, RunStatus.ROLLING_BACK)) or starting:
            commands.send(conn, run_id, Verb.PAUSE, {"because": "the console in control left"}, actor=operator)


def left_behind(conn: Conn, run_id: int, seen: Presence) -> bool:
    """In a transaction: take control from a console that gave no sign of life since ``seen``; False where it did."""
    conn.execute("SELECT 1 FROM pgferry.run WHERE id = %s FOR NO KEY UPDATE", (run_id,))  # in the order of ``take``
    done = conn.execute(
        "DELETE FROM pgferry.control WHERE run_id = %s AND console = %s AND seen_at = %s::timestamptz",
        (run_id, seen.console, seen.seen),
    )
    return done.rowcount == 1


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
