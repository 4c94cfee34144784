"""Rows made up for tables whose own rows are not read: by type and constraints, or from the planner's statistics.

Each row is tried in the database: one that a constraint refuses is tried again with other values, then left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import postgast
import psycopg
from postgast import pg_query_pb2 as pb
from psycopg import sql

from console.demo.generate import first_line
from console.journal.connect import Conn
from console.rehearsal.ground import Lacks
from console.rehearsal.sample import ForeignKey, Table, foreign_keys, tables
from console.sql.nodes import descend

Shapes = Mapping[tuple[str, str, str], tuple[str, ...]]
_ATTEMPTS = 8
_STEP = 1_000_003  # from one attempt to the next; no common divisor with what values are counted by
_NULL_EACH = 7  # one row in so many has no value where none is needed
_COLUMNS = (
    "SELECT a.attname, format_type(a.atttypid, a.atttypmod), b.typname, b.typcategory, b.typtype,"
    " CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END, a.attnotnull OR t.typnotnull,"
    " format_type(b.oid, NULL), coalesce((SELECT string_agg(pg_get_constraintdef(c.oid), ' ; ') FROM pg_constraint c"
    "  WHERE c.contype = 'c' AND ((c.conrelid = a.attrelid AND a.attnum = ANY (c.conkey)) OR c.contypid = t.oid)), '')"
    " FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid"
    " JOIN pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END"
    " WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum"
)
_STATISTICS = (
    "SELECT schemaname, tablename, attname, coalesce(most_common_vals::text::text[], '{}'),"
    " coalesce(histogram_bounds::text::text[], '{}') FROM pg_stats"
    " WHERE schemaname NOT IN ('pg_catalog', 'information_schema', 'pgferry')"
)
# By the type's name: SQL for a value that differs with the number ``k``.
_BY_TYPE = {
    "bool": "k % 2 = 0",
    "int2": "k % 30000",
    "int4": "k",
    "int8": "k",
    "oid": "k",
    "float4": "k + 0.5",
    "float8": "k + 0.5",
    "money": "k",
    "uuid": "md5(k::text)::uuid",
    "date": "date '2026-01-01' + (k % 20000)::integer",
    "timestamp": "timestamp '2026-01-01' + k * interval '1 minute'",
    "timestamptz": "timestamptz '2026-01-01Z' + k * interval '1 minute'",
    "time": "time '00:00' + k * interval '1 second'",
    "timetz": "time '00:00' + k * interval '1 second'",
    "interval": "k * interval '1 second'",
    "bytea": "decode(md5(k::text), 'hex')",
    "json": "json_build_object('k', k)",
    "jsonb": "jsonb_build_object('k', k)",
    "inet": "'10.0.0.0'::inet + k",
    "cidr": "('10.' || k % 250 || '.0.0/16')::cidr",
    "xml": "'<k/>'",
    "name": "'v' || k",
}


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    type: str
    base: str
    category: str
    kind: str
    modifier: int
    needed: bool
    base_type: str
    checks: str


def statistics(target: Conn) -> dict[tuple[str, str, str], tuple[str, ...]]:
    """Common values and bounds by (schema, table, column), of the columns this role may read."""
    rows = target.execute(_STATISTICS).fetchall()
    return {
        (schema, table, column): tuple(dict.fromkeys((*common, *bounds)))[:200]
        for schema, table, column, common, bounds in rows
    }


def make(conn: Conn, wanted: list[Table], rows: int, shapes: Shapes, lacks: Lacks) -> int:
    """Make up ``rows`` rows for each of the tables, those referred to first; returns how many there are.

    A table for which none could be made is noted as lacking them.
    """
    keys = foreign_keys(conn, tables(conn))
    conn.execute("SET session_replication_role = replica")  # no trigger fires; references are to rows that are there
    made = 0
    for table in _parents_first(wanted, keys):
        try:
            count, refused = _fill(conn, table, [key for key in keys if key.child.oid == table.oid], rows, shapes)
        except psycopg.Error as error:
            count, refused = 0, first_line(error)
        made += count
        if not count:
            lacks.others.append(f"no row could be made up for {table.shown}: {refused}")
    conn.execute("SET session_replication_role = origin")
    return made


def _parents_first(wanted: list[Table], keys: list[ForeignKey]) -> list[Table]:
    left, ordered = list(wanted), []
    while left:
        waiting = {key.child.oid for key in keys if key.parent in left and key.parent.oid != key.child.oid}
        ready = [table for table in left if table.oid not in waiting] or left[:1]
        ordered += ready
        left = [table for table in left if table not in ready]
    return ordered


def _fill(conn: Conn, table: Table, keys: list[ForeignKey], rows: int, shapes: Shapes) -> tuple[int, str]:
    """How many rows were made, and why the last one that was not was refused."""
    columns = [_Column(*row) for row in conn.execute(_COLUMNS, (table.oid,)).fetchall()]
    values = [_value(conn, table, column, keys, shapes, place) for place, column in enumerate(columns)]
    insert = sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {}").format(
        table.written, table.columns_sql(), sql.SQL(", ").join(values)
    )
    body = sql.SQL(
        """#variable_conflict use_variable
