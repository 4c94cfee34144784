"""The hands of a backfill: threads that copy chunk after chunk, and one that plans ahead of them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import psycopg

from console.engine import copier
from console.engine.copier import Copier, Outcome, plan_next
from console.engine.copy import CopyStatement
from console.engine.facts import MappingFacts
from console.engine.pace import Pace, rest_seconds
from console.engine.session import LOST, Session, is_lost
from console.journal import chunks
from console.journal.chunks import Copy
from console.journal.connect import Conn
from console.plan.model import BackfillSettings, Mapping

MOST_WORKERS = 16
_AGAIN_S = 0.05  # after a chunk that met a lock
_IDLE_S = 0.02  # while others copy the last chunks
_SHARE_S, _LONG_SHARE_S = 0.5, 4.0  # seconds of the limit on rows a second that one batch may use up
_PLAN_S = 0.2  # how often the planner looks without being told


@dataclass
class Orders:
    """What the workers obey and tell; plain attributes, one writer each."""

    pace: Pace
    settings: BackfillSettings
    duty_percent: float = 100.0  # what the settings and the signals leave of the time
    hands: int = 1  # workers in all, on every host: they share the limit on rows a second
    held_by: list[str] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)  # workers: leave after your chunk
    done: threading.Event = field(default_factory=threading.Event)  # there is nothing more to copy
    hungry: threading.Event = field(default_factory=threading.Event)  # planner: a chunk was taken
    failed: list[Exception] = field(default_factory=list)
    batch_ms: float = 0.0
    batches: int = 0  # copied by this process
    rows: int = 0

    @property
    def workers(self) -> int:
        """How many threads of this process may copy."""
        return max(1, min(self.settings.workers, MOST_WORKERS))

    @property
    def target_ms(self) -> int:
        """How long a batch should take. Slowed by its settings, the copy may work in fewer and longer bursts.

        The server's system may put a writer that wakes onto the copy's core and leave it there to the next timer tick
        (4 ms at 250 Hz), until the copy has kept a core for some 40 ms: what writers feel is the number of bursts.
        Measured at 55,000 rows/s on 2 cores, p99 over the p99 without a copy: bursts of 40 ms 3.7, of 100 ms 2.1, of
        190 ms 1.4. But a writer that changes a row in flight waits for its batch, so that it is the plan's to say. A
        signal near its limit is no reason for longer bursts: they would meet it sooner.
        """
        settings = self.settings
        slowed = settings.duty_percent < 100 or settings.max_rows_per_second > 0
        return max(settings.target_ms, settings.throttled_ms) if slowed else settings.target_ms

    @property
    def batch_rows(self) -> int:
        """Rows of the next batch: under a limit on rows a second, no more than half a second's share of it.

        Four seconds' where longer bursts are wanted.
        """
        seconds = _LONG_SHARE_S if self.target_ms > self.settings.target_ms else _SHARE_S
        limit = seconds * self.settings.max_rows_per_second / max(self.hands, 1)
        return min(self.pace.rows, max(int(limit), 1)) if limit else self.pace.rows

    def rest(self, seconds: float) -> None:
        """Wait, but not past the end."""
        if seconds > 0:
            self.ended.wait(seconds)


@dataclass(frozen=True)
class Ground:
    """What is copied: the mapping's tables, the key in walking order, the statement, the backfill's rows."""

    mapping: Mapping
    facts: MappingFacts
    names: tuple[str, ...]
    copy: Copy
    statement: CopyStatement


class Crew:
    """As many worker threads as the settings say, and the planner."""

    def __init__(self, session: Session, ground: Ground, orders: Orders, *, called: str = "copy") -> None:
        self.session = session
        self.ground = ground
        self.orders = orders
        self.called = called
        self._threads: dict[int, threading.Thread] = {}
        self._planner: threading.Thread | None = None

    def keep(self, *, plan: bool) -> None:
        """Start what is missing; one worker too many ends by itself after its chunk."""
        if self.orders.done.is_set():
            return
        for number in range(self.orders.workers):
            if number not in self._threads or not self._threads[number].is_alive():
                self._threads[number] = self._start(f"copy-{number}", partial(self._work, number))
        if plan and (self._planner is None or not self._planner.is_alive()):
            self._planner = self._start("plan", self._plan)

    def stop(self) -> None:
        """Tell all of them to leave and wait until they have."""
        self.orders.ended.set()
        self.orders.hungry.set()
        for thread in (*self._threads.values(), self._planner):
            if thread is not None:
                thread.join()

    def _start(self, name: str, work: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=self._guarded, args=(work,), name=name, daemon=True)
        thread.start()
        return thread

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:
            self.orders.failed.append(error)
            self.orders.done.set()  # the watcher looks at once

    def _with_connection(self, step: Callable[[Conn], bool], may_go_on: Callable[[], bool]) -> None:
        """Repeat ``step`` on a connection of its own, opened again when lost, until it says False."""
        conn: Conn | None = None
        try:
            while may_go_on():
                if conn is None:
                    conn = self._open()
                try:
                    if not step(conn):
                        return
                except LOST as error:
                    if not is_lost(conn, error):
                        raise
                    conn.close()
                    conn = None
        finally:
            if conn is not None and not conn.closed:
                conn.close()

    def _open(self) -> Conn:
        conn = self.session.open(self.called)
        try:
            for setting in copier.SESSION:
                conn.execute(setting)
            conn.execute(f"SET synchronous_commit = {'on' if self.orders.settings.synchronous_commit else 'off'}")
        except LOST:
            conn.close()
            raise
        return conn

    def _work(self, number: int) -> None:
        ground, orders = self.ground, self.orders
        hand = Copier(ground.mapping, ground.facts, ground.copy, ground.names, ground.statement, self.session.hold)
        self._with_connection(
            lambda conn: self._one_chunk(conn, hand),
            lambda: not orders.ended.is_set() and not orders.done.is_set() and number < orders.workers,
        )

    def _one_chunk(self, conn: Conn, hand: Copier) -> bool:
        """Copy one chunk and rest; False when there is nothing more to copy."""
        orders = self.orders
        if orders.held_by:
            orders.rest(0.1)
            return True
        hand.hashed = orders.settings.content_hash
        outcome = hand.next(conn)
        orders.hungry.set()
        if outcome is None:
            return self._wait_or_plan(conn)
        if outcome.stop is not None:
            raise outcome.stop
        if outcome.again:
            orders.rest(_AGAIN_S)
            return True
        self._after(outcome)
        return True

    def _after(self, outcome: Outcome) -> None:
        orders = self.orders
        orders.batch_ms = outcome.ms
        orders.batches += 1
        orders.rows += outcome.read
        orders.pace.feed(outcome.read, outcome.ms)
        orders.rest(
            rest_seconds(
                outcome.ms, outcome.read, duty_percent=orders.duty_percent,
                max_rows_per_second=orders.settings.max_rows_per_second / max(orders.hands, 1),
            )
        )  # fmt: skip

    def _wait_or_plan(self, conn: Conn) -> bool:
        """No chunk is free: plan one, or wait for those who copy the last ones; False when there are none."""
        ground = self.ground
        open_chunks, exhausted = chunks.waiting(conn, ground.copy)
        if exhausted and not open_chunks:
            self.orders.done.set()
            return False
        if exhausted or not plan_next(
            conn, ground.copy, ground.facts, ground.names, self.orders.batch_rows, wait=False
        ):
            self.orders.rest(_IDLE_S)
        return True

    def _plan(self) -> None:
        orders = self.orders
        self._with_connection(self._plan_one, lambda: not orders.ended.is_set() and not orders.done.is_set())

    def _plan_one(self, conn: Conn) -> bool:
        """Keep a free chunk ready for each worker, so that none waits for the walk along the key, though all end at once.

        More would outlive a new size.
        """
        ground, orders = self.ground, self.orders
        open_chunks, exhausted = chunks.waiting(conn, ground.copy)
        if exhausted:
            return False
        if open_chunks < 2 * max(orders.workers, orders.hands):
            try:
                plan_next(conn, ground.copy, ground.facts, ground.names, orders.batch_rows, wait=True)
            except psycopg.errors.LockNotAvailable:  # a chunk is being halved
                orders.rest(_AGAIN_S)
        else:
            orders.hungry.wait(_PLAN_S)
            orders.hungry.clear()
        return True
