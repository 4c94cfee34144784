"""What became of a run: status lines and the final report, as text, Markdown or JSON."""

from __future__ import annotations

from typing import Any

from console.headless.words import (
    clock,
    count,
    duration,
    eta,
    markdown_cell,
    markdown_table,
    minutes,
    safe,
    table,
    to_json,
)
from console.journal.activity import Drain
from console.journal.public import public
from console.journal.state import (
    Audit,
    CheckState,
    Latency,
    LockWait,
    Progress,
    RunState,
    RunStatus,
    TaskState,
    TaskStatus,
)
from console.plan.approval import sentences
from console.text import several, shorten

Section = tuple[str, list[str], list[list[str]]]  # title, head, rows

_FINISHED = (TaskStatus.COMPLETED, TaskStatus.ROLLED_BACK, TaskStatus.FAILED)
_BROKEN_SHOWN = 5
_LAST_EVENTS = 50
_SAMPLE_ROWS = 5
WIDEST = 72  # characters of a cell in text; Markdown, HTML and JSON have all of it


def done_tasks(state: RunState) -> int:
    """How many tasks are completed."""
    return sum(task.status is TaskStatus.COMPLETED for task in state.tasks)


def _before(state: RunState) -> str:
    """How many tasks were done before the run, in words; empty for none."""
    number = len(state.tasks) - len(state.own)
    return f", {number:,} done before" if number else ""


def failing_first(checks: tuple[CheckState, ...]) -> tuple[CheckState, ...]:
    """The checks with the failed ones first, errors before warnings, else in their order."""
    order = ("error", "warning", "info")
    rank = {severity: place for place, severity in enumerate(order)}
    return tuple(sorted(checks, key=lambda check: (check.ok, rank.get(check.severity, 0) if not check.ok else 0)))


def rejects_of(state: RunState, mapping: str) -> tuple[tuple[str, int], ...]:
    """The rows of a mapping that were rejected, by reason, most first."""
    found = [(reason, rows) for name, reason, rows in state.rejects if name == mapping]
    return tuple(sorted(found, key=lambda entry: (-entry[1], entry[0])))


def _seconds(state: RunState, task_id: str) -> float:
    return next((task.seconds for task in state.tasks if task.id == task_id), 0.0)


def average_rate(state: RunState, progress: Progress) -> float | None:
    """Rows a second over the whole work time of the task; None before any work."""
    seconds = _seconds(state, progress.task_id)
    return progress.rows_done / seconds if seconds > 0 else None


def status_line(state: RunState, *, ascii_only: bool = False) -> str:
    """The run in one line."""
    parts = [f"run {state.run_id} {state.status.value}", f"{done_tasks(state)}/{len(state.own)} tasks"]
    current = state.current
    if current is not None:
        parts.append(f"{current.id} {current.title}: {current.status.value}")
    parts += [progress_words(progress, working=_works(state)) for progress in state.progress if not progress.finished]
    failed = [check.check_id for check in state.checks if not check.ok and check.severity == "error"]
    warned = [check.check_id for check in state.checks if not check.ok and check.severity != "error"]
    if failed:
        parts.append(f"failed checks: {', '.join(failed)}")
    if warned:
        parts.append(f"warnings: {', '.join(warned)}")
    return safe("; ".join(parts), ascii_only=ascii_only)


def _works(state: RunState) -> bool:
    return state.lease is not None and state.lease.alive


def progress_words(progress: Progress, *, working: bool = True) -> str:
    """A copy or comparison in a few words; where no runner is ``working`` at it, it has no rate and no end to come."""
    if progress.finished:
        return f"{progress.what} {progress.mapping} done, {several(progress.rows_done, 'row')}"
    so_far = f"{progress.what} {progress.mapping} {progress.share:.1%}, {several(progress.rows_done, 'row')}"
    if not working:
        return f"{so_far}, nobody works at it now"
    slowed = [signal.name for signal in progress.signals if signal.holds or signal.state == "throttling"]
    throttle = f", throttled by {', '.join(slowed)}" if slowed else f", {progress.held}" if progress.held else ""
    left = eta(progress.eta_low_s, progress.eta_high_s)
    return f"{so_far}, {count(progress.rate)} rows/s, ETA {left}{throttle}"


