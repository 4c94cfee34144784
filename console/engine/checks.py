"""The plan's checks: queries with an expectation, declared kinds, and programs that print results as JSON lines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

import psycopg

from console.engine import check_kinds, latency
from console.engine.check_kinds import SAMPLES, Found
from console.engine.derive import raw
from console.engine.session import Session, retry_lost
from console.engine.verdict import Verdict
from console.errors import PlanError, StepFailed
from console.journal import latencies, runs
from console.journal.connect import Conn
from console.journal.latencies import Figures
from console.plan.check_kinds import Latency, Quiet, Spec
from console.plan.model import Check, Mapping, Severity, Task
from console.sql.split import without_control
from console.text import plain

PROGRAM_SECONDS = 900
SCRIPT_LOCK_TIMEOUT_MS = 1000


@dataclass(frozen=True, slots=True)
class Result:
    """A check's outcome. ``rows`` are up to 20 sample rows as texts."""

    check_id: str
    title: str
    severity: Severity
    ok: bool
    expected: str
    actual: str
    ms: float
    rows: tuple[dict[str, str], ...] = ()

    @property
    def compared(self) -> bool:
        """Whether it is a comparison of every row."""
        return self.check_id.startswith("compare.")


def judge(expect: str, rows: list[tuple[Any, ...]], more: bool) -> tuple[bool, str]:
    """(ok, actual in words) of a query's rows against its expectation."""
    count = f"{len(rows)}{' or more' if more else ''} row{'' if len(rows) == 1 else 's'}"
    if expect == "report":
        return True, count
    if expect == "zero rows":
        return not rows, count
    if expect == "some rows":
        return bool(rows), count
    first = rows[0][0] if rows and rows[0] else None
    if expect == "true":
        return first is True, str(first)
    comparison, _, wanted = expect.removeprefix("value").strip().partition(" ")
    return _compare(comparison, first, wanted.strip()), str(first)


def _compare(comparison: str, actual: Any, wanted: str) -> bool:
    if actual is None:
        return False
    try:
        left, right = Decimal(str(actual)), Decimal(wanted)
    except InvalidOperation:
        return comparison == "=" and str(actual) == wanted
    return {"=": left == right, ">=": left >= right, "<=": left <= right}[comparison]


def run_query(conn: Conn, check: Check, *, statement_timeout_ms: int) -> Result:
    """Run an SQL check in a read-only transaction."""

    def work() -> Found:
        cursor = conn.execute(raw(check.sql))
        rows = cursor.fetchmany(SAMPLES + 1) if cursor.description else []
        names = [column.name for column in cursor.description or ()]
        ok, actual = judge(check.expect, rows[:SAMPLES], len(rows) > SAMPLES)
        samples = tuple({n: _text(v) for n, v in zip(names, row, strict=True)} for row in rows[:SAMPLES])
        return Found(ok, actual, samples)

    return _looked(conn, check, statement_timeout_ms, work)


def run_kind(
    session: Session, check: Check, spec: Spec, *, statement_timeout_ms: int, recording: bool = False
) -> Result:
    """Run a check of a declared kind in a read-only transaction. ``recording``: a latency may become a baseline."""
    conn = session.conn
    if isinstance(spec, Quiet):
        start = time.monotonic()
        return _result(check, check_kinds.quiet(conn, spec, session.wishes.sleep), start)
    if not isinstance(spec, Latency):
        return _looked(conn, check, statement_timeout_ms, lambda: check_kinds.find(conn, session.plan, spec, check.sql))
    before = latencies.baseline(conn, session.run_id, spec.baseline) if spec.baseline else None
    taken: list[Figures] = []

    def work() -> Found:
        measured = latency.measure(conn, session.plan, check, spec)
        taken.append(measured.own)
        return latency.judge(spec, measured, before)

    result = _looked(conn, check, statement_timeout_ms, work)
    if spec.record and recording and taken:
        with session.fenced():
            latencies.record(conn, session.run_id, spec.record, taken[0])
    return result


def _looked(conn: Conn, check: Check, statement_timeout_ms: int, work: Callable[[], Found]) -> Result:
    """``work`` in a read-only transaction of one snapshot; a query that fails is a failed check."""
    start = time.monotonic()
    try:
        with conn.transaction():
            conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            conn.execute(raw(f"SET LOCAL statement_timeout = {int(statement_timeout_ms)}"))
            found = work()
    except psycopg.Error as error:
        if conn.closed or conn.broken:
            raise
        found = Found(False, f"{error.sqlstate}: {plain(str(error).splitlines()[0])}")
    return _result(check, found, start)


def _result(check: Check, found: Found, start: float) -> Result:
    rows = tuple({key: plain(value) for key, value in row.items()} for row in found.rows[:SAMPLES])
    ms = (time.monotonic() - start) * 1000
    return Result(check.id, check.title, check.severity, found.ok, check.expect, plain(found.actual), ms, rows)


def run_script(conn: Conn, check: Check, *, statement_timeout_ms: int, lock_timeout_ms: int) -> Result:
    """Run a script that fails by an error, in a transaction that is always rolled back."""
    start = time.monotonic()
    ok, actual = True, check.expect
    try:
        statements = without_control(check.sql, check.file)
        with conn.transaction(force_rollback=True):
            conn.execute(raw(f"SET LOCAL statement_timeout = {int(statement_timeout_ms)}"))
            conn.execute(raw(f"SET LOCAL lock_timeout = {int(lock_timeout_ms)}"))
            for piece in statements:
                try:
                    conn.execute(raw(piece.sql))
                except psycopg.Error as error:
                    if conn.closed or conn.broken:
                        raise
                    first = plain(str(error).splitlines()[0])
                    ok, actual = False, f"{check.file}:{piece.line}: {error.sqlstate}: {first}"
                    break
    except PlanError as error:
        ok, actual = False, str(error)
    ms = (time.monotonic() - start) * 1000
    return Result(check.id, check.title, check.severity, ok, check.expect, actual, ms)


