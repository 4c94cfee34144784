"""What the catalogue says of a mapping's tables: columns and their types, keys, constraints, and how big they are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg import sql

from console.engine import catalogue
from console.engine.catalogue import ForeignKey
from console.errors import PlanError, Refused
from console.journal.connect import Conn
from console.plan.model import Mapping, TableName


@dataclass(frozen=True, slots=True)
class Kind:
    """A type without its domains: what values are compared and cast as. ``typmod`` is -1 without a modifier."""

    oid: int
    typmod: int


_CALLED = re.compile(r'(\w+)"?\(')  # what stands before a bracket, a function's name among others


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its type as SQL writes it, and what it demands.

    ``base`` is the type below its domains, as SQL writes it; ``checks`` are the domains' own, over ``VALUE``.
    ``identity`` is ``a`` (always), ``d`` (by default) or empty. ``loose`` says that equal keys may differ in
    their characters (a nondeterministic collation).
    """

    name: str
    type: str
    not_null: bool
    generated: bool
    identity: str
    base: str
    kind: Kind
    enum: bool
    loose: bool
    checks: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class TableFacts:
    """A table as it stands. ``checks`` are (constraint, expression over bare column names, the columns).

    ``more_unique`` is true when a second unique or an exclusion constraint, a trigger of the application, or the lack
    of a partition could refuse a row in a way that no expression foretells; ``fickle`` when a CHECK (or a domain's) calls
    a function that may answer otherwise when the row is written; ``referenced`` when other tables refer to it.
    """

    name: TableName
    columns: tuple[Column, ...]
    checks: tuple[tuple[str, str, tuple[str, ...]], ...]
    unique_keys: tuple[tuple[str, ...], ...]
    foreign_keys: tuple[ForeignKey, ...]
    more_unique: bool
    referenced: bool
    partitioned: bool
    partition: bool
    partitions: tuple[TableName, ...]
    row_security: bool
    rows: int
    bytes: int
    fickle: bool = False

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

    def references_over(self, names: Iterable[str]) -> list[ForeignKey]:
        """The foreign keys that need no other columns than ``names``."""
        known = set(names)
        return [key for key in self.foreign_keys if known.issuperset(key.columns)]


@dataclass(frozen=True, slots=True)
class MappingFacts:
    """Both tables of a mapping as they stand; ``old.name`` may be in the archive schema.

    ``columns`` and ``back``: what the mapping's expressions yield, by the name of the column they fill.
    ``server`` is the major version.
    """

    old: TableFacts
    new: TableFacts
    columns: tuple[tuple[str, Kind], ...] = ()
    back: tuple[tuple[str, Kind], ...] = ()
    server: int = 13


@contextmanager
def plain_names(conn: Conn) -> Iterator[None]:
    """Within: names are printed with their schema, as functions with a pinned search_path need them."""
    with conn.transaction():
        row = conn.execute("SELECT current_setting('search_path')").fetchone()
        conn.execute("SELECT set_config('search_path', 'pg_catalog', true)")
        yield
        conn.execute("SELECT set_config('search_path', %s, true)", (row[0] if row else "",))


def table_facts(conn: Conn, table: TableName) -> TableFacts | None:
    """The table's facts, None when it does not exist. ``rows`` is the planner's estimate."""
    with plain_names(conn):
        return _table_facts(conn, table)


def _table_facts(conn: Conn, table: TableName) -> TableFacts | None:
    row = conn.execute(catalogue.TABLE, (table.schema, table.name)).fetchone()
    if row is None:
        return None
    oid, hidden, rows, size, kind, partition = row
    checks = conn.execute(catalogue.CHECKS, (oid,)).fetchall()
    uniques = conn.execute(catalogue.UNIQUES, (oid,)).fetchall()
    triggers = conn.execute(catalogue.TRIGGERS, (oid,)).fetchone()
    partitions = conn.execute(catalogue.PARTITIONS, (oid,)).fetchall() if kind == "p" else []
    columns = tuple(_column(*column) for column in conn.execute(catalogue.COLUMNS, (oid,)).fetchall())
    return TableFacts(
        name=table,
        columns=columns,
        checks=tuple((name, expression, tuple(names)) for name, expression, names in checks),
        unique_keys=tuple(tuple(names) for names, usable in uniques if usable),
        foreign_keys=catalogue.foreign_keys(conn, oid),
        more_unique=len(uniques) > 1 or bool(triggers and (triggers[0] or triggers[2])),
        referenced=bool(triggers and triggers[1]),
        partitioned=kind == "p",
        partition=partition,
        partitions=tuple(TableName(*row) for row in partitions),
        row_security=bool(hidden),
        rows=rows,
        bytes=size,
        fickle=_fickle(conn, [row[1] for row in checks] + [text for column in columns for _, text in column.checks]),
    )


def _fickle(conn: Conn, expressions: list[str]) -> bool:
    """Whether any function that the expressions call may answer otherwise the next time; judged by the names."""
    names = {name for text in expressions for name in _CALLED.findall(text)}
    row = conn.execute(catalogue.FICKLE, (sorted(names),)).fetchone() if names else None
    return bool(row and row[0])


def _column(
    name: str, type_: str, not_null: bool, generated: bool, identity: str, base: str, oid: int, typmod: int,
    enum: bool, loose: bool, checks: list[list[str]],
) -> Column:  # fmt: skip
    return Column(
        name, type_, not_null, generated, identity, base, Kind(oid, typmod), enum, loose,
        tuple((constraint, expression) for constraint, expression in checks),
    )  # fmt: skip


def archived(table: TableName, archive_schema: str) -> TableName:
    """Where a retired table stands."""
    return TableName(archive_schema, table.name)


