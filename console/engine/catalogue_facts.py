"""Reads what the catalogue says of all names of a plan at once: a few queries that need no privilege but CONNECT.

No relation is opened and no row is read, so nothing here waits for a lock, but for the sizes: they are asked for under a
short lock_timeout, and estimated from pg_class where a table is locked.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from itertools import takewhile
from typing import Any

import psycopg

from console.journal.connect import Conn
from console.sql.catalogue import INDEXES, PARTITIONED, VIEWS, Catalogue, Column, Link, Relation

NAMED = 200  # partitions or dependents of one relation that are named; more are counted

# parameters: names as shown, their schemas (NULL without one), the bare names
_RESOLVE = """
SELECT DISTINCT ON (a.shown) a.shown, c.oid::bigint FROM unnest(%s::text[], %s::text[], %s::text[]) a(shown, schema, name)
JOIN pg_class c ON c.relname = a.name
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN unnest(current_schemas(true) || 'public'::name) WITH ORDINALITY p(schema, place)
  ON p.schema = n.nspname AND a.schema IS NULL
WHERE n.nspname = a.schema OR p.place IS NOT NULL
ORDER BY a.shown, p.place
"""
_BELOW = """
WITH RECURSIVE t(root, oid) AS (
  SELECT o, inhrelid FROM unnest(%s::oid[]) o JOIN pg_inherits ON inhparent = o
  UNION SELECT t.root, inhrelid FROM t JOIN pg_inherits ON inhparent = t.oid)
SELECT root::bigint, oid::bigint FROM t ORDER BY 1, 2
"""
_PARENTS = "SELECT inhrelid::bigint, inhparent::bigint FROM pg_inherits WHERE inhrelid = ANY(%s)"
_DEFAULTS = "SELECT partrelid::bigint, partdefid::bigint FROM pg_partitioned_table WHERE partdefid <> 0"
_FOREIGN = "SELECT conrelid::bigint, confrelid::bigint FROM pg_constraint WHERE contype = 'f'"
_CONSTRAINTS = """
SELECT k.conrelid::bigint, k.conname::text, k.contype::text, k.convalidated, k.confrelid::bigint,
  CASE WHEN k.contype IN ('c', 'n') THEN pg_get_constraintdef(k.oid) ELSE '' END, k.connoinherit,
  CASE WHEN cardinality(k.conkey) = 1 THEN (SELECT attname::text FROM pg_attribute
    WHERE attrelid = k.conrelid AND attnum = k.conkey[1]) END
FROM pg_constraint k WHERE k.conrelid = ANY(%s) ORDER BY k.conrelid, k.conname
"""
_COLUMNS = """
SELECT a.attrelid::bigint, a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull,
  EXISTS (SELECT FROM pg_depend d WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = a.attrelid
    AND d.refobjsubid = a.attnum AND d.classid <> 'pg_attrdef'::regclass
    AND NOT (d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i') AND d.objid IN
      (SELECT oid FROM pg_class WHERE relkind = 'S' AND oid = d.objid)))
FROM pg_attribute a WHERE a.attrelid = ANY(%s) AND a.attnum > 0 AND NOT a.attisdropped
"""
_PARTNERS = """
SELECT k.conrelid::bigint, k.confrelid::bigint, a.attname::text, b.attname::text FROM pg_constraint k
CROSS JOIN LATERAL unnest(k.conkey, k.confkey) u(a, b)
JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.a
JOIN pg_attribute b ON b.attrelid = k.confrelid AND b.attnum = u.b
WHERE k.contype = 'f' AND (k.conrelid = ANY(%(oids)s) OR k.confrelid = ANY(%(oids)s))
"""
_INDEXES = """
SELECT i.indexrelid::bigint, i.indrelid::bigint, i.indisvalid AND i.indpred IS NULL, ARRAY(SELECT coalesce(a.attname::text, '')
  FROM unnest(i.indkey[:i.indnkeyatts - 1]) WITH ORDINALITY k(n, o)
  LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.n AND k.n > 0 ORDER BY k.o)
FROM pg_index i WHERE i.indrelid = ANY(%(oids)s) OR i.indexrelid = ANY(%(oids)s)
"""
_SEQUENCES = """
SELECT d.refobjid::bigint, d.objid::bigint FROM pg_depend d JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = ANY(%s)
  AND d.deptype IN ('a', 'i')
