"""Hazards that a parse tree shows beside its locks: what breaks programs, what a session keeps, what cannot run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import postgast
from postgast import pg_query_pb2 as pb

from console.sql import advice
from console.sql.drops import object_name
from console.sql.facts import Facts
from console.sql.hazards import types, versions
from console.sql.locks import ACCESS_EXCLUSIVE
from console.sql.nodes import definition, enum_words, inner, plain_name, quoted, relation, strings, which, written

_LONGEST_NAME = 63  # NAMEDATALEN - 1, in bytes
_TIMEOUTS = frozenset({"lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout"})
_UNLIMITED = frozenset({"0", "0s", "0ms", "0min"})
_NAMED = {pb.OBJECT_TABCONSTRAINT: "constraint", pb.OBJECT_INDEX: "index"}
_ON_TABLE = {pb.OBJECT_TRIGGER: "trigger", pb.OBJECT_RULE: "rule", pb.OBJECT_POLICY: "policy"}
_PLAIN = {pb.OBJECT_DOMAIN: "domain", pb.OBJECT_TYPE: "type", pb.OBJECT_EXTENSION: "extension",
          pb.OBJECT_SCHEMA: "schema"}  # fmt: skip


def check(facts: Facts, node: Any) -> None:
    """Note the hazards of one statement's tree."""
    name, stmt = which(node), inner(node)
    versions.check(facts, name, stmt)
    types.check(facts, name, stmt)
    if reader := _CHECKS.get(name):
        reader(facts, stmt)


def long_names(facts: Facts, sql: str) -> None:
    """Names that PostgreSQL cuts."""
    if not any(len(word) > _LONGEST_NAME for word in sql.split()):
        return
    raw = sql.encode()
    for token in postgast.scan(sql).tokens:
        if token.token == pb.IDENT:
            name = raw[token.start : token.end].decode("utf-8", "replace").strip('"')
            kept = name.encode()[:_LONGEST_NAME].decode("utf-8", "ignore")
            if kept != name:
                facts.warn(
                    "IDENTIFIER-TOO-LONG", f"The server cuts {name} to {kept}.", f"Choose a name like {kept[:50]}."
                )


def _alter_table(facts: Facts, stmt: Any) -> None:
    table = stmt.relation
    if facts.is_new(relation(table)):
        return
    if stmt.objtype == pb.OBJECT_TYPE:
        _attributes(facts, stmt)
        return
    for node in stmt.cmds:
        cmd = inner(node)
        _subcommand(facts, table, cmd, str(pb.AlterTableType.Name(cmd.subtype)))
    _again(facts, relation(table))


def _attributes(facts: Facts, stmt: Any) -> None:
    """ALTER TYPE ... ATTRIBUTE."""
    name = relation(stmt.relation)
    for cmd in (inner(node) for node in stmt.cmds):
        if cmd.subtype == pb.AT_DropColumn:
            facts.warn("DROP-COLUMN", f"Functions and programs that name the attribute {cmd.name} of {name} fail.")
        elif cmd.subtype == pb.AT_AlterColumnType:
            facts.warn(
                "TYPE-CHANGE-REWRITE", f"Functions and tables of {name} meet another type of {cmd.name} at once."
            )


def _domain(facts: Facts, stmt: Any) -> None:
    """ALTER DOMAIN."""
    name = plain_name(strings(stmt.type_name))
    if facts.is_new(name):
        return
    match stmt.subtype:
        case "X":
            facts.warn("DROP-CONSTRAINT", f"What {stmt.name} kept out of columns of {name} can be written from now on.")
        case "N":
            facts.warn("DROP-NOT-NULL", f"Programs that read columns of {name} may meet NULL from now on.")
        case "T" if not which(getattr(stmt, "def")):
            facts.warn("DROP-DEFAULT", f"Programs that leave out columns of {name} write NULL from now on, or fail.")


def _again(facts: Facts, table: str) -> None:
    """Work through a table's rows while all wait, for the second time."""
    if not (facts.rewrite or facts.scan) or facts.held.get(table, ("", ""))[0] != ACCESS_EXCLUSIVE:
        return
    if table in facts.known.worked:
        facts.warn(
            "SEVERAL-ALTERS",
            f"An earlier statement worked through the rows of {table} under ACCESS EXCLUSIVE already.",
            "One ALTER TABLE with both actions, separated by a comma, does it once.",
        )
    facts.known.worked.add(table)


