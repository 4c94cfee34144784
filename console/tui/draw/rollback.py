"""The rollback panel: which points can be reached, what going back does, loses and keeps, and how long it takes."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.text import Text

from console.journal.state import RollbackPreview, RollbackStep
from console.text import several
from console.tui.draw import numbers, rollback_text
from console.tui.draw.base import beside, cell, ends, fill, line, rule, scrolled, span, wrap
from console.tui.draw.going_back import ended_lines
from console.tui.draw.rollback_points import START, Point, slider, wall_lines
from console.tui.facts import Facts, Missing
from console.tui.glyphs import Glyphs

WIDE = 110
LISTED = 72  # cells from which on the list has room for a long title
ROOMY = 12  # lines under the list from which on sentences are told in full
LEAST_STEPS = 6  # lines of the list that facts never take


def meaning(facts: Facts, point: str) -> str:
    """The point in words."""
    if point == START:
        return "the start: the database as it was before this run"
    task = facts.task(point)
    return f"just before {point}, {task.title}" if task else f"just before {point}"


def known(facts: Facts, point: str) -> RollbackPreview | None:
    """What going back there would do, when it is known."""
    found = facts.rollbacks.get(point)
    return None if isinstance(found, Missing) else found


def listed_steps(preview: RollbackPreview) -> list[tuple[int, RollbackStep]]:
    """The steps that do something, numbered as they run; those that only looked or waited are named in one line."""
    numbered = list(enumerate(preview.steps, start=1))
    doing = [(number, step) for number, step in numbered if not _idle(step)]
    return doing if len(numbered) - len(doing) > 1 else numbered


def _idle(step: RollbackStep) -> bool:
    return not step.statements and "nothing to undo" in step.text


def screen(facts: Facts, found: Sequence[Point], chosen: int, step: int, size: tuple[int, int]) -> list[Text]:
    """The panel for the chosen point; ``step`` is the place of the chosen line in ``listed_steps``."""
    width, height = size
    after = ended_lines(facts, width)
    if not found:
        return fill(_nothing_done(after), width, height)
    walls = wall_lines(found, width)
    if chosen >= len(found):
        lines = [line((" Roll back", "title")), rule(facts.glyphs, width), *slider(found, chosen, width, facts.glyphs)]
        left = line((" Nothing before it can be reached: what a way back needs is gone for good.", "dim"))
        return fill([*lines, line(), *walls, left, line(), *after], width, height)
    point = found[chosen].id
    lines = [
        ends(
            line((" Roll back to ", "title"), meaning(facts, point)),
            line((f"point {chosen + 1} of {len(found)} ", "dim")),
            width,
        ),
        rule(facts.glyphs, width),
        *slider(found, chosen, width, facts.glyphs),
        *walls,
        *after,
    ]
    preview = facts.rollbacks.get(point)
    if preview is None or isinstance(preview, Missing):
        words = preview.text if preview and preview.text else "Working out what it would do.."
        style = "bad" if preview and preview.text else "dim"
        return fill([*lines, line(), *(line(" ", item) for item in wrap(words, width - 2, style))], width, height)
    room = height - len(lines) - 2
    body = _wide(preview, step, facts.glyphs, (width, room)) if width >= WIDE else _narrow(
        preview, step, facts.glyphs, (width, room)
    )  # fmt: skip
    return fill([*lines, *fill(body, width, room), rule(facts.glyphs, width), _enter(preview, facts)], width, height)


def _nothing_done(after: list[Text]) -> list[Text]:
    return [
        line((" Roll back", "title")),
        line(),
        *after,
        line(" Nothing of this run stands, so there is nothing to take back."),
        line((" A task's way back: enter opens its preview, w turns it.", "dim")),
    ]


def _wide(preview: RollbackPreview, step: int, glyphs: Glyphs, size: tuple[int, int]) -> list[Text]:
    width, height = size
    left = width * 11 // 20
    right = width - left - 3
    steps = listed_steps(preview)
    shown: list[Text] = []
    if steps:
        number, chosen = steps[min(step, len(steps) - 1)]
        shown = rollback_text.beside(chosen, number, len(preview.steps), (right, height), glyphs)
    listed = _narrow(preview, step, glyphs, (left, height), with_basis=False)
    return beside(fill(listed, left, height), fill(shown, right, height), glyphs, (left, right))


def _narrow(
    preview: RollbackPreview, step: int, glyphs: Glyphs, size: tuple[int, int], *, with_basis: bool = True
) -> list[Text]:
    width, height = size
    if preview.impossible:
        return [line(), *(item for item in _section("It cannot be done", (preview.impossible,), width, "bad", 6))]
    below = _facts(preview, width, max(height - LEAST_STEPS - 1, 3))
    lines, sight = _steps(preview, step, glyphs, (width, height - len(below) - 1), with_basis=with_basis)
    title = " What happens, in this order" if width >= LISTED else " What happens"
    head = ends(
        line((title, "title"), (f"  {sight}" if sight else "", "dim")),
        line(total_time(preview), " "),
        width,
    )
    lines = lines[: height - len(below) - 1]
    gap = height - len(lines) - len(below) - 1
    return [head, *lines, *([line()] if gap > 0 else []), *below]


def total_time(preview: RollbackPreview) -> str:
    """What the steps need together, with the number of those whose time nobody knows yet."""
    unknown = sum(step.seconds is None for step in preview.steps)
    if not unknown or preview.seconds is None:
        return numbers.about(preview.seconds)
    return f"{numbers.about(preview.seconds)}, and {unknown} {'step' if unknown == 1 else 'steps'} of unknown time"


def _steps(
    preview: RollbackPreview, chosen: int, glyphs: Glyphs, size: tuple[int, int], *, with_basis: bool
) -> tuple[list[Text], str]:
    """The list around the chosen step, told in full, and which of them are in sight where not all are."""
    width, height = size
    steps = listed_steps(preview)
    idle = len(preview.steps) - len(steps)
    tail = (
        [line((f"      and {several(idle, 'task')} that only looked or waited: nothing to undo", "dim"))]
        if idle
        else []
    )
    if not steps:
        return (tail or [line((" Nothing has to be taken back for it.", "dim"))]), ""
    chosen = min(chosen, len(steps) - 1)
    more = _told(steps[chosen][1], width) if with_basis else []
    room = max(height - len(tail) - len(more), 1)
    top = scrolled(max(chosen - room // 2, 0), chosen, len(steps), room)
    lines: list[Text] = []
    for place, (number, step) in enumerate(steps[top : top + room], start=top):
        right = line((numbers.about(step.seconds) + " ", "dim"))
        left = line((f"{number:>4}  ", "dim"), cell(step.task_id, 9, "accent"), " ", step.text)
        text = line((glyphs.cursor, "mark") if place == chosen else " ", ends(left, right, width - 1))
        if place == chosen:
            text.stylize("cursor", 1)
        lines.append(text)
        lines += more if place == chosen else []
    if top + room >= len(steps):
        lines += tail
    return lines, span(top, room, len(steps))


def _told(step: RollbackStep, width: int) -> list[Text]:
    """What of the chosen step its line has no room for: the rest of its words, where its time comes from."""
    room = width - 18 - len(numbers.about(step.seconds)) - 2
    whole = wrap(step.text, width - 18, limit=2) if cell_len(step.text) > room else []
    basis = wrap(step.basis, width - 18, "dim", limit=2) if step.basis else []
    return [line(" " * 17, item) for item in (*whole, *basis)]


def _facts(preview: RollbackPreview, width: int, room: int) -> list[Text]:
    """The sentences under the list, the most important first; as many as there is room for."""
    lines: list[Text] = []
    left = [(title, item, style) for title, items, style in rollback_text.sections(preview) for item in items]
    before = ""
    for place, (title, sentence, style) in enumerate(left):
        more = len(left) - place
        part = _section("" if title == before else title, (sentence,), width, style, 2 if room < ROOMY else 5)
        if len(lines) + len(part) > room - (more > 1):
            lines.append(line(" " * 17, (f"and {more} more facts: v shows all", "dim")))
            break
        lines += part
        before = title
    return lines


def _section(title: str, items: Sequence[str], width: int, style: str, limit: int) -> list[Text]:
    lines: list[Text] = []
    for item in items:
        for part in wrap(item, width - 18, style, limit=limit):
            lines.append(line(cell("" if lines else f" {title}", 17, "title"), part))
    return lines


def everything(
    preview: RollbackPreview, facts: Facts, point: str, top: int, size: tuple[int, int]
) -> tuple[list[Text], str]:
    """All facts and statements, from line ``top`` on; and which lines are in sight."""
    width, height = size
    lines = rollback_text.full(preview, width, facts.glyphs)
    first = scrolled(top, top, len(lines), height - 2)
    head = line((" Roll back to ", "title"), meaning(facts, point))
    return fill([head, rule(facts.glyphs, width), *lines[first:]], width, height), span(first, height - 2, len(lines))


def _enter(preview: RollbackPreview, facts: Facts) -> Text:
    if preview.impossible:
        return line(" ", ("Choose a later point: left and right move.", "dim"))
    if facts.dry_run:
        return line(" ", ("Dry run: this is what it would do; nothing can be rolled back from here.", "dim"))
    if facts.replay or not facts.can_control:
        return line(
            " ", ("This console only reads: it cannot roll back.", "dim"), f" {facts.offer}" if facts.offer else ""
        )
    if preview.needs_typing:
        return line(
            " ", ("enter", "key"), " asks for the name ", (preview.needs_typing, "bad"), " first: something is lost."
        )
    return line(" ", ("enter", "key"), " asks once more, then rolls back: nothing is lost.")
