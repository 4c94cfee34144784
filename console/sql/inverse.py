"""The way back of one statement, where it can be derived from its text alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import postgast
from google.protobuf.message import DecodeError
from postgast import pg_query_pb2 as pb

from console.sql.grammar import parse
from console.sql.nodes import definition, enum_words, inner, quoted, strings, which, written
from console.sql.objects import deparsed

_CREATED_BY_NAMES = {
    "create_enum_stmt": ("TYPE", "type_name"),
    "create_range_stmt": ("TYPE", "type_name"),
    "create_domain_stmt": ("DOMAIN", "domainname"),
    "create_stats_stmt": ("STATISTICS", "defnames"),
}
_RELATIONS = frozenset(
    {pb.OBJECT_TABLE, pb.OBJECT_INDEX, pb.OBJECT_VIEW, pb.OBJECT_MATVIEW, pb.OBJECT_SEQUENCE, pb.OBJECT_FOREIGN_TABLE}
)
_NAMED = frozenset({pb.OBJECT_TYPE, pb.OBJECT_DOMAIN, pb.OBJECT_STATISTIC_EXT})
# They leave the schema as it was.
_NOTHING = frozenset(
    f"{name}_stmt"
    for name in """
    check_point close_portal constraints_set deallocate declare_cursor discard fetch listen lock notify prepare reindex
    unlisten vacuum variable_set variable_show
    """.split()  # noqa: SIM905
)
_WHY_NOT = {
    "alter_enum_stmt": "a value of an enum cannot be removed",
    "alter_table_stmt": "what was there before is not in the text, or something of it stays",
    "call_stmt": "what it runs is not in the text",
    "comment_stmt": "what the comment was before is not in the text",
    "copy_stmt": "which rows it brings is not in the text",
    "delete_stmt": "the rows that it deletes are not in the text",
    "do_stmt": "what it runs is not derived",
    "drop_stmt": "how the object was made, and its rows, are not in the text",
    "grant_stmt": "what was granted before is not in the text",
    "index_stmt": "the index has no name in the text, or may have been there before",
    "insert_stmt": "which rows are its own is not in the text",
    "rename_stmt": "it may pass over what is not there, or its name is of another kind",
    "truncate_stmt": "the rows that it removes are not in the text",
    "update_stmt": "the values that it overwrites are not in the text",
}
_SWITCHES = frozenset({"AT_EnableTrig", "AT_DisableTrig", "AT_EnableRowSecurity", "AT_ForceRowSecurity"})
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
    """A partition is detached first: what references its parent would hold it fast."""
    if stmt.if_not_exists:
        return ""
    table = written(stmt.relation)
    detach = ""
    if stmt.HasField("partbound"):
        detach = f"ALTER TABLE {written(inner(stmt.inh_relations[0]))} DETACH PARTITION {table};\n"
    return detach + _drop("TABLE", table)


def _foreign_table(stmt: Any) -> str:
    return "" if stmt.base_stmt.if_not_exists else _drop("FOREIGN TABLE", written(stmt.base_stmt.relation))


def _table_as(stmt: Any) -> str:
    word = "MATERIALIZED VIEW" if stmt.objtype == pb.OBJECT_MATVIEW else "TABLE"
    return "" if stmt.if_not_exists else _drop(word, written(stmt.into.rel))


def _index(stmt: Any) -> str:
    if stmt.if_not_exists or not stmt.idxname:
        return ""
    return _drop("INDEX CONCURRENTLY" if stmt.concurrent else "INDEX", _beside(stmt.relation, stmt.idxname))


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
    if stmt.missing_ok:
        return ""
    if kind == pb.OBJECT_SCHEMA:
        return f"ALTER SCHEMA {new} RENAME TO {quoted(old)};"
    if kind in _NAMED:
        value = inner(stmt.object)
        parts = strings(value.items if isinstance(value, pb.List) else value.names)
        renamed = _dotted([*parts[:-1], stmt.newname])
        return f"ALTER {enum_words(pb.ObjectType, kind)} {renamed} RENAME TO {quoted(parts[-1])};"
    if not stmt.HasField("relation"):
        return ""
    table = written(stmt.relation)
    if kind == pb.OBJECT_COLUMN:
        word = enum_words(pb.ObjectType, stmt.relation_type)
        return f"ALTER {word} {table} RENAME COLUMN {new} TO {quoted(old)};"
    if kind == pb.OBJECT_TABCONSTRAINT:
        return f"ALTER TABLE {table} RENAME CONSTRAINT {new} TO {quoted(old)};"
    if kind == pb.OBJECT_ATTRIBUTE:
        cascade = " CASCADE" if stmt.behavior == pb.DROP_CASCADE else ""
        return f"ALTER TYPE {table} RENAME ATTRIBUTE {new} TO {quoted(old)}{cascade};"
    if kind in (pb.OBJECT_TRIGGER, pb.OBJECT_RULE, pb.OBJECT_POLICY):
        return f"ALTER {enum_words(pb.ObjectType, kind)} {new} ON {table} RENAME TO {quoted(old)};"
    if kind in _RELATIONS:
        word = enum_words(pb.ObjectType, kind)
        return f"ALTER {word} {_beside(stmt.relation, stmt.newname)} RENAME TO {quoted(stmt.relation.relname)};"
    return ""


def _enum(stmt: Any) -> str:
    """RENAME VALUE; a value that was added stays."""
    if not stmt.old_val:
        return ""
    old, new = (value.replace("'", "''") for value in (stmt.old_val, stmt.new_val))
    return f"ALTER TYPE {_dotted(strings(stmt.type_name))} RENAME VALUE '{new}' TO '{old}';"


def _set_schema(stmt: Any) -> str:
    """SET SCHEMA of a relation whose old schema is in the text."""
    if stmt.missing_ok or not stmt.HasField("relation") or not stmt.relation.schemaname:
        return ""
    moved = _dotted([stmt.newschema, stmt.relation.relname])
    word = enum_words(pb.ObjectType, stmt.object_type)
    return f"ALTER {word} {moved} SET SCHEMA {quoted(stmt.relation.schemaname)};"


def _alter_table(stmt: Any) -> str:
    """Each subcommand back, the last first; nothing where one of them cannot be derived."""
    if stmt.missing_ok or stmt.objtype not in (pb.OBJECT_TABLE, pb.OBJECT_FOREIGN_TABLE):
        return ""
    back = [_subcommand(inner(node)) for node in stmt.cmds]
    if not back or not all(back):
        return ""
    word = enum_words(pb.ObjectType, stmt.objtype)
    return f"ALTER {word} {written(stmt.relation)} {', '.join(reversed(back))};"


def _subcommand(cmd: Any) -> str:
    name = str(pb.AlterTableType.Name(cmd.subtype))
    if name == "AT_AddColumn" and not cmd.missing_ok:
        return f"DROP COLUMN {quoted(definition(cmd).colname)}"
    if name == "AT_AddConstraint":
        constraint = definition(cmd)
        stays = constraint.contype == pb.CONSTR_PRIMARY or constraint.indexname  # NOT NULL; the index is lost
        return "" if stays or not constraint.conname else f"DROP CONSTRAINT {quoted(constraint.conname)}"
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
    "alter_enum_stmt": _enum,
    "alter_object_schema_stmt": _set_schema,
    "create_event_trig_stmt": lambda stmt: _drop("EVENT TRIGGER", quoted(stmt.trigname)),
    "create_fdw_stmt": lambda stmt: _drop("FOREIGN DATA WRAPPER", quoted(stmt.fdwname)),
    "create_foreign_server_stmt": lambda stmt: "" if stmt.if_not_exists else _drop("SERVER", quoted(stmt.servername)),
    "rule_stmt": lambda stmt: "" if stmt.replace else f"DROP RULE {quoted(stmt.rulename)} ON {written(stmt.relation)};",
    "create_policy_stmt": lambda stmt: f"DROP POLICY {quoted(stmt.policy_name)} ON {written(stmt.table)};",
    "create_publication_stmt": lambda stmt: _drop("PUBLICATION", quoted(stmt.pubname)),
    "create_role_stmt": lambda stmt: _drop("ROLE", quoted(stmt.role)),
}


@dataclass(frozen=True, slots=True)
class Back:
    """How to take a statement back.

    ``sql`` is empty where there is nothing to run: ``why_not`` then says why nothing could be derived, and is empty
    where nothing needs to be done. ``assumes`` is what must have been so before for ``sql`` to be right.
    """

    sql: str = ""
    why_not: str = ""
    assumes: str = ""


def way_back(statement_sql: str) -> Back:
    """How to take ``statement_sql`` back, as far as its text tells. Never raises.

    What was there before (OR REPLACE, IF NOT EXISTS, a default, a type, a name that the server chose) is not in the
    text, so nothing is guessed.
    """
    try:
        stmts = parse(statement_sql)
    except (postgast.PgQueryError, DecodeError, ValueError, RecursionError):
        stmts = []
    if len(stmts) != 1 or "\x00" in statement_sql:
        return Back(why_not="it was not understood")
    name, stmt = which(stmts[0].stmt), inner(stmts[0].stmt)
    if name in _NOTHING:
        return Back()
    if name in _CREATED_BY_NAMES:
        word, field = _CREATED_BY_NAMES[name]
        parts = strings(getattr(stmt, field))
        sql = _drop(word, _dotted(parts)) if parts and not getattr(stmt, "if_not_exists", False) else ""
    else:
        back = _BACK.get(name)
        sql = back(stmt) if back else ""
    if not sql:
        return Back(why_not=_WHY_NOT.get(name, "what was there before is not in the text"))
    switched = name == "alter_table_stmt" and any(
        pb.AlterTableType.Name(inner(cmd).subtype) in _SWITCHES for cmd in stmt.cmds
    )
    return Back(sql, assumes="it was the other way round before" if switched else "")


def inverse(statement_sql: str) -> str:
    """The statements that take ``statement_sql`` back, or an empty string where there is nothing to run."""
    return way_back(statement_sql).sql
