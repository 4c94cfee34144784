"""Batch sizes and rests: bounded growth, fast shrink, waits never counted, every change in words."""

from __future__ import annotations

import pytest

from console.engine.checks import judge
from console.engine.pace import LARGEST, SMALLEST, Pace, eta_range, rest_seconds


def test_grows_by_at_most_half_until_the_target_is_met() -> None:
    pace = Pace(1_000, 100)
    sizes = []
    for _ in range(20):
        pace.feed(pace.rows, pace.rows / 200)  # 200 rows/ms: 20,000 rows take 100 ms
        sizes.append(pace.rows)
    assert all(b <= a * 1.5 for a, b in zip([1_000, *sizes], sizes, strict=False))
    assert 17_000 <= sizes[-1] <= 20_000
    assert "grew from" in pace.reason
    assert "target 100 ms" in pace.reason


def test_a_batch_far_over_its_target_shrinks_at_once() -> None:
    pace = Pace(20_000, 100)
    pace.feed(20_000, 2_000)
    assert pace.rows == 1_000
    assert pace.reason == "batch shrank from 20,000 to 1,000: the last batch took 2000 ms, target 100 ms"


def test_a_short_last_batch_says_nothing() -> None:
    pace = Pace(20_000, 100)
    pace.feed(10, 90)
    assert pace.rows == 20_000


@pytest.mark.parametrize(("rows_per_ms", "limit"), [(0.01, SMALLEST), (100_000, LARGEST)])
def test_never_leaves_its_bounds(rows_per_ms: float, limit: int) -> None:
    pace = Pace(5_000, 100)
    for _ in range(60):
        pace.feed(pace.rows, pace.rows / rows_per_ms)
    assert pace.rows == limit


def test_an_operator_sets_it() -> None:
    pace = Pace(5_000, 100)
    pace.fix(700, "alice")
    assert (pace.rows, pace.reason) == (700, "batch set to 700 by alice")


def test_rest_follows_the_duty_cycle_and_the_row_limit() -> None:
    assert rest_seconds(100, 1_000, duty_percent=100, max_rows_per_second=0) == 0
    assert rest_seconds(100, 1_000, duty_percent=25, max_rows_per_second=0) == pytest.approx(0.3)
    assert rest_seconds(100, 1_000, duty_percent=100, max_rows_per_second=2_000) == pytest.approx(0.4)


def test_eta_is_a_range_from_the_recent_rates() -> None:
    low, high = eta_range([100.0] * 5 + [50.0] * 5, 1_000)
    assert (low, high) == (10, 20)
    assert eta_range([], 10) == (None, None)
    assert eta_range([5.0], 0) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("expect", "rows", "ok"),
    [
        ("zero rows", [], True),
        ("zero rows", [(1,)], False),
        ("some rows", [(1,)], True),
        ("some rows", [], False),
        ("true", [(True,)], True),
        ("true", [(None,)], False),
        ("true", [], False),
        ("value = 3", [("3.0",)], True),
        ("value = 3", [(4,)], False),
        ("value >= 3", [(3,)], True),
        ("value >= 3", [(2,)], False),
        ("value <= 0.00000352", [("0.00000352",)], True),
        ("value = abc", [("abc",)], True),
        ("value >= 1", [(None,)], False),
        ("report", [(1,), (2,)], True),
    ],
)
def test_an_expectation_is_judged(expect: str, rows: list[tuple[object, ...]], ok: bool) -> None:
    assert judge(expect, rows, False)[0] is ok
