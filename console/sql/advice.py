"""The hazards of changing a table: why each hurts, and the safe statements with the real names in them."""

from __future__ import annotations

from typing import Any

from postgast import pg_query_pb2 as pb

from console.sql.columns import of_type
from console.sql.facts import Facts
from console.sql.nodes import columns, expression, quoted, relation, strings, written

_WAIT = "reads and writes wait"


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


def foreign_key(facts: Facts, table: Any, constraint: Any) -> None:
    """A foreign key that checks every row when it is added."""
    name = quoted(constraint_name(table, constraint))
    target = written(constraint.pktable)
    target += f" ({columns(strings(constraint.pk_attrs))})" if constraint.pk_attrs else ""
    actions = {"c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT", "r": "RESTRICT"}
    rest = " MATCH FULL" if constraint.fk_matchtype == "f" else ""
    for event, action in (("UPDATE", constraint.fk_upd_action), ("DELETE", constraint.fk_del_action)):
        rest += f" ON {event} {actions[action]}" if action in actions else ""
    rest += " DEFERRABLE" if constraint.deferrable else ""
    rest += " INITIALLY DEFERRED" if constraint.initdeferred else ""
    facts.warn(
        "FK-NOT-VALID",
        f"Every row of {relation(table)} is checked while writes of it and of {relation(constraint.pktable)} wait.",
        f"ALTER TABLE {written(table)} ADD CONSTRAINT {name} FOREIGN KEY ({columns(strings(constraint.fk_attrs))})"
        f" REFERENCES {target}{rest} NOT VALID;\n"
        f"ALTER TABLE {written(table)} VALIDATE CONSTRAINT {name};",
    )


def check(facts: Facts, table: Any, constraint: Any) -> None:
    """A CHECK that reads every row when it is added."""
    name = quoted(constraint_name(table, constraint))
    condition = expression(constraint.raw_expr)
    facts.warn(
        "CHECK-NOT-VALID",
        f"Every row of {relation(table)} is read while {_WAIT}.",
        f"ALTER TABLE {written(table)} ADD CONSTRAINT {name} CHECK ({condition}) NOT VALID;\n"
        f"ALTER TABLE {written(table)} VALIDATE CONSTRAINT {name};",
    )


def not_null(facts: Facts, table: Any, column: str) -> None:
    """SET NOT NULL without a validated CHECK before it."""
    name = quoted(f"{table.relname}_{column}_not_null_check")
    alter = f"ALTER TABLE {written(table)}"
    facts.warn(
        "SET-NOT-NULL-SCAN",
        f"Every row of {relation(table)} is read while {_WAIT}, unless a valid CHECK ({column} IS NOT NULL) exists.",
        f"{alter} ADD CONSTRAINT {name} CHECK ({quoted(column)} IS NOT NULL) NOT VALID;\n"
        f"{alter} VALIDATE CONSTRAINT {name};\n"
        f"{alter} ALTER COLUMN {quoted(column)} SET NOT NULL;\n"
        f"{alter} DROP CONSTRAINT {name};",
    )


def unique(facts: Facts, table: Any, constraint: Any) -> None:
    """UNIQUE or PRIMARY KEY that builds its index in place."""
    primary = constraint.contype == pb.CONSTR_PRIMARY
    word = "PRIMARY KEY" if primary else "UNIQUE"
    name = quoted(constraint_name(table, constraint))
    keys = columns(strings(constraint.keys))
    same = " NULLS NOT DISTINCT" if constraint.nulls_not_distinct else ""
    extra = f" INCLUDE ({columns(strings(constraint.including))})" if constraint.including else ""
    later = f" USING INDEX {name}" + (" DEFERRABLE" if constraint.deferrable else "")
    facts.warn(
        "UNIQUE-BUILDS-INDEX",
        f"The index of the constraint is built while {_WAIT} on {relation(table)}.",
        f"CREATE UNIQUE INDEX CONCURRENTLY {name} ON {written(table)} ({keys}){extra}{same};\n"
        f"ALTER TABLE {written(table)} ADD CONSTRAINT {name} {word}{later};",
    )


def exclusion(facts: Facts, table: Any) -> None:
    """EXCLUDE, which cannot be built any other way."""
    facts.warn(
        "EXCLUDE-BUILDS-INDEX",
        f"The index of the constraint is built while {_WAIT} on {relation(table)}; PostgreSQL has no concurrent form.",
        "Add the constraint to a new table, carry the rows over, then switch.",
    )


def type_change(facts: Facts, table: Any, column: str, rewrite: bool | None) -> None:
    """ALTER COLUMN ... TYPE."""
    sure = "Every row and index is written anew" if rewrite else "Where the old type does not fit, all is written anew"
    facts.warn(
        "TYPE-CHANGE-REWRITE",
        f"{sure} while {_WAIT} on {relation(table)}; running applications meet another type at once.",
        f"ALTER TABLE {written(table)} ADD COLUMN {quoted(column + '_new')} <type>; keep it in step with a trigger,"
        " copy in batches, then let applications use it and drop the old column.",
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
        f"{alter} ADD COLUMN {name} {definition}; fill it in batches, then"
        f" {alter} ADD CONSTRAINT ... CHECK ({name} IS NOT NULL) NOT VALID, VALIDATE and SET NOT NULL.",
    )


def generated_column(facts: Facts, table: Any, column: Any, what: str, code: str) -> None:
    """ADD COLUMN that computes a value for every row: stored expression, identity, serial."""
    facts.warn(
        code,
        f"{what}: every row of {relation(table)} is written again while {_WAIT}.",
        f"ALTER TABLE {written(table)} ADD COLUMN {quoted(column.colname)} without it, fill it in batches,"
        " and let the default or a trigger give new rows their value.",
    )


def rename(facts: Facts, what: str, old: str, new: str) -> None:
    """RENAME and SET SCHEMA."""
    facts.warn(
        "RENAME-BREAKS-CLIENTS",
        f"Running applications that use {what} {old} fail from this moment on.",
        f"Add {new} beside {old}, let applications change over, then drop {old}; or leave a view of the old name.",
    )


def detach(facts: Facts, table: Any, partition: Any) -> None:
    """DETACH PARTITION without CONCURRENTLY."""
    facts.warn(
        "DETACH-NOT-CONCURRENT",
        f"Reads and writes of the whole of {relation(table)} wait while its partition is taken off.",
        f"ALTER TABLE {written(table)} DETACH PARTITION {written(partition)} CONCURRENTLY; (14 and later)",
    )
