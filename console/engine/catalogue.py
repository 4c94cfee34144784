"""Queries on the system catalogue about one table (its oid is the parameter), run with only pg_catalog in the path."""

from __future__ import annotations

from dataclasses import dataclass

from console.journal.connect import Conn
from console.plan.model import TableName

# parameters: schema, table; whether row security hides rows from this role
TABLE = (
    "SELECT c.oid, (c.relrowsecurity AND (c.relforcerowsecurity OR NOT pg_has_role(c.relowner, 'USAGE'))"
    " AND NOT (SELECT rolbypassrls OR rolsuper FROM pg_roles WHERE rolname = current_user)),"
    " CASE WHEN c.relkind = 'p' THEN (SELECT coalesce(sum(greatest(l.reltuples, 0)), 0)::bigint"
    " FROM pg_partition_tree(c.oid) t JOIN pg_class l ON l.oid = t.relid WHERE t.isleaf)"
    " ELSE greatest(c.reltuples, 0)::bigint END,"
    " CASE WHEN c.relkind = 'p' THEN (SELECT coalesce(sum(pg_total_relation_size(t.relid)), 0)::bigint"
    " FROM pg_partition_tree(c.oid) t) ELSE pg_total_relation_size(c.oid) END, c.relkind::text,"
    " c.relispartition FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'p')"
)

# Domains may stand on domains: their modifiers, NOT NULLs and CHECKs add up.
COLUMNS = (
    "SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull OR d.not_null, a.attgenerated <> '',"
    " a.attidentity::text, format_type(d.oid, d.typmod), d.oid, d.typmod, d.typtype = 'e',"
    " NOT coalesce((SELECT collisdeterministic FROM pg_collation WHERE oid = a.attcollation), true), d.checks"
    " FROM pg_attribute a CROSS JOIN LATERAL (WITH RECURSIVE t(depth, oid, typmod) AS ("
    "   SELECT 0, a.atttypid, a.atttypmod UNION ALL"
    "   SELECT t.depth + 1, y.typbasetype, CASE WHEN t.typmod = -1 THEN y.typtypmod ELSE t.typmod END"
    "   FROM t JOIN pg_type y ON y.oid = t.oid AND y.typtype = 'd')"
    " SELECT (array_agg(t.oid ORDER BY depth DESC))[1] AS oid, (array_agg(t.typmod ORDER BY depth DESC))[1] AS typmod,"
    " (array_agg(y.typtype ORDER BY depth DESC))[1] AS typtype, bool_or(y.typnotnull) AS not_null,"
    " coalesce((SELECT jsonb_agg(jsonb_build_array(k.conname, pg_get_expr(k.conbin, 0)) ORDER BY k.conname)"
    "   FROM pg_constraint k WHERE k.contypid = ANY (array_agg(t.oid)) AND k.contype = 'c'), '[]') AS checks"
    " FROM t JOIN pg_type y ON y.oid = t.oid) d"
    " WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"
)

CHECKS = (
    "SELECT conname, pg_get_expr(conbin, conrelid), ARRAY(SELECT attname::text FROM pg_attribute"
    " WHERE attrelid = conrelid AND attnum = ANY (conkey)) FROM pg_constraint WHERE conrelid = %s"
    " AND contype = 'c' ORDER BY conname"
)

UNIQUES = (
    "SELECT ARRAY(SELECT a.attname::text FROM unnest(i.indkey[:i.indnkeyatts - 1]) WITH ORDINALITY k(n, o)"
    " JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.n ORDER BY k.o), i.indpred IS NULL"
    " AND i.indexprs IS NULL AND i.indimmediate AND i.indisvalid AND i.indisunique"
    " FROM pg_index i WHERE i.indrelid = %s AND (i.indisunique OR i.indisexclusion)"
)

# (the application's own triggers, foreign keys of other tables to this one, partitions that may lack one for a row)
TRIGGERS = (
    "SELECT count(*) FILTER (WHERE NOT tgisinternal AND tgname NOT LIKE 'zz\\_pgferry%%'),"
    " (SELECT count(*) FROM pg_constraint k WHERE k.confrelid = t.oid AND k.contype = 'f'),"
    " EXISTS (SELECT 1 FROM pg_partitioned_table p WHERE p.partrelid = t.oid AND p.partdefid = 0 AND p.partstrat <> 'h')"
    " FROM (SELECT %s::oid AS oid) t LEFT JOIN pg_trigger g ON g.tgrelid = t.oid GROUP BY t.oid"
)

# parameter: names; whether a function of such a name may answer otherwise when it is asked again
FICKLE = (
    "SELECT EXISTS (SELECT 1 FROM pg_proc WHERE proname = ANY (%s)"
    " AND (provolatile = 'v' OR provolatile = 's' AND oid >= 16384))"
)

PARTITIONS = (
    "SELECT n.nspname, c.relname FROM pg_partition_tree(%s) t JOIN pg_class c ON c.oid = t.relid"
    " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE t.level > 0 ORDER BY t.level, 1, 2"
)

_FOREIGN_KEYS = (
    "SELECT k.conname, n.nspname, c.relname,"
    " ARRAY(SELECT attname::text FROM unnest(k.conkey) WITH ORDINALITY u(n, o)"
    "   JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.n ORDER BY u.o),"
    " ARRAY(SELECT attname::text FROM unnest(k.confkey) WITH ORDINALITY u(n, o)"
    "   JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.n ORDER BY u.o)"
    " FROM pg_constraint k JOIN pg_class c ON c.oid = k.confrelid JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE k.conrelid = %s AND k.contype = 'f' AND k.conparentid = 0 ORDER BY k.conname"
)


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """A foreign key of a table: its columns and the ones they refer to, in the same order."""

    name: str
    references: TableName
    columns: tuple[str, ...]
    their: tuple[str, ...]


def foreign_keys(conn: Conn, oid: int) -> tuple[ForeignKey, ...]:
    """The table's foreign keys, by name."""
    return tuple(
        ForeignKey(name, TableName(schema, table), tuple(columns), tuple(their))
        for name, schema, table, columns, their in conn.execute(_FOREIGN_KEYS, (oid,)).fetchall()
    )
