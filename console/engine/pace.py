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
            least = min(SMALLEST, self.rows)
            self._set(max(int(self.rows * self.target_ms / ms), least), f"the last batch took {ms:.0f} ms")
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

    def aim(self, target_ms: float) -> None:
        """Another target from now on. A shorter one shrinks the batch at once: what took longer is not tried again."""
        if target_ms < self.target_ms:
            shorter = int(self.rows * target_ms / self.target_ms)
            before, self.target_ms = self.target_ms, target_ms
            self._set(max(shorter, min(SMALLEST, self.rows)), f"the target was {before:.0f} ms")
        self.target_ms = target_ms

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


class Lately:
    """Rows a second over the last ``window_s`` seconds that went by, held back or not."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._looks: deque[tuple[float, int]] = deque()  # (seconds since the look before, rows in them)

    def add(self, seconds: float, rows: int) -> None:
        """``rows`` more, ``seconds`` after the last look."""
        self._looks.append((seconds, rows))
        while len(self._looks) > 1 and sum(s for s, _ in self._looks) - self._looks[0][0] >= self._window_s:
            self._looks.popleft()

    @property
    def rate(self) -> float:
        """Rows a second; 0 before the first look."""
        return sum(rows for _, rows in self._looks) / max(sum(s for s, _ in self._looks), 1e-6)


WINDOWS_S = (15.0, 30.0, 60.0)
LATE = 2.0
MARGIN = 0.1  # the range is never narrower than this to either side


class Recent:
    """How fast rows went lately, in working time: paused and held-back time is never put in.

    Rows arrive in batches, so a rate is taken from the end of one batch to the end of another, over windows of
    several lengths: at a low duty cycle most samples see no batch end at all.
    """

    def __init__(self) -> None:
        self._ends: deque[tuple[float, int]] = deque([(0.0, 0)])  # (working seconds, rows) when batches ended
        self._seconds = 0.0
        self._rows = 0

    def add(self, seconds: float, rows: int) -> None:
        """``rows`` more in ``seconds`` of working time."""
        self._seconds += seconds
        self._rows += rows
        if rows:
            self._ends.append((self._seconds, self._rows))
        while len(self._ends) > 2 and self._ends[1][0] < self._seconds - max(WINDOWS_S):
            self._ends.popleft()

    def rates(self) -> list[float]:
        """Rows/s over the last windows; the shortest first. Empty before the first batch."""
        ends = list(self._ends)
        if len(ends) < 2:
            return []
        found = []
        for window in WINDOWS_S:
            before = [i for i, (seconds, _) in enumerate(ends[:-1]) if seconds <= self._seconds - window]
            first = before[-1] if before else 0
            (since, rows), (until, _) = ends[first], ends[-1]
            gap = (until - since) / (len(ends) - 1 - first)
            late = self._seconds - until > LATE * gap  # the next batch is overdue: the silence counts too
            found.append((self._rows - rows) / max((self._seconds if late else until) - since, 1e-6))
        return found

    def eta(self, rows_left: int) -> tuple[float | None, float | None]:
        """(low, high) seconds of work left; None without a rate, never below a second while rows are left."""
        if rows_left <= 0:
            return 0.0, 0.0
        rates = self.rates()
        if not rates:
            return None, None
        low, high = rows_left / max(rates) / (1 + MARGIN), rows_left / min(rates) * (1 + MARGIN)
        return max(low, 1.0), max(high, 1.0)
