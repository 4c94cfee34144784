"""The one widget that draws: lines of text, of which only those that changed are looked at again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from rich.theme import Theme
from textual import events
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget


class Canvas(Widget):
    """Shows exactly the lines it was last given."""

    DEFAULT_CSS = "Canvas { width: 1fr; height: 1fr; }"

    class Resized(Message):
        """The canvas has another size and wants new lines."""

    def __init__(self, *, ascii_only: bool) -> None:
        super().__init__()
        self._ascii_only = ascii_only
        self._lines: list[Strip] = []
        self._pen = Console(force_terminal=True)

    @property
    def drawn(self) -> bool:
        """Whether any line has been given."""
        return bool(self._lines)

    def use_styles(self, styles: Mapping[str, Style]) -> None:
        """Resolve style names with these from now on."""
        self._pen = Console(theme=Theme(dict(styles), inherit=False), force_terminal=True)

    def show(self, lines: Sequence[Text]) -> None:
        """Draw these lines."""
        ground = self.rich_style
        fresh = [Strip(self._segments(item)).apply_style(ground) for item in lines]
        before, self._lines = self._lines, fresh
        if len(before) != len(fresh):
            self.refresh()
            return
        for y, (old, new) in enumerate(zip(before, fresh, strict=True)):
            if old != new:
                self.refresh(Region(0, y, self.size.width, 1))

    def _segments(self, text: Text) -> list[Segment]:
        if self._ascii_only and not text.plain.isascii():
            text = text.copy()
            text.plain = "".join(ch if ch.isascii() else "?" * cell_len(ch) for ch in text.plain)
        return joined(text.render(self._pen))

    def render_line(self, y: int) -> Strip:
        """Line ``y`` of what was last shown."""
        if y >= len(self._lines):
            return Strip.blank(self.size.width, self.rich_style)
        return self._lines[y].adjust_cell_length(self.size.width, self.rich_style)

    def on_resize(self, _: events.Resize) -> None:
        self.post_message(self.Resized())


def joined(segments: Iterable[Segment]) -> list[Segment]:
    """Neighbours that look the same as one segment: every change of style costs bytes on the line."""
    runs: list[tuple[list[str], Style | None]] = []
    for text, style, _ in segments:
        if not text:
            continue
        if runs and (runs[-1][1] == style or (text.isspace() and _same_ground(runs[-1][1], style))):
            runs[-1][0].append(text)
        else:
            runs.append(([text], style))
    return [Segment("".join(texts), style) for texts, style in runs]


def _same_ground(style: Style | None, other: Style | None) -> bool:
    """Whether blanks look the same in both: neither has a ground of its own, a line or exchanged colours."""
    return all(
        item is None or not (item.bgcolor or item.underline or item.reverse or item.strike) for item in (style, other)
    )
