"""What the reports of a plan say first: how much, the worst locks, the hazards, what was rehearsed, who approved it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from console.headless.plan_text import Previews, no_way_back, strongest_locks, way_back
from console.headless.rehearsed_words import rehearsed_words, task_outcome
from console.headless.words import minutes, strength, waits
from console.plan.approval import Standing, sentences
from console.plan.model import Plan, Task
from console.plan.rehearsed import Rehearsal
from console.sql.model import Hazard, Lock, Statement
from console.text import several

FORWARD, BACK = "forward", "back"
_MATTERS = strength("SHARE UPDATE EXCLUSIVE")


@dataclass(frozen=True, slots=True)
class PlanReport:
    """Everything a report is made from. ``rehearsal``: of exactly this plan, None without one."""

    plan: Plan
    previews: Previews
    stands: Standing | None = None
    rehearsal: Rehearsal | None = None


@dataclass(frozen=True, slots=True)
class HazardAt:
    """A hazard with its place in the plan; ``statement`` is None where only the whole plan shows it of the task."""

    task: Task
    way: str
    statement: Statement | None
    hazard: Hazard

    @property
    def place(self) -> str:
        """Where it stands, in words."""
        return place_of(self.statement) if self.statement else self.task.file.path if self.task.file else "plan.toml"


def hazards_of(report: PlanReport, way: str = FORWARD, *, accepted: bool = False) -> list[HazardAt]:
    """The hazards on one way, those that hurt first; with ``accepted`` those that the file or the task allows instead.

    The two ways are told apart: a way back drops what the way forward made, and is run only by whoever wants that.
    """
    order = {"hurts": 0, "note": 1, "style": 2}
    found = [
        HazardAt(task, way, None, hazard)
        for task, preview in ((task, report.previews.get(task.id)) for task in report.plan.tasks)
        if preview and way == FORWARD
        for hazard in (preview.accepted if accepted else preview.hazards)
    ]
    found += [
        HazardAt(task, way, statement, hazard)
        for task, side, statement in _statements(report)
        if side == way
        for hazard in (statement.accepted if accepted else statement.hazards)
    ]
    return sorted(found, key=lambda one: order.get(one.hazard.level, 0))


def hazard_rows(report: PlanReport, way: str = FORWARD, *, accepted: bool = False) -> list[list[str]]:
    """``HAZARD_HEAD`` for each hazard of a task, those of one code together: the first place and how many more."""
    groups: dict[tuple[str, str], list[HazardAt]] = {}
    for one in hazards_of(report, way, accepted=accepted):
        groups.setdefault((one.task.id, one.hazard.code), []).append(one)
    rows = []
    for (task_id, code), group in groups.items():
        first, more = group[0], len(group) - 1
        level = "" if first.hazard.level == "hurts" else f" ({first.hazard.level})"
        words = first.hazard.allowed if accepted else first.hazard.message
        again = f" And {more} more like it in this task." if more else ""
        rows.append([code + level, task_id, first.place, words + again])
    return rows


HAZARD_HEAD = ["Hazard", "Task", "First at", "What"]


def _statements(report: PlanReport) -> Iterator[tuple[Task, str, Statement]]:
    for task in report.plan.tasks:
        preview = report.previews.get(task.id)
        for way, statements in ((FORWARD, preview.up), (BACK, preview.down)) if preview else ():
            yield from ((task, way, statement) for statement in statements)


def summary(report: PlanReport) -> list[tuple[str, str]]:
    """The facts above everything else, by name."""
    plan = report.plan
    counted = [way for _, way, _ in _statements(report)]
    unread = [statement for _, _, statement in _statements(report) if not statement.read_by.postgresql]
    levels = [one.hazard.level for one in hazards_of(report)]
    hurts, notes = levels.count("hurts"), len(levels) - levels.count("hurts")
    accepted = len(hazards_of(report, accepted=True))
    undoing = len(hazards_of(report, BACK))
    back = no_way_back(plan, report.previews)
    return [
        ("plan", f"{plan.title} ({plan.id})"),
        ("sha256", plan.sha256),
        *(("read as", note) for note in plan.notes),
        *(("approval", fact) for fact in (sentences(report.stands) if report.stands else ())),
        (
            "tasks",
            f"{len(plan.tasks)} in {several(len(plan.phases), 'phase')}, {minutes(sum(t.minutes for t in plan.tasks))}",
        ),
        ("statements", f"{counted.count(FORWARD):,} forward, {counted.count(BACK):,} back"),
        ("worst lock", _worst(report)),
        ("hazards", f"{hurts} that hurt, {notes} notes, {accepted} accepted with a reason; {undoing} in ways back"),
        *([("not understood", f"{several(len(unread), 'statement')}, taken for the worst")] if unread else []),
        ("no way back", ", ".join(task.id for task, _ in back) or "none: every task can be undone"),
        ("rehearsed", rehearsed_words(report.rehearsal)),
        ("servers", f"PostgreSQL {plan.server_min} to {plan.server_max}"),
    ]


def _worst(report: PlanReport) -> str:
    locks = strongest_locks(report.previews)
    if not locks:
        return "none on anything that exists before"
    first = [
        lock.object for lock in sorted(locks, key=lambda lock: lock.basis == "assumed") if lock.mode == locks[0].mode
    ]
    more = f" and {len(first) - 3} more" if len(first) > 3 else ""
    return f"{locks[0].mode} on {', '.join(first[:3])}{more}: {waits(locks[0].mode)}"


def lock_rows(report: PlanReport) -> list[list[str]]:
    """Object, mode, effect, basis and task of the strongest lock on each object that exists before, the worst first.

    Locks that leave reads, writes and index builds alone are left out; what is only assumed comes after what is known.
    """
    locks = [lock for lock in strongest_locks(report.previews) if strength(lock.mode) >= _MATTERS]
    locks.sort(key=lambda lock: (-strength(lock.mode), lock.basis == "assumed"))
    return [[lock.object, lock.mode, waits(lock.mode), lock.basis, _who_takes(report, lock)] for lock in locks]


def _who_takes(report: PlanReport, lock: Lock) -> str:
    found = [
        task.id for task, way, statement in _statements(report)
        if way == FORWARD and any((one.object, one.mode) == (lock.object, lock.mode) for one in statement.locks)
    ]  # fmt: skip
    return ", ".join(dict.fromkeys(found))


def place_of(statement: Statement) -> str:
    """Where a statement stands, in words."""
    return f"{statement.file}:{statement.line}" if statement.file else "derived"


def task_row(report: PlanReport, task: Task) -> list[str]:
    """A task in a line: id, title, kind, statements, its worst lock, hazards, way back, rehearsal."""
    preview = report.previews.get(task.id)
    up = preview.up if preview else ()
    locks = [lock for statement in up for lock in statement.locks if not lock.new]
    worst = max(locks, key=lambda lock: strength(lock.mode), default=None)
    hurts = sum(hazard.level == "hurts" for statement in up for hazard in statement.hazards)
    hurts += sum(hazard.level == "hurts" for hazard in preview.hazards) if preview else 0
    return [
        task.id, task.title, task.kind.value, str(len(up)), f"{worst.mode} on {worst.object}" if worst else "-",
        str(hurts) if hurts else "-", way_back(task, preview), rehearsed_task(report, task),
    ]  # fmt: skip


TASK_HEAD = ["Task", "Title", "Kind", "Statements", "Worst lock", "Hazards", "Way back", "Rehearsed"]


def rehearsed_task(report: PlanReport, task: Task) -> str:
    """What the rehearsal says of a task, in few words."""
    found = report.rehearsal.task(task.id) if report.rehearsal else None
    return task_outcome(found) if found else "not rehearsed"


def made(at: datetime) -> str:
    """When a report was made."""
    return f"{at:%Y-%m-%d %H:%M} UTC"
