"""What a database holds at one point: its schema as dumped, and of each table how many rows and which."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import sql

from console.journal.connect import Conn
from console.plan.rehearsed import Difference
from console.rehearsal.schema import differences
from console.sql.nodes import plain_name

_TABLES = (
    "SELECT n.nspname, c.relname, c.relkind, EXISTS (SELECT 1 FROM pg_inherits i WHERE i.inhparent = c.oid)"
    " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE (c.relkind IN ('r', 'p') OR (c.relkind = 'm' AND c.relispopulated)) AND NOT c.relispartition"
    " AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pgferry') AND n.nspname NOT LIKE 'pg\\_t%'"
    " ORDER BY 1, 2"
)
_SEQUENCES = "SELECT schemaname, sequencename, coalesce(last_value, 0) FROM pg_sequences WHERE schemaname <> 'pgferry' ORDER BY 1, 2"


# What pg_dump reads of a schema. Statistics, sizes and counters are written over in place and change no row's version.
_CATALOGUES = [
    "pg_class",
    "pg_attribute",
    "pg_attrdef",
    "pg_constraint",
    "pg_index",
    "pg_inherits",
    "pg_type",
    "pg_enum",
    "pg_range",
    "pg_proc",
    "pg_aggregate",
    "pg_operator",
    "pg_opclass",
    "pg_opfamily",
    "pg_amop",
    "pg_amproc",
    "pg_am",
    "pg_cast",
    "pg_collation",
    "pg_conversion",
    "pg_trigger",
    "pg_rewrite",
    "pg_policy",
    "pg_namespace",
    "pg_extension",
    "pg_language",
    "pg_sequence",
    "pg_statistic_ext",
    "pg_event_trigger",
    "pg_default_acl",
    "pg_foreign_table",
    "pg_foreign_server",
    "pg_foreign_data_wrapper",
    "pg_user_mapping",
    "pg_publication",
    "pg_publication_rel",
    "pg_ts_config",
    "pg_ts_config_map",
    "pg_ts_dict",
    "pg_ts_parser",
    "pg_ts_template",
    "pg_transform",
    "pg_description",
    "pg_depend",
    "pg_init_privs",
    "pg_seclabel",
    "pg_partitioned_table",
    "pg_largeobject_metadata",
    "pg_shdepend",
    "pg_shdescription",
]


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a table: how many, and the sum of their hashes."""

    count: int
    hash: int


@dataclass(frozen=True, slots=True)
class State:
    """A database at one point. ``sequences``: the last value each gave out."""

    schema: str
    rows: dict[str, Rows]
    sequences: dict[str, int]


def version_of_catalogue(conn: Conn) -> int:
    """A number that is another one after any row of the catalogue was written: while it stays, so does the schema."""
    parts = sql.SQL(" + ").join(
        sql.SQL(
            "(SELECT coalesce(sum(hashtextextended(tableoid::text || ' ' || xmin::text || ' ' || ctid::text, 0)::numeric), 0)"
            " FROM {})"
        ).format(sql.Identifier("pg_catalog", name))
        for name in _CATALOGUES
    )
    row = conn.execute(sql.SQL("SELECT {}").format(parts)).fetchone()
    assert row is not None
    return int(row[0])


def rows_of(conn: Conn) -> dict[str, Rows]:
    """Every table's rows, partitions counted with their parent."""
    found = {}
    for schema, name, kind, is_parent in conn.execute(_TABLES).fetchall():
        only = sql.SQL("ONLY " if kind == "r" and is_parent else "")
        row = conn.execute(
            sql.SQL("SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)::numeric), 0) FROM {}{} t").format(
                only, sql.Identifier(schema, name)
            )
        ).fetchone()
        assert row is not None
        found[plain_name((schema, name))] = Rows(int(row[0]), int(row[1]))
    return found


def sequences_of(conn: Conn) -> dict[str, int]:
    """The last value of each sequence, 0 before the first."""
    return {plain_name((schema, name)): value for schema, name, value in conn.execute(_SEQUENCES).fetchall()}


def compare(before: State, after: State) -> tuple[Difference, ...]:
    """What is not as it was: objects, rows of tables that stood before, sequences that give out old values again."""
    found = list(differences(before.schema, after.schema))
    for name, rows in before.rows.items():
        now = after.rows.get(name)
        if now is None or now == rows:
            continue
        same = now.count == rows.count
        found.append(
            Difference(
                f"rows of {name}", f"{rows.count:,} rows", f"{now.count:,} rows{', with other values' if same else ''}"
            )
        )
    for name, value in before.sequences.items():
        left = after.sequences.get(name, value)
        if left < value:
            found.append(Difference(f"sequence {name}", f"last value {value}", f"last value {left}: it repeats"))
    return tuple(found)
