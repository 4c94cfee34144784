"""Runs over a directory of migrations: which are left, when a new run begins, what may keep it from beginning."""

from __future__ import annotations

from dataclasses import replace

from console.engine import rollback
from console.engine.files import pieces
from console.engine.ledgers.standing import only_pending, standing
from console.engine.tasks import STANDS
from console.engine.unknown import refuse_unknown
from console.errors import PlanError, Refused
from console.journal import events, lease, runs, schema
from console.journal.connect import Conn
from console.journal.runs import Place, RunRow, TaskRow
from console.journal.state import RollbackPreview, RollbackStep, RunStatus, TaskStatus
from console.plan.model import Plan
from console.plan.order import until

_ENDED = (RunStatus.DONE, RunStatus.ROLLED_BACK)
_STOPPED = (RunStatus.FAILED, RunStatus.WAITING, RunStatus.PAUSED, RunStatus.NEW)


def pending(conn: Conn, plan: Plan) -> Plan:
    """The plan with what is not applied yet, and notes that say so; a plan.toml as it is."""
    if not plan.layout:
        return plan
    found = standing(conn, plan)
    words = (*found.words, *((f"REFUSED: {found.refusal}.",) if found.refusal else ()))
    return replace(only_pending(plan, found.applied), notes=(*plan.notes, *words))


def words(conn: Conn, plan: Plan) -> tuple[str, ...]:
    """What to know before pending migrations run: where the database stands, and what cannot be taken back."""
    found = standing(conn, plan)
    final = [task.id for task in only_pending(plan, found.applied).tasks if task.irreversible]
    if not plan.layout or not final:
        return found.words
    more = f" and {len(final) - 5} more" if len(final) > 5 else ""
    return (*found.words, f"Without a way back once they are applied: {', '.join(final[:5])}{more}.")


def outgrown(conn: Conn, plan: Plan, row: RunRow) -> bool:
    """Whether the plan's newest run ended and the directory, or what is applied of it, has moved on since."""
    if not plan.layout or row.status not in _ENDED:
        return False
    if row.plan_sha256 != plan.sha256:
        return True
    tasks = runs.tasks(conn, row.id)
    stands = {id_ for id_, task in tasks.items() if task.status in (TaskStatus.COMPLETED, TaskStatus.BEFORE)}
    return stands != set(standing(conn, plan).applied)


def refuse_unknown_start(conn: Conn, plan: Plan, run_id: int | None, goal: str) -> None:
    """Raise Refused where a task that is to run now holds a statement that nobody understands or accepts."""
    if run_id is None:
        stands = set(standing(conn, plan).applied)
    else:
        stands = {id_ for id_, row in runs.tasks(conn, run_id).items() if row.status in STANDS}
    refuse_unknown(task for task in until(plan, goal) if task.id not in stands)


def ready(conn: Conn, plan: Plan, *, forward: bool) -> dict[str, str]:
    """The migrations that are applied already, with a note for each; ``forward``: every other one can be run as it is.

    Raises Refused where a tool left something half done, PlanError for a file that cannot be carried out.
    """
    found = standing(conn, plan)
    if found.refusal:
        raise Refused(f"{found.refusal}.", state="Nothing was changed.", do="Then start again.")
    if plan.layout and forward:
        for task in only_pending(plan, found.applied).tasks:
            for file in (task.file, task.down):
                if file is not None:
                    try:
                        pieces(file)
                    except PlanError as error:
                        raise _not_begun(error) from None
    return dict(found.applied)


def _not_begun(error: PlanError) -> PlanError:
    return PlanError(error.what, file=error.file, line=error.line, state="No migration was applied.", do=error.do)


def may_close(conn: Conn, plan: Plan, row: RunRow) -> bool:
    """Whether an unfinished run of other files may end where it stands: nobody carries it, no migration is half done."""
    if not plan.layout or row.plan_sha256 == plan.sha256 or row.status not in _STOPPED or row.back_to:
        return False
    if lease.read(conn, row.id) is not None:
        return False
    return not any(
        statement in ("done", "running", "waiting for a lock")
        for task in runs.tasks(conn, row.id).values()
        if task.status in (TaskStatus.IN_PROGRESS, TaskStatus.FAILED, TaskStatus.BLOCKED)
        for statement in runs.statements(conn, Place(row.id, task.id, task.round, "up")).values()
    )


def close(conn: Conn, run_id: int, operator: str) -> None:
    """End a run that may be closed: what it did stands, what it did not is left to a run of the changed files.

    Raises Refused if somebody took it up since it was looked at.
    """
    with conn.transaction():
        lease.one_at_a_time(conn)
        if lease.read(conn, run_id) is not None or not runs.set_status(conn, run_id, RunStatus.DONE, after=_STOPPED):
            raise Refused(f"Run {run_id} goes on elsewhere.", state="Nothing was changed.", do="See 'pgferry status'.")
        for task in runs.tasks(conn, run_id).values():
            if task.status not in (TaskStatus.COMPLETED, TaskStatus.BEFORE, TaskStatus.ROLLED_BACK):
                runs.task_status(conn, run_id, task.id, TaskStatus.DEFERRED)
        said = "closed: the files changed, and what is left goes on in a new run"
        events.append(conn, run_id, "operator", said, actor=operator)


def rollback_preview(conn: Conn, plan: Plan, to: str) -> RollbackPreview:
    """What going back would do where this plan has no run: undo migrations that were applied before."""
    applied = standing(conn, plan).applied
    rows = {
        task.id: TaskRow(task.id, TaskStatus.BEFORE if task.id in applied else TaskStatus.PENDING, 0, position)
        for position, task in enumerate(plan.tasks)
    }
    tasks = rollback.to_undo(plan, rows, to)
    if not tasks or schema.installed(conn):
        found = rollback.preview(conn, plan, 0, rows, to) if tasks else None
        return found or RollbackPreview(to, (), (), (), ("nothing was started yet",), "", 0.0)
    try:
        rollback.refuse_impossible(conn, plan, tasks, rows)
        impossible = ""
    except Refused as error:
        impossible = str(error)
    steps = tuple(RollbackStep(t.id, rollback.words(plan, t), rollback.statements(plan, t), None) for t in tasks)
    return RollbackPreview(to, steps, (), (), (), impossible, None)