"""
# Every object that falls with a relation under CASCADE, as the relation it is part of.
_DEPENDS = """
WITH RECURSIVE d(root, class, oid) AS (
  SELECT o, 'pg_class'::regclass::oid, o FROM unnest(%s::oid[]) o
  UNION SELECT d.root, n.class, n.oid FROM d CROSS JOIN LATERAL (
    SELECT p.classid AS class, p.objid AS oid FROM pg_depend p WHERE p.refclassid = d.class AND p.refobjid = d.oid
    UNION ALL SELECT 'pg_class'::regclass::oid, ev_class FROM pg_rewrite
      WHERE d.class = 'pg_rewrite'::regclass AND pg_rewrite.oid = d.oid) n)
SELECT DISTINCT root::bigint, owner::bigint FROM (
  SELECT d.root, CASE d.class WHEN 'pg_class'::regclass THEN d.oid
    WHEN 'pg_rewrite'::regclass THEN (SELECT ev_class FROM pg_rewrite WHERE oid = d.oid)
    WHEN 'pg_constraint'::regclass THEN (SELECT conrelid FROM pg_constraint WHERE oid = d.oid)
    WHEN 'pg_trigger'::regclass THEN (SELECT tgrelid FROM pg_trigger WHERE oid = d.oid)
    WHEN 'pg_policy'::regclass THEN (SELECT polrelid FROM pg_policy WHERE oid = d.oid)
    WHEN 'pg_attrdef'::regclass THEN (SELECT adrelid FROM pg_attrdef WHERE oid = d.oid) END AS owner FROM d) x
WHERE owner <> 0 AND owner <> root
"""
_READS = """
SELECT w.ev_class::bigint, p.refobjid::bigint FROM pg_rewrite w
JOIN pg_depend p ON p.classid = 'pg_rewrite'::regclass AND p.objid = w.oid AND p.refclassid = 'pg_class'::regclass
WHERE w.ev_class = ANY(%s) AND p.refobjid <> w.ev_class
"""
_TRIGGERS = """
SELECT tgrelid::bigint, tgname::text FROM pg_trigger WHERE NOT tgisinternal AND tgrelid = ANY(%(oids)s)
UNION ALL SELECT ev_class::bigint, 'rule ' || rulename FROM pg_rewrite WHERE rulename <> '_RETURN' AND ev_class = ANY(%(oids)s)
"""
_CLASS = """
SELECT c.oid::bigint, n.nspname::text, c.relname::text, c.relkind::text, c.reltuples::float8, c.relpages::bigint,
  coalesce(pg_stat_get_live_tuples(c.oid), 0)::float8, coalesce(t.relpages, 0)::bigint,
  coalesce((SELECT sum(i.relpages) FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid WHERE x.indrelid = c.oid), 0)::bigint
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_class t ON t.oid = c.reltoastrelid
WHERE c.oid = ANY(%s)
"""
_SIZES = "SELECT o::bigint, pg_relation_size(o), pg_table_size(o), pg_indexes_size(o) FROM unnest(%s::oid[]) o"
_FUNCTIONS = """
SELECT n.nspname::text, p.proname::text, CASE WHEN bool_or(p.provolatile = 'v') THEN 'v'
  WHEN bool_or(p.provolatile = 's') THEN 's' ELSE 'i' END
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') GROUP BY 1, 2
"""
_TYPES = """
WITH RECURSIVE b(root, oid, checked) AS (
  SELECT t.oid, t.oid, t.typnotnull OR EXISTS (SELECT FROM pg_constraint k WHERE k.contypid = t.oid) FROM pg_type t
    WHERE t.typtype IN ('d', 'e', 'r', 'm', 'b') AND t.typelem = 0 AND t.typnamespace <> 'pg_catalog'::regnamespace
  UNION SELECT b.root, p.oid, p.typnotnull OR EXISTS (SELECT FROM pg_constraint k WHERE k.contypid = p.oid)
    FROM b JOIN pg_type t ON t.oid = b.oid AND t.typtype = 'd' JOIN pg_type p ON p.oid = t.typbasetype)
SELECT n.nspname::text, t.typname::text, bool_or(b.checked) OR bool_or(base.typtype = 'c')
FROM b JOIN pg_type t ON t.oid = b.root JOIN pg_namespace n ON n.oid = t.typnamespace JOIN pg_type base ON base.oid = b.oid
GROUP BY 1, 2
"""
_TYPE_USERS = """
WITH RECURSIVE u(root, oid) AS (
  SELECT t.oid, t.oid FROM pg_type t WHERE t.typtype = 'd' AND t.typname = ANY(%s)
  UNION SELECT u.root, n.oid FROM u CROSS JOIN LATERAL (
    SELECT p.oid FROM pg_type p WHERE p.typbasetype = u.oid OR p.typelem = u.oid
    UNION ALL SELECT c.reltype FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid AND c.reltype <> 0
      WHERE a.atttypid = u.oid AND NOT a.attisdropped) n)
