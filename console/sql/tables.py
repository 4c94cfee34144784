"""Locks, rewrites and hazards of CREATE TABLE and of adding columns and constraints."""

from __future__ import annotations

from typing import Any

from postgast import pg_query_pb2 as pb

from console.sql import advice
from console.sql.columns import checked_type, constraints, is_serial, of_type, steady, type_text, type_word
from console.sql.facts import Constraint, Facts
from console.sql.locks import ACCESS_EXCLUSIVE, ACCESS_SHARE, SHARE_ROW, SHARE_UPDATE
from console.sql.nodes import beside, inner, relation, strings
from console.sql.queries import read_pure, read_query

_INDEXED = (pb.CONSTR_PRIMARY, pb.CONSTR_UNIQUE)


def _references(facts: Facts, table: str, constraint: Any) -> str:
    """Note the lock on the table a foreign key names, and remember the link; returns that table."""
    target = relation(constraint.pktable)
    if target != table:
        facts.table(target, SHARE_ROW)
    facts.known.references.setdefault(table, set()).add(target)
    return target


def _owned_sequence(facts: Facts, table: str, column: Any) -> None:
    if is_serial(column) or of_type(column, pb.CONSTR_IDENTITY) is not None:
        base = f"{table.rsplit('.', 1)[-1]}_{column.colname}_seq"
        facts.made.add(beside(table, base))


def _define(facts: Facts, table: str, element: Any) -> None:
    """One column, constraint or LIKE of a new table."""
    if isinstance(element, pb.TableLikeClause):
        facts.table(relation(element.relation), ACCESS_SHARE)
        return
    if isinstance(element, pb.Constraint):
        found = [element]
    else:
        found = constraints(element)
        _owned_sequence(facts, table, element)
        facts.known.column_types[(table, element.colname)] = element.type_name
    for constraint in found:
        target = _references(facts, table, constraint) if constraint.contype == pb.CONSTR_FOREIGN else ""
        remember_constraint(facts, table, constraint, target)


def create_table(facts: Facts, stmt: Any) -> None:
    """CREATE TABLE, with PARTITION OF, INHERITS, LIKE and foreign keys."""
    create = stmt.base_stmt if isinstance(stmt, pb.CreateForeignTableStmt) else stmt
    table = relation(create.relation)
    facts.make(table)
    if create.HasField("of_typename"):
        facts.lock(type_word(create.of_typename), ACCESS_SHARE)
    for element in create.table_elts:
        _define(facts, table, inner(element))
    for parent in (inner(p) for p in create.inh_relations):
        name = relation(parent)
        if not create.HasField("partbound"):
            facts.table(name, SHARE_UPDATE)
            continue
        facts.table(name, ACCESS_EXCLUSIVE)
        if name in facts.known.made_here:
            linked = facts.known.references.get(name, set())
            facts.known.references.setdefault(table, set()).update(linked)
            for target in linked:
                facts.lock(target, SHARE_ROW)
            continue
        facts.lock(f"default partition of {name}", ACCESS_EXCLUSIVE, "assumed")
        facts.lock(f"tables that {name} references", SHARE_ROW, "assumed")
        facts.lock(f"tables that reference {name}", SHARE_ROW, "assumed")
        facts.scan = None
        if not facts.is_new(name):
            facts.warn(
                "PARTITION-OF-LOCKS-PARENT",
                f"Reads and writes of {name} wait while the partition is made; a DEFAULT partition is read in full.",
                advice.partition_form(create, parent),
            )


def create_table_as(facts: Facts, stmt: Any) -> None:
    """CREATE TABLE AS and CREATE MATERIALIZED VIEW."""
    facts.make(relation(stmt.into.rel))
    if inner(stmt.query).DESCRIPTOR.name == "ExecuteStmt":
        facts.give_up("EXECUTE runs what was prepared elsewhere")
    else:
        read_query(facts, inner(stmt.query))
        facts.scan = None


def remember_constraint(facts: Facts, table: str, constraint: Any, references: str = "") -> None:
    """Keep what later statements need to know of a constraint added here."""
    kinds = {pb.CONSTR_CHECK: "check", pb.CONSTR_FOREIGN: "foreign"}
    kind = kinds.get(constraint.contype, "other")
    column = next(iter(strings(constraint.keys)), "") if constraint.contype == pb.CONSTR_NOTNULL else ""
    if constraint.contype == pb.CONSTR_CHECK:
        test = inner(constraint.raw_expr)
        if isinstance(test, pb.NullTest) and test.nulltesttype == pb.IS_NOT_NULL:
            column = strings(inner(test.arg).fields)[-1] if isinstance(inner(test.arg), pb.ColumnRef) else ""
    if constraint.conname:
        facts.known.constraints[(table, constraint.conname)] = Constraint(kind, references, column)
        if constraint.skip_validation:
            facts.known.unvalidated[(table, constraint.conname)] = facts.group
    if column and not constraint.skip_validation:
        facts.known.proven.add((table, column))


