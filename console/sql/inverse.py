"""The way back of one statement, where it can be derived from its text alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import postgast
from google.protobuf.message import DecodeError
from postgast import pg_query_pb2 as pb

from console.sql.advice import constraint_name
from console.sql.grammar import parse
from console.sql.nodes import definition, enum_words, inner, quoted, strings, which, written
from console.sql.objects import deparsed, index_name

_CREATED_BY_NAMES = {
    "create_enum_stmt": ("TYPE", "type_name"),
    "create_range_stmt": ("TYPE", "type_name"),
    "create_domain_stmt": ("DOMAIN", "domainname"),
    "create_stats_stmt": ("STATISTICS", "defnames"),
}
_SAME_SWITCH = {
    "AT_EnableTrig": "DISABLE TRIGGER",
    "AT_DisableTrig": "ENABLE TRIGGER",
}
_SAME_SWITCH_ALONE = {
    "AT_EnableRowSecurity": "DISABLE ROW LEVEL SECURITY",
    "AT_ForceRowSecurity": "NO FORCE ROW LEVEL SECURITY",
}


def _dotted(parts: list[str]) -> str:
    return ".".join(quoted(p) for p in parts)


def _drop(word: str, name: str) -> str:
    return f"DROP {word} {name};"


def _beside(range_var: Any, name: str) -> str:
    return ".".join(quoted(p) for p in (range_var.schemaname, name) if p)


def _table(stmt: Any) -> str:
    return "" if stmt.if_not_exists else _drop("TABLE", written(stmt.relation))


def _foreign_table(stmt: Any) -> str:
    return "" if stmt.base_stmt.if_not_exists else _drop("FOREIGN TABLE", written(stmt.base_stmt.relation))


def _table_as(stmt: Any) -> str:
    word = "MATERIALIZED VIEW" if stmt.objtype == pb.OBJECT_MATVIEW else "TABLE"
    return "" if stmt.if_not_exists else _drop(word, written(stmt.into.rel))


def _index(stmt: Any) -> str:
    if stmt.if_not_exists or (not stmt.idxname and any(not inner(p).name for p in stmt.index_params)):
        return ""
    return _drop("INDEX CONCURRENTLY" if stmt.concurrent else "INDEX", _beside(stmt.relation, index_name(stmt)))


def _view(stmt: Any) -> str:
    return "" if stmt.replace else _drop("VIEW", written(stmt.view))


def _trigger(stmt: Any) -> str:
    return "" if stmt.replace else f"DROP TRIGGER {quoted(stmt.trigname)} ON {written(stmt.relation)};"


def _function(stmt: Any) -> str:
    if stmt.replace:
        return ""
    tree = pb.ParseResult()
    drop = tree.stmts.add().stmt.drop_stmt
    drop.remove_type = pb.OBJECT_PROCEDURE if stmt.is_procedure else pb.OBJECT_FUNCTION
    drop.behavior = pb.DROP_RESTRICT
    named = drop.objects.add().object_with_args
    named.objname.extend(stmt.funcname)
    for node in stmt.parameters:
        parameter = inner(node)
        if parameter.mode in (pb.FUNC_PARAM_IN, pb.FUNC_PARAM_INOUT, pb.FUNC_PARAM_VARIADIC, pb.FUNC_PARAM_DEFAULT):
            named.objargs.add().type_name.CopyFrom(parameter.arg_type)
    return deparsed(tree)


def _sequence(stmt: Any) -> str:
    return "" if stmt.if_not_exists else _drop("SEQUENCE", written(stmt.sequence))


def _schema(stmt: Any) -> str:
    simple = stmt.schemaname and not stmt.if_not_exists and not stmt.schema_elts
    return _drop("SCHEMA", quoted(stmt.schemaname)) if simple else ""


def _extension(stmt: Any) -> str:
    return "" if stmt.if_not_exists else _drop("EXTENSION", quoted(stmt.extname))


def _rename(stmt: Any) -> str:
    """RENAME of a relation, a column, a constraint, a trigger or a schema, the other way round."""
    kind, new, old = stmt.rename_type, quoted(stmt.newname), stmt.subname
    if kind == pb.OBJECT_SCHEMA:
        return f"ALTER SCHEMA {new} RENAME TO {quoted(old)};"
    if not stmt.HasField("relation"):
        return ""
    table = written(stmt.relation)
    if kind == pb.OBJECT_COLUMN:
        word = enum_words(pb.ObjectType, stmt.relation_type)
        return f"ALTER {word} {table} RENAME COLUMN {new} TO {quoted(old)};"
    if kind == pb.OBJECT_TABCONSTRAINT:
        return f"ALTER TABLE {table} RENAME CONSTRAINT {new} TO {quoted(old)};"
    if kind == pb.OBJECT_TRIGGER:
        return f"ALTER TRIGGER {new} ON {table} RENAME TO {quoted(old)};"
    if kind in (pb.OBJECT_TABLE, pb.OBJECT_INDEX, pb.OBJECT_VIEW, pb.OBJECT_MATVIEW, pb.OBJECT_SEQUENCE):
        word = enum_words(pb.ObjectType, kind)
        return f"ALTER {word} {_beside(stmt.relation, stmt.newname)} RENAME TO {quoted(stmt.relation.relname)};"
    return ""


def _alter_table(stmt: Any) -> str:
    """Each subcommand back, the last first; nothing where one of them cannot be derived."""
    if stmt.missing_ok or stmt.objtype not in (pb.OBJECT_TABLE, pb.OBJECT_FOREIGN_TABLE):
        return ""
    back = [_subcommand(stmt.relation, inner(node)) for node in stmt.cmds]
    if not back or not all(back):
        return ""
    word = enum_words(pb.ObjectType, stmt.objtype)
    return f"ALTER {word} {written(stmt.relation)} {', '.join(reversed(back))};"


def _subcommand(table: Any, cmd: Any) -> str:
    name = str(pb.AlterTableType.Name(cmd.subtype))
    if name == "AT_AddColumn" and not cmd.missing_ok:
        return f"DROP COLUMN {quoted(definition(cmd).colname)}"
    if name == "AT_AddConstraint":
        constraint = definition(cmd)
        sure = constraint.conname or constraint.contype in (pb.CONSTR_FOREIGN, pb.CONSTR_PRIMARY, pb.CONSTR_UNIQUE)
        if not constraint.conname and (len(strings(constraint.fk_attrs)) > 1 or constraint.indexname):
            return ""
        return f"DROP CONSTRAINT {quoted(constraint_name(table, constraint))}" if sure else ""
    if name == "AT_AttachPartition":
        return f"DETACH PARTITION {written(definition(cmd).name)}"
    if name == "AT_AddInherit":
        return f"NO INHERIT {written(definition(cmd))}"
    if name in _SAME_SWITCH:
        return f"{_SAME_SWITCH[name]} {quoted(cmd.name)}"
    return _SAME_SWITCH_ALONE.get(name, "")


_BACK: dict[str, Callable[[Any], str]] = {
    "alter_table_stmt": _alter_table,
    "create_extension_stmt": _extension,
    "create_foreign_table_stmt": _foreign_table,
    "create_function_stmt": _function,
    "create_schema_stmt": _schema,
    "create_seq_stmt": _sequence,
    "create_stmt": _table,
    "create_table_as_stmt": _table_as,
    "create_trig_stmt": _trigger,
    "index_stmt": _index,
    "rename_stmt": _rename,
    "view_stmt": _view,
    "composite_type_stmt": lambda stmt: _drop("TYPE", written(stmt.typevar)),
    "create_policy_stmt": lambda stmt: f"DROP POLICY {quoted(stmt.policy_name)} ON {written(stmt.table)};",
    "create_publication_stmt": lambda stmt: _drop("PUBLICATION", quoted(stmt.pubname)),
    "create_role_stmt": lambda stmt: _drop("ROLE", quoted(stmt.role)),
}


def inverse(statement_sql: str) -> str:
    """The statement that takes ``statement_sql`` back, or an empty string where the text does not tell.

    What was there before (OR REPLACE, IF NOT EXISTS, a default, a type) is not in the text, so nothing is guessed.
    """
    if "\x00" in statement_sql:
        return ""
    try:
        stmts = parse(statement_sql)
    except (postgast.PgQueryError, DecodeError, ValueError, RecursionError):
        return ""
    if len(stmts) != 1:
        return ""
    name, stmt = which(stmts[0].stmt), inner(stmts[0].stmt)
    if name in _CREATED_BY_NAMES:
        word, field = _CREATED_BY_NAMES[name]
        parts = strings(getattr(stmt, field))
        return _drop(word, _dotted(parts)) if parts and not getattr(stmt, "if_not_exists", False) else ""
    back = _BACK.get(name)
    return back(stmt) if back else ""