def newest(state: RunState) -> list[Progress]:
    """Of each mapping the copies, and of the comparisons that have ended the last one alone, in the plan's order."""
    place = {task.id: number for number, task in enumerate(state.tasks)}
    ordered = sorted(state.progress, key=lambda progress: place.get(progress.task_id, 0))
    last = {progress.mapping: progress.task_id for progress in ordered if _ended_comparison(progress)}
    return [p for p in ordered if not _ended_comparison(p) or last[p.mapping] == p.task_id]


def _ended_comparison(progress: Progress) -> bool:
    return progress.what == "compare" and progress.finished


def lock_words(wait: LockWait) -> str:
    """A statement that waits for its lock, in a few words."""
    now = f"waits for its lock, {several(wait.behind, 'session')} behind it" if wait.waits else "stands aside"
    return f"{wait.task_id} {now}, attempt {wait.attempt}, at most {count(wait.most_behind)} behind it: {wait.what}"


def drain_words(drain: Drain) -> str:
    """What a drain waits for, in a few words."""
    last = f", last used by {drain.last_user}" if drain.last_user else ""
    return (
        f"{drain.task_id}: the {drain.side} tables are quiet for {duration(drain.quiet_s)}"
        f" of {duration(drain.wanted_s)}{last}"
    )


def status_text(state: RunState, *, ascii_only: bool = False) -> str:
    """The run on one page: where it stands, what hinders it, and every task's state; no secrets."""
    state = public(state)
    lines = [f"{name:<9} {text}" for name, text in run_facts(state)]
    for progress in newest(state):
        lines.append(f"{'progress':<9} {progress_words(progress, working=_works(state))}")
    if state.lock_wait is not None:
        lines.append(f"{'lock':<9} {lock_words(state.lock_wait)}")
    if state.drain is not None:
        lines.append(f"{'drain':<9} {drain_words(state.drain)}")
    for session in state.sessions:
        where = f" on {session.table}" if session.table else ""
        lines.append(
            f"{'session':<9} pid {session.pid} ({session.application}, {session.user}) {session.role}{where}:"
            f" {session.state} for {duration(session.age_s)}: {session.query}"
        )
    lines += ["", *table([[*_task_row(task), task.note or task.blocked_on] for task in state.own], right=(3, 4))]
    return _printed(lines, ascii_only)


def run_facts(state: RunState) -> list[tuple[str, str]]:
    """What run it is and how it stands, as names and words."""
    target, lease = state.target, state.lease
    where = f"{target.database} at {target.host}:{target.port}, PostgreSQL {target.server_version}"
    at_work = state.status in (RunStatus.RUNNING, RunStatus.PAUSING, RunStatus.ROLLING_BACK)
    if lease is None:
        runner = "none: pgferry resume starts one" if at_work else "none"
    else:
        lost = (
            "NOT ANSWERING, but it holds the run: pgferry resume --take-over" if lease.held else "GONE: pgferry resume"
        )
        health = "alive" if lease.alive else lost
        runner = f"{lease.holder} on {lease.host}, pid {lease.pid}, heartbeat {duration(lease.age_s)} ago, {health}"
    entries = [
        ("run", f"{state.run_id}, {state.status.value}"),
        ("plan", f"{state.plan_title} ({state.plan_id})"),
        ("sha256", state.plan_sha256),
        ("database", f"{where}, {target.environment}"),
        ("operator", state.operator or "-"),
        ("runner", runner),
        ("started", clock(state.started_at)),
        ("finished", clock(state.finished_at)),
        ("now", clock(state.server_now)),
        ("tasks", f"{done_tasks(state)} of {len(state.own)} completed{_before(state)}"),
        ("leads", ", ".join(f"{mapping}: {shape}" for mapping, shape in state.leads) or "-"),
    ]
    if state.approval is not None and (state.approval.needed or state.approval.counted or state.approval.withdrawn):
        entries += [("approval" if not place else "", fact) for place, fact in enumerate(sentences(state.approval))]
    if state.audit is not None:
        entries.append(("audit", _audit_words(state.audit)))
    return [*entries, ("error", state.error)] if state.error else entries


