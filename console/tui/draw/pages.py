"""Pages of text: the keys, the plan's documentation, the list of commands, a question to the operator."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich.text import Text

from console.plan.model import Doc
from console.text import plain
from console.tui.draw.base import cell, ends, fill, fit, heading, line, scrolled, span, wrap
from console.tui.facts import Facts, Missing
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


def doc_lines(doc: Doc, width: int, glyphs: Glyphs) -> list[Text]:
    """A page of Markdown as lines: headings, lists, code and paragraphs; other marks stay as written."""
    lines: list[Text] = []
    paragraph: list[str] = []
    bullet = ("", "")  # indent and sign of the list item that the paragraph belongs to
    code = False

    def flush() -> None:
        nonlocal bullet
        indent, sign = bullet
        room = width - len(indent) - 5 if sign else width - 2
        for number, item in enumerate(wrap(_inline(" ".join(paragraph)), room)):
            lines.append(line(indent, cell("" if number else sign, 3, "dim"), item) if sign else line(" ", item))
        paragraph.clear()
        bullet = ("", "")

    for raw in plain(doc.text, keep_newlines=True).split("\n"):
        if raw.lstrip().startswith("```"):
            flush()
            code = not code
        elif code:
            lines.append(fit(line("    ", (raw, "sql.string")), width))
        elif raw.startswith("#"):
            flush()
            lines.append(heading(glyphs, width, raw.lstrip("# ")))
        elif re.match(r"\s*([-*]|\d+\.)\s", raw):
            flush()
            mark, _, rest = raw.lstrip().partition(" ")
            bullet = (" " * (len(raw) - len(raw.lstrip()) + 2), mark if mark[0].isdigit() else glyphs.dot)
            paragraph.append(rest.strip())
        elif raw.startswith("|"):
            flush()
            lines.append(fit(line(" ", raw), width))
        elif raw.strip():
            paragraph.append(raw.strip())
        else:
            flush()
            lines.append(line())
    flush()
    return lines


def _inline(text: str) -> str:
    return re.sub(r"\*\*([^*]+)\*\*|`([^`]+)`|(?<!\*)\*([^*]+)\*", lambda m: m[1] or m[2] or m[3], text)


def doc_list(facts: Facts, chosen: int, size: tuple[int, int]) -> list[Text]:
    """The list of the plan's pages."""
    width, height = size
    docs = facts.docs
    title = line((" The plan's pages", "title"))
    if isinstance(docs, Missing):
        words = docs.text or "reading.."
        return fill([title, line(), *(line(" ", item) for item in wrap(words, width - 2, "dim"))], width, height)
    if not docs:
        return fill([title, line(), line(" ", ("This plan has no pages.", "dim"))], width, height)
    return fill(
        [title, line(), *(_doc_row(doc, i == chosen, facts.glyphs, width) for i, doc in enumerate(docs))], width, height
    )


def _doc_row(doc: Doc, selected: bool, glyphs: Glyphs, width: int) -> Text:
    text = fit(line(" ", cell(doc.title, 44), (doc.name, "dim")), width - 1)
    if selected:
        text.stylize("cursor")
    return line((glyphs.cursor, "mark") if selected else " ", text)


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
