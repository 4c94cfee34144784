"""Charts as inline SVG for a page without any other resource: lines over time, and bars of what ran when.

Each has a title and its figures in words beside it: a picture is never the only carrier.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from console.headless.html import text
from console.headless.words import duration
from console.text import shorten

WIDTH, HEIGHT = 900, 180
LEFT, RIGHT, TOP, BOTTOM = 100, 10, 10, 22
ROW = 16  # height of a bar
NAME = 330  # width of the bars' names
_SEEN = 3.0  # pixels; a shorter line is drawn as a dot
_NAME_LENGTH = 50  # characters of them
_TONES = ("var(--key)", "var(--warn)", "var(--ok)", "var(--bad)", "var(--number)")
_MOST_POINTS = 400  # more are not seen at this width


@dataclass(frozen=True, slots=True)
class Line:
    """A named line: (seconds since the beginning, value), in order. Lines of one name have one colour."""

    name: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Bar:
    """What ran from one second to another. ``tone``: ok, warn, bad or dim."""

    name: str
    began: float
    ended: float
    tone: str = "ok"


def lines(title: str, drawn: Sequence[Line], seconds: float, unit: str) -> list[str]:
    """A chart of lines over ``seconds``; nothing where there is nothing to draw."""
    drawn = [line for line in drawn if line.points]
    if not drawn:
        return []
    most = max((value for line in drawn for _, value in line.points), default=0.0) or 1.0
    span = max(seconds, 1e-9)

    def x(second: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * min(max(second, 0.0), span) / span

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / most

    parts = [_axis(seconds), *(_level(most * share, y(most * share), unit) for share in (0.0, 0.5, 1.0))]
    tones = {name: _tone(number) for number, name in enumerate(dict.fromkeys(line.name for line in drawn))}
    for line in drawn:
        places = [(x(second), y(value)) for second, value in _thinned(line.points)]
        path = " ".join(f"{across:.1f},{down:.1f}" for across, down in places)
        tone = tones[line.name]
        parts.append(f'<polyline fill="none" stroke="{tone}" stroke-width="1.5" points="{path}"/>')
        if all(abs(across - places[0][0]) + abs(down - places[0][1]) < _SEEN for across, down in places):
            parts.append(f'<circle cx="{places[0][0]:.1f}" cy="{places[0][1]:.1f}" r="2.5" fill="{tone}"/>')
    legend = ", ".join(f'<span style="color: {tone}">{text(name)}</span>' for name, tone in tones.items())
    return [f"<h3>{text(title)}</h3>", f'<p class="dim">{legend}</p>', _svg(HEIGHT, title, parts)]


def bars(title: str, drawn: Sequence[Bar], seconds: float) -> list[str]:
    """One row for each name, a bar for each time it ran; nothing where nothing ran."""
    names = list(dict.fromkeys(bar.name for bar in drawn))
    if not names:
        return []
    height = TOP + ROW * len(names) + BOTTOM
    span = max(seconds, 1e-9)
    room = WIDTH - NAME - RIGHT
    parts = [_axis(seconds, left=NAME, height=height)]
    for row, name in enumerate(names):
        top = TOP + ROW * row
        parts.append(f'<text x="0" y="{top + ROW - 5}" fill="var(--ink)">{text(_cut(name))}</text>')
        for bar in drawn:
            if bar.name == name:
                left = NAME + room * max(bar.began, 0.0) / span
                width = max(room * (bar.ended - bar.began) / span, 1.0)
                parts.append(
                    f'<rect x="{left:.1f}" y="{top + 2}" width="{width:.1f}" height="{ROW - 5}"'
                    f' fill="var(--{bar.tone if bar.tone in ("ok", "warn", "bad") else "dim"})">'
                    f"<title>{text(name)}: {text(duration(bar.ended - bar.began))}</title></rect>"
                )
    return [f"<h3>{text(title)}</h3>", _svg(height, title, parts)]


def _svg(height: int, title: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" width="100%" role="img" aria-label="{text(title)}"'
        f' font-size="11" font-family="sans-serif">{"".join(parts)}</svg>'
    )


def _axis(seconds: float, *, left: int = LEFT, height: int = HEIGHT) -> str:
    marks = []
    for share, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end")):
        at = left + (WIDTH - left - RIGHT) * share
        words = text(duration(seconds * share))
        marks.append(f'<text x="{at:.0f}" y="{height - 6}" text-anchor="{anchor}" fill="var(--dim)">{words}</text>')
    return "".join(marks)


def _level(value: float, y: float, unit: str) -> str:
    words = f"{value:,.0f}" if value >= 10 or value == 0 else f"{value:.2g}"
    return (
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="var(--line)"/>'
        f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end" fill="var(--dim)">{words} {text(unit)}</text>'
    )


def _tone(number: int) -> str:
    return _TONES[number % len(_TONES)]


def _cut(name: str) -> str:
    return shorten(name, _NAME_LENGTH)


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most so many points; of each group the highest stays, so that no peak is lost."""
    size = -(-len(points) // _MOST_POINTS)
    return [max(points[at : at + size], key=lambda point: point[1]) for at in range(0, len(points), size)]
