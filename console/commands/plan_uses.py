"""What the files of a plan make, name and drop, statement by statement in the order they run."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import postgast
from google.protobuf.message import DecodeError
from postgast import pg_query_pb2 as pb

from console.plan.model import Kind, Plan, Task
from console.sql.advice import constraint_name
from console.sql.columns import type_text
from console.sql.drops import object_name
from console.sql.model import Statement
from console.sql.nodes import definition, inner, plain_name, relation, strings, which, written
from console.sql.split import read_parts

_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*")
_BODIES = frozenset({"create_function_stmt", "view_stmt", "create_trig_stmt", "create_table_as_stmt"})
_INDEXED = (pb.CONSTR_PRIMARY, pb.CONSTR_UNIQUE, pb.CONSTR_EXCLUSION)
_CALLED = (pb.OBJECT_FUNCTION, pb.OBJECT_PROCEDURE, pb.OBJECT_ROUTINE)
_RELATIONS = (pb.OBJECT_TABLE, pb.OBJECT_VIEW, pb.OBJECT_MATVIEW, pb.OBJECT_FOREIGN_TABLE, pb.OBJECT_SEQUENCE)


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """A foreign key that the plan makes. ``statement``: the statement's place among all uses."""

    at: int
    table: str
    table_sql: str
    columns: tuple[str, ...]
    target: str
    target_columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Gone:
    """A name that a statement takes away: a relation or function, or a column of ``table``."""

    at: int
    name: str
    table: str = ""
    renamed: bool = False
    called: bool = False  # a function or procedure
    bodies: tuple[tuple[str, Use], ...] = ()  # functions, views and triggers that stand then and hold the word

    @property
    def bare(self) -> str:
        """The name without its schema, as words are compared."""
        return self.name.rsplit(".", 1)[-1].lower()


@dataclass
class Use:
    """One statement of one task's way forward; ``task`` is None for the plan's baseline."""

    task: Task | None
    sql: str
    line: int
    file: str
    node: Any
    statement: Statement | None = None

    @cached_property
    def words(self) -> frozenset[str]:
        """Every word of the statement, those inside its bodies and texts too."""
        return frozenset(word.lower() for word in _WORD.findall(self.sql))

    @property
    def kind(self) -> str:
        """The name of its node."""
        return which(self.node) if self.node is not None else ""

    @property
    def where(self) -> str:
        """File and line."""
        return f"{self.file}:{self.line}"