SELECT DISTINCT n.nspname::text, t.typname::text, a.attrelid::bigint FROM u JOIN pg_type t ON t.oid = u.root
JOIN pg_namespace n ON n.oid = t.typnamespace
JOIN pg_attribute a ON a.atttypid = u.oid AND NOT a.attisdropped
JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p', 'm', 'f')
"""
_NOT_NULL = re.compile(r"\ACHECK \(\(+(?P<column>.+?) IS NOT NULL\)+( NO INHERIT)?( NOT VALID)?\Z")
_LOCK_PATIENCE = "200ms"


def shown(schema: str, name: str) -> str:
    """A name as previews show it: without the schema ``public``."""
    return name if schema == "public" else f"{schema}.{name}"


def _groups(rows: Iterable[tuple[Any, ...]]) -> dict[int, list[Any]]:
    """The second value of each row, in lists by the first."""
    found: dict[int, list[Any]] = defaultdict(list)
    for first, second in rows:
        if second not in found[first]:
            found[first].append(second)
    return found


class _Reader:
    """One reading: the queries' answers, by oid."""

    def __init__(self, conn: Conn, names: Iterable[str]) -> None:
        self.conn = conn
        asked = [(name, *_parts(name)) for name in sorted(set(names)) if name and name.count(".") <= 1]
        self.asked = frozenset(name for name, *_ in asked)
        self.page = int(self._all("SELECT current_setting('block_size')")[0][0])
        columns = [list(column) for column in zip(*asked, strict=True)] or [[], [], []]
        self.oid_of: dict[str, int] = dict(self._all(_RESOLVE, columns))
        roots = sorted(set(self.oid_of.values()))
        self.parents = _groups(self._all(_PARENTS, [roots]))
        self.defaults = dict(self._all(_DEFAULTS))
        pairs = self._all(_FOREIGN)
        self.to, self.by = _groups(pairs), _groups((b, a) for a, b in pairs)
        self.indexes = self._all(_INDEXES, {"oids": roots})
        own = self._with_below(roots)
        linked = {*own, *_reached(own, self.by), *(to for oid in own for to in self.to.get(oid, ()))}
        linked |= {above for oid in own for above in self.parents.get(oid, ())} | {
            table for _, table, *_ in self.indexes
        }
        family = self.family = sorted(self._with_below(sorted(linked)))
        self.parents = _groups(self._all(_PARENTS, [family]))
        self.sequences = _groups(self._all(_SEQUENCES, [family]))
        self.depends = _groups(self._all(_DEPENDS, [roots]))
        self.reads = _groups(self._all(_READS, [roots]))
        self.indexes = self._all(_INDEXES, {"oids": family})
        self.indexed: dict[int, list[tuple[str, ...]]] = defaultdict(list)
        for _, table, usable, keys in self.indexes:
            if usable and (plain := tuple(takewhile(bool, keys))):  # up to the first expression
                self.indexed[table].append(plain)
        self.partners: dict[int, list[tuple[Any, ...]]] = defaultdict(list)
        for row in self._all(_PARTNERS, {"oids": family}):
            for oid in {row[0], row[1]}:
                self.partners[oid].append(row)
        self.triggers = _groups(self._all(_TRIGGERS, {"oids": family}))
        self.columns: dict[int, list[tuple[Any, ...]]] = _rows_of(self._all(_COLUMNS, [family]))
        self.constraints = _rows_of(self._all(_CONSTRAINTS, [family]))
        self.type_users = self._all(_TYPE_USERS, [sorted({_parts(name)[1] for name in self.asked})])
        self.named = self._names()
        self.sizes = self._sizes(family)

    def _with_below(self, oids: list[int]) -> set[int]:
        """These relations with their partitions and children, which are kept in ``below``."""
        self.below = _groups(self._all(_BELOW, [oids]))
        return {*oids, *(oid for below in self.below.values() for oid in below)}

    def _all(self, query: str, parameters: Any = ()) -> list[tuple[Any, ...]]:
        return self.conn.execute(query, parameters).fetchall()

    def _names(self) -> dict[int, tuple[str, str]]:
        """Shown name and kind of every relation met; a name that the plan uses comes before the full one."""
        linked = [self.parents, self.to, self.by, self.sequences, self.depends, self.reads]
        met = {*self.family, *self.defaults.values(), *self.defaults, *(i for i, *_ in self.indexes)}
        met |= {oid for _, _, oid in self.type_users} | {table for _, table, *_ in self.indexes}
        met |= {oid for group in linked for oids in group.values() for oid in oids} | {
            o for group in linked for o in group
        }
        self.classes = {row[0]: row for row in self._all(_CLASS, [sorted(met)])}
        named = {oid: (shown(row[1], row[2]), row[3]) for oid, row in self.classes.items()}
        for name, oid in self.oid_of.items():
            if oid in named and named[oid][0] not in self.oid_of:
                named[oid] = (name, named[oid][1])
        return named

    def _sizes(self, oids: list[int]) -> dict[int, tuple[int, int, int]]:
        """Bytes of the rows' main part, of rows with what is stored out of line, and of the indexes, by oid."""
        kept = [oid for oid in oids if oid in self.named and self.named[oid][1] in "rmt"]
        page = self.page
        found = {}
        for oid in kept:
            _, _, _, _, _, pages, _, toast, indexes = self.classes[oid]
            found[oid] = (pages * page, (pages + toast) * page, indexes * page)
        before = self._all("SELECT current_setting('lock_timeout')")[0]
        try:
            self.conn.execute("SELECT set_config('lock_timeout', %s, false)", (_LOCK_PATIENCE,))
            found |= {oid: (main or 0, heap or 0, rest or 0) for oid, main, heap, rest in self._all(_SIZES, [kept])}
        except (psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled):
            pass
        finally:
            self.conn.execute("SELECT set_config('lock_timeout', %s, false)", before)
        return found

    def rows(self, oid: int) -> float:
        """About how many rows: the last count, scaled to the pages there are now, as the planner does it."""
        _, _, _, _, tuples, pages, live, _, _ = self.classes[oid]
        main = self.sizes.get(oid, (0, 0, 0))[0]
        if tuples >= 0 and pages > 0 and main:
            return float(tuples / pages * (main / self.page))
        if live > 0:
            return float(live)
        return -1.0 if main else 0.0

    def partners_of(self, oids: Iterable[int]) -> list[tuple[Any, ...]]:
        """The columns that foreign keys of these tables bind, on both sides."""
        return [row for oid in oids for row in self.partners.get(oid, ())]

    def names_of(self, oids: Iterable[int]) -> tuple[str, ...]:
        """The shown names of these relations, without indexes and TOAST tables."""
        found = [self.named[oid] for oid in oids if oid in self.named]
        return tuple(sorted(name for name, kind in found if kind not in INDEXES and kind not in "tc"))


