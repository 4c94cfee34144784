"""Charts of a report: right proportions, no peak lost, nothing of a name taken as markup."""

from __future__ import annotations

import re

from console.headless import charts
from console.headless.charts import Bar, Line


def rects(parts: list[str]) -> list[tuple[float, float]]:
    found = re.findall(r'<rect x="([\d.]+)" y="[\d.]+" width="([\d.]+)"', "".join(parts))
    return [(float(x), float(width)) for x, width in found]


def points(parts: list[str]) -> list[list[tuple[float, float]]]:
    lines = re.findall(r'points="([^"]+)"', "".join(parts))
    return [[(float(x), float(y)) for x, y in (pair.split(",") for pair in line.split())] for line in lines]


def test_bars_stand_where_they_ran() -> None:
    drawn = charts.bars("Tasks", [Bar("a", 0, 50), Bar("b", 50, 100, "bad"), Bar("a", 99.9999, 100)], 100)
    (first, second, third) = sorted(rects(drawn))
    assert first[0] == charts.NAME
    assert second[0] == first[0] + first[1]
    assert third[1] == 1.0, "however short, it is seen"
    assert "".join(drawn).count("<text") == 2 + 3


def test_lines_keep_their_peak_and_stay_inside() -> None:
    many = tuple((float(n), 1000.0 if n == 5001 else 1.0) for n in range(10_000))
    (line,) = points(charts.lines("p99", [Line("p99", many)], 10_000, "ms"))
    assert len(line) <= 400
    assert min(y for _, y in line) == charts.TOP
    assert all(charts.LEFT <= x <= charts.WIDTH - charts.RIGHT for x, _ in line)


def test_nothing_to_draw_draws_nothing_and_zero_is_no_fault() -> None:
    assert charts.lines("t", [], 10, "ms") == []
    assert charts.lines("t", [Line("a", ())], 10, "ms") == []
    assert charts.bars("t", [], 10) == []
    assert points(charts.lines("t", [Line("a", ((0.0, 0.0),))], 0, "ms"))
    assert rects(charts.bars("t", [Bar("a", 0, 0)], 0))


def test_names_are_text() -> None:
    name = '<script>alert("x")</script>&'
    whole = "".join(
        [*charts.bars(name, [Bar(name, 0, 1)], 1), *charts.lines(name, [Line(name, ((0.0, 1.0),))], 1, name)]
    )
    assert "<script" not in whole
    assert "&lt;script&gt;" in whole