def _text(value: Any) -> str:
    return "" if value is None else plain(str(value))


def run_program(session: Session, check: Check) -> list[Result]:
    """Run a check program; each JSON line it prints is a result. A program that fails is a failed check."""
    start = time.monotonic()
    root = session.plan.root
    environment = {
        **os.environ,
        "PGFERRY_DSN": session.conninfo,
        "PGAPPNAME": f"pgferry run {session.run_id} check",
        "PYTHONPATH": os.pathsep.join(filter(None, (str(root), os.environ.get("PYTHONPATH", "")))),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    path = (root / check.program).resolve()
    try:
        done = subprocess.run(
            [sys.executable, str(path)], cwd=root, env=environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=PROGRAM_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return [_program_failed(check, f"no result after {PROGRAM_SECONDS} s", start)]
    ms = (time.monotonic() - start) * 1000
    results = []
    for line in done.stdout.splitlines():
        try:
            found = json.loads(line)
            results.append(
                Result(
                    _full_id(check, str(found["id"])), plain(found.get("title", check.title)), check.severity, bool(found["ok"]),
                    plain(str(found.get("expected", ""))), plain(str(found.get("actual", ""))), ms,
                    tuple({str(k): _text(v) for k, v in row.items()} for row in found.get("rows", [])[:SAMPLES]),
                )
            )  # fmt: skip
        except (ValueError, KeyError, TypeError, AttributeError):
            results.append(_program_failed(check, f"printed a line that is no result: {plain(line)[:80]}", start))
    if done.returncode != 0 or not results:
        last = plain(done.stderr.strip().splitlines()[-1]) if done.stderr.strip() else "it printed nothing"
        results.append(_program_failed(check, f"exit code {done.returncode}: {last}", start))
    return results


def _full_id(check: Check, found: str) -> str:
    """A result's id begins with its check's, whether the program writes it or not."""
    return found if found == check.id or found.startswith(f"{check.id}.") else f"{check.id}.{found}"


def _program_failed(check: Check, actual: str, start: float) -> Result:
    ms = (time.monotonic() - start) * 1000
    return Result(check.id, check.title, check.severity, False, "results as JSON lines", actual, ms)


def of_comparison(mapping: Mapping, verdict: Verdict) -> Result:
    """A full comparison as a check's result."""
    return Result(
        check_id=f"compare.{mapping.id}",
        title=f"every row of {mapping.old} against {mapping.new}",
        severity=Severity.ERROR,
        ok=verdict.ok,
        expected="old = new + rejected, every row equal",
        actual=verdict.words(),
        ms=verdict.ms,
        rows=tuple({k: _text(v) for k, v in sample.items()} for sample in verdict.samples),
    )


def of_triggers(mapping: Mapping, faults: list[str]) -> Result:
    """Whether the triggers that are on see every write, as a check's result."""
    return Result(
        check_id=f"sync.{mapping.id}",
        title=f"every write of {mapping.old} and {mapping.new} is carried",
        severity=Severity.ERROR,
        ok=not faults,
        expected="every trigger enabled, on every partition",
        actual="; ".join(faults) or "all of them",
        ms=0.0,
    )


def run_checks(session: Session, task: Task, ids: tuple[str, ...], extra: list[Result] | None = None) -> None:
    """Run checks for a task, keep every result, then raise StepFailed if an error check failed."""
    results = list(extra or [])
    for result in results:
        _save(session, task, result)
    for check_id in ids:
        session.wishes.check()
        check = session.plan.check(check_id)
        found = run_check(session, check, statement_timeout_ms=task.statement_timeout_ms, recording=True)
        for result in found:
            _save(session, task, result)
        results += found
    failed = [r for r in results if not r.ok and r.severity is Severity.ERROR]
    for result in results:
        if not result.ok:
            session.event("check", f"{result.severity}: {result.title}: {result.actual}", task_id=task.id)
    if failed:
        raise StepFailed(
            f"{len(failed)} of {len(results)} checks failed, first: {failed[0].title}: expected {failed[0].expected}, "
            f"found {failed[0].actual}.",
            state="The task's other work stands.",
            do="Look at the rows under Checks, mend them ('pgferry check --rows --repair') and resume, or roll back."
            if any(r.compared for r in failed)
            else "Look at Checks, mend the cause and resume, or roll back.",
        )


def run_check(
    session: Session, check: Check, *, statement_timeout_ms: int = 0, recording: bool = False
) -> list[Result]:
    """One check of the plan, whatever its kind. ``recording``: in a run's task, where a latency may become a baseline."""
    if check.program:
        return run_program(session, check)
    if check.script:
        return [
            retry_lost(
                session,
                lambda: run_script(
                    session.conn,
                    check,
                    statement_timeout_ms=statement_timeout_ms,
                    lock_timeout_ms=SCRIPT_LOCK_TIMEOUT_MS,
                ),
            )
        ]
    spec = check.spec
    if spec is None:
        return [retry_lost(session, lambda: run_query(session.conn, check, statement_timeout_ms=statement_timeout_ms))]
    return [
        retry_lost(
            session,
            lambda: run_kind(session, check, spec, statement_timeout_ms=statement_timeout_ms, recording=recording),
        )
    ]


def _save(session: Session, task: Task, result: Result) -> None:
    runs.save_check(
        session.conn, session.run_id, task, result.check_id, result.title, result.severity.value, ok=result.ok,
        expected=result.expected, actual=result.actual, ms=result.ms, rows=[dict(row) for row in result.rows],
    )  # fmt: skip
