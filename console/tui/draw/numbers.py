"""Figures as an operator reads them: always with a unit, never more digits than are known."""

from __future__ import annotations

from datetime import datetime


def count(number: int) -> str:
    """A number of things in full: ``31,604,220``."""
    return f"{number:,}"


def short(number: float) -> str:
    """A number in at most five characters: ``982``, ``9.8k``, ``118k``, ``1.2M``."""
    for limit, scale, unit in ((1e3, 1, ""), (1e6, 1e3, "k"), (1e9, 1e6, "M"), (1e12, 1e9, "G")):
        if abs(number) < limit * 0.9995:
            value = number / scale
            return f"{value:.0f}{unit}" if value >= 99.5 or not unit else f"{value:.1f}{unit}"
    return f"{number / 1e12:.1f}T"


def size(number: int) -> str:
    """Bytes: ``820 B``, ``8.2 kB``, ``6.1 GB``."""
    value = float(number)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 99.5 else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TB"


def percent(share: float) -> str:
    """A share of 1 with one decimal, cut and not rounded, so that 100 % means all of it."""
    return f"{int(share * 1000) / 10:.1f}%"


def duration(seconds: float) -> str:
    """A time that passed: ``0.2s``, ``48s``, ``11m``, ``3h 05m``, ``2d 04h``."""
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    minutes = whole // 60
    if minutes < 60:
        return f"{minutes}m"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours}h {minutes:02d}m"
    return f"{hours // 24}d {hours % 24:02d}h"


def age(seconds: float) -> str:
    """An age in whole seconds, then minutes, so that a quiet screen stays still: ``4 s``, ``12 min``."""
    if seconds < 1:
        return "under 1 s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds // 60:.0f} min"
    return duration(seconds)


def about(seconds: float | None) -> str:
    """An estimate in words: ``about 40 s``, ``about 7 min``, ``unknown``."""
    if seconds is None:
        return "time unknown"
    if seconds < 1:
        return "under 1 s"
    if seconds < 90:
        return f"about {seconds:.0f} s"
    if seconds < 5400:
        return f"about {seconds / 60:.0f} min"
    return f"about {seconds / 3600:.1f} h"


def eta(low: float | None, high: float | None) -> str:
    """The time left as a range: ``ETA 14-19 min``; says so when it is not known."""
    if low is None or high is None:
        return "ETA unknown"
    for unit, scale, limit in (("s", 1, 90), ("min", 60, 90 * 60), ("h", 3600, float("inf"))):
        if high < limit:
            digits = 1 if unit == "h" else 0
            left, right = f"{low / scale:.{digits}f}", f"{high / scale:.{digits}f}"
            return f"ETA {right} {unit}" if left == right else f"ETA {left}-{right} {unit}"
    raise AssertionError("the last limit is infinite")


def ms(milliseconds: float) -> str:
    """A latency: ``41 us``, ``0.9 ms``, ``97 ms``, ``1.4 s``."""
    if milliseconds <= 0:
        return "0 ms"
    if milliseconds < 0.0995:
        return f"{milliseconds * 1000:.0f} us"
    if milliseconds < 9.95:
        return f"{milliseconds:.1f} ms"
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    return f"{milliseconds / 1000:.1f} s"


def clock(at: datetime | None) -> str:
    """A time of the day by the server: ``23:41:07``."""
    return at.strftime("%H:%M:%S") if at else "--:--:--"