DECLARE k bigint; made integer := 0; refused text := ''; row_made boolean;
BEGIN
  FOR i IN 1..{rows} LOOP
    row_made := false;
    FOR attempt IN 0..{attempts} LOOP
      k := i + attempt * {step};
      BEGIN
        {insert};
        row_made := true;
      EXCEPTION WHEN integrity_constraint_violation OR data_exception OR raise_exception THEN
        refused := SQLERRM;
      END;
      EXIT WHEN row_made;
    END LOOP;
    made := made + row_made::integer;
    EXIT WHEN made = 0 AND i = 50;
  END LOOP;
  PERFORM set_config('pgferry.made', made || ' ' || refused, false);
END"""
    ).format(rows=sql.Literal(rows), attempts=sql.Literal(_ATTEMPTS - 1), insert=insert, step=sql.Literal(_STEP))
    conn.execute(sql.SQL("DO {}").format(sql.Literal(body.as_string(conn))))
    row = conn.execute("SELECT current_setting('pgferry.made')").fetchone()
    count, _, refused = (str(row[0]) if row else "0 ").partition(" ")
    return int(count), refused


def _value(
    conn: Conn, table: Table, column: _Column, keys: list[ForeignKey], shapes: Shapes, place: int
) -> sql.Composable:
    """SQL for the value of a column in row ``k``."""
    for key in keys:
        if column.name in key.columns:
            parent = sql.Identifier("p", key.refers_to[key.columns.index(column.name)])
            return sql.SQL(
                "(SELECT {} FROM {} p ORDER BY p OFFSET k % greatest((SELECT count(*) FROM {}), 1) LIMIT 1)"
            ).format(parent, key.parent.written, key.parent.written)
    value: sql.Composable = sql.SQL("({})::{}").format(_by_type(conn, column), sql.SQL(column.type))
    if constants := _constants(column):
        value = _one_of(constants, column, place)
    common = shapes.get((table.schema, table.name, column.name), ())
    if common:  # where all of them are taken, any value will do
        value = sql.SQL("CASE WHEN k < {} THEN {} ELSE {} END").format(
            sql.Literal(4 * _STEP), _one_of(common, column, place), value
        )
    if column.needed:
        return value
    return sql.SQL("CASE WHEN (k + {}) % {} > 0 THEN {} END").format(sql.Literal(place), sql.Literal(_NULL_EACH), value)


def _one_of(values: tuple[str, ...], column: _Column, place: int) -> sql.Composed:
    array = sql.SQL("ARRAY[{}]").format(sql.SQL(", ").join(sql.Literal(one) for one in values))
    return sql.SQL("({}::text[])[1 + (k * 7 + {}) % {}]::{}").format(
        array, sql.Literal(place), sql.Literal(len(values)), sql.SQL(column.type)
    )


def _constants(column: _Column) -> tuple[str, ...]:
    """Values that the column's checks name, and for numbers their neighbours."""
    if not column.checks:
        return ()
    found: dict[str, None] = {}
    for check in column.checks.split(" ; "):
        try:
            tree = postgast.parse(f"ALTER TABLE t ADD {check}")
        except postgast.PgQueryError:
            continue
        for message in descend(tree.stmts[0].stmt):
            if isinstance(message, pb.A_Const):
                found |= dict.fromkeys(_around(message, column))
    return tuple(found)


def _around(constant: pb.A_Const, column: _Column) -> list[str]:
    text = constant.sval.sval if constant.HasField("sval") else ""
    number = str(constant.ival.ival) if constant.HasField("ival") else ""
    number = constant.fval.fval if constant.HasField("fval") else number
    if column.category == "N":
        number = number or (text if re.fullmatch(r"-?\d+(\.\d+)?", text) else "")
        return [str(int(float(number)) + step) for step in (1, 2, 5, 0, -1)] if number else []
    return [text] if text else []


def _by_type(conn: Conn, column: _Column) -> sql.Composable:
    if column.kind == "e":
        labels = conn.execute(
            "SELECT enumlabel FROM pg_enum WHERE enumtypid = %s::regtype ORDER BY enumsortorder", (column.base_type,)
        ).fetchall()
        names = sql.SQL(", ").join(sql.Literal(row[0]) for row in labels)
        return sql.SQL("(ARRAY[{}]::text[])[1 + k % {}]").format(names, sql.Literal(max(len(labels), 1)))
    if column.base == "numeric":
        modifier = column.modifier - 4
        whole = (modifier >> 16) - (modifier & 0x7FF) if column.modifier > 4 else 9
        return sql.SQL("k % {}").format(sql.Literal(10 ** max(min(whole, 9), 0)))
    if column.base in ("text", "varchar", "bpchar"):
        width = column.modifier - 4 if column.modifier > 4 else 40
        return sql.SQL("left('v' || k, {})" if width > 4 else "right(k::text, {})").format(sql.Literal(width))
    if column.category == "A":
        return sql.SQL("'{}'")
    return sql.SQL(_BY_TYPE.get(column.base, "NULL"))
