"""One chunk of a backfill: its rows, its rejects and its place in the journal in one transaction."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import psycopg
from psycopg import sql

from console.engine import derive, ranges
from console.engine.derive import column, commas, raw, table
from console.engine.facts import MappingFacts
from console.engine.sync import function_name
from console.journal import chunks
from console.journal.chunks import Chunk, Copy, Key
from console.journal.connect import Conn
from console.plan.model import Mapping

# Shorter than deadlock_timeout (1 s by default): against a writer it is always the copy that gives way.
CHUNK_LOCK_TIMEOUT_MS = 500


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a chunk did."""

    read: int
    written: int
    rejected: int
    ms: float


def copy_statement(
    mapping: Mapping, facts: MappingFacts | None, names: tuple[str, ...], low: Key | None, high: Key, *, skip: bool
) -> sql.Composed:
    """INSERT .. SELECT of a key range with its rejects; ``skip`` leaves rows alone that the sync brought already.

    FOR KEY SHARE keeps a row that is being copied from being deleted or given another key meanwhile
    (complete in all nine interleavings measured). Returns counts, and the keys of rows that need care.
    """
    old = facts.old.name if facts else mapping.old
    source = sql.SQL("(SELECT s.* FROM {} s WHERE {} FOR KEY SHARE OF s)").format(
        table(old), ranges.between("s", names, low, high)
    )
    targets = [name for name, _ in mapping.columns]
    care = sql.SQL("jsonb_build_array({})").format(
        commas(sql.SQL("{}::text").format(column("p", name)) for name in mapping.new_key)
    )
    return sql.SQL(
        """WITH p AS MATERIALIZED ({projection}),
written AS (
  INSERT INTO {new} ({targets})
  SELECT {values} FROM p WHERE p.pgferry_reason IS NULL AND p.pgferry_canonical {conflict} RETURNING 1
), refused AS (
  INSERT INTO pgferry.reject AS r (mapping, direction, key, row_data, reason)
  SELECT {id}, 'forward', {key}, to_jsonb(p.pgferry_source), p.pgferry_reason FROM p WHERE p.pgferry_reason IS NOT NULL
  ON CONFLICT (mapping, direction, key) DO UPDATE SET row_data = excluded.row_data, reason = excluded.reason, at = now()
  RETURNING 1
)
SELECT (SELECT count(*) FROM p), (SELECT count(*) FROM written), (SELECT count(*) FROM refused),
  (SELECT jsonb_agg(DISTINCT {care}) FROM p WHERE p.pgferry_reason IS NULL AND NOT p.pgferry_canonical)"""
    ).format(
        projection=derive.forward(mapping, facts, source, bulk=True),
        new=table(mapping.new),
        targets=commas(sql.Identifier(name) for name in targets),
        values=commas(column("p", name) for name in targets),
        conflict=raw("ON CONFLICT DO NOTHING" if skip else ""),
        id=sql.Literal(mapping.id),
        key=derive.projected_key(mapping, "p"),
        care=care,
    )


def copy_next(
    conn: Conn, mapping: Mapping, facts: MappingFacts, copy: Copy, names: tuple[str, ...], hold: Callable[[Conn], None]
) -> Outcome | None:
    """Copy the next pending chunk; None when there is none. ``hold`` asserts that the lease is ours.

    The fast path inserts without ON CONFLICT (a quarter faster); where the sync was there first the chunk is
    done again with it, and where a row cannot be taken at all, row by row. Lock timeouts, deadlocks and lost
    connections are raised: the chunk stays pending.
    """
    for mode in ("fast", "skip", "careful"):
        try:
            return _attempt(conn, mapping, facts, copy, names, hold, mode)
        except psycopg.errors.UniqueViolation:
            if mode != "fast":
                continue
        except (psycopg.errors.IntegrityError, psycopg.errors.DataError):
            continue
    raise AssertionError("the careful path takes every row")


