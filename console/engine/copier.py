"""One chunk of a backfill: taken, copied the quickest way that works, halved where a row fails, finished.

All of it is one transaction: the rows, the rejects, the chunk's state, its counters and its content hash.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import psycopg
from psycopg import sql

from console.engine import derive, ranges, tombstones
from console.engine.copy import CopyStatement, Way, large_lookups, row_hash
from console.engine.derive import table
from console.engine.facts import MappingFacts
from console.engine.session import is_lost
from console.engine.sync import COPYING
from console.errors import StepFailed
from console.journal import chunks
from console.journal.chunks import Chunk, Copy, Key
from console.journal.connect import Conn
from console.plan.model import Mapping
from console.text import plain

# Shorter than deadlock_timeout (1 s by default): against a writer it is always the copy that gives way. It also
# bounds what waiting can add to a batch's time.
LOCK_TIMEOUT_MS = 200
# A failing chunk of more rows is halved in the journal, each half a transaction of its own: none grows long.
HALVED_AT_ONCE = 256
_SKIPS_AT_MOST = 32

# SQLSTATE classes by what a failure means. Data: the row is at fault and can be set apart.
_DATA = ("21", "22", "23", "27", "44", "P0")
_PASSING = (
    psycopg.errors.LockNotAvailable,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.SerializationFailure,
    psycopg.errors.ObjectInUse,
)

# The copy's session. Row locks and EvalPlanQual need READ COMMITTED; a range is read through the key's index
# whatever the statistics say; compiling a statement that is new for each chunk never pays.
SESSION = (
    "SET default_transaction_isolation = 'read committed'",
    f"SET lock_timeout = {LOCK_TIMEOUT_MS}",
    "SET work_mem = '64MB'",
    "SET enable_seqscan = off",
    "SET jit = off",
    "SET max_parallel_workers_per_gather = 0",
    f"SET {COPYING} = 'on'",  # its rows are not carried back
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a chunk: its counters, or why it is tried again (whole or in halves), or why the copy stops."""

    read: int = 0
    written: int = 0
    rejected: int = 0
    ms: float = 0.0
    again: str = ""
    stop: StepFailed | None = None


def is_data(error: psycopg.Error) -> bool:
    """Whether a row is at fault: a value, a constraint, or a trigger of the application that raised."""
    return (error.sqlstate or "")[:2] in _DATA


def one_line(error: psycopg.Error) -> str:
    """What the server said, in one line."""
    return plain(error.diag.message_primary or str(error)).splitlines()[0]


def stopped(error: psycopg.Error, mapping: Mapping) -> StepFailed:
    """The sentence for a failure that neither waiting nor setting rows apart can mend."""
    advice = {
        "53": "Free what it lacks (disk, memory, connections), and resume.",
        "54": "Make batches smaller (batch_rows), and resume.",
        "57": "Look whether somebody cancelled it or a timeout is too short, and resume.",
        "58": "Look at the server's log and its disks, and resume.",
    }
    state = error.sqlstate or ""
    return StepFailed(
        f"The copy of {mapping.old} stopped: {one_line(error).rstrip('.')} ({state}).",
        state="The batches copied so far stay; the one at work was rolled back and will be done again.",
        do=advice.get(state[:2], "Mend the cause, and resume."),
    )