def _subcommand(facts: Facts, table: Any, cmd: Any, subcommand: str) -> None:
    name, alter = relation(table), f"ALTER TABLE {written(table)}"
    match subcommand:
        case "AT_DropNotNull":
            facts.warn("DROP-NOT-NULL", f"Programs that read {name}.{cmd.name} may meet NULL from now on.")
        case "AT_ColumnDefault" if not which(getattr(cmd, "def")):
            facts.warn("DROP-DEFAULT", f"Programs that leave {name}.{cmd.name} out write NULL from now on, or fail.")
        case "AT_DropConstraint" if (name, cmd.name) not in facts.known.constraints:
            facts.warn("DROP-CONSTRAINT", f"What {cmd.name} kept out of {name} can be written from now on.")
        case "AT_AlterConstraint" if definition(cmd).alter_enforceability and not definition(cmd).is_enforced:
            facts.warn(
                "DROP-CONSTRAINT", f"What {definition(cmd).conname} kept out of {name} can be written from now on."
            )
        case "AT_DropExpression":
            facts.warn("DROP-EXPRESSION", f"{name}.{cmd.name} is no longer computed: programs have to write it.")
        case "AT_AddIdentity" | "AT_DropIdentity":
            facts.warn(
                "ALTER-IDENTITY", f"Programs that write {name}.{cmd.name}, or that do not, may fail from now on."
            )
        case "AT_DisableTrig" | "AT_DisableTrigAll" | "AT_DisableTrigUser":
            which_one = f"trigger {cmd.name}" if cmd.name else "every trigger"
            facts.warn(
                "DISABLE-TRIGGER",
                f"Until it is on again, {which_one} of {name} does not fire for any session.",
                "BEGIN; SET LOCAL session_replication_role = 'replica'; ... COMMIT; (for this session alone)",
            )
        case "AT_ReplicaIdentity":
            facts.warn("REPLICA-IDENTITY", f"Updates and deletes of {name} reach subscribers otherwise, or fail.")
        case "AT_EnableRowSecurity" | "AT_DisableRowSecurity" | "AT_ForceRowSecurity" | "AT_NoForceRowSecurity":
            facts.warn("AUTHZ-CHANGE", f"Which rows of {name} a session sees changes at once.")
        case "AT_AddConstraint":
            _key_from_index(facts, table, definition(cmd), alter)


def _key_from_index(facts: Facts, table: Any, constraint: Any, alter: str) -> None:
    name = relation(table)
    if constraint.contype != pb.CONSTR_PRIMARY or not constraint.indexname:
        return
    index = plain_name(p for p in (table.schemaname, constraint.indexname) if p)
    for column in facts.known.index_columns.get(index, ()):
        if (name, column) in facts.known.nullable and (name, column) not in facts.known.proven:
            there = quoted(f"{table.relname}_{column}_not_null_check")
            facts.warn(
                "PK-NULLABLE-COLUMN",
                f"{column} may be NULL: every row of {name} is read while reads and writes wait.",
                f"{alter} ADD CONSTRAINT {there} CHECK ({quoted(column)} IS NOT NULL) NOT VALID;\n"
                f"{alter} VALIDATE CONSTRAINT {there};\n"
                f"{alter} ALTER COLUMN {quoted(column)} SET NOT NULL;\n"
                f"{alter} ADD CONSTRAINT {quoted(constraint.conname or constraint.indexname)} PRIMARY KEY USING INDEX"
                f" {quoted(constraint.indexname)};\n{alter} DROP CONSTRAINT {there};",
            )


def _rename(facts: Facts, stmt: Any) -> None:
    kind = stmt.rename_type
    word = _NAMED.get(kind) or _ON_TABLE.get(kind)
    if word and not facts.is_new(relation(stmt.relation)):
        old = stmt.subname or relation(stmt.relation)
        facts.warn("RENAME-OBJECT", f"Statements and scripts that name the {word} {old} fail from now on.")


def _drop(facts: Facts, stmt: Any) -> None:
    kind = stmt.remove_type
    for node in stmt.objects:
        parts = object_name(node)
        if word := _ON_TABLE.get(kind):
            table = plain_name(parts[:-1])
            if not facts.is_new(table):
                facts.warn("DROP-OBJECT", f"What the {word} {parts[-1]} of {table} did is no longer done.")
        elif (word := _PLAIN.get(kind)) and not facts.is_new(plain_name(parts)):
            facts.warn("DROP-OBJECT", f"Programs, tables and views that use the {word} {plain_name(parts)} fail.")


def _drop_database(facts: Facts, stmt: Any) -> None:
    facts.warn(
        "DROP-DATABASE", f"Everything in the database {stmt.dbname} is gone for good.", "Rename it, and drop it later."
    )


def _update(facts: Facts, stmt: Any) -> None:
    seen: set[str] = set()
    for node in stmt.target_list:
        target = inner(node)
        if not target.indirection and target.name in seen:
            facts.warn("DUPLICATE-ASSIGNMENT", f"{target.name} is assigned twice: the server refuses it.")
        seen.add(target.name)


def _sequence(facts: Facts, stmt: Any) -> None:
    name = relation(stmt.sequence)
    changed = {inner(o).defname for o in stmt.options} & {"restart", "start", "maxvalue", "minvalue", "increment", "as"}
    if changed and not facts.is_new(name):
        facts.warn(
            "SEQUENCE-VALUES", f"{name} may give numbers that are taken, or end early ({', '.join(sorted(changed))})."
        )


