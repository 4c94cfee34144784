"""The name of a statement (PostgreSQL's command tag), and whether it can run in a transaction block."""

from __future__ import annotations

from typing import Any

from postgast import pg_query_pb2 as pb

from console.sql.nodes import enum_words, inner, option, option_true, which

UNKNOWN = "unknown"

_TAGS = {
    "alter_collation_stmt": "ALTER COLLATION",
    "alter_database_refresh_coll_stmt": "ALTER DATABASE",
    "alter_database_set_stmt": "ALTER DATABASE",
    "alter_database_stmt": "ALTER DATABASE",
    "alter_default_privileges_stmt": "ALTER DEFAULT PRIVILEGES",
    "alter_domain_stmt": "ALTER DOMAIN",
    "alter_enum_stmt": "ALTER TYPE",
    "alter_event_trig_stmt": "ALTER EVENT TRIGGER",
    "alter_extension_contents_stmt": "ALTER EXTENSION",
    "alter_extension_stmt": "ALTER EXTENSION",
    "alter_fdw_stmt": "ALTER FOREIGN DATA WRAPPER",
    "alter_foreign_server_stmt": "ALTER SERVER",
    "alter_function_stmt": "ALTER FUNCTION",
    "alter_op_family_stmt": "ALTER OPERATOR FAMILY",
    "alter_operator_stmt": "ALTER OPERATOR",
    "alter_policy_stmt": "ALTER POLICY",
    "alter_publication_stmt": "ALTER PUBLICATION",
    "alter_role_set_stmt": "ALTER ROLE",
    "alter_role_stmt": "ALTER ROLE",
    "alter_seq_stmt": "ALTER SEQUENCE",
    "alter_stats_stmt": "ALTER STATISTICS",
    "alter_subscription_stmt": "ALTER SUBSCRIPTION",
    "alter_system_stmt": "ALTER SYSTEM",
    "alter_tsconfiguration_stmt": "ALTER TEXT SEARCH CONFIGURATION",
    "alter_tsdictionary_stmt": "ALTER TEXT SEARCH DICTIONARY",
    "alter_type_stmt": "ALTER TYPE",
    "alter_user_mapping_stmt": "ALTER USER MAPPING",
    "call_stmt": "CALL",
    "check_point_stmt": "CHECKPOINT",
    "close_portal_stmt": "CLOSE CURSOR",
    "cluster_stmt": "CLUSTER",
    "comment_stmt": "COMMENT",
    "composite_type_stmt": "CREATE TYPE",
    "constraints_set_stmt": "SET CONSTRAINTS",
    "copy_stmt": "COPY",
    "create_am_stmt": "CREATE ACCESS METHOD",
    "create_cast_stmt": "CREATE CAST",
    "create_conversion_stmt": "CREATE CONVERSION",
    "create_domain_stmt": "CREATE DOMAIN",
    "create_enum_stmt": "CREATE TYPE",
    "create_event_trig_stmt": "CREATE EVENT TRIGGER",
    "create_extension_stmt": "CREATE EXTENSION",
    "create_fdw_stmt": "CREATE FOREIGN DATA WRAPPER",
    "create_foreign_server_stmt": "CREATE SERVER",
    "create_foreign_table_stmt": "CREATE FOREIGN TABLE",
    "create_op_class_stmt": "CREATE OPERATOR CLASS",
    "create_op_family_stmt": "CREATE OPERATOR FAMILY",
    "create_plang_stmt": "CREATE LANGUAGE",
    "create_policy_stmt": "CREATE POLICY",
    "create_publication_stmt": "CREATE PUBLICATION",
    "create_range_stmt": "CREATE TYPE",
    "create_role_stmt": "CREATE ROLE",
    "create_schema_stmt": "CREATE SCHEMA",
    "create_seq_stmt": "CREATE SEQUENCE",
    "create_stats_stmt": "CREATE STATISTICS",
    "create_stmt": "CREATE TABLE",
    "create_subscription_stmt": "CREATE SUBSCRIPTION",
    "create_table_space_stmt": "CREATE TABLESPACE",
    "create_transform_stmt": "CREATE TRANSFORM",
    "create_trig_stmt": "CREATE TRIGGER",
    "create_user_mapping_stmt": "CREATE USER MAPPING",
    "createdb_stmt": "CREATE DATABASE",
    "deallocate_stmt": "DEALLOCATE",
    "declare_cursor_stmt": "DECLARE CURSOR",
    "delete_stmt": "DELETE",
    "discard_stmt": "DISCARD",
    "do_stmt": "DO",
    "drop_owned_stmt": "DROP OWNED",
    "drop_role_stmt": "DROP ROLE",
    "drop_subscription_stmt": "DROP SUBSCRIPTION",
    "drop_table_space_stmt": "DROP TABLESPACE",
    "drop_user_mapping_stmt": "DROP USER MAPPING",
    "dropdb_stmt": "DROP DATABASE",
    "execute_stmt": "EXECUTE",
    "explain_stmt": "EXPLAIN",
    "fetch_stmt": "FETCH",
    "import_foreign_schema_stmt": "IMPORT FOREIGN SCHEMA",
    "index_stmt": "CREATE INDEX",
    "insert_stmt": "INSERT",
    "listen_stmt": "LISTEN",
    "load_stmt": "LOAD",
    "lock_stmt": "LOCK TABLE",
    "merge_stmt": "MERGE",
    "notify_stmt": "NOTIFY",
    "prepare_stmt": "PREPARE",
    "reassign_owned_stmt": "REASSIGN OWNED",
    "refresh_mat_view_stmt": "REFRESH MATERIALIZED VIEW",
    "reindex_stmt": "REINDEX",
    "rule_stmt": "CREATE RULE",
    "sec_label_stmt": "SECURITY LABEL",
    "truncate_stmt": "TRUNCATE TABLE",
    "unlisten_stmt": "UNLISTEN",
    "update_stmt": "UPDATE",
    "variable_show_stmt": "SHOW",
    "view_stmt": "CREATE VIEW",
}