class Copier:
    """Copies chunks on one connection after another; remembers which way the last ones went."""

    def __init__(
        self, mapping: Mapping, facts: MappingFacts, copy: Copy, names: tuple[str, ...],
        statement: CopyStatement, hold: Callable[[Conn], None],
    ) -> None:  # fmt: skip
        self.mapping = mapping
        self.facts = facts
        self.copy = copy
        self.names = names
        self.statement = statement
        self.hold = hold
        self.hashed = True  # whether a content hash is made of the next chunk's rows
        self._tested = False
        self._locked = True
        self._skip_next = 0
        self._skips = 0

    def next(self, conn: Conn) -> Outcome | None:
        """Copy the next pending chunk; None when there is none that nobody works on.

        Raises LeaseLost, and whatever a lost connection raises.
        """
        try:
            with conn.transaction():
                return self._next(conn)
        except psycopg.errors.LockNotAvailable as error:  # before a chunk was taken
            return Outcome(again=one_line(error))

    def _next(self, conn: Conn) -> Outcome | None:
        self.hold(conn)
        self._locked = not tombstones.enter(conn, self.mapping)
        chunk = chunks.take(conn, self.copy)
        if chunk is None:
            return None
        try:
            return self._take_the_ladder(conn, chunk)
        except _PASSING as error:
            chunks.failed(conn, self.copy, chunk, one_line(error))
            return Outcome(again=one_line(error))
        except StepFailed as error:
            chunks.failed(conn, self.copy, chunk, error.what)
            return Outcome(stop=error)

    def _take_the_ladder(self, conn: Conn, chunk: Chunk) -> Outcome:
        """The quick way first; where the sync was there before, or a row fails, a slower one."""
        way = Way(tested=self._tested, skip=self._skip_next > 0, locked=self._locked, hashed=self.hashed)
        self._skip_next = max(self._skip_next - 1, 0)
        while True:
            try:
                with conn.transaction():
                    outcome = self._whole(conn, chunk, way)
                if not way.skip:
                    self._skips = 0
                return outcome
            except psycopg.Error as error:
                if isinstance(error, _PASSING) or is_lost(conn, error) or not error.sqlstate:
                    raise
                if isinstance(error, psycopg.errors.UniqueViolation) and not way.skip:
                    way = replace(way, skip=True)
                    self._skips = min(2 * self._skips or 1, _SKIPS_AT_MOST)
                    self._skip_next = self._skips
                elif is_data(error) and not way.tested:
                    self._tested = True
                    way = replace(way, tested=True)
                elif is_data(error):
                    return self._set_apart(conn, chunk, error)
                else:
                    raise stopped(error, self.mapping) from None

    def _whole(self, conn: Conn, chunk: Chunk, way: Way) -> Outcome:
        if self.statement.bulk:  # no row is looked up by itself but the odd ones: a range is read page by page
            conn.execute("SET LOCAL enable_indexscan = off")
        if way.hashed:
            done = chunks.done_statement(self.copy, chunk, self.statement.sums(chunk.low, chunk.high, way))
            statement = sql.SQL("WITH {} {}").format(self.statement.writing(chunk.low, chunk.high, way), done)
        else:
            began = time.perf_counter()
            written = conn.execute(self.statement.alone(chunk.low, chunk.high, way)).rowcount
            ms = 1000 * (time.perf_counter() - began)
            source = self.statement.counted(chunk.low, chunk.high, way, written)
            statement = chunks.done_statement(self.copy, chunk, source, ms)
        row = conn.execute(statement).fetchone()
        assert row is not None
        return Outcome(*row)

    def _set_apart(self, conn: Conn, chunk: Chunk, error: psycopg.Error) -> Outcome:
        """Halve the chunk until the offending rows stand alone, as rejects."""
        rows = self._count(conn, chunk.low, chunk.high)
        if rows > HALVED_AT_ONCE:
            middle = ranges.step(conn, self.facts.old, self.names, chunk.low, chunk.high, rows // 2)
            if middle is not None and middle != chunk.high:
                chunks.failed(conn, self.copy, chunk, one_line(error))
                chunks.halve(conn, self.copy, chunk, middle)
                return Outcome(again=f"halved: {one_line(error)}")
        read, written, rejected, content = self._part(conn, chunk.low, chunk.high, error)
        sums = sql.SQL("(SELECT {}::bigint AS read, {}::bigint AS written, {}::bigint AS rejected, {} AS hash)").format(
            sql.Literal(read), sql.Literal(written), sql.Literal(rejected), sql.Literal(content)
        )
        row = conn.execute(chunks.done_statement(self.copy, chunk, sums)).fetchone()
        assert row is not None
        return Outcome(*row)

    def _part(self, conn: Conn, low: Key | None, high: Key, error: psycopg.Error) -> tuple[int, int, int, int]:
        """(read, written, rejected, hash) of a range that failed with ``error``."""
        rows = self._count(conn, low, high)
        if rows <= 1:
            self._reject(conn, low, high, error)
            return rows, 0, rows, 0
        middle = ranges.step(conn, self.facts.old, self.names, low, high, rows // 2)
        halves = ((low, middle or high), (middle or high, high))
        sums = [0, 0, 0, 0]
        for lower, upper in halves:
            sums = [a + b for a, b in zip(sums, self._half(conn, lower, upper), strict=True)]
        return sums[0], sums[1], sums[2], sums[3]

    def _half(self, conn: Conn, low: Key | None, high: Key) -> tuple[int, int, int, int]:
        way = Way(tested=True, skip=True, locked=self._locked)
        statement = sql.SQL("WITH {} SELECT d.read, d.written, d.rejected, d.hash::numeric(40, 0) FROM {} d").format(
            self.statement.writing(low, high, way), self.statement.sums(low, high, way)
        )
        try:
            with conn.transaction():
                conn.execute("SELECT set_config('pgferry.noted', '0', true)")
                row = conn.execute(statement).fetchone()
        except psycopg.Error as error:
            if not is_data(error):
                raise
            return self._part(conn, low, high, error)
        assert row is not None
        return row[0], row[1], row[2], int(row[3])

    def _count(self, conn: Conn, low: Key | None, high: Key) -> int:
        where = ranges.between("o", self.names, low, high)
        row = conn.execute(
            sql.SQL("SELECT count(*) FROM {} o WHERE {}").format(table(self.facts.old.name), where)
        ).fetchone()
        return int(row[0]) if row else 0

    def _reject(self, conn: Conn, low: Key | None, high: Key, error: psycopg.Error) -> None:
        conn.execute(
            sql.SQL(
                "INSERT INTO pgferry.reject AS r (mapping, direction, key, row_data, sqlstate, reason)"
                " SELECT {}, 'forward', {}, to_jsonb(o), {}, {} FROM {} o WHERE {}"
                " ON CONFLICT (mapping, direction, key) DO UPDATE SET row_data = excluded.row_data,"
                " sqlstate = excluded.sqlstate, reason = excluded.reason, at = now()"
            ).format(
                sql.Literal(self.mapping.id), derive.key_json("o", self.mapping.old_key),
                sql.Literal(error.sqlstate or ""), sql.Literal(one_line(error)), table(self.facts.old.name),
                ranges.between("o", self.names, low, high),
            )
        )  # fmt: skip


def make_statement(conn: Conn, mapping: Mapping, facts: MappingFacts, names: tuple[str, ...]) -> CopyStatement:
    """The statement of a mapping, suited to the size of its lookups and the types of its columns."""
    return CopyStatement(
        mapping, facts, names, bulk=not large_lookups(conn, mapping), hashes=row_hash(conn, mapping, facts)
    )


def plan_next(conn: Conn, copy: Copy, facts: MappingFacts, names: tuple[str, ...], rows: int, *, wait: bool) -> bool:
    """Plan one more chunk of ``rows`` rows; False when all is planned (or, without ``wait``, somebody else plans)."""
    with conn.transaction():
        cursor = chunks.plan_lock(conn, copy, wait=wait)
        if cursor is None:
            return False
        low, high, ordinal = cursor
        end = ranges.step(conn, facts.old, names, low, high, rows)
        chunks.add(conn, copy, Chunk(ordinal, low, high if end is None else end), last=end is None or end == high)
    return True
