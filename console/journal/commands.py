"""What operators ask of the runner, as rows: sent by consoles, answered by the runner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from psycopg.types.json import Jsonb

from console.journal import events
from console.journal.connect import Conn
from console.journal.state import Verb


@dataclass(frozen=True, slots=True)
class Command:
    """One request of an operator."""

    id: int
    actor: str
    verb: Verb
    args: dict[str, Any]


def send(conn: Conn, run_id: int, verb: Verb, args: dict[str, object], *, actor: str) -> int:
    """Write a command and wake the runner; returns the command's id."""
    row = conn.execute(
        "INSERT INTO pgferry.command (run_id, actor, verb, args) VALUES (%s, %s, %s, %s) RETURNING id",
        (run_id, actor, verb.value, Jsonb(args)),
    ).fetchone()
    assert row is not None
    events.notify(conn)
    return int(row[0])


def pending(conn: Conn, run_id: int) -> list[Command]:
    """Commands not answered yet, oldest first; what this version does not know is refused."""
    rows = conn.execute(
        "SELECT id, actor, verb, args FROM pgferry.command WHERE run_id = %s AND status = 'new' ORDER BY id", (run_id,)
    ).fetchall()
    for id_, _, verb, args in rows:
        if verb not in set(Verb) or not isinstance(args, dict):
            answer(conn, id_, accepted=False, text=f"This pgferry does not know the command {verb}.")
    rows = [row for row in rows if row[2] in set(Verb) and isinstance(row[3], dict)]
    return [Command(id_, actor, Verb(verb), args) for id_, actor, verb, args in rows]


def carried_out(conn: Conn, run_id: int, verb: Verb) -> list[Command]:
    """Commands of one kind that were accepted, oldest first."""
    rows = conn.execute(
        "SELECT id, actor, verb, args FROM pgferry.command WHERE run_id = %s AND status = 'done' AND verb = %s"
        " ORDER BY id",
        (run_id, verb.value),
    ).fetchall()
    return [Command(id_, actor, Verb(name), args) for id_, actor, name, args in rows]


def answer(conn: Conn, command_id: int, *, accepted: bool, text: str) -> None:
    """Say what became of a command."""
    conn.execute(
        "UPDATE pgferry.command SET status = %s, answer = %s, answered_at = clock_timestamp() WHERE id = %s",
        ("done" if accepted else "refused", text, command_id),
    )
    events.notify(conn)


def outcome(conn: Conn, command_id: int) -> tuple[bool, str] | None:
    """(accepted, text) of a command; None while it waits for its answer."""
    row = conn.execute("SELECT status, answer FROM pgferry.command WHERE id = %s", (command_id,)).fetchone()
    if row is None or row[0] == "new":
        return None
    return row[0] == "done", row[1]
