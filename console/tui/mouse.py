"""Lines chosen with the mouse: the cursor goes to the line that was clicked, as far as it can get there."""

from __future__ import annotations

from rich.text import Text

from console.tui.facts import Facts
from console.tui.views.base import Size, View

WHEEL = 3  # lines
STEPS = 80  # no view has more lines in sight


def aim(view: View, facts: Facts, size: Size, y: int) -> None:
    """Move the view's cursor to the body's line ``y``, or the nearest that can be chosen; stay where there is none."""
    at = _marked(view.draw(facts, size), facts)
    if at is None:
        return
    step = 1 if y > at else -1
    for _ in range(STEPS):
        here = _marked(view.draw(facts, size), facts)
        if here is None or here == y:
            return
        if (y - here) * step < 0:  # passed: nothing can be chosen on that very line
            view.move(-step, facts)
            return
        before = view.cursor
        view.move(step, facts)
        if view.cursor == before:
            return


def _marked(lines: list[Text], facts: Facts) -> int | None:
    """The line with the cursor's mark."""
    return next((y for y, line in enumerate(lines) if line.plain.startswith(facts.glyphs.cursor)), None)
