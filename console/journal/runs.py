"""Runs, their tasks and statements: what the runner writes as it goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg.types.json import Jsonb

from console.journal import approvals, lease
from console.journal.connect import Conn
from console.journal.state import RunStatus, TaskStatus
from console.plan.model import Plan, Task


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run's intention: which plan, where to, how far."""

    id: int
    plan_id: str
    plan_sha256: str
    status: RunStatus
    until: str
    back_to: str
    operator: str


@dataclass(frozen=True, slots=True)
class TaskRow:
    """A task's place in its run. ``round`` grows by one each time the task is taken back."""

    id: str
    status: TaskStatus
    round: int
    position: int


def create(conn: Conn, plan: Plan, operator: str, before: Mapping[str, str] | None = None) -> int:
    """Begin a run of the plan: its row and a row for each task; returns the run's id.

    ``before``: the tasks that were done before this run, with a note for each.

    Raises Refused while another run of the plan, or one that changes the same tables, is unfinished.
    """
    before = before or {}
    tables = sorted({str(name) for mapping in plan.mappings for name in (mapping.old, mapping.new)})
    with conn.transaction():
        lease.one_at_a_time(conn)
        lease.refuse_others(conn, 0, plan.id, tables)
        row = conn.execute(
            "INSERT INTO pgferry.run (plan_id, plan_title, plan_sha256, operator, tables) VALUES (%s, %s, %s, %s, %s)"
            " RETURNING id",
            (plan.id, plan.title, plan.sha256, operator, tables),
        ).fetchone()
        assert row is not None
        run_id = int(row[0])
        titles = {phase.id: phase.title for phase in plan.phases}
        with conn.cursor() as cur:
            cur.executemany(
                "INSERT INTO pgferry.task (run_id, task_id, position, phase_id, phase_title, title, kind, irreversible,"
                " depends, estimate_minutes, sha256, status, note)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
                [
                    (
                        run_id, task.id, position, task.phase, titles[task.phase], task.title, task.kind.value,
                        task.irreversible, list(task.depends), task.minutes,
                        task.file.sha256 if task.file else "",
                        (TaskStatus.BEFORE if task.id in before else TaskStatus.PENDING).value, before.get(task.id, ""),
                    )
                    for position, task in enumerate(plan.tasks)
                ],
            )  # fmt: skip
        approvals.keep_plan(conn, plan)
    return run_id


def standing(conn: Conn, plan_id: str) -> dict[str, tuple[int, str]]:
    """The tasks of a plan that stand, by id: the run that did them, and the digest of the file they ran."""
    rows = conn.execute(
        "SELECT task_id, run_id, sha256 FROM (SELECT DISTINCT ON (task_id) task_id, run_id, sha256, t.status"
        " FROM pgferry.task t JOIN pgferry.run r ON r.id = t.run_id WHERE r.plan_id = %s"
        " ORDER BY task_id, run_id DESC) newest WHERE status = ANY (%s)",
        (plan_id, [TaskStatus.COMPLETED.value, TaskStatus.BEFORE.value]),
    ).fetchall()
    return {row[0]: (row[1], row[2]) for row in rows}


def latest(conn: Conn, plan_id: str | None = None) -> RunRow | None:
    """The newest run, of one plan or of any; None without one."""
    row = conn.execute(
        "SELECT id, plan_id, plan_sha256, status, until, back_to, operator FROM pgferry.run"
        " WHERE %(plan)s::text IS NULL OR plan_id = %(plan)s ORDER BY id DESC LIMIT 1",
        {"plan": plan_id},
    ).fetchone()
    return None if row is None else _run(row)


def get(conn: Conn, run_id: int) -> RunRow | None:
    """The run with this id, None when there is none."""
    row = conn.execute(
        "SELECT id, plan_id, plan_sha256, status, until, back_to, operator FROM pgferry.run WHERE id = %s", (run_id,)
    ).fetchone()
    return None if row is None else _run(row)


def _run(row: tuple[Any, ...]) -> RunRow:
    return RunRow(row[0], row[1], row[2], RunStatus(row[3]), row[4], row[5], row[6])


