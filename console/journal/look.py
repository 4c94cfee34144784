"""Looking at a run again and again, cheaply: what the last look asked is asked in one round trip, what is dear seldom.

A look asks some twenty questions, nearly the same ones each time. One after the other they take twenty round trips, a
second on a long line; sent together they take one. A question marked ``SELDOM``, which can be dear where there is
much to count, is answered from memory until its time is no more than a small share of a console's: many consoles must
not load the server. That is for screens, which look again soon; a report reads everything anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import psycopg

from console.journal.connect import Conn

T = TypeVar("T")
Question = tuple[str, Any]  # SQL and its parameters

SELDOM = "/* seldom */ "  # at the beginning of the SQL of a question whose answer may be a moment old
SHARE = 0.05  # of a console's time, at most, for such a question
LONGEST_S = 10.0  # however dear, it is asked again after this


@dataclass(frozen=True, slots=True)
class _Answer:
    rows: list[tuple[Any, ...]]
    took_s: float
    at: float

    def rests(self, now: float) -> bool:
        """Whether it was asked so lately that it is not asked again yet."""
        return now - self.at < min(self.took_s / SHARE, LONGEST_S)


class _Cursor:
    """The rows of an answer, read as from a cursor."""

    def __init__(self, rows: list[tuple[Any, ...]]) -> None:
        self._rows: Iterator[tuple[Any, ...]] = iter(rows)

    def fetchone(self) -> tuple[Any, ...] | None:
        return next(self._rows, None)

    def fetchall(self) -> list[tuple[Any, ...]]:
        return list(self._rows)


class _Reading:
    """Stands for a connection while one look reads: known answers at once, anything else from the server."""

    def __init__(self, conn: Conn, look: Look) -> None:
        self._conn = conn
        self._look = look

    def execute(self, query: str, params: Any = None) -> _Cursor:
        """The rows of a question; a statement that returns none is only run."""
        return _Cursor(self._look.answer(self._conn, (query, params)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._conn, name)


class Look:
    """The memory of one reader, not to be used by several threads at once.

    ``seldom``: what is marked so is not asked with every look. ``clock``: seconds that only go forward.
    """

    def __init__(self, *, seldom: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._seldom = seldom
        self._clock = clock
        self._known: dict[str, _Answer] = {}
        self._last: dict[str, Question] = {}  # what the last look asked
        self._asked: dict[str, Question] = {}  # what this one has asked so far
        self._fresh: set[str] = set()  # of those known, the ones that this look may use

    def read(self, conn: Conn, work: Callable[[Conn], T]) -> T:
        """``work`` reads through what it is given in the place of ``conn``. Errors are those of ``work``."""
        self._asked = {}
        self._fresh = set()
        self._ask_together(conn)
        try:
            return work(cast("Conn", _Reading(conn, self)))
        finally:
            self._last = self._asked
            self._known = {key: answer for key, answer in self._known.items() if key in self._asked}

    def _ask_together(self, conn: Conn) -> None:
        now = self._clock()
        resting = {
            key
            for key, (query, _) in self._last.items()
            if self._seldom and query.startswith(SELDOM) and self._known[key].rests(now)
        }
        self._fresh = set(resting)
        wanted = {key: question for key, question in self._last.items() if key not in self._fresh}
        if not wanted or not psycopg.Pipeline.is_supported():
            return
        try:
            with conn.pipeline():
                cursors = {key: conn.execute(cast("Any", query), params) for key, (query, params) in wanted.items()}
                for key, cursor in cursors.items():
                    self._keep(key, cursor, self._clock())
        except psycopg.Error:
            if conn.closed or conn.broken:
                raise
            self._fresh = resting  # one of them is refused by now: ``work`` asks one by one, and meets the error

    def answer(self, conn: Conn, question: Question) -> list[tuple[Any, ...]]:
        """The rows of a question, from the server unless they are known."""
        key = repr(question)
        if key not in self._fresh:
            begun = self._clock()
            cursor = conn.execute(cast("Any", question[0]), question[1])
            if cursor.description is None:  # no question: nothing to be asked ahead
                return []
            self._keep(key, cursor, begun)
        self._asked[key] = question
        return self._known[key].rows

    def _keep(self, key: str, cursor: psycopg.Cursor[tuple[Any, ...]], begun: float) -> None:
        rows = cursor.fetchall()
        now = self._clock()
        self._known[key] = _Answer(rows, now - begun, now)
        self._fresh.add(key)
