"""``pgferry plan``: the whole plan for a reviewer, in the form that is asked for. A database may help, and is not needed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from console.commands.migrations import pending
from console.commands.operate import out, the_plan
from console.commands.plan_choice import chosen, with_hazards_only
from console.commands.plan_record import Record
from console.commands.previews import Previews
from console.commands.settings import Settings, state_folder
from console.headless.plan_facts import PlanReport
from console.headless.plan_html import plan_html
from console.headless.plan_markdown import plan_markdown
from console.headless.plan_text import hazards, plan_json, plan_text
from console.headless.sarif import Found, found_in, found_of, repository_of, sarif
from console.journal import admission
from console.journal.connect import connect, in_a_sentence
from console.plan.approval import Wanted
from console.plan.model import Plan
from console.plan.source import NAME
from console.sql.hazards.catalogue import RULES
from console.sql.model import Statement


@dataclass(frozen=True, slots=True)
class PlanWanted:
    """The command's words. ``strict``: a hazard that hurts and nobody accepted is exit code 1."""

    output: str = "text"
    with_database: bool = False
    strict: bool = False
    tasks: tuple[str, ...] = ()
    phase: str = ""
    hazards: bool = False  # only statements that have some


def show_plan(settings: Settings, wanted: PlanWanted) -> int:
    """Print every statement, its locks and hazards, its way back, what was rehearsed, and who approved all that."""
    plan = the_plan(settings)
    conn = (
        connect(settings.dsn, application_name="pgferry plan", read_only=True, statement_timeout="30s")
        if wanted.with_database
        else None
    )
    try:
        with in_a_sentence():
            if conn is not None:
                plan = pending(conn, plan)
            shown = chosen(plan, wanted.tasks, wanted.phase)
            found = Previews(plan, conn, record=Record.of(plan, state_folder()))
            previews = {task.id: found.of(task.id) for task in shown.tasks}
            stands = admission.read_standing(conn, Wanted.of(plan), plan)
    finally:
        if conn is not None:
            conn.close()
    if wanted.hazards:
        shown, previews = with_hazards_only(shown, previews)
    report = PlanReport(shown, previews, stands, found.record.rehearsal)
    out(_as(report, wanted.output))
    return int(wanted.strict and hazards(previews) > 0)


def _as(report: PlanReport, output: str) -> object:
    match output:
        case "json":
            return plan_json(report.plan, report.previews, report.stands, report.rehearsal)
        case "sarif":
            return plan_sarif(report)
        case "html":
            return plan_html(report, datetime.now(UTC)).rstrip("\n")
        case "markdown":
            return plan_markdown(report).rstrip("\n")
        case _:
            return plan_text(report.plan, report.previews, report.stands, report.rehearsal).rstrip("\n")


def plan_sarif(report: PlanReport) -> dict[str, Any]:
    """The hazards of the way forward as SARIF; those of derived statements stand at the plan's own file.

    Those of ways back are no alerts: dropping what was made is what a way back is for.
    """
    root = repository_of(report.plan.root)
    found = [
        one
        for preview in report.previews.values()
        for statement in preview.up
        for one in _found(report.plan, statement)
    ]
    for task in report.plan.tasks:
        if task.id in report.previews:
            file = report.plan.root / task.file.path if task.file else _toml(report.plan)
            found += found_of(task, report.previews[task.id].hazards, file)
    return sarif(found, RULES, root)


def _found(plan: Plan, statement: Statement) -> list[Found]:
    file = plan.root / statement.file
    if statement.file in {file.path for file in plan.files}:
        return found_in(statement, file)
    return found_in(statement, _toml(plan), written=False)


def _toml(plan: Plan) -> Path:
    toml = plan.root / NAME
    return toml if toml.is_file() else plan.root
