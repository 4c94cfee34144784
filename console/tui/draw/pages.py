"""Pages of text: the keys, the list of commands, a question to the operator."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from console.tui.draw.base import cell, ends, fill, fit, heading, line, scrolled, span, wrap
from console.tui.glyphs import Glyphs
from console.tui.keys import KEYS, Key, works_in


def help_lines(view: str, title: str, width: int, glyphs: Glyphs) -> list[Text]:
    """Every key that works on the screen ``view`` was opened from, then the signs and words."""
    here = [key for key in KEYS if key.keys and key.where and works_in(key, view)]
    everywhere = [key for key in KEYS if key.keys and not key.where]
    lines: list[Text] = []
    if here:
        lines += [heading(glyphs, width, f"on this screen: {title}"), *_key_lines(here, width)]
    lines += [heading(glyphs, width, "everywhere"), *_key_lines(everywhere, width)]
    lines += [heading(glyphs, width, "signs")]
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
    return lines + [line("  ", cell(sign, 8, "key"), words) for sign, words in signs]


def _key_lines(keys: Sequence[Key], width: int) -> list[Text]:
    lines: list[Text] = []
    for key in keys:
        for number, part in enumerate(wrap(key.help, width - 12)):
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
