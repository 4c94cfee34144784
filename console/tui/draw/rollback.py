"""The rollback panel: which points can be reached, what going back does, loses and keeps, and how long it takes."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from console.journal.state import RollbackPreview, RollbackStep, RunState, TaskStatus
from console.text import plain
from console.tui.draw import numbers
from console.tui.draw.base import cell, ends, fill, fit, line, rule, wrap
from console.tui.draw.source import first_line
from console.tui.facts import Facts, Missing
from console.tui.glyphs import Glyphs

START = "start"
REACHED = (TaskStatus.COMPLETED, TaskStatus.IN_PROGRESS, TaskStatus.FAILED, TaskStatus.BLOCKED)


def points(state: RunState | None) -> list[str]:
    """Where one can go back to: the start, and just before each task that was begun, in the plan's order."""
    tasks = state.tasks if state else ()
    begun = [task.id for task in tasks if task.status in REACHED and task.started_at]
    return [START, *begun[1:]] if begun else []


def slider(names: Sequence[str], chosen: int, width: int, glyphs: Glyphs) -> list[Text]:
    """The points in one line around the chosen one, and a mark under it."""
    prefix = " to  "
    labels = [f"[{plain(name)}]" if index == chosen else plain(name) for index, name in enumerate(names)]
    room = width - len(prefix) - len(" .. >now<") - 4
    first = last = chosen
    used = len(labels[chosen])
    while True:
        before = len(labels[first - 1]) + 4 if first else 0
        after = len(labels[last + 1]) + 4 if last + 1 < len(labels) else 0
        if before and used + before <= room:
            first, used = first - 1, used + before
        elif after and used + after <= room:
            last, used = last + 1, used + after
        else:
            break
    text = line((prefix, "dim"), ("<< " if first else "", "dim"))
    at = 0
    for index in range(first, last + 1):
        if index == chosen:
            at = text.cell_len
        text.append(labels[index], "accent" if index == chosen else "")
        text.append(" .. ", "dim")
    text.append("" if last + 1 == len(labels) else ">> ", "dim")
    text.append(">now<", "dim")
    return [fit(text, width), line(" " * (at + 1), ("^", "accent"))]


def meaning(facts: Facts, point: str) -> str:
    """The point in words."""
    if point == START:
        return "the start: the database as it was before this run"
    task = facts.task(point)
    return f"just before {point}, {task.title}" if task else f"just before {point}"


def screen(facts: Facts, names: Sequence[str], chosen: int, detailed: bool, size: tuple[int, int]) -> list[Text]:
    """The whole panel; ``detailed`` lists each step's statements."""
    width, height = size
    if not names:
        return fill(
            [
                line((" Roll back", "title")),
                line(),
                line(" Nothing has been done yet, so there is nothing to take back."),
                line((" A task's way back: enter opens its preview, w turns it.", "dim")),
            ],
            width,
            height,
        )
    point = names[chosen]
    lines = [
        ends(
            line((" Roll back to ", "title"), meaning(facts, point)),
            line((f"point {chosen + 1} of {len(names)} ", "dim")),
            width,
        ),
        rule(facts.glyphs, width),
        *slider(names, chosen, width, facts.glyphs),
    ]
    preview = facts.rollbacks.get(point)
    if preview is None or isinstance(preview, Missing):
        words = preview.text if preview and preview.text else "Working out what it would do.."
        style = "bad" if preview and preview.text else "dim"
        return fill([*lines, line(), *(line(" ", item) for item in wrap(words, width - 2, style))], width, height)
    return fill(_arranged(lines, preview, detailed, facts, size), width, height)


def _arranged(
    lines: list[Text], preview: RollbackPreview, detailed: bool, facts: Facts, size: tuple[int, int]
) -> list[Text]:
    width, height = size
    if preview.impossible:
        lines += [line(), line((" It cannot be done", "bad"))]
        lines += [line("   ", item) for item in wrap(preview.impossible, width - 4)]
        return lines + _ends(preview, width)
    after = [line(), *_ends(preview, width)]
    lines.append(ends(line((" What happens, in this order", "title")), line(total_time(preview), " "), width))
    lines += _steps(preview.steps, detailed, width, height - len(lines) - len(after) - 2)
    lines += after
    lines += [line()] * (height - len(lines) - 2)
    return [*lines, rule(facts.glyphs, width), _enter(preview, facts)]


def total_time(preview: RollbackPreview) -> str:
    """What the steps need together, with the number of those whose time nobody knows yet."""
    unknown = sum(step.seconds is None for step in preview.steps)
    if not unknown or preview.seconds is None:
        return numbers.about(preview.seconds)
    return f"{numbers.about(preview.seconds)}, and {unknown} {'step' if unknown == 1 else 'steps'} of unknown time"


def _steps(steps: Sequence[RollbackStep], detailed: bool, width: int, room: int) -> list[Text]:
    lines: list[Text] = []
    idle = [step for step in steps if not step.statements and step.text.startswith("nothing to undo")]
    idle = idle if len(idle) > 1 else []  # checks and waits would hide what is done
    for number, step in enumerate((step for step in steps if step not in idle), start=1):
        right = line((numbers.about(step.seconds) + " ", "dim"))
        left = line((f"{number:>4}  ", "dim"), cell(step.task_id, 9, "accent"), " ", step.text)
        lines.append(ends(left, right, width))
        if detailed:
            lines += [line(" " * 16, first_line(item)) for item in step.statements]
    if idle:
        lines.append(line((f"      and {len(idle)} tasks that only looked or waited: nothing to undo", "dim")))
    if len(lines) > room:
        hidden = len(lines) - max(room - 1, 0)
        lines = [
            *lines[: max(room - 1, 0)],
            line((f"      and {hidden} more lines: y copies all of it to a file", "dim")),
        ]
    return lines


def _ends(preview: RollbackPreview, width: int) -> list[Text]:
    lines = [line((" What is lost    ", "title"), ("nothing", "ok") if not preview.loses else "")]
    if preview.loses:
        lines = _listed(" What is lost", preview.loses, width, "bad")
    elif preview.impossible:
        lines = []
    lines += _listed(" What stays", preview.keeps, width, "")
    return lines + _listed(" Facts", preview.facts, width, "dim")


def _listed(title: str, items: Sequence[str], width: int, style: str) -> list[Text]:
    lines: list[Text] = []
    for item in items:
        for part in wrap(item, width - 18, style, limit=2):
            lines.append(line(cell("" if lines else title, 17, "title"), part))
    return lines


def _enter(preview: RollbackPreview, facts: Facts) -> Text:
    if facts.dry_run or not facts.can_control:
        return line(" ", ("This console only reads: it cannot roll back.", "dim"))
    if preview.needs_typing:
        return line(
            " ", ("enter", "key"), " asks for the name ", (preview.needs_typing, "bad"), " first: something is lost."
        )
    return line(" ", ("enter", "key"), " asks once more, then rolls back: nothing is lost.")


def plan_text(preview: RollbackPreview) -> str:
    """The preview as text for a file."""
    parts = [f"-- roll back to {preview.to}"]
    for number, step in enumerate(preview.steps, start=1):
        parts += [f"-- {number}. {step.task_id}: {step.text}", *(f"{item.rstrip(';')};" for item in step.statements)]
    return "\n".join(parts) + "\n"
