"""What other sessions do: wait for locks, stay in transactions, work, vacuum our tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from console.engine.signals.base import THROTTLING, Reading, barrier, gauge, unseen
from console.journal.connect import Conn
from console.plan.model import TableName

_OTHERS = "backend_type = 'client backend' AND application_name NOT LIKE 'pgferry%%'"
# Without pg_read_all_stats (or pg_monitor) other roles' sessions show nothing of what they do.
_HIDDEN = "query = '<insufficient privilege>'"


@dataclass(frozen=True, slots=True)
class LockWaiters:
    """Sessions of others that wait for locks in this database: a sign that somebody, perhaps we, is in the way."""

    most: int
    name: str = "waiting sessions"

    def look(self, conn: Conn) -> Sequence[Reading]:
        """From pg_locks, which everybody may see in full."""
        row = conn.execute(
            "SELECT count(DISTINCT l.pid) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE NOT l.granted"
            " AND a.datname = current_database() AND a.application_name NOT LIKE 'pgferry%'"
        ).fetchone()
        assert row is not None
        return [barrier(self.name, row[0], self.most, str(row[0]), str(self.most))]


@dataclass(frozen=True, slots=True)
class OldestTransaction:
    """The oldest open transaction of others: while it lasts, what the copy leaves behind cannot be vacuumed."""

    most_seconds: float
    name: str = "oldest transaction"

    def look(self, conn: Conn) -> Sequence[Reading]:
        """Its age; unknown, without holding, where sessions hide and none that shows is too old."""
        row = conn.execute(
            "SELECT extract(epoch FROM clock_timestamp() - min(xact_start))::float, count(*) FILTER (WHERE "
            + _HIDDEN
            + " AND (backend_xid IS NOT NULL OR backend_xmin IS NOT NULL)) FROM pg_stat_activity"
            " WHERE backend_type = 'client backend' AND application_name NOT LIKE 'pgferry%'"
        ).fetchone()
        assert row is not None
        age, hidden = row[0] or 0.0, row[1]
        found = barrier(self.name, age, self.most_seconds, f"{age:.0f} s", f"{self.most_seconds:.0f} s")
        if hidden and not found.holds:
            return [unseen(self.name, f"{hidden} sessions hidden", found.limit, holds=False)]
        return [found]


@dataclass(frozen=True, slots=True)
class ActiveSessions:
    """Sessions of others at work, against the cores that the plan says the server has."""

    most: int
    name: str = "active sessions"

    def look(self, conn: Conn) -> Sequence[Reading]:
        """Nothing without a limit: how many cores a server has cannot be asked of it."""
        if not self.most:
            return []
        row = conn.execute(
            f"SELECT count(*) FILTER (WHERE state = 'active'), count(*) FILTER (WHERE {_HIDDEN})"
            f" FROM pg_stat_activity WHERE {_OTHERS}".replace("%%", "%")
        ).fetchone()
        assert row is not None
        if row[1]:
            return [unseen(self.name, f"{row[1]} sessions hidden", str(self.most), holds=False)]
        return [gauge(self.name, row[0], self.most, str(row[0]), str(self.most))]


@dataclass(frozen=True, slots=True)
class Vacuum:
    """A vacuum, automatic or not, at work on one of our tables; the copy makes it longer."""

    tables: tuple[TableName, ...]
    holds: bool
    name: str = "vacuum"

    def look(self, conn: Conn) -> Sequence[Reading]:
        """A reading for each of the tables that is being vacuumed, else one that says none is."""
        rows = conn.execute(
            "SELECT t.name, coalesce(100 * p.heap_blks_scanned / nullif(p.heap_blks_total, 0), 0)"
            " FROM pg_stat_progress_vacuum p JOIN unnest(%s::text[], %s::text[]) AS t (schema, name)"
            " ON p.relid = to_regclass(format('%%I.%%I', t.schema, t.name)) ORDER BY 1",
            ([t.schema for t in self.tables], [t.name for t in self.tables]),
        ).fetchall()
        limit = "none at work" if self.holds else "none"
        if not rows:
            return [Reading(self.name, "none", limit)]
        text = ", ".join(f"{table} {percent} %" for table, percent in rows)
        return [Reading(self.name, text, limit, THROTTLING, True) if self.holds else Reading(self.name, text, limit)]
