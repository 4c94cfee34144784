"""The backfill of a mapping: workers share chunks, one watcher paces, throttles and reports them."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import asdict, dataclass, field

import psycopg

from console.engine import copy as chunk_copy
from console.engine import ranges
from console.engine.facts import MappingFacts, mapping_facts
from console.engine.pace import Pace, eta_range, rest_seconds
from console.engine.session import LOST, Session, is_lost
from console.engine.throttle import Board, LockWaiters, OldestTransaction, ReplicaLag
from console.errors import StepFailed
from console.journal import chunks, runs
from console.journal.chunks import Chunk, Copy
from console.journal.connect import Conn
from console.journal.state import Progress
from console.plan.model import BackfillSettings, Mapping, Task

REPORT_EVERY_S = 0.5
MOST_WORKERS = 16
ENOUGH_TO_JUDGE = 1_000  # rows read before the share of rejects counts


@dataclass
class _Shared:
    """What the workers and the watcher share; plain attributes, one writer each."""

    pace: Pace
    settings: BackfillSettings
    held_by: list[str] = field(default_factory=list)
    finished: threading.Event = field(default_factory=threading.Event)
    failed: list[Exception] = field(default_factory=list)
    batch_ms: float = 0.0


class Backfill:
    """Copies every row of a mapping that was there when it began; the sync carries the rest."""

    def __init__(self, session: Session, task: Task, mapping: Mapping, round_: int) -> None:
        self.session = session
        self.task = task
        self.mapping = mapping
        self.facts: MappingFacts = mapping_facts(session.conn, mapping, session.plan.archive_schema)
        self.names = ranges.old_order(mapping, self.facts)
        self.copy = Copy(session.run_id, task.id, round_, mapping.id)
        settings = task.backfill
        self.shared = _Shared(Pace(settings.batch_rows, settings.target_ms), settings)
        self.board = Board((ReplicaLag(settings.max_replica_lag_s), LockWaiters(), OldestTransaction()))
        self.rates: deque[float] = deque(maxlen=60)

    def run(self) -> None:
        """Copy to the end. Raises StepFailed (too many rejects), Interrupted, LeaseLost; may be run again after any."""
        conn = self.session.conn
        high = ranges.greatest(conn, self.facts.old, self.names)
        chunks.begin(
            conn, self.copy, estimate=ranges.rows_estimate(conn, self.facts.old), high=high,
            settings=asdict(self.task.backfill),
        )  # fmt: skip
        threads: dict[int, threading.Thread] = {}
        began = time.monotonic()
        try:
            self._watch(threads)
        finally:
            self.shared.finished.set()
            for thread in threads.values():
                thread.join()
        totals = chunks.totals(self.session.conn, self.copy)
        seconds = max(time.monotonic() - began, 0.001)
        self._report(0.0, finished=True)
        self.session.event(
            "batch",
            f"{self.mapping.old} copied: {totals.read:,} rows read, {totals.written:,} written,"
            f" {totals.rejected:,} rejected in {seconds:.1f} s",
            task_id=self.task.id,
        )

    def _watch(self, threads: dict[int, threading.Thread]) -> None:
        last_rows, last_time = chunks.totals(self.session.conn, self.copy).read, time.monotonic()
        explained = self.shared.pace.reason
        while True:
            self._apply_settings()
            self._keep_workers(threads)
            self.session.wishes.check()
            time.sleep(0.05 if self._all_done() else REPORT_EVERY_S)
            if self.shared.failed:
                raise self.shared.failed[0]
            self._throttle()
            totals = chunks.totals(self.session.conn, self.copy)
            now = time.monotonic()
            rate = (totals.read - last_rows) / max(now - last_time, 1e-6)
            self.rates.append(rate)
            last_rows, last_time = totals.read, now
            self._limit_rejects(totals)
            self._report(rate)
            if self.shared.pace.reason != explained:
                explained = self.shared.pace.reason
                self.session.event("batch", explained, task_id=self.task.id)
            if totals.exhausted and not totals.pending:
                return

    def _keep_workers(self, threads: dict[int, threading.Thread]) -> None:
        """As many as the settings say; one too many ends by itself after its chunk."""
        for number in range(self._workers()):
            working = number in threads and threads[number].is_alive()
            if not working and not self._all_done():
                threads[number] = threading.Thread(
                    target=self._work, args=(number,), name=f"copy-{number}", daemon=True
                )
                threads[number].start()

    def _workers(self) -> int:
        return max(1, min(self.shared.settings.workers, MOST_WORKERS))

    def _all_done(self) -> bool:
        totals = chunks.totals(self.session.conn, self.copy)
        return totals.exhausted and not totals.pending

    def _apply_settings(self) -> None:
        wishes = self.session.wishes
        changed = {name: value for name, value in wishes.settings.items() if hasattr(self.shared.settings, name)}
        wanted = BackfillSettings(**{**asdict(self.shared.settings), **changed})
        if wanted == self.shared.settings:
            return
        if wanted.batch_rows != self.shared.settings.batch_rows:
            self.shared.pace.fix(wanted.batch_rows, wishes.settings_by.get("batch_rows", "an operator"))
        self.shared.pace.target_ms = wanted.target_ms
        self.shared.settings = wanted
        self.board.throttles = (ReplicaLag(wanted.max_replica_lag_s), LockWaiters(), OldestTransaction())

    def _throttle(self) -> None:
        """While a signal holds the copy back, workers rest and the time is booked to that signal."""
        start = time.monotonic()
        said = False
        while names := self.board.held_by(self.session.conn):
            self.shared.held_by = names
            if not said:
                said = True
                held = [f"{s.name} {s.value} (limit {s.limit})" for s in self.board.signals() if s.name in names]
                self.session.event("throttle", f"held back by {', '.join(held)}", task_id=self.task.id)
            self._report(0.0)
            self.session.wishes.sleep(0.5)
            self.board.cost(names, time.monotonic() - start)
            start = time.monotonic()
        self.shared.held_by = []
        if said:
            self.session.event("throttle", "going on", task_id=self.task.id)

    def _limit_rejects(self, totals: chunks.Totals) -> None:
        settings = self.shared.settings
        share = 100 * totals.rejected / max(totals.read, 1)
        too_many = settings.max_rejects and totals.rejected > settings.max_rejects
        too_large = totals.read > ENOUGH_TO_JUDGE and settings.max_reject_percent < share
        if too_many or too_large:
            raise StepFailed(
                f"{totals.rejected:,} of {totals.read:,} rows of {self.mapping.old} were rejected ({share:.1f} %): "
                "more than the plan allows.",
                state="The rows copied so far stay; the application is not affected.",
                do="Look at the reasons under Checks, mend the data or the mapping, or raise the limit, and resume.",
            )

    def _report(self, rate: float, *, finished: bool = False) -> None:
        totals = chunks.totals(self.session.conn, self.copy)
        done = finished or (totals.exhausted and not totals.pending)
        total = totals.read if done else max(totals.estimate, totals.read + 1)
        share = 1.0 if done else min(totals.read / max(total, 1), 0.999)
        low, high = eta_range(list(self.rates), total - totals.read)
        settings = self.shared.settings
        progress = Progress(
            task_id=self.task.id, mapping=self.mapping.id, what="copy", source=str(self.mapping.old),
            target=str(self.mapping.new), rows_total=total, rows_done=totals.read, rows_written=totals.written,
            rows_rejected=totals.rejected, share=share, finished=done, rate=rate, rates=tuple(self.rates)[-20:],
            eta_low_s=low, eta_high_s=high, batch_rows=self.shared.pace.rows, batch_ms=self.shared.batch_ms,
            target_ms=settings.target_ms, duty_percent=settings.duty_percent, workers=self._workers(),
            reason=self.shared.pace.reason, signals=self.board.signals(),
        )  # fmt: skip
        self.session.live(f"progress:{self.task.id}:{self.mapping.id}", asdict(progress))
        note = f"{totals.read:,} rows" if done else f"{100 * share:.1f}%"
        runs.task_note(self.session.conn, self.session.run_id, self.task.id, note)

    def _work(self, number: int) -> None:
        """A worker: plan a chunk, copy it, rest; its own connection, opened again when lost."""
        conn: Conn | None = None
        try:
            while not self.shared.finished.is_set() and number < self._workers():
                if self.shared.held_by:
                    time.sleep(0.1)
                    continue
                if conn is None:
                    conn = self.session.open("copy")
                try:
                    if not self._one_chunk(conn):
                        return
                except (
                    psycopg.errors.LockNotAvailable,
                    psycopg.errors.DeadlockDetected,
                    psycopg.errors.SerializationFailure,
                ):
                    time.sleep(0.05)
                except LOST as error:
                    if not is_lost(conn, error):
                        raise
                    conn.close()
                    conn = None
        except Exception as error:
            self.shared.failed.append(error)
        finally:
            if conn is not None and not conn.closed:
                conn.close()

    def _one_chunk(self, conn: Conn) -> bool:
        """Whether there was one."""
        self._plan(conn)
        outcome = chunk_copy.copy_next(conn, self.mapping, self.facts, self.copy, self.names, self.session.hold)
        if outcome is None:
            totals = chunks.totals(conn, self.copy)
            return not totals.exhausted
        self.shared.batch_ms = outcome.ms
        self.shared.pace.feed(outcome.read, outcome.ms)
        settings = self.shared.settings
        rest = rest_seconds(
            outcome.ms, outcome.read,
            duty_percent=settings.duty_percent, max_rows_per_second=settings.max_rows_per_second,
        )  # fmt: skip
        if rest > 0:
            self.shared.finished.wait(rest)
        return True

    def _plan(self, conn: Conn) -> None:
        """Plan one more chunk, unless all is planned."""
        with conn.transaction():
            cursor = chunks.plan_lock(conn, self.copy)
            if cursor is None:
                return
            low, high, ordinal = cursor
            end = ranges.step(conn, self.facts.old, self.names, low, high, self.shared.pace.rows)
            last = end is None or end == high
            chunks.add(conn, self.copy, Chunk(ordinal, low, high if end is None else end), last=last)
