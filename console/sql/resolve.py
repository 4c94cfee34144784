"""A statement's open questions answered from the catalogue: which tables are linked, what is there already.

What the grammar leaves open is noted as an assumed lock on an object in words (``tables that orders references``). Where
the catalogue and the statements before tell, the words become names with basis ``catalogue``; where something is left in
doubt the assumed lock stays. Locks only ever get more, or better named.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

import postgast
from postgast import pg_query_pb2 as pb

from console.sql.catalogue import INDEXES, PARTITIONED, VIEWS, Catalogue, Relation
from console.sql.facts import Constraint, Facts, Known
from console.sql.nodes import definition, inner, plain_name, relation, strings, which

_OPEN = tuple(
    (re.compile(pattern), kind)
    for pattern, kind in (
        (r"tables that (.+) references\Z", "references"),
        (r"tables that reference (.+), directly or through others\Z", "emptied_with"),
        (r"tables that reference (.+)\Z", "referenced_by"),
        (r"whatever changes in (.+) set off\Z", "set_off"),
        (r"sequences of (.+)\Z", "sequences"),
        (r"parent of (.+)\Z", "parents"),
        (r"default partition of (.+)\Z", "default_partition"),
        (r"table of index (.+)\Z", "table"),
        (r"whatever depends on (.+)\Z", "depends"),
        (r"tables that (.+) reads\Z", "reads"),
        (r"tables with columns of (.+)\Z", "type_users"),
    )
)
_BASIS = "catalogue"
# Subcommands that touch the named table alone, not its partitions and children.
_ALONE = frozenset(
    {"AT_AttachPartition", "AT_DetachPartition", "AT_DetachPartitionFinalize", "AT_AddInherit", "AT_DropInherit"}
    | {
        "AT_ChangeOwner",
        "AT_ClusterOn",
        "AT_DropCluster",
        "AT_SetRelOptions",
        "AT_ResetRelOptions",
        "AT_ReplicaIdentity",
    }
    | {"AT_EnableRowSecurity", "AT_DisableRowSecurity", "AT_ForceRowSecurity", "AT_NoForceRowSecurity"}
)
_NAMED_ALONE = frozenset(
    {
        "comment_stmt",
        "sec_label_stmt",
        "grant_stmt",
        "create_stats_stmt",
        "alter_object_schema_stmt",
        "alter_owner_stmt",
    }
    | {"create_publication_stmt", "alter_publication_stmt", "rule_stmt", "create_policy_stmt", "alter_policy_stmt"}
    | {"do_stmt", "call_stmt", "view_stmt", "create_seq_stmt", "alter_seq_stmt", "alter_domain_stmt"}
)
_WRITES = frozenset({"insert_stmt", "update_stmt", "delete_stmt", "merge_stmt", "copy_stmt"})


def asked(names: Iterable[str]) -> Iterator[str]:
    """The names to look up for these objects of locks: those in words by the name inside."""
    for name in names:
        match = next((m for pattern, _ in _OPEN if (m := pattern.match(name))), None)
        if match is not None:
            yield match.group(1)
        elif " " not in name:
            yield name


@lru_cache(maxsize=1024)
def _type_name(text: str) -> Any:
    """A type's text as the grammar's TypeName; None where it cannot be read."""
    try:
        tree = postgast.parse(f"SELECT NULL::{text}")
    except postgast.PgQueryError:
        return None
    target = inner(inner(tree.stmts[0].stmt).target_list[0])
    return inner(target.val).type_name


def learn(known: Known, catalogue: Catalogue) -> None:
    """Begin a sequence with what the catalogue says of constraints, columns and types."""
    known.catalogue = catalogue
    for table, found in catalogue.relations.items():
        _learn_table(known, table, found)
    known.types.update(name for name, checked in catalogue.types.items() if not checked)


def _learn_table(known: Known, table: str, found: Relation) -> None:
    for name, link in found.constraints.items():
        known.constraints[(table, name)] = Constraint(link.kind, link.references, link.not_null_column, _BASIS)
    known.proven.update((table, column) for column in found.proven)
    for name, column in found.columns.items():
        if (type_name := _type_name(column.type)) is not None:
            known.column_types[(table, name)] = type_name


def _forget(known: Known, tables: set[str]) -> None:
    """Nothing of the catalogue holds for these names any more."""
    known.away |= tables
    for table in tables:
        found = known.catalogue.relations.get(table) if known.catalogue is not None else None
        for name in found.constraints if found is not None else ():
            known.constraints.pop((table, name), None)
        for name in found.columns if found is not None else ():
            known.column_types.pop((table, name), None)
            known.proven.discard((table, name))


def watch(facts: Facts, node: Any) -> None:
    """After a statement, or one inside a block, was read: what later ones may no longer believe of the catalogue."""
    known = facts.known
    name, stmt = which(node), inner(node)
    if name == "create_stmt" and stmt.inh_relations:
        _link(known, [relation(inner(parent)) for parent in stmt.inh_relations], relation(stmt.relation))
    elif name == "alter_table_stmt":
        for cmd in (inner(node) for node in stmt.cmds):
            _watch_subcommand(known, relation(stmt.relation), cmd)
    elif name == "create_table_as_stmt":
        known.filled.add(relation(stmt.into.rel))
    elif name in _WRITES and stmt.HasField("relation"):
        known.filled.add(relation(stmt.relation))
    elif name in ("create_trig_stmt", "rule_stmt"):
        known.moved.add(relation(stmt.relation))
    if known.catalogue is None:
        return
    if name == "rename_stmt" and stmt.HasField("relation"):
        table = relation(stmt.relation)
        _forget(known, {table})
        if stmt.rename_type in (pb.OBJECT_COLUMN, pb.OBJECT_TABCONSTRAINT):
            known.away.discard(table)
    elif name == "alter_object_schema_stmt" and stmt.HasField("relation"):
        _forget(known, {relation(stmt.relation)})
    elif name == "alter_domain_stmt":
        known.types.discard(plain_name(strings(stmt.type_name)))
        known.touched.add(plain_name(strings(stmt.type_name)))
    elif name == "alter_function_stmt":
        known.touched.add(plain_name(strings(stmt.func.objname)))
    elif name == "variable_set_stmt" and stmt.name.lower() == "search_path":
        known.path_set = True
        _forget(known, {table for table in known.catalogue.relations if "." not in table} - known.made_here)
    elif name == "variable_set_stmt" and stmt.name.lower() == "timezone":
        known.zone_set = True


def _watch_subcommand(known: Known, table: str, cmd: Any) -> None:
    match str(pb.AlterTableType.Name(cmd.subtype)):
        case "AT_AttachPartition" | "AT_DetachPartition":
            _link(known, [table], relation(definition(cmd).name))
        case "AT_AddInherit" | "AT_DropInherit":
            _link(known, [relation(definition(cmd))], table)
        case "AT_DropConstraint":
            gone = known.constraints.pop((table, cmd.name), None)
            if gone is None:  # any proof of the table's may have fallen
                known.proven = {pair for pair in known.proven if pair[0] != table}
            else:
                known.proven.discard((table, gone.not_null_column))
        case "AT_DropColumn":
            known.proven.discard((table, cmd.name))
            known.column_types.pop((table, cmd.name), None)


def _link(known: Known, parents: list[str], child: str) -> None:
    known.moved |= {*parents, child}
    for parent in parents:
        known.parts.setdefault(parent, set()).add(child)


def after(facts: Facts) -> None:
    """After a whole statement: what it dropped is known no more, what was there already is as the catalogue says."""
    known = facts.known
    if known.catalogue is None:
        return
    if facts.gone or facts.there:
        _forget(known, facts.gone | facts.there)
    for table in facts.there:
        _learn_table(known, table, known.catalogue.relations[table])
        known.away.discard(table)


def resolve(facts: Facts, node: Any) -> None:
    """Name what the statement's assumed locks stand for, add partitions and children, and say what is missing."""
    known = facts.known
    facts.about = facts.about or _about(node)
    if known.catalogue is not None:
        for name, (mode, basis) in list(facts.held.items()):
            if basis == "assumed" and (found := _answer(known, name, _columns(node))) is not None:
                targets, sure = found
                if sure:
                    del facts.held[name]
                for target in targets:
                    facts.lock(target, mode, _BASIS)
        _exists(facts, node)
        _triggers(facts, node)
    _below(facts, node)


