"""The backfill of a mapping: workers share chunks, one watcher paces, throttles and reports them."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import asdict

from console.engine import copier, ranges
from console.engine.facts import MappingFacts, mapping_facts
from console.engine.pace import Pace, eta_range
from console.engine.session import Session
from console.engine.throttle import Board, LockWaiters, OldestTransaction, ReplicaLag
from console.engine.workers import Crew, Ground, Orders
from console.errors import StepFailed
from console.journal import chunks, runs
from console.journal.chunks import Copy, Tally, Totals
from console.journal.state import Progress
from console.plan.model import BackfillSettings, Mapping, Task

REPORT_EVERY_S = 0.5
ENOUGH_TO_JUDGE = 1_000  # rows read before the share of rejects counts, unless all are read


class Backfill:
    """Copies every row of a mapping that was there when it began; the sync carries the rest."""

    def __init__(self, session: Session, task: Task, mapping: Mapping, round_: int) -> None:
        self.session = session
        self.task = task
        self.mapping = mapping
        self.facts: MappingFacts = mapping_facts(session.conn, mapping, session.plan.archive_schema)
        self.names = ranges.old_order(mapping, self.facts)
        self.copy = Copy(session.run_id, task.id, round_, mapping.id)
        self.tally = Tally(self.copy)
        settings = task.backfill
        self.orders = Orders(Pace(settings.batch_rows, settings.target_ms), settings, settings.duty_percent)
        self.board = Board((ReplicaLag(settings.max_replica_lag_s), LockWaiters(), OldestTransaction()))
        self.rates: deque[float] = deque(maxlen=60)

    def run(self) -> None:
        """Copy to the end. Raises StepFailed (too many rejects), Interrupted, LeaseLost; may be run again after any."""
        conn = self.session.conn
        self._apply_settings()
        high = ranges.greatest(conn, self.facts.old, self.names)
        chunks.begin(
            conn, self.copy, estimate=ranges.rows_estimate(conn, self.facts.old), high=high,
            settings=asdict(self.task.backfill),
        )  # fmt: skip
        statement = copier.make_statement(conn, self.mapping, self.facts, self.names)
        crew = Crew(self.session, Ground(self.mapping, self.facts, self.names, self.copy, statement), self.orders)
        began = time.monotonic()
        try:
            self._watch(crew)
        finally:
            crew.stop()
        totals = self._totals()
        self._limit_rejects(totals)
        seconds = max(time.monotonic() - began, 0.001)
        self._report(totals, 0.0)
        self.session.event(
            "batch",
            f"{self.mapping.old} copied: {totals.read:,} rows read, {totals.written:,} written,"
            f" {totals.rejected:,} rejected in {seconds:.1f} s",
            task_id=self.task.id,
        )

    def _totals(self) -> Totals:
        return self.tally.look(self.session.conn)

    def _watch(self, crew: Crew) -> None:
        last, last_time = self._totals(), time.monotonic()
        explained = self.orders.pace.reason
        while True:
            self._apply_settings()
            if self._totals().finished:
                self.orders.done.set()
            crew.keep(plan=True)
            self.session.wishes.check()
            self.orders.done.wait(REPORT_EVERY_S)
            if self.orders.failed:
                raise self.orders.failed[0]
            self._throttle()
            totals = self._totals()
            now = time.monotonic()
            rate = (totals.read - last.read) / max(now - last_time, 1e-6)
            self.rates.append(rate)
            last, last_time = totals, now
            self._limit_rejects(totals)
            self._report(totals, rate)
            if self.orders.pace.reason != explained:
                explained = self.orders.pace.reason
                self.session.event("batch", explained, task_id=self.task.id)
            if totals.finished:
                return

    def _apply_settings(self) -> None:
        wishes = self.session.wishes
        changed = {name: value for name, value in wishes.settings.items() if hasattr(self.orders.settings, name)}
        wanted = BackfillSettings(**{**asdict(self.orders.settings), **changed})
        self.orders.hands = self.orders.workers
        if wanted == self.orders.settings:
            return
        if wanted.batch_rows != self.orders.settings.batch_rows:
            self.orders.pace.fix(wanted.batch_rows, wishes.settings_by.get("batch_rows", "an operator"))
        self.orders.pace.target_ms = wanted.target_ms
        self.orders.settings = wanted
        self.orders.duty_percent = wanted.duty_percent
        self.board.throttles = (ReplicaLag(wanted.max_replica_lag_s), LockWaiters(), OldestTransaction())

    def _throttle(self) -> None:
        """While a signal holds the copy back, workers rest and the time is booked to that signal."""
        start = time.monotonic()
        said = False
        while names := self.board.held_by(self.session.conn):
            self.orders.held_by = names
            if not said:
                said = True
                held = [f"{s.name} {s.value} (limit {s.limit})" for s in self.board.signals() if s.name in names]
                self.session.event("throttle", f"held back by {', '.join(held)}", task_id=self.task.id)
            self._report(self._totals(), 0.0)
            self.session.wishes.sleep(0.5)
            self.board.cost(names, time.monotonic() - start)
            start = time.monotonic()
        self.orders.held_by = []
        if said:
            self.session.event("throttle", "going on", task_id=self.task.id)

    def _limit_rejects(self, totals: Totals) -> None:
        settings = self.orders.settings
        share = 100 * totals.rejected / max(totals.read, 1)
        enough = totals.read > ENOUGH_TO_JUDGE or totals.finished
        too_many = settings.max_rejects and totals.rejected > settings.max_rejects
        too_large = enough and settings.max_reject_percent < share
        if too_many or too_large:
            raise StepFailed(
                f"{totals.rejected:,} of {totals.read:,} rows of {self.mapping.old} were rejected ({share:.1f} %): "
                "more than the plan allows.",
                state="The rows copied so far stay; the application is not affected.",
                do="Look at the reasons under Checks, mend the data or the mapping, or raise the limit, and resume.",
            )

    def _report(self, totals: Totals, rate: float) -> None:
        done = totals.finished
        total = totals.read if done else max(totals.estimate, totals.read + 1)
        share = 1.0 if done else min(totals.read / max(total, 1), 0.999)
        low, high = eta_range(list(self.rates), total - totals.read)
        settings = self.orders.settings
        progress = Progress(
            task_id=self.task.id, mapping=self.mapping.id, what="copy", source=str(self.mapping.old),
            target=str(self.mapping.new), rows_total=total, rows_done=totals.read, rows_written=totals.written,
            rows_rejected=totals.rejected, share=share, finished=done, rate=rate, rates=tuple(self.rates)[-20:],
            eta_low_s=low, eta_high_s=high, batch_rows=self.orders.pace.rows, batch_ms=self.orders.batch_ms,
            target_ms=settings.target_ms, duty_percent=settings.duty_percent, workers=self.orders.workers,
            reason=self.orders.pace.reason, signals=self.board.signals(),
        )  # fmt: skip
        self.session.live(f"progress:{self.task.id}:{self.mapping.id}", asdict(progress))
        note = f"{totals.read:,} rows" if done else f"{100 * share:.1f}%"
        runs.task_note(self.session.conn, self.session.run_id, self.task.id, note)
