"""What a rehearsal came to, in few words."""

from __future__ import annotations

from console.plan.rehearsed import Outcome, Rehearsal, TaskRehearsed


def rehearsed_words(record: Rehearsal | None) -> str:
    """What a rehearsal came to, in one line."""
    if record is None:
        return "NOT REHEARSED: every lock and time is derived, none was measured"
    parts = []
    for outcome in Outcome:
        ids = [task.task_id for task in record.tasks if task.outcome is outcome]
        named = f" ({', '.join(ids[:6])}{', ...' if len(ids) > 6 else ''})" if outcome is not Outcome.PASSED else ""
        parts += [f"{len(ids)} {outcome.value}{named}"] if ids else []
    return f"{record.made_at[:16].replace('T', ' ')} UTC on PostgreSQL {version(record)}: {', '.join(parts)}"


def version(record: Rehearsal) -> str:
    """The server's version as people write it."""
    return f"{record.server_version // 10000}.{record.server_version % 10000}"


def task_outcome(task: TaskRehearsed) -> str:
    """``passed, 12 ms, back 3 ms``, or what went wrong."""
    if task.outcome is Outcome.PASSED:
        back = f", back {ms(task.back_ms)}" if task.back_ms else ""
        return f"passed, {ms(task.forward_ms)}{back}" + (f" ({task.why})" if task.why else "")
    return f"{task.outcome.value.upper()}: {task.why}" if task.why else task.outcome.value.upper()


def ms(value: float) -> str:
    """Milliseconds as ``0.4 ms``, ``12 ms`` or ``3.2 s``."""
    return f"{value:.1f} ms" if value < 10 else f"{value:.0f} ms" if value < 1000 else f"{value / 1000:.1f} s"
