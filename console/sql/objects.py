"""Locks and hazards of indexes, views, triggers, sequences, types, comments, grants, publications and maintenance."""

from __future__ import annotations

from typing import Any

import postgast
from postgast import pg_query_pb2 as pb

from console.sql import advice
from console.sql.facts import Facts
from console.sql.locks import (
    ACCESS_EXCLUSIVE,
    ACCESS_SHARE,
    MODES,
    SHARE,
    SHARE_ROW,
    SHARE_UPDATE,
)
from console.sql.nodes import (
    beside,
    columns,
    definition,
    expression,
    inner,
    option,
    plain_name,
    quoted,
    relation,
    strings,
    which,
    written,
)
from console.sql.queries import fire_triggers, read_pure, read_query, read_reads

_ON_TABLE = frozenset({pb.OBJECT_TRIGGER, pb.OBJECT_RULE, pb.OBJECT_POLICY, pb.OBJECT_TABCONSTRAINT, pb.OBJECT_COLUMN})
_RELATIONS = frozenset(
    {
        pb.OBJECT_TABLE,
        pb.OBJECT_VIEW,
        pb.OBJECT_MATVIEW,
        pb.OBJECT_SEQUENCE,
        pb.OBJECT_FOREIGN_TABLE,
        pb.OBJECT_INDEX,
    }
)


def index_name(stmt: Any) -> str:
    """The name of the index, or the one PostgreSQL would choose for plain columns."""
    if stmt.idxname:
        return str(stmt.idxname)
    keys = [inner(p).name or "expr" for p in stmt.index_params]
    return "_".join([stmt.relation.relname, *keys, "idx"])


def create_index(facts: Facts, stmt: Any) -> None:
    """CREATE INDEX, with and without CONCURRENTLY."""
    table = relation(stmt.relation)
    facts.table(table, SHARE_UPDATE if stmt.concurrent else SHARE)
    index = beside(table, index_name(stmt))
    facts.made.add(index)
    facts.known.index_table[index] = table
    facts.known.index_columns[index] = tuple(inner(p).name for p in stmt.index_params)
    facts.costs(scan=True)
    for node in (*(inner(p).expr for p in stmt.index_params), stmt.where_clause):
        if which(node):
            read_pure(facts, inner(node))
    if stmt.concurrent and stmt.if_not_exists:
        facts.warn(
            "IF-NOT-EXISTS-INDEX",
            f"If an attempt was stopped before, {index} exists but is INVALID, and this statement passes over it.",
            f"DROP INDEX CONCURRENTLY IF EXISTS {index}; then create it without IF NOT EXISTS.",
        )
    whole = facts.known.is_partitioned(table)  # ON ONLY it has no rows of its own
    if not stmt.concurrent and not facts.is_new(table) and (stmt.relation.inh or not whole):
        tree = pb.ParseResult()
        safe = tree.stmts.add().stmt.index_stmt
        safe.CopyFrom(stmt)
        safe.concurrent, safe.if_not_exists = True, False
        safe.access_method = "" if stmt.access_method == "btree" else stmt.access_method
        advice.index_not_concurrent(facts, stmt, advice.index_on_partitioned(stmt) if whole else deparsed(tree))


def deparsed(tree: Any) -> str:
    """A parse tree as SQL with its semicolon; empty where it cannot be written back."""
    try:
        return f"{postgast.deparse(tree)};"
    except postgast.PgQueryError:
        return ""


def reindex(facts: Facts, stmt: Any) -> None:
    """REINDEX of an index, a table, a schema or the database."""
    gentle = option(stmt.params, "concurrently")
    facts.costs(scan=True, rewrite=False)
    if stmt.kind not in (pb.REINDEX_OBJECT_INDEX, pb.REINDEX_OBJECT_TABLE):
        every = f"every table of {stmt.name}" if stmt.kind == pb.REINDEX_OBJECT_SCHEMA else "every table"
        facts.lock(every, SHARE_UPDATE if gentle else SHARE)
        name, object_word = stmt.name, str(pb.ReindexObjectType.Name(stmt.kind)).rsplit("_", 1)[1]
        target = stmt.name
    else:
        name, target = relation(stmt.relation), written(stmt.relation)
        object_word = "INDEX" if stmt.kind == pb.REINDEX_OBJECT_INDEX else "TABLE"
        if stmt.kind == pb.REINDEX_OBJECT_INDEX:
            facts.lock(name, SHARE_UPDATE if gentle else ACCESS_EXCLUSIVE)
            table = facts.known.index_table.get(name)
            facts.lock(table or f"table of index {name}", SHARE_UPDATE if gentle else SHARE, _basis(table))
        else:
            facts.table(name, SHARE_UPDATE if gentle else SHARE)
            facts.transactional = name not in facts.known.partitioned
            if not gentle:
                facts.lock(f"indexes of {name}", ACCESS_EXCLUSIVE)
    if not gentle and not facts.is_new(name):
        facts.warn(
            "REINDEX-NOT-CONCURRENT",
            "Writes of the table, and reads that could use the index, wait until it is built anew.",
            f"REINDEX {object_word} CONCURRENTLY {target};",
        )


