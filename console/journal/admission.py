"""Whether a plan may be started: it is what the run began with, and the people it asks for approved exactly that."""

from __future__ import annotations

from console.errors import PlanError, Refused
from console.journal import approvals, schema
from console.journal.connect import Conn
from console.journal.runs import RunRow
from console.plan import approval_file
from console.plan.approval import Approval, Person, Standing, Wanted, brief, grouped, sentences, standing
from console.plan.difference import Difference, Kept, compare
from console.plan.digest import digested
from console.plan.model import Plan

HIDDEN = "The journal's approvals cannot be read by this role."


def refuse_other_plan(conn: Conn, plan: Plan, row: RunRow) -> None:
    """Raise PlanError, the difference as its detail, where ``plan`` is not what the run began with."""
    if row.plan_sha256 == plan.sha256:
        return
    found = difference(conn, plan, row.plan_sha256)
    words = f": {found.words}" if found is not None and found.words else ""
    raise _changed(
        f"The plan changed since run {row.id} began (was {grouped(row.plan_sha256)}, is {grouped(plan.sha256)}){words}.",
        found,
        "See 'pgferry plan --diff'. Restore the files the run began with, or roll back with them and start anew.",
    )


def refuse_unapproved(conn: Conn | None, plan: Plan, operator: Person) -> Standing:
    """Where the plan's approval stands for this operator. Raises Refused where it is not enough, PlanError."""
    stands = read_standing(conn, Wanted.of(plan), plan, operator, strict=plan.approvals > 0)
    if stands.enough:
        return stands
    facts = sentences(stands)
    error = Refused(
        f"The plan is not approved: {brief(stands)} of exactly these files ({grouped(plan.sha256)});"
        + "".join(f" {fact};" for fact in facts[1:])
        + f" missing: {_missing(stands)}.",
        state="Nothing was started.",
        do=f"Another person than the operator approves it with 'pgferry approve --plan {plan.root.name}'.",
    )
    if not stands.counted and stands.older:
        found = difference(conn, plan, stands.older[-1].sha256)
        error.detail = found.unified if found else ""
    raise error


def _missing(stands: Standing) -> str:
    count = stands.needed - len(stands.counted)
    return f"{count} more person" if count == 1 else f"{count} more people"


def read_standing(
    conn: Conn | None, wanted: Wanted, plan: Plan | None, operator: Person | None = None, *, strict: bool = False
) -> Standing:
    """Where it stands by the journal and by the file beside the plan, as far as each can be read.

    What cannot be read is named in ``unread``; with ``strict`` a file that cannot be read raises PlanError.
    """
    found: list[Approval] = []
    unread: list[str] = []
    if plan is not None:
        try:
            found += approval_file.read(plan.root)
        except PlanError as error:
            if strict:
                raise
            unread.append(str(error))
    if conn is not None:
        found += approvals.records(conn, wanted.plan_id)
        if schema.installed(conn) and not approvals.may_read(conn):
            unread.append(HIDDEN)
    return standing(wanted, found, operator, tuple(unread))


def difference(conn: Conn | None, plan: Plan, sha256: str) -> Difference | None:
    """How ``plan`` differs from its version ``sha256``; None where nothing was kept of that one."""
    old = approvals.kept(conn, sha256) if conn is not None else {}
    if not old:
        old = {path: Kept(digest) for path, digest in approval_file.file_digests(plan.root, sha256).items()}
        return compare(old, plan.files) if old else None
    return compare(old, digested(plan))


def _changed(what: str, found: Difference | None, do: str) -> PlanError:
    error = PlanError(what, state="Nothing was changed.", do=do)
    error.detail = found.unified if found is not None else "The files it began with were not kept in the journal."
    return error
