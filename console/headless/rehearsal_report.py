"""A rehearsal as Markdown, HTML or JSON: the summary first, then what went wrong, then every task and statement."""

from __future__ import annotations

import difflib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from console.errors import UsageError
from console.headless import html
from console.headless.plan_facts import made
from console.headless.rehearsed_words import ms, rehearsed_words, task_outcome, version
from console.headless.words import count, fence, markdown_cell, markdown_table, safe, to_json
from console.plan import rehearsed
from console.plan.model import Plan
from console.plan.rehearsed import Difference, Measured, Outcome, Rehearsal, TaskRehearsed
from console.text import several

FORMS = (".md", ".html", ".json")
TASK_HEAD = ["Task", "Title", "Came to", "Forward", "Back", "WAL", "Why"]
STATEMENT_HEAD = ["Way", "Statement", "Locks held", "Rewritten", "Took", "Held", "WAL"]
_WORST = (Outcome.FAILED, Outcome.DIFFERS, Outcome.NOT_REHEARSED, Outcome.PASSED)
_SHOWN = 90  # characters of a statement in a table
_MODES = {rehearsed.SCRATCH: "on a scratch server", rehearsed.TARGET: "on the target, rolled back"}


def write_report(record: Rehearsal, plan: Plan | None, file: Path) -> None:
    """Write the report in the form that the file's name asks for. Raises UsageError for another one, OSError."""
    check_form(file)
    if file.suffix == ".json":
        text = json.dumps(rehearsal_json(record), indent=2, ensure_ascii=False) + "\n"
    else:
        text = rehearsal_html(record, plan) if file.suffix == ".html" else rehearsal_markdown(record, plan)
    file.write_text(text, encoding="utf-8")


def check_form(file: Path) -> None:
    """Raises UsageError where no report has that form: before a long rehearsal, not after."""
    if file.suffix not in FORMS:
        raise UsageError(f"No report is written as {file.suffix or file.name}.", do=f"Use one of {', '.join(FORMS)}.")


def rehearsal_json(record: Rehearsal) -> dict[str, Any]:
    """The record as data, and what follows from it."""
    return {**to_json(record), "ok": record.ok, "complete": record.complete, "words": safe(rehearsed_words(record))}


def summary(record: Rehearsal, plan: Plan | None) -> list[tuple[str, str]]:
    """The facts above everything else, by name."""
    rows = ", ".join(f"{table} {count(number)}" for table, number in record.rows)
    wal = sum(task.wal_bytes for task in record.tasks)
    return [
        ("plan", f"{plan.title} ({plan.id})" if plan else record.plan_id),
        ("sha256", record.plan_sha256),
        ("came to", _verdict(record)),
        ("rehearsed", rehearsed_words(record)),
        ("server", f"PostgreSQL {version(record)}, {_MODES.get(record.mode, record.mode)}"),
        ("data", record.data),
        *([("rows", rows)] if rows else []),
        ("WAL forward", size(wal)),
        *(("lacks", lack) for lack in record.lacks),
        *(("note", note) for note in record.notes),
    ]


def _verdict(record: Rehearsal) -> str:
    if not record.ok:
        return "FAILED: a task, or a way back, does not do what it should"
    if not record.complete:
        return "passed as far as it was rehearsed; some tasks were NOT REHEARSED"
    return "passed: forward, back and forward again"


def worst_first(record: Rehearsal) -> list[TaskRehearsed]:
    """The tasks that did not pass, the worst first, each kind in the plan's order."""
    bad = [task for task in record.tasks if task.outcome is not Outcome.PASSED]
    return sorted(bad, key=lambda task: _WORST.index(task.outcome))


def task_rows(record: Rehearsal, plan: Plan | None) -> list[list[str]]:
    """A line for each task, in the plan's order."""
    titles = {task.id: task.title for task in plan.tasks} if plan else {}
    return [
        [
            task.task_id, titles.get(task.task_id, ""), _word(task.outcome),
            ms(task.forward_ms) if task.forward_ms else "-", ms(task.back_ms) if task.back_ms else "-",
            size(task.wal_bytes) if task.wal_bytes else "-", task.why,
        ]
        for task in record.tasks
    ]  # fmt: skip


