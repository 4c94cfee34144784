"""Published ways to size a batch, as plain baselines in the place of the engine's own: the same copy, another policy.

Each is written from its documentation and stands for the policy alone: the waiting between batches that some of them
prescribe is left out, in their favour. All but the fixed one aim at the same time a batch as the engine does.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from itertools import islice

FIRST = 1_000


@dataclass
class Fixed:
    """As pgroll and Reshape: 1,000 rows, whatever they take."""

    rows: int = FIRST
    target_ms: float = 100
    reason: str = "fixed"

    def feed(self, rows: int, ms: float) -> None:
        """Learns nothing."""

    def fix(self, rows: int, who: str) -> None:
        """An operator set the batch."""
        self.rows = rows


@dataclass
class Efficiency(Fixed):
    """As GitLab's batched migrations: time used of the interval, smoothed over 20 batches, kept at 0.90 to 0.95.

    The newest batch weighs most (alpha 0.4); the batch grows by a fifth at most, shrinks freely, and stays within
    1,000 and 2,000,000 rows.
    """

    used: deque[float] = field(default_factory=lambda: deque(maxlen=20))

    def feed(self, rows: int, ms: float) -> None:
        """One batch of ``rows`` took ``ms``."""
        self.used.append(ms / self.target_ms)
        weights = [0.6**age for age in range(len(self.used))]
        smoothed = sum(w * u for w, u in zip(weights, reversed(self.used), strict=True)) / sum(weights)
        if not 0.90 <= smoothed <= 0.95:
            self.rows = int(min(max(self.rows * min(0.95 / smoothed, 1.2), 1_000), 2_000_000))


@dataclass
class P90(Fixed):
    """As Spirit: the 90th percentile of more than ten chunks is brought to the target, growing by half at most.

    A chunk of five times the target shrinks the next to a tenth at once; 10 rows at least, 100,000 at most.
    """

    took: deque[float] = field(default_factory=lambda: deque(maxlen=50))

    def feed(self, rows: int, ms: float) -> None:
        """One chunk of ``rows`` took ``ms``."""
        if ms > 5 * self.target_ms:
            self._set(self.rows / 10)
            return
        self.took.append(ms)
        if len(self.took) > 10:
            high = next(islice(sorted(self.took), int(len(self.took) * 0.9), None))
            self._set(min(self.rows * self.target_ms / high, self.rows * 1.5))

    def _set(self, rows: float) -> None:
        self.rows = int(min(max(rows, 10), 100_000))
        self.took.clear()