def _reached(start: Iterable[int], links: dict[int, list[int]]) -> set[int]:
    """Everything that can be reached over ``links``."""
    found: set[int] = set()
    ahead = [other for oid in start for other in links.get(oid, ())]
    while ahead:
        if (oid := ahead.pop()) not in found:
            found.add(oid)
            ahead += links.get(oid, ())
    return found


def _rows_of(rows: Iterable[tuple[Any, ...]]) -> dict[int, list[tuple[Any, ...]]]:
    found: dict[int, list[tuple[Any, ...]]] = defaultdict(list)
    for first, *rest in rows:
        found[first].append(tuple(rest))
    return found


def _parts(name: str) -> tuple[str | None, str]:
    schema, dot, bare = name.partition(".")
    return (schema, bare) if dot else (None, name)


def _constraints(reader: _Reader, oid: int) -> tuple[dict[str, Link], frozenset[str]]:
    """A table's constraints, and the columns that no row has NULL in, here and in everything below."""
    links = {}
    for name, kind, valid, target, text, _, column in reader.constraints.get(oid, ()):
        sort = {"c": "check", "f": "foreign"}.get(kind, "other")
        proves = kind == "n" or (kind == "c" and _NOT_NULL.match(text) is not None)
        references = reader.names_of([target])[0] if target and target in reader.named else ""
        links[name] = Link(sort, valid, references, (column or "") if proves else "")
    proven = _proven(reader, oid)
    for below in reader.below.get(oid, ()):
        proven &= _proven(reader, below)
    return links, proven


