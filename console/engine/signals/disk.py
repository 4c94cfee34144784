"""Free space where the server keeps its data: seen only where that directory is on this machine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import psycopg

from console.engine.signals.base import THROTTLING, Reading, megabytes, unseen
from console.journal.connect import Conn


@dataclass(frozen=True, slots=True)
class DiskSpace:
    """Free space of the data directory's file system. SQL does not tell it, so a remote server's is not visible;
    that does not hold the copy, since it would hold every copy of every remote server for ever."""

    least_percent: float
    name: str = "disk space"

    def look(self, conn: Conn) -> Sequence[Reading]:
        """Only through a Unix socket: a directory of the same name here might be another machine's otherwise."""
        limit = f"{self.least_percent:.0f} % free" if self.least_percent else "none"
        found = _free(conn)
        if found is None:
            return [unseen(self.name, "not visible from here", limit, holds=False)]
        free, total = found
        percent = 100 * free / max(total, 1)
        text = f"{megabytes(free)} free ({percent:.0f} %)"
        if percent < self.least_percent:
            return [Reading(self.name, text, limit, THROTTLING, True)]
        return [Reading(self.name, text, limit)]


def _free(conn: Conn) -> tuple[int, int] | None:
    """(free, total) bytes, None where it cannot be told."""
    if not (conn.info.host or "/").startswith(("/", "@")):
        return None
    try:
        row = conn.execute("SELECT current_setting('data_directory')").fetchone()
        found = os.statvfs(row[0]) if row else None
    except (psycopg.errors.InsufficientPrivilege, OSError):
        return None
    return (found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize) if found else None
