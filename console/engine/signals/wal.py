"""What the server does with WAL: how fast it grows, and how far the archiver is behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import psycopg

from console.engine.signals.base import Reading, gauge, unseen
from console.journal.connect import Conn


@dataclass
class WalRate:
    """WAL written by everybody, in MB a second between two looks."""

    max_mb_per_second: float
    name: str = "WAL rate"
    _last: tuple[float, int] | None = field(default=None)

    def look(self, conn: Conn) -> Sequence[Reading]:
        """From the second look on."""
        row = conn.execute(
            "SELECT extract(epoch FROM clock_timestamp())::float, pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint"
        ).fetchone()
        assert row is not None
        before, self._last = self._last, (row[0], row[1])
        if before is None or row[0] <= before[0]:
            return []
        rate = (row[1] - before[1]) / 2**20 / (row[0] - before[0])
        return [
            gauge(self.name, rate, self.max_mb_per_second, f"{rate:.1f} MB/s", f"{self.max_mb_per_second:.0f} MB/s")
        ]


@dataclass(frozen=True, slots=True)
class Archiver:
    """Finished WAL files that wait for the archiver; nothing where archiving is off."""

    most: int
    name: str = "archiver"

    def look(self, conn: Conn) -> Sequence[Reading]:
        """Counts the files marked ready; without that privilege, by the last archived file's number."""
        row = conn.execute(
            "SELECT current_setting('archive_mode'), coalesce(last_failed_time > last_archived_time,"
            " last_failed_time IS NOT NULL) FROM pg_stat_archiver"
        ).fetchone()
        if row is None or row[0] == "off":
            return []
        limit = f"{self.most} files" if self.most else "none"
        behind = self._ready(conn)
        if behind is None:
            behind = self._by_number(conn)
        if behind is None:
            return [unseen(self.name, "nothing archived yet", limit, holds=False)]
        text = f"{behind} files behind{', failing' if row[1] else ''}"
        return [gauge(self.name, behind, self.most, text, limit)]

    def _ready(self, conn: Conn) -> int | None:
        try:
            row = conn.execute("SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'").fetchone()
        except psycopg.errors.InsufficientPrivilege:
            return None
        return int(row[0]) if row else None

    def _by_number(self, conn: Conn) -> int | None:
        row = conn.execute(
            "SELECT pg_walfile_name(pg_current_wal_lsn()), last_archived_wal,"
            " pg_size_bytes(current_setting('wal_segment_size')) FROM pg_stat_archiver"
        ).fetchone()
        if row is None or row[1] is None:
            return None
        now, archived = (int(name[8:16], 16) * (2**32 // row[2]) + int(name[16:24], 16) for name in row[:2])
        return int(max(now - archived - 1, 0))
