"""What each statement does to the server: locks, rewritten and scanned relations, time, write-ahead log.

The engine runs as in production; its connections are of a class that asks the server before and after each statement.
Locks are read from ``pg_locks`` in the statement's own transaction, before it ends, and named from what the catalogue
said before the statement: an object that it dropped has no row in ``pg_class`` any more. What cannot run in a
transaction is watched from a second connection.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Self

import postgast
import psycopg
from psycopg import pq, sql

from console.journal.connect import Conn
from console.plan.rehearsed import Measured, sql_sha256
from console.sql.locks import LEVEL
from console.sql.nodes import plain_name

SAMPLED = "its locks were seen from other sessions, for which it waited a moment: one held only briefly may be missed"
_DML = re.compile(r"\s*(?:SELECT|INSERT|UPDATE|DELETE|MERGE|WITH|TABLE|VALUES)\b", re.IGNORECASE)
_SETTING = re.compile(r"\s*(?:SET|RESET|SHOW|LISTEN|UNLISTEN|NOTIFY|DISCARD)\b", re.IGNORECASE)
_ALONE = re.compile(r"\b(?:CONCURRENTLY|VACUUM|REINDEX|CLUSTER)\b", re.IGNORECASE)
_TRUNCATE = re.compile(r"\s*TRUNCATE\b", re.IGNORECASE)
_TEXT_SHOWN = 4000
_GOES_WITH_TABLE = ("ACCESS SHARE", "ROW SHARE", "ROW EXCLUSIVE")  # on an index: its table's own lock tells more

_HELD = (
    "SELECT relation, mode FROM pg_locks WHERE locktype = 'relation' AND granted AND pid = {pid}"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
_WANTED = (
    "SELECT relation, mode, granted FROM pg_locks WHERE pid = {pid}"
    " AND (locktype <> 'relation' OR database = (SELECT oid FROM pg_database WHERE datname = current_database()))"
)
_TABLES = (
    "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p')"
    " AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pgferry') AND n.nspname NOT LIKE 'pg\\_t%' LIMIT 1000"
)
_RELATIONS = (
    "SELECT c.oid, n.nspname, c.relname, c.relkind, c.relfilenode, s.scans, s.tuples"
    " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace CROSS JOIN LATERAL (SELECT"
    " CASE WHEN c.relkind IN ('r', 'm', 'p') THEN pg_stat_get_xact_numscans(c.oid) ELSE 0 END AS scans,"
    " CASE WHEN c.relkind IN ('r', 'm', 'p') THEN pg_stat_get_xact_tuples_returned(c.oid) ELSE 0 END AS tuples) s"
    " WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pgferry') AND n.nspname NOT LIKE 'pg\\_t%'"
)


@dataclass(frozen=True, slots=True)
class Relation:
    """A table, index, view or sequence as the catalogue has it; counters are of the transaction that is open."""

    name: str
    kind: str
    file: int
    scans: int
    tuples: int


Relations = dict[int, Relation]
Locks = frozenset[tuple[int, str]]


@dataclass
class _Open:
    """The transaction that is open on a connection: what existed when it began, what was measured in it."""

    existed: Relations
    known: Relations
    found: list[tuple[float, Measured]] = field(default_factory=list)


@dataclass
class Tracer:
    """Gathers what was measured, under the task and side that the rehearsal says is at work.

    ``pieces`` are the ordinals of the file's statements by their text. Nothing is measured while ``task_id`` is empty.
    """

    observer: Callable[[], Conn]  # opens the second connection
    alone: bool = True  # nobody else writes: the server's log is all of the statement's
    task_id: str = ""
    side: str = ""
    pieces: dict[str, int] = field(default_factory=dict)
    found: dict[tuple[str, str], list[Measured]] = field(default_factory=dict)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def at_work(self, task_id: str, side: str, pieces: dict[str, int]) -> None:
        """What runs from now on belongs to this side of this task; what was measured of it before is forgotten."""
        self.task_id, self.side, self.pieces = task_id, side, pieces
        if task_id:
            self.found[(task_id, side)] = []

    def of(self, task_id: str) -> tuple[Measured, ...]:
        """What was measured of a task, statements of one text put together."""
        return tuple(one for side in ("up", "down") for one in merged(self.found.get((task_id, side), [])))

    def keep(self, measured: list[Measured]) -> None:
        """Committed statements."""
        with self._guard:
            self.found.setdefault((self.task_id, self.side), []).extend(measured)


def merged(found: list[Measured]) -> list[Measured]:
    """Statements of one text as one: the longest times, the sum of the log, every lock."""
    by_text: dict[tuple[int, str], Measured] = {}
    for one in found:
        key = (one.ordinal, one.sql_sha256)
        known = by_text.get(key)
        by_text[key] = one if known is None else _both(known, one)
    return list(by_text.values())


def _both(a: Measured, b: Measured) -> Measured:
    def union(x: tuple[Any, ...], y: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(dict.fromkeys((*x, *y)))

    return replace(
        a, locks=union(a.locks, b.locks), new=union(a.new, b.new), rewritten=union(a.rewritten, b.rewritten),
        scanned=union(a.scanned, b.scanned), ms=max(a.ms, b.ms), held_ms=max(a.held_ms, b.held_ms),
        wal_bytes=a.wal_bytes + b.wal_bytes, times=a.times + b.times, partial=a.partial or b.partial,
    )  # fmt: skip


class TracedCursor(psycopg.Cursor[Any]):
    """A cursor whose statements are measured."""

    def execute(self, query: Any, params: Any = None, **more: Any) -> Self:
        """As psycopg's, measured where the connection is."""
        conn = self.connection
        run = super().execute
        if isinstance(conn, TracedConnection) and conn.tracer is not None and conn.tracer.task_id:
            conn.measure(query, lambda: run(query, params, **more))
        else:
            run(query, params, **more)
        return self


