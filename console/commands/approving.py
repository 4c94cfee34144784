"""A console's part in approvals: where they stand for what is shown, and a reviewer's key."""

from __future__ import annotations

from datetime import UTC, datetime

from console.commands.settings import Settings
from console.errors import PlanError, Refused
from console.journal import admission, approvals, runs
from console.journal.connect import Conn, connect, in_a_sentence
from console.journal.state import RunState, RunStatus
from console.plan import approval_file
from console.plan.approval import Approval, Person, Standing, Wanted, grouped
from console.plan.difference import Kept, compare
from console.plan.digest import digested
from console.plan.load import load_plan
from console.plan.model import Plan


def shown(
    conn: Conn, settings: Settings, plan: Plan | None, state: RunState | None, *, control: bool
) -> Standing | None:
    """Where the plan's approval stands: of the files here, else of those that the run began with."""
    if plan is not None:
        wanted = Wanted.of(plan)
    elif state is not None:
        wanted = Wanted(state.plan_id, state.plan_sha256)
    else:
        return None
    if control:
        operator: Person | None = approvals.person(conn, settings.operator)
    else:  # a reviewer looks; the one whose own does not count is whoever began the run
        operator = Person(state.operator) if state is not None else None
    return admission.read_standing(conn, wanted, plan, operator)


def refuse_unapproved(conn: Conn, settings: Settings, plan: Plan, run_id: int | None) -> None:
    """Before anything is written: a plan that changed is told as such first, then what approvals it lacks."""
    row = runs.get(conn, run_id) if run_id is not None else None
    if row is not None and row.status is not RunStatus.ROLLED_BACK:
        admission.refuse_other_plan(conn, plan, row)
    admission.refuse_unapproved(conn, plan, approvals.person(conn, settings.operator))


def put_name(settings: Settings, plan: Plan | None, comment: str, *, withdraw: bool, offline: bool) -> str:
    """Record that the reviewer approves ``plan`` as the console read it; returns where.

    On a connection of its own: the console's can write nothing. Raises PlanError where the files are others by now.
    """
    if plan is None:
        raise Refused("The plan's files are not here.", do="Name them with --plan DIR.")
    now = load_plan(plan.root, plan.layout)
    if now.sha256 != plan.sha256:
        kept = {file.path: Kept(file.sha256, file.text) for file in digested(plan)}
        raise PlanError(
            f"The files are others than this console read: {grouped(plan.sha256)} is {grouped(now.sha256)} now;"
            f" {compare(kept, digested(now)).words}.",
            state="Nothing was recorded.",
            do="Open the console again and read them.",
        )
    if offline:
        return record(None, plan, settings.operator, comment, withdraw=withdraw)
    conn = connect(settings.dsn, application_name="pgferry approve", statement_timeout="30s")
    try:
        with in_a_sentence():
            return record(conn, plan, settings.operator, comment, withdraw=withdraw)
    finally:
        conn.close()


def record(conn: Conn | None, plan: Plan, name: str, comment: str, *, withdraw: bool = False) -> str:
    """Record it where it is worth most; returns where that is, in words.

    In the journal where this role may; a role that owns the database makes the journal for it. Else in the file.
    Raises Refused for the withdrawal of what nobody approved, PlanError for a file that cannot be read.
    """
    if withdraw:
        _refuse_nothing_to_withdraw(conn, plan, name)
    if conn is not None:
        approvals.prepare(conn)
    if conn is not None and approvals.may_record(conn):
        approvals.record(conn, plan, name, comment, withdraw=withdraw)
        return f"recorded in the journal of database {conn.info.dbname}"
    path = approval_file.append(plan, Approval(plan.id, plan.sha256, name, _now(conn), comment, withdraw))
    why = "" if conn is None else "; this role may not write to the journal (pgferry approve --grant ROLE lets it)"
    return f"written to {path}: commit it with the plan{why}"


def _refuse_nothing_to_withdraw(conn: Conn | None, plan: Plan, name: str) -> None:
    me = approvals.person(conn, name) if conn is not None else Person(name)
    stands = admission.read_standing(conn, Wanted.of(plan), plan, strict=True)
    if not any(me.is_who(one) for one in stands.counted):
        raise Refused(
            f"{name} has not approved this version of the plan ({plan.sha256[:12]}).", state="Nothing was recorded."
        )


def _now(conn: Conn | None) -> datetime:
    """The server's clock where there is one."""
    row = conn.execute("SELECT clock_timestamp()").fetchone() if conn is not None else None
    return row[0].astimezone(UTC) if row else datetime.now(UTC)
