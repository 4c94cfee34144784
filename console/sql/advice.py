"""The hazards of changing a table: why each hurts, and the safe statements with the real names in them."""

from __future__ import annotations

from typing import Any

import postgast
from postgast import pg_query_pb2 as pb

from console.sql.columns import of_type, type_text, type_word
from console.sql.facts import Facts
from console.sql.nodes import columns, expression, inner, quoted, relation, strings, written

_WAIT = "reads and writes wait"
_DETACH_SINCE = 14
_NOT_VALID_ON_PARTITIONED_SINCE = 18
_NOT_NULL_LATER_SINCE = 18
_SERIAL_TYPES = {
    "serial": "integer", "serial4": "integer", "serial2": "smallint", "smallserial": "smallint", "bigserial": "bigint",
    "serial8": "bigint",
}  # fmt: skip


def constraint_name(table: Any, constraint: Any) -> str:
    """The constraint's name; where the file leaves it out, the one PostgreSQL would choose."""
    if constraint.conname:
        return str(constraint.conname)
    keys = strings(constraint.fk_attrs) or strings(constraint.keys)
    suffix = {
        pb.CONSTR_FOREIGN: "fkey",
        pb.CONSTR_PRIMARY: "pkey",
        pb.CONSTR_UNIQUE: "key",
        pb.CONSTR_CHECK: "check",
        pb.CONSTR_EXCLUSION: "excl",
        pb.CONSTR_NOTNULL: "not_null",
    }.get(constraint.contype, "constraint")
    middle = [] if constraint.contype == pb.CONSTR_PRIMARY else keys
    return "_".join([table.relname, *middle, suffix])


def index_not_concurrent(facts: Facts, stmt: Any, text: str) -> None:
    """CREATE INDEX without CONCURRENTLY."""
    facts.warn(
        "INDEX-NOT-CONCURRENT",
        f"Writes of {relation(stmt.relation)} wait until the whole table is read and the index is built.",
        text,
    )


def index_on_partitioned(stmt: Any) -> str:
    """The statements that build an index of a partitioned table while writes go on."""
    keys = ", ".join(quoted(inner(p).name) or f"({expression(inner(p).expr)})" for p in stmt.index_params)
    name = quoted(stmt.idxname or "_".join([stmt.relation.relname, *(inner(p).name for p in stmt.index_params), "idx"]))
    unique = "UNIQUE " if stmt.unique else ""
    return (
        f"CREATE {unique}INDEX {name} ON ONLY {written(stmt.relation)} ({keys});\n"
        f"then for each partition: CREATE {unique}INDEX CONCURRENTLY, and ALTER INDEX {name} ATTACH PARTITION <its index>."
    )


def foreign_key(facts: Facts, table: Any, constraint: Any, before: str = "") -> None:
    """A foreign key that checks every row when it is added. ``before``: the statement that adds its column first."""
    name = quoted(constraint_name(table, constraint))
    target = written(constraint.pktable)
    target += f" ({columns(strings(constraint.pk_attrs))})" if constraint.pk_attrs else ""
    actions = {"c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT", "r": "RESTRICT"}
    rest = " MATCH FULL" if constraint.fk_matchtype == "f" else ""
    for event, action in (("UPDATE", constraint.fk_upd_action), ("DELETE", constraint.fk_del_action)):
        rest += f" ON {event} {actions[action]}" if action in actions else ""
    rest += " DEFERRABLE" if constraint.deferrable else ""
    rest += " INITIALLY DEFERRED" if constraint.initdeferred else ""
    alone = facts.known.is_partitioned(relation(table)) and facts.known.server_major < _NOT_VALID_ON_PARTITIONED_SINCE
    facts.warn(
        "FK-NOT-VALID",
        f"Every row of {relation(table)} is checked while writes of it and of {relation(constraint.pktable)} wait.",
        f"Before 18 a partitioned table takes no NOT VALID foreign key: add it to each partition of {relation(table)} NOT"
        " VALID, validate it there, then add it to the whole."
        if alone
        else f"{before}ALTER TABLE {written(table)} ADD CONSTRAINT {name} FOREIGN KEY ({columns(strings(constraint.fk_attrs))})"
        f" REFERENCES {target}{rest} NOT VALID;\n"
        f"ALTER TABLE {written(table)} VALIDATE CONSTRAINT {name};",
    )


def check(facts: Facts, table: Any, constraint: Any, before: str = "") -> None:
    """A CHECK that reads every row when it is added. ``before``: the statement that adds its column first."""
    name = quoted(constraint_name(table, constraint))
    condition = expression(constraint.raw_expr)
    facts.warn(
        "CHECK-NOT-VALID",
        f"Every row of {relation(table)} is read while {_WAIT}.",
        f"{before}ALTER TABLE {written(table)} ADD CONSTRAINT {name} CHECK ({condition}) NOT VALID;\n"
        f"ALTER TABLE {written(table)} VALIDATE CONSTRAINT {name};",
    )