def set_goal(
    conn: Conn, run_id: int, status: RunStatus, *, until: str | None = None, back_to: str | None = None
) -> None:
    """Record what the run is to do next; it survives the runner."""
    conn.execute(
        "UPDATE pgferry.run SET status = %s, until = coalesce(%s, until), back_to = coalesce(%s, back_to), error = '',"
        " finished_at = NULL, started_at = coalesce(started_at, clock_timestamp()) WHERE id = %s",
        (status.value, until, back_to, run_id),
    )


def set_status(
    conn: Conn, run_id: int, status: RunStatus, error: str = "", *, after: tuple[RunStatus, ...] = tuple(RunStatus)
) -> bool:
    """Record where the run stands; an end state also records the time.

    Only if it now stands at one of ``after``: an operator's newer wish is not overwritten. Returns whether it was so.
    """
    ended = status in (RunStatus.DONE, RunStatus.ROLLED_BACK, RunStatus.FAILED)
    done = conn.execute(
        "UPDATE pgferry.run SET status = %s, error = %s, finished_at = CASE WHEN %s THEN clock_timestamp() END"
        " WHERE id = %s AND status = ANY (%s)",
        (status.value, error, ended, run_id, [one.value for one in after]),
    )
    return done.rowcount == 1


def tasks(conn: Conn, run_id: int) -> dict[str, TaskRow]:
    """Every task of the run, by id, in order."""
    rows = conn.execute(
        "SELECT task_id, status, round, position FROM pgferry.task WHERE run_id = %s ORDER BY position", (run_id,)
    ).fetchall()
    return {row[0]: TaskRow(row[0], TaskStatus(row[1]), row[2], row[3]) for row in rows}


def task_started(conn: Conn, run_id: int, task_id: str, operator: str) -> None:
    """The task is in progress; its first start is kept."""
    conn.execute(
        "UPDATE pgferry.task SET status = 'in progress', operator = %s, error = '', blocked_on = '',"
        " started_at = coalesce(started_at, clock_timestamp()), finished_at = NULL, attempts = attempts + 1"
        " WHERE run_id = %s AND task_id = %s",
        (operator, run_id, task_id),
    )


def task_ended(conn: Conn, run_id: int, task_id: str, status: TaskStatus, worked_s: float, *, error: str = "") -> None:
    """The task stopped with this status after ``worked_s`` more seconds of work."""
    conn.execute(
        "UPDATE pgferry.task SET status = %s, error = %s, worked = worked + make_interval(secs => %s),"
        " finished_at = CASE WHEN %s THEN clock_timestamp() END WHERE run_id = %s AND task_id = %s",
        (status.value, error, worked_s, status is not TaskStatus.IN_PROGRESS, run_id, task_id),
    )


def task_taken_back(conn: Conn, run_id: int, task_id: str) -> None:
    """The task was rolled back: its next start is a new round."""
    conn.execute(
        "UPDATE pgferry.task SET status = 'rolled back', round = round + 1, started_at = NULL, note = '', error = '',"
        " blocked_on = '', worked = '0', finished_at = clock_timestamp() WHERE run_id = %s AND task_id = %s",
        (run_id, task_id),
    )


def task_note(conn: Conn, run_id: int, task_id: str, note: str) -> None:
    """A short fact for the task's line."""
    conn.execute("UPDATE pgferry.task SET note = %s WHERE run_id = %s AND task_id = %s", (note, run_id, task_id))


def task_status(conn: Conn, run_id: int, task_id: str, status: TaskStatus, *, blocked_on: str = "") -> None:
    """Set a status alone: blocked (on what) or deferred."""
    conn.execute(
        "UPDATE pgferry.task SET status = %s, blocked_on = %s WHERE run_id = %s AND task_id = %s",
        (status.value, blocked_on, run_id, task_id),
    )


@dataclass(frozen=True, slots=True)
class Place:
    """Which statement: the run, the task, its round, up or down."""

    run_id: int
    task_id: str
    round: int
    direction: str


