"""Replicas and replication slots as the screens show them: state, bytes and seconds behind, unknown where not visible."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from console.journal.activity import Replica, Slot
from console.journal.connect import Conn

# replay_lag stands still while a replica replays nothing, so the seconds are counted here as well.
_REPLICAS = (
    "SELECT coalesce(nullif(application_name, ''), 'replica') || coalesce(' ' || host(client_addr), ''),"
    " coalesce(state, ''), coalesce(sync_state, ''), pg_wal_lsn_diff(replay_lsn, '0/0')::bigint,"
    " extract(epoch FROM replay_lag)::float FROM pg_stat_replication WHERE state IS DISTINCT FROM 'backup' ORDER BY 1, pid"
)
_SLOTS = (
    "SELECT slot_name, slot_type, active, coalesce(wal_status, ''),"
    " pg_wal_lsn_diff(pg_current_wal_lsn(), coalesce(confirmed_flush_lsn, restart_lsn))::bigint"
    " FROM pg_replication_slots WHERE NOT temporary ORDER BY active, 1"
)


@dataclass
class Replication:
    """Remembers where the server's WAL stood, to say since when a replica is behind."""

    _past: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=1800))

    def look(self, conn: Conn) -> tuple[tuple[Replica, ...], tuple[Slot, ...]]:
        """Every replica and slot now; nothing to say on a server that is itself a replica."""
        row = conn.execute(
            "SELECT extract(epoch FROM clock_timestamp())::float, CASE WHEN NOT pg_is_in_recovery()"
            " THEN pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint END"
        ).fetchone()
        assert row is not None
        now, position = row
        if position is None:
            return (), ()
        self._past.append((now, position))
        replicas = [self._replica(now, position, *found) for found in conn.execute(_REPLICAS).fetchall()]
        slots = [Slot(*found) for found in conn.execute(_SLOTS).fetchall()]
        return tuple(replicas), tuple(slots)

    def _replica(
        self, now: float, position: int, name: str, state: str, sync: str, replayed: int | None, reported: float | None
    ) -> Replica:
        if replayed is None:
            return Replica(name, state, sync, None, None)
        behind = max(position - replayed, 0)
        seconds = max(self._since(now, replayed), reported or 0.0) if behind else 0.0
        return Replica(name, state, sync, behind, seconds)

    def _since(self, now: float, replayed: int) -> float:
        return now - next((seen for seen, position in reversed(self._past) if position <= replayed), self._past[0][0])