class TracedConnection(psycopg.Connection[Any]):
    """A connection that knows what its statements did; ``tracer`` is set once it stands."""

    tracer: Tracer | None = None
    opened: _Open | None = None

    @contextlib.contextmanager
    def transaction(self, *args: Any, **kwargs: Any) -> Iterator[psycopg.Transaction]:
        """As psycopg's; at the end of the outermost one it is known how long its locks were held."""
        outermost = self.info.transaction_status == pq.TransactionStatus.IDLE
        if outermost:
            self.opened = None
        committed = False
        try:
            with super().transaction(*args, **kwargs) as transaction:
                yield transaction
            committed = True
        finally:
            if outermost:
                self._ended(committed)

    def _ended(self, committed: bool) -> None:
        opened, self.opened = self.opened, None
        if opened is None or not committed or self.tracer is None:
            return
        end = time.monotonic()
        self.tracer.keep([replace(one, held_ms=round((end - began) * 1000, 3)) for began, one in opened.found])

    def measure(self, query: Any, run: Callable[[], object]) -> None:
        """Run the statement and keep what it did."""
        tracer = self.tracer
        assert tracer is not None
        text = query if isinstance(query, str) else _text(self, query)
        ordinal = tracer.pieces.get(text.strip(), 0)
        if not ordinal and _SETTING.match(text):
            run()
        elif self.info.transaction_status == pq.TransactionStatus.INTRANS:
            self._inside(tracer, text, ordinal, run)
        elif ordinal or _ALONE.search(text):
            self._outside(tracer, text, ordinal, run)
        else:
            run()

    def _inside(self, tracer: Tracer, text: str, ordinal: int, run: Callable[[], object]) -> None:
        if self.opened is None:
            relations = _relations(self)
            self.opened = _Open(relations, relations)
        opened = self.opened
        before, wal = _held(self), _wal(self) if tracer.alone else 0
        start = time.monotonic()
        run()
        ms = (time.monotonic() - start) * 1000
        if self.info.transaction_status != pq.TransactionStatus.INTRANS:
            return
        taken = _held(self) - before
        wal_bytes = _wal(self) - wal if tracer.alone else 0
        known = opened.known
        if ordinal or not _DML.match(text):
            opened.known = _relations(self)
        locks, new = _named(taken, known, opened.known, opened.existed)
        already, _ = _named(before, known, opened.known, opened.existed)
        if ordinal or any(mode != "ACCESS SHARE" for _, mode in locks) or new:
            shown = _shown(text, ordinal)
            rewritten, scanned = _changes(known, opened.known)
            if _TRUNCATE.match(text):  # a new file for what was emptied
                rewritten = ()
            opened.found.append(
                (start, Measured(
                    tracer.side, ordinal, shown, sql_sha256(shown), locks, rewritten, round(ms, 3), 0.0, wal_bytes, new,
                    already, scanned,
                ))
            )  # fmt: skip

    def _outside(self, tracer: Tracer, text: str, ordinal: int, run: Callable[[], object]) -> None:
        known = _relations(self)
        wal = _wal(self)
        start = time.monotonic()
        with _watching(tracer.observer, self.info.backend_pid) as seen:
            run()
        ms = round((time.monotonic() - start) * 1000, 3)
        after = _relations(self)
        locks, new = _named(frozenset(seen), known, after, known)
        shown = _shown(text, ordinal)
        rewritten, _ = _changes(known, after)
        tracer.keep(
            [Measured(
                tracer.side, ordinal, shown, sql_sha256(shown), locks, rewritten, ms, ms, _wal(self) - wal, new,
                partial=SAMPLED,
            )]
        )  # fmt: skip


