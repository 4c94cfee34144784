"""Words for people: how many of what."""

from __future__ import annotations

from console.text import several


def test_one_thing_is_not_told_as_several() -> None:
    assert [several(n, "statement") for n in (0, 1, 2, 3000)] == [
        "0 statements", "1 statement", "2 statements", "3,000 statements",
    ]  # fmt: skip
    assert [several(n, "batch", "batches") for n in (1, 7)] == ["1 batch", "7 batches"]
