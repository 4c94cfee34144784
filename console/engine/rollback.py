"""What going back means before it is done: the steps in order, what is lost, what stays, how long."""

from __future__ import annotations

import json
from collections.abc import Mapping as MappingOf

from console.engine import contract, sync
from console.engine.files import pieces
from console.engine.unknown import accepted_by
from console.errors import Refused
from console.journal.connect import Conn
from console.journal.runs import TaskRow
from console.journal.state import RollbackPreview, RollbackStep, TaskStatus
from console.plan.model import Direction, Kind, Mapping, Plan, Task
from console.plan.order import rollback_order

TOUCHED = (TaskStatus.COMPLETED, TaskStatus.IN_PROGRESS, TaskStatus.FAILED, TaskStatus.BLOCKED)


def to_undo(plan: Plan, rows: MappingOf[str, TaskRow], to: str) -> tuple[Task, ...]:
    """The tasks that going back to just before ``to`` undoes, in that order. Raises UsageError for an unknown target.

    What was done before this run is undone only where a task is named: the start of the run lies after it.
    """
    named = to in {task.id for task in plan.tasks}
    touched = (*TOUCHED, TaskStatus.BEFORE) if named else TOUCHED
    return tuple(task for task in rollback_order(plan, to) if task.id in rows and rows[task.id].status in touched)


def refuse_impossible(tasks: tuple[Task, ...], rows: MappingOf[str, TaskRow]) -> None:
    """Raise Refused if one of the tasks has no way back."""
    for task in tasks:
        if task.irreversible and rows[task.id].status in (TaskStatus.COMPLETED, TaskStatus.BEFORE):
            raise Refused(
                f"{task.id} {task.title} has no way back: {task.irreversible}.",
                state="Nothing was changed.",
                do="Choose a point after it.",
            )


def preview(conn: Conn, plan: Plan, run_id: int, rows: MappingOf[str, TaskRow], to: str) -> RollbackPreview:
    """What rolling back to just before ``to`` (or ``start``) would do."""
    tasks = to_undo(plan, rows, to)
    impossible = ""
    try:
        refuse_impossible(tasks, rows)
    except Refused as error:
        impossible = str(error)
    seconds = _past_seconds(conn, run_id)
    steps = tuple(
        RollbackStep(task.id, words(plan, task), statements(plan, task), _estimate(task, seconds)) for task in tasks
    )
    loses = _loses(conn, {id_ for task in tasks if _empties(task) for id_ in task.mappings})
    kept = [t.id for t in plan.tasks if t.id in rows and rows[t.id].status is TaskStatus.COMPLETED and t not in tasks]
    known = [step.seconds for step in steps if step.seconds is not None]
    return RollbackPreview(
        to=to,
        steps=steps,
        loses=loses,
        keeps=(f"{len(kept)} tasks, up to {kept[-1]}",) if kept else (),
        facts=_facts(conn, plan, tasks),
        impossible=impossible,
        seconds=sum(known) if known else None,
        needs_typing=conn.info.dbname if loses and not impossible else "",
    )


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
        Kind.BACKFILL: f"empty {news}, after carrying what only it holds back to {olds}",
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
    if task.kind is Kind.SYNC:
        made = [
            *sync.drop_triggers(mapping, task.direction, mapping.old),
            *sync.drop_functions(mapping, task.direction),
        ]
        return [statement.as_string(None) for statement in made]
    if task.kind is Kind.BACKFILL:
        return [contract.truncate(mapping).as_string(None)]
    if task.kind is Kind.RETIRE:
        return [contract.move_back(mapping, plan.archive_schema).as_string(None)]
    return []


def _past_seconds(conn: Conn, run_id: int) -> dict[str, float]:
    """How long each task's statements took forward, waits for locks included."""
    rows = conn.execute(
        "SELECT task_id, sum(ms + lock_wait_ms) / 1000 FROM pgferry.statement WHERE run_id = %s AND direction = 'up'"
        " GROUP BY 1",
        (run_id,),
    ).fetchall()
    return {task_id: float(seconds) for task_id, seconds in rows}


def _estimate(task: Task, past: dict[str, float]) -> float | None:
    if task.kind is Kind.SQL:
        return past.get(task.id)
    if task.kind in (Kind.CHECK, Kind.DRAIN, Kind.GATE, Kind.SWITCH):
        return 0.0
    return None


def _empties(task: Task) -> bool:
    """Whether undoing the task empties the new table."""
    return task.kind is Kind.BACKFILL or (task.kind is Kind.SYNC and Direction.FORWARD in task.direction.ways)


def _loses(conn: Conn, ids: set[str]) -> tuple[str, ...]:
    """What the old shape refused, in words, with a few keys of each reason."""
    rows = conn.execute(
        "SELECT mapping, reason, count(*), (array_agg(key ORDER BY key))[1:3] FROM pgferry.reject"
        " WHERE direction = 'reverse' AND mapping = ANY (%s) GROUP BY 1, 2 ORDER BY 1, 2",
        (sorted(ids),),
    ).fetchall()
    return tuple(
        f"{count:,} rows of {mapping} that the old shape cannot hold: {reason}, for instance"
        f" {', '.join(json.dumps(key, ensure_ascii=False) for key in keys)}"
        for mapping, reason, count, keys in rows
    )


def _facts(conn: Conn, plan: Plan, tasks: tuple[Task, ...]) -> tuple[str, ...]:
    facts = []
    for task in tasks:
        if task.kind is Kind.SYNC and task.direction is not Direction.FORWARD:
            for mapping in (plan.mapping(id_) for id_ in task.mappings):
                count = contract.writes_through_new(conn, mapping)
                facts.append(f"{count:,} writes through {mapping.new} are already in {mapping.old}: nothing to copy")
        if task.kind is Kind.BACKFILL:
            for mapping in (plan.mapping(id_) for id_ in task.mappings):
                facts.append(
                    f"rows that only {mapping.new} holds are looked for, and carried to {mapping.old}, before it is"
                    " emptied; if one cannot be, nothing is emptied"
                )
    rejects = conn.execute("SELECT count(*) FROM pgferry.reject WHERE direction = 'forward'").fetchone()
    if rejects and rejects[0] and tasks:
        facts.append(f"{rejects[0]:,} rows the new shape refused stay in the old tables")
    return tuple(facts)
