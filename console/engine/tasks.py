"""What each kind of task does, forward and back."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from console.engine import checks, contract, dropped_rows, dual_write, sync_state, upkeep
from console.engine.backfill import Backfill
from console.engine.compare import compare
from console.engine.contract import limits
from console.engine.ddl import run_pieces
from console.engine.files import pieces, sets_session
from console.engine.half_done import HalfDone, half_done
from console.engine.ledgers.standing import writer
from console.engine.session import Session, retry_lost
from console.engine.unknown import accepted_by, refuse_unknown
from console.errors import FerryError
from console.journal import comparisons, runs
from console.journal.runs import Place, TaskRow
from console.journal.state import TaskStatus
from console.plan.model import Kind, Mapping, SourceFile, Task

CONFIRMED = "confirmed by "
STANDS = (TaskStatus.COMPLETED, TaskStatus.BEFORE)


class GateWaits(FerryError):
    """A person has to confirm something before the run goes on."""

    exit_code = 6


def perform(session: Session, task: Task, row: TaskRow, *, exports: Path) -> None:
    """Do the task, then its guards. May be called again after any interruption.

    Raises StepFailed, Interrupted, LeaseLost, GateWaits.
    """
    forward = _forward(exports)[task.kind]
    forward(session, task, row)
    if task.guards:
        checks.run_checks(session, task, task.guards)


def _forward(exports: Path) -> dict[Kind, Callable[[Session, Task, TaskRow], None]]:
    return {
        Kind.SQL: lambda session, task, row: _run_file(session, task, row, "up", task.file),
        Kind.SYNC: lambda session, task, _: retry_lost(session, lambda: dual_write.sync_on(session, task)),
        Kind.BACKFILL: _backfill,
        Kind.CHECK: lambda session, task, _: _check(session, task),
        Kind.SWITCH: lambda session, task, _: retry_lost(session, lambda: _switch(session, task)),
        Kind.DRAIN: lambda session, task, _: retry_lost(session, lambda: contract.drain(session, task)),
        Kind.RETIRE: lambda session, task, _: retry_lost(session, lambda: contract.retire(session, task)),
        Kind.PURGE: lambda session, task, _: retry_lost(session, lambda: contract.purge(session, task, exports)),
        Kind.GATE: lambda session, task, _: _gate(session, task),
    }


def _run_file(
    session: Session, task: Task, row: TaskRow, direction: str, file: SourceFile | None, *, half: HalfDone | None = None
) -> None:
    if file is None:
        return
    place = Place(session.run_id, task.id, row.round, direction)
    if direction == "up":  # a way back that was accepted then is not refused when it is needed
        refuse_unknown((task,))
    found = pieces(file, accept_unknown=accepted_by(task))
    note = writer(session.conn, session.plan, task, direction)
    try:
        run_pieces(session, place, found, limits(task), partial=half, closing=note)
    finally:
        if any(sets_session(piece) for piece in found):  # what a file sets for its session ends with the file
            session.drop()
    retry_lost(session, lambda: upkeep.refresh(session, task))


def _half_done(session: Session, task: Task, row: TaskRow) -> HalfDone | None:
    """What was not done of a task that is taken back before it was complete."""
    if row.status in STANDS or task.file is None:
        return None
    done = runs.statements(session.conn, Place(session.run_id, task.id, row.round, "up"))
    return half_done(pieces(task.file, accept_unknown=accepted_by(task)), done)


def _backfill(session: Session, task: Task, row: TaskRow) -> None:
    for mapping in session.mappings(task.mappings):
        retry_lost(session, partial(_copy, session, task, mapping, row.round))


def _copy(session: Session, task: Task, mapping: Mapping, round_: int) -> None:
    Backfill(session, task, mapping, round_).run()


def _switch(session: Session, task: Task) -> None:
    for mapping in session.mappings(task.mappings):
        upkeep.cover(session, task, mapping)
    contract.switch(session, task)


def _check(session: Session, task: Task) -> None:
    results = []
    for mapping in session.mappings(task.mappings):
        began = retry_lost(session, lambda: comparisons.now(session.conn))
        verdict = retry_lost(session, partial(compare, session, task, mapping))
        with session.fenced() as conn:
            comparisons.save(
                conn, mapping.id, task.id, session.operator, began_at=began, ok=verdict.ok,
                faults=dict(verdict.faults), words=verdict.words(), ms=verdict.ms, rows=verdict.samples,
            )  # fmt: skip
        session.event("check", f"{mapping.id}: {verdict.words()}", task_id=task.id)
        retry_lost(session, partial(upkeep.cover, session, task, mapping))
        faults = sync_state.faults(session.conn, mapping, session.old_table(mapping))
        results += [checks.of_comparison(mapping, verdict), checks.of_triggers(mapping, faults)]
    checks.run_checks(session, task, task.checks, results)
    runs.task_note(session.conn, session.run_id, task.id, "passed")


def confirmed(session: Session, task: Task) -> bool:
    """Whether a person confirmed the gate."""
    row = session.conn.execute(
        "SELECT note FROM pgferry.task WHERE run_id = %s AND task_id = %s", (session.run_id, task.id)
    ).fetchone()
    return bool(row and row[0].startswith(CONFIRMED))


def _gate(session: Session, task: Task) -> None:
    if not confirmed(session, task):
        raise GateWaits(f"Waits for a person to confirm: {task.question}")
    checks.run_checks(session, task, task.checks)


def _undo_file(session: Session, task: Task, row: TaskRow, *, even_if_lost: bool) -> None:
    lost = retry_lost(session, lambda: dropped_rows.refuse_loss(session.conn, session.plan, task, accept=even_if_lost))
    _run_file(session, task, row, "down", task.down, half=_half_done(session, task, row))
    if lost:
        session.event("ddl", f"lost, as accepted: {lost}", task_id=task.id)


def take_back(session: Session, task: Task, row: TaskRow, *, even_if_lost: bool) -> None:
    """Undo the task, also one that stopped half-way; may be called again after any interruption."""
    if task.kind is Kind.SQL:
        _undo_file(session, task, row, even_if_lost=even_if_lost)
        return
    back: dict[Kind, Callable[[], None]] = {
        Kind.SYNC: lambda: dual_write.sync_off(session, task, accept=even_if_lost),
        Kind.BACKFILL: lambda: dual_write.empty_new(
            session, task, complete=row.status is TaskStatus.COMPLETED, accept=even_if_lost
        ),
        Kind.SWITCH: lambda: contract.set_leads(session, task, task.leads_back),
        Kind.RETIRE: lambda: contract.restore(session, task),
    }
    if task.kind in back:
        retry_lost(session, back[task.kind])