def _columns(node: Any) -> set[str] | None:
    """The columns alone whose foreign keys an ALTER TABLE touches; None where it may touch others."""
    if which(node) != "alter_table_stmt":
        return None
    cmds = [inner(cmd) for cmd in inner(node).cmds]
    if not {cmd.subtype for cmd in cmds} <= {pb.AT_AlterColumnType, pb.AT_DropColumn, pb.AT_AddColumn}:
        return None
    return {cmd.name for cmd in cmds}


def _answer(known: Known, words: str, columns: set[str] | None) -> tuple[set[str], bool] | None:
    """The relations that an object in words stands for, and whether those are all; None where nothing is known."""
    match, kind = next(((m, k) for p, k in _OPEN if (m := p.match(words))), (None, ""))
    if match is None or known.catalogue is None:
        return None
    name = match.group(1)
    if kind == "type_users":
        users = known.catalogue.type_users.get(name, ()) if name in known.catalogue.types else None
        return None if users is None or known.path_set else (set(users), name not in known.touched)
    found = known.relation(name)
    if found is None:
        return None
    moved = name in known.moved
    if kind in ("references", "referenced_by") and columns is not None:
        later = known.references.get(name, set()) | {t for t, targets in known.references.items() if name in targets}
        return {table for c in columns for table in found.partners.get(c, ())} | later, not moved
    if kind == "references":
        return {*found.references, *known.references.get(name, ())}, not moved
    if kind == "referenced_by":
        later = {table for table, targets in known.references.items() if name in targets}
        return {*found.referenced_by, *later}, not moved
    if kind == "emptied_with":
        later = {table for table, targets in known.references.items() if name in targets}
        return {*found.emptied_with, *later}, not moved and not known.references
    if kind == "set_off":  # what foreign keys look at and cascade to; what triggers do is not in the catalogue
        return {*found.references, *found.emptied_with}, not (moved or found.triggers or known.references)
    if kind == "sequences":
        return {
            *found.sequences,
            *(n for n in known.made_here if n.startswith(f"{name}_") and n.endswith("_seq")),
        }, True
    if kind == "parents":
        above = [known.relation(parent) for parent in found.parents]
        return {*found.parents, *(p.default_partition for p in above if p and p.default_partition)}, not (
            moved or any(p is None for p in above)
        )
    if kind == "default_partition":
        return {found.default_partition} - {""}, not moved
    if kind == "table":
        return ({found.table}, True) if found.table else None
    if kind == "depends":  # what the sequence made since is not in the catalogue
        return set(found.depends), not known.made_here and found.more == 0
    return set(found.reads), not moved


