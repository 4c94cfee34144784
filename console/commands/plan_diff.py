"""``pgferry plan --diff``: how the plan's files differ from what a run began with, else from what was approved last."""

from __future__ import annotations

from console.commands.operate import out, the_plan
from console.commands.settings import Settings
from console.errors import PlanError, Refused
from console.headless.words import safe, to_json
from console.journal import admission, runs, schema
from console.journal.connect import Conn, connect, in_a_sentence
from console.plan.approval import Wanted, grouped
from console.plan.model import Plan


def plan_diff(settings: Settings, output: str, *, with_database: bool) -> int:
    """Print the difference; exit code 4 where there is one. Raises Refused where nothing was approved or begun."""
    plan = the_plan(settings)
    conn = None
    if with_database:
        conn = connect(settings.dsn, application_name="pgferry plan", read_only=True, statement_timeout="30s")
    try:
        with in_a_sentence():
            what, sha256 = _before(conn, plan)
            same = sha256 == plan.sha256
            found = None if same else admission.difference(conn, plan, sha256)
    finally:
        if conn is not None:
            conn.close()
    if output == "json":
        out({"against": safe(what), "before": sha256, "now": plan.sha256, "same": same, "difference": to_json(found)})
    elif same:
        out(safe(f"The plan is {what}: {grouped(sha256)}."))
    else:
        files = found.words if found else "which files changed is not known: none of that version were kept"
        out(safe(f"The plan was {grouped(sha256)} ({what}), is {grouped(plan.sha256)}: {files}."))
        if found and found.unified:
            out(safe(found.unified, keep_newlines=True))
    return 0 if same else PlanError.exit_code


def _before(conn: Conn | None, plan: Plan) -> tuple[str, str]:
    """What to compare with, in words, and its digest."""
    row = runs.latest(conn, plan.id) if conn is not None and schema.readable(conn) else None
    if row is not None:
        return f"what run {row.id} began with", row.plan_sha256
    stands = admission.read_standing(conn, Wanted.of(plan), plan, strict=True)
    newest = max((*stands.counted, *stands.older), key=lambda one: one.at, default=None)
    if newest is None:
        raise Refused(
            "Nothing of this plan was approved or begun, as far as can be seen here.",
            do="" if conn is not None else "Look into the database too: --database or --dsn.",
        )
    return f"what {newest.name} approved", newest.sha256