def add_constraint(facts: Facts, table: Any, constraint: Any) -> str:
    """ADD CONSTRAINT; returns the lock on the table itself."""
    name = relation(table)
    later, hot = constraint.skip_validation, not facts.is_new(name)
    target = ""
    mode = ACCESS_EXCLUSIVE
    if constraint.contype == pb.CONSTR_FOREIGN:
        target, mode = _references(facts, name, constraint), SHARE_ROW
        facts.costs(scan=not later)
        if hot and not later:
            advice.foreign_key(facts, table, constraint)
    elif constraint.contype in _INDEXED and constraint.indexname:
        facts.costs(scan=None if constraint.contype == pb.CONSTR_PRIMARY else False)
    elif constraint.contype in _INDEXED:
        facts.costs(scan=True)
        if hot:
            advice.unique(facts, table, constraint)
    elif constraint.contype == pb.CONSTR_EXCLUSION:
        facts.costs(scan=True)
        if hot:
            advice.exclusion(facts, table)
    elif constraint.contype == pb.CONSTR_NOTNULL:
        facts.costs(scan=not later)
        if hot and not later:
            advice.not_null(facts, table, strings(constraint.keys)[0])
    else:
        facts.costs(scan=not later)
        if not later:
            read_query(facts, inner(constraint.raw_expr))
        if hot and not later:
            advice.check(facts, table, constraint)
    remember_constraint(facts, name, constraint, target)
    return mode


def add_column(facts: Facts, table: Any, column: Any) -> None:
    """ADD COLUMN."""
    name = relation(table)
    hot = not facts.is_new(name)
    default = of_type(column, pb.CONSTR_DEFAULT)
    _owned_sequence(facts, name, column)
    _column_values(facts, table, column, default, hot)
    same = default is not None and steady(default.raw_expr, facts) is True
    before = advice.column_alone(table, column, default=same) if hot else ""
    for constraint in constraints(column):
        if constraint.contype == pb.CONSTR_FOREIGN:
            _references(facts, name, constraint)
            remember_constraint(facts, name, constraint, relation(constraint.pktable))
            facts.costs(scan=default is not None)
            if hot and default is not None:
                copy = pb.Constraint()
                copy.CopyFrom(constraint)
                copy.fk_attrs.add().string.sval = column.colname
                advice.foreign_key(facts, table, copy, before)
        elif constraint.contype in _INDEXED:
            facts.costs(scan=True)
            if hot:
                copy = pb.Constraint()
                copy.CopyFrom(constraint)
                copy.keys.add().string.sval = column.colname
                advice.unique(facts, table, copy, before)
        elif constraint.contype == pb.CONSTR_CHECK:
            facts.costs(scan=True)
            read_query(facts, inner(constraint.raw_expr))
            if hot:
                advice.check(facts, table, constraint, before)


def _column_values(facts: Facts, table: Any, column: Any, default: Any, hot: bool) -> None:
    """Where the values of a new column come from, and what that costs."""
    generated = of_type(column, pb.CONSTR_GENERATED)
    identity = of_type(column, pb.CONSTR_IDENTITY)
    required = of_type(column, pb.CONSTR_NOTNULL) is not None
    written_type = type_text(column.type_name)
    facts.known.column_types[(relation(table), column.colname)] = column.type_name
    if default is not None:
        read_query(facts, inner(default.raw_expr))
    if generated is not None and generated.generated_kind != "v":
        facts.costs(rewrite=True)
        read_pure(facts, inner(generated.raw_expr))
        if hot:
            advice.generated_column(facts, table, column, "The expression is stored", "GENERATED-COLUMN-REWRITE")
    elif identity is not None:
        facts.costs(rewrite=True)
        if hot:
            advice.generated_column(facts, table, column, "Each row gets a number", "IDENTITY-COLUMN-REWRITE")
    elif is_serial(column):
        facts.costs(rewrite=True)
        if hot:
            advice.generated_column(facts, table, column, "Each row gets a number", "SERIAL-COLUMN")
    elif default is not None:
        same = steady(default.raw_expr, facts)
        facts.costs(rewrite=None if same is None else not same)
        domain = checked_type(column, facts)
        facts.costs(rewrite=domain)
        if hot and same and domain is None:
            advice.domain_column(facts, table, column, written_type)
        if hot and not same:
            advice.volatile_default(facts, table, column, written_type, same is False)
    else:
        domain = checked_type(column, facts)
        facts.costs(rewrite=domain, scan=required and generated is None)
        if not required and generated is None:
            facts.known.nullable.add((relation(table), column.colname))
        if hot and domain is None and not required:
            advice.domain_column(facts, table, column, written_type)
        if hot and required and generated is None:
            advice.required_column(facts, table, column, written_type)
