"""Locks, rewrites and hazards of ALTER TABLE and its relatives (indexes, views, sequences), RENAME and SET SCHEMA."""

from __future__ import annotations

from typing import Any

from postgast import pg_query_pb2 as pb

from console.sql import advice
from console.sql.columns import type_change, type_text
from console.sql.facts import Facts
from console.sql.locks import (
    ACCESS_EXCLUSIVE,
    ACCESS_SHARE,
    ROW_SHARE,
    SHARE_ROW,
    SHARE_UPDATE,
    alter_table_mode,
    option_mode,
)
from console.sql.nodes import (
    beside,
    definition,
    enum_words,
    inner,
    plain_name,
    quoted,
    relation,
    strings,
    which,
    written,
)
from console.sql.queries import read_query
from console.sql.resolve import tied
from console.sql.tables import add_column, add_constraint

_REWRITES = frozenset({"AT_SetLogged", "AT_SetUnLogged", "AT_SetTableSpace", "AT_SetExpression"})
_RELATIONS = frozenset(
    {pb.OBJECT_TABLE, pb.OBJECT_VIEW, pb.OBJECT_MATVIEW, pb.OBJECT_SEQUENCE, pb.OBJECT_FOREIGN_TABLE, pb.OBJECT_INDEX}
)


def alter_table(facts: Facts, stmt: Any) -> None:
    """ALTER TABLE, INDEX, VIEW, MATERIALIZED VIEW, SEQUENCE, FOREIGN TABLE: the strongest subcommand counts."""
    table = stmt.relation
    name = relation(table)
    if stmt.objtype == pb.OBJECT_TYPE:
        _composite(facts, stmt, name)
        return
    for node in stmt.cmds:
        cmd = inner(node)
        subcommand = str(pb.AlterTableType.Name(cmd.subtype))
        facts.table(name, _subcommand(facts, stmt, cmd, subcommand))


def _composite(facts: Facts, stmt: Any, name: str) -> None:
    """ALTER TYPE ... ATTRIBUTE: refused while a table has a column of it; CASCADE carries it on to tables OF the type."""
    facts.lock(name, ACCESS_EXCLUSIVE)
    if any(inner(node).behavior == pb.DROP_CASCADE for node in stmt.cmds) and not facts.is_new(name):
        facts.costs(rewrite=None)
        _cascade(facts, name)


def _subcommand(facts: Facts, stmt: Any, cmd: Any, subcommand: str) -> str:
    """Note one subcommand's costs and hazards; returns its lock on the table itself."""
    table = stmt.relation
    hot = not facts.is_new(relation(table))
    mode = alter_table_mode(subcommand)
    if subcommand in _REWRITES and stmt.objtype != pb.OBJECT_SEQUENCE:
        facts.costs(rewrite=True)
        if hot:
            _rewrite_hazard(facts, relation(table), subcommand)
    match subcommand:
        case "AT_AddColumn":
            add_column(facts, table, definition(cmd))
        case "AT_AddConstraint":
            return add_constraint(facts, table, definition(cmd))
        case "AT_ValidateConstraint":
            _validate(facts, relation(table), cmd.name)
        case "AT_AlterColumnType":
            _change_type(facts, table, cmd, hot)
        case "AT_SetNotNull":
            proven = (relation(table), cmd.name) in facts.known.proven
            facts.costs(scan=not proven)
            if hot and not proven:
                advice.not_null(facts, table, cmd.name)
            facts.known.proven.add((relation(table), cmd.name))
        case "AT_DropNotNull":
            facts.known.proven.discard((relation(table), cmd.name))
        case "AT_DropColumn":
            _referenced(facts, relation(table), "")
            _sequences(facts, relation(table))
            if hot:
                _drop_column(facts, table, cmd)
        case "AT_DropConstraint":
            _referenced(facts, relation(table), cmd.name)
        case "AT_AlterConstraint":
            if definition(cmd).alter_enforceability:
                _referenced(facts, relation(table), definition(cmd).conname)
                facts.costs(scan=None)
        case "AT_SetRelOptions" | "AT_ResetRelOptions" | "AT_ReplaceRelOptions":
            return option_mode(inner(o).defname for o in inner(getattr(cmd, "def")).items)
        case "AT_AttachPartition":
            _attach(facts, stmt, definition(cmd))
        case "AT_DetachPartition" | "AT_DetachPartitionFinalize":
            return _detach(facts, table, definition(cmd), subcommand, hot)
        case "AT_AddInherit":
            facts.table(relation(definition(cmd)), SHARE_UPDATE)
        case "AT_DropInherit":
            facts.table(relation(definition(cmd)), ACCESS_SHARE)
        case "AT_SetAccessMethod":
            facts.costs(rewrite=None)
        case "AT_ChangeOwner" | "AT_DropIdentity":
            _sequences(facts, relation(table))
        case "AT_SetIdentity":
            _sequences(facts, relation(table), SHARE_ROW)
    if cmd.behavior == pb.DROP_CASCADE and hot:
        _cascade(facts, relation(table))
    return mode


