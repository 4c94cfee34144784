"""Which sessions use the plan's tables now: those that hold locks on them, and those whose last statement named them.

Two quick queries and, where somebody waits, a third. Nothing is locked and no snapshot outlives a query.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from console.engine.blockers import (
    BLOCKS_OTHERS,
    FACTS,
    MARK,
    SESSION_MARK,
    USES_NEW,
    USES_OLD,
    USES_TABLES,
    WAITS_TOO,
)
from console.engine.derive import table
from console.engine.facts import archived
from console.journal.activity import NEW, OLD
from console.journal.connect import Conn
from console.journal.state import Session
from console.plan.model import Mapping, TableName

LONG_S = 1.0  # a transaction so old is shown as it is; younger ones come and go
WAIT_S = 0.5  # shorter waits are the usual traffic
WAITERS = 50  # whose blockers are asked for

# What tells a lock's strength, weakest first (table 13.2 of the manual).
MODES = (
    "AccessShareLock", "RowShareLock", "RowExclusiveLock", "ShareUpdateExclusiveLock", "ShareLock",
    "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock",
)  # fmt: skip

# A table is its partitions and children too.
_OIDS = """
WITH RECURSIVE given AS (
    SELECT n, coalesce(to_regclass(name), to_regclass(elsewhere))::oid AS oid
    FROM unnest(%s::text[], %s::text[]) WITH ORDINALITY g(name, elsewhere, n)
), tree AS (
    SELECT n, oid FROM given WHERE oid IS NOT NULL
    UNION SELECT tree.n, i.inhrelid FROM tree JOIN pg_inherits i ON i.inhparent = tree.oid
)
SELECT n, oid::int8 FROM tree ORDER BY n
"""
_LOCKS = """
SELECT l.pid, CASE WHEN l.relation = ANY (%(oids)s) THEN l.relation::int8 ELSE 0 END, l.mode, l.granted FROM pg_locks l
WHERE l.pid IS NOT NULL AND l.pid <> pg_backend_pid() AND (NOT l.granted OR l.locktype = 'relation'
    AND l.relation = ANY (%(oids)s) AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()))
"""
_BLOCKERS = "SELECT pid, pg_blocking_pids(pid) FROM unnest(%s::int[]) pid"
# A table named in a literal only, as monitoring does, is not used.
_SESSIONS = f"""
SELECT {FACTS}, a.xact_start IS NOT NULL AND a.xact_start < clock_timestamp() - make_interval(secs => {LONG_S}),
    {MARK}, {SESSION_MARK}, coalesce(a.backend_type, ''), coalesce(nullif(a.leader_pid, a.pid), 0),
    ARRAY(SELECT n FROM unnest(%(patterns)s::text[]) WITH ORDINALITY p(pattern, n) WHERE said.words ~* pattern)