def not_null_form(facts: Facts, table: Any, column: str) -> str:
    """The statements that make a column NOT NULL while reads and writes go on."""
    alter = f"ALTER TABLE {written(table)}"
    if facts.known.server_major >= _NOT_NULL_LATER_SINCE:
        name = quoted(f"{table.relname}_{column}_not_null")
        return (
            f"{alter} ADD CONSTRAINT {name} NOT NULL {quoted(column)} NOT VALID;\n{alter} VALIDATE CONSTRAINT {name};"
        )
    name = quoted(f"{table.relname}_{column}_not_null_check")
    return (
        f"{alter} ADD CONSTRAINT {name} CHECK ({quoted(column)} IS NOT NULL) NOT VALID;\n"
        f"{alter} VALIDATE CONSTRAINT {name};\n"
        f"{alter} ALTER COLUMN {quoted(column)} SET NOT NULL;\n"
        f"{alter} DROP CONSTRAINT {name};"
    )


def not_null(facts: Facts, table: Any, column: str) -> None:
    """SET NOT NULL without a validated CHECK before it."""
    facts.warn(
        "SET-NOT-NULL-SCAN",
        f"Every row of {relation(table)} is read while {_WAIT}, unless a valid CHECK ({column} IS NOT NULL) exists.",
        not_null_form(facts, table, column),
    )


def unique(facts: Facts, table: Any, constraint: Any, before: str = "") -> None:
    """UNIQUE or PRIMARY KEY that builds its index in place. ``before``: the statement that adds its column first."""
    primary = constraint.contype == pb.CONSTR_PRIMARY
    word = "PRIMARY KEY" if primary else "UNIQUE"
    name = quoted(constraint_name(table, constraint))
    keys = columns(strings(constraint.keys))
    same = " NULLS NOT DISTINCT" if constraint.nulls_not_distinct else ""
    extra = f" INCLUDE ({columns(strings(constraint.including))})" if constraint.including else ""
    later = f" USING INDEX {name}" + (" DEFERRABLE" if constraint.deferrable else "")
    whole = not before and facts.known.is_partitioned(relation(table))
    if before and primary:
        column = strings(constraint.keys)[0]
        before += f"fill {quoted(column)} of the rows that are there in batches; then\n"
        before += not_null_form(facts, table, column) + "\n"
    facts.warn(
        "UNIQUE-BUILDS-INDEX",
        f"The index of the constraint is built while {_WAIT} on {relation(table)}.",
        f"ALTER TABLE ONLY {written(table)} ADD CONSTRAINT {name} {word} ({keys}){extra};\n"
        "then for each partition: CREATE UNIQUE INDEX CONCURRENTLY, ADD CONSTRAINT ... USING INDEX, and"
        f" ALTER INDEX {name} ATTACH PARTITION <its index>."
        if whole
        else f"{before}CREATE UNIQUE INDEX CONCURRENTLY {name} ON {written(table)} ({keys}){extra}{same};\n"
        f"ALTER TABLE {written(table)} ADD CONSTRAINT {name} {word}{later};",
    )


def column_alone(table: Any, column: Any, *, default: bool) -> str:
    """The statement that adds a column without the constraints written beside it, and a line's end.

    ``default``: its default is the same for every row and stays.
    """
    kind = _SERIAL_TYPES.get(type_word(column.type_name)) or type_text(column.type_name)
    value = of_type(column, pb.CONSTR_DEFAULT)
    stays = f" DEFAULT {expression(value.raw_expr)}" if default and value is not None else ""
    return f"ALTER TABLE {written(table)} ADD COLUMN {quoted(column.colname)} {kind}{stays};\n"


def exclusion(facts: Facts, table: Any) -> None:
    """EXCLUDE, which cannot be built any other way."""
    facts.warn(
        "EXCLUDE-BUILDS-INDEX",
        f"The index of the constraint is built while {_WAIT} on {relation(table)}; PostgreSQL has no concurrent form.",
        "Add the constraint to a new table, carry the rows over, then switch.",
    )


def type_change(facts: Facts, table: Any, column: str, new_type: str, rewrite: bool | None) -> None:
    """ALTER COLUMN ... TYPE."""
    alter, old, new = f"ALTER TABLE {written(table)}", quoted(column), quoted(f"{column}_new")
    sure = "Every row and index is written anew" if rewrite else "Where the old type does not fit, all is written anew"
    facts.warn(
        "TYPE-CHANGE-REWRITE",
        f"{sure} while {_WAIT} on {relation(table)}; running applications meet another type at once.",
        f"{alter} ADD COLUMN {new} {new_type};\n"
        f"keep {new} equal to {old} with a trigger, fill it in batches, compare every row; then\n"
        f"BEGIN;\n{alter} RENAME COLUMN {old} TO {quoted(f'{column}_old')};\n"
        f"{alter} RENAME COLUMN {new} TO {old};\nCOMMIT;",
    )


