"""Percentiles from mergeable buckets are right to one bucket, ten per cent."""

from __future__ import annotations

import random

from console.journal.traffic import Window


def test_percentiles_are_right_to_ten_per_cent_also_after_merging() -> None:
    dice = random.Random(7)
    values = [dice.lognormvariate(0, 1.5) for _ in range(5_000)]
    one, two = Window(), Window()
    for i, value in enumerate(values):
        (one if i % 2 else two).add(value)
    one.merge(two)
    one.fail("23505 duplicate")
    values.sort()
    for share in (0.5, 0.99):
        true = values[int(share * len(values)) - 1]
        assert true * 0.999 <= one.percentile(share) <= true * 1.101
    figures = one.latency()
    assert (figures.operations, figures.errors, figures.max_ms) == (5_001, 1, values[-1])
