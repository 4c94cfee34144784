"""The statement of ours that may wait for a lock now, as the worker, the watcher and the operator's commands share it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from console.engine.blockers import Look, cancel_backend
from console.journal.connect import Conn


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of a step: ``pid`` is the backend it runs in, 0 between two tries."""

    pid: int
    number: int
    seconds: float  # since it began, or since the last one ended
    gives_way: bool


@dataclass
class Step:
    """One step with its attempts. ``seen`` is the last look at which somebody was in the way of it."""

    task_id: str = ""
    what: str = ""
    seen: Look | None = None
    most_behind: int = 0
    cancelled_by: str = ""  # the operator who asked for the attempt to be cancelled
    gave_way_to: int = 0  # how many sessions queued when the watcher ended the attempt for them
    awake: threading.Event = field(default_factory=threading.Event)  # set while a step is open
    _guard: threading.Lock = field(default_factory=threading.Lock)
    _pid: int = 0
    _number: int = 0
    _since: float = 0.0
    _gives_way: bool = False

    @contextmanager
    def open(self, task_id: str, what: str) -> Iterator[Step]:
        """A step begins; whoever watches wakes up."""
        with self._guard:
            self.task_id, self.what = task_id, what
            self.seen, self.most_behind, self._number = None, 0, 0
            self._since = time.monotonic()
            self.cancelled_by = ""
        self.awake.set()
        try:
            yield self
        finally:
            self.awake.clear()

    @contextmanager
    def attempt(self, pid: int, *, gives_way: bool) -> Iterator[None]:
        """The statement runs in backend ``pid``; once the block is left, no cancel can reach what runs there next.

        With ``gives_way`` the watcher may end it when too many sessions queue behind it.
        """
        with self._guard:
            self._pid, self._number, self._since = pid, self._number + 1, time.monotonic()
            self._gives_way, self.gave_way_to, self.cancelled_by = gives_way, 0, ""
        try:
            yield
        finally:
            with self._guard:
                self._pid, self._since = 0, time.monotonic()

    def now(self) -> Attempt | None:
        """Where the step is; None when there is none."""
        with self._guard:
            if not self.awake.is_set():
                return None
            return Attempt(self._pid, self._number, time.monotonic() - self._since, self._gives_way)

    def saw(self, look: Look, number: int) -> None:
        """Keep what was seen during attempt ``number``."""
        with self._guard:
            if self.awake.is_set() and number == self._number and look.in_the_way:
                self.seen = look
                self.most_behind = max(self.most_behind, look.behind)

    def cancel(self, conn: Conn, pid: int, *, actor: str = "", behind: int = 0, number: int = 0) -> bool:
        """Cancel the statement in backend ``pid`` (of attempt ``number`` if given), seen to run there still.

        ``actor`` is the operator who wants it; without one the attempt gives way to ``behind`` sessions.
        """
        with self._guard:
            if not pid or self._pid != pid or (number and number != self._number):
                return False
            self.cancelled_by, self.gave_way_to = actor, behind
            cancel_backend(conn, pid)
            return True