def _basis(found: str | None) -> str:
    return "grammar" if found else "assumed"


def create_view(facts: Facts, stmt: Any) -> None:
    """CREATE [OR REPLACE] VIEW."""
    name = relation(stmt.view)
    if stmt.replace and not facts.is_new(name):
        facts.table(name, ACCESS_EXCLUSIVE, "assumed")  # there may be one
    else:
        facts.make(name)
    read_query(facts, inner(stmt.query))
    facts.scan = False


def refresh(facts: Facts, stmt: Any) -> None:
    """REFRESH MATERIALIZED VIEW."""
    name = relation(stmt.relation)
    facts.table(name, "EXCLUSIVE" if stmt.concurrent else ACCESS_EXCLUSIVE)
    if not stmt.skip_data:
        facts.lock(f"tables that {name} reads", ACCESS_SHARE, "assumed")
    facts.costs(rewrite=not stmt.concurrent, scan=not stmt.skip_data)
    facts.scan = not stmt.skip_data
    if not stmt.concurrent and not facts.is_new(name):
        facts.warn(
            "REFRESH-NOT-CONCURRENT",
            f"Reads of {name} wait until its query has run again.",
            f"REFRESH MATERIALIZED VIEW CONCURRENTLY {written(stmt.relation)}; (needs a unique index on it)",
        )


def create_trigger(facts: Facts, stmt: Any) -> None:
    """CREATE TRIGGER."""
    table = relation(stmt.relation)
    facts.table(table, SHARE_ROW)
    facts.known.triggers.setdefault(table, set()).add(plain_name(strings(stmt.funcname)))
    if stmt.HasField("constrrel"):
        facts.table(relation(stmt.constrrel), ACCESS_SHARE)


def on_table(facts: Facts, stmt: Any) -> None:
    """CREATE or ALTER POLICY and CREATE RULE: everything about the table waits."""
    table = stmt.table if stmt.DESCRIPTOR.name.endswith("PolicyStmt") else stmt.relation
    facts.table(relation(table), ACCESS_EXCLUSIVE)
    if not isinstance(stmt, pb.RuleStmt):
        read_reads(facts, (inner(n) for n in (stmt.qual, stmt.with_check) if which(n)))
        facts.scan = False
    else:
        for action in stmt.actions:
            _not_run(facts, inner(action), hidden=("old", "new"))


def create_sequence(facts: Facts, stmt: Any) -> None:
    """CREATE SEQUENCE."""
    facts.make(relation(stmt.sequence))
    _owned_by(facts, stmt)


def alter_sequence(facts: Facts, stmt: Any) -> None:
    """ALTER SEQUENCE: nextval() waits."""
    facts.table(relation(stmt.sequence), SHARE_ROW)
    _owned_by(facts, stmt)


def _owned_by(facts: Facts, stmt: Any) -> None:
    for node in stmt.options:
        element = inner(node)
        if element.defname == "owned_by":
            parts = strings(inner(element.arg).items)
            if len(parts) > 1:
                facts.table(plain_name(parts[:-1]), ACCESS_SHARE)


def create_statistics(facts: Facts, stmt: Any) -> None:
    """CREATE STATISTICS."""
    for node in stmt.relations:
        facts.table(relation(inner(node)), SHARE_UPDATE)


def comment(facts: Facts, stmt: Any) -> None:
    """COMMENT ON and SECURITY LABEL."""
    if stmt.objtype in _RELATIONS:
        facts.table(plain_name(strings(inner(stmt.object).items)), SHARE_UPDATE)
    elif stmt.objtype in _ON_TABLE:
        mode = SHARE_UPDATE if stmt.objtype == pb.OBJECT_COLUMN else ACCESS_SHARE
        facts.table(plain_name(strings(inner(stmt.object).items)[:-1]), mode)


