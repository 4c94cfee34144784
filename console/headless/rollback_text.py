"""What going back would do, as lines for a terminal or a file; the same facts as the console's panel."""

from __future__ import annotations

from console.headless.words import duration, safe
from console.journal.state import RollbackPreview, RollbackStep
from console.text import several


def rollback_text(preview: RollbackPreview, *, statements: bool = True) -> str:
    """Steps with their times and what those were taken from, the facts, then with ``statements`` their SQL and locks."""
    lines = [_step(step, number) for number, step in enumerate(preview.steps, 1)]
    if preview.steps:
        unknown = sum(step.seconds is None for step in preview.steps)
        left = f", and {several(unknown, 'step')} of unknown time" if unknown and preview.seconds is not None else ""
        lines.append(f"together: {_time(preview.seconds)}{left}")
    lines += [f"first: {item}" for item in preview.before]
    lines += [*preview.facts, *(f"keeps: {kept}" for kept in preview.keeps)]
    lines.append("loses: " + ("; ".join(preview.loses) or "nothing"))
    lines += [f"type {preview.needs_typing} to accept the loss (--typed)"] if preview.needs_typing else []
    lines += [f"impossible: {preview.impossible}"] if preview.impossible else []
    for number, step in enumerate(preview.steps if statements else (), 1):
        lines += _statements(step, number)
    return "\n".join(safe(line) for line in lines)


def _step(step: RollbackStep, number: int) -> str:
    if not step.statements and not step.seconds and step.seconds is not None:
        return f"{number:3}  {step.task_id}  {step.text}"
    basis = f" ({step.basis})" if step.basis else ""
    return f"{number:3}  {step.task_id}  {step.text}: {_time(step.seconds)}{basis}"


def _statements(step: RollbackStep, number: int) -> list[str]:
    lines = ["", f"-- {number}. {step.task_id}"] if step.statements else []
    for text, lock in zip(step.statements, step.locks or ("",) * len(step.statements), strict=True):
        lines += [f"--    {lock}"] if lock else []
        lines += f"{text.strip().rstrip(';')};".splitlines()
    return lines


def _time(seconds: float | None) -> str:
    return "time unknown" if seconds is None else f"about {duration(seconds)}"
