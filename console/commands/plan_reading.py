"""The files of a whole plan read as one sequence: what earlier tasks made is known to the later ones.

What an earlier task made is *new* (nobody waits for a lock on it) only until the plan puts it to use: a mapping's table
until its own sync or backfill, everything else until the first of these, since their rows may be looked up; and all of
it at the latest when applications may have been changed (a switch, a drain, a gate). Ways back are read as what they
are: statements on objects that may be in use.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from console.plan.model import Kind, Plan, SourceFile, Task
from console.sql.analyse import read_file
from console.sql.catalogue import Catalogue
from console.sql.facts import Known
from console.sql.model import Statement
from console.sql.resolve import asked, learn

_EVERYTHING = {Kind.SWITCH: "applications may use the new shape", Kind.DRAIN: "applications may have changed over",
               Kind.GATE: "a person may have changed the applications"}  # fmt: skip
_WRITTEN = {Kind.SYNC: "the sync uses it", Kind.BACKFILL: "the backfill uses it"}


@dataclass(frozen=True, slots=True)
class Use:
    """From which task on a table is in use, and why."""

    place: int
    task_id: str
    why: str


@dataclass(frozen=True, slots=True)
class Reading:
    """One task's statements forward and back; ``known`` is what was known before it, for SQL that the engine derives."""

    up: tuple[Statement, ...]
    down: tuple[Statement, ...]
    known: Known


@dataclass(slots=True)
class _Course:
    """How far the reading is: who made what, and what is in use since when."""

    plan: Plan
    known: Known
    made_by: dict[str, tuple[int, str]] = field(default_factory=dict)
    used: dict[str, Use] = field(default_factory=dict)
    filled: set[str] = field(default_factory=set)  # made by the plan, and with rows in the database already
    due: dict[int, list[tuple[str, Use]]] = field(default_factory=dict)  # by the place of the first use


@dataclass(frozen=True, slots=True)
class Uses:
    """When the plan puts what to use: ``tables`` of its mappings, ``writes`` for what those look up, ``all`` of it."""

    tables: dict[str, Use]
    writes: tuple[Use, ...]
    all: tuple[Use, ...]

    @classmethod
    def of(cls, plan: Plan) -> Uses:
        """The uses in the plan's order."""
        tables: dict[str, Use] = {}
        writes, moments = [], []
        for place, task in enumerate(plan.tasks):
            if task.kind in _WRITTEN:
                use = Use(place, task.id, _WRITTEN[task.kind])
                writes.append(use)
                for mapping in (plan.mapping(id_) for id_ in task.mappings):
                    tables.setdefault(str(mapping.new), use)
                    tables.setdefault(str(mapping.old), use)
            elif task.kind in _EVERYTHING:
                moments.append(Use(place, task.id, _EVERYTHING[task.kind]))
        return cls(tables, tuple(writes), tuple(moments))

    def first(self, name: str, made: int) -> Use | None:
        """The first use of what the task at ``made`` makes; None where the plan never puts it to use."""
        own = (self.tables[name],) if name in self.tables else self.writes
        return min((use for use in (*own, *self.all) if use.place >= made), key=lambda use: use.place, default=None)


def names_of(statements: Iterable[Statement]) -> Iterator[str]:
    """What to ask the catalogue for."""
    for statement in statements:
        yield from statement.tables
        yield from asked(lock.object for lock in statement.locks)


def read_plan(plan: Plan, server_major: int, catalogue: Catalogue | None = None) -> dict[str, Reading]:
    """Every task's files, in the plan's order, by task id; sqlglot is not asked. Never raises."""
    known = Known(server_major=server_major)
    if catalogue is not None:
        learn(known, catalogue)
    elif plan.baseline is not None:  # the old shape, in use; with a database its catalogue tells better
        _read(plan.baseline, known)
        known.new.clear()
    course = _Course(plan, known)
    uses = Uses.of(plan)
    found = {}
    for place, task in enumerate(plan.tasks):
        _put_to_use(course, place)
        before = known.fork() if task.kind is not Kind.SQL else known
        made_before = set(known.made_here)
        up = _marked(course, _read(task.file, known), place, uses)
        _note_made(course, known.made_here - made_before, place, task.id, uses)
        found[task.id] = Reading(up, _way_back(task, known, course, place, uses), before)
    return found


def _read(file: SourceFile | None, known: Known) -> tuple[Statement, ...]:
    if file is None:
        return ()
    return read_file(file.text, file.path, transactions=file.transactions, known=known, second_reader=False)


def _way_back(task: Task, known: Known, course: _Course, place: int, uses: Uses) -> tuple[Statement, ...]:
    if task.down is None:
        return ()
    there = known.fork()
    there.new.clear()
    return _marked(course, _read(task.down, there), place, uses)


def _note_made(course: _Course, names: set[str], place: int, task_id: str, uses: Uses) -> None:
    """After the task at ``place``: what it made, and when that will be in use, with its indexes and sequences."""
    known = course.known
    for name in names:
        course.made_by[name] = (place, task_id)
        table = known.index_table.get(name, name)
        there = known.catalogue.relations.get(table) if known.catalogue is not None else None
        if there is not None and there.heap_bytes > 0:
            course.filled.add(name)
            known.new.discard(name)
        elif (use := uses.first(table, place)) is not None:
            course.due.setdefault(use.place, []).append((name, use))


def _put_to_use(course: _Course, place: int) -> None:
    """Before the task at ``place``: what the one before put to use is new no more, nor what its rows reference."""
    ahead = course.due.pop(place - 1, [])
    while ahead:
        name, use = ahead.pop()
        if name not in course.known.new:
            continue
        course.used[name] = use
        course.known.new.discard(name)
        ahead += [(target, use) for target in course.known.references.get(name, ())]


def _marked(course: _Course, statements: tuple[Statement, ...], place: int, uses: Uses) -> tuple[Statement, ...]:
    """The statements, each with words on the objects of earlier tasks that it locks."""
    return tuple(
        replace(one, notes=(*one.notes, *notes)) if (notes := _origins(course, one, place, uses)) else one
        for one in statements
    )


def _origins(course: _Course, statement: Statement, place: int, uses: Uses) -> tuple[str, ...]:
    words = []
    for lock in statement.locks:
        made, task_id = course.made_by.get(lock.object, (place, ""))
        if not task_id or made == place or lock.object in course.known.index_table:
            continue
        if (use := course.used.get(lock.object)) is not None:
            words.append(f"{lock.object}: made by {task_id}, in use since {use.task_id} ({use.why})")
        elif lock.object in course.filled:
            words.append(f"{lock.object}: made by {task_id}, and in this database already, with rows")
        elif lock.new:
            later = uses.first(lock.object, made)
            until = f"not in use before {later.task_id}" if later else "which no later task puts to use"
            words.append(f"{lock.object}: made by {task_id}, {until}")
    return tuple(words)
