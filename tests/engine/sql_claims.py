"""What the analyser claims of a statement, as levels of lock on the relations of a real database."""

from __future__ import annotations

from collections.abc import Iterable

import psycopg

from console.sql.links import link_of
from console.sql.locks import LEVEL
from console.sql.model import Lock, Statement
from tests.engine.sql_measure import Relation

_TREE = (
    "WITH RECURSIVE tree (oid) AS (SELECT %(n)s::regclass::oid UNION"
    " SELECT i.inhrelid FROM pg_inherits i JOIN tree ON i.inhparent = tree.oid) "
)
_VIEWED = " pg_depend d JOIN pg_rewrite r ON r.oid = d.objid AND d.classid = 'pg_rewrite'::regclass"
# Everything that goes when a relation or type goes, all the way down.
_DEPENDENTS = f"""
WITH RECURSIVE gone (class, oid) AS (
  SELECT 'pg_foreign_server'::regclass::oid, oid FROM pg_foreign_server WHERE srvname = %(n)s UNION
  SELECT 'pg_proc'::regclass::oid, oid FROM pg_proc WHERE proname = %(n)s UNION
  SELECT 'pg_class'::regclass::oid, to_regclass(%(n)s)::oid UNION SELECT 'pg_type'::regclass::oid, to_regtype(%(n)s)::oid
  UNION SELECT * FROM (
    WITH g AS (SELECT * FROM gone)
    SELECT 'pg_class'::regclass::oid, conrelid FROM pg_constraint JOIN g ON confrelid = g.oid UNION
    SELECT 'pg_class'::regclass::oid, inhrelid FROM pg_inherits JOIN g ON inhparent = g.oid UNION
    SELECT 'pg_class'::regclass::oid, r.ev_class FROM {_VIEWED} JOIN g ON d.refobjid = g.oid WHERE r.ev_class <> g.oid UNION
    SELECT 'pg_class'::regclass::oid, c.oid FROM pg_class c JOIN g ON c.reloftype = g.oid UNION
    SELECT 'pg_class'::regclass::oid, a.attrelid FROM pg_attribute a JOIN g ON a.atttypid = g.oid AND attrelid >= 16384
    UNION SELECT 'pg_class'::regclass::oid, t.tgrelid FROM pg_trigger t JOIN g ON t.tgfoid = g.oid
    UNION SELECT 'pg_class'::regclass::oid, f.ftrelid FROM pg_foreign_table f JOIN g ON f.ftserver = g.oid
    UNION SELECT 'pg_type'::regclass::oid, c.reltype FROM pg_class c JOIN g ON c.oid = g.oid WHERE c.reltype <> 0) x
) SELECT oid FROM gone"""
_REFERENCING = (
    "WITH RECURSIVE on_it (oid) AS (SELECT %(n)s::regclass::oid UNION"
    " SELECT conrelid FROM pg_constraint JOIN on_it ON confrelid = on_it.oid WHERE contype = 'f') SELECT oid FROM on_it"
)
_SEQUENCES = (
    "SELECT objid FROM pg_depend JOIN tree ON refobjid = tree.oid JOIN pg_class c ON c.oid = objid"
    " WHERE refclassid = 'pg_class'::regclass AND refobjsubid > 0 AND c.relkind = 'S'"
)
_TARGETS = "SELECT confrelid FROM pg_constraint JOIN tree ON conrelid = tree.oid WHERE contype = 'f'"
_SOURCES = "SELECT conrelid FROM pg_constraint JOIN tree ON confrelid = tree.oid WHERE contype = 'f'"
# The relations that each link reaches, from the object's name.
_QUERIES = {
    "references": _TREE + _TARGETS,
    "referenced by": _TREE + _SOURCES,
    "referenced by, and on": _REFERENCING,
    "constraint's target": "SELECT confrelid FROM pg_constraint WHERE conname = %(n)s AND contype = 'f'",
    "default partition": _TREE + "SELECT partdefid FROM pg_partitioned_table JOIN tree ON partrelid = tree.oid",
    "parent": "SELECT inhparent FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid AND relispartition"
    " WHERE inhrelid = %(n)s::regclass",
    "sequences": _TREE + _SEQUENCES,
    "table of index": "SELECT indrelid FROM pg_index WHERE indexrelid = %(n)s::regclass UNION"
    " SELECT p.indrelid FROM pg_index p JOIN pg_inherits ON inhparent = p.indexrelid WHERE inhrelid = %(n)s::regclass",
    "table of statistics": "SELECT stxrelid FROM pg_statistic_ext WHERE stxname = %(n)s",
    "indexes": "SELECT indexrelid FROM pg_index WHERE indrelid IN"
    " (SELECT unnest(ARRAY[oid, reltoastrelid]) FROM pg_class WHERE oid = %(n)s::regclass)",
    "reads": f"SELECT d.refobjid FROM {_VIEWED} WHERE r.ev_class = %(n)s::regclass",
    "publication": "SELECT prrelid FROM pg_publication_rel JOIN pg_publication p ON p.oid = prpubid WHERE pubname = %(n)s",
    "domain": "SELECT attrelid FROM pg_attribute WHERE atttypid = %(n)s::regtype AND NOT attisdropped",
    "all in schema": "SELECT oid FROM pg_class WHERE relnamespace = %(n)s::regnamespace",
    "tables in schema": "SELECT oid FROM pg_class WHERE relnamespace = %(n)s::regnamespace",
    "references of schema": "SELECT confrelid FROM pg_constraint JOIN pg_class c ON c.oid = conrelid"
    " WHERE contype = 'f' AND relnamespace = %(n)s::regnamespace",
    "clustered": "SELECT indrelid FROM pg_index WHERE indisclustered",
    "dependents": _DEPENDENTS,
    "row changes": _TREE.replace(
        "UNION SELECT", f"UNION SELECT d.refobjid FROM {_VIEWED} WHERE r.ev_class = %(n)s::regclass UNION SELECT", 1
    )
    + f"{_TARGETS} UNION {_SOURCES} UNION {_SEQUENCES}",
}
_ANYTHING = frozenset({"everything", "uses", "all tables"})


