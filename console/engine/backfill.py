"""The backfill of a mapping: workers share chunks, one watcher paces, throttles and reports them."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from dataclasses import asdict, fields

import psycopg

from console.engine import copier, ranges, tombstones
from console.engine.facts import MappingFacts, mapping_facts
from console.engine.pace import Lately, Pace, Recent
from console.engine.session import Session
from console.engine.settle import rechecks, work_off
from console.engine.signals.base import Throttle
from console.engine.signals.board import Board, throttles
from console.engine.workers import Crew, Ground, Orders
from console.errors import FerryError, StepFailed
from console.journal import chunks, hands, runs
from console.journal.chunks import Copy, Tally, Totals
from console.journal.hands import Hand, Pacing
from console.journal.read import progress_of
from console.journal.state import Progress, Setting
from console.plan import settings as live
from console.plan.model import BackfillSettings, Mapping, Task
from console.text import several

REPORT_EVERY_S = 0.5
RATE_OVER_S = 10.0  # the rate shown: at a low duty cycle most looks see no batch end at all
ENOUGH_TO_JUDGE = 1_000  # rows read before the share of rejects counts, unless all are read
NOTED_PATIENCE_S = 10.0
COUNT_AT_MOST = 2_000_000  # rows left that are counted where the estimate proved wrong


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
        self.orders.pace.aim(self.orders.target_ms)
        self.board = Board(self._throttles())
        self.recent = Recent()
        self.rates: deque[float] = deque(maxlen=20)
        self.shown = Lately(RATE_OVER_S)
        self.total = 0
        self.helpers: tuple[Hand, ...] = ()

    def run(self) -> None:
        """Copy to the end. Raises StepFailed (too many rejects), Interrupted, LeaseLost; may be run again after any."""
        conn = self.session.conn
        self._apply_settings()
        before = progress_of(conn, self.session.run_id, self._name())
        if before is not None:
            self.board.restore(before.signals)
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
            self.board.close()
            with contextlib.suppress(psycopg.Error, FerryError):  # the server may be gone: it grows old by itself
                if not self.session.lost():
                    hands.clear(self.session.conn, self.copy)
        totals = self._totals()
        self._limit_rejects(totals)
        self._work_off_noted()
        self._report(totals, 0.0)
        self.session.event(
            "batch",
            f"{self.mapping.old} copied: {several(totals.read, 'row')} read, {totals.written:,} written,"
            f" {totals.rejected:,} rejected in {time.monotonic() - began:.1f} s",
            task_id=self.task.id, content_hash=self._content(totals), chunks=totals.chunks, retries=totals.retries,
        )  # fmt: skip

    def _work_off_noted(self) -> None:
        """Keys whose rows may have risen from the dead: left by writers while they were copied, or written under
        snapshots older than their rows' batches. A delete there saw no copy to delete.

        Those still open after a while are left noted: every comparison waits for them before it judges.
        """
        tombstones.stop(self.session, self.mapping)
        _, writers = tombstones.work_off(self.session, self.mapping, self.facts, NOTED_PATIENCE_S)
        if writers:
            text = (
                f"{writers:,} transactions that deleted rows while they were copied are open: they are waited for later"
            )
            self.session.event("batch", text, task_id=self.task.id)
        conn, until = self.session.conn, time.monotonic() + NOTED_PATIENCE_S
        while left := rechecks(conn, self.mapping):
            work_off(self.session, self.mapping, self.facts)
            left = rechecks(conn, self.mapping)
            if left and time.monotonic() > until:
                text = f"{left:,} keys written under old snapshots wait for older transactions to end"
                self.session.event("batch", text, task_id=self.task.id)
                return
            if left:
                self.session.wishes.sleep(REPORT_EVERY_S)

    def _name(self) -> str:
        return f"progress:{self.task.id}:{self.mapping.id}"

    def _totals(self) -> Totals:
        return self.tally.look(self.session.conn)

    def _watch(self, crew: Crew) -> None:
        last, last_time = self._totals(), time.monotonic()
        self.total = last.estimate
        said, explained = "", self.orders.pace.reason
        while True:
            self._apply_settings()
            if self._totals().finished:
                self.orders.done.set()
            crew.keep(plan=True)
            self.session.wishes.check()
            self.orders.done.wait(REPORT_EVERY_S)
            if self.orders.failed:
                raise self.orders.failed[0]
            held = bool(self.orders.held_by)
            self._obey_signals()
            self._tell_helpers()
            totals, now = self._totals(), time.monotonic()
            seconds, rows = now - last_time, totals.read - last.read
            self.shown.add(seconds, rows)
            if not held or rows:
                self.recent.add(seconds, rows)
            last, last_time = totals, now
            self._limit_rejects(totals)
            self._report(totals, rows / max(seconds, 1e-6))
            said = self._tell_of_signals(said)
            if self.orders.pace.reason != explained:
                explained = self.orders.pace.reason
                self.session.event("batch", explained, task_id=self.task.id)
            if totals.finished:
                return

    def _throttles(self) -> tuple[Throttle, ...]:
        return throttles(
            self.orders.settings, (self.facts.old.name, self.facts.new.name), lambda: self.session.open("probe")
        )

    def _apply_settings(self) -> None:
        wishes = self.session.wishes
        known = {field.name for field in fields(BackfillSettings)}
        changed = {name: value for name, value in wishes.settings.items() if name in known}
        wanted = BackfillSettings(**{**asdict(self.orders.settings), **changed})
        if wanted == self.orders.settings:
            return
        if wanted.batch_rows != self.orders.settings.batch_rows:
            self.orders.pace.fix(wanted.batch_rows, wishes.settings_by.get("batch_rows", "an operator"))
        self.orders.settings = wanted
        self.orders.pace.aim(self.orders.target_ms)
        self.board.replace(self._throttles())

    def _obey_signals(self) -> None:
        """What holds makes the workers rest; what slows lowers the share of the time they work, never the batch."""
        self.board.tick(self.session.conn)
        self.orders.held_by = [reading.name for reading in self.board.holding]
        self.orders.duty_percent = self.orders.settings.duty_percent * self.board.share

    def _tell_helpers(self) -> None:
        """Say the pace to workers of other processes, and count them in: all share the limit on rows a second."""
        orders = self.orders
        self.helpers = hands.lent(self.session.conn, self.copy)
        orders.hands = orders.workers + sum(hand.workers for hand in self.helpers)
        pacing = Pacing(
            asdict(orders.settings), orders.pace.rows, orders.duty_percent, orders.hands, tuple(orders.held_by)
        )
        hands.tell(self.session.conn, self.copy, pacing)

    def _tell_of_signals(self, said: str) -> str:
        """A line in the log where what holds the copy back changed; the names of what holds it now."""
        names = ", ".join(self.orders.held_by)
        if names != said:
            text = self.board.words() if names else "going on"
            self.session.event("throttle", text, task_id=self.task.id)
        return names

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
                do="The reasons stand under Backfill and in 'pgferry report'. Mend the data or the mapping, or raise the "
                "limit, and resume.",
            )

    def _expected(self, totals: Totals) -> int:
        """Rows in all: the planner's estimate until it proves wrong, then counted as far as that is cheap."""
        if totals.finished:
            return totals.read
        ahead = totals.pending * self.orders.pace.rows
        if totals.exhausted:
            return totals.read + max(ahead, 1)
        if totals.read + ahead >= self.total:
            left = chunks.beyond_plan(self.session.conn, self.copy)
            rows = ranges.count_left(self.session.conn, self.facts.old, self.names, *left, COUNT_AT_MOST) if left else 0
            self.total = totals.read + ahead + max(rows, 1)
        return self.total

    def _report(self, totals: Totals, rate: float) -> None:
        done = totals.finished
        total = self._expected(totals)
        share = 1.0 if done else min(totals.read / max(total, 1), 0.999)
        low, high = self.recent.eta(total - totals.read)
        self.rates.append(rate)
        orders = self.orders
        progress = Progress(
            task_id=self.task.id, mapping=self.mapping.id, what="copy", source=str(self.mapping.old),
            target=str(self.mapping.new), rows_total=total, rows_done=totals.read, rows_written=totals.written,
            rows_rejected=totals.rejected, share=share, finished=done, rate=0.0 if done else self.shown.rate, rates=tuple(self.rates),
            eta_low_s=low, eta_high_s=high, batch_rows=orders.pace.rows, batch_ms=orders.batch_ms,
            target_ms=orders.settings.target_ms, aim_ms=orders.target_ms, duty_percent=orders.settings.duty_percent, workers=orders.workers,
            reason=orders.pace.reason, signals=self.board.signals(), lost_s=round(self.board.lost_s, 3),
            held="" if done else self.board.words(), settings=self._settings(), chunks=totals.chunks,
            retries=totals.retries, last_error=totals.last_error, content_hash=self._content(totals),
            hands=tuple(str(hand) for hand in self.helpers),
        )  # fmt: skip
        self.session.live(self._name(), asdict(progress))
        note = f"{totals.read:,} rows" if done else f"{100 * share:.1f}%"
        runs.task_note(self.session.conn, self.session.run_id, self.task.id, note)

    def _content(self, totals: Totals) -> str:
        """The sum of the hashes; empty where some batches were not hashed."""
        return str(totals.content_hash) if self.orders.settings.content_hash else ""

    def _settings(self) -> tuple[Setting, ...]:
        """Each setting with its value and who set it."""
        by = self.session.wishes.settings_by
        return tuple(
            Setting(name, live.words(name, value), by.get(name, "the plan"))
            for name, value in asdict(self.orders.settings).items()
        )
