"""Locks of SELECT, INSERT, UPDATE, DELETE, MERGE and COPY: which relations they name, and how.

What changing rows sets off is assumed to lock as a change of rows does: foreign keys and sequences do; a trigger that
the sequence did not make is not read.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from postgast import pg_query_pb2 as pb

from console.sql.columns import varies
from console.sql.facts import Facts
from console.sql.functions import STEADY, VOLATILE
from console.sql.locks import ACCESS_EXCLUSIVE, ACCESS_SHARE, LEVEL, ROW_EXCLUSIVE, ROW_SHARE
from console.sql.nodes import children, descend, inner, plain_name, relation, strings, which, written

_SEQUENCE_CALLS = frozenset({"nextval", "setval"})
_WRITERS = (pb.InsertStmt, pb.UpdateStmt, pb.DeleteStmt, pb.MergeStmt)


def _locked(select: Any) -> tuple[set[int], bool]:
    """Which FROM items (by identity) a SELECT ... FOR UPDATE or FOR SHARE locks, and whether it locks any."""
    if not select.locking_clause:
        return set(), False
    names: set[str] = set()
    everything = False
    for clause in select.locking_clause:
        rels = [inner(r).relname for r in inner(clause).locked_rels]
        names.update(rels)
        everything = everything or not rels
    chosen = set()
    for item in select.from_clause:
        for node in descend(inner(item)):
            alias = node.alias.aliasname if isinstance(node, (pb.RangeVar, pb.RangeSubselect)) else ""
            if isinstance(node, pb.RangeVar) and (everything or (alias or node.relname) in names):
                chosen.add(id_of(node))
            elif isinstance(node, pb.RangeSubselect) and alias in names:
                chosen.update(id_of(n) for n in descend(node) if isinstance(n, pb.RangeVar))
    return chosen, True


def id_of(range_var: Any) -> int:
    """A relation's place in the text tells it from another mention of the same name."""
    return int(range_var.location)


class _Reader:
    """Walks a query with the names of its WITH clauses in view."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.row_locked: set[int] = set()

    def visit(self, node: Any, hidden: frozenset[str]) -> None:
        """Note every relation below ``node`` that is not the name of a WITH query in ``hidden``."""
        if isinstance(node, pb.RangeVar):
            if node.schemaname or node.relname not in hidden:
                mode = ROW_SHARE if id_of(node) in self.row_locked else ACCESS_SHARE
                self.facts.table(relation(node), mode)
            return
        if isinstance(node, pb.FuncCall):
            call(self.facts, node)
        if isinstance(node, pb.SelectStmt) and node.locking_clause:
            self.row_locked |= _locked(node)[0]
        if isinstance(node, pb.SelectStmt) and node.from_clause:
            self.facts.costs(scan=None)
        if isinstance(node, _WRITERS):
            self.facts.table(relation(node.relation), ROW_EXCLUSIVE)
            row_changes(self.facts, relation(node.relation))
            if not isinstance(node, pb.InsertStmt):
                self.facts.costs(scan=None)
        into = node.into_clause if isinstance(node, pb.SelectStmt) and node.HasField("into_clause") else None
        if into is not None:
            self.facts.make(relation(into.rel))
        hidden = self._with(node, hidden)
        target = node.relation if isinstance(node, _WRITERS) else None
        for child in children(node):
            if child is into or child == target or isinstance(child, (pb.WithClause, pb.IntoClause)):
                continue
            self.visit(child, hidden)

    def _with(self, node: Any, hidden: frozenset[str]) -> frozenset[str]:
        if "with_clause" not in node.DESCRIPTOR.fields_by_name or not node.HasField("with_clause"):
            return hidden
        ctes = [inner(c) for c in node.with_clause.ctes]
        if node.with_clause.recursive:
            hidden |= {c.ctename for c in ctes}
        for cte in ctes:
            self.visit(inner(cte.ctequery), hidden)
            hidden |= {cte.ctename}
        return hidden


def call(facts: Facts, node: Any) -> None:
    """Note what calling a function may do: nothing for PostgreSQL's own, anything for one that was not read."""
    parts = strings(node.funcname)
    name = plain_name(parts)
    bare = parts[-1] if len(parts) == 1 or parts[0] == "pg_catalog" else ""
    if bare in _SEQUENCE_CALLS:
        argument = inner(node.args[0]) if node.args else None
        while isinstance(argument, pb.TypeCast):
            argument = inner(argument.arg)
        if isinstance(argument, pb.A_Const) and argument.HasField("sval"):
            facts.lock(plain_name(argument.sval.sval.replace('"', "").split(".")), ROW_EXCLUSIVE)
    if bare in VOLATILE or bare in STEADY:
        return
    if name in facts.known.routines:
        facts.include(facts.known.routines[name], named=False)
        return
    if varies(parts, facts) is False:  # the server lets a stable function read, and nothing else
        facts.lock(f"whatever {name}() uses", ACCESS_SHARE, "assumed")
        facts.costs(scan=None)
        return
    facts.lock(f"whatever {name}() uses", ACCESS_EXCLUSIVE, "assumed")
    facts.costs(rewrite=None, scan=None)
    facts.words = f"unknown, {name}() was not read: count on reads and writes waiting"


