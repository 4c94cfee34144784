"""A benchmark's figures: measured and printed, never asserted."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from console.headless.words import table


@dataclass(frozen=True, slots=True)
class Line:
    """One measured thing. ``figures``: name -> median over the repetitions; ``aim`` in words, empty without one."""

    group: str
    rows: int
    name: str
    figures: dict[str, float]
    aim: str = ""
    repeats: int = 1
    spread: dict[str, tuple[float, float]] = field(default_factory=dict)  # figure -> (least, most)

    @property
    def finite(self) -> bool:
        """Whether every figure is a number."""
        return bool(self.figures) and all(math.isfinite(value) for value in self.figures.values())

    def data(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def line(group: str, rows: int, name: str, samples: dict[str, Sequence[float]], aim: str = "") -> Line:
    """A line of medians from the repetitions' samples of each figure."""
    return Line(
        group,
        rows,
        name,
        {figure: _median(values) for figure, values in samples.items()},
        aim,
        min(len(values) for values in samples.values()),
        {figure: (min(values), max(values)) for figure, values in samples.items()},
    )


def _median(values: Sequence[float]) -> float:
    """The median; not a number where one of them is none."""
    return statistics.median(values) if all(math.isfinite(value) for value in values) else math.nan


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Each repetition's ratio: both were measured next to each other."""
    return [one / other if other else math.nan for one, other in zip(ours, theirs, strict=True)]


def _number(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 100 else f"{value:.2f}"


def _cell(found: Line, figure: str) -> str:
    if figure not in found.figures:
        return ""
    text = _number(found.figures[figure])
    least, most = found.spread.get(figure, (0.0, 0.0))
    return f"{text} ({_number(least)}-{_number(most)})" if found.repeats > 1 and least != most else text


def printed(lines: Sequence[Line]) -> str:
    """All groups as tables: medians, and in brackets the least and the most of the repetitions."""
    out: list[str] = []
    for group in dict.fromkeys(found.group for found in lines):
        mine = [found for found in lines if found.group == group]
        figures = list(dict.fromkeys(figure for found in mine for figure in found.figures))
        head = ["rows", "what", *figures, "aim", "n"]
        body = [
            [
                f"{found.rows:,}",
                found.name,
                *(_cell(found, figure) for figure in figures),
                found.aim,
                str(found.repeats),
            ]
            for found in mine
        ]
        right = (0, *range(2, 2 + len(figures)))
        out += [group.upper(), *("  " + text.rstrip() for text in table([head, *body], right=right)), ""]
    return "\n".join(out)
