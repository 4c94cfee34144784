"""Real rows for the scratch database: a sample of each table, with the rows that its foreign keys refer to."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg
from psycopg import sql

from console.demo.generate import first_line
from console.journal.connect import Conn
from console.rehearsal.ground import Lacks, Say
from console.sql.nodes import plain_name

_ROUNDS = 50  # of foreign keys to foreign keys
_KEYS = 500  # in one query
_PAGES = 20  # at least so many are read: fewer may turn out to be none
_TABLES = (
    "SELECT c.oid, n.nspname, c.relname, c.relkind, array_agg(a.attname ORDER BY a.attnum) FROM pg_class c"
    " JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0"
    " AND NOT a.attisdropped AND a.attgenerated = ''"
    " WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition"
    " AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pgferry') AND n.nspname NOT LIKE 'pg\\_t%'"
    " GROUP BY 1, 2, 3, 4 ORDER BY 2, 3"
)
_SIZE = (
    "SELECT sum(greatest(leaf.reltuples, 0))::float8, sum(leaf.relpages)::float8"
    " FROM pg_class c JOIN pg_class leaf ON leaf.oid = c.oid OR (c.relkind = 'p' AND leaf.relispartition"
    " AND leaf.oid IN (SELECT t.relid FROM pg_partition_tree(c.oid) t WHERE t.isleaf))"
    " WHERE c.oid = to_regclass(%s)"
)
_KEYS_OF = (
    "SELECT f.conname, f.conrelid, f.confrelid,"
    " (SELECT array_agg(a.attname ORDER BY k.n) FROM unnest(f.conkey) WITH ORDINALITY k(num, n)"
    "  JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = k.num),"
    " (SELECT array_agg(a.attname ORDER BY k.n) FROM unnest(f.confkey) WITH ORDINALITY k(num, n)"
    "  JOIN pg_attribute a ON a.attrelid = f.confrelid AND a.attnum = k.num),"
    " (SELECT array_agg(format_type(a.atttypid, a.atttypmod) ORDER BY k.n) FROM unnest(f.confkey) WITH ORDINALITY k(num, n)"
    "  JOIN pg_attribute a ON a.attrelid = f.confrelid AND a.attnum = k.num)"
    " FROM pg_constraint f WHERE f.contype = 'f' AND f.conparentid = 0 AND f.convalidated ORDER BY 2, 1"
)


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the scratch database with the columns that can be written."""

    oid: int
    schema: str
    name: str
    kind: str
    columns: tuple[str, ...]

    @property
    def shown(self) -> str:
        """Its name as the preview shows it."""
        return plain_name((self.schema, self.name))

    @property
    def written(self) -> sql.Identifier:
        """Its name in SQL."""
        return sql.Identifier(self.schema, self.name)

    @property
    def only(self) -> sql.SQL:
        """Heirs of a plain table are tables of their own; partitions are read with their parent."""
        return sql.SQL("ONLY " if self.kind == "r" else "")

    def columns_sql(self, alias: str = "") -> sql.Composed:
        """Its columns, for a list."""
        return sql.SQL(", ").join(sql.Identifier(*((alias, name) if alias else (name,))) for name in self.columns)


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """A foreign key between tables of the scratch database, with the types of the columns referred to."""

    name: str
    child: Table
    parent: Table
    columns: tuple[str, ...]
    refers_to: tuple[str, ...]
    types: tuple[str, ...]

    def missing(self) -> sql.Composed:
        """Keys that children have and no parent, as text."""
        keys = sql.SQL(", ").join(sql.SQL("c.{}::text").format(sql.Identifier(n)) for n in self.columns)
        return sql.SQL("SELECT DISTINCT {} FROM {}{} c WHERE {}").format(
            keys, self.child.only, self.child.written, self.orphaned()
        )

    def orphaned(self) -> sql.Composed:
        """The condition of a child ``c`` without its parent; a key with a null refers to nothing."""
        given = sql.SQL(" AND ").join(sql.SQL("c.{} IS NOT NULL").format(sql.Identifier(n)) for n in self.columns)
        same = sql.SQL(" AND ").join(
            sql.SQL("p.{} = c.{}").format(sql.Identifier(p), sql.Identifier(c))
            for p, c in zip(self.refers_to, self.columns, strict=True)
        )
        return sql.SQL("{} AND NOT EXISTS (SELECT 1 FROM {}{} p WHERE {})").format(
            given, self.parent.only, self.parent.written, same
        )


