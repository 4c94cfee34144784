"""The slider of the rollback panel: the points of a run, grouped by phase, and those that cannot be reached any more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text

from console.journal.state import RunState, TaskState, TaskStatus
from console.text import plain
from console.tui.draw import numbers
from console.tui.draw.base import Part, fit, line, wrap
from console.tui.glyphs import Glyphs

START = "start"
REACHED = (TaskStatus.COMPLETED, TaskStatus.IN_PROGRESS, TaskStatus.FAILED, TaskStatus.BLOCKED)
_AROUND = " .. "


@dataclass(frozen=True, slots=True)
class Point:
    """Where one can go back to: just before a task that was begun, or the start. ``wall``: what stands in between."""

    id: str
    phase: str
    wall: TaskState | None = None


def points(state: RunState | None, *, reviewing: bool = False) -> list[Point]:
    """The start, and just before each task that was begun, in the plan's order.

    ``reviewing``: of a plan that nobody began, all tasks, to read what each way back would run.
    """
    begun = [task for task in (state.tasks if state else ()) if task.status in REACHED and task.started_at]
    if reviewing and not begun and state is not None:
        begun = list(state.tasks)
    walls = [place for place, task in enumerate(begun) if task.irreversible and task.status is TaskStatus.COMPLETED]
    last = walls[-1] if walls else -1
    return [
        Point(task.id if place else START, task.phase_id, begun[last] if place <= last else None)
        for place, task in enumerate(begun)
    ]


def first_reachable(found: Sequence[Point]) -> int:
    """The place of the earliest point that can still be reached; the number of points where none can."""
    return next((place for place, point in enumerate(found) if point.wall is None), len(found))


def next_phase(found: Sequence[Point], chosen: int, step: int) -> int:
    """The place of the first point of the phase before or after; within a phase, back goes to its own first point."""
    firsts = [place for place, point in enumerate(found) if not place or point.phase != found[place - 1].phase]
    if step < 0:
        return max((place for place in firsts if place < chosen), default=0)
    return min((place for place in firsts if place > chosen), default=len(found) - 1)


def slider(found: Sequence[Point], chosen: int, width: int, glyphs: Glyphs) -> list[Text]:
    """Two lines: the whole run, each point a cell; and the names around the chosen one."""
    return [rail(found, chosen, width, glyphs), names([point.id for point in found], chosen, width)]


def rail(found: Sequence[Point], chosen: int, width: int, glyphs: Glyphs) -> Text:
    """What stays, where the chosen point is, what is taken back; ``x`` where nothing can be reached."""
    phases = list(dict.fromkeys(point.phase for point in found))
    titles = sum(len(plain(phase)) + 1 for phase in phases)
    room = max(width - titles - len(" start  now "), len(phases))
    scale = min(3.0, room / max(len(found), 1))  # few points: wider cells, as a slider is read more easily
    parts: list[Part] = [(" start", "dim")]
    for phase in phases:
        inside = [place for place, point in enumerate(found) if point.phase == phase]
        parts.append((f" {phase}", "title" if found[min(chosen, len(found) - 1)].phase == phase else "dim"))
        cells = max(int(len(inside) * scale), 1)
        for number in range(cells):
            first = number * len(inside) // cells
            of = inside[first : max((number + 1) * len(inside) // cells, first + 1)]
            parts.append(_cell(found, of, chosen, glyphs))
    return fit(line(*parts, (" now", "dim")), width)


def _cell(found: Sequence[Point], places: Sequence[int], chosen: int, glyphs: Glyphs) -> tuple[str, str]:
    if chosen in places:
        return (glyphs.blocks[-1], "accent")
    if found[places[-1]].wall is not None:
        return ("x", "bad")
    return ("<", "warn") if places[0] > chosen else (glyphs.rule, "ok")


def names(ids: Sequence[str], chosen: int, width: int) -> Text:
    """The points by name around the chosen one."""
    prefix = " to  "
    labels = [f"[{plain(name)}]" if index == chosen else plain(name) for index, name in enumerate(ids)]
    if chosen >= len(labels):
        return line()
    room = width - len(prefix) - len("<< >> ") - 1
    first = last = chosen
    used = len(labels[chosen])
    while True:
        before = len(labels[first - 1]) + len(_AROUND) if first else 0
        after = len(labels[last + 1]) + len(_AROUND) if last + 1 < len(labels) else 0
        if before and used + before <= room and (chosen - first <= last - chosen or not after):
            first, used = first - 1, used + before
        elif after and used + after <= room:
            last, used = last + 1, used + after
        elif before and used + before <= room:
            first, used = first - 1, used + before
        else:
            break
    parts: list[Part] = [(prefix, "dim"), ("<< " if first else "", "dim")]
    for index in range(first, last + 1):
        if index > first:
            parts.append((_AROUND, "dim"))
        parts.append((labels[index], "accent" if index == chosen else ""))
    parts.append((" >>" if last + 1 < len(labels) else "", "dim"))
    return fit(line(*parts), width)


def wall_lines(found: Sequence[Point], width: int) -> list[Text]:
    """Which task has no way back, since when and why, where some points lie beyond it."""
    wall = next((point.wall for point in found if point.wall is not None), None)
    if wall is None:
        return []
    since = f", done at {numbers.clock(wall.finished_at)}" if wall.finished_at else ""
    by = f" by {wall.operator}" if wall.operator else ""
    words = f"NO WAY BACK beyond {wall.id}{since}{by}: {wall.irreversible}"
    return [line(" ", item) for item in wrap(words, width - 2, "bad", limit=2)]