def _sequences(facts: Facts, table: str, mode: str = ACCESS_EXCLUSIVE) -> None:
    if table not in facts.known.made_here:
        facts.lock(f"sequences of {table}", mode, "assumed")


def _cascade(facts: Facts, name: str) -> None:
    facts.lock(f"whatever depends on {name}", ACCESS_EXCLUSIVE, "assumed")
    facts.warn(
        "CASCADE",
        f"Whatever depends on {name} goes too, without being named: views, foreign keys, functions.",
        "Leave CASCADE out and name each object in a DROP of its own.",
    )


def _rewrite_hazard(facts: Facts, name: str, subcommand: str) -> None:
    facts.warn(
        "TABLE-REWRITE",
        f"All of {name} is written again while reads and writes wait ({subcommand.removeprefix('AT_')}).",
        "Make a new table of the wanted form, carry the rows over in batches, then switch.",
    )


def _referenced(facts: Facts, table: str, constraint: str, mode: str = ACCESS_EXCLUSIVE) -> None:
    """The tables that a dropped or changed foreign key names: known from this sequence, or assumed."""
    known = facts.known.constraints.get((table, constraint)) if constraint else None
    if known is not None:
        if known.references:
            facts.lock(known.references, mode, known.basis)
    elif table in facts.known.made_here:
        for target in facts.known.references.get(table, ()):
            facts.lock(target, mode)
    else:
        facts.lock(f"tables that {table} references", mode, "assumed")


def _validate(facts: Facts, table: str, constraint: str) -> None:
    facts.costs(scan=True)
    known = facts.known.constraints.get((table, constraint))
    if known is None:
        facts.lock(f"table that {constraint} references", ROW_SHARE, "assumed")
        return
    if known.references:
        facts.table(known.references, ROW_SHARE, known.basis)
    if known.not_null_column:
        facts.known.proven.add((table, known.not_null_column))
    group = facts.known.unvalidated.pop((table, constraint), None)
    if facts.group is not None and group == facts.group and not facts.is_new(table):
        facts.warn(
            "VALIDATE-IN-SAME-TRANSACTION",
            f"The lock of ADD CONSTRAINT is held on {table} while every row is read: NOT VALID gains nothing.",
            "Put VALIDATE CONSTRAINT in a transaction of its own, after the COMMIT.",
        )


def _change_type(facts: Facts, table: Any, cmd: Any, hot: bool) -> None:
    column = definition(cmd)
    using = inner(column.raw_default) if which(column.raw_default) else None
    place = (relation(table), cmd.name)
    rewrite = type_change(column.type_name, using, facts, facts.known.column_types.get(place))
    facts.known.column_types[place] = column.type_name
    free = rewrite is False
    facts.costs(rewrite=rewrite, scan=None if free and tied(facts.known.relation(place[0]), cmd.name) else False)
    if using is not None:
        read_query(facts, using)
    _referenced(facts, relation(table), "")
    if relation(table) not in facts.known.made_here:
        facts.lock(f"tables that reference {relation(table)}", ACCESS_EXCLUSIVE, "assumed")
    if hot and rewrite is not False:
        advice.type_change(facts, table, cmd.name, type_text(column.type_name), rewrite)


def _drop_column(facts: Facts, table: Any, cmd: Any) -> None:
    facts.warn(
        "DROP-COLUMN",
        f"The values of {cmd.name} are gone, and running applications that name the column fail.",
        f"First let no application use {cmd.name}; ALTER TABLE {written(table)} RENAME COLUMN {quoted(cmd.name)} TO"
        f" {quoted('zz_' + cmd.name)} can be taken back, a drop cannot.",
    )


def _attach(facts: Facts, stmt: Any, cmd: Any) -> None:
    parent, part = relation(stmt.relation), relation(cmd.name)
    facts.table(part, ACCESS_EXCLUSIVE)
    if stmt.objtype == pb.OBJECT_INDEX:
        for name in (parent, part):
            on = facts.known.index_table.get(name)
            facts.lock(on or f"table of index {name}", ACCESS_SHARE, "grammar" if on else "assumed")
        return
    facts.costs(scan=None)
    if parent not in facts.known.made_here:
        facts.lock(f"default partition of {parent}", ACCESS_EXCLUSIVE, "assumed")
        facts.lock(f"tables that {parent} references", SHARE_ROW, "assumed")
        facts.lock(f"tables that reference {parent}", SHARE_ROW, "assumed")
    else:
        for target in facts.known.references.get(parent, ()):
            facts.lock(target, SHARE_ROW)
    if not facts.is_new(part):
        facts.warn(
            "ATTACH-SCANS-PARTITION",
            f"Every row of {part} is read while its reads and writes wait, unless a valid CHECK says the same as the"
            " bounds.",
            f"ALTER TABLE {written(cmd.name)} ADD CONSTRAINT ... CHECK (<bounds>) NOT VALID; VALIDATE CONSTRAINT;"
            " then ATTACH, then drop the CHECK.",
        )


