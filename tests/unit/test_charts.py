"""Charts of a report: right proportions, no peak lost, nothing of a name taken as markup."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from console.headless import charts, html
from console.headless.charts import Bar, Line
from console.headless.run_html import progress_lines
from console.journal.recording import Frame, Recording
from console.journal.state import Target


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


def test_lines_of_one_name_have_one_colour_and_a_short_one_is_a_dot() -> None:
    drawn = "".join(charts.lines("t", [Line("a", ((0.0, 1.0), (5.0, 9.0))), Line("a", ((7.0, 2.0),))], 10, "rows"))
    assert len(points([drawn])) == 2
    assert len(set(re.findall(r'stroke="(var\(--(?:key|warn|ok|bad|number)\))"', drawn))) == 1
    assert drawn.count("<circle") == 1
    assert drawn.count(">a</span>") == 1


def a_run(*rows: int) -> Recording:
    """A recording of one comparison whose live figure was this, second by second."""
    began = datetime(2026, 1, 1, tzinfo=UTC)
    frames = tuple(
        Frame(
            began + timedelta(seconds=n), "live", "progress:T:m", {"what": "compare", "mapping": "m", "rows_done": done}
        )
        for n, done in enumerate(rows)
    )
    target = Target("db", "host", 5432, "18.4", "role", "DEV")
    return Recording(target, 1, "p", "A plan", "0" * 64, "me", began, frames[-1].at, tasks=(), frames=frames)


def test_what_begins_anew_is_a_line_of_its_own() -> None:
    assert progress_lines(a_run(0, 50, 100, 0, 70)) == [
        Line("compare m", ((0.0, 0.0), (1.0, 50.0), (2.0, 100.0))),
        Line("compare m", ((3.0, 0.0), (4.0, 70.0))),
    ]


def test_a_wide_table_keeps_to_the_page() -> None:
    (_, row, _) = html.table(["a", "b"], [["two_way_sync.trades_normalised_to_legacy", "7"]], (1,), wide=True)
    assert "two_<wbr>way_<wbr>sync.<wbr>trades_" in row
    assert '<td class="num">7</td>' in row
    (_, row, _) = html.table(["a"], [["x" * 50]])
    assert '<td class="long">' in row
    assert "<wbr>" not in row