def _main(node: Any) -> tuple[str, bool]:
    """The relation a statement is about, and whether it reaches its partitions and children."""
    name, stmt = which(node), inner(node)
    if name == "alter_table_stmt":
        subcommands = {str(pb.AlterTableType.Name(inner(cmd).subtype)) for cmd in stmt.cmds}
        return relation(stmt.relation), stmt.relation.inh and not subcommands <= _ALONE
    if name == "rename_stmt" and stmt.HasField("relation"):
        return relation(stmt.relation), stmt.rename_type in (pb.OBJECT_COLUMN, pb.OBJECT_TABCONSTRAINT)
    if name == "index_stmt":
        return relation(stmt.relation), stmt.relation.inh
    return "", name not in _NAMED_ALONE


def _about(node: Any) -> str:
    """The relation whose rows a statement reads or writes in whole, as far as the statement names one."""
    main, stmt = _main(node)[0], inner(node)
    if main or which(node) == "drop_stmt":
        return main
    if which(node) == "vacuum_stmt" and len(stmt.rels) == 1:
        return relation(inner(stmt.rels[0]).relation)
    fields = stmt.DESCRIPTOR.fields_by_name
    if "relation" in fields and fields["relation"].message_type is pb.RangeVar.DESCRIPTOR and stmt.HasField("relation"):
        return relation(stmt.relation)
    return ""


def _below(facts: Facts, node: Any) -> None:
    """The same lock on the partitions and children of what is locked."""
    known = facts.known
    main, reaches = _main(node)
    parents = {relation(inner(p)) for p in inner(node).inh_relations} if which(node) == "create_stmt" else set()
    if not main and not reaches:
        return
    for name, (mode, basis) in list(facts.held.items()):
        if name in parents or (name == main and not reaches) or " " in name:
            continue
        found = known.relation(name)
        parts = known.parts.get(name, set()) - known.away
        if found is not None and (found.kind == PARTITIONED or name == main or not main):
            for child in found.below:
                facts.lock(child, mode, _BASIS)
            if found.more:
                facts.lock(f"{found.more} more under {name}", mode, _BASIS)
        for child in parts:
            facts.lock(child, mode, "grammar" if basis == "grammar" else basis)


_MAKERS = frozenset({"create_stmt", "create_seq_stmt", "create_table_as_stmt", "index_stmt", "view_stmt"})


def _exists(facts: Facts, node: Any) -> None:
    """Say what is not in the database, and what is there already."""
    known, name = facts.known, which(node)
    catalogue = known.catalogue
    if catalogue is None or known.path_set:
        return
    for table in facts.tables:
        if catalogue.missing(table) and table not in known.new | known.made_here | facts.made | known.away:
            facts.note(f"{table} is not in this database")
    if name not in _MAKERS:
        return
    stmt = inner(node)
    for made in sorted(facts.made):
        if made in catalogue.relations and made not in known.away | known.made_here:
            facts.note(f"{made} is in this database already")
            if name != "view_stmt" and getattr(stmt, "if_not_exists", False):
                facts.there.add(made)


def _triggers(facts: Facts, node: Any) -> None:
    if which(node) not in _WRITES:
        return
    for table, (mode, _) in facts.held.items():
        found = facts.known.relation(table)
        if found is not None and found.triggers and mode == "ROW EXCLUSIVE":
            facts.note(f"fires triggers of {table}: {', '.join(found.triggers)}")


def tied(found: Relation | None, column: str) -> bool | None:
    """Whether an index, a constraint or a view depends on the column; None where that is not known."""
    if found is None or column not in found.columns or found.kind in INDEXES | VIEWS:
        return None
    return found.columns[column].tied
