"""Pages of text: the keys, the list of commands, a question to the operator."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from console.tui.draw.base import beside, cell, ends, fill, fit, heading, line, scrolled, span, wrap
from console.tui.facts import Facts
from console.tui.glyphs import Glyphs
from console.tui.keys import KEYS, MOVE, REPLAY, RUN, SCREEN, Key

SPLIT = 110  # columns from which on the keys stand in two columns


def help_lines(view: str, title: str, facts: Facts, width: int) -> list[Text]:
    """Every key that works on the screen ``view`` was opened from, then the signs and words."""
    if width < SPLIT:
        return [*_keys_of(view, title, facts, width), *_keys_everywhere(facts, width), *_signs(facts.glyphs, width)]
    left, right = (width - 3) // 2, width - 3 - (width - 3) // 2
    first = _keys_of(view, title, facts, left)
    second = [*_keys_everywhere(facts, right), *_signs(facts.glyphs, right)]
    return beside(first, second, facts.glyphs, (left, right))


def _keys_of(view: str, title: str, facts: Facts, width: int) -> list[Text]:
    """The keys of the screen, and those of the run."""
    known = [key for key in KEYS if key.keys and (facts.dry_run or not key.review)]
    here = [key for key in known if view in key.where]
    lines: list[Text] = []
    if here:
        lines += [heading(facts.glyphs, width, f"on this screen: {title}"), *_key_lines(here, view, width)]
    if facts.replay:
        wound = [key for key in known if key.group == REPLAY or key.replay]
        return [*lines, heading(facts.glyphs, width, "the replay"), *_key_lines(wound, view, width)]
    of_the_run = "the run" if facts.can_control else "the run (this console only reads)"
    lines.append(heading(facts.glyphs, width, of_the_run))
    return lines + _key_lines([key for key in known if key.group == RUN], view, width)


def _keys_everywhere(facts: Facts, width: int) -> list[Text]:
    """The screens, moving, and what is the same on all of them."""
    known = [key for key in KEYS if key.keys and not key.where]
    lines = [heading(facts.glyphs, width, "screens")]
    lines += _key_lines([key for key in known if key.group == SCREEN], "", width)
    lines.append(heading(facts.glyphs, width, "everywhere"))
    moves = [key for key in known if key.group == MOVE]
    for one, other in zip(moves[::2], moves[1::2], strict=True):
        pair = (line("  ", cell(item.shown, 8, "key"), cell(item.help, 22)) for item in (one, other))
        lines.append(line(*pair))
    return lines + _key_lines([key for key in known if not key.group], "", width)


def _signs(glyphs: Glyphs, width: int) -> list[Text]:
    signs = (
        (glyphs.done, "completed"),
        (glyphs.running, "in progress"),
        (glyphs.pending, "pending"),
        (glyphs.failed, "failed"),
        (glyphs.blocked, "blocked: waits for something or for you"),
        (glyphs.deferred, "deferred"),
        (glyphs.rolled_back, "rolled back"),
        ("!!", "beside a statement: a known hazard"),
        ("??", "beside a statement: not fully understood, so never called safe"),
    )
    return [heading(glyphs, width, "signs"), *(line("  ", cell(sign, 8, "key"), words) for sign, words in signs)]


def _key_lines(keys: Sequence[Key], view: str, width: int) -> list[Text]:
    lines: list[Text] = []
    for key in keys:
        for number, part in enumerate(wrap(key.help_in(view), width - 12)):
            lines.append(line("  ", cell("" if number else key.shown, 8, "key"), part))
    return lines


def scrolled_page(title: str, lines: Sequence[Text], top: int, size: tuple[int, int]) -> list[Text]:
    """A page under its title, from line ``top`` on."""
    width, height = size
    first = scrolled(top, top, len(lines), height - 1)
    head = ends(line((f" {title}", "title")), line((span(first, height - 1, len(lines)) + " ", "dim")), width)
    return fill([head, *lines[first : first + height - 1]], width, height)


def palette(keys: Sequence[Key], chosen: int, glyphs: Glyphs, size: tuple[int, int]) -> list[Text]:
    """The commands that match what was typed."""
    width, height = size
    lines = [line((" Commands", "title"), ("  type to narrow, enter runs the marked one", "dim")), line()]
    top = scrolled(0, chosen, len(keys), height - 2)
    for index, key in enumerate(keys[top:], start=top):
        text = fit(line(" ", cell(key.shown, 8, "key"), key.help), width - 1)
        if index == chosen:
            text.stylize("cursor")
        lines.append(line((glyphs.cursor, "mark") if index == chosen else " ", text))
    if not keys:
        lines.append(line(" ", ("No command has these words.", "dim")))
    return fill(lines, width, height)


def question(
    title: str, words: Sequence[str], options: Sequence[tuple[str, str]], chosen: int, glyphs: Glyphs, width: int
) -> list[Text]:
    """A question over the lower part of the screen: title, explanation, options with their keys."""
    lines = [heading(glyphs, width, title, "ask")]
    for sentence in words:
        lines += [line("  ", item) for item in wrap(sentence, width - 4)]
    for index, (key, label) in enumerate(options):
        text = fit(line(" ", cell(key, 6, "key"), label), width - 2)
        if index == chosen:
            text.stylize("cursor")
        lines.append(line(" ", (glyphs.cursor, "mark") if index == chosen else " ", text))
    return [fit(item, width) for item in lines]
