"""What the catalogue says of a mapping's tables: columns, constraints, and what would hide rows from a trigger."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from console.errors import PlanError, Refused
from console.journal.connect import Conn
from console.plan.model import Mapping, TableName


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its type as SQL writes it, and what it demands."""

    name: str
    type: str
    not_null: bool
    generated: bool


@dataclass(frozen=True, slots=True)
class TableFacts:
    """A table as it stands. ``checks`` are (constraint, expression over bare column names, the columns).

    ``more_unique`` is true when a second unique or an exclusion constraint, or a trigger of the application,
    could refuse a row in a way that no expression foretells.
    """

    name: TableName
    columns: tuple[Column, ...]
    checks: tuple[tuple[str, str, tuple[str, ...]], ...]
    unique_keys: tuple[tuple[str, ...], ...]
    more_unique: bool
    row_security: bool
    rows: int
    bytes: int

    def column(self, name: str) -> Column | None:
        """The column with this name, None when there is none."""
        return next((column for column in self.columns if column.name == name), None)

    def guarantees(self, key: Iterable[str]) -> bool:
        """Whether a unique index keeps two rows from having one ``key``."""
        return any(set(unique) == set(key) for unique in self.unique_keys)

    def checks_over(self, names: Iterable[str]) -> list[tuple[str, str]]:
        """(constraint, expression) of the CHECKs that need no other columns than ``names``."""
        known = set(names)
        return [(name, expression) for name, expression, columns in self.checks if known.issuperset(columns)]


@dataclass(frozen=True, slots=True)
class MappingFacts:
    """Both tables of a mapping as they stand; ``old.name`` may be in the archive schema."""

    old: TableFacts
    new: TableFacts


def table_facts(conn: Conn, table: TableName) -> TableFacts | None:
    """The table's facts, None when it does not exist. ``rows`` is the planner's estimate."""
    row = conn.execute(
        "SELECT c.oid, (c.relrowsecurity AND (c.relforcerowsecurity OR NOT pg_has_role(c.relowner, 'USAGE'))"
        " AND NOT (SELECT rolbypassrls OR rolsuper FROM pg_roles WHERE rolname = current_user)),"
        " greatest(c.reltuples, 0)::bigint, pg_total_relation_size(c.oid)"
        " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'p')",
        (table.schema, table.name),
    ).fetchone()
    if row is None:
        return None
    oid, hidden, rows, size = row
    columns = conn.execute(
        "SELECT attname, format_type(atttypid, atttypmod), attnotnull, attgenerated <> ''"
        " FROM pg_attribute WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        (oid,),
    ).fetchall()
    checks = conn.execute(
        "SELECT conname, pg_get_expr(conbin, conrelid), ARRAY(SELECT attname::text FROM pg_attribute"
        " WHERE attrelid = conrelid AND attnum = ANY (conkey)) FROM pg_constraint WHERE conrelid = %s"
        " AND contype = 'c' ORDER BY conname",
        (oid,),
    ).fetchall()
    uniques = conn.execute(
        "SELECT ARRAY(SELECT a.attname::text FROM unnest(i.indkey[:i.indnkeyatts - 1]) WITH ORDINALITY k(n, o)"
        " JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.n ORDER BY k.o), i.indpred IS NULL"
        " AND i.indexprs IS NULL AND i.indimmediate AND i.indisvalid, i.indisexclusion OR i.indisunique"
        " FROM pg_index i WHERE i.indrelid = %s AND (i.indisunique OR i.indisexclusion)",
        (oid,),
    ).fetchall()
    triggers = conn.execute(
        "SELECT count(*) FROM pg_trigger WHERE tgrelid = %s AND NOT tgisinternal AND tgname NOT LIKE 'zz\\_pgferry%%'",
        (oid,),
    ).fetchone()
    return TableFacts(
        name=table,
        columns=tuple(Column(*column) for column in columns),
        checks=tuple((name, expression, tuple(names)) for name, expression, names in checks),
        unique_keys=tuple(tuple(names) for names, usable, _ in uniques if usable),
        more_unique=len(uniques) > 1 or bool(triggers and triggers[0]),
        row_security=bool(hidden),
        rows=rows,
        bytes=size,
    )


def archived(table: TableName, archive_schema: str) -> TableName:
    """Where a retired table stands."""
    return TableName(archive_schema, table.name)


def mapping_facts(conn: Conn, mapping: Mapping, archive_schema: str, *, keys_unique: bool = True) -> MappingFacts:
    """Both tables' facts, the old one also where it was retired to. ``keys_unique``: they must be guaranteed.

    Raises PlanError for a table, column or key that is not there, Refused where row-level security
    would hide rows from the triggers.
    """
    old = table_facts(conn, mapping.old) or table_facts(conn, archived(mapping.old, archive_schema))
    new = table_facts(conn, mapping.new)
    for name, facts in ((mapping.old, old), (mapping.new, new)):
        if facts is None:
            raise PlanError(
                f"Mapping {mapping.id}: table {name} is not in this database.",
                state="Nothing was changed.",
                do="Check the database you are connected to and the table names in plan.toml.",
            )
    assert old is not None
    assert new is not None
    for facts, names, key, what in (
        (old, [n for n, _ in mapping.back], mapping.old_key, "back"),
        (new, [n for n, _ in mapping.columns], mapping.new_key, "columns"),
    ):
        missing = [name for name in names if facts.column(name) is None]
        if missing:
            raise PlanError(f"Mapping {mapping.id}, {what}: {facts.name} has no column {missing[0]}.")
        if keys_unique and not facts.guarantees(key):
            raise PlanError(
                f"Mapping {mapping.id}: {facts.name} has no immediate unique index on ({', '.join(key)}).",
                do="Declare a key that the table guarantees, or create the index in an earlier task.",
            )
        if facts.row_security:
            raise Refused(
                f"Row-level security on {facts.name} would hide rows from the triggers.",
                state="Nothing was changed.",
                do="Run as the table's owner without FORCE ROW LEVEL SECURITY, or as a role with BYPASSRLS.",
            )
    return MappingFacts(old, new)
