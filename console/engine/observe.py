"""The observer: while a runner is at work it looks every two seconds at whoever is around the plan's tables.

Sampled: which sessions and applications use a table (a look sees what a session does, or did since the last look).
Exact: the applications' writes, from the sync's counters, and the server's count of scans.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from console.engine import naming, users
from console.engine.blockers import BLOCKS_OTHERS, USES_NEW, USES_OLD, USES_TABLES, WAITS_TOO
from console.engine.replication import Replication
from console.engine.session import Session
from console.engine.users import Place, User
from console.journal import events, read, runs
from console.journal.activity import MINUTES, NEW, OLD, Activity
from console.journal.connect import Conn
from console.journal.state import Session as OtherSession

LOOK_S = 2.0  # a look takes 11 ms where 500 sessions hold locks on the tables, 2 ms where 500 are idle
REST_S = 30.0
PLACES_S = 10.0  # tables come, are retired and purged
SCANS_S = 15.0  # reading statistics is dear on servers before 15
SHOWN_S = 5.0  # a changed picture is shown so often, an unchanged one half as often
KEEP_S = 15.0  # a session in short transactions is shown so long after it was last seen
LISTED = 30
BRIEF = "short transactions"
FACT = "activity"
ORDER = (BLOCKS_OTHERS, WAITS_TOO, USES_OLD, USES_TABLES, USES_NEW)

_COUNTERS = (
    "SELECT extract(epoch FROM clock_timestamp())::float, ARRAY(SELECT CASE WHEN to_regclass(name) IS NOT NULL"
    " THEN coalesce(pg_sequence_last_value(to_regclass(name)), 0) END"
    " FROM unnest(%s::text[]) WITH ORDINALITY c(name, n) ORDER BY n)"
)
_SCANS = (
    "SELECT coalesce(sum(pg_stat_get_numscans(t) + coalesce((SELECT sum(pg_stat_get_numscans(indexrelid)) FROM pg_index"
    " WHERE indrelid = t), 0)), 0)::bigint FROM unnest(%s::oid[]) t"
)


@dataclass
class _Kept:
    """A session in short transactions: when it was last seen on each side and each table."""

    session: OtherSession
    sides: dict[str, float] = field(default_factory=dict)
    tables: dict[str, float] = field(default_factory=dict)


class Observer:
    """Belongs to one thread; the applications' uses are shared through ``Session.uses``."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._due = 0.0
        self._looked = time.monotonic()
        self._places: tuple[Place, ...] = ()
        self._hidden: tuple[str, ...] = ()
        self._replication = Replication()
        self._kept: dict[int, _Kept] = {}
        self._next: dict[str, float] = {}
        self._recalled = False
        self._shown: object = None
        self._shown_at = float("-inf")

    def due(self) -> bool:
        """Whether it is time for the next look."""
        return time.monotonic() >= self._due

    def rest(self) -> None:
        """The server refused a look: the next one is later."""
        self._due = time.monotonic() + REST_S

    def look(self, conn: Conn) -> None:
        """Look once, and show the consoles what changed."""
        now = time.monotonic()
        self._due = now + LOOK_S
        if not self._recalled:
            self._recall(conn)
        if self._its_time("places", PLACES_S, now):
            self._places = users.places(conn, self.session.plan.mappings, self.session.plan.archive_schema)
            self._hidden = hidden(conn)
        found = users.look(conn, self._places, now - self._looked + 0.1) if self._places else []
        self._looked = now
        at = self._count(conn, now)
        self.session.uses.saw(at, ((side, user.session.application) for user in found for side in user.sides))
        self._show(conn, at, now, self._listed(found, now))

    def _its_time(self, what: str, every: float, now: float) -> bool:
        if now < self._next.get(what, 0.0):
            return False
        self._next[what] = now + every
        return True

    def _recall(self, conn: Conn) -> None:
        """What a runner before this one saw a few minutes ago."""
        known = read.activity(conn, self.session.run_id)
        row = conn.execute("SELECT extract(epoch FROM clock_timestamp())::float").fetchone()
        if known is not None and row is not None and 0 <= row[0] - known.at.timestamp() < MINUTES * 60:
            self.session.uses.recall(known)
        self._recalled = True

    def _count(self, conn: Conn, now: float) -> float:
        """Read the counters; returns the server's time."""
        mappings = self.session.plan.mappings
        asked = [(side, naming.write_counter(mapping, side)) for mapping in mappings for side in (OLD, NEW)]
        row = conn.execute(_COUNTERS, ([name.as_string(None) for _, name in asked],)).fetchone()
        assert row is not None
        at: float = row[0]
        writes: dict[str, int] = {}
        for (side, _), value in zip(asked, row[1], strict=True):
            if value is not None:
                writes[side] = writes.get(side, 0) + value
        self.session.uses.counted(at, "writes", writes)
        if self._its_time("scans", SCANS_S, now):
            self.session.uses.counted(at, "scans", {side: self._scans(conn, side) for side in self._sides()})
        return at

    def _sides(self) -> set[str]:
        return {place.side for place in self._places}

    def _scans(self, conn: Conn, side: str) -> int:
        oids = [oid for place in self._places if place.side == side for oid in place.oids]
        row = conn.execute(_SCANS, (oids,)).fetchone()
        return int(row[0]) if row else 0

    def _listed(self, found: Iterable[User], now: float) -> list[OtherSession]:
        """Sessions worth a line, the worst first, in an order that stays: brief ones are held for a while."""
        long = []
        for user in found:
            if user.brief:
                self._keep(user, now)
            else:
                long.append(user.session)
                self._kept.pop(user.session.pid, None)
        self._kept = {pid: kept for pid, kept in self._kept.items() if max(kept.tables.values()) > now - KEEP_S}
        brief = [_brief(kept, now) for kept in self._kept.values()]
        return sorted(
            [*long, *brief], key=lambda s: (ORDER.index(s.role), s.state == BRIEF, -s.age_s, s.application, s.pid)
        )

    def _keep(self, user: User, now: float) -> None:
        session = user.session
        kept = self._kept.get(session.pid)
        if kept is None or (kept.session.mark, kept.session.application) != (session.mark, session.application):
            kept = self._kept[session.pid] = _Kept(session)
        kept.session = session
        kept.sides |= dict.fromkeys(user.sides or (OLD, NEW), now)
        kept.tables |= dict.fromkeys(user.tables, now)

    def _show(self, conn: Conn, at: float, now: float, sessions: list[OtherSession]) -> None:
        shape = [(item.pid, item.role, item.state, item.waits_for) for item in sessions]
        if now - self._shown_at < (SHOWN_S if shape != self._shown else 2 * SHOWN_S):
            return
        looks, uses, counts = self.session.uses.picture(at)
        replicas, slots = self._replication.look(conn)
        more = max(len(sessions) - LISTED, 0)
        moment = datetime.fromtimestamp(at, UTC)
        payload: dict[str, Any] = asdict(Activity(moment, looks, uses, counts, replicas, slots, self._hidden, more))
        payload |= {"at": moment.isoformat(), "sessions": [asdict(item) for item in sessions[:LISTED]]}
        runs.set_live(conn, self.session.run_id, FACT, payload)
        events.notify(conn)
        self._shown, self._shown_at = shape, now


def _brief(kept: _Kept, now: float) -> OtherSession:
    sides = {side for side, at in kept.sides.items() if at > now - KEEP_S}
    role = USES_TABLES if len(sides) > 1 else USES_OLD if OLD in sides else USES_NEW
    tables = ", ".join(sorted(name for name, at in kept.tables.items() if at > now - KEEP_S))
    return replace(kept.session, state=BRIEF, age_s=0.0, role=role, table=tables, waits_for=0)


def hidden(conn: Conn) -> tuple[str, ...]:
    """What the role may not see, in words."""
    row = conn.execute("SELECT pg_has_role('pg_read_all_stats', 'USAGE'), current_user").fetchone()
    if row is None or row[0]:
        return ()
    return (
        f"The runner's role {row[1]} may not see what other roles' sessions do, nor how far replicas are:"
        " grant it pg_monitor.",
    )
