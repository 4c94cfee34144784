"""Follows a run on stderr: drawn live on a terminal, as dated lines everywhere else."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from console.headless.lines import LineWriter, traffic_words
from console.headless.report import done_tasks, lock_words
from console.headless.words import count, duration, eta, safe
from console.journal.state import Progress, RunState, TaskState

_EVENTS_SHOWN = 6


def wants_lines(stream: TextIO) -> bool:
    """Whether ``stream`` should get plain lines: no terminal, TERM=dumb, or NO_COLOR set."""
    return not stream.isatty() or os.environ.get("TERM") == "dumb" or bool(os.environ.get("NO_COLOR"))


def can_draw(environ: Mapping[str, str]) -> bool:
    """Whether a screen can be drawn here: a terminal for input and output that is not a dumb one."""
    return environ.get("TERM", "") not in ("", "dumb") and sys.stdin.isatty() and sys.stderr.isatty()


def _ascii_only(stream: TextIO) -> bool:
    return not (getattr(stream, "encoding", "") or "").lower().startswith("utf")


def picture(state: RunState, *, ascii_only: bool = False) -> RenderableType:
    """The live view of a run. Text of plans and databases is never taken as markup."""

    def text(words: str, style: str = "") -> Text:
        return Text(safe(words, ascii_only=ascii_only), style=style, no_wrap=True, overflow="ellipsis")

    parts: list[RenderableType] = [_overall(state, text)]
    if state.current is not None:
        parts.append(text(_task_words(state.current), "bold"))
    for progress in state.progress:
        if not progress.finished:
            parts += [_bar(progress, text), *_throttle(progress, text)]
    if state.lock_wait is not None:
        parts.append(text(f"  {lock_words(state.lock_wait)}", "yellow"))
    for session in state.sessions:
        parts.append(text(f"  pid {session.pid} {session.application} {session.role}: {session.query}", "yellow"))
    if state.traffic is not None:
        parts.append(text(traffic_words(state.traffic), "red" if state.traffic.now.errors else "dim"))
    parts += [text(f"  {e.at:%H:%M:%S} {e.task_id} {e.text}", "dim") for e in state.events[-_EVENTS_SHOWN:]]
    if state.error:
        parts.append(text(state.error, "bold red"))
    return Group(*parts)


_Maker = Callable[..., Text]


def _overall(state: RunState, text: _Maker) -> Table:
    grid = Table.grid(padding=(0, 1))
    done, total = done_tasks(state), len(state.own)
    name = f"run {state.run_id} {state.status.value}"
    grid.add_row(text(name, "bold"), ProgressBar(max(total, 1), done, width=24), text(f"{done}/{total} tasks"))
    return grid


def _task_words(task: TaskState) -> str:
    spent = f", {duration(task.seconds)} of about {task.estimate_minutes} min"
    note = f", {task.note}" if task.note else ""
    return f"{task.id} {task.title}: {task.status.value}{spent}{note}"


def _bar(progress: Progress, text: _Maker) -> Table:
    grid = Table.grid(padding=(0, 1))
    words = f"{progress.share:.1%} {count(progress.rate)} rows/s ETA {eta(progress.eta_low_s, progress.eta_high_s)}"
    name = text(f"  {progress.what} {progress.mapping}")
    grid.add_row(name, ProgressBar(1.0, progress.share, width=24), text(words))
    return grid


def _throttle(progress: Progress, text: _Maker) -> list[Text]:
    return [
        text(f"  throttled by {s.name}: {s.value}, limit {s.limit}, cost {duration(s.cost_s)} so far", "yellow")
        for s in progress.signals
        if s.holds or s.state == "throttling"
    ]


class Follower:
    """Draws a run until it stops; by default on stderr, so that stdout stays free for results.

    ``lines``: dated lines in any case. ``ascii_only``: None leaves it to the stream's encoding.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        interval_s: float = 0.5,
        lines: bool = False,
        ascii_only: bool | None = None,
    ) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._interval_s = interval_s
        self._lines = lines or wants_lines(self._stream)
        self._ascii_only = _ascii_only(self._stream) if ascii_only is None else ascii_only

    def follow(
        self,
        poll: Callable[[], RunState],
        wait: Callable[[float], None],
        *,
        stop: Callable[[RunState], bool],
    ) -> RunState:
        """Polls and draws until ``stop`` accepts a state, and returns that state.

        ``wait`` is given the longest pause in seconds and may return earlier. Errors of ``poll`` pass through.
        """
        if self._lines:
            return self._follow_lines(poll, wait, stop)
        return self._follow_live(poll, wait, stop)

    def _follow_lines(
        self, poll: Callable[[], RunState], wait: Callable[[float], None], stop: Callable[[RunState], bool]
    ) -> RunState:
        writer = LineWriter(ascii_only=self._ascii_only)
        while True:
            state = poll()
            for line in writer.lines(state):
                print(line, file=self._stream, flush=True)
            if stop(state):
                return state
            wait(self._interval_s)

    def _follow_live(
        self, poll: Callable[[], RunState], wait: Callable[[float], None], stop: Callable[[RunState], bool]
    ) -> RunState:
        screen = Console(file=self._stream)
        # Drawn here after each poll, not by a thread of its own: the picture is never older than it looks.
        with Live(console=screen, auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as live:
            while True:
                state = poll()
                live.update(picture(state, ascii_only=self._ascii_only), refresh=True)
                if stop(state):
                    return state
                wait(self._interval_s)


def follow(
    poll: Callable[[], RunState], wait: Callable[[float], None], *, stop: Callable[[RunState], bool]
) -> RunState:
    """Follows a run on stderr until ``stop`` accepts a state, and returns that state."""
    return Follower().follow(poll, wait, stop=stop)
