"""Bars and sparklines made of characters: a widget that repaints itself would flood a slow line."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from console.tui.draw.base import line
from console.tui.glyphs import Glyphs


def bar(share: float, width: int, glyphs: Glyphs, style: str = "run") -> Text:
    """A bar of ``width`` cells filled to ``share`` (0..1); full only when the share is 1."""
    room = max(width - len(glyphs.bar_open) - len(glyphs.bar_close), 1)
    steps = len(glyphs.blocks)
    filled = int(min(max(share, 0.0), 1.0) * room * steps)
    whole, part = divmod(filled, steps)
    tip = glyphs.blocks[part - 1] if part else ""
    return line(
        (glyphs.bar_open, "dim"),
        (glyphs.blocks[-1] * whole + tip, style),
        (glyphs.empty * (room - whole - len(tip)), "dim"),
        (glyphs.bar_close, "dim"),
    )


def sparkline(values: Sequence[float], width: int, glyphs: Glyphs) -> str:
    """The last ``width`` values as heights relative to the greatest of them."""
    shown = list(values)[-width:]
    top = max(shown, default=0.0)
    if top <= 0:
        return glyphs.spark[0] * len(shown)
    last = len(glyphs.spark) - 1
    return "".join(glyphs.spark[round(max(value, 0.0) / top * last)] for value in shown)
