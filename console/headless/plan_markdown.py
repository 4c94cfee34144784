"""A plan as Markdown, fit for a pull request: the summary first, each task's statements folded away."""

from __future__ import annotations

from html import escape

from console.headless.plan_facts import (
    BACK,
    HAZARD_HEAD,
    TASK_HEAD,
    PlanReport,
    hazard_rows,
    hazards_of,
    lock_rows,
    place_of,
    rehearsed_task,
    summary,
    task_row,
)  # fmt: skip
from console.headless.plan_text import no_way_back, statement_facts, task_facts
from console.headless.words import fence, markdown_cell, markdown_table, minutes, safe
from console.plan.model import Phase, Task
from console.sql.model import Statement
from console.text import several

MOST_ROWS = 40
ROOM = 60_000  # characters; a comment may have 65,536


def plan_markdown(report: PlanReport, room: int = ROOM) -> str:
    """The report; nothing in the plan's text is taken as markup.

    Tasks whose statements no longer fit into ``room`` characters are only named, and that is said.
    """
    plan = report.plan
    lines = [f"# {markdown_cell(plan.title)}", ""]
    lines += markdown_table(["Plan", ""], [list(entry) for entry in summary(report)])
    lines += _section("Hazards", HAZARD_HEAD, hazard_rows(report))
    lines += _safe_forms(report)
    undoing = hazard_rows(report, BACK)
    lines += ["", *_folded(f"Hazards of the ways back: {len(undoing)}", _cut(HAZARD_HEAD, undoing))] if undoing else []
    lines += _section("Strongest locks", ["Object", "Lock", "Effect", "Basis", "Task"], lock_rows(report))
    back = [[task.id, task.title, why] for task, why in no_way_back(plan, report.previews)]
    lines += _section("No way back", ["Task", "Title", "Why"], back)
    lines += _section("Accepted hazards", [*HAZARD_HEAD[:3], "Reason"], hazard_rows(report, accepted=True))
    for phase in plan.phases:
        lines += _phase(report, phase)
    return "\n".join([*lines, *_details(report, room - sum(len(line) + 1 for line in lines))]) + "\n"


def _section(title: str, head: list[str], rows: list[list[str]]) -> list[str]:
    return ["", f"## {title}", "", *_cut(head, rows)] if rows else []


def _cut(head: list[str], rows: list[list[str]]) -> list[str]:
    """A table of as many rows as anybody reads in a comment; how many more there are is said."""
    more = len(rows) - MOST_ROWS
    return [*markdown_table(head, rows[:MOST_ROWS]), *(["", f"and {more} more, see the page"] if more > 0 else [])]


def _safe_forms(report: PlanReport) -> list[str]:
    """The safe form of what hurts, each text once, folded away."""
    forms: dict[str, str] = {}
    for one in hazards_of(report):
        if one.hazard.safer and one.hazard.level == "hurts":
            forms.setdefault(one.hazard.safer, f"{one.hazard.code} at {one.place}: the safe form")
    return [line for form, head in list(forms.items())[:MOST_ROWS] for line in ("", *_folded(head, fence(form, "sql")))]


def _folded(head: str, body: list[str]) -> list[str]:
    return [f"<details><summary>{escape(safe(head))}</summary>", "", *body, "", "</details>"]


def _phase(report: PlanReport, phase: Phase) -> list[str]:
    lines = ["", f"## Phase {markdown_cell(phase.id)}: {markdown_cell(phase.title)}"]
    about = (("goal", phase.goal), ("schedule", phase.schedule), ("risk", phase.risk))
    lines += [part for name, text in about if text for part in ("", f"{name}: {markdown_cell(text)}")]
    return [*lines, "", *markdown_table(TASK_HEAD, [task_row(report, task) for task in phase.tasks])]


def _details(report: PlanReport, room: int) -> list[str]:
    lines = ["", "## Statements"]
    left: list[str] = []
    for task in report.plan.tasks:
        folded = ["", *_folded(f"{task.id} {task.title}: {_count(report, task)}", _task(report, task))]
        size = sum(len(line) + 1 for line in folded)
        if left or size > room:
            left.append(task.id)
        else:
            lines += folded
            room -= size
    if left:
        words = f"The statements of {several(len(left), 'task')}, from {left[0]} on, are left out: a comment has no room for them."
        lines += ["", markdown_cell(f"{words} pgferry plan --format html has all.")]
    return lines


def _count(report: PlanReport, task: Task) -> str:
    preview = report.previews.get(task.id)
    up, down = (len(preview.up), len(preview.down)) if preview else (0, 0)
    return f"{up} forward, {down} back, {minutes(task.minutes)}, {rehearsed_task(report, task)}"


def _task(report: PlanReport, task: Task) -> list[str]:
    preview = report.previews.get(task.id)
    lines = [f"- {name}: {markdown_cell(text)}" for name, text in task_facts(task, preview)]
    for title, statements in (("Forward", preview.up), ("Back", preview.down)) if preview else ():
        for statement in statements:
            lines += ["", *_statement(title, statement)]
    return lines


def _statement(title: str, statement: Statement) -> list[str]:
    lines = [
        f"{title} {statement.ordinal}, {markdown_cell(place_of(statement))}:",
        "",
        *fence(statement.sql, "sql"),
        "",
    ]
    return [*lines, *(f"- {markdown_cell(line.strip())}" for line in statement_facts(statement))]
