"""A backfill's chunks: planned, taken, halved and finished as rows, so that any number of workers share them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from psycopg import sql
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
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class Totals:
    """What all finished chunks did; ``retries`` counts attempts that failed, ``last_error`` is of an open chunk."""

    chunks: int = 0
    pending: int = 0
    read: int = 0
    written: int = 0
    rejected: int = 0
    retries: int = 0
    content_hash: int = 0
    exhausted: bool = False
    estimate: int = 0
    last_error: str = ""

    @property
    def finished(self) -> bool:
        """All is planned and all that was planned is done."""
        return self.exhausted and not self.pending


_WHERE = " WHERE run_id = %s AND task_id = %s AND round = %s AND mapping = %s"


def begin(conn: Conn, copy: Copy, *, estimate: int, high: Key | None, settings: dict[str, Any]) -> None:
    """Record where the copy ends (``high``: the greatest key when it began) unless it was begun before."""
    conn.execute(
        "INSERT INTO pgferry.backfill (run_id, task_id, round, mapping, rows_estimate, high, exhausted, settings)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
        (*copy.args, estimate, Jsonb(high), high is None, Jsonb(settings)),
    )


def plan_lock(conn: Conn, copy: Copy, *, wait: bool = True) -> tuple[Key | None, Key, int] | None:
    """(planned up to, end, next ordinal) under a row lock for the transaction.

    None when all is planned, and without ``wait`` also where somebody else is planning.
    """
    row = conn.execute(
        "SELECT planned, high, next_ordinal FROM pgferry.backfill" + _WHERE + " AND NOT exhausted FOR UPDATE"
        + ("" if wait else " SKIP LOCKED"),
        copy.args,
    ).fetchone()  # fmt: skip
    return None if row is None else (row[0], row[1], row[2])


def add(conn: Conn, copy: Copy, chunk: Chunk, *, last: bool) -> None:
    """Add a planned chunk and move the planning cursor behind it."""
    _insert(conn, copy, chunk)
    conn.execute(
        "UPDATE pgferry.backfill SET planned = %s, next_ordinal = %s, exhausted = %s" + _WHERE,
        (Jsonb(chunk.high), chunk.ordinal + 1, last, *copy.args),
    )


def _insert(conn: Conn, copy: Copy, chunk: Chunk) -> None:
    conn.execute(
        "INSERT INTO pgferry.chunk (run_id, task_id, round, mapping, ordinal, low, high)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s)",
        (*copy.args, chunk.ordinal, Jsonb(chunk.low), Jsonb(chunk.high)),
    )


def waiting(conn: Conn, copy: Copy) -> tuple[int, bool]:
    """(chunks that are not done, whether all is planned)."""
    row = conn.execute(
        "SELECT (SELECT count(*) FROM pgferry.chunk" + _WHERE + " AND status = 'pending'), exhausted"
        " FROM pgferry.backfill" + _WHERE,
        (*copy.args, *copy.args),
    ).fetchone()
    return (0, False) if row is None else (row[0], row[1])


def beyond_plan(conn: Conn, copy: Copy) -> tuple[Key | None, Key] | None:
    """(planned up to, end) of what no chunk was planned for yet; None when there is none."""
    row = conn.execute(
        "SELECT planned, high FROM pgferry.backfill" + _WHERE + " AND NOT exhausted", copy.args
    ).fetchone()
    return None if row is None else (row[0], row[1])


def take(conn: Conn, copy: Copy) -> Chunk | None:
    """The next chunk nobody works on, locked until the transaction ends; None when there is none.

    One that failed before comes last, so that it holds up nothing else.
    """
    row = conn.execute(
        "SELECT ordinal, low, high, attempts FROM pgferry.chunk" + _WHERE + " AND status = 'pending'"
        " ORDER BY attempts, ordinal LIMIT 1 FOR UPDATE SKIP LOCKED",
        copy.args,
    ).fetchone()
    return None if row is None else Chunk(*row)


def halve(conn: Conn, copy: Copy, chunk: Chunk, middle: Key) -> None:
    """Make two chunks of one, in the transaction that holds it: the second half is added behind all others."""
    row = conn.execute(
        "UPDATE pgferry.backfill SET next_ordinal = next_ordinal + 1" + _WHERE + " RETURNING next_ordinal - 1",
        copy.args,
    ).fetchone()
    assert row is not None
    _insert(conn, copy, replace(chunk, ordinal=row[0], low=middle))
    conn.execute(
        "UPDATE pgferry.chunk SET high = %s" + _WHERE + " AND ordinal = %s", (Jsonb(middle), *copy.args, chunk.ordinal)
    )


def failed(conn: Conn, copy: Copy, chunk: Chunk, error: str) -> None:
    """One more attempt at the chunk failed; it stays pending."""
    conn.execute(
        "UPDATE pgferry.chunk SET attempts = attempts + 1, error = %s" + _WHERE + " AND ordinal = %s",
        (error, *copy.args, chunk.ordinal),
    )


def done_statement(copy: Copy, chunk: Chunk, source: sql.Composable, ms: float | None = None) -> sql.Composed:
    """UPDATE that finishes the chunk from ``source``: a FROM item d (read, written, rejected, hash).

    In the transaction that writes the rows: what was done and that it was done are one. ``ms``: how long the work
    took, None where this is part of the statement that did it.
    """
    took = sql.SQL("1000 * extract(epoch FROM clock_timestamp() - statement_timestamp())")
    return sql.SQL(
        "UPDATE pgferry.chunk c SET status = 'done', rows_read = d.read, rows_written = d.written,"
        " rows_rejected = d.rejected, content_hash = d.hash, attempts = c.attempts + 1,"
        " ms = {}, finished_at = clock_timestamp()"
        " FROM {} d WHERE c.run_id = {} AND c.task_id = {} AND c.round = {} AND c.mapping = {} AND c.ordinal = {}"
        " RETURNING c.rows_read, c.rows_written, c.rows_rejected, c.ms"
    ).format(
        took if ms is None else sql.Literal(ms),
        source,
        *(sql.Literal(value) for value in (*copy.args, chunk.ordinal)),
    )


_SUMS = (
    "WITH c AS (SELECT * FROM pgferry.chunk" + _WHERE + " AND ordinal > %s),"
    " first AS (SELECT coalesce(min(ordinal), 9223372036854775807) AS open FROM c WHERE status = 'pending')"
    " SELECT ordinal < open AS settled, count(*) FILTER (WHERE status = 'done'),"
    " count(*) FILTER (WHERE status = 'pending'), coalesce(sum(rows_read), 0)::bigint,"
    " coalesce(sum(rows_written), 0)::bigint, coalesce(sum(rows_rejected), 0)::bigint,"
    " sum(attempts - (status = 'done')::int)::bigint, sum(content_hash)::numeric(40, 0),"
    " max(ordinal), (array_agg(error ORDER BY attempts DESC) FILTER (WHERE error <> '' AND status = 'pending'))[1]"
    " FROM c, first GROUP BY 1"
)


class Tally:
    """Sums over a backfill's chunks. What is done up to the first open chunk is remembered, so that a look costs
    the same however long the copy has been going on."""

    def __init__(self, copy: Copy) -> None:
        self.copy = copy
        self._settled = Totals()
        self._upto = 0

    def look(self, conn: Conn) -> Totals:
        """The sums now."""
        rows = conn.execute(_SUMS, (*self.copy.args, self._upto)).fetchall()
        head = conn.execute("SELECT exhausted, rows_estimate FROM pgferry.backfill" + _WHERE, self.copy.args).fetchone()
        for row in rows:
            if row[0]:
                self._settled = _plus(self._settled, row)
                self._upto = row[8]
        found = self._settled
        for row in rows:
            if not row[0]:
                found = _plus(found, row)
        exhausted, estimate = head or (False, 0)
        return replace(found, exhausted=exhausted, estimate=estimate)


def _plus(sums: Totals, row: tuple[Any, ...]) -> Totals:
    _, done, pending, read, written, rejected, retries, content, _, error = row
    return Totals(
        chunks=sums.chunks + done,
        pending=pending,
        read=sums.read + read,
        written=sums.written + written,
        rejected=sums.rejected + rejected,
        retries=sums.retries + retries,
        content_hash=sums.content_hash + int(content),
        last_error=error or "",
    )


def totals(conn: Conn, copy: Copy) -> Totals:
    """Sums over all of its chunks."""
    return Tally(copy).look(conn)
