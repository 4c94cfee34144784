"""How far replicas and replication slots are behind. A lag that cannot be seen counts as unknown and holds."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from console.engine.signals.base import Reading, barrier, gauge, megabytes, unseen
from console.journal.connect import Conn

_NOW = "SELECT extract(epoch FROM clock_timestamp())::float, pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint"
_REPLICAS = (
    "SELECT coalesce(nullif(application_name, ''), 'replica') || coalesce(' ' || host(client_addr), ''),"
    " pg_wal_lsn_diff(replay_lsn, '0/0')::bigint, extract(epoch FROM replay_lag)::float"
    " FROM pg_stat_replication WHERE state IS DISTINCT FROM 'backup' ORDER BY 1, pid"
)
# An active physical slot is a replica's, which is listed by itself.
_SLOTS = (
    "SELECT slot_name, active, wal_status,"
    " pg_wal_lsn_diff(pg_current_wal_lsn(), coalesce(confirmed_flush_lsn, restart_lsn))::bigint"
    " FROM pg_replication_slots WHERE NOT (active AND slot_type = 'physical')"
    " AND coalesce(confirmed_flush_lsn, restart_lsn) IS NOT NULL AND NOT temporary ORDER BY 1"
)


@dataclass
class ReplicaLag:
    """Every replica's replay lag, in seconds and in bytes.

    The server's own replay_lag stands still while a replica replays nothing, so the seconds are also counted
    here: since when the replica's position is behind us.
    """

    max_seconds: float
    max_mb: float
    name: str = "replica lag"
    _past: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=3600))

    def look(self, conn: Conn) -> Sequence[Reading]:
        """A reading for each replica; none without replicas."""
        row = conn.execute(_NOW).fetchone()
        assert row is not None
        now, position = row
        self._past.append((now, position))
        replicas = conn.execute(_REPLICAS).fetchall()
        return [self._of(now, position, *replica) for replica in replicas] or [Reading(self.name, "no replicas", "")]

    def _of(self, now: float, position: int, who: str, replayed: int | None, reported: float | None) -> Reading:
        name, limit = f"{self.name} {who}", f"{self.max_seconds:.1f} s, {self.max_mb:.0f} MB"
        if replayed is None:
            return unseen(name, "cannot be seen", limit, holds=True)
        behind = max(position - replayed, 0)
        seconds = 0.0 if not behind else max(self._since(now, replayed), reported or 0.0)
        text = f"{seconds:.1f} s, {megabytes(behind)}"
        by_time = gauge(name, seconds, self.max_seconds, text, limit)
        by_size = gauge(name, behind / 2**20, self.max_mb, text, limit)
        return max(by_time, by_size, key=lambda reading: reading.load)

    def _since(self, now: float, replayed: int) -> float:
        """Seconds since we were last seen where the replica is now."""
        for seen, position in reversed(self._past):
            if position <= replayed:
                return now - seen
        return now - self._past[0][0]


@dataclass(frozen=True, slots=True)
class Slots:
    """WAL that replication slots keep: of logical consumers, and of slots that nobody reads."""

    max_mb: float
    name: str = "slot"

    def look(self, conn: Conn) -> Sequence[Reading]:
        """A reading for each slot that is not a listed replica's."""
        return [self._of(*slot) for slot in conn.execute(_SLOTS).fetchall()]

    def _of(self, slot: str, active: bool, status: str | None, kept: int) -> Reading:
        name, limit = f"{self.name} {slot}", f"{self.max_mb:.0f} MB"
        if status == "lost":
            return Reading(name, "lost, keeps nothing", limit)
        text = f"{'' if active else 'nobody reads it, '}{megabytes(kept)}"
        judge = gauge if active else barrier
        return judge(name, kept / 2**20, self.max_mb, text, limit)
