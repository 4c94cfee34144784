"""What of a directory of migrations is applied already, by its own tool or by an earlier run, and what to say of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import psycopg

from console.engine.ledgers.base import Ledger, find, meanwhile
from console.engine.ledgers.flyway import Flyway
from console.engine.ledgers.golang_migrate import GolangMigrate
from console.engine.ledgers.prisma import Prisma
from console.engine.ledgers.sets import DBMATE, DIESEL, GOOSE
from console.engine.ledgers.sqitch import Sqitch
from console.errors import StepFailed
from console.journal import runs, schema
from console.journal.connect import Conn
from console.plan.model import Plan, TableName, Task

LEDGERS: dict[str, Ledger] = {
    "flyway": Flyway(),
    "golang-migrate": GolangMigrate(),
    "dbmate": DBMATE,
    "goose": GOOSE,
    "sqitch": Sqitch(),
    "diesel": DIESEL,
    "prisma": Prisma(),
}
_OTHERS = (  # tables of tools that pgferry does not read
    "_sqlx_migrations", "alembic_version", "ar_internal_metadata", "databasechangelog", "django_migrations",
    "knex_migrations", "pgmigrations", "typeorm_migrations", "SequelizeMeta", "atlas_schema_revisions",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Standing:
    """The applied migrations by task id, each with who applied it; sentences for the user; why nothing may run."""

    applied: Mapping[str, str]
    words: tuple[str, ...] = ()
    refusal: str = ""


def standing(conn: Conn, plan: Plan) -> Standing:
    """Where the database stands; nothing is applied of a plan that is no directory of migrations. Raises Refused."""
    if not plan.layout:
        return Standing({})
    ledger = LEDGERS.get(plan.layout)
    table = find(conn, ledger) if ledger is not None else None
    before = _by_pgferry(conn, plan)
    if ledger is None or table is None:
        return _without_table(conn, plan, ledger, before)
    try:
        found = ledger.read(conn, table, plan)
    except psycopg.errors.InsufficientPrivilege:
        why = f"{table}, which says what is applied, cannot be read by this role"
        return Standing(before, (f"{why}: what follows counts as pending.",), f"{why}: grant SELECT on it")
    applied = dict(found.applied)
    said = (
        f"{table}: {len(applied):,} of {len(plan.tasks):,} migrations are applied. What pgferry applies and takes back is"
        " recorded there, in the same transaction (right after it, where a statement runs in none)."
    )
    return Standing(applied, (said, *found.words, *_out_of_order(plan, applied)), found.refusal)


def _without_table(conn: Conn, plan: Plan, ledger: Ledger | None, before: Mapping[str, str]) -> Standing:
    said = f"{len(before):,} of {len(plan.tasks):,} migrations are applied, as pgferry's journal has it."
    words = [said]
    if ledger is not None:
        words.append(
            f"There is no {ledger.names[0]} in this database: {plan.layout} will not know what is applied here."
        )
    names = [name for one in LEDGERS.values() if one is not ledger for name in one.names if name != "changes"]
    rows = conn.execute(
        "SELECT relname FROM pg_class WHERE relname = ANY (%s) AND relkind = 'r' ORDER BY 1",
        ([*names, *_OTHERS],),
    ).fetchall()
    if rows:
        listed = ", ".join(sorted({str(row[0]) for row in rows}))
        words.append(f"Another tool has applied migrations to this database ({listed}); that is not looked at.")
    return Standing(before, (*words, *_out_of_order(plan, before)))


def _by_pgferry(conn: Conn, plan: Plan) -> dict[str, str]:
    """What the newest run that knows a task left standing; a repeatable one only while its file is the same."""
    if not schema.installed(conn):
        return {}
    try:
        found = runs.standing(conn, plan.id)
    except psycopg.errors.InsufficientPrivilege:  # a reviewer may see the plan without the journal
        return {}
    same = {task.id: task for task in plan.tasks}
    return {
        task_id: f"applied in run {run_id}"
        for task_id, (run_id, sha256) in found.items()
        if task_id in same and not _changed(same[task_id], sha256)
    }


def _changed(task: Task, sha256: str) -> bool:
    repeatable = task.origin is not None and not task.origin.version
    return repeatable and task.file is not None and sha256 != task.file.sha256


def _out_of_order(plan: Plan, applied: Mapping[str, str]) -> tuple[str, ...]:
    order = [task.id for task in plan.tasks if task.origin is None or task.origin.version]
    last = max((index for index, task_id in enumerate(order) if task_id in applied), default=-1)
    late = [task_id for task_id in order[: last + 1] if task_id not in applied]
    if not late:
        return ()
    more = f" and {len(late) - 5} more" if len(late) > 5 else ""
    return (f"Pending although a later one is applied: {', '.join(late[:5])}{more}.",)


def only_pending(plan: Plan, applied: Mapping[str, str]) -> Plan:
    """The plan with the tasks that are not applied."""
    phases = tuple(replace(one, tasks=tuple(t for t in one.tasks if t.id not in applied)) for one in plan.phases)
    return replace(plan, phases=phases)


def writer(conn: Conn, plan: Plan, task: Task, direction: str) -> Callable[[Conn, bool], None] | None:
    """What notes the task in its tool's table at the end of its last transaction; None where nothing is noted.

    Its second argument: whether the task's statements are rolled back if somebody else noted it before.
    """
    ledger = LEDGERS.get(plan.layout)
    if ledger is None or task.origin is None:
        return None
    table = find(conn, ledger)
    if table is None:
        return None
    began = time.monotonic()

    def write(conn: Conn, atomic: bool) -> None:
        ms = int((time.monotonic() - began) * 1000)
        try:
            if direction == "down":
                ledger.forget(conn, table, plan, task, ms)
            elif not ledger.record(conn, table, plan, task, ms) and atomic:
                raise meanwhile(table, task)
        except psycopg.errors.InsufficientPrivilege as error:
            raise _not_allowed(table, error) from None

    return write


def _not_allowed(table: TableName, error: psycopg.Error) -> StepFailed:
    return StepFailed(
        f"The migration cannot be noted in {table}: {str(error).splitlines()[0]}.",
        state="It was rolled back with it.",
        do="Grant INSERT, UPDATE and DELETE on it to this role, then resume.",
    )
