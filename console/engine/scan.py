"""A walk over both tables in parts that several connections share; each part is judged in a snapshot of its own.

A part whose sums agree is right. One whose sums do not is looked at again, row by row and in a new snapshot: only
what differs in that one counts.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Any

from psycopg import sql

from console.engine import compare_sql, ranges
from console.engine.compare_sql import Part, Question
from console.engine.derive import table
from console.engine.pace import Pace
from console.engine.session import LOST, Session, is_lost, retry_lost
from console.engine.verdict import Answer, Verdict
from console.journal.connect import Conn
from console.journal.difference import Difference

TARGET_MS = 250
FIRST_ROWS = 50_000
LOOKUP_SHARE = 5  # a part has at least so many times the rows of all lookups, which are read anew for each part
LOOK_S = 0.1  # between two looks at the operator's wishes
_SETTINGS = (
    "SET default_transaction_read_only = on",
    "SET work_mem = '64MB'",
    "SET jit = off",
    "SET max_parallel_workers_per_gather = 0",  # the parts are what runs in parallel
    # At the live end of a table the planner expects one row and would loop over thousands.
    "SET enable_nestloop = off",
)


class Scan:
    """One walk and what it has found so far. Workers call ``work``; ``rates`` are rows/s of the walk as a whole."""

    def __init__(self, session: Session, question: Question, *, limit: int, duty_percent: int, workers: int) -> None:
        assert question.facts is not None
        self.session = session
        self.question = question
        self.facts = question.facts
        self.limit = limit
        self.duty_percent = duty_percent
        self.total = max(ranges.rows_estimate(session.conn, question.facts.old), 1)
        self.least = LOOKUP_SHARE * _lookup_rows(session.conn, question)
        self.workers = max(min(workers, 1 + self.total // FIRST_ROWS), 1)
        self.pace = Pace(max(FIRST_ROWS, self.least), TARGET_MS)
        self.verdict = Verdict()
        self.rates: deque[float] = deque(maxlen=20)
        self.part_ms = 0.0
        self.stop = threading.Event()
        self._lock = threading.Lock()
        self._low: dict[str, str] | None = None
        self._ended = False

    def _next(self, conn: Conn) -> Part | None:
        """The next part nobody has, None at the end. A lost connection leaves the walk where it was."""
        with self._lock:
            if self._ended or self.stop.is_set():
                return None
            names = tuple(old for old, _ in self.question.lead)
            rows = max(self.pace.rows, self.least)
            high = ranges.step(conn, self.facts.old, names, self._low, None, rows) if names else None
            part = Part(self._low, high)
            self._low, self._ended = high, high is None
            return part

    def _take(self, answer: Answer, ms: float) -> None:
        with self._lock:
            self.verdict.add(answer, self.limit)
            self.pace.feed(answer.old, ms)
            self.rates.append(1000 * self.workers * answer.old / max(ms, 0.1))
            self.part_ms = ms

    def work(self) -> None:
        """Judge parts until none is left; a lost connection costs the part it was in, which is judged again."""
        conn: Conn | None = None
        part: Part | None = None
        try:
            while not self.stop.is_set():
                start = time.monotonic()
                try:
                    if conn is None or conn.closed:
                        conn = compare_connection(self.session)
                    part = part or self._next(conn)
                    if part is None:
                        return
                    start = time.monotonic()
                    answer = judge(conn, self.question, part, self.limit)
                except LOST as error:
                    if conn is not None and not is_lost(conn, error):
                        raise
                    if conn is not None:
                        conn.close()
                    continue
                ms = (time.monotonic() - start) * 1000
                part = None
                self._take(answer, ms)
                self.stop.wait(ms / 1000 * (100 / self.duty_percent - 1))
        except BaseException:
            self.stop.set()
            raise
        finally:
            if conn is not None:
                conn.close()


def compare_connection(session: Session) -> Conn:
    """A connection that can only read, with what suits a comparison."""
    conn = session.open("compare")
    try:
        for setting in _SETTINGS:
            conn.execute(setting)
    except LOST:
        conn.close()
        raise
    return conn


def _lookup_rows(conn: Conn, question: Question) -> int:
    rows = 0
    for lookup in question.mapping.lookups:
        row = conn.execute(sql.SQL("SELECT count(*) FROM {}").format(table(lookup.relation))).fetchone()
        rows += int(row[0]) if row else 0
    return rows


def judge(conn: Conn, question: Question, part: Part, limit: int) -> Answer:
    """Sums first; where they disagree, the rows."""
    row = conn.execute(compare_sql.quick(question, part)).fetchone()
    assert row is not None
    old, good, unlisted, new, equal = row
    if equal and not unlisted:
        return Answer(old, new, old - good)
    old_rows, new_rows = compare_sql.in_part(question, part)
    found = conn.execute(compare_sql.close(question, old_rows, new_rows, limit=limit)).fetchone()
    assert found is not None
    return answer(found)


def answer(row: tuple[Any, ...]) -> Answer:
    """The one row of ``compare_sql.close`` as an answer."""
    old, new, kinds, differences = row
    rejected = kinds.pop("rejected", 0)
    extra = kinds.pop("held_extra", 0)
    held = kinds.pop("held", 0) + extra
    named = tuple(
        Difference(d["kind"], d["side"], d["key"], d["old"], d["new"], tuple(d["columns"] or ()))
        for d in differences or ()
    )
    return Answer(old, new, rejected, kinds, held, extra, named)


def look(
    session: Session, question: Question, *, limit: int, workers: int, duty_percent: int,
    show: Callable[[Scan, bool], None],
) -> Verdict:  # fmt: skip
    """Walk both tables once. ``show`` is told of the walk now and then, and at the end (True).

    Raises Interrupted on an operator's wish; a comparison that was interrupted begins anew.
    """
    began = time.monotonic()
    scan = Scan(session, question, limit=limit, duty_percent=duty_percent, workers=workers)
    with ThreadPoolExecutor(scan.workers, thread_name_prefix="compare") as pool:
        tasks = [pool.submit(scan.work) for _ in range(scan.workers)]
        try:
            while wait(tasks, timeout=LOOK_S, return_when=FIRST_EXCEPTION).not_done and not scan.stop.is_set():
                session.wishes.check()
                show(scan, False)
        finally:
            scan.stop.set()
    for task in tasks:
        task.result()
    verdict = scan.verdict
    verdict.add(retry_lost(session, lambda: _stale(session.conn, question, limit)), limit)
    verdict.ms = (time.monotonic() - began) * 1000
    show(scan, True)
    return verdict


def _stale(conn: Conn, question: Question, limit: int) -> Answer:
    if not question.journal:
        return Answer(0, 0, 0)
    row = conn.execute(compare_sql.stale(question, limit=limit)).fetchone()
    assert row is not None
    count, keys = row
    named = tuple(Difference("stale", "old", key, None, None) for key in keys or ())
    return Answer(0, 0, 0, {"stale": count} if count else {}, differences=named)
