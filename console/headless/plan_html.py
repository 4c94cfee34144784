"""A plan as one HTML page, to be read and printed: the summary, then every phase, task, statement and way back."""

from __future__ import annotations

from datetime import datetime

from console.headless import html
from console.headless.html import text
from console.headless.plan_facts import (
    BACK,
    HAZARD_HEAD,
    TASK_HEAD,
    PlanReport,
    hazard_rows,
    lock_rows,
    made,
    place_of,
    rehearsed_task,
    summary,
    task_row,
)  # fmt: skip
from console.headless.plan_text import lock_lines, no_way_back, statement_nature, task_facts
from console.headless.words import minutes
from console.plan.model import Phase, Task
from console.sql.model import Hazard, Statement

_BOXED = ("HAZARD", "note", "style")  # facts of a task that have a box of their own


def plan_html(report: PlanReport, at: datetime) -> str:
    """The page; ``at`` is when it was made, in UTC."""
    plan = report.plan
    body = [f"<h1>{text(plan.title)}</h1>", html.facts([*summary(report), ("report made", made(at))])]
    body += _section("Hazards", HAZARD_HEAD, hazard_rows(report))
    body += _section("Strongest locks", ["Object", "Lock", "Effect", "Basis", "Task"], lock_rows(report))
    back = [[task.id, task.title, why] for task, why in no_way_back(plan, report.previews)]
    body += _section("No way back", ["Task", "Title", "Why"], back)
    body += _section("Accepted hazards", [*HAZARD_HEAD[:3], "Reason"], hazard_rows(report, accepted=True))
    body += _contents(report)
    for phase in plan.phases:
        body += _phase(report, phase)
    body += _section("Hazards of the ways back", HAZARD_HEAD, hazard_rows(report, BACK))
    body += _section("Files", ["File", "SHA-256"], [[file.path, file.sha256] for file in plan.files])
    return html.page(plan.title, body)


def _section(title: str, head: list[str], rows: list[list[str]]) -> list[str]:
    return [f"<h2>{text(title)}</h2>", *html.table(head, rows)] if rows else []


def _contents(report: PlanReport) -> list[str]:
    phases = report.plan.phases
    links = [f'<li><a href="#phase-{n}">Phase {text(p.id)}: {text(p.title)}</a></li>' for n, p in enumerate(phases)]
    return ["<h2>Phases</h2>", f"<ul>{''.join(links)}</ul>"]


def _phase(report: PlanReport, phase: Phase) -> list[str]:
    number = report.plan.phases.index(phase)
    body = [f'<h2 id="phase-{number}">Phase {text(phase.id)}: {text(phase.title)}</h2>']
    about = (("goal", phase.goal), ("schedule", phase.schedule), ("risk", phase.risk))
    body.append(html.facts((name, words) for name, words in about if words))
    body += html.table(TASK_HEAD, [task_row(report, task) for task in phase.tasks])
    for task in phase.tasks:
        body += _task(report, task)
    return body


def _task(report: PlanReport, task: Task) -> list[str]:
    preview = report.previews.get(task.id)
    kind = f'<span class="dim">{text(task.kind.value)}, {text(minutes(task.minutes))}</span>'
    body = [f"<h3>{text(task.id)} {text(task.title)} {kind}</h3>"]
    known = [entry for entry in task_facts(task, preview) if entry[0] not in _BOXED]
    if not any(name == "rehearsal" for name, _ in known):
        known.append(("rehearsal", rehearsed_task(report, task)))
    body.append(html.facts(known))
    for hazard in preview.hazards if preview else ():
        body += _hazard(hazard)
    for title, statements in (("Forward", preview.up), ("Way back", preview.down)) if preview else ():
        body += [f"<h4>{title}</h4>"] if statements else []
        for statement in statements:
            body += _statement(statement, len(statements))
    return body


def _statement(statement: Statement, total: int) -> list[str]:
    place = f"{statement.ordinal} of {total}, {place_of(statement)}"
    body = ['<div class="statement">', f'<div class="dim">{text(place)}</div>', html.sql(statement.sql)]
    body.append(html.items([*lock_lines(statement), *statement_nature(statement)]))
    for hazard in statement.hazards:
        body += _hazard(hazard)
    body.append(html.items(f"accepted {hazard.code}: {hazard.allowed}" for hazard in statement.accepted))
    return [*body, "</div>"]


def _hazard(hazard: Hazard) -> list[str]:
    level = hazard.level if hazard.level in ("note", "style") else ""
    body = [f'<div class="hazard {level}"><b>{text(hazard.code)}</b> {text(hazard.message)}']
    body += ['<div class="dim">safe form</div>', html.sql(hazard.safer)] if hazard.safer else []
    return [*body, "</div>"]
