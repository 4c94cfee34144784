"""How long a statement's work takes and how much WAL it writes, from the table's real size; each figure says from what.

The assumed rates are careful: what a cloud volume reads (AWS gp3: 125 MiB/s as delivered), and what one core of the
embedded server did here (PostgreSQL 18, 1,000,000 rows, 77 MB, an index of 22 MB, fsync on): CHECK 1,420 MB/s and foreign
key 530 MB/s from memory, index 58 to 119 MB/s, CONCURRENTLY 86, rewrite 27 MB/s with 1.35 times the bytes as WAL, UPDATE
of every row 101,000 rows/s with 3.4 times the heap as WAL, DELETE 640,000 rows/s with 0.8 times.
"""

from __future__ import annotations

from dataclasses import dataclass

from console.sql.catalogue import Relation
from console.sql.model import Estimate, Mark, Statement

MB = 1_000_000
SCAN = 100 * MB  # bytes of the table a second
INDEX = 50 * MB
CONCURRENTLY = 40 * MB  # of a table that is read twice
REWRITE = 25 * MB
UPDATED_ROWS = 100_000  # a second
DELETED_ROWS = 500_000
REWRITE_WAL = 1.35  # of the rows' and indexes' bytes
INDEX_WAL = 25  # bytes a row
UPDATE_WAL = 3.4  # of the rows' bytes
DELETE_WAL = 0.8
RELIABLE_ROWS = 10_000  # fewer rehearsed rows than this say nothing of a rate
RELIABLE_MS = 20.0
_DDL = ("ALTER", "COMMENT", "CREATE", "DROP", "GRANT", "REVOKE", "SECURITY")


@dataclass(frozen=True, slots=True)
class _Work:
    """Bytes (or rows) to go through at a rate a second, what that is called, and the WAL it writes."""

    amount: float
    rate: float
    unit: str  # bytes or rows
    does: str
    wal: float = 0.0


def _work(statement: Statement, found: Relation) -> _Work | None:
    heap = float(found.heap_bytes)
    rows = max(found.rows, 0.0)
    if statement.kind == "REINDEX":
        return _Work(heap + found.index_bytes, INDEX, "bytes", "read and built", float(found.index_bytes))
    if statement.kind == "CREATE INDEX":
        rate = INDEX if statement.transactional else CONCURRENTLY
        return _Work(heap, rate, "bytes", "read and sorted", rows * INDEX_WAL)
    if statement.rewrite:
        return _Work(
            heap + found.index_bytes, REWRITE, "bytes", "written again", REWRITE_WAL * (heap + found.index_bytes)
        )
    if statement.kind == "UPDATE" and statement.scan:
        return _Work(rows, UPDATED_ROWS, "rows", "written again", UPDATE_WAL * heap)
    if statement.kind == "DELETE" and statement.scan:
        return _Work(rows, DELETED_ROWS, "rows", "deleted", DELETE_WAL * heap)
    if statement.scan:
        return _Work(heap, SCAN, "bytes", "read")
    return None


def estimate(
    statement: Statement, found: Relation | None, *, mark: Mark | None = None, rehearsed_rows: int = 0
) -> Estimate | None:
    """What is to be expected; None where nothing can be said.

    ``found``: the catalogue's word of ``statement.about``. ``mark``: the statement's measurement in a rehearsal in which
    that table had ``rehearsed_rows``.
    """
    if statement.rewrite is False and statement.scan is False:
        if statement.kind.startswith(_DDL):
            return Estimate(0.0, 0, "instant once it has its locks: only the catalogue changes")
        return None
    if statement.kind.startswith(_DDL) and (statement.empty or (found is not None and found.heap_bytes == 0)):
        return Estimate(0.0, 0, "instant: the table is empty")
    if found is None or statement.empty:
        return None
    work = _work(statement, found)
    if work is None:
        return _at_worst(statement, found)
    if mark is not None and rehearsed_rows >= RELIABLE_ROWS and mark.ms >= RELIABLE_MS and found.rows > 0:
        rate = rehearsed_rows / (mark.ms / 1000)
        seconds = found.rows / rate
        words = (
            f"{seconds_words(seconds)}: {rows_words(found.rows)} at {_short(rate)} rows/s, measured in the rehearsal"
        )
        wal = mark.wal_bytes / rehearsed_rows * found.rows
    else:
        seconds = work.amount / work.rate
        words = f"{seconds_words(seconds)}: {_amount(work, found)} {work.does} at an assumed {_rate(work)}"
        wal = work.wal
    return Estimate(seconds, round(wal), words + (f"; WAL about {bytes_words(wal)}" if wal >= MB else ""))


def _at_worst(statement: Statement, found: Relation) -> Estimate | None:
    """Where it is not known whether rows are touched: how long it takes if they are."""
    if not statement.kind.startswith(("ALTER", "CREATE")):
        return None
    again = statement.rewrite is None
    amount = found.heap_bytes + (found.index_bytes if again else 0)
    seconds = amount / (REWRITE if again else SCAN)
    what = "written again" if again else "read"
    return Estimate(None, None, f"unknown; if all {bytes_words(amount)} are {what}, {seconds_words(seconds)}")


def _amount(work: _Work, found: Relation) -> str:
    rows = f"{rows_words(found.rows)}, " if found.rows > 0 else ""
    return f"{rows}{bytes_words(work.amount)}" if work.unit == "bytes" else rows_words(work.amount)


def _rate(work: _Work) -> str:
    return f"{round(work.rate / MB)} MB/s" if work.unit == "bytes" else f"{_short(work.rate)} rows/s"


def seconds_words(seconds: float) -> str:
    """``under 1 s``, ``about 40 s``, ``about 7 min``, ``about 3 h``."""
    if seconds < 1:
        return "under 1 s"
    if seconds < 90:
        return f"about {round(seconds)} s"
    if seconds < 90 * 60:
        return f"about {round(seconds / 60)} min"
    return f"about {round(seconds / 3600, 1):g} h"


def bytes_words(number: float) -> str:
    """``8 kB``, ``31 MB``, ``4.2 GB``, in powers of ten."""
    for limit, unit in ((10**12, "TB"), (10**9, "GB"), (10**6, "MB")):
        if number >= limit:
            return f"{number / limit:.1f} {unit}" if number < 10 * limit else f"{round(number / limit):,} {unit}"
    return f"{max(round(number / 1000), 1)} kB"


def rows_words(number: float) -> str:
    """``50 M rows``, ``2,434 rows``."""
    return "1 row" if round(number) == 1 else f"{_short(number)} rows"


def _short(number: float) -> str:
    if number >= 10_000_000:
        return f"{round(number / 1_000_000)} M"
    if number >= 1_000_000:
        return f"{number / 1_000_000:.1f} M"
    return f"{round(number / 1000)}k" if number >= 10_000 else f"{round(number):,}"
