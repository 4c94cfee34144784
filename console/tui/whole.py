"""The whole screen as lines: the frame that never changes place, the view, and a question over its lower part."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from console.tui.draw import frame, pages
from console.tui.draw.base import fill, line, rule
from console.tui.facts import asks_for_a_person, can_resume, is_active
from console.tui.keys import footer

if TYPE_CHECKING:
    from console.tui.shell import Shell

SMALLEST = (60, 16)
FRAME_LINES = 5  # band, strip, rule above the body; notice and footer below


def lines(shell: Shell, width: int, height: int) -> list[Text]:
    """The whole screen as lines."""
    facts = shell.facts
    if width < SMALLEST[0] or height < SMALLEST[1]:
        return fill(frame.too_small(facts, width, height), width, height)
    state = facts.state
    body = shell.view.draw(facts, (width, height - FRAME_LINES))
    strip = frame.phase_strip(state, width, facts.glyphs) if state else line(" " * width)
    paused = state is not None and can_resume(state)
    keys = footer(
        shell.view.footer(facts), facts.can_control, paused, facts.dry_run, bool(facts.replay),
        runs=is_active(state) and not paused, asks=state is not None and asks_for_a_person(state),
    )  # fmt: skip
    if shell.prompt:
        keys = (("enter", "runs it" if shell.view is shell.palette else "keeps it"), ("esc", "closes"))
    if shell.question is not None:
        asked = shell.question
        options = [(option.key, option.label) for option in asked.options]
        lower = pages.question(asked.title, asked.words, options, shell.chosen, facts.glyphs, width)
        body = [*body[: max(len(body) - len(lower), 0)], *lower][-len(body) :]
        keys = (("enter", "does it"), ("esc", "leaves everything as it is"))
    return [
        frame.band(facts, width),
        strip,
        rule(facts.glyphs, width),
        *body,
        _notice_line(shell, width),
        frame.footer(keys, width),
    ]


def _notice_line(shell: Shell, width: int) -> Text:
    facts = shell.facts
    if shell.prompt:
        return frame.notice_line(facts.glyphs, width, (shell.prompt, "ask"))
    notice = shell.notice
    if not notice[0] and facts.stale:
        notice = (f"{facts.stale} Trying again.", "bad")
    label = shell.view.label(facts)
    if facts.dry_run and not label:
        label = "dry run: nothing can be written"
    if facts.offer and not shell.view.words:  # who has control is worth more than which lines are in sight
        both = f"{label}, {facts.offer}" if label else facts.offer
        label = both if len(both) + 6 < width else facts.offer
    return frame.notice_line(facts.glyphs, width, notice, label)