def _grant(facts: Facts, stmt: Any) -> None:
    what = enum_words(pb.ObjectType, stmt.objtype).lower()
    if stmt.targtype == pb.ACL_TARGET_ALL_IN_SCHEMA:
        names = [f"every {what} of schema {name}" for name in strings(stmt.objects) if name != "pgferry"]
    elif stmt.objtype not in (pb.OBJECT_TABLE, pb.OBJECT_SEQUENCE):
        found = [plain_name(object_name(n)) for n in stmt.objects]
        names = [f"{what} {name}" for name in found if not facts.is_new(name) and not name.startswith("pgferry.")]
    else:
        names = [
            relation(inner(n)) for n in stmt.objects if which(n) == "range_var" and not facts.is_new(relation(inner(n)))
        ]
    if names:
        verb = "may do more" if stmt.is_grant else "may do less"
        facts.warn("AUTHZ-CHANGE", f"Roles {verb} with {', '.join(names)} from now on.")


def _policy(facts: Facts, stmt: Any) -> None:
    if not facts.is_new(relation(stmt.table)):
        facts.warn("AUTHZ-CHANGE", f"Which rows of {relation(stmt.table)} a session sees or writes changes at once.")


def _server_setting(facts: Facts, stmt: Any) -> None:
    where = {
        "AlterSystemStmt": "the whole server",
        "AlterDatabaseSetStmt": "the database",
        "AlterRoleSetStmt": "a role",
    }
    facts.warn(
        "SERVER-SETTING", f"It changes {where.get(stmt.DESCRIPTOR.name, 'a role')} for sessions outside this plan."
    )


def _extension(facts: Facts, stmt: Any) -> None:
    facts.warn(
        "EXTENSION-UPDATE",
        f"The script of {stmt.extname} decides what is locked and changed; the way back is a script of its own, if any.",
        "Rehearse it on a copy of the database with the same versions.",
    )


def _replaced(facts: Facts, stmt: Any) -> None:
    if not stmt.replace:
        return
    match stmt.DESCRIPTOR.name:
        case "ViewStmt":
            name = relation(stmt.view)
        case "CreateTrigStmt":
            name = f"{stmt.trigname} of {relation(stmt.relation)}"
        case _:
            name = plain_name(strings(stmt.funcname))
    if not facts.is_new(name):
        facts.warn("REPLACED-IN-USE", f"If {name} exists, its callers meet the new definition at once.")


def _lock(facts: Facts, stmt: Any) -> None:
    names = [relation(inner(n)) for n in stmt.relations if not facts.is_new(relation(inner(n)))]
    if names:
        facts.warn("LOCK-TABLE", f"{', '.join(names)} stays locked until the transaction ends.")


def _set(facts: Facts, stmt: Any) -> None:
    if stmt.kind != pb.VAR_SET_VALUE or stmt.name not in _TIMEOUTS or not stmt.args:
        return
    value = inner(stmt.args[0])
    text = (
        value.sval.sval.strip() if value.HasField("sval") else str(value.ival.ival) if value.HasField("ival") else "?"
    )
    if stmt.name == "lock_timeout" and text.replace(" ", "") in _UNLIMITED:
        facts.warn(
            "LOCK-TIMEOUT-OFF",
            "A statement that waits for its lock keeps everybody behind it waiting, without end.",
            "SET LOCAL lock_timeout = '1s'; (pgferry sets it for each statement: leave it out)",
        )
    elif not stmt.is_local:
        facts.warn(
            "TIMEOUT-OUTLIVES-STATEMENT",
            f"{stmt.name} stays set for the statements after it, whatever runs them.",
            f"SET LOCAL {stmt.name} = '{text}'; in the transaction that needs it, or the task's own setting.",
        )


def _index(facts: Facts, stmt: Any) -> None:
    table = relation(stmt.relation)
    if stmt.concurrent and facts.known.is_partitioned(table):
        facts.warn(
            "CONCURRENT-ON-PARTITIONED",
            f"{table} is partitioned: the server refuses CONCURRENTLY on it.",
            advice.index_on_partitioned(stmt),
        )


_CHECKS: dict[str, Callable[[Facts, Any], None]] = {
    "alter_table_stmt": _alter_table,
    "rename_stmt": _rename,
    "drop_stmt": _drop,
    "dropdb_stmt": _drop_database,
    "update_stmt": _update,
    "alter_domain_stmt": _domain,
    "alter_seq_stmt": _sequence,
    "grant_stmt": _grant,
    "create_policy_stmt": _policy,
    "alter_policy_stmt": _policy,
    "alter_system_stmt": _server_setting,
    "alter_database_set_stmt": _server_setting,
    "alter_role_set_stmt": _server_setting,
    "alter_extension_stmt": _extension,
    "view_stmt": _replaced,
    "create_trig_stmt": _replaced,
    "create_function_stmt": _replaced,
    "lock_stmt": _lock,
    "variable_set_stmt": _set,
    "index_stmt": _index,
}
