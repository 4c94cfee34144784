"""Syntax that the target's version does not know yet (release notes of 14 to 18)."""

from __future__ import annotations

from typing import Any

from postgast import pg_query_pb2 as pb

from console.sql.facts import Facts
from console.sql.nodes import definition, descend, inner, option


def check(facts: Facts, name: str, stmt: Any) -> None:
    """Note what a server of the target's version refuses."""
    major = facts.known.server_major
    if major >= 18:
        return
    for since, what, instead in _used(name, stmt):
        if major < since:
            facts.warn("NEEDS-NEWER-SERVER", f"{what} needs PostgreSQL {since}; the target runs {major}.", instead)


def _used(name: str, stmt: Any) -> list[tuple[int, str, str]]:
    """Every newer feature of a statement: since which version, its name, what to write instead."""
    found: list[tuple[int, str, str]] = []
    if name in ("create_stmt", "alter_table_stmt"):
        for node in descend(stmt):
            if isinstance(node, pb.Constraint):
                found += _constraint(node)
            elif isinstance(node, pb.ColumnDef):
                if node.compression:
                    found.append((14, "COMPRESSION of a column", ""))
                if node.storage_name and name == "create_stmt":
                    found.append((16, "STORAGE in CREATE TABLE", "ALTER TABLE ... ALTER COLUMN ... SET STORAGE"))
    match name:
        case "alter_table_stmt":
            found += [use for node in stmt.cmds for use in _subcommand(inner(node))]
        case "index_stmt" if stmt.nulls_not_distinct:
            found.append((15, "NULLS NOT DISTINCT", ""))
        case "merge_stmt":
            found.append((17, "MERGE ... RETURNING", "") if stmt.HasField("returning_clause") else (15, "MERGE", ""))
            if any(inner(c).match_kind == pb.MERGE_WHEN_NOT_MATCHED_BY_SOURCE for c in stmt.merge_when_clauses):
                found.append((17, "WHEN NOT MATCHED BY SOURCE", ""))
        case "view_stmt" if any(inner(o).defname == "security_invoker" for o in stmt.options):
            found.append((15, "security_invoker", ""))
        case "reindex_stmt" if any(inner(o).defname == "tablespace" for o in stmt.params):
            found.append((14, "REINDEX (TABLESPACE)", ""))
        case "create_function_stmt" if stmt.HasField("sql_body"):
            found.append((14, "A body of BEGIN ATOMIC or RETURN", "AS $$ ... $$"))
        case "vacuum_stmt" if option(stmt.options, "buffer_usage_limit"):
            found.append((16, "BUFFER_USAGE_LIMIT", ""))
        case "create_trig_stmt" if stmt.replace:
            found.append((14, "CREATE OR REPLACE TRIGGER", "DROP TRIGGER IF EXISTS, then CREATE TRIGGER"))
    return found


def _constraint(node: Any) -> list[tuple[int, str, str]]:
    found = []
    if node.contype == pb.CONSTR_GENERATED and node.generated_kind == "v":
        found.append((18, "A virtual generated column", "STORED (it writes every row), or a view"))
    if node.contype == pb.CONSTR_NOTNULL and node.skip_validation:
        found.append((18, "NOT NULL ... NOT VALID", "CHECK (... IS NOT NULL) NOT VALID"))
    unenforced = node.contype in (pb.CONSTR_CHECK, pb.CONSTR_FOREIGN) and not node.is_enforced
    if unenforced or node.contype in (pb.CONSTR_ATTR_NOT_ENFORCED, pb.CONSTR_ATTR_ENFORCED):
        found.append((18, "ENFORCED and NOT ENFORCED", "NOT VALID"))
    if node.without_overlaps or node.fk_with_period:
        found.append((18, "A temporal key", "EXCLUDE"))
    if node.nulls_not_distinct:
        found.append((15, "NULLS NOT DISTINCT", "a unique index on an expression"))
    return found


def _subcommand(cmd: Any) -> list[tuple[int, str, str]]:
    match str(pb.AlterTableType.Name(cmd.subtype)):
        case "AT_DetachPartition" if definition(cmd).concurrent:
            return [(14, "DETACH PARTITION CONCURRENTLY", "DETACH PARTITION under a short lock_timeout")]
        case "AT_DetachPartitionFinalize":
            return [(14, "DETACH PARTITION FINALIZE", "")]
        case "AT_SetExpression":
            return [(17, "SET EXPRESSION", "DROP COLUMN, then ADD COLUMN")]
        case "AT_SetAccessMethod":
            return [(15, "SET ACCESS METHOD", "")]
        case "AT_SetCompression":
            return [(14, "SET COMPRESSION", "")]
        case "AT_AddConstraint" if definition(cmd).contype == pb.CONSTR_NOTNULL and not definition(cmd).skip_validation:
            return [(18, "ADD CONSTRAINT ... NOT NULL", "ALTER COLUMN ... SET NOT NULL")]
    return []
