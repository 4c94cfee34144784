"""A backfill's chunks: planned, taken and finished as rows, so that any number of workers share them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from psycopg.types.json import Jsonb

from console.journal.connect import Conn

Key = dict[str, str]  # key column -> value as text, under TimeZone UTC and DateStyle ISO


@dataclass(frozen=True, slots=True)
class Copy:
    """Which backfill: run, task, round, mapping."""

    run_id: int
    task_id: str
    round: int
    mapping: str

    @property
    def args(self) -> tuple[int, str, int, str]:
        """In the order of the primary keys."""
        return self.run_id, self.task_id, self.round, self.mapping


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows with ``low`` < key <= ``high``; no ``low`` means from the beginning."""

    ordinal: int
    low: Key | None
    high: Key


@dataclass(frozen=True, slots=True)
class Totals:
    """What all finished chunks did."""

    chunks: int
    pending: int
    read: int
    written: int
    rejected: int
    exhausted: bool
    estimate: int


_WHERE = " WHERE run_id = %s AND task_id = %s AND round = %s AND mapping = %s"


def begin(conn: Conn, copy: Copy, *, estimate: int, high: Key | None, settings: dict[str, Any]) -> None:
    """Record where the copy ends (``high``: the greatest key when it began) unless it was begun before."""
    conn.execute(
        "INSERT INTO pgferry.backfill (run_id, task_id, round, mapping, rows_estimate, high, exhausted, settings)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
        (*copy.args, estimate, Jsonb(high), high is None, Jsonb(settings)),
    )


def plan_lock(conn: Conn, copy: Copy) -> tuple[Key | None, Key, int] | None:
    """(planned up to, end, next ordinal) under a row lock for the transaction; None when all is planned."""
    row = conn.execute(
        "SELECT planned, high, next_ordinal FROM pgferry.backfill" + _WHERE + " AND NOT exhausted FOR UPDATE", copy.args
    ).fetchone()
    return None if row is None else (row[0], row[1], row[2])


def add(conn: Conn, copy: Copy, chunk: Chunk, *, last: bool) -> None:
    """Add a planned chunk and move the planning cursor behind it."""
    conn.execute(
        "INSERT INTO pgferry.chunk (run_id, task_id, round, mapping, ordinal, low, high)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s)",
        (*copy.args, chunk.ordinal, Jsonb(chunk.low), Jsonb(chunk.high)),
    )
    conn.execute(
        "UPDATE pgferry.backfill SET planned = %s, next_ordinal = %s, exhausted = %s" + _WHERE,
        (Jsonb(chunk.high), chunk.ordinal + 1, last, *copy.args),
    )


def take(conn: Conn, copy: Copy) -> Chunk | None:
    """The next chunk nobody works on, locked until the transaction ends; None when there is none."""
    row = conn.execute(
        "SELECT ordinal, low, high FROM pgferry.chunk" + _WHERE + " AND status = 'pending'"
        " ORDER BY ordinal LIMIT 1 FOR UPDATE SKIP LOCKED",
        copy.args,
    ).fetchone()
    return None if row is None else Chunk(row[0], row[1], row[2])


def done(conn: Conn, copy: Copy, chunk: Chunk, *, read: int, written: int, rejected: int, ms: float) -> None:
    """The chunk's rows are in; committed together with them."""
    conn.execute(
        "UPDATE pgferry.chunk SET status = 'done', rows_read = %s, rows_written = %s, rows_rejected = %s, ms = %s,"
        " attempts = attempts + 1, finished_at = clock_timestamp()" + _WHERE + " AND ordinal = %s",
        (read, written, rejected, ms, *copy.args, chunk.ordinal),
    )


def totals(conn: Conn, copy: Copy) -> Totals:
    """Sums over the chunks."""
    row = conn.execute(
        "SELECT count(*) FILTER (WHERE status = 'done'), count(*) FILTER (WHERE status = 'pending'),"
        " coalesce(sum(rows_read), 0)::bigint, coalesce(sum(rows_written), 0)::bigint,"
        " coalesce(sum(rows_rejected), 0)::bigint FROM pgferry.chunk" + _WHERE,
        copy.args,
    ).fetchone()
    head = conn.execute("SELECT exhausted, rows_estimate FROM pgferry.backfill" + _WHERE, copy.args).fetchone()
    assert row is not None
    return Totals(*row, *(head or (False, 0)))
