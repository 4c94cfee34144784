"""The append-only audit: every event carries the hash of the one before."""

from __future__ import annotations

from typing import Any

from psycopg.types.json import Jsonb

from console.journal.connect import Conn
from console.journal.state import Audit
from console.text import without_secrets

CHANNEL = "pgferry"

# The run's row is the head of the chain: locking it orders writers without any waiting advisory lock.
APPEND_AS = """
WITH head AS (
    SELECT id, event_hash FROM pgferry.run WHERE id = {run} FOR NO KEY UPDATE
), new AS (
    SELECT head.id AS run_id, head.event_hash AS prev, clock_timestamp() AS at, {actor}::text AS actor,
           {kind}::text AS kind, {task}::text AS task_id, {text}::text AS text, {data}::jsonb AS data
    FROM head
), ins AS (
    INSERT INTO pgferry.event (run_id, at, actor, kind, task_id, text, data, prev_hash, hash)
    SELECT run_id, at, actor, kind, task_id, text, data, prev,
           encode(sha256(convert_to(
               concat_ws('|', prev, extract(epoch FROM at), actor, kind, task_id, text, data), 'UTF8')), 'hex')
    FROM new RETURNING run_id, hash
)
UPDATE pgferry.run SET event_hash = ins.hash FROM ins WHERE run.id = ins.run_id
"""
_APPEND = APPEND_AS.format(**{name: f"%({name})s" for name in ("run", "actor", "kind", "task", "text", "data")})


def append(conn: Conn, run_id: int, kind: str, text: str, *, actor: str, task_id: str = "", **data: Any) -> None:
    """Write one event, its text without secrets, and wake whoever listens."""
    said = without_secrets(text)
    conn.execute(
        _APPEND, {"run": run_id, "actor": actor, "kind": kind, "task": task_id, "text": said, "data": Jsonb(data)}
    )
    notify(conn)


def notify(conn: Conn) -> None:
    """Wake every console that listens; they read what changed."""
    conn.execute("SELECT pg_notify(%s, '')", (CHANNEL,))


def broken_links(conn: Conn, run_id: int) -> list[int]:
    """Ids of events whose hash does not follow from their content and the event before; empty when intact.

    The run keeps the hash of its last event: where that is another one, events behind the last one left were taken
    away, and its id (0 when none is left) is named.
    """
    rows = conn.execute(
        "SELECT id FROM (SELECT id, hash, prev_hash, lag(hash, 1, '') OVER (ORDER BY id) AS before,"
        " encode(sha256(convert_to(concat_ws('|', prev_hash, extract(epoch FROM at), actor, kind, task_id, text, data),"
        " 'UTF8')), 'hex') AS again FROM pgferry.event WHERE run_id = %(run)s) e"
        " WHERE hash <> again OR prev_hash <> before"
        " UNION SELECT coalesce(last.id, 0) FROM pgferry.run LEFT JOIN (SELECT id, hash FROM pgferry.event"
        " WHERE run_id = %(run)s ORDER BY id DESC LIMIT 1) last ON true"
        " WHERE run.id = %(run)s AND run.event_hash <> coalesce(last.hash, '') ORDER BY 1",
        {"run": run_id},
    ).fetchall()
    return [int(row[0]) for row in rows]


def audit(conn: Conn, run_id: int) -> Audit:
    """The chain of the run's events, looked at as a whole."""
    row = conn.execute("SELECT count(*) FROM pgferry.event WHERE run_id = %s", (run_id,)).fetchone()
    assert row is not None
    broken = tuple(broken_links(conn, run_id))
    return Audit(int(row[0]), not broken, broken)
