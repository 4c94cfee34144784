"""Locks and hazards of DROP."""

from __future__ import annotations

from typing import Any

from postgast import pg_query_pb2 as pb

from console.sql.facts import Facts
from console.sql.locks import ACCESS_EXCLUSIVE, SHARE_UPDATE
from console.sql.nodes import enum_words, inner, plain_name, quoted, strings

_RELATIONS = frozenset(
    {pb.OBJECT_TABLE, pb.OBJECT_VIEW, pb.OBJECT_MATVIEW, pb.OBJECT_SEQUENCE, pb.OBJECT_FOREIGN_TABLE, pb.OBJECT_INDEX}
)
_ON_TABLE = frozenset({pb.OBJECT_TRIGGER, pb.OBJECT_RULE, pb.OBJECT_POLICY})
_CALLED = frozenset({pb.OBJECT_FUNCTION, pb.OBJECT_PROCEDURE, pb.OBJECT_ROUTINE, pb.OBJECT_AGGREGATE})


def object_name(node: Any) -> list[str]:
    """The parts of the name of a dropped object."""
    value = inner(node)
    if isinstance(value, pb.List):
        return strings(value.items)
    if isinstance(value, pb.TypeName):
        return strings(value.names)
    if isinstance(value, pb.ObjectWithArgs):
        return strings(value.objname)
    return [value.sval] if isinstance(value, pb.String) else []


def drop(facts: Facts, stmt: Any) -> None:
    """DROP of anything."""
    kind = stmt.remove_type
    cascade = stmt.behavior == pb.DROP_CASCADE
    for node in stmt.objects:
        parts = object_name(node)
        name = plain_name(parts)
        hot = not facts.is_new(name)
        if kind in _ON_TABLE:
            table = plain_name(parts[:-1])
            facts.table(table, ACCESS_EXCLUSIVE)
            hot = not facts.is_new(table)
        elif kind == pb.OBJECT_INDEX:
            _index(facts, stmt, name, parts)
        elif kind in _RELATIONS:
            facts.table(name, ACCESS_EXCLUSIVE)
            facts.gone.add(name)
        if kind in (pb.OBJECT_TABLE, pb.OBJECT_FOREIGN_TABLE):
            _table(facts, name, parts, hot)
        elif kind == pb.OBJECT_TYPE:
            facts.lock(name, ACCESS_EXCLUSIVE)  # a composite type is a relation
            facts.gone.add(name)
        elif kind == pb.OBJECT_STATISTIC_EXT:
            facts.lock(f"table of statistics {name}", SHARE_UPDATE, "assumed")
        elif kind in _CALLED:
            _called(facts, name, hot)
        elif kind == pb.OBJECT_SCHEMA:
            facts.gone.add(name)
            if cascade:
                facts.lock(f"everything in schema {name}", ACCESS_EXCLUSIVE, "grammar")
                facts.lock(f"tables that those in schema {name} reference", ACCESS_EXCLUSIVE, "assumed")
        elif kind in (pb.OBJECT_VIEW, pb.OBJECT_MATVIEW, pb.OBJECT_SEQUENCE) and hot:
            word = enum_words(pb.ObjectType, kind).lower()
            facts.warn("DROP-OBJECT", f"Running applications that use the {word} {name} fail.", "")
        if cascade and hot:
            facts.lock(f"whatever depends on {name}", ACCESS_EXCLUSIVE, "assumed")
            facts.warn(
                "CASCADE",
                f"Whatever depends on {name} goes too, without being named: views, foreign keys, columns, triggers.",
                "Leave CASCADE out and name each object in a DROP of its own.",
            )


def _index(facts: Facts, stmt: Any, name: str, parts: list[str]) -> None:
    table = facts.known.index_table.get(name)
    mode = SHARE_UPDATE if stmt.concurrent else ACCESS_EXCLUSIVE
    facts.lock(table or f"table of index {name}", mode, "grammar" if table else "assumed")
    # CONCURRENTLY ends with a short ACCESS EXCLUSIVE on the index, when no query can use it any more
    facts.lock(name, ACCESS_EXCLUSIVE)
    facts.gone.add(name)
    on_new = table is not None and facts.is_new(table)
    if stmt.concurrent:
        facts.words = "nobody waits" if on_new else "other schema changes wait"
    elif not on_new:
        facts.warn(
            "DROP-INDEX-NOT-CONCURRENT",
            "Reads and writes of the index's table wait, behind every query that is running on it.",
            f"DROP INDEX CONCURRENTLY {'IF EXISTS ' * stmt.missing_ok}{'.'.join(quoted(p) for p in parts)};",
        )


def _table(facts: Facts, name: str, parts: list[str], hot: bool) -> None:
    if name in facts.known.made_here:
        for target in facts.known.references.get(name, ()):
            if target != name:
                facts.lock(target, ACCESS_EXCLUSIVE)
    else:
        facts.lock(f"tables that {name} references", ACCESS_EXCLUSIVE, "assumed")
        facts.lock(f"sequences of {name}", ACCESS_EXCLUSIVE, "assumed")
        facts.lock(f"parent of {name}", ACCESS_EXCLUSIVE, "assumed")
    if hot:
        facts.warn(
            "DROP-TABLE",
            f"The rows of {name} are gone, and running applications that use it fail.",
            f"ALTER TABLE {'.'.join(quoted(p) for p in parts)} SET SCHEMA <archive>; can be taken back, a drop cannot.",
        )


def _called(facts: Facts, name: str, hot: bool) -> None:
    facts.gone.add(name)
    facts.known.routines.pop(name, None)
    if hot:
        facts.warn("DROP-OBJECT", f"Running applications and triggers that call {name}() fail.", "")
