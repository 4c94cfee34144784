"""What going back means before it is done: the steps in order, what is lost, what stays, how long."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping as MappingOf

from console.engine import contract, rollback_rows, rollback_times, sync, way_back
from console.engine.facts import archived
from console.engine.files import pieces
from console.engine.sync import Runnable
from console.engine.unknown import accepted_by
from console.errors import Refused
from console.journal.connect import Conn
from console.journal.runs import TaskRow
from console.journal.state import RollbackPreview, RollbackStep, TaskStatus
from console.plan.model import Direction, Kind, Mapping, Plan, Task
from console.plan.order import rollback_order
from console.text import several

TOUCHED = (TaskStatus.COMPLETED, TaskStatus.IN_PROGRESS, TaskStatus.FAILED, TaskStatus.BLOCKED)


def to_undo(plan: Plan, rows: MappingOf[str, TaskRow], to: str) -> tuple[Task, ...]:
    """The tasks that going back to just before ``to`` undoes, in that order. Raises UsageError for an unknown target.

    What was done before this run is undone only where a task is named: the start of the run lies after it.
    """
    named = to in {task.id for task in plan.tasks}
    touched = (*TOUCHED, TaskStatus.BEFORE) if named else TOUCHED
    return tuple(task for task in rollback_order(plan, to) if task.id in rows and rows[task.id].status in touched)


def refuse_impossible(conn: Conn, plan: Plan, tasks: tuple[Task, ...], rows: MappingOf[str, TaskRow]) -> None:
    """Raise Refused if one of the tasks has no way back, or is a purge that dropped a table before it stopped."""
    for task in tasks:
        if task.kind is Kind.PURGE and rows[task.id].status in (TaskStatus.IN_PROGRESS, TaskStatus.FAILED):
            gone = contract.purged(conn, plan, task)
            if gone:
                raise Refused(
                    f"{task.id} {task.title} has dropped {', '.join(gone)} already: {task.irreversible}.",
                    state="Nothing was changed.",
                    do="Resume the purge, or choose a point after it.",
                )
        if task.irreversible and rows[task.id].status in (TaskStatus.COMPLETED, TaskStatus.BEFORE):
            raise Refused(
                f"{task.id} {task.title} has no way back: {task.irreversible}.",
                state="Nothing was changed.",
                do="Choose a point after it.",
            )


def preview(
    conn: Conn,
    plan: Plan,
    run_id: int,
    rows: MappingOf[str, TaskRow],
    to: str,
    *,
    reading: rollback_times.Reading | None = None,
) -> RollbackPreview:
    """What rolling back to just before ``to`` (or ``start``) would do; ``reading`` tells how long files take.

    Nothing is written and no lock is waited for; rows are counted only as far as that takes no time.
    """
    tasks = to_undo(plan, rows, to)
    impossible = ""
    try:
        refuse_impossible(conn, plan, tasks, rows)
    except Refused as error:
        impossible = str(error)
    times = rollback_times.expected(conn, plan, run_id, tasks, reading)
    steps = tuple(
        RollbackStep(
            task.id,
            _half_done_words(task, rows[task.id]) + words(plan, task),
            statements(plan, task),
            times[task.id].seconds,
            times[task.id].basis,
        )
        for task in tasks
    )
    found = rollback_rows.look(conn, plan, run_id, tasks)
    kept = [t.id for t in plan.tasks if t.id in rows and rows[t.id].status is TaskStatus.COMPLETED and t not in tasks]
    return RollbackPreview(
        to=to,
        steps=steps,
        loses=found.loses,
        keeps=(f"{several(len(kept), 'task')}, up to {kept[-1]}",) if kept else (),
        facts=found.facts,
        impossible=impossible,
        seconds=total(steps),
        needs_typing=conn.info.dbname if found.loses and not impossible else "",
        written=found.written,
        at_risk=found.at_risk,
        goes=found.goes,
        before=found.before,
        at=found.at,
    )


def total(steps: Iterable[RollbackStep]) -> float | None:
    """The steps' seconds together, those of unknown time left out; None where none is known."""
    known = [step.seconds for step in steps if step.seconds is not None]
    return sum(known) if known else None


def _half_done_words(task: Task, row: TaskRow) -> str:
    whole = row.status in (TaskStatus.COMPLETED, TaskStatus.BEFORE)
    return "" if whole or task.kind in (Kind.CHECK, Kind.DRAIN, Kind.GATE) else "half done: "


def words(plan: Plan, task: Task) -> str:
    """What undoing the task does, in words."""
    mappings = [plan.mapping(id_) for id_ in task.mappings]
    news, olds = ", ".join(str(m.new) for m in mappings), ", ".join(str(m.old) for m in mappings)
    if task.kind is Kind.SYNC:
        pairs = {
            Direction.FORWARD: f"{olds} to {news}",
            Direction.REVERSE: f"{news} to {olds}",
            Direction.BOTH: f"{olds} to {news} and back",
        }[task.direction]
        return f"stop carrying writes from {pairs}"
    return {
        Kind.SQL: f"run {task.down.shown}" if task.down else "nothing",
        Kind.BACKFILL: f"empty {news}, what only it holds carried to {olds} first",
        Kind.CHECK: "nothing to undo: it only looked",
        Kind.SWITCH: f"applications should use {task.leads_back} again",
        Kind.DRAIN: "nothing to undo: it only waited",
        Kind.RETIRE: f"{olds} back from schema {plan.archive_schema}",
        Kind.PURGE: "cannot be undone",
        Kind.GATE: "nothing to undo",
    }[task.kind]


def statements(plan: Plan, task: Task) -> tuple[str, ...]:
    """The statements that undoing the task runs."""
    if task.kind is Kind.SQL and task.down is not None:
        return tuple(piece.sql for piece in pieces(task.down, accept_unknown=accepted_by(task)))
    texts: list[str] = []
    for mapping in reversed([plan.mapping(id_) for id_ in task.mappings]):
        texts += _derived(plan, task, mapping)
    return tuple(texts)


def _derived(plan: Plan, task: Task, mapping: Mapping) -> list[str]:
    """What the engine runs on the applications' tables, and on the journal where that is all there is."""
    made: list[Runnable] = []
    if rollback_times.empties(task):
        made += [way_back.lock(name, "ACCESS EXCLUSIVE") for name in (mapping.old, mapping.new)]
        made.append(contract.truncate(mapping))
    if task.kind is Kind.SYNC:
        made += sync.drop_triggers(mapping, task.direction, mapping.old)
        made += sync.drop_functions(mapping, task.direction)
    elif task.kind is Kind.RETIRE:
        there = archived(mapping.old, plan.archive_schema)
        made += [
            way_back.lock(mapping.new, "SHARE ROW EXCLUSIVE"),
            way_back.lock(there, "ACCESS EXCLUSIVE"),
            contract.move_back(mapping, plan.archive_schema),
        ]
    elif task.kind is Kind.SWITCH:
        made.append(contract.lead_statement(mapping, task.leads_back))
    return [statement.as_string(None) for statement in made]