def _proven(reader: _Reader, oid: int) -> frozenset[str]:
    """Columns with a valid CHECK (x IS NOT NULL) or NOT NULL. A NOT NULL that is not valid yet proves nothing."""
    found = {name for name, _, not_null, _ in reader.columns.get(oid, ()) if not_null}
    for _, kind, valid, *_, column in reader.constraints.get(oid, ()):
        if kind == "n" and not valid:
            found.discard(column)
    for _, kind, valid, _, text, _, column in reader.constraints.get(oid, ()):
        if kind == "c" and valid and column and _NOT_NULL.match(text):
            found.add(column)
    return frozenset(found)


def _partners(reader: _Reader, family: set[int]) -> dict[str, tuple[str, ...]]:
    found: dict[str, set[int]] = defaultdict(set)
    for one, other, column, target in reader.partners_of(family):
        if one in family:
            found[column].add(other)
        if other in family:
            found[target].add(one)
    return {column: reader.names_of(tables) for column, tables in found.items()}


def _relation(reader: _Reader, name: str, oid: int) -> Relation:
    kind = reader.named[oid][1]
    below = reader.below.get(oid, [])
    family = [oid, *below]
    sized = [one for one in family if one in reader.sizes] if kind == PARTITIONED else [oid]
    links, proven = _constraints(reader, oid)
    counted = [reader.rows(one) for one in sized]
    depends = reader.names_of(reader.depends.get(oid, ()))
    return Relation(
        name=name,
        kind=kind,
        rows=-1 if any(rows < 0 for rows in counted) else sum(counted),
        heap_bytes=sum(reader.sizes.get(one, (0, 0, 0))[1] for one in sized),
        index_bytes=sum(reader.sizes.get(one, (0, 0, 0))[2] for one in sized),
        columns={column: Column(text, filled, tied) for column, text, filled, tied in reader.columns.get(oid, ())},
        constraints=links,
        below=reader.names_of(below)[:NAMED],
        parents=reader.names_of(reader.parents.get(oid, ())),
        default_partition=next(iter(reader.names_of([reader.defaults[oid]])), "") if oid in reader.defaults else "",
        references=reader.names_of({to for one in family for to in reader.to.get(one, ())}),
        referenced_by=reader.names_of({by for one in family for by in reader.by.get(one, ())}),
        partners=_partners(reader, set(family)),
        emptied_with=reader.names_of(_reached(family, reader.by) - set(family)),
        sequences=reader.names_of({s for one in family for s in reader.sequences.get(one, ())}),
        table=next((reader.named[t][0] for i, t, *_ in reader.indexes if i == oid), "") if kind in INDEXES else "",
        depends=depends[:NAMED],
        reads=reader.names_of(reader.reads.get(oid, ())) if kind in VIEWS else (),
        indexed=tuple(reader.indexed.get(oid, ())),
        triggers=tuple(sorted({name for one in family for name in reader.triggers.get(one, ())})),
        proven=proven,
        more=max(len(below) - NAMED, 0) + max(len(depends) - NAMED, 0),
    )


def read_catalogue(conn: Conn, names: Iterable[str]) -> Catalogue:
    """The catalogue's facts of these names (as previews show them). Raises psycopg.Error."""
    reader = _Reader(conn, names)
    row = conn.execute("SELECT current_setting('server_version_num')::int, current_setting('TimeZone')").fetchone()
    assert row is not None
    relations = {name: _relation(reader, name, oid) for name, oid in reader.oid_of.items() if oid in reader.named}
    users: dict[str, set[str]] = defaultdict(set)
    for schema, name, oid in reader.type_users:
        users[shown(schema, name)] |= set(reader.names_of([oid]))
    return Catalogue(
        server_version=row[0],
        zone=row[1],
        relations={**relations, **_kin(reader, relations)},
        asked=reader.asked,
        functions={shown(schema, name): how for schema, name, how in conn.execute(_FUNCTIONS)},
        types={shown(schema, name): bool(checked) for schema, name, checked in conn.execute(_TYPES)},
        type_users={name: tuple(sorted(tables)) for name, tables in users.items()},
    )


def _kin(reader: _Reader, relations: dict[str, Relation]) -> dict[str, Relation]:
    """Relations linked with the asked ones: partitions, children, partners of foreign keys, the tables of indexes."""
    found = {}
    for oid in reader.family:
        name = reader.named[oid][0] if oid in reader.named else ""
        if name and name not in relations:
            found[name] = _relation(reader, name, oid)
    return found
