"""The second mode: a task's statements measured on the target itself, in a transaction that is always rolled back.

Each task has a transaction of its own, under a short ``lock_timeout`` and a limit on how long it may last in all: what
it locks is locked for everybody until it ends. Nothing is committed; a session that dies is rolled back by the server.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import postgast
import psycopg

from console.demo.generate import first_line
from console.engine.derive import raw
from console.engine.files import pieces
from console.errors import ConnectionFailed, FerryError, UsageError
from console.journal.connect import Conn, connect
from console.plan.model import Kind, Plan, Task
from console.plan.rehearsed import TARGET, UP, Outcome, Rehearsal, TaskRehearsed
from console.rehearsal.state import sequences_of
from console.rehearsal.trace import TracedConnection, TracedCursor, Tracer
from console.sql.nodes import which
from console.sql.split import Piece
from console.text import several

Say = Callable[[str], None]
LOCK_TIMEOUT_MS = 100
MOST_MS = 2000
_OUTSIDE = {
    "transaction_stmt": "it commands transactions itself",
    "copy_stmt": "COPY may write files or start programs",
    "load_stmt": "LOAD stays when the transaction is rolled back",
    "call_stmt": "a procedure may commit",
}
NOTES = (
    "every transaction was rolled back; what remains is dead rows for vacuum, and values taken from sequences",
    "the write-ahead log was not measured: other sessions write into it too",
    "ways back were not run: only a rehearsal on a scratch server proves them",
)


@dataclass(frozen=True, slots=True)
class OnTarget:
    """What to measure. ``only``: a task's id, or empty for every one with a file; limits in milliseconds."""

    conninfo: str
    only: str = ""
    lock_timeout_ms: int = LOCK_TIMEOUT_MS
    most_ms: int = MOST_MS


def measure(plan: Plan, wanted: OnTarget, say: Say) -> Rehearsal:
    """Measure and roll back, task by task. Raises UsageError, ConnectionFailed."""
    tasks = {task.id: task for task in plan.tasks}
    if wanted.only and wanted.only not in tasks:
        raise UsageError(f"The plan {plan.id} has no task {wanted.only}.")
    if wanted.only and tasks[wanted.only].kind is not Kind.SQL:
        raise UsageError(
            f"{wanted.only} has no file: only statements of files are measured on the target.",
            do="Rehearse it on a scratch server, without --on-target.",
        )
    with _connect(wanted) as conn:
        tracer = conn.tracer
        assert tracer is not None
        before = sequences_of(conn)
        found = [_task(conn, tracer, task, wanted, say) for task in plan.tasks]
        after = sequences_of(conn)
        version = conn.info.server_version
    moved = tuple(
        f"sequence {name} moved from {value} to {after[name]}" for name, value in before.items()
        if after.get(name, value) != value
    )  # fmt: skip
    return Rehearsal(
        plan.id, plan.sha256, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), version, TARGET, "the target's own",
        (), tuple(found), (), (*NOTES, *moved),
    )  # fmt: skip


def _connect(wanted: OnTarget) -> TracedConnection:
    conn = connect(wanted.conninfo, application_name="pgferry rehearsal", kind=TracedConnection)
    assert isinstance(conn, TracedConnection)
    row = conn.execute("SELECT pg_is_in_recovery(), current_setting('transaction_read_only')").fetchone()
    if row is not None and (row[0] or row[1] == "on"):
        conn.close()
        raise ConnectionFailed(
            "This server, or this role's sessions, can only read: no statement can be tried here.",
            state="Nothing was changed.",
            do="Measure on the primary, or rehearse on a scratch server, without --on-target.",
        )

    def nobody() -> Conn:
        raise FerryError("What cannot run in a transaction is not measured on the target.")

    conn.cursor_factory = TracedCursor
    conn.tracer = Tracer(nobody, alone=False)
    return conn


def _task(conn: TracedConnection, tracer: Tracer, task: Task, wanted: OnTarget, say: Say) -> TaskRehearsed:
    def not_measured(why: str) -> TaskRehearsed:
        return TaskRehearsed(task.id, Outcome.NOT_REHEARSED, why, Outcome.NOT_REHEARSED)

    if wanted.only and task.id != wanted.only:
        return not_measured("not asked for")
    if task.kind is not Kind.SQL or task.file is None:
        return not_measured("no file: what the engine derives is measured on a scratch server only")
    try:
        todo = pieces(task.file, accept_unknown=True)
    except FerryError as error:
        return TaskRehearsed(task.id, Outcome.FAILED, str(error), Outcome.FAILED)
    left_out = [f"{_words(piece)}: {why}" for piece in todo if (why := refusal(piece))]
    start = time.monotonic()
    outcome, why = _rolled_back(conn, tracer, task, [p for p in todo if not refusal(p)], wanted)
    ms = round((time.monotonic() - start) * 1000, 1)
    statements = tracer.of(task.id)
    words = [why or f"{several(len(statements), 'statement')} measured and rolled back"]
    words += [f"could not be measured: {one}" for one in left_out]
    say(f"{task.id} {task.title}: {'; '.join(words)}")
    return TaskRehearsed(task.id, outcome, "; ".join(words), outcome, ms, statements=statements)


def refusal(piece: Piece) -> str:
    """Why a statement is not run on the target; empty where it may be, since a rollback undoes it."""
    if not piece.transactional:
        return "it cannot run in a transaction"
    try:
        return _OUTSIDE.get(which(postgast.parse(piece.sql).stmts[0].stmt), "")
    except postgast.PgQueryError:
        return "it is not understood"


def _rolled_back(
    conn: TracedConnection, tracer: Tracer, task: Task, todo: list[Piece], wanted: OnTarget
) -> tuple[Outcome, str]:
    """Run the statements in one transaction that is rolled back whatever happens."""
    deadline = time.monotonic() + wanted.most_ms / 1000
    tracer.at_work(task.id, UP, {piece.sql.strip(): piece.ordinal for piece in todo})
    current = todo[0] if todo else None
    try:
        with conn.transaction(force_rollback=True):
            conn.execute("SELECT set_config('lock_timeout', %s, true)", (str(wanted.lock_timeout_ms),))
            for piece in todo:
                current = piece
                left = int((deadline - time.monotonic()) * 1000)
                if left <= 0:
                    return Outcome.FAILED, f"stopped before {_words(piece)}: the transaction lasted {wanted.most_ms} ms"
                conn.execute("SELECT set_config('statement_timeout', %s, true)", (str(left),))
                # binary: the extended protocol, in which no second statement can hide
                conn.execute(raw(piece.sql), binary=True)
    except psycopg.errors.LockNotAvailable:
        return Outcome.FAILED, f"{_words(current)} did not get its lock in {wanted.lock_timeout_ms} ms"
    except psycopg.errors.QueryCanceled:
        return Outcome.FAILED, f"{_words(current)} was still running after {wanted.most_ms} ms in all"
    except psycopg.Error as error:
        if conn.closed:
            raise ConnectionFailed(
                f"The connection was lost in {_words(current)}.",
                state="The server rolled it back; nothing was changed.",
                do="See the server's log, then measure again.",
            ) from None
        return Outcome.FAILED, f"{_words(current)} failed ({error.sqlstate}): {first_line(error)}"
    finally:
        tracer.task_id = ""
    return Outcome.NOT_REHEARSED, ""


def _words(piece: Piece | None) -> str:
    return " ".join(piece.sql.split())[:60] if piece else "the transaction"