def _detach(facts: Facts, table: Any, cmd: Any, subcommand: str, hot: bool) -> str:
    facts.table(relation(cmd.name), ACCESS_EXCLUSIVE)
    name = relation(table)
    if name not in facts.known.made_here:
        facts.lock(f"default partition of {name}", ACCESS_EXCLUSIVE, "assumed")
        facts.lock(f"tables that {name} references", SHARE_ROW, "assumed")
        facts.lock(f"tables that reference {name}", ACCESS_EXCLUSIVE, "assumed")
    if subcommand == "AT_DetachPartitionFinalize" or cmd.concurrent:
        return SHARE_UPDATE
    if hot:
        advice.detach(facts, table, cmd.name)
    return ACCESS_EXCLUSIVE


_RENAMED = frozenset(
    {pb.OBJECT_SCHEMA, pb.OBJECT_FUNCTION, pb.OBJECT_PROCEDURE, pb.OBJECT_ROUTINE, pb.OBJECT_TYPE, pb.OBJECT_DOMAIN}
)


def rename(facts: Facts, stmt: Any) -> None:
    """RENAME of anything."""
    kind = stmt.rename_type
    if not stmt.HasField("relation"):
        if kind in _RENAMED:
            old = _object_name(stmt.object)
            if not facts.is_new(old):
                advice.rename(facts, enum_words(pb.ObjectType, kind).lower(), old, stmt.newname)
        return
    name = relation(stmt.relation)
    if kind == pb.OBJECT_INDEX or (kind in _RELATIONS and name in facts.known.index_table):
        facts.table(name, SHARE_UPDATE)
        return
    facts.table(name, ACCESS_EXCLUSIVE)
    new = beside(name, stmt.newname)
    if kind in _RELATIONS:
        if facts.is_new(name):
            facts.made.add(new)
            facts.gone.add(name)
        else:
            advice.rename(facts, enum_words(pb.ObjectType, kind).lower(), name, new, _with_view(stmt, kind))
    elif kind in (pb.OBJECT_COLUMN, pb.OBJECT_ATTRIBUTE) and not facts.is_new(name):
        if kind == pb.OBJECT_ATTRIBUTE and stmt.behavior == pb.DROP_CASCADE:
            facts.lock(f"whatever depends on {name}", ACCESS_EXCLUSIVE, "assumed")
        advice.rename(facts, f"the column of {name}", stmt.subname, stmt.newname)


def _with_view(stmt: Any, kind: int) -> str:
    """The statements that leave a view under a renamed relation's old name; empty where a view cannot stand for it."""
    if stmt.missing_ok or kind not in (pb.OBJECT_TABLE, pb.OBJECT_VIEW, pb.OBJECT_FOREIGN_TABLE):
        return ""
    old, word = written(stmt.relation), enum_words(pb.ObjectType, kind)
    new = f"{quoted(stmt.relation.schemaname)}." * bool(stmt.relation.schemaname) + quoted(stmt.newname)
    return (
        f"BEGIN;\nALTER {word} {old} RENAME TO {quoted(stmt.newname)};\n"
        f"CREATE VIEW {old} AS SELECT * FROM {new};\nCOMMIT;"
    )


def _object_name(node: Any) -> str:
    """The name of what a statement on something other than a relation names."""
    value = inner(node)
    if isinstance(value, pb.ObjectWithArgs):
        return plain_name(strings(value.objname))
    if isinstance(value, pb.TypeName):
        return plain_name(strings(value.names))
    if isinstance(value, pb.List):
        return plain_name(strings(value.items))
    return str(value.sval) if isinstance(value, pb.String) else ""


def set_schema(facts: Facts, stmt: Any) -> None:
    """SET SCHEMA of anything."""
    if not stmt.HasField("relation"):
        old = _object_name(stmt.object)
        if stmt.object_type in _RENAMED and not facts.is_new(old):
            new = plain_name([stmt.newschema, old.rsplit(".", 1)[-1]])
            advice.rename(facts, enum_words(pb.ObjectType, stmt.object_type).lower(), old, new)
        return
    name = relation(stmt.relation)
    facts.table(name, ACCESS_EXCLUSIVE)
    _sequences(facts, name)
    new = plain_name([stmt.newschema, stmt.relation.relname])
    if facts.is_new(name):
        facts.made.add(new)
        facts.gone.add(name)
    else:
        advice.rename(facts, enum_words(pb.ObjectType, stmt.object_type).lower(), name, new)


def set_owner(facts: Facts, stmt: Any) -> None:
    """OWNER TO of what is not a relation."""
    if stmt.HasField("relation"):
        facts.table(relation(stmt.relation), ACCESS_EXCLUSIVE)
    elif stmt.object_type == pb.OBJECT_TYPE:
        facts.lock(_object_name(stmt.object), ACCESS_EXCLUSIVE)  # a composite type is a relation


def depends(facts: Facts, stmt: Any) -> None:
    """DEPENDS ON EXTENSION."""
    if stmt.HasField("relation"):
        mode = ACCESS_SHARE if stmt.object_type == pb.OBJECT_TRIGGER else ACCESS_EXCLUSIVE
        facts.table(relation(stmt.relation), mode)
