"""What the scratch database holds before the first task, and what it lacks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import postgast
import psycopg
from postgast import pg_query_pb2 as pb
from psycopg import sql

from console.demo.generate import first_line, generate
from console.engine.derive import raw
from console.engine.files import pieces
from console.errors import FerryError, PlanError
from console.journal.connect import Conn
from console.plan.model import Plan, SourceFile, Task
from console.sql.nodes import descend, inner, which
from console.sql.split import Piece, split

Say = Callable[[str], None]
# What a statement meets where something it names was never made.
_UNDEFINED = re.compile(r"\((42883|42704|42P01|42703|3F000|42P02)\)")
_UNAVAILABLE = re.compile(r'extension "([^"]+)" is not available|extension/([\w-]+)\.control')


@dataclass
class Lacks:
    """What the scratch server does not have of what the target or the plan has.

    ``extensions`` by name; ``members``: names of functions, types and the like that belong to them, where known;
    ``objects``: names of what could not be made, each with the server's word.
    """

    extensions: list[str] = field(default_factory=list)
    members: set[str] = field(default_factory=set)
    objects: dict[str, str] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)

    def words(self) -> tuple[str, ...]:
        """All of it, a sentence each."""
        made = [f"extension {name}" for name in self.extensions]
        return (*made, *(f"{name}: {why}" for name, why in self.objects.items()), *self.others)

    def for_task(self, task: Task, error: str) -> str:
        """Why a task that failed with ``error`` could not be rehearsed here; empty where it is the task's own fault."""
        missing = _UNAVAILABLE.search(error)
        if missing:
            name = missing.group(1) or missing.group(2)
            if name not in self.extensions:
                self.extensions.append(name)
            return f"the scratch server lacks the extension {name}"
        if not _UNDEFINED.search(error):
            return ""
        for name in self.objects:
            if re.search(rf'["\s.]{re.escape(name.rsplit(".")[-1])}\b', error):
                return f"the scratch server lacks {name}"
        if not self.extensions:
            return ""
        named = re.findall(r'(?:function|type|operator|class|method|relation|schema) "?([\w.]+)"?', error)
        if self.members and not any(one.rsplit(".")[-1] in self.members for one in named):
            return ""
        return f"the scratch server lacks the extension{'s' if len(self.extensions) > 1 else ''} {', '.join(self.extensions)}"


def wanted_extensions(plan: Plan) -> tuple[str, ...]:
    """Extensions that the plan's own files create."""
    return tuple(
        dict.fromkeys(
            inner(node).extname
            for piece in _pieces(plan)
            for node in _statements(piece)
            if which(node) == "create_extension_stmt"
        )
    )


def named_roles(plan: Plan) -> tuple[str, ...]:
    """Roles that the plan's files name and do not make: they stand on the target already."""
    named: dict[str, None] = {}
    made: set[str] = set()
    for piece in _pieces(plan):
        for node in _statements(piece):
            if which(node) == "create_role_stmt":
                made.add(inner(node).role)
            for message in descend(inner(node)):
                if isinstance(message, pb.RoleSpec) and message.roletype == pb.ROLESPEC_CSTRING:
                    named[message.rolename] = None
    return tuple(name for name in named if name not in made and not name.startswith("pg_"))


def _pieces(plan: Plan) -> Iterator[Piece]:
    files = [f for task in plan.tasks for f in (task.file, task.down) if f is not None]
    for file in ([plan.baseline] if plan.baseline else []) + files:
        try:
            yield from pieces(file)
        except FerryError:  # told when the task runs
            continue


def _statements(piece: Piece) -> Iterator[pb.Node]:
    try:
        yield from (one.stmt for one in postgast.parse(piece.sql).stmts)
    except postgast.PgQueryError:
        return


def make_roles(conn: Conn, names: Iterable[str]) -> None:
    """Roles by name alone, that nobody can log in as."""
    for name in names:
        found = conn.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (name,)).fetchone()
        if found is None:
            conn.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(name)))


def from_baseline(conn: Conn, plan: Plan, rows: int, lacks: Lacks, say: Say) -> str:
    """Make the plan's baseline, if it has one, and fill it by its demo's generator; returns in words what the rows are.

    Raises PlanError where the baseline is wrong itself.
    """
    if plan.baseline is None:
        return "an empty database: the plan has no baseline"
    say(f"baseline {plan.baseline.path}")
    _run_baseline(conn, plan.baseline, lacks)
    if rows == 0:
        return "no rows were asked for"
    if plan.demo is None:
        return ""
    try:
        generate(conn, plan.demo, rows, say)
    except FerryError as error:
        if not lacks.words():
            raise
        lacks.others.append(f"generated rows: {error.what}")
        return "no rows: the generator failed for what is lacking"
    return f"{rows:,} rows of the plan's generator {plan.demo.generate.path}"


def _run_baseline(conn: Conn, baseline: SourceFile, lacks: Lacks) -> None:
    for piece in pieces(baseline):
        load(conn, piece, lacks, file=baseline.path)


def load(conn: Conn, piece: Piece, lacks: Lacks, *, file: str = "") -> None:
    """Run one statement of a schema. What fails for something that is lacking is noted as lacking too.

    Raises PlanError, naming ``file``, for every other failure; without ``file`` all failures are noted.
    """
    try:
        conn.execute(raw(piece.sql))
    except psycopg.Error as error:
        what = first_line(error)
        missing = _UNAVAILABLE.search(str(error))
        if missing:
            name = missing.group(1) or missing.group(2)
            if name not in lacks.extensions:
                lacks.extensions.append(name)
            return
        known = bool(lacks.extensions or lacks.objects) and _UNDEFINED.search(f"({error.sqlstate})")
        if file and not known:
            raise PlanError(f"The baseline failed: {what}.", file=file, line=piece.line, do="Mend the file.") from None
        name = name_of(piece)
        lacks.objects.setdefault(name, what)


def name_of(piece: Piece) -> str:
    """A short name for what a statement makes."""
    for node in _statements(piece):
        for message in descend(inner(node)):
            if isinstance(message, pb.RangeVar):
                return str(message.relname)
            if isinstance(message, pb.CreateFunctionStmt):
                return str(inner(message.funcname[-1]).sval)
    return " ".join(piece.sql.split())[:60]


def whole(text: str, name: str) -> tuple[Piece, ...]:
    """The statements of a schema's text."""
    return split(text, name)