_NEVER_IN_TRANSACTION = frozenset(
    {
        "alter_system_stmt",
        "create_table_space_stmt",
        "createdb_stmt",
        "drop_table_space_stmt",
        "dropdb_stmt",
    }
)

# ALTER SUBSCRIPTION that does not refresh what is subscribed to.
_QUIET_SUBSCRIPTION = frozenset(
    {pb.ALTER_SUBSCRIPTION_OPTIONS, pb.ALTER_SUBSCRIPTION_CONNECTION, pb.ALTER_SUBSCRIPTION_ENABLED}
    | {pb.ALTER_SUBSCRIPTION_SKIP}
)
_SLOT_OPTIONS = frozenset({"failover", "two_phase"})


def kind_of(node: Any) -> str:
    """The command tag of a parsed statement; ``unknown`` for a statement this module has no name for."""
    name, stmt = which(node), inner(node)
    if name in _TAGS:
        return _TAGS[name]
    match name:
        case "select_stmt":
            return "SELECT INTO" if stmt.HasField("into_clause") else "SELECT"
        case "define_stmt":
            return f"CREATE {enum_words(pb.ObjectType, stmt.kind)}"
        case "drop_stmt":
            return f"DROP {enum_words(pb.ObjectType, stmt.remove_type)}"
        case "rename_stmt":
            return f"ALTER {_renamed(stmt)}"
        case "alter_table_stmt":
            return f"ALTER {enum_words(pb.ObjectType, stmt.objtype)}"
        case "alter_owner_stmt" | "alter_object_schema_stmt" | "alter_object_depends_stmt":
            return f"ALTER {enum_words(pb.ObjectType, stmt.object_type)}"
        case "create_table_as_stmt":
            return "CREATE MATERIALIZED VIEW" if stmt.objtype == pb.OBJECT_MATVIEW else "CREATE TABLE AS"
        case "create_function_stmt":
            return "CREATE PROCEDURE" if stmt.is_procedure else "CREATE FUNCTION"
        case "grant_stmt":
            return "GRANT" if stmt.is_grant else "REVOKE"
        case "grant_role_stmt":
            return "GRANT ROLE" if stmt.is_grant else "REVOKE ROLE"
        case "vacuum_stmt":
            return "VACUUM" if stmt.is_vacuumcmd else "ANALYZE"
        case "variable_set_stmt":
            return "RESET" if stmt.kind in (pb.VAR_RESET, pb.VAR_RESET_ALL) else "SET"
    return UNKNOWN


def _renamed(stmt: Any) -> str:
    """The object whose definition a RENAME changes: a column's or a constraint's table, not the column."""
    if stmt.rename_type in (pb.OBJECT_COLUMN, pb.OBJECT_ATTRIBUTE) and stmt.relation_type:
        return enum_words(pb.ObjectType, stmt.relation_type)
    if stmt.rename_type == pb.OBJECT_TABCONSTRAINT:
        return "TABLE"
    return enum_words(pb.ObjectType, stmt.rename_type)


def transactional(node: Any) -> bool:
    """Whether the statement can run in a transaction block. A routine that commits by itself is not seen here."""
    name, stmt = which(node), inner(node)
    match name:
        case "index_stmt" | "drop_stmt":
            return not stmt.concurrent
        case "reindex_stmt":
            whole = stmt.kind in (
                pb.REINDEX_OBJECT_SCHEMA,
                pb.REINDEX_OBJECT_SYSTEM,
                pb.REINDEX_OBJECT_DATABASE,
            )
            return not (whole or option(stmt.params, "concurrently"))
        case "vacuum_stmt":
            return not stmt.is_vacuumcmd
        case "cluster_stmt":
            return bool(stmt.HasField("relation"))
        case "alter_table_stmt":
            return not any(_detaches_concurrently(inner(cmd)) for cmd in stmt.cmds)
        case "create_subscription_stmt":
            off = {inner(o).defname for o in stmt.options if not option_true(inner(o))}
            return bool(off & {"connect", "create_slot"})
        case "drop_subscription_stmt":
            return False  # unless its slot was taken away before; alone is always right
        case "alter_subscription_stmt":
            return stmt.kind in _QUIET_SUBSCRIPTION and not any(inner(o).defname in _SLOT_OPTIONS for o in stmt.options)
        case "transaction_stmt":
            return stmt.kind not in (pb.TRANS_STMT_COMMIT_PREPARED, pb.TRANS_STMT_ROLLBACK_PREPARED)
        case "discard_stmt":
            return bool(stmt.target != pb.DISCARD_ALL)
        case "alter_database_stmt":
            return not any(inner(o).defname == "tablespace" for o in stmt.options)
    return name not in _NEVER_IN_TRANSACTION


def _detaches_concurrently(cmd: Any) -> bool:
    if cmd.subtype != pb.AT_DetachPartition:
        return False
    return bool(inner(getattr(cmd, "def")).concurrent)
