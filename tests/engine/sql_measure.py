"""What a statement really does on a server: the locks it holds, the tables it writes anew, those it reads in full."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import psycopg
from psycopg import sql

from console.sql.locks import LEVEL
from tests.sql_corpus import Effects

# A relation that exists before the statement, and the relations whose lock stands for its own:
# a table for its index, a table for its TOAST table, a parent for its partitions and children, a view for what it reads.
_RELATIONS = """
WITH RECURSIVE up (oid, over) AS (
  SELECT indexrelid, indrelid FROM pg_index UNION
  SELECT reltoastrelid, oid FROM pg_class WHERE reltoastrelid <> 0 UNION
  SELECT inhrelid, inhparent FROM pg_inherits UNION
  SELECT refobjid, ev_class FROM pg_depend JOIN pg_rewrite r ON r.oid = objid AND classid = 'pg_rewrite'::regclass
    WHERE refclassid = 'pg_class'::regclass AND refobjid <> ev_class
), all_up (oid, over) AS (SELECT * FROM up UNION SELECT a.oid, u.over FROM all_up a JOIN up u ON u.oid = a.over)
SELECT c.oid, CASE n.nspname WHEN 'public' THEN relname ELSE n.nspname || '.' || relname END, c.relkind, c.relfilenode,
  array(SELECT over FROM all_up WHERE all_up.oid = c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE c.oid >= 16384
"""
_FILES = "SELECT oid, relfilenode FROM pg_class WHERE oid >= 16384"
_LOCKS = "SELECT relation, mode FROM pg_locks WHERE locktype = 'relation' AND pid = %s AND relation >= 16384"
_READ = (
    "SELECT oid, pg_stat_get_xact_numscans(oid), pg_stat_get_xact_tuples_returned(oid) FROM pg_class"
    " WHERE oid = ANY (%s)"
)


@dataclass(frozen=True)
class Relation:
    """One relation of the prepared database; ``over`` are those whose lock stands for its own."""

    name: str
    kind: str
    filenode: int
    over: frozenset[int]
    rows: int


def mode_name(name: str) -> str:
    """``AccessExclusiveLock`` as ACCESS EXCLUSIVE."""
    return "".join(" " + ch if ch.isupper() else ch for ch in name.removesuffix("Lock")).strip().upper()


def relations(conn: psycopg.Connection) -> dict[int, Relation]:
    """Every relation of the database that is not the system's, by oid."""
    found = conn.execute(_RELATIONS).fetchall()
    count = sql.SQL("SELECT count(*) FROM ONLY {}")
    rows = {
        oid: conn.execute(count.format(sql.Identifier(*name.split(".")))).fetchone()[0]  # type: ignore[index]
        for oid, name, kind, *_ in found
        if kind in "rm" and not name.startswith("pg_toast.")
    }
    return {
        oid: Relation(name, kind, filenode, frozenset(over), rows.get(oid, 0))
        for oid, name, kind, filenode, over in found
    }


def _effects(
    known: dict[int, Relation], held: list[tuple[int, str]], files: dict[int, int], read: set[int]
) -> tuple[Effects, dict[int, str]]:
    strongest: dict[int, str] = {}
    for oid, word in held:
        mode = mode_name(word)
        if oid in known and LEVEL[mode] > LEVEL.get(strongest.get(oid, ""), 0):
            strongest[oid] = mode
    listed = {
        oid: mode
        for oid, mode in strongest.items()
        if not known[oid].name.startswith("pg_toast.")
        and not any(LEVEL.get(strongest.get(above, ""), 0) >= LEVEL[mode] for above in known[oid].over)
    }
    rewritten = {
        known[o].name for o, n in files.items() if o in known and known[o].kind in "rm" and known[o].filenode != n
    }
    names = tuple(sorted((known[oid].name, mode) for oid, mode in listed.items()))
    scanned = tuple(sorted(known[oid].name for oid in read))
    return Effects(names, tuple(sorted(rewritten)), scanned), strongest


def in_transaction(conn: psycopg.Connection, known: dict[int, Relation], text: str) -> tuple[Effects, dict[int, str]]:
    """What ``text`` does in a transaction that is rolled back: in short, and the strongest lock on every relation."""
    full = [oid for oid, relation in known.items() if relation.rows]
    conn.rollback()
    try:
        before = {oid: (scans, rows) for oid, scans, rows in conn.execute(_READ, [full])}
        conn.execute(text)  # type: ignore[call-overload]
        read = {
            oid
            for oid, scans, rows in conn.execute(_READ, [full])
            if scans > before[oid][0] and rows - before[oid][1] >= known[oid].rows
        }
        held = conn.execute(_LOCKS, [conn.info.backend_pid]).fetchall()
        files = dict(conn.execute(_FILES).fetchall())
    finally:
        conn.rollback()
        conn.execute("DEALLOCATE ALL")
        conn.rollback()
    return _effects(known, held, files, read)


# Behind the first, only ACCESS EXCLUSIVE waits; behind the second, SHARE and more; behind the last, every first lock.
_BLOCKERS = ("ACCESS SHARE", "ROW EXCLUSIVE", "SHARE UPDATE EXCLUSIVE", "ACCESS EXCLUSIVE")
_WAITS = "SELECT cardinality(pg_blocking_pids(%s)) > 0"
_PATIENCE_S = 30.0


def _lock_all(conn: psycopg.Connection, known: dict[int, Relation], mode: str) -> None:
    """``mode`` on every table; on materialized views, which LOCK TABLE does not take, what a reader holds."""
    named = {
        kind: [sql.Identifier(*r.name.split(".")) for r in known.values() if r.kind in kind] for kind in ("rp", "m")
    }
    conn.execute(sql.SQL("LOCK TABLE {} IN " + mode + " MODE").format(sql.SQL(", ").join(named["rp"])))  # type: ignore[arg-type]
    for view in named["m"]:
        conn.execute(sql.SQL("SELECT FROM {} LIMIT 0").format(view))


def _seen_behind(conninfo: str, known: dict[int, Relation], mode: str, text: str) -> list[tuple[int, str]]:
    """The locks that ``text`` holds and asks for when a session holds ``mode`` on all tables; none if it ran through."""
    with psycopg.connect(conninfo) as blocker, psycopg.connect(conninfo, autocommit=True) as conn:
        _lock_all(blocker, known, mode)
        failed: list[psycopg.Error] = []

        def run() -> None:
            try:
                conn.execute(text)  # type: ignore[call-overload]
            except psycopg.Error as error:
                failed.append(error)

        work = threading.Thread(target=run)
        work.start()
        held: list[tuple[int, str]] = []
        stopped = False
        with psycopg.connect(conninfo, autocommit=True) as watcher:
            deadline = time.monotonic() + _PATIENCE_S
            while work.is_alive() and time.monotonic() < deadline:
                row = watcher.execute(_WAITS, [conn.info.backend_pid]).fetchone()
                if row and row[0]:
                    held = watcher.execute(_LOCKS, [conn.info.backend_pid]).fetchall()
                    stopped = True
                    conn.cancel()
                    break
                time.sleep(0.002)
        work.join()
        assert stopped or not failed, failed
        return held


def by_itself(fresh: Callable[[], str], known: dict[int, Relation], text: str) -> tuple[Effects, dict[int, str]]:
    """What ``text``, which cannot run in a transaction, does: ``fresh`` gives the connection string of a new copy.

    A session that holds a lock on every table makes it wait, once for each mode, and its locks are read while it does.
    Then it runs undisturbed, and files and counters are compared.
    """
    held = [lock for mode in _BLOCKERS for lock in _seen_behind(fresh(), known, mode, text)]
    with psycopg.connect(fresh(), autocommit=True) as conn:
        full = [oid for oid, relation in known.items() if relation.rows]
        counters = "SELECT relid, seq_scan, seq_tup_read FROM pg_stat_user_tables WHERE relid = ANY (%s)"
        before = {oid: (scans or 0, rows or 0) for oid, scans, rows in conn.execute(counters, [full])}
        conn.execute(text)  # type: ignore[call-overload]
        conn.execute("SELECT pg_stat_force_next_flush()")
        read = {
            oid
            for oid, scans, rows in conn.execute(counters, [full])
            if (scans or 0) > before[oid][0] and (rows or 0) - before[oid][1] >= known[oid].rows
        }
        files = dict(conn.execute(_FILES).fetchall())
    return _effects(known, held, files, read)