def _audit_words(audit: Audit) -> str:
    if audit.intact:
        return f"intact: {several(audit.events, 'event')}, each carrying the hash of the one before"
    ids = ", ".join(str(id_) for id_ in audit.broken[:_BROKEN_SHOWN])
    return f"BROKEN: events were changed or taken away, see event {ids}"


def _task_row(task: TaskState) -> list[str]:
    actual = duration(task.seconds) if task.started_at else "-"
    return [task.id, task.status.value, task.title, minutes(task.estimate_minutes), actual]


def _latency_row(name: str, figures: Latency) -> list[str]:
    times = [f"{value:.2f}" for value in (figures.p50_ms, figures.p99_ms, figures.max_ms)]
    return [name, count(figures.operations), count(figures.errors), *times]


def _task_section(state: RunState) -> Section:
    head = ["Task", "State", "Title", "Estimate", "Actual", "Operator"]
    rows = [[*_task_row(task), task.operator or "-"] for task in state.own]
    worked = [task for task in state.tasks if task.status in _FINISHED]
    estimate = minutes(sum(task.estimate_minutes for task in worked))
    actual = duration(sum(task.seconds for task in worked))
    return "Tasks", head, [*rows, ["total", "", "of finished tasks", estimate, actual, ""]]


def _copy_section(state: RunState) -> Section:
    head = ["Task", "Mapping", "What", "Rows read", "Written", "Rejected", "Average rows/s"]
    rows = []
    for progress in state.progress:
        rate = average_rate(state, progress)
        numbers = [count(n) for n in (progress.rows_done, progress.rows_written, progress.rows_rejected)]
        rows.append([progress.task_id, progress.mapping, progress.what, *numbers, "-" if rate is None else count(rate)])
    return "Copies and comparisons", head, rows


def _batch_section(state: RunState) -> Section:
    """How each copy went: batches, attempts that failed, what the signals cost, and the hash of all it wrote."""
    head = ["Mapping", "Batches", "Tried again", "Held back", "Most by", "Hash of the rows as copied"]
    rows = []
    for progress in state.progress:
        if progress.what != "copy":
            continue
        worst = max(progress.signals, key=lambda signal: signal.cost_s, default=None)
        by = f"{worst.name} {duration(worst.cost_s)}" if worst and worst.cost_s else "-"
        numbers = [count(progress.chunks), count(progress.retries), duration(progress.lost_s), by]
        rows.append([progress.mapping, *numbers, progress.content_hash or "-"])
    return "Batches of the copies", head, rows


def _setting_section(state: RunState) -> Section:
    rows = [
        [progress.mapping, setting.name, setting.value, setting.set_by]
        for progress in state.progress
        for setting in progress.settings
        if setting.set_by != "the plan"
    ]
    return "Settings that operators changed", ["Mapping", "Setting", "Value", "Set by"], rows


def _reject_section(state: RunState) -> Section:
    mappings = dict.fromkeys(mapping for mapping, _, _ in state.rejects)
    rows = [[mapping, reason, count(rows)] for mapping in mappings for reason, rows in rejects_of(state, mapping)]
    return "Rejected rows", ["Mapping", "Reason", "Rows"], rows


def _check_section(state: RunState) -> Section:
    head = ["Result", "Check", "Task", "Severity", "Expected", "Actual", "Title"]
    rows = []
    for check in failing_first(state.checks):
        result = "passed" if check.ok else "FAILED" if check.severity == "error" else "warning"
        rows.append([result, check.check_id, check.task_id, check.severity, check.expected, check.actual, check.title])
        for sample in check.rows[:_SAMPLE_ROWS] if not check.ok else ():
            rows.append(["  row", ", ".join(f"{k} = {v}" for k, v in sample.items()), "", "", "", "", ""])
    return "Checks", head, rows