@dataclass
class Uses:
    """Everything the plan's files do, in order."""

    all: list[Use] = field(default_factory=list)
    made: dict[str, int] = field(default_factory=dict)  # relation -> the use that makes it
    columns: dict[str, dict[str, str]] = field(default_factory=dict)  # relation -> column -> type
    indexes: dict[str, list[tuple[str, ...]]] = field(default_factory=dict)  # relation -> columns of each index
    keys: dict[str, list[tuple[str, ...]]] = field(default_factory=dict)  # relation -> columns of each unique one
    foreign_keys: list[ForeignKey] = field(default_factory=list)
    gone: list[Gone] = field(default_factory=list)
    unvalidated: dict[tuple[str, str], int] = field(default_factory=dict)  # (table, constraint) added NOT VALID
    in_database: set[str] = field(default_factory=set)  # relations whose indexes the database was asked for
    standing: dict[str, Use] = field(default_factory=dict)  # functions, views and triggers by name, at the current use

    def known(self, table: str) -> bool:
        """Whether all columns and indexes of the table are in the plan's files."""
        return table in self.made

    def _add(self, use: Use) -> None:
        at = len(self.all)
        self.all.append(use)
        if use.node is None:
            return
        stmt = inner(use.node)
        if use.kind in _BODIES:
            self.standing[_made_name(use)] = use
        match use.kind:
            case "create_stmt":
                self._create(at, stmt)
            case "alter_table_stmt":
                self._alter(at, stmt)
            case "index_stmt":
                self._index(relation(stmt.relation), tuple(inner(p).name for p in stmt.index_params), stmt.unique)
            case "drop_stmt":
                self._drop(at, stmt)
            case "rename_stmt":
                self._rename(at, stmt)
            case "view_stmt":
                self.made[relation(stmt.view)] = at
            case "create_table_as_stmt":
                self.made[relation(stmt.into.rel)] = at
            case "create_function_stmt":
                self.made[plain_name(strings(stmt.funcname))] = at

    def _create(self, at: int, stmt: Any) -> None:
        table = relation(stmt.relation)
        self.made[table] = at
        for element in (inner(node) for node in stmt.table_elts):
            if isinstance(element, pb.ColumnDef):
                self._column(at, stmt.relation, element)
            elif isinstance(element, pb.Constraint):
                self._constraint(at, stmt.relation, element)

    def _column(self, at: int, table: Any, column: Any) -> None:
        self.columns.setdefault(relation(table), {})[column.colname] = type_text(column.type_name)
        for constraint in (inner(node) for node in column.constraints):
            own = pb.Constraint()
            own.CopyFrom(constraint)
            if own.contype == pb.CONSTR_FOREIGN and not own.fk_attrs:
                own.fk_attrs.add().string.sval = column.colname
            elif own.contype in _INDEXED and not own.keys:
                own.keys.add().string.sval = column.colname
            self._constraint(at, table, own)

    def _constraint(self, at: int, table: Any, constraint: Any) -> None:
        name = relation(table)
        if constraint.contype == pb.CONSTR_FOREIGN:
            self.foreign_keys.append(
                ForeignKey(
                    at, name, written(table), tuple(strings(constraint.fk_attrs)), relation(constraint.pktable),
                    tuple(strings(constraint.pk_attrs)),
                )
            )  # fmt: skip
        elif constraint.contype in _INDEXED:
            self._index(name, tuple(strings(constraint.keys)), unique=True)
        if constraint.skip_validation:
            self.unvalidated[(name, constraint_name(table, constraint))] = at

    def _index(self, table: str, columns: tuple[str, ...], unique: bool) -> None:
        if columns:
            self.indexes.setdefault(table, []).append(columns)
            if unique:
                self.keys.setdefault(table, []).append(columns)

    def _alter(self, at: int, stmt: Any) -> None:
        table = relation(stmt.relation)
        for cmd in (inner(node) for node in stmt.cmds):
            match cmd.subtype:
                case pb.AT_AddColumn:
                    self._column(at, stmt.relation, definition(cmd))
                case pb.AT_AlterColumnType:
                    self.columns.setdefault(table, {})[cmd.name] = type_text(definition(cmd).type_name)
                case pb.AT_AddConstraint:
                    self._constraint(at, stmt.relation, definition(cmd))
                case pb.AT_ValidateConstraint | pb.AT_DropConstraint:
                    self.unvalidated.pop((table, cmd.name), None)
                case pb.AT_DropColumn:
                    self._lose(Gone(at, cmd.name, table))

    def _drop(self, at: int, stmt: Any) -> None:
        if stmt.remove_type in (*_RELATIONS, *_CALLED):
            for node in stmt.objects:
                name = plain_name(object_name(node))
                self._lose(Gone(at, name, called=stmt.remove_type in _CALLED))
                self.unvalidated = {key: where for key, where in self.unvalidated.items() if key[0] != name}

    def _rename(self, at: int, stmt: Any) -> None:
        if stmt.rename_type in _RELATIONS and stmt.HasField("relation"):
            self._lose(Gone(at, relation(stmt.relation), renamed=True))
        elif stmt.rename_type == pb.OBJECT_COLUMN and stmt.HasField("relation"):
            self._lose(Gone(at, stmt.subname, relation(stmt.relation), renamed=True))

    @cached_property
    def _mentions(self) -> dict[str, list[int]]:
        """For each word that some name is lost by, the uses that hold it. Asked once everything is read."""
        wanted = frozenset(gone.bare for gone in self.gone)
        found: dict[str, list[int]] = {word: [] for word in wanted}
        for number, use in enumerate(self.all):
            for word in wanted & use.words:
                found[word].append(number)
        return found

    def after(self, gone: Gone) -> Iterator[Use]:
        """The later uses that hold the lost name as a word."""
        numbers = self._mentions[gone.bare]
        return (self.all[number] for number in numbers[bisect_right(numbers, gone.at) :])

    def _lose(self, gone: Gone) -> None:
        """Note a name that goes, with the bodies that hold it."""
        if not gone.table:
            self.standing.pop(gone.name, None)
        bare = gone.bare
        bodies = tuple((name, use) for name, use in self.standing.items() if bare in use.words)
        self.gone.append(replace(gone, bodies=bodies))


def _made_name(use: Use) -> str:
    stmt = inner(use.node)
    match use.kind:
        case "view_stmt":
            return relation(stmt.view)
        case "create_table_as_stmt":
            return relation(stmt.into.rel)
        case "create_trig_stmt":
            return f"{stmt.trigname} on {relation(stmt.relation)}"
    return plain_name(strings(stmt.funcname))


def _node(sql: str) -> Any:
    """The statement's tree; None where it has none."""
    try:
        found = postgast.parse(sql).stmts
    except (postgast.PgQueryError, DecodeError, RecursionError):
        return None
    return found[0].stmt if len(found) == 1 else None


Reads = Callable[[Task], Sequence[Statement]]


def uses_of(plan: Plan, read: Reads) -> Uses:
    """What the plan's baseline and the ways forward of its SQL tasks do."""
    uses = Uses()
    if plan.baseline is not None:
        for part in read_parts(plan.baseline.text):
            uses._add(Use(None, part.sql, part.line, plan.baseline.path, part.node))
    for task in plan.tasks:
        if task.kind is Kind.SQL:
            for one in read(task):
                uses._add(Use(task, one.sql, one.line, one.file, _node(one.sql), one))
    return uses
