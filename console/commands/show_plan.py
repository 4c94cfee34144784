"""``pgferry plan``: the whole plan for a reviewer, in the form that is asked for. A database may help, and is not needed."""

from __future__ import annotations

from dataclasses import dataclass

from console.commands.migrations import pending
from console.commands.operate import out, the_plan
from console.commands.previews import Previews
from console.commands.settings import Settings
from console.headless.plan_text import plan_json, plan_markdown, plan_text
from console.journal import admission
from console.journal.connect import connect
from console.plan.approval import Wanted


@dataclass(frozen=True, slots=True)
class PlanWanted:
    """The command's words."""

    output: str = "text"
    with_database: bool = False


def show_plan(settings: Settings, wanted: PlanWanted) -> int:
    """Print every statement, its locks and hazards, its way back, and who approved all that."""
    plan = the_plan(settings)
    conn = (
        connect(settings.dsn, application_name="pgferry plan", read_only=True, statement_timeout="30s")
        if wanted.with_database
        else None
    )
    try:
        if conn is not None:
            plan = pending(conn, plan)
        previews = Previews(plan, conn).all()
        stands = admission.read_standing(conn, Wanted.of(plan), plan)
    finally:
        if conn is not None:
            conn.close()
    if wanted.output == "json":
        out(plan_json(plan, previews, stands))
    else:
        out((plan_markdown if wanted.output == "markdown" else plan_text)(plan, previews, stands))
    return 0