def volatile_default(facts: Facts, table: Any, column: Any, definition: str, known: bool) -> None:
    """ADD COLUMN with a DEFAULT that differs from row to row."""
    name = quoted(column.colname)
    alter = f"ALTER TABLE {written(table)}"
    facts.warn(
        "VOLATILE-DEFAULT-REWRITE",
        ("The default differs from row to row" if known else "The default calls a function that was not read")
        + f": every row of {relation(table)} is written again while {_WAIT}.",
        f"{alter} ADD COLUMN {name} {definition};\n"
        f"{alter} ALTER COLUMN {name} SET DEFAULT {expression(of_type(column, pb.CONSTR_DEFAULT).raw_expr)};\n"
        f"then fill {name} of the rows that are there in batches.",
    )


def required_column(facts: Facts, table: Any, column: Any, definition: str) -> None:
    """ADD COLUMN ... NOT NULL without a default."""
    name = quoted(column.colname)
    alter = f"ALTER TABLE {written(table)}"
    facts.warn(
        "COLUMN-NOT-NULL-NO-DEFAULT",
        f"It fails as soon as {relation(table)} has a row, and applications that do not write {column.colname} fail.",
        f"{alter} ADD COLUMN {name} {definition};\n"
        f"let applications write {name}, fill the rows that are there in batches; then\n"
        + not_null_form(facts, table, column.colname),
    )


def generated_column(facts: Facts, table: Any, column: Any, what: str, code: str) -> None:
    """ADD COLUMN that computes a value for every row: stored expression, identity, serial."""
    name, alter = quoted(column.colname), f"ALTER TABLE {written(table)}"
    generated = of_type(column, pb.CONSTR_GENERATED)
    kind = _SERIAL_TYPES.get(type_word(column.type_name)) or type_text(column.type_name)
    if generated is None:
        own = ".".join(quoted(p) for p in (table.schemaname, f"{table.relname}_{column.colname}_seq") if p)
        safer = (
            f"CREATE SEQUENCE {own} OWNED BY NONE;\n{alter} ADD COLUMN {name} {kind};\n"
            f"{alter} ALTER COLUMN {name} SET DEFAULT nextval('{own}');\n"
            f"fill {name} of the rows that are there in batches, with nextval('{own}'); then\n"
            f"ALTER SEQUENCE {own} OWNED BY {written(table)}.{name};"
        )
    elif facts.known.server_major >= 18:
        safer = f"{alter} ADD COLUMN {name} {kind} GENERATED ALWAYS AS ({expression(generated.raw_expr)}) VIRTUAL;"
    else:
        safer = (
            f"{alter} ADD COLUMN {name} {kind};\nset it with a trigger BEFORE INSERT OR UPDATE, and fill the rows that"
            f" are there in batches: UPDATE {written(table)} SET {name} = {expression(generated.raw_expr)}"
            " WHERE <key> > <last> AND <key> <= <next>;"
        )
    facts.warn(
        code,
        f"{what}: every row of {relation(table)} is written again while {_WAIT}.",
        safer,
    )


def domain_column(facts: Facts, table: Any, column: Any, new_type: str) -> None:
    """ADD COLUMN of a type that was not read."""
    facts.warn(
        "DOMAIN-COLUMN-REWRITE",
        f"Where {new_type} is a domain with a CHECK, every row of {relation(table)} is written again while {_WAIT}.",
        f"ALTER TABLE {written(table)} ADD COLUMN {quoted(column.colname)} of the domain's base type, and the CHECK as"
        " one of the table, NOT VALID.",
    )


def partition_form(create: Any, parent: Any) -> str:
    """The statements that make an empty partition beside its parent and then attach it."""
    tree = pb.ParseResult()
    attach = tree.stmts.add().stmt.alter_table_stmt
    attach.relation.CopyFrom(parent)
    attach.objtype = pb.OBJECT_TABLE
    command = attach.cmds.add().alter_table_cmd
    command.subtype = pb.AT_AttachPartition
    partition = getattr(command, "def").partition_cmd
    partition.name.CopyFrom(create.relation)
    partition.bound.CopyFrom(create.partbound)
    return f"CREATE TABLE {written(create.relation)} (LIKE {written(parent)} INCLUDING ALL);\n{postgast.deparse(tree)};"


def rename(facts: Facts, what: str, old: str, new: str, safer: str = "") -> None:
    """RENAME and SET SCHEMA."""
    facts.warn(
        "RENAME-BREAKS-CLIENTS",
        f"Running applications that use {what} {old} fail from this moment on.",
        safer or f"Add {new} beside {old}, keep both in step, let applications change over, then drop {old}.",
    )


def detach(facts: Facts, table: Any, partition: Any) -> None:
    """DETACH PARTITION without CONCURRENTLY."""
    facts.warn(
        "DETACH-NOT-CONCURRENT",
        f"Reads and writes of the whole of {relation(table)} wait while its partition is taken off.",
        f"ALTER TABLE {written(table)} DETACH PARTITION {written(partition)} CONCURRENTLY;"
        if facts.known.server_major >= _DETACH_SINCE
        else "Before 14 there is no other form: a short lock_timeout and retries, as pgferry runs it.",
    )
