"""Processor time: on a machine that others use too, it tells the work done from the time waited for a processor."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_STAT_AFTER_NAME = slice(11, 15)  # utime, stime, and those of the children that ended, in /proc/PID/stat


def used(server_pid: int | None) -> float:
    """Seconds that this process and a server with all its backends, ended ones too, have used; NaN where unknown."""
    if server_pid is None or not Path("/proc/self/stat").exists():
        return math.nan
    ticks = 0
    for pid in (server_pid, *_children(server_pid)):
        try:
            text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
        except OSError:  # ended just now: the postmaster has its time
            continue
        mine = [int(number) for number in text.rpartition(")")[2].split()[_STAT_AFTER_NAME]]
        ticks += sum(mine if pid == server_pid else mine[:2])
    return time.process_time() + ticks / _TICK


def _children(pid: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(path.parent.name))
    return found