def _traffic_section(state: RunState) -> Section:
    head = ["Applications", "Operations", "Errors", "p50 ms", "p99 ms", "max ms"]
    traffic = state.traffic
    if traffic is None:
        return "Traffic", head, []
    rows = [_latency_row("before the run", traffic.before), _latency_row("during the run", traffic.during)]
    rows += [_latency_row(f"during: {kind}", figures) for kind, figures in traffic.by_kind]
    return "Traffic", head, rows


def _step_section(state: RunState) -> Section:
    """The applications' figures before the run, then by phase and by kind of step on each way."""
    head = ["Applications while", "Took", "Operations", "Errors", "p50 ms", "p99 ms", "max ms"]
    rows = []
    for step in state.traffic.steps if state.traffic else ():
        name = f"{step.way}, {'' if step.what == 'phase' else 'every '}{step.name}" if step.way else "before the run"
        _, *figures = _latency_row(name, step.latency)
        rows.append([name, duration(step.seconds), *figures])
    return "Traffic by phase and kind of step", head, rows


def _event_section(state: RunState) -> Section:
    rows = [[clock(e.at), e.actor, e.kind, e.task_id, e.text] for e in state.events[-_LAST_EVENTS:]]
    return "Events", ["At", "Who", "Kind", "Task", "What"], rows


def sections(state: RunState) -> list[Section]:
    """Everything else of the report, as titled tables; empty ones left out."""
    makers = (
        _task_section, _copy_section, _batch_section, _setting_section, _reject_section, _check_section, _traffic_section, _step_section, _event_section,
    )  # fmt: skip
    return [section for section in (maker(state) for maker in makers) if section[2]]


RIGHT = {
    "Tasks": (3, 4),
    "Copies and comparisons": (3, 4, 5, 6),
    "Batches of the copies": (1, 2, 3),
    "Rejected rows": (2,),
    "Traffic": (1, 2, 3, 4, 5),
    "Traffic by phase and kind of step": (1, 2, 3, 4, 5, 6),
}


def _printed(lines: list[str], ascii_only: bool) -> str:
    return "\n".join(safe(line, ascii_only=ascii_only).rstrip() for line in lines) + "\n"


def report_text(state: RunState, *, ascii_only: bool = False) -> str:
    """The report of a run for a terminal or a mail; no secrets."""
    state = public(state)
    lines = [f"{name:<9} {text}" for name, text in run_facts(state)]
    for title, head, rows in sections(state):
        made_safe = [[shorten(safe(cell, ascii_only=ascii_only), WIDEST) for cell in row] for row in [head, *rows]]
        lines += ["", title.upper(), *("  " + line for line in table(made_safe, right=RIGHT.get(title, ())))]
    for error in state.traffic.last_errors if state.traffic else ():
        lines.append(f"  last error of an application: {error}")
    return _printed(lines, ascii_only)


def report_markdown(state: RunState) -> str:
    """The report of a run as a Markdown page; nothing in its text is taken as markup, and no secret is in it."""
    state = public(state)
    lines = [f"# Run {state.run_id}: {markdown_cell(state.plan_title)}", ""]
    lines += markdown_table(["Fact", ""], [list(entry) for entry in run_facts(state)])
    for title, head, rows in sections(state):
        lines += ["", f"## {title}", "", *markdown_table(head, rows)]
    return "\n".join(lines) + "\n"


def report_json(state: RunState) -> dict[str, Any]:
    """The run as data: every field of its state, checks with the failed ones first, what the report derives; no secrets."""
    state = public(state)
    data: dict[str, Any] = to_json(state)
    data["checks"] = to_json(failing_first(state.checks))
    data["rejects"] = [{"mapping": safe(m), "reason": safe(r), "rows": rows} for m, r, rows in state.rejects]
    data["leads"] = {safe(mapping): safe(shape) for mapping, shape in state.leads}
    for entry, progress in zip(data["progress"], state.progress, strict=True):
        entry["average_rate"] = average_rate(state, progress)
    if state.traffic is not None:
        data["traffic"]["by_kind"] = {safe(kind): to_json(figures) for kind, figures in state.traffic.by_kind}
    data["tasks_completed"] = done_tasks(state)
    data["seconds_worked"] = sum(task.seconds for task in state.tasks)
    return data