def tables(conn: Conn) -> list[Table]:
    """Every table of the scratch database that takes rows; partitions come with their parent."""
    return [Table(oid, schema, name, kind, tuple(names)) for oid, schema, name, kind, names in conn.execute(_TABLES)]


def sample(target: Conn, scratch: Conn, rows: int, lacks: Lacks, say: Say) -> list[Table]:
    """Copy up to ``rows`` rows of each table, and those they refer to; returns the tables that could not be read.

    Each table is read in a short transaction of its own: no snapshot of the target is held for long. Rows whose
    parents changed meanwhile, or may not be read, are left out again and counted.
    """
    scratch.execute("SET session_replication_role = replica")
    found = tables(scratch)
    unread = []
    for table in found:
        try:
            _copy(target, scratch, table, _sampled(target, table, rows))
        except psycopg.errors.InsufficientPrivilege:
            unread.append(table)
        except psycopg.Error as error:
            lacks.others.append(f"rows of {table.shown}: {first_line(error)}")
            unread.append(table)
    say(f"rows of {len(found) - len(unread)} tables")
    keys = foreign_keys(scratch, found)
    _fetch_parents(target, scratch, keys, {table.oid for table in unread})
    _leave_out_orphans(scratch, keys, lacks)
    scratch.execute("SET session_replication_role = origin")
    return unread


def _sampled(target: Conn, table: Table, rows: int) -> sql.Composed:
    """The query of a table's sample: all of a small one, some pages of a large one."""
    row = target.execute(_SIZE, (table.written.as_string(target),)).fetchone()
    estimate, pages = (float(row[0] or 0), float(row[1] or 0)) if row else (0.0, 0.0)
    share = sql.SQL("")
    if estimate > 4 * rows > 0:
        percent = min(100.0, max(100.0 * 2 * rows / estimate, 100.0 * _PAGES / max(pages, 1.0)))
        share = sql.SQL(f" TABLESAMPLE SYSTEM ({percent:.6f})")
    return sql.SQL("SELECT {} FROM {}{}{} LIMIT {}").format(
        table.columns_sql(), table.only, table.written, share, sql.Literal(rows)
    )


def _copy(target: Conn, scratch: Conn, table: Table, query: sql.Composed) -> int:
    """Copy what the query gives; returns how many rows."""
    into = sql.SQL("COPY {} ({}) FROM STDIN").format(table.written, table.columns_sql())
    with target.transaction(), scratch.transaction(), target.cursor() as source, scratch.cursor() as goal:
        with goal.copy(into) as writing, source.copy(sql.SQL("COPY ({}) TO STDOUT").format(query)) as reading:
            for block in reading:
                writing.write(block)
        return goal.rowcount


def foreign_keys(scratch: Conn, found: list[Table]) -> list[ForeignKey]:
    """The foreign keys between these tables that hold for every row."""
    by_oid = {table.oid: table for table in found}
    return [
        ForeignKey(name, by_oid[child], by_oid[parent], tuple(columns), tuple(refers_to), tuple(types))
        for name, child, parent, columns, refers_to, types in scratch.execute(_KEYS_OF).fetchall()
        if child in by_oid and parent in by_oid
    ]


