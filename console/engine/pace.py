"""How large the next batch is and how long to rest after it; pure arithmetic, explained in words."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

SMALLEST = 100
LARGEST = 200_000
GROWTH = 1.5  # at most this much larger from one batch to the next
HOLD = 0.15  # a time within 15 % of the target changes nothing
SAMPLES = 5
FAR_OVER = 4.0  # a batch so many times over its target shrinks at once, without waiting for more samples


@dataclass
class Pace:
    """Steers the batch towards a target time. Only work counts; waits and rests are never fed in."""

    rows: int
    target_ms: float
    reason: str = "first batch"
    _rates: deque[float] = field(default_factory=lambda: deque(maxlen=SAMPLES))  # rows per ms

    def feed(self, rows: int, ms: float) -> None:
        """One batch of ``rows`` took ``ms`` of work."""
        if rows < self.rows // 2 or rows > 2 * self.rows or ms <= 0:
            return  # a short last batch says little, nor does one begun before an operator set a smaller one
        self._rates.append(rows / ms)
        rate = sorted(self._rates)[len(self._rates) // 2]
        if ms > FAR_OVER * self.target_ms:
            self._set(max(int(self.rows * self.target_ms / ms), SMALLEST), f"the last batch took {ms:.0f} ms")
            self._rates.clear()
            return
        wanted = rate * self.target_ms
        if abs(wanted - self.rows) <= HOLD * self.rows:
            return
        limited = min(int(wanted), max(int(self.rows * GROWTH), self.rows + 1))
        took = self.rows / rate
        self._set(max(min(limited, LARGEST), min(SMALLEST, self.rows)), f"batches took {took:.0f} ms")

    def _set(self, rows: int, why: str) -> None:
        if rows == self.rows:
            return
        verb = "grew" if rows > self.rows else "shrank"
        self.reason = f"batch {verb} from {self.rows:,} to {rows:,}: {why}, target {self.target_ms:.0f} ms"
        self.rows = rows

    def fix(self, rows: int, who: str) -> None:
        """An operator set the batch."""
        self._rates.clear()
        self.reason = f"batch set to {rows:,} by {who}"
        self.rows = max(min(rows, LARGEST), 1)


def rest_seconds(work_ms: float, rows: int, *, duty_percent: float, max_rows_per_second: float) -> float:
    """How long to rest after a batch so that work fills at most the duty cycle and the row limit holds."""
    duty = min(max(duty_percent, 1), 100)
    rest = work_ms / 1000 * (100 / duty - 1)
    if max_rows_per_second > 0:
        rest = max(rest, rows / max_rows_per_second - work_ms / 1000)
    return rest


def eta_range(rates: list[float], rows_left: int) -> tuple[float | None, float | None]:
    """(low, high) seconds left from the recent rates (rows/s, waits included, pauses not); None without a rate."""
    useful = sorted(rate for rate in rates if rate > 0)
    if not useful or rows_left <= 0:
        return (None, None) if rows_left > 0 else (0.0, 0.0)
    fast = useful[min(int(len(useful) * 0.9), len(useful) - 1)]
    slow = useful[int(len(useful) * 0.1)]
    return rows_left / fast, rows_left / slow