def mapping_facts(conn: Conn, mapping: Mapping, archive_schema: str, *, keys_unique: bool = True) -> MappingFacts:
    """Both tables' facts, the old one also where it was retired to. ``keys_unique``: they must be guaranteed.

    Raises PlanError for a table, column, key or expression that cannot work, Refused where row-level security
    would hide rows from the triggers.
    """
    old = table_facts(conn, mapping.old) or table_facts(conn, archived(mapping.old, archive_schema))
    new = table_facts(conn, mapping.new)
    for name, facts in ((mapping.old, old), (mapping.new, new)):
        if facts is None:
            raise PlanError(
                f"Mapping {mapping.id}: table {name} is not in this database.",
                state="Nothing was changed.",
                do="Check the database you are connected to and the table names in plan.toml (views and foreign "
                "tables cannot be mapped).",
            )
    assert old is not None
    assert new is not None
    for facts, names, key, what in (
        (old, [n for n, _ in mapping.back], mapping.old_key, "back"),
        (new, [n for n, _ in mapping.columns], mapping.new_key, "columns"),
    ):
        _check_columns(mapping, facts, names, what)
        _check_key(mapping, facts, key, unique=keys_unique)
    return MappingFacts(
        old,
        new,
        columns=_yields(conn, mapping, old.name, "o", new, mapping.columns, "columns"),
        back=_yields(conn, mapping, new.name, "n", old, mapping.back, "back"),
        server=conn.info.server_version // 10000,
    )


def _check_columns(mapping: Mapping, facts: TableFacts, names: list[str], what: str) -> None:
    key = mapping.old_key if what == "back" else mapping.new_key
    where = f"Mapping {mapping.id}, {what}"
    for name in names:
        column = facts.column(name)
        if column is None:
            raise PlanError(f"{where}: {facts.name} has no column {name}.")
        if column.generated:
            raise PlanError(
                f"{where}: {facts.name} generates its column {name} itself.",
                do=f"Leave {name} out of [mapping.{what}]; the server fills it.",
            )
        if column.identity == "a" and name not in key:
            raise PlanError(
                f"{where}: {name} of {facts.name} is GENERATED ALWAYS AS IDENTITY, so no UPDATE can ever carry it.",
                do=f"ALTER TABLE {facts.name} ALTER COLUMN {name} SET GENERATED BY DEFAULT, until the old table is gone.",
            )


def _check_key(mapping: Mapping, facts: TableFacts, key: tuple[str, ...], *, unique: bool) -> None:
    if unique and not facts.guarantees(key):
        raise PlanError(
            f"Mapping {mapping.id}: {facts.name} has no immediate unique index on ({', '.join(key)}).",
            do="Declare a key that the table guarantees (a deferrable constraint cannot serve), or create the index in "
            "an earlier task.",
        )
    nullable = next((c for name in key if (c := facts.column(name)) is not None and not c.not_null), None)
    if unique and nullable is not None:
        raise PlanError(
            f"Mapping {mapping.id}: the key column {nullable.name} of {facts.name} may be NULL, and NULL equals nothing.",
            do="Declare a key of NOT NULL columns.",
        )
    if facts.row_security:
        raise Refused(
            f"Row-level security on {facts.name} would hide rows from the triggers.",
            state="Nothing was changed.",
            do="Run as the table's owner without FORCE ROW LEVEL SECURITY, or as a role with BYPASSRLS.",
        )


def _yields(
    conn: Conn, mapping: Mapping, source: TableName, alias: str, goal: TableFacts, entries: tuple[tuple[str, str], ...],
    what: str,
) -> tuple[tuple[str, Kind], ...]:  # fmt: skip
    """What the expressions yield, asked of the server without reading a row, under the functions' search_path.

    Asks too whether it can be cast to the columns' types.
    """
    relations = [(source, alias), *((lookup.relation, lookup.name) for lookup in mapping.lookups)]
    tables = sql.SQL(", ").join(
        sql.SQL("{} {}").format(sql.Identifier(relation.schema, relation.name), sql.SQL(name))
        for relation, name in relations
    )

    def query(items: list[sql.Composable]) -> sql.Composed:
        return sql.SQL("SELECT {} FROM {} WHERE false").format(sql.SQL(", ").join(items), tables)

    schemas = dict.fromkeys(name.schema for name in (mapping.old, mapping.new, *(k.relation for k in mapping.lookups)))
    path = sql.SQL("SELECT set_config('search_path', {}, true)").format(
        sql.Literal(sql.SQL("pg_catalog, {}").format(sql.SQL(", ").join(map(sql.Identifier, schemas))).as_string(None))
    )
    try:
        with plain_names(conn):
            conn.execute(path)
            result = conn.execute(query([sql.SQL("({})").format(sql.SQL(text)) for _, text in entries])).pgresult
            assert result is not None
            found = {name: Kind(result.ftype(i), result.fmod(i)) for i, (name, _) in enumerate(entries)}
            columns = [(text, column) for name, text in entries if (column := goal.column(name)) is not None]
            conn.execute(query([sql.SQL("({})::{}").format(sql.SQL(t), sql.SQL(c.base)) for t, c in columns]))
            creates = [sql.SQL("({})").format(sql.SQL(k.create)) for k in mapping.lookups if k.create and alias == "o"]
            if creates:
                conn.execute(query([*creates]))
    except psycopg.errors.InsufficientPrivilege:  # a reviewer's preview; whoever runs it is asked in ``refusals``
        return ()
    except (psycopg.ProgrammingError, psycopg.DataError) as error:
        raise PlanError(
            f"Mapping {mapping.id}, {what}: the server does not take an expression: {str(error).splitlines()[0]}.",
            do="Functions, types and operators outside pg_catalog and the mapping's schemas need their schema's name.",
        ) from None
    return tuple(found.items())