def _fetch_parents(target: Conn, scratch: Conn, keys: list[ForeignKey], unread: set[int]) -> None:
    """Fetch what is referred to, and what that refers to, until nothing more comes."""
    asked: set[tuple[str, int, tuple[str, ...]]] = set()
    for _ in range(_ROUNDS):
        fetched = 0
        for key in keys:
            if key.parent.oid in unread:
                continue
            wanted = [tuple(row) for row in scratch.execute(key.missing()).fetchall()]
            wanted = [row for row in wanted if (key.name, key.child.oid, row) not in asked]
            asked |= {(key.name, key.child.oid, row) for row in wanted}
            for start in range(0, len(wanted), _KEYS):
                fetched += _copy(target, scratch, key.parent, _by_keys(key, wanted[start : start + _KEYS]))
        if not fetched:
            return


def _by_keys(key: ForeignKey, wanted: list[tuple[str, ...]]) -> sql.Composed:
    values = sql.SQL(", ").join(
        sql.SQL("({})").format(
            sql.SQL(", ").join(
                sql.SQL("{}::{}").format(sql.Literal(value), sql.SQL(kind))
                for value, kind in zip(row, key.types, strict=True)
            )
        )
        for row in wanted
    )
    columns = sql.SQL(", ").join(sql.Identifier("p", name) for name in key.refers_to)
    return sql.SQL("SELECT {} FROM {}{} p WHERE ({}) IN (VALUES {})").format(
        key.parent.columns_sql("p"), key.parent.only, key.parent.written, columns, values
    )


def _leave_out_orphans(scratch: Conn, keys: list[ForeignKey], lacks: Lacks) -> None:
    """A row without its parent refers to nothing, where it may, or is left out."""
    counts: dict[tuple[str, str], int] = {}
    for _ in range(_ROUNDS):
        changed = 0
        for key in keys:
            count = _mend(scratch, key)
            if count:
                changed += count
                pair = (key.child.shown, key.parent.shown)
                counts[pair] = counts.get(pair, 0) + count
        if not changed:
            break
    for (child, parent), count in counts.items():
        lacks.others.append(
            f"{count:,} sampled rows of {child} refer to rows of {parent} that were not read: emptied or left out"
        )


def _mend(scratch: Conn, key: ForeignKey) -> int:
    """Empty the reference of children without a parent, or delete them; returns how many there were."""
    empty = sql.SQL(", ").join(sql.SQL("{} = NULL").format(sql.Identifier(name)) for name in key.columns)
    update = sql.SQL("UPDATE {}{} c SET {} WHERE {}").format(key.child.only, key.child.written, empty, key.orphaned())
    try:
        return scratch.execute(update).rowcount
    except psycopg.errors.IntegrityError:
        delete = sql.SQL("DELETE FROM {}{} c WHERE {}").format(key.child.only, key.child.written, key.orphaned())
        return scratch.execute(delete).rowcount


def settle(scratch: Conn, lacks: Lacks) -> None:
    """Sequences go on after the rows that are there, materialised views are filled, statistics are made."""
    owned = scratch.execute(
        "SELECT s.oid::regclass::text, n.nspname, t.relname, a.attname FROM pg_class s"
        " JOIN pg_depend d ON d.objid = s.oid AND d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')"
        " JOIN pg_class t ON t.oid = d.refobjid JOIN pg_namespace n ON n.oid = t.relnamespace"
        " JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid"
        " WHERE s.relkind = 'S' AND n.nspname <> 'pgferry'"
    ).fetchall()
    for sequence, schema, name, column in owned:
        scratch.execute(
            sql.SQL("SELECT setval({}::regclass, max({})) FROM {} HAVING max({}) > 0").format(
                sql.Literal(sequence), sql.Identifier(column), sql.Identifier(schema, name), sql.Identifier(column)
            )
        )
    views = scratch.execute(
        "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.relkind = 'm' AND NOT c.relispopulated ORDER BY c.oid"
    ).fetchall()
    for schema, name in views:
        try:
            scratch.execute(sql.SQL("REFRESH MATERIALIZED VIEW {}").format(sql.Identifier(schema, name)))
        except psycopg.Error as error:
            lacks.others.append(f"materialised view {plain_name((schema, name))} was not filled: {first_line(error)}")
    scratch.execute("ANALYZE")
