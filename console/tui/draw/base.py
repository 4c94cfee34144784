"""Lines of text: joined, cut, padded and set side by side. Every word that reaches the screen passes ``line``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from console.text import plain, without_half_number
from console.tui.glyphs import Glyphs

Part = str | tuple[str, str] | Text


def line(*parts: Part) -> Text:
    """One line of parts, each a string or (string, style name). Control sequences and newlines are taken out."""
    text = Text(no_wrap=True, end="")
    for part in parts:
        if isinstance(part, Text):
            text.append_text(part)
        elif isinstance(part, tuple):
            text.append(plain(part[0]), part[1])
        else:
            text.append(plain(part))
    return text


def fit(text: Text, width: int) -> Text:
    """``text`` in exactly ``width`` cells: padded with blanks, or cut with the cut shown as ``..``.

    A cut falls before a number, never inside it: half of one reads as another.
    """
    width = max(width, 0)
    fitted = text.copy()
    if text.cell_len > width:
        fitted.truncate(max(width - 2, 0))
        fitted.truncate(cell_len(without_half_number(fitted.plain)))
        fitted.append("."[: width and 1] * min(2, width))
    fitted.append(" " * (width - fitted.cell_len))
    return fitted


def clip(text: str, width: int) -> str:
    """``text`` in at most ``width`` cells, cut as ``fit`` cuts."""
    if cell_len(text) <= width:
        return text
    return without_half_number(set_cell_size(text, max(width - 2, 0)).rstrip()) + ".."[: max(width, 0)]


def ends(left: Text, right: Text, width: int) -> Text:
    """``left`` and ``right`` at the two ends of ``width`` cells; where they do not both fit, the left one is cut."""
    room = width - right.cell_len
    if room < 4:
        return fit(left, width)
    return line(fit(left, room - 1), " ", right)


def cell(text: str, width: int, style: str = "", right: bool = False) -> Text:
    """A table cell of exactly ``width`` cells."""
    content = line((text, style)) if style else line(text)
    if right and content.cell_len < width:
        return line(" " * (width - content.cell_len), content)
    return fit(content, width)


def wrap(text: str, width: int, style: str = "", limit: int = 0) -> list[Text]:
    """Words of ``text`` over as many lines of ``width`` as needed, or ``limit``, the cut shown as ``..``."""
    width = max(width, 8)
    lines: list[str] = []
    current = ""
    for word in (piece for found in plain(text).split() for piece in _pieces(found, width)):
        if current and cell_len(current) + 1 + cell_len(word) > width:
            lines.append(current)
            current = word
        else:
            current = f"{current} {word}" if current else word
    if current:
        lines.append(current)
    if limit and len(lines) > limit:
        lines = [*lines[: limit - 1], clip(f"{lines[limit - 1]} {lines[limit]}", width)]
    return [line((item, style)) if style else line(item) for item in lines]


def _pieces(word: str, width: int) -> list[str]:
    """A word that is wider than a line in as many parts as it needs."""
    parts: list[str] = []
    while cell_len(word) > width:
        count = width
        while cell_len(word[:count]) > width:
            count -= 1
        parts.append(word[:count])
        word = word[count:]
    return [*parts, word]


def rule(glyphs: Glyphs, width: int, label: str = "") -> Text:
    """A line across, with an optional label near its right end."""
    if not label:
        return line((glyphs.rule * width, "rule"))
    words = f" {clip(plain(label), width - 6)} "
    left = max(width - cell_len(words) - 2, 0)
    return line((glyphs.rule * left, "rule"), (words, "dim"), (glyphs.rule * 2, "rule"))


def heading(glyphs: Glyphs, width: int, title: str, style: str = "title") -> Text:
    """A line across that begins with a title."""
    words = f" {clip(plain(title), width - 4)} "
    return line(
        (glyphs.rule, "rule"),
        (words, style),
        (glyphs.rule * max(width - cell_len(words) - 1, 0), "rule"),
    )


def fill(lines: Iterable[Text], width: int, height: int) -> list[Text]:
    """Exactly ``height`` lines of exactly ``width`` cells."""
    shown = [fit(item, width) for item in lines][:height]
    return shown + [line(" " * width)] * (height - len(shown))


def beside(left: Sequence[Text], right: Sequence[Text], glyphs: Glyphs, widths: tuple[int, int]) -> list[Text]:
    """Two columns with a thin line between them; ``widths`` are those of the columns."""
    height = max(len(left), len(right))
    return [
        line(a, " ", (glyphs.vertical, "rule"), " ", b)
        for a, b in zip(fill(left, widths[0], height), fill(right, widths[1], height), strict=True)
    ]


def scrolled(top: int, cursor: int, total: int, height: int) -> int:
    """The first line to show so that ``cursor`` is in sight, moving as little as possible from ``top``."""
    if cursor < top:
        top = cursor
    elif cursor >= top + height:
        top = cursor - height + 1
    return max(0, min(top, total - height))


def span(top: int, height: int, total: int) -> str:
    """Which lines are in sight, in words; empty when all are."""
    return "" if total <= height else f"{top + 1}-{min(top + height, total)} of {total}"


def joined(parts: Iterable[Part], glyphs: Glyphs) -> Text:
    """Parts with the separator dot between them."""
    text = line()
    for part in parts:
        if text.plain:
            text.append(f" {glyphs.dot} ", "dim")
        text.append_text(line(part))
    return text
