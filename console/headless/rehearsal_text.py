"""A rehearsal as text: a line for each task, then what differs and what is lacking."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from console.headless.words import count, safe, strength, table
from console.plan.model import Plan
from console.plan.rehearsed import TARGET, UP, Outcome, Rehearsal, TaskRehearsed
from console.text import several

_LINES_SHOWN = 8
_WORDS = {Outcome.PASSED: "passed", Outcome.DIFFERS: "DIFFERS", Outcome.FAILED: "FAILED", Outcome.NOT_REHEARSED: "-"}


def rehearsal_text(record: Rehearsal, plan: Plan, *, ascii_only: bool = False) -> str:
    """The whole record as lines for a terminal."""
    lines = [*_head(record), "", *_tasks(record, plan), *_reasons(record), *_rest(record), "", verdict(record)]
    return "\n".join(safe(line, ascii_only=ascii_only) for line in lines)


def verdict(record: Rehearsal) -> str:
    """One line: how many passed, and what that means."""
    found = Counter(task.outcome for task in record.tasks)
    parts = [f"{found[outcome]} {outcome}" for outcome in Outcome if found[outcome]]
    return f"{several(len(record.tasks), 'task')}: {', '.join(parts)}"


def _head(record: Rehearsal) -> Iterator[str]:
    where = "on the target, rolled back" if record.mode == TARGET else "on a scratch server"
    version = f"{record.server_version // 10000}.{record.server_version % 10000}"
    yield f"{record.plan_id} {record.plan_sha256[:12]} rehearsed {where}, PostgreSQL {version}, {record.made_at}"
    rows = ", ".join(f"{name} {count(rows)}" for name, rows in record.rows[:8])
    more = f" and {len(record.rows) - 8} more tables" if len(record.rows) > 8 else ""
    yield f"rows: {record.data}{f' ({rows}{more})' if rows else ''}"


def strongest(task: TaskRehearsed, side: str = UP) -> str:
    """The strongest lock on what stood before, as ``MODE on object``; empty for none."""
    locks = [(mode, name) for one in task.statements if one.side == side for name, mode in one.locks]
    if not locks:
        return ""
    best = max(strength(mode) for mode, _ in locks)
    names = list(dict.fromkeys(name for mode, name in locks if strength(mode) == best))
    mode = next(mode for mode, _ in locks if strength(mode) == best)
    return f"{mode} on {', '.join(names[:2])}{f' and {len(names) - 2} more' if len(names) > 2 else ''}"


def _tasks(record: Rehearsal, plan: Plan) -> list[str]:
    titles = {task.id: task.title for task in plan.tasks}
    rows = [["task", "outcome", "forward", "back", "log", "strongest lock on what stood before", "title"]]
    for task in record.tasks:
        rewritten = [name for one in task.statements if one.side == UP for name in one.rewritten]
        lock = strongest(task) + (f"; rewrites {', '.join(dict.fromkeys(rewritten))}" if rewritten else "")
        rows.append(
            [
                task.task_id, _WORDS[task.outcome], _ms(task.forward_ms), _ms(task.back_ms), _size(task.wal_bytes), lock,
                titles.get(task.task_id, ""),
            ]
        )  # fmt: skip
    return table(rows, right=(2, 3, 4))


def _ms(ms: float) -> str:
    return f"{ms:,.0f} ms" if ms else ""


def _size(size: int) -> str:
    return f"{size / 1024:,.0f} kB" if size else ""


def _reasons(record: Rehearsal) -> Iterator[str]:
    for task in record.tasks:
        if not task.why and not task.differences:
            continue
        yield ""
        yield f"{task.task_id} {task.outcome}: {task.why}"
        if task.outcome in (Outcome.DIFFERS, Outcome.FAILED):
            for found in task.differences:
                yield f"  {found.object}"
                yield from _definition("before", found.before)
                yield from _definition("after", found.after)


def _definition(word: str, text: str) -> Iterator[str]:
    lines = text.splitlines() or ["(absent)"]
    for number, line in enumerate(lines[:_LINES_SHOWN]):
        yield f"    {word if number == 0 else '':6} {line}"
    if len(lines) > _LINES_SHOWN:
        yield f"           ... {len(lines) - _LINES_SHOWN} more lines"


def _rest(record: Rehearsal) -> Iterator[str]:
    if record.lacks:
        yield ""
        yield from (f"lacking: {one}" for one in record.lacks)
    if record.notes:
        yield ""
        yield from (f"note: {one}" for one in record.notes)
