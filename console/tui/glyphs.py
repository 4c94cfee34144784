"""Every sign the console draws that is not a letter, each with the ASCII form used where UTF-8 is not understood."""

from __future__ import annotations

from dataclasses import dataclass

from console.journal.state import TaskStatus


@dataclass(frozen=True, slots=True)
class Glyphs:
    """One column of the table. ``blocks`` are parts of a bar's cell, ``spark`` heights of a sparkline, low to high."""

    ascii_only: bool
    pending: str
    running: str
    done: str
    failed: str
    blocked: str
    deferred: str
    rolled_back: str
    cursor: str
    rule: str
    vertical: str
    dot: str
    bar_open: str
    bar_close: str
    blocks: str
    empty: str
    spark: str
    more_up: str
    more_down: str

    def status(self, status: TaskStatus) -> str:
        """The two-cell sign of a task's status; the word stands beside it wherever there is room."""
        return {
            TaskStatus.PENDING: self.pending,
            TaskStatus.IN_PROGRESS: self.running,
            TaskStatus.COMPLETED: self.done,
            TaskStatus.BLOCKED: self.blocked,
            TaskStatus.DEFERRED: self.deferred,
            TaskStatus.FAILED: self.failed,
            TaskStatus.ROLLED_BACK: self.rolled_back,
            TaskStatus.BEFORE: self.done,
        }[status]


UNICODE = Glyphs(
    ascii_only=False,
    pending="··",
    running=">>",
    done="ok",
    failed="!!",
    blocked="||",
    deferred="--",
    rolled_back="<<",
    cursor="▌",
    rule="─",
    vertical="│",
    dot="·",
    bar_open="",
    bar_close="",
    blocks="▏▎▍▌▋▊▉█",
    empty="░",
    spark="▁▂▃▄▅▆▇█",
    more_up="↑",
    more_down="↓",
)

ASCII = Glyphs(
    ascii_only=True,
    pending="..",
    running=">>",
    done="ok",
    failed="!!",
    blocked="||",
    deferred="--",
    rolled_back="<<",
    cursor=">",
    rule="-",
    vertical="|",
    dot="-",
    bar_open="[",
    bar_close="]",
    blocks="#",
    empty=".",
    spark="_.-~=+*#",
    more_up="^",
    more_down="v",
)
