"""A screen as SVG: the lines that were drawn, in one file without any other resource.

Blocks and rules are drawn as shapes, so that bars have no gaps whatever font the viewer has; everything else is text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from rich.cells import cell_len
from rich.color import blend_rgb, parse_rgb_hex
from rich.color_triplet import ColorTriplet
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from rich.terminal_theme import DIMMED_MONOKAI
from rich.text import Text
from rich.theme import Theme

from console.text import plain
from console.tui.canvas import joined

CELL, LINE, SIZE = 8.43, 18.0, 14  # a cell's width, a line's height and the font's size, in pixels
MARGIN = 12
_STRETCH = re.compile(r"\S+(?: \S+)*")
_BASE = 13.5  # from a line's top to its letters' feet
_EIGHTHS = {chr(0x2588 + n): (8 - n) / 8 for n in range(8)}  # full to one eighth of the width
_ACROSS, _DOWN = "\u2500", "\u2502"
_EMPTY = "\u2591"  # what is not done yet of a bar
_HEIGHTS = {chr(0x2581 + n): (n + 1) / 8 for n in range(7)}  # one eighth to seven of the height
_HEAD = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w:g} {h:g}" width="{w:g}" height="{h:g}" role="img">'
    "<title>{title}</title>"
    "<style>text{{font-family:'DejaVu Sans Mono','Liberation Mono',Menlo,Consolas,monospace;font-size:{size}px}}"
    ".b{{font-weight:700}}.i{{font-style:italic}}.u{{text-decoration:underline}}</style>"
    '<rect width="100%" height="100%" rx="8" fill="{ground}"/>'
)


@dataclass(frozen=True, slots=True)
class Palette:
    """The colours of letters and ground where a style names none."""

    ink: ColorTriplet
    ground: ColorTriplet


@dataclass(frozen=True, slots=True)
class _Run:
    """Cells of one look in a row."""

    text: str
    x: float
    y: float
    ink: str
    ground: str
    classes: str


def svg(lines: Sequence[Text], styles: Mapping[str, Style], palette: Palette, title: str) -> str:
    """The lines, all of one width, as a picture. ``title`` is what a reader of the screen hears."""
    pen = Console(theme=Theme(dict(styles), inherit=False), force_terminal=True)
    width = max((item.cell_len for item in lines), default=0) * CELL + 2 * MARGIN
    height = len(lines) * LINE + 2 * MARGIN
    head = _HEAD.format(w=width, h=height, title=escape(plain(title)), size=SIZE, ground=palette.ground.hex)
    marks = [
        mark
        for number, item in enumerate(lines)
        for run in _runs(joined(item.render(pen)), MARGIN + number * LINE, palette)
        for mark in _drawn(run, palette)
    ]
    body = sorted(marks, key=lambda mark: mark.startswith("<text"))  # no ground hides the end of the text before it
    return "\n".join([head, *body, "</svg>"]) + "\n"


def _runs(segments: Iterable[Segment], y: float, palette: Palette) -> Iterator[_Run]:
    x = float(MARGIN)
    for text, style, _ in segments:
        ink, ground = _colours(style, palette)
        classes = "".join(
            letter
            for letter, on in zip("biu", (style.bold, style.italic, style.underline) if style else (), strict=False)
            if on
        )
        for part in _parts(text):
            yield _Run(part, x, y, ink.hex, ground.hex, " ".join(classes))
            x += cell_len(part) * CELL


def _colours(style: Style | None, palette: Palette) -> tuple[ColorTriplet, ColorTriplet]:
    ink, ground = palette.ink, palette.ground
    if style is not None:
        if style.color is not None and not style.color.is_default:
            ink = style.color.get_truecolor(DIMMED_MONOKAI)
        if style.bgcolor is not None and not style.bgcolor.is_default:
            ground = style.bgcolor.get_truecolor(DIMMED_MONOKAI, foreground=False)
        if style.reverse:
            ink, ground = ground, ink
        if style.dim:
            ink = blend_rgb(ink, ground, 0.4)
    return ink, ground


def _parts(text: str) -> Iterator[str]:
    """The text cut where drawn signs begin and end; equal signs in a row stay together."""
    start = 0
    for at in range(1, len(text) + 1):
        if at == len(text) or ((_is_drawn(text[at]) or _is_drawn(text[at - 1])) and text[at] != text[at - 1]):
            yield text[start:at]
            start = at


def _is_drawn(sign: str) -> bool:
    return sign in _EIGHTHS or sign in _HEIGHTS or sign in (_EMPTY, _ACROSS, _DOWN)


def _drawn(run: _Run, palette: Palette) -> Iterator[str]:
    width = cell_len(run.text) * CELL
    if run.ground != palette.ground.hex:
        yield _box(run.x, run.y, width, LINE, run.ground)
    sign = run.text[0]
    if sign in _EIGHTHS:
        last = (1 - _EIGHTHS[sign]) * CELL
        if last and len(run.text) > 1:  # partial blocks in a row do not touch
            yield from (_box(run.x + n * CELL, run.y + 1, CELL - last, LINE - 2, run.ink) for n in range(len(run.text)))
        else:
            yield _box(run.x, run.y + 1, width - last, LINE - 2, run.ink)
    elif sign in _HEIGHTS:
        tall = _HEIGHTS[sign] * (LINE - 2)
        yield _box(run.x, run.y + LINE - 1 - tall, width, tall, run.ink)
    elif sign == _EMPTY:
        yield _box(run.x, run.y + 1, width, LINE - 2, _mixed(run.ink, run.ground))
    elif sign == _ACROSS:
        yield _box(run.x, run.y + LINE / 2, width, 1, run.ink)
    elif sign == _DOWN:
        yield from (_box(run.x + n * CELL + CELL / 2, run.y, 1, LINE, run.ink) for n in range(len(run.text)))
    else:
        yield from _words(run)


def _mixed(ink: str, ground: str) -> str:
    """A fifth of the ink on the ground: what a shaded cell looks like from afar."""
    return blend_rgb(parse_rgb_hex(ground[1:]), parse_rgb_hex(ink[1:]), 0.2).hex


def _box(x: float, y: float, width: float, height: float, fill: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{fill}"/>'


def _words(run: _Run) -> Iterator[str]:
    """Text that stands in its columns whatever the font is: each stretch without wide gaps by itself, in its length."""
    kind = f' class="{run.classes}"' if run.classes else ""
    for found in _STRETCH.finditer(run.text):
        x = run.x + cell_len(run.text[: found.start()]) * CELL
        yield (
            f'<text x="{x:.1f}" y="{run.y + _BASE:.1f}" textLength="{cell_len(found[0]) * CELL:.1f}"'
            f' lengthAdjust="spacingAndGlyphs" fill="{run.ink}"{kind}>{escape(found[0])}</text>'
        )