class Claims:
    """Looks the analyser's words up in the catalogue of one database. A name that is not there reaches nothing."""

    def __init__(self, conn: psycopg.Connection, known: dict[int, Relation]) -> None:
        self.conn = conn
        self.known = known
        self.by_name = {relation.name: oid for oid, relation in known.items()}
        self.reached: dict[str, frozenset[int]] = {}

    def reach(self, words: str) -> frozenset[int]:
        """The relations that the object of a lock stands for."""
        if words not in self.reached:
            self.reached[words] = self._look_up(words)
        return self.reached[words]

    def _look_up(self, words: str) -> frozenset[int]:
        if words in self.by_name:
            return frozenset({self.by_name[words]})
        link = link_of(words)
        if link is None:
            return frozenset()
        if link.kind in _ANYTHING:
            return frozenset(self.known)
        try:
            with self.conn.transaction():
                found = self.conn.execute(_QUERIES[link.kind], {"n": link.name}).fetchall()
        except psycopg.errors.Error:
            return frozenset()
        return frozenset(row[0] for row in found if row[0] in self.known)

    def level(self, statements: Iterable[Statement], oid: int) -> int:
        """The strongest lock claimed on a relation: by its name, by a link to it, or on what stands for it."""
        stands_for = self.known[oid].over | {oid}
        claims = (lock for statement in statements for lock in statement.locks)
        return max((LEVEL[lock.mode] for lock in claims if self.reach(lock.object) & stands_for), default=0)

    def beyond(self, statements: tuple[Statement, ...], held: dict[int, str]) -> list[tuple[Lock, str, str]]:
        """Claims stronger than what was held, with the relation and what it was held in (``-``: not at all)."""
        found = []
        for lock in (lock for statement in statements for lock in statement.locks if not lock.new):
            if lock.object in self.by_name or (link_of(lock.object) and link_of(lock.object).kind not in _ANYTHING):  # type: ignore[union-attr]
                for oid in self.reach(lock.object):
                    mode = held.get(oid, "-")
                    if LEVEL.get(mode, 0) < LEVEL[lock.mode]:
                        found.append((lock, self.known[oid].name, mode))
        return found