def grant(facts: Facts, stmt: Any) -> None:
    """GRANT and REVOKE: a table that is named is opened in 18, not in 16 (17 not measured); ALL ... IN SCHEMA locks none."""
    if stmt.targtype != pb.ACL_TARGET_OBJECT or stmt.objtype not in (pb.OBJECT_TABLE, pb.OBJECT_SEQUENCE):
        return
    for node in stmt.objects:
        name = relation(inner(node))
        facts.tables[name] = None
        if facts.known.server_major >= 17:
            facts.lock(name, ACCESS_SHARE)


def truncate(facts: Facts, stmt: Any) -> None:
    """TRUNCATE."""
    names = [relation(inner(n)) for n in stmt.relations]
    for name in names:
        facts.table(name, ACCESS_EXCLUSIVE)
        fire_triggers(facts, name)
        if stmt.restart_seqs:
            facts.lock(f"sequences of {name}", ACCESS_EXCLUSIVE, "assumed")
        if stmt.behavior == pb.DROP_CASCADE:
            facts.lock(f"tables that reference {name}, directly or through others", ACCESS_EXCLUSIVE, "assumed")
        if not facts.is_new(name):
            facts.warn(
                "TRUNCATE",
                f"Every row of {name} is gone at once, while its reads and writes wait.",
                "Move the table aside (retire it), or delete in batches.",
            )
    if stmt.behavior == pb.DROP_CASCADE and any(not facts.is_new(n) for n in names):
        facts.warn(
            "CASCADE", "Tables that reference these are emptied too, without being named.", "Name every table to empty."
        )


def lock_table(facts: Facts, stmt: Any) -> None:
    """LOCK TABLE."""
    for node in stmt.relations:
        facts.table(relation(inner(node)), MODES[stmt.mode - 1])


def cluster(facts: Facts, stmt: Any) -> None:
    """CLUSTER."""
    facts.costs(rewrite=True)
    if not stmt.HasField("relation"):
        facts.lock("every table that was clustered before", ACCESS_EXCLUSIVE)
        name = "every table that was clustered before"
    else:
        name = relation(stmt.relation)
        facts.table(name, ACCESS_EXCLUSIVE)
        facts.transactional = name not in facts.known.partitioned
    if not facts.is_new(name):
        facts.warn(
            "CLUSTER",
            f"All of {name} is written again while reads and writes wait.",
            "Make a new table, carry the rows over in the wanted order in batches, then switch.",
        )


def vacuum(facts: Facts, stmt: Any) -> None:
    """VACUUM and ANALYZE."""
    full = stmt.is_vacuumcmd and option(stmt.options, "full")
    names = [relation(inner(n).relation) for n in stmt.rels]
    facts.costs(scan=True, rewrite=full)
    for name in names or ["every table"]:
        mode = ACCESS_EXCLUSIVE if full else SHARE_UPDATE
        if names:
            facts.table(name, mode)
        else:
            facts.lock(name, mode)
        if full and not facts.is_new(name):
            facts.warn(
                "VACUUM-FULL",
                f"All of {name} is written again while reads and writes wait.",
                ("VACUUM (ANALYZE)" + (f" {columns(name.split('.')).replace(', ', '.')};" if names else ";"))
                + " and let the free space be used again.",
            )


def publication(facts: Facts, stmt: Any) -> None:
    """CREATE and ALTER PUBLICATION."""
    for node in stmt.pubobjects:
        spec = inner(node)
        if spec.HasField("pubtable"):
            facts.table(relation(spec.pubtable.relation), SHARE_UPDATE)
    if stmt.DESCRIPTOR.name == "AlterPublicationStmt" and stmt.action == pb.AP_SetObjects:
        facts.lock(f"tables that publication {stmt.pubname} held", SHARE_UPDATE, "assumed")


def create_type(facts: Facts, stmt: Any) -> None:
    """CREATE TYPE as an enum, a range or a composite."""
    if isinstance(stmt, pb.CompositeTypeStmt):
        name = relation(stmt.typevar)
        facts.lock(name, ACCESS_EXCLUSIVE)
    else:
        name = plain_name(strings(stmt.type_name))
    facts.made.add(name)
    facts.known.types.add(name)