def _word(outcome: Outcome) -> str:
    return outcome.value if outcome is Outcome.PASSED else outcome.value.upper()


def statement_row(one: Measured) -> list[str]:
    """A statement in a line; locks on what was made in its own transaction are left out."""
    text = " ".join(one.sql.split())
    held = [f"{mode} on {name}" for name, mode in one.locks] or ["none on what existed before"]
    took = ms(one.ms) + (f", {one.times} times" if one.times > 1 else "")
    return [
        {"up": "forward", "down": "back"}.get(one.side, one.side),
        text if len(text) <= _SHOWN else text[: _SHOWN - 2] + "..",
        "; ".join(held) + (f" ({one.partial})" if one.partial else ""), ", ".join(one.rewritten) or "-",
        took, ms(one.held_ms) if one.held_ms else "-", size(one.wal_bytes) if one.wal_bytes else "-",
    ]  # fmt: skip


def size(number: int) -> str:
    """Bytes as ``812 B``, ``4.0 kB`` or ``12.3 MB``."""
    return f"{number} B" if number < 1000 else f"{number / 1e3:.1f} kB" if number < 1e6 else f"{number / 1e6:,.1f} MB"


def rehearsal_markdown(record: Rehearsal, plan: Plan | None) -> str:
    """The report as Markdown, fit for a pull request; nothing in its text is taken as markup."""
    lines = [f"# Rehearsal of {markdown_cell(plan.title if plan else record.plan_id)}", ""]
    lines += markdown_table(["Rehearsal", ""], [list(entry) for entry in summary(record, plan)])
    for task in worst_first(record):
        lines += ["", f"## {markdown_cell(task.task_id)}: {markdown_cell(task_outcome(task))}"]
        for one in task.differences:
            lines += ["", f"{markdown_cell(one.object)}:", "", *fence("\n".join(_difference(one)), "diff")]
    lines += ["", "## Tasks", "", *markdown_table(TASK_HEAD, task_rows(record, plan))]
    for task in record.tasks:
        if task.statements:
            rows = [statement_row(one) for one in task.statements]
            head = html.text(f"{task.task_id}: {several(len(rows), 'statement')}, {task_outcome(task)}")
            table = markdown_table(STATEMENT_HEAD, rows)
            lines += ["", f"<details><summary>{head}</summary>", "", *table, "", "</details>"]
    return "\n".join(lines) + "\n"


def rehearsal_html(record: Rehearsal, plan: Plan | None) -> str:
    """The report as one HTML page."""
    title = f"Rehearsal of {plan.title if plan else record.plan_id}"
    body = [f"<h1>{html.text(title)}</h1>"]
    body.append(html.facts([*summary(record, plan), ("report made", made(datetime.now(UTC)))]))
    for task in worst_first(record):
        body.append(f'<h2 class="bad">{html.text(task.task_id)}: {html.text(task_outcome(task))}</h2>')
        for one in task.differences:
            body += [f"<h4>{html.text(one.object)}</h4>", html.code("\n".join(_difference(one)))]
    body += ["<h2>Tasks</h2>", *html.table(TASK_HEAD, task_rows(record, plan))]
    for task in record.tasks:
        if task.statements:
            body.append(f"<h3>{html.text(task.task_id)}</h3>")
            body += html.table(STATEMENT_HEAD, [statement_row(one) for one in task.statements])
    return html.page(title, body)


def _difference(one: Difference) -> list[str]:
    """What changed, line by line; an object that was not there, or is no more, is said to be absent."""
    before, after = (text.splitlines() or ["(absent)"] for text in (one.before, one.after))
    return list(difflib.unified_diff(before, after, lineterm="", n=2))[2:]