def _attempt(
    conn: Conn,
    mapping: Mapping,
    facts: MappingFacts,
    copy: Copy,
    names: tuple[str, ...],
    hold: Callable[[Conn], None],
    mode: str,
) -> Outcome | None:
    with conn.transaction():
        start = time.monotonic()
        conn.execute(raw(f"SET LOCAL lock_timeout = {CHUNK_LOCK_TIMEOUT_MS}"))
        conn.execute(raw("SET LOCAL synchronous_commit = off"))  # a lost batch is redone: its row is lost with it
        conn.execute(raw("SET LOCAL work_mem = '64MB'"))
        hold(conn)
        chunk = chunks.take(conn, copy)
        if chunk is None:
            return None
        if mode == "careful":
            read, written, rejected = _carefully(conn, mapping, facts, names, chunk.low, chunk.high)
        else:
            read, written, rejected = _at_once(conn, mapping, facts, names, chunk, skip=mode == "skip")
        ms = (time.monotonic() - start) * 1000
        chunks.done(conn, copy, chunk, read=read, written=written, rejected=rejected, ms=ms)
    return Outcome(read, written, rejected, ms)


def _at_once(
    conn: Conn, mapping: Mapping, facts: MappingFacts, names: tuple[str, ...], chunk: Chunk, *, skip: bool
) -> tuple[int, int, int]:
    row = conn.execute(copy_statement(mapping, facts, names, chunk.low, chunk.high, skip=skip)).fetchone()
    assert row is not None
    read, written, rejected, care = row
    if not care:
        return read, written, rejected
    for key in care:
        conn.execute(
            sql.SQL("SELECT {}({})").format(function_name(mapping, "forward"), commas(sql.Literal(v) for v in key))
        )
    losers = _rejected_now(conn, mapping) - rejected
    return read, read - rejected - losers if not skip else written + len(care), rejected + losers


def _rejected_now(conn: Conn, mapping: Mapping) -> int:
    row = conn.execute(
        "SELECT count(*) FROM pgferry.reject WHERE mapping = %s AND direction = 'forward' AND at = now()", (mapping.id,)
    ).fetchone()
    return int(row[0]) if row else 0


def _carefully(
    conn: Conn, mapping: Mapping, facts: MappingFacts, names: tuple[str, ...], low: Key | None, high: Key
) -> tuple[int, int, int]:
    """Row by row through the sync's own function; halves what fails until the offending row stands alone."""
    where = ranges.between("o", names, low, high)
    call = sql.SQL("SELECT count(*), count({}({}, false)::text) FROM {} o WHERE {}").format(
        function_name(mapping, "touch_old"),
        commas(column("o", name) for name in mapping.old_key),
        table(facts.old.name),
        where,
    )
    try:
        with conn.transaction():
            row = conn.execute(call).fetchone()
            read = int(row[0]) if row else 0
    except (psycopg.errors.IntegrityError, psycopg.errors.DataError) as error:
        return _halve(conn, mapping, facts, names, low, high, error)
    rejected = min(_rejected_now(conn, mapping), read)
    return read, read - rejected, rejected


def _halve(
    conn: Conn, mapping: Mapping, facts: MappingFacts, names: tuple[str, ...], low: Key | None, high: Key,
    error: psycopg.Error,
) -> tuple[int, int, int]:  # fmt: skip
    where = ranges.between("o", names, low, high)
    row = conn.execute(sql.SQL("SELECT count(*) FROM {} o WHERE {}").format(table(facts.old.name), where)).fetchone()
    rows = int(row[0]) if row else 0
    if rows <= 1:
        conn.execute(
            sql.SQL(
                "INSERT INTO pgferry.reject AS r (mapping, direction, key, row_data, sqlstate, reason)"
                " SELECT {}, 'forward', {}, to_jsonb(o), {}, {} FROM {} o WHERE {}"
                " ON CONFLICT (mapping, direction, key) DO UPDATE SET reason = excluded.reason, at = now()"
            ).format(
                sql.Literal(mapping.id), derive.key_json("o", mapping.old_key), sql.Literal(error.sqlstate or ""),
                sql.Literal(str(error).splitlines()[0]), table(facts.old.name), where,
            )
        )  # fmt: skip
        return rows, 0, rows
    middle = ranges.step(conn, facts.old, names, low, high, rows // 2)
    assert middle is not None
    one = _carefully(conn, mapping, facts, names, low, middle)
    two = _carefully(conn, mapping, facts, names, middle, high)
    return one[0] + two[0], one[1] + two[1], one[2] + two[2]