def create_domain(facts: Facts, stmt: Any) -> None:
    """CREATE DOMAIN."""
    name = plain_name(strings(stmt.domainname))
    facts.made.add(name)
    if not stmt.constraints:
        facts.known.types.add(name)


def alter_domain(facts: Facts, stmt: Any) -> None:
    """ALTER DOMAIN: a new condition is checked in every table with a column of it."""
    name = plain_name(strings(stmt.type_name))
    subtype = stmt.subtype
    adds = subtype == "C" and not definition(stmt).skip_validation
    if facts.is_new(name) or not (adds or subtype in ("O", "V")):
        return
    facts.lock(f"tables with columns of {name}", SHARE, "assumed")
    facts.costs(scan=True)
    facts.warn(
        "DOMAIN-CHECK-SCAN",
        f"Every table with a column of {name} is read in full while its writes wait.",
        _domain_form(stmt, name),
    )


def _domain_form(stmt: Any, name: str) -> str:
    """The statements that check a domain's new condition for new values first."""
    alter = f"ALTER DOMAIN {'.'.join(quoted(part) for part in name.split('.'))}"
    if stmt.subtype == "O":
        return f"{alter} ADD CONSTRAINT {stmt.name or 'there'} CHECK (VALUE IS NOT NULL) NOT VALID; then VALIDATE it."
    if stmt.subtype == "V":
        return "VALIDATE CONSTRAINT is the safe form already: run it when few write."
    constraint = definition(stmt)
    called = quoted(constraint.conname or f"{name.rsplit('.', 1)[-1]}_check")
    return (
        f"{alter} ADD CONSTRAINT {called} CHECK ({expression(constraint.raw_expr)}) NOT VALID;\n"
        f"{alter} VALIDATE CONSTRAINT {called};"
    )


def alter_enum(facts: Facts, stmt: Any) -> None:
    """ALTER TYPE ... ADD VALUE and RENAME VALUE."""
    name = plain_name(strings(stmt.type_name))
    if stmt.old_val and not facts.is_new(name):
        advice.rename(facts, f"the value of {name}", stmt.old_val, stmt.new_val)
    elif not stmt.old_val and facts.group is not None:
        facts.warn(
            "ENUM-VALUE-IN-TRANSACTION",
            f"The new value of {name} cannot be used before the transaction ends.",
            "Put ALTER TYPE ... ADD VALUE before BEGIN, as a statement of its own.",
        )
    if not stmt.old_val and not facts.is_new(name):
        facts.warn("ENUM-VALUE", f"The value {stmt.new_val} of {name} can never be removed.")


def alter_type(facts: Facts, stmt: Any) -> None:
    """ALTER TYPE ... ADD, DROP or ALTER ATTRIBUTE comes as ALTER TABLE; this one sets a base type's options."""
    facts.lock(plain_name(strings(stmt.type_name)), ACCESS_EXCLUSIVE)


def create_schema(facts: Facts, stmt: Any) -> None:
    """CREATE SCHEMA without elements of its own."""
    facts.made.add(stmt.schemaname or "the role's schema")
    if stmt.schema_elts:
        facts.give_up("CREATE SCHEMA carries other statements")


def named_only(facts: Facts, stmt: Any) -> None:
    """A statement that locks no table: roles, settings, functions, operators and so on."""


def explain(facts: Facts, stmt: Any) -> None:
    """EXPLAIN takes the locks of the statement it explains."""
    if option(stmt.options, "analyze"):
        read_reads(facts, [inner(stmt.query)])
    else:
        _not_run(facts, inner(stmt.query))


def cursor(facts: Facts, stmt: Any) -> None:
    """DECLARE CURSOR; PREPARE looks at the tables, and EXECUTE is unknown."""
    if isinstance(stmt, pb.PrepareStmt):
        _not_run(facts, inner(stmt.query))
    else:
        read_query(facts, inner(stmt.query))


def _not_run(facts: Facts, query: Any, hidden: tuple[str, ...] = ()) -> None:
    """A query that is analysed now and run later or never: its tables are locked, what it would set off is not."""
    apart = facts.apart()
    read_query(apart, query)
    for name, (mode, basis) in apart.held.items():
        if name in apart.tables and name not in hidden:
            facts.table(name, mode, basis)


def opaque(why: str) -> Any:
    """A reader for statements that do what no text here tells."""

    def give_up(facts: Facts, stmt: Any) -> None:
        facts.give_up(why)

    return give_up