def _text(conn: Conn, query: Any) -> str:
    if isinstance(query, bytes):
        return query.decode()
    return query.as_string(conn) if isinstance(query, sql.Composable) else str(query)


def _shown(text: str, ordinal: int) -> str:
    """The statement's text as it is kept: a file's own; of what is derived rows' values are written as $1."""
    text = text.strip()
    if ordinal or not _DML.match(text):
        return text
    try:
        return str(postgast.normalize(text))[:_TEXT_SHOWN]
    except postgast.PgQueryError:  # with a driver's placeholders
        return text[:_TEXT_SHOWN]


def _ask(conn: Conn, query: str) -> list[tuple[Any, ...]]:
    """The rows of a query of ours, past the traced cursor."""
    cursor = psycopg.Cursor(conn)
    return cursor.execute(query.encode()).fetchall()


def _held(conn: Conn) -> Locks:
    return frozenset((oid, mode) for oid, mode in _ask(conn, _HELD.format(pid="pg_backend_pid()")))


def _wal(conn: Conn) -> int:
    return int(_ask(conn, "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')")[0][0])


def _relations(conn: Conn) -> Relations:
    return {
        oid: Relation(plain_name((schema, name)), kind, file, scans or 0, tuples or 0)
        for oid, schema, name, kind, file, scans, tuples in _ask(conn, _RELATIONS)
    }


def mode_words(mode: str) -> str:
    """``AccessExclusiveLock`` as PostgreSQL's documentation writes it: ACCESS EXCLUSIVE."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", mode.removesuffix("Lock")).upper()


def _named(
    taken: Locks, before: Relations, after: Relations, existed: Relations
) -> tuple[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]:
    """The strongest lock on each object, of those that stood before the transaction and of those made in it."""
    strongest: dict[int, str] = {}
    for oid, mode in taken:
        words = mode_words(mode)
        if LEVEL.get(words, 0) >= LEVEL.get(strongest.get(oid, ""), -1):
            strongest[oid] = words
    named: tuple[list[tuple[str, str]], list[tuple[str, str]]] = ([], [])
    for oid, words in strongest.items():
        relation = before.get(oid) or after.get(oid)
        if relation is not None and not (relation.kind in "iI" and words in _GOES_WITH_TABLE):
            named[0 if oid in existed else 1].append((relation.name, words))
    return tuple(sorted(named[0])), tuple(sorted(named[1]))


def _changes(before: Relations, after: Relations) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of what got another file, and of the tables read by a sequential scan."""
    both = [(relation, after[oid]) for oid, relation in before.items() if oid in after]
    return (
        tuple(sorted(old.name for old, new in both if old.file != new.file)),
        tuple(sorted(old.name for old, new in both if new.scans > old.scans and new.tuples > old.tuples)),
    )


@contextlib.contextmanager
def _watching(observer: Callable[[], Conn], pid: int) -> Iterator[set[tuple[int, str]]]:
    """Locks that the session ``pid`` takes or waits for while the block runs, as other sessions see them.

    Two transactions stand in its way, one after the other, each only until it is seen to wait: else a statement that
    is done in a moment would be missed. The first one conflicts with what statements outside transactions take,
    the second one is an old snapshot with the weakest lock, for which concurrent builds and drops wait.
    """
    seen: set[tuple[int, str]] = set()
    conn, over = observer(), threading.Event()
    holders = [_holder(observer, "SHARE UPDATE EXCLUSIVE"), _holder(observer, "ACCESS SHARE")]

    def look() -> None:
        while not over.is_set():
            found = _ask(conn, _WANTED.format(pid=int(pid)))
            seen.update((oid, mode) for oid, mode, _ in found if oid is not None)
            if holders and not all(granted for _, _, granted in found):
                holders.pop(0).close()

    thread = threading.Thread(target=look, name="locks", daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()
        for one in (*holders, conn):
            one.close()


def _holder(observer: Callable[[], Conn], mode: str) -> Conn:
    """A session with an open transaction that holds a snapshot and ``mode`` on every table, where it gets it."""
    conn = observer()
    cursor = psycopg.Cursor(conn)
    cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    tables = _ask(conn, _TABLES)
    if tables:
        names = sql.SQL(", ").join(sql.SQL("ONLY {}").format(sql.Identifier(*name)) for name in tables)
        with contextlib.suppress(psycopg.Error):
            cursor.execute(sql.SQL("LOCK TABLE {} IN {} MODE").format(names, sql.SQL(mode)))
    return conn