FROM pg_stat_activity a CROSS JOIN LATERAL (SELECT regexp_replace(a.query, $$'[^']*'$$, '', 'g') AS words) said
WHERE a.pid <> pg_backend_pid() AND (a.pid = ANY (%(pids)s) OR a.datname = current_database()
    AND a.backend_type = 'client backend' AND a.application_name NOT LIKE 'pgferry%%'
    AND (a.state <> 'idle' OR a.state_change > clock_timestamp() - make_interval(secs => %(since)s))
    AND EXISTS (SELECT FROM unnest(%(patterns)s::text[]) pattern WHERE said.words ~* pattern))
"""

_PREPARED = """
SELECT 0, 'prepared transaction', p.owner, 'prepared', extract(epoch FROM clock_timestamp() - p.prepared)::float, p.gid,
    p.transaction::text FROM pg_prepared_xacts p WHERE p.database = current_database() AND EXISTS (
    SELECT FROM pg_locks held JOIN pg_locks its ON its.virtualtransaction = held.virtualtransaction
    WHERE held.pid IS NULL AND held.relation = ANY (%(oids)s) AND its.transactionid = p.transaction)
"""


@dataclass(frozen=True, slots=True)
class Place:
    """A table of the plan: its side, name, the pattern for it in a statement (empty: not to be told by name), oids."""

    side: str
    name: str
    pattern: str
    oids: frozenset[int]


@dataclass(frozen=True, slots=True)
class User:
    """A session that uses a table, waits, or makes one wait. ``sides``: that it uses for certain."""

    session: Session
    sides: frozenset[str]
    backend: str  # client backend, autovacuum worker, ...
    brief: bool  # in short transactions
    tables: tuple[str, ...] = ()


def places(conn: Conn, mappings: Iterable[Mapping], archive_schema: str) -> tuple[Place, ...]:
    """The tables of the mappings as far as they are there, old ones also where they are retired."""
    wanted: dict[TableName, tuple[str, TableName]] = {}
    for mapping in mappings:
        wanted.setdefault(mapping.new, (NEW, mapping.new))
        wanted[mapping.old] = (OLD, archived(mapping.old, archive_schema))
    names = [table(name).as_string(None) for name in wanted]
    elsewhere = [table(other).as_string(None) for _, other in wanted.values()]
    oids: dict[int, set[int]] = {}
    for number, oid in conn.execute(_OIDS, (names, elsewhere)).fetchall():
        oids.setdefault(number, set()).add(oid)
    bare = [name.name.lower() for name in wanted]
    return tuple(
        Place(
            side,
            str(name),
            rf"\m{re.escape(name.name)}\M" if bare.count(name.name.lower()) == 1 else "",
            frozenset(oids[number]),
        )
        for number, (name, (side, _)) in enumerate(wanted.items(), start=1)
        if number in oids
    )


def look(conn: Conn, tables: Sequence[Place], since_s: float) -> list[User]:
    """Everybody who uses one of the tables now or did in a statement within ``since_s``, who waits for them and whom for.

    Sessions of pgferry's own are left out unless somebody waits for them.
    """
    of = {oid: place for place in tables for oid in place.oids}
    locks: dict[int, list[tuple[Place, str]]] = {}
    waiting: set[int] = set()
    for pid, oid, mode, granted in conn.execute(_LOCKS, {"oids": list(of)}).fetchall():
        if oid:
            locks.setdefault(pid, []).append((of[oid], mode))
        if not granted:
            waiting.add(pid)
    chains = _chains(conn, waiting, set(locks))
    named = [place for place in tables if place.pattern]
    rows = conn.execute(
        _SESSIONS,
        {"pids": [*{*locks, *chains, *chains.values()}], "patterns": [p.pattern for p in named], "since": since_s},
    ).fetchall()
    young = {row[0] for row in rows if row[4] < WAIT_S}
    chains = {pid: blocker for pid, blocker in chains.items() if pid not in young}
    found = [
        _user(row, locks.get(row[0], []), [named[number - 1] for number in row[-1]], chains)
        for row in rows
        if not row[-2]  # a parallel worker's locks are its leader's too
    ]
    return [user for user in found if user.session.role] + _prepared(conn, list(of))


def _user(row: Sequence[Any], held: list[tuple[Place, str]], named: list[Place], chains: dict[int, int]) -> User:
    *facts, long, mark, session_mark, backend, _, _ = row
    pid = facts[0]
    blocks = pid in chains.values()
    ours = facts[1].startswith("pgferry")
    sides = frozenset[str]() if ours else _sides(held, named)
    if pid in chains:
        role = WAITS_TOO
    elif blocks:
        role = BLOCKS_OTHERS
    elif ours or not (held or named):
        role = ""  # a wait of the usual traffic is over, or it is ours
    else:
        role = USES_OLD if sides == {OLD} else USES_NEW if sides == {NEW} else USES_TABLES
    brief = not long and pid not in chains and not blocks
    told = (role, _words(held, named), session_mark if brief else mark, chains.get(pid, 0))
    session = Session(*(*facts, *told))
    tables = dict.fromkeys([place.name for place in named] + [place.name for place, _ in held])
    return User(session, sides, backend, brief, tuple(tables))


def _prepared(conn: Conn, oids: list[int]) -> list[User]:
    rows = conn.execute(_PREPARED, {"oids": oids}).fetchall()
    return [User(Session(*(*row[:6], BLOCKS_OTHERS)), frozenset(), "", False) for row in rows]


def _chains(conn: Conn, waiting: set[int], touching: set[int]) -> dict[int, int]:
    """Who waits for whom, of those chains that a session on the plan's tables is part of."""
    if not waiting:
        return {}
    asked = sorted(waiting, key=lambda pid: (pid not in touching, pid))[:WAITERS]
    by = {pid: min(filter(None, pids)) for pid, pids in conn.execute(_BLOCKERS, (asked,)).fetchall() if any(pids)}
    linked = set(touching)
    while more := {pid for pair in by.items() if set(pair) & linked for pid in pair} - linked:
        linked |= more
    return {pid: blocker for pid, blocker in by.items() if pid in linked}


def _sides(held: list[tuple[Place, str]], named: list[Place]) -> frozenset[str]:
    """Which shape the session uses for certain: those it names; else the one it locks, where it locks only one.

    The sync locks the other table too, and a foreign key that refers to a table locks its rows' keys.
    """
    if named:
        return frozenset(place.side for place in named)
    locked = frozenset(place.side for place, mode in held if mode != "RowShareLock")
    return locked if len(locked) == 1 else frozenset()


def _words(held: list[tuple[Place, str]], named: list[Place]) -> str:
    """``public.sales ROW EXCLUSIVE, public.sales_v2``: each table with the strongest lock on it."""
    strongest: dict[str, int] = {place.name: -1 for place in named}
    for place, mode in held:
        rank = MODES.index(mode) if mode in MODES else -1
        strongest[place.name] = max(rank, strongest.get(place.name, -1))
    return ", ".join(f"{name} {_mode(rank)}".strip() for name, rank in strongest.items())


def _mode(rank: int) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", MODES[rank].removesuffix("Lock")).upper() if rank >= 0 else ""