def fire_triggers(facts: Facts, table: str) -> None:
    """Note what the triggers do that this sequence made on ``table``."""
    for name in sorted(facts.known.triggers.get(table, ())):
        if name in facts.known.routines:
            facts.include(facts.known.routines[name], named=False)
        else:
            facts.lock(f"whatever {name}() uses", ACCESS_EXCLUSIVE, "assumed")


def row_changes(facts: Facts, table: str) -> None:
    """Note what changing rows reaches besides: foreign keys look up or change rows, triggers fire, sequences count."""
    fire_triggers(facts, table)
    if table not in facts.known.made_here:
        facts.lock(f"whatever changes in {table} set off", ROW_EXCLUSIVE, "assumed")
        return
    for target in facts.known.references.get(table, ()):
        facts.lock(target, ROW_SHARE)
    for other, targets in facts.known.references.items():
        if table in targets:
            facts.lock(other, ROW_EXCLUSIVE)


def read_pure(facts: Facts, node: Any) -> None:
    """Note what an expression calls that must be immutable: such a function can read, and nothing else."""
    for part in descend(node):
        if isinstance(part, pb.FuncCall):
            names = strings(part.funcname)
            if names[-1] not in STEADY:
                facts.lock(f"whatever {plain_name(names)}() uses", ACCESS_SHARE, "assumed")


def read_query(facts: Facts, stmt: Any) -> None:
    """Note every relation a query or a change of rows names."""
    _Reader(facts).visit(stmt, frozenset())


def read_reads(facts: Facts, nodes: Iterable[Any]) -> None:
    """Note the relations below each of these nodes."""
    for node in nodes:
        read_query(facts, node)


def select(facts: Facts, stmt: Any) -> None:
    """SELECT, with or without INTO, FOR UPDATE and data-changing WITH queries."""
    read_query(facts, stmt)
    _rows_wait(facts)


def insert(facts: Facts, stmt: Any) -> None:
    """INSERT."""
    read_query(facts, stmt)
    _rows_wait(facts)


def update(facts: Facts, stmt: Any) -> None:
    """UPDATE."""
    read_query(facts, stmt)
    name = relation(stmt.relation)
    if not stmt.HasField("where_clause") and not facts.is_new(name):
        facts.scan = True
        facts.warn(
            "UPDATE-WITHOUT-WHERE",
            f"Every row of {name} is locked and written again in one transaction: writers of any row wait until it"
            " ends, and the table grows by its own size.",
            f"Write the rows in batches by key range, each its own transaction: UPDATE {written(stmt.relation)} SET ..."
            " WHERE <key> > <last> AND <key> <= <next>; (a backfill task does that)",
        )
    _rows_wait(facts)


def delete(facts: Facts, stmt: Any) -> None:
    """DELETE."""
    read_query(facts, stmt)
    name = relation(stmt.relation)
    if not stmt.HasField("where_clause") and not facts.is_new(name):
        facts.scan = True
        facts.warn(
            "DELETE-WITHOUT-WHERE",
            f"Every row of {name} is locked and removed in one transaction; the data is gone.",
            f"Keep the table aside (retire it), or delete in batches: DELETE FROM {written(stmt.relation)}"
            " WHERE <key> > <last> AND <key> <= <next>;",
        )
    _rows_wait(facts)


def merge(facts: Facts, stmt: Any) -> None:
    """MERGE."""
    read_query(facts, stmt)
    _rows_wait(facts)


def _rows_wait(facts: Facts) -> None:
    if facts.words or facts.doubt:
        return
    writes = [n for n, (m, _) in facts.held.items() if LEVEL[m] in (2, 3) and not facts.is_new(n)]
    strong = any(LEVEL[m] > LEVEL[ROW_EXCLUSIVE] and not facts.is_new(n) for n, (m, _) in facts.held.items())
    if writes and not strong:
        facts.words = "nobody waits, but for the rows it locks"


def copy(facts: Facts, stmt: Any) -> None:
    """COPY with a file or a program of the server, or a query."""
    if which(stmt.query):
        read_query(facts, inner(stmt.query))
        facts.scan = None
    else:
        facts.table(relation(stmt.relation), ROW_EXCLUSIVE if stmt.is_from else ACCESS_SHARE)
        facts.scan = not stmt.is_from
        if stmt.is_from:
            row_changes(facts, relation(stmt.relation))
