"""A comparison's verdict in words."""

from __future__ import annotations

import pytest

from console.engine.verdict import Verdict


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        (Verdict(old=7, new=5, rejected=2), "7 old = 5 new + 2 rejected, every row equal"),
        (Verdict(), "0 old = 0 new + 0 rejected, every row equal"),
        (Verdict(old=2, rejected=2), "2 old = 0 new + 2 rejected, NO ROW ARRIVED: every one was refused"),
    ],
    ids=["some", "empty", "all refused"],
)
def test_that_nothing_arrived_is_not_told_as_equal_rows(verdict: Verdict, words: str) -> None:
    assert verdict.ok
    assert verdict.words() == words