def statements(conn: Conn, place: Place) -> dict[int, str]:
    """Status by ordinal of the statements that were begun here: running, waiting for a lock, done, failed, skipped."""
    rows = conn.execute(
        "SELECT ordinal, status FROM pgferry.statement WHERE run_id = %s AND task_id = %s AND round = %s"
        " AND direction = %s",
        (place.run_id, place.task_id, place.round, place.direction),
    ).fetchall()
    return dict(rows)


def statement_begun(conn: Conn, place: Place, ordinal: int, sql: str, *, before: str = "") -> None:
    """A statement is about to run. ``before``: what of its kind stood there when it first began; kept ever after."""
    conn.execute(
        "INSERT INTO pgferry.statement (run_id, task_id, round, direction, ordinal, sql, status, before)"
        " VALUES (%s, %s, %s, %s, %s, %s, 'running', %s) ON CONFLICT (run_id, task_id, round, direction, ordinal)"
        " DO UPDATE SET status = 'running', error = ''",
        (place.run_id, place.task_id, place.round, place.direction, ordinal, sql, before),
    )


def statement_before(conn: Conn, place: Place, ordinal: int) -> str | None:
    """What stood there when the statement first began; None when it never did."""
    row = conn.execute(
        "SELECT before FROM pgferry.statement WHERE run_id = %s AND task_id = %s AND round = %s AND direction = %s"
        " AND ordinal = %s",
        (place.run_id, place.task_id, place.round, place.direction, ordinal),
    ).fetchone()
    return None if row is None else str(row[0])


def statement_status(
    conn: Conn, place: Place, ordinal: int, status: str, *, lock_wait_ms: float = 0, ms: float = 0, error: str = "",
    attempts: int = 0,
) -> None:  # fmt: skip
    """What became of a statement; times in milliseconds, ``lock_wait_ms`` and ``attempts`` are totals."""
    conn.execute(
        "UPDATE pgferry.statement SET status = %s, lock_wait_ms = %s, ms = %s, error = %s, attempts = %s,"
        " finished_at = clock_timestamp()"
        " WHERE run_id = %s AND task_id = %s AND round = %s AND direction = %s AND ordinal = %s",
        (status, lock_wait_ms, ms, error, attempts, place.run_id, place.task_id, place.round, place.direction, ordinal),
    )


def statement_waits(conn: Conn, place: Place, ordinal: int, lock_wait_ms: float, attempts: int) -> None:
    """A statement stood aside for another session and is tried again; the figures are totals."""
    conn.execute(
        "UPDATE pgferry.statement SET status = 'waiting for a lock', lock_wait_ms = %s, attempts = %s"
        " WHERE run_id = %s AND task_id = %s AND round = %s AND direction = %s AND ordinal = %s",
        (lock_wait_ms, attempts, place.run_id, place.task_id, place.round, place.direction, ordinal),
    )


def save_check(
    conn: Conn, run_id: int, task: Task, check_id: str, title: str, severity: str, *, ok: bool, expected: str,
    actual: str, ms: float, rows: list[dict[str, str]],
) -> None:  # fmt: skip
    """Keep a check's result; the newest one of a check is the one shown."""
    conn.execute(
        "INSERT INTO pgferry.check_result (run_id, task_id, check_id, title, severity, ok, expected, actual, ms, rows)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (run_id, task.id, check_id, title, severity, ok, expected, actual, ms, Jsonb(rows)),
    )


def set_live(conn: Conn, run_id: int, name: str, payload: Any) -> None:
    """Replace one live fact of the run (progress, sessions that matter)."""
    conn.execute(
        "INSERT INTO pgferry.live (run_id, name, payload) VALUES (%s, %s, %s) ON CONFLICT (run_id, name)"
        " DO UPDATE SET payload = excluded.payload, at = clock_timestamp()",
        (run_id, name, Jsonb(payload)),
    )


def clear_live(conn: Conn, run_id: int, name: str) -> None:
    """Forget one live fact."""
    conn.execute("DELETE FROM pgferry.live WHERE run_id = %s AND name = %s", (run_id, name))
