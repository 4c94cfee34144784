"""Faster and slower: which setting of a running copy changes next, and to what."""

from __future__ import annotations

from console.journal.state import Progress

DUTY = (5, 10, 25, 50, 75, 100)  # percent of the time at work
LONGEST_MS = 800  # a batch longer than this is felt by applications
BASE_MS = 100


def faster(progress: Progress) -> dict[str, int]:
    """More of the time at work; at 100 % longer batches. Empty when nothing can be raised."""
    higher = [step for step in DUTY if step > progress.duty_percent]
    if higher:
        return {"duty_percent": higher[0]}
    target = min(max(progress.target_ms, BASE_MS) * 2, LONGEST_MS)
    return {"target_ms": target} if target > progress.target_ms else {}


def slower(progress: Progress) -> dict[str, int]:
    """Shorter batches down to 100 ms, then less of the time at work. Empty when nothing can be lowered."""
    if progress.target_ms > BASE_MS:
        return {"target_ms": max(progress.target_ms // 2, BASE_MS)}
    lower = [step for step in DUTY if step < progress.duty_percent]
    return {"duty_percent": lower[-1]} if lower else {}


def words(change: dict[str, int]) -> str:
    """The change in words."""
    return ", ".join(
        f"at work {value}% of the time" if name == "duty_percent" else f"batches of {value} ms"
        for name, value in change.items()
    )
