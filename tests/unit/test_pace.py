"""Batch sizes and rests: bounded growth, fast shrink, waits never counted, every change in words."""

from __future__ import annotations

import pytest

from console.engine.checks import judge
from console.engine.pace import LARGEST, SMALLEST, Lately, Pace, Recent, eta_range, rest_seconds


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


def test_a_batch_smaller_than_the_smallest_never_grows_because_it_was_slow() -> None:
    pace = Pace(5_000, 1)
    pace.fix(5, "alice")
    pace.feed(5, 40)
    assert (pace.rows, pace.reason) == (5, "batch set to 5 by alice")


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


def test_a_shorter_target_shrinks_the_batch_at_once_a_longer_one_lets_it_grow() -> None:
    pace = Pace(20_000, 100)
    pace.aim(100)
    assert (pace.rows, pace.reason) == (20_000, "first batch")
    pace.aim(400)
    assert pace.rows == 20_000, "nothing is known of a batch that long"
    for _ in range(20):
        pace.feed(pace.rows, pace.rows / 200)
    assert 68_000 <= pace.rows <= 80_000
    rows = pace.rows
    pace.aim(100)
    assert pace.rows == rows // 4
    assert pace.reason == f"batch shrank from {rows:,} to {rows // 4:,}: the target was 400 ms, target 100 ms"


def test_rest_follows_the_duty_cycle_and_the_row_limit() -> None:
    assert rest_seconds(100, 1_000, duty_percent=100, max_rows_per_second=0) == 0
    assert rest_seconds(100, 1_000, duty_percent=25, max_rows_per_second=0) == pytest.approx(0.3)
    assert rest_seconds(100, 1_000, duty_percent=100, max_rows_per_second=2_000) == pytest.approx(0.4)


def test_eta_is_a_range_from_the_recent_rates() -> None:
    low, high = eta_range([100.0] * 5 + [50.0] * 5, 1_000)
    assert (low, high) == (10, 20)
    assert eta_range([], 10) == (None, None)
    assert eta_range([5.0], 0) == (0.0, 0.0)


def test_the_rate_shown_is_of_the_last_seconds_held_back_or_not() -> None:
    lately = Lately(10.0)
    assert lately.rate == 0
    for look in range(80):  # each half second; a batch of 40,000 rows each four seconds
        lately.add(0.5, 40_000 if look % 8 == 7 else 0)
        assert look < 20 or 8_000 <= lately.rate <= 12_000
    for _ in range(20):
        lately.add(0.5, 0)
    assert lately.rate == 0, "ten seconds without a row"


def steady(recent: Recent, rows_per_second: float, seconds: float, *, batch: int) -> None:
    """Samples each half second; rows come a batch at a time."""
    due = 0.0
    for _ in range(int(seconds * 2)):
        due += rows_per_second / 2
        whole = int(due // batch) * batch
        due -= whole
        recent.add(0.5, whole)


@pytest.mark.parametrize(
    ("rate", "batch"),
    [(100_000, 20_000), (20_000, 20_000), (2_000, 20_000), (1_500, 20_000), (50, 100)],
    ids=["full speed", "a batch a second", "a batch each ten seconds", "low duty", "a slow table"],
)
def test_the_time_left_is_near_the_truth_however_rarely_a_batch_ends(rate: float, batch: int) -> None:
    recent = Recent()
    steady(recent, rate, 120, batch=batch)
    low, high = recent.eta(int(rate * 1000))
    assert low is not None
    assert high is not None
    assert 600 < low <= 1000 <= high < 1600


def test_a_rate_that_changes_makes_the_range_wide_and_then_narrow() -> None:
    recent = Recent()
    steady(recent, 10_000, 120, batch=1_000)
    steady(recent, 1_000, 20, batch=1_000)
    low, high = recent.eta(100_000)
    assert low is not None
    assert high is not None
    assert low < 20
    assert high > 80
    steady(recent, 1_000, 70, batch=1_000)
    low, high = recent.eta(100_000)
    assert low is not None
    assert high is not None
    assert 80 < low <= 100 <= high < 130


def test_paused_time_is_no_working_time() -> None:
    recent = Recent()
    steady(recent, 10_000, 60, batch=1_000)
    before = recent.eta(100_000)
    assert recent.eta(100_000) == before, "an hour may pass: nothing is added while it rests"


def test_rows_left_are_never_a_matter_of_no_time() -> None:
    recent = Recent()
    assert recent.eta(10) == (None, None), "no rate yet"
    steady(recent, 1_000_000, 10, batch=20_000)
    assert recent.eta(10) == (1.0, 1.0)
    assert recent.eta(0) == (0.0, 0.0)


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
