"""A whole plan for a reviewer: every statement with its locks, risks and way back, as text, Markdown or JSON."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from console.headless.rehearsed_words import rehearsed_words
from console.headless.words import minutes, safe, strength, to_json, waits
from console.plan.approval import Standing, brief, sentences
from console.plan.model import Plan, Task
from console.plan.rehearsed import Rehearsal
from console.sql.hazards.allow import counted
from console.sql.model import Lock, Mark, Readers, Statement, TaskPreview
from console.text import several, visible

Previews = Mapping[str, TaskPreview]


_OWN = re.compile(r"(^| )pgferry\.")  # also in what is only linked to one: "whatever depends on pgferry.x"


def strongest_locks(previews: Previews) -> tuple[Lock, ...]:
    """The strongest lock the way forward takes on each object that was not made in the same task, strongest first.

    The journal's and the sync's own objects are left out: no application uses them. Each task's preview has all.
    """
    found: dict[str, Lock] = {}
    for preview in previews.values():
        locks = (lock for statement in preview.up for lock in statement.locks if not lock.new)
        for lock in (lock for lock in locks if not _OWN.search(lock.object)):
            if lock.object not in found or strength(lock.mode) > strength(found[lock.object].mode):
                found[lock.object] = lock
    return tuple(sorted(found.values(), key=lambda lock: (-strength(lock.mode), lock.basis == "assumed", lock.object)))


def no_way_back(plan: Plan, previews: Previews) -> tuple[tuple[Task, str], ...]:
    """The tasks that cannot be undone, each with the reason."""
    reasons = [
        (task, task.irreversible or (previews[task.id].no_way_back if task.id in previews else ""))
        for task in plan.tasks
    ]
    return tuple((task, why) for task, why in reasons if why)


def hazards(previews: Previews) -> int:
    """How many hazards that hurt the tasks and the statements of the way forward have."""
    return sum(
        len(counted(preview.hazards)) + sum(len(counted(statement.hazards)) for statement in preview.up)
        for preview in previews.values()
    )


def badge(read_by: Readers) -> str:
    """Who understood a statement, in words."""
    if not read_by.postgresql:
        return "NOT UNDERSTOOD by PostgreSQL's grammar"
    if read_by.agree is False:
        return "read by PostgreSQL and sqlglot, which DISAGREE"
    if read_by.agree:
        return "read by PostgreSQL and sqlglot, which agree"
    return f"read by PostgreSQL; sqlglot: {read_by.sqlglot}"


def lock_words(lock: Lock) -> str:
    """A lock with what waits for it and how we know."""
    effect = "new, nobody waits" if lock.new else waits(lock.mode)
    return f"{lock.mode} on {lock.object}: {effect} ({lock.basis})"


def facts(statement: Statement) -> str:
    """Rewrite, scan and transaction of a statement, in words; unknown is said."""
    words = {True: "yes", False: "no", None: "unknown"}
    alone = "" if statement.transactional else "; cannot run in a transaction"
    return f"rewrites the table: {words[statement.rewrite]}; scans it: {words[statement.scan]}{alone}"


def measured_words(mark: Mark | None) -> list[str]:
    """What a rehearsal measured of a statement; a difference from the derived is a line of its own."""
    if mark is None:
        return []
    wal = f", WAL {mark.wal_bytes / 1_048_576:,.1f} MiB" if mark.wal_bytes >= 104_858 else ""
    first = f"measured in the rehearsal: {mark.ms:,.0f} ms, locks held {mark.held_ms:,.0f} ms{wal}"
    partial = f"not measured: {mark.partial}" if mark.partial else ""
    return [first, *(f"DIFFERENCE: {words}" for words in mark.differences), *([partial] if partial else [])]


def way_back(task: Task, preview: TaskPreview | None) -> str:
    """How a task is undone, in words."""
    why = task.irreversible or (preview.no_way_back if preview else "")
    if why:
        return f"NONE: {why}"
    if task.down is not None:
        return task.down.shown
    if preview is not None and preview.down:
        return "derived from the mapping"
    return "nothing to undo in the database" if task.kind in ("check", "gate", "drain") else "derived by the engine"


def _totals(plan: Plan, previews: Previews, stands: Standing | None) -> list[tuple[str, str]]:
    back = no_way_back(plan, previews)
    return [
        ("plan", f"{plan.title} ({plan.id})"),
        ("sha256", plan.sha256),
        *(("read as", note) for note in plan.notes),
        ("servers", f"PostgreSQL {plan.server_min} to {plan.server_max}"),
        ("tasks", f"{len(plan.tasks)} in {several(len(plan.phases), 'phase')}"),
        ("estimate", minutes(sum(task.minutes for task in plan.tasks))),
        ("hazards", str(hazards(previews))),
        ("no way back", ", ".join(task.id for task, _ in back) or "every task can be undone"),
        *(("approval", fact) for fact in (sentences(stands) if stands else ())),
    ]


def task_facts(task: Task, preview: TaskPreview | None) -> list[tuple[str, str]]:
    """What is known of a task, by name."""
    entries = [
        ("depends on", ", ".join(task.depends)),
        ("guards", ", ".join(task.guards)),
        ("checks", ", ".join(task.checks)),
        ("mappings", ", ".join(task.mappings)),
        ("question", task.question),
        ("file", task.file.shown if task.file else ""),
        ("does", preview.text if preview else ""),
        ("way back", way_back(task, preview)),
        ("rehearsal", preview.rehearsed if preview else ""),
    ]
    entries += [("accepted", f"{allow.hazard}: {allow.reason}") for allow in task.allow]
    for hazard in preview.hazards if preview else ():
        word = "HAZARD" if hazard.level == "hurts" else hazard.level
        safer = f" safe form: {' '.join(hazard.safer.split())}" if hazard.safer else ""
        entries.append((word, f"{hazard.code}: {hazard.message}{safer}"))
    for name, rows, size in preview.sizes if preview else ():
        entries.append(("size", f"{name}: about {rows:,} rows, {size / 1_048_576:,.1f} MiB"))
    return [(name, text) for name, text in entries if text]


def lock_lines(statement: Statement) -> list[str]:
    """Every lock of a statement, a line each."""
    return ["lock: " + lock_words(lock) for lock in statement.locks] or ["lock: none known"]


def statement_nature(statement: Statement) -> list[str]:
    """Rewrite and scan, who waits, how long, what was measured, what is worth knowing, who understood it."""
    blocks = [f"blocks: {statement.blocks}"] if statement.blocks else []
    takes = [f"takes: {statement.estimate.words}"] if statement.estimate else []
    measured = measured_words(statement.measured)
    return [facts(statement), *blocks, *takes, *measured, *statement.notes, badge(statement.read_by)]


def statement_facts(statement: Statement) -> list[str]:
    """Everything known of a statement, a line each."""
    lines = [*lock_lines(statement), *statement_nature(statement)]
    for hazard in statement.hazards:
        lines.append(f"{'HAZARD' if hazard.level == 'hurts' else hazard.level} {hazard.code}: {hazard.message}")
        if hazard.safer:
            lines.append(f"  safe form: {hazard.safer}")
    lines += [f"accepted {hazard.code}: {hazard.allowed}" for hazard in statement.accepted]
    return [line for line in lines if line]


def _where(statement: Statement) -> str:
    return f"{statement.file}:{statement.line}" if statement.file else "derived"


def _statement_text(statement: Statement, word: str) -> list[str]:
    lines = [f"    {word} {statement.ordinal}. {statement.kind}  ({_where(statement)})"]
    lines += ["      | " + line for line in plain_lines(statement.sql)]
    return [*lines, *("      " + line for line in statement_facts(statement))]


def plain_lines(sql: str) -> list[str]:
    """The lines of an SQL text, made harmless."""
    return visible(sql, keep_newlines=True).splitlines()


def plan_text(
    plan: Plan, previews: Previews, stands: Standing | None = None, rehearsal: Rehearsal | None = None,
    *, ascii_only: bool = False,
) -> str:  # fmt: skip
    """The plan for a terminal or a mail, totals first."""
    lines = [f"{name:<12} {text}" for name, text in _totals(plan, previews, stands)]
    lines += [f"{'rehearsed':<12} {rehearsed_words(rehearsal)}"]
    lines += ["", "Strongest lock on each object that exists before, pgferry's own left out:"]
    lines += ["  " + lock_words(lock) for lock in strongest_locks(previews)] or ["  none known"]
    for phase in plan.phases:
        lines += ["", f"PHASE {phase.id}  {phase.title}  ({minutes(sum(task.minutes for task in phase.tasks))})"]
        about = (("goal", phase.goal), ("schedule", phase.schedule), ("risk", phase.risk))
        lines += [f"  {name}: {text}" for name, text in about if text]
        for task in phase.tasks:
            preview = previews.get(task.id)
            lines += ["", f"  {task.id}  {task.title}  [{task.kind}, {minutes(task.minutes)}]"]
            lines += [f"    {name:<11} {text}" for name, text in task_facts(task, preview)]
            for statement in preview.up if preview else ():
                lines += _statement_text(statement, "forward")
            for statement in preview.down if preview else ():
                lines += _statement_text(statement, "back")
    return "\n".join(safe(line, ascii_only=ascii_only).rstrip() for line in lines) + "\n"


def plan_json(
    plan: Plan, previews: Previews, stands: Standing | None = None, rehearsal: Rehearsal | None = None
) -> dict[str, Any]:
    """The plan as data: ids, totals, and each task with its preview; files by path and digest, without their text."""
    phases = []
    for phase in plan.phases:
        tasks = []
        for task in phase.tasks:
            entry = to_json(replace(task, file=None, down=None))
            entry["file"] = to_json(task.file.path) if task.file else None
            entry["down"] = to_json(task.down.path) if task.down else None
            entry["way_back"] = safe(way_back(task, previews.get(task.id)))
            entry["preview"] = to_json(previews.get(task.id))
            entry["rehearsed"] = to_json(rehearsal.task(task.id)) if rehearsal else None
            tasks.append(entry)
        phases.append({**to_json(replace(phase, tasks=())), "tasks": tasks})
    return {
        "id": plan.id,
        "title": safe(plan.title),
        "sha256": plan.sha256,
        "approval": None
        if stands is None
        else {**to_json(stands), "enough": stands.enough, "words": safe(brief(stands))},
        "rehearsal": None if rehearsal is None else to_json(replace(rehearsal, tasks=())),
        "layout": plan.layout,
        "notes": [safe(note) for note in plan.notes],
        "server": {"min": plan.server_min, "max": plan.server_max},
        "totals": {
            "tasks": len(plan.tasks),
            "minutes": sum(task.minutes for task in plan.tasks),
            "hazards": hazards(previews),
            "strongest_locks": to_json(strongest_locks(previews)),
            "no_way_back": [{"task": task.id, "why": safe(why)} for task, why in no_way_back(plan, previews)],
        },
        "phases": phases,
        "mappings": to_json(plan.mappings),
        "checks": to_json(plan.checks),
        "files": [{"path": safe(file.path), "sha256": file.sha256} for file in plan.files],
    }
