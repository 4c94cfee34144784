"""A walk over both tables in parts that several connections share; each part is judged in a snapshot of its own.

A part whose sums agree is right. One whose sums do not is looked at again, row by row and in a new snapshot: only
what differs in that one counts. Where a lookup changes meanwhile, rows differ until they are carried: such parts are
carried and judged once more, and only they, so that a lookup need not rest for as long as a whole comparison takes.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace

from psycopg import sql

from console.engine import compare_close, compare_keys, compare_sql, ranges
from console.engine.compare_sql import Part, Question
from console.engine.derive import table
from console.engine.facts import TableFacts
from console.engine.pace import Pace
from console.engine.session import LOST, Session, is_lost, retry_lost
from console.engine.verdict import Answer, Verdict
from console.journal.connect import Conn
from console.journal.difference import Difference

TARGET_MS = 250
FIRST_ROWS = 50_000
LOOKUP_SHARE = 5  # a part has at least so many times the rows of all lookups, which are read anew for each part
ROUNDS = 8  # parts that differ are judged at most so often again, while what was noted meanwhile is carried
LOOK_S = 0.1  # between two looks at the operator's wishes
_SETTINGS = (
    "SET default_transaction_read_only = on",
    "SET work_mem = '64MB'",
    "SET jit = off",
    "SET max_parallel_workers_per_gather = 0",  # the parts are what runs in parallel
)


@dataclass(frozen=True, slots=True)
class Walk:
    """A table walked by some columns, and what becomes of each part. ``nested``: parts are judged by index probes."""

    table: TableFacts
    names: tuple[str, ...]
    judge: Callable[[Conn, Part], Answer]
    nested: bool = False


def walks(conn: Conn, question: Question, limit: int) -> tuple[Walk, ...]:
    """One walk where both keys begin alike; else the old table by its key, then the new one by its own."""
    facts, mapping = question.facts, question.mapping
    assert facts is not None
    if question.lead:
        names = tuple(old for old, _ in question.lead)
        trust = Trust(compare_sql.can_trust(question))
        return (Walk(facts.old, names, lambda conn, part: judge(conn, question, part, limit, trust)),)
    twins = compare_keys.twins_possible(conn, mapping)
    return (
        Walk(
            facts.old, ranges.index_order(facts.old, mapping.old_key),
            lambda conn, part: compare_keys.judge_old(conn, question, part, twins=twins), nested=True,
        ),
        Walk(
            facts.new, ranges.index_order(facts.new, mapping.new_key),
            lambda conn, part: compare_keys.judge_new(conn, question, part), nested=True,
        ),
    )  # fmt: skip


class Scan:
    """Both tables walked, and what was found so far. Workers call ``work``; ``rates`` are rows/s of all together."""

    def __init__(self, session: Session, question: Question, *, limit: int, duty_percent: int, workers: int) -> None:
        assert question.facts is not None
        self.session = session
        self._walks = deque(walks(session.conn, question, limit))
        self.limit = limit
        self.duty_percent = duty_percent
        self.total = max(ranges.rows_estimate(session.conn, question.facts.old), 1)
        self.least = LOOKUP_SHARE * _lookup_rows(session.conn, question)
        self.workers = max(min(workers, 1 + self.total // FIRST_ROWS), 1)
        self.pace = Pace(max(FIRST_ROWS, self.least), TARGET_MS)
        self.verdict = Verdict()
        self.differing: list[tuple[Walk, Part]] = []
        self._right = Verdict()  # of the parts that do not differ
        self._again: deque[tuple[Walk, Part]] = deque()
        self.rates: deque[float] = deque(maxlen=20)
        self.part_ms = 0.0
        self.stop = threading.Event()
        self._lock = threading.Lock()
        self._low: dict[str, str] | None = None
        self._named: set[str] = set()

    def _next(self, conn: Conn) -> tuple[Walk, Part] | None:
        """The next part nobody has, None at the end. A lost connection leaves the walk where it was."""
        with self._lock:
            if self._again and not self.stop.is_set():
                return self._again.popleft()
            if not self._walks or self.stop.is_set():
                return None
            walk = self._walks[0]
            high = ranges.step(conn, walk.table, walk.names, self._low, None, max(self.pace.rows, self.least))
            part = Part(self._low, high)
            self._low = high
            if high is None:
                self._walks.popleft()
            return walk, part

    def begin_again(self) -> None:
        """The parts that differ are judged anew by the next ``work``."""
        self._again.extend(self.differing)
        self.differing.clear()
        self._named.clear()
        self.verdict = replace(self._right, faults=Counter(), differences=[])
        self.stop.clear()

    def _take(self, walk: Walk, part: Part, answer: Answer, ms: float) -> None:
        with self._lock:
            if answer.faults:
                self.differing.append((walk, part))
            else:
                self._right.add(answer, self.limit)
            self.verdict.add(self._new_only(answer) if walk.nested else answer, self.limit)
            self.pace.feed(answer.old, ms)
            self.rates.append(1000 * self.workers * answer.old / max(ms, 0.1))
            self.part_ms = ms

    def _new_only(self, answer: Answer) -> Answer:
        """Without what was named before: old rows of one new key may lie in several parts."""
        fresh = {f"{d.kind} {d.side} {d.key}": d for d in answer.differences}
        again = [name for name in fresh if name in self._named]
        self._named.update(fresh)
        faults = Counter(answer.faults)
        for name in again:
            faults[fresh.pop(name).kind] -= 1
        return replace(answer, faults=dict(+faults), differences=tuple(fresh.values()))

    def work(self) -> None:
        """Judge parts until none is left; a lost connection costs the part it was in, which is judged again."""
        conn: Conn | None = None
        todo: tuple[Walk, Part] | None = None
        try:
            while not self.stop.is_set():
                start = time.monotonic()
                try:
                    if conn is None or conn.closed:
                        conn = compare_connection(self.session)
                    todo = todo or self._next(conn)
                    if todo is None:
                        return
                    walk, part = todo
                    # At the live end of a table the planner expects one row and would loop over thousands.
                    conn.execute(f"SET enable_nestloop = {'on' if walk.nested else 'off'}".encode())
                    start = time.monotonic()
                    answer = walk.judge(conn, part)
                except LOST as error:
                    if conn is not None and not is_lost(conn, error):
                        raise
                    if conn is not None:
                        conn.close()
                    continue
                ms = (time.monotonic() - start) * 1000
                todo = None
                self._take(walk, part, answer, ms)
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


@dataclass
class Trust:
    """Whether the short form of the sums is worth trying: not where most parts hold rows the new table refuses."""

    possible: bool
    tried: int = 0
    missed: int = 0

    @property
    def worth(self) -> bool:
        """Whether it helped often enough so far."""
        return self.possible and self.missed <= 2 + self.tried // 8


def judge(conn: Conn, question: Question, part: Part, limit: int, trust: Trust) -> Answer:
    """Sums first; where they disagree, the rows."""
    for trusting in (True, False) if trust.worth else (False,):
        row = conn.execute(compare_sql.quick(question, part, trusting=trusting)).fetchone()
        assert row is not None
        old, good, unlisted, new, equal = row
        right = equal and not unlisted
        trust.tried += trusting
        trust.missed += trusting and not right
        if right:
            return Answer(old, new, old - good)
    old_rows, new_rows = compare_sql.in_part(question, part)
    found = conn.execute(compare_close.close(question, old_rows, new_rows, limit=limit)).fetchone()
    assert found is not None
    return compare_close.answer(found)


def look(
    session: Session, question: Question, *, limit: int, workers: int, duty_percent: int,
    show: Callable[[Scan, bool], None], carried: Callable[[], bool],
) -> Verdict:  # fmt: skip
    """Walk both tables once. ``show`` is told of the walk now and then, and at the end (True).

    ``carried`` carries what was noted meanwhile, and tells whether there was anything: then what differs is judged anew.
    Raises Interrupted on an operator's wish; a comparison that was interrupted begins anew.
    """
    began = time.monotonic()
    scan = Scan(session, question, limit=limit, duty_percent=duty_percent, workers=workers)
    _walk(session, scan, show)
    for _ in range(ROUNDS):
        if not scan.differing or not carried():
            break
        scan.begin_again()
        _walk(session, scan, show)
    verdict = scan.verdict
    verdict.add(retry_lost(session, lambda: _stale(session.conn, question, limit)), limit)
    verdict.ms = (time.monotonic() - began) * 1000
    show(scan, True)
    return verdict


def _walk(session: Session, scan: Scan, show: Callable[[Scan, bool], None]) -> None:
    """Several connections judge the parts that are to be judged."""
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


def _stale(conn: Conn, question: Question, limit: int) -> Answer:
    if not question.journal:
        return Answer(0, 0, 0)
    row = conn.execute(compare_sql.stale(question, limit=limit)).fetchone()
    assert row is not None
    count, keys = row
    named = tuple(Difference("stale", "old", key, None, None) for key in keys or ())
    return Answer(0, 0, 0, {"stale": count} if count else {}, differences=named)
