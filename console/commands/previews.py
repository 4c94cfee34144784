"""What each task would run, forward and back: the plan's files as read, and the SQL derived from its mappings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cache

from psycopg import sql

from console.commands.copy_order import order_words
from console.commands.own_drops import without_expected
from console.commands.plan_hazards import plan_hazards, with_hazards
from console.commands.plan_reading import Reading, names_of, read_plan
from console.commands.plan_record import Record
from console.engine import contract, copy, rollback, sync
from console.engine.catalogue_facts import read_catalogue
from console.engine.compare import compare_statement
from console.engine.facts import MappingFacts, archived, mapping_facts
from console.engine.files import statements
from console.errors import FerryError
from console.journal.connect import Conn
from console.journal.schema import NOTE_REJECT
from console.plan.model import Changes, Direction, Kind, Mapping, Plan, Severity, SourceFile, Task
from console.plan.rehearsed import DOWN, UP
from console.sql.analyse import read_file, twice_read
from console.sql.catalogue import Catalogue
from console.sql.estimates import estimate
from console.sql.facts import Known
from console.sql.hazards.allow import Accepted, accept
from console.sql.model import Hazard, Statement, TaskPreview
from console.sql.overlay import lay_over
from console.transactions import Transactions

_WORDS = {
    Kind.SQL: "Runs the statements of {file}, {how}, under lock_timeout.",
    Kind.SYNC: "Creates functions, then triggers: from the moment they are there, every write on {source} reaches {target} "
    "in the writer's own transaction.",
    Kind.BACKFILL: "Copies the rows of {old} that were there before the sync, in chunks by key; each chunk is one "
    "transaction with its place in the journal.",
    Kind.CHECK: "Looks; changes nothing.",
    Kind.SWITCH: "Says that applications should use {leads}; both directions stay in sync.",
    Kind.DRAIN: "Waits until nobody has used {old} for {quiet} s.",
    Kind.RETIRE: "Moves {old} to the schema {archive}; the sync goes on into it.",
    Kind.PURGE: "Writes the rows of {old} to files, then drops the sync and the tables for good.",
    Kind.GATE: "A person confirms: {question}",
}
_CHANGES = {
    Changes.CARRY: "triggers on its tables note each change, and the rows it concerns are carried again.",
    Changes.FORBID: "triggers on its tables refuse a change or removal while the sync is on; additions are carried.",
    Changes.UNCOVERED: "its changes are not seen while the sync is on; a comparison names what they make differ.",
}


def _without_first(statements: tuple[Statement, ...]) -> tuple[Statement, ...]:
    """The statements after the first, numbered as if it were not there."""
    rest = statements[1:]
    above = rest[0].line - 1 if rest else 0
    return tuple(replace(one, ordinal=number, line=one.line - above) for number, one in enumerate(rest, 1))


_FAILING = {
    Severity.ERROR: "stops the run if it fails",
    Severity.WARNING: "only warns",
    Severity.INFO: "only informs",
}
_HOW = {
    Transactions.AS_WRITTEN: "each in a transaction of its own",
    Transactions.WHOLE_FILE: "all in one transaction",
    Transactions.WHOLE_OR_NONE: "all in one transaction (each alone where none of them can run in one)",
}


def _refused_words(task: Task) -> str:
    """Why one of the task's files does not run as it stands."""
    refused = (file for file in (task.file, task.down) if file is not None and file.fault)
    return "".join(f"\nDOES NOT RUN: {file.path}:{file.fault_line}: {file.fault}" for file in refused)


class Previews:
    """Previews of a plan's tasks, each read once; with a connection, the catalogue's facts are used too.

    All files are read at the first question, since what earlier tasks make is known to later ones; sqlglot is asked for
    the tasks that are looked at.
    """

    def __init__(
        self, plan: Plan, conn: Conn | None = None, *, server_major: int = 18, record: Record | None = None
    ) -> None:
        self.plan = plan
        self.conn = conn
        self.record = record or Record()
        self.server_major = conn.info.server_version // 10000 if conn else server_major
        self.catalogue: Catalogue | None = None
        self._readings: dict[str, Reading] | None = None
        self._found: dict[str, list[Hazard]] | None = None
        self.of = cache(self._whole)
        self.way_back = cache(self._way_back)

    def all(self) -> dict[str, TaskPreview]:
        """Every task's preview, by id."""
        return {task.id: self.of(task.id) for task in self.plan.tasks}

    def _whole(self, task_id: str) -> TaskPreview:
        """A task's preview with the hazards that only the whole plan shows of it."""
        if self._found is None:
            self._found = plan_hazards(
                self.plan,
                lambda task: self._reading(task.id).up,
                server_version=self.conn.info.server_version if self.conn else 0,
                indexes_of=self._indexes if self.conn else None,
            )
        return with_hazards(self.plan.task(task_id), self._make(task_id), self._found[task_id])

    def _indexes(self, names: Iterable[str]) -> dict[str, list[tuple[str, ...]]]:
        """The columns of the indexes that tables have in the database already."""
        there = self.catalogue.relations if self.catalogue is not None else {}
        return {name: list(there[name].indexed) for name in names if name in there}

    def _reading(self, task_id: str) -> Reading:
        if self._readings is None:
            readings = read_plan(self.plan, self.server_major)
            if self.conn is not None:
                names = {name for one in readings.values() for name in names_of((*one.up, *one.down))}
                names |= {str(name) for m in self.plan.mappings for name in (m.old, m.new)}
                self.catalogue = read_catalogue(self.conn, names)
                readings = read_plan(self.plan, self.server_major, self.catalogue)
            self._readings = readings
        return self._readings[task_id]

    def _make(self, task_id: str) -> TaskPreview:
        task = self.plan.task(task_id)
        reading = self._reading(task_id)
        if task.kind is Kind.SQL:
            up, down = twice_read(reading.up), twice_read(reading.down)
        else:
            up = self._derived(task)
            down = self._derived_back(task)
            up = without_expected((), up)
        down = without_expected(up, down)
        up, down = self._measured(task, UP, up), self._measured(task, DOWN, down)
        words, well = self.record.words(task)
        allowed = tuple(Accepted(one.hazard, one.reason) for one in task.allow)
        up, down = accept(up, allowed), accept(down, allowed)
        return TaskPreview(
            task_id=task.id,
            file=task.file.path if task.file else "",
            down_file=task.down.path if task.down else "",
            up=up,
            down=down,
            derived=task.kind is not Kind.SQL and bool(up),
            sizes=self._sizes(up),
            text=self._words(task),
            no_way_back=task.irreversible,
            rehearsed=words,
            rehearsed_well=well,
        )

    def _way_back(self, task_id: str) -> tuple[Statement, ...]:
        """The statements of a task's way back with times and measured locks; sqlglot is not asked."""
        task = self.plan.task(task_id)
        found = self._reading(task_id).down if task.kind is Kind.SQL else self._derived_back(task)
        return self._measured(task, DOWN, found)

    def _derived_back(self, task: Task) -> tuple[Statement, ...]:
        return self._text("\n".join(f"{s};" for s in rollback.statements(self.plan, task)), "derived")

    def _measured(self, task: Task, side: str, statements: tuple[Statement, ...]) -> tuple[Statement, ...]:
        """The statements with what a rehearsal measured, and how long they may take."""
        found = self.catalogue.relations if self.catalogue is not None else {}
        marked = []
        for one in statements:
            seen = self.record.seen(task.id, side, one.sql)
            with_mark = lay_over(one, seen) if seen is not None else one
            expected = estimate(
                with_mark,
                found.get(one.about),
                mark=with_mark.measured,
                rehearsed_rows=self.record.rows(one.about),
            )
            marked.append(replace(with_mark, estimate=expected))
        return tuple(marked)

    def _read(self, file: SourceFile | None) -> tuple[Statement, ...]:
        return statements(file, server_major=self.server_major) if file else ()

    def _text(self, text: str, name: str, known: Known | None = None) -> tuple[Statement, ...]:
        return read_file(text, name, server_major=self.server_major, known=known.fork() if known else None)

    def _facts(self, mapping: Mapping) -> MappingFacts | None:
        if self.conn is None:
            return None
        try:
            return mapping_facts(self.conn, mapping, self.plan.archive_schema)
        except FerryError:  # a table that an earlier task of the plan has yet to make
            return None

    def _derived(self, task: Task) -> tuple[Statement, ...]:
        made: list[sql.Composable] = []
        for mapping in (self.plan.mapping(id_) for id_ in task.mappings):
            facts = self._facts(mapping)
            if task.kind is Kind.SYNC:
                made += sync.prepare(mapping, facts, task.direction, mapping.old)
                made += sync.triggers(mapping, task.direction, mapping.old, facts)
            elif task.kind is Kind.BACKFILL:
                low = {name: f"<{name} of the chunk before>" for name in mapping.old_key}
                high = {name: f"<{name} of this chunk>" for name in mapping.old_key}
                made.append(copy.copy_statement(mapping, facts, mapping.old_key, low, high, skip=False))
            elif task.kind is Kind.CHECK:
                made.append(compare_statement(mapping, facts, None, None))
            elif task.kind is Kind.RETIRE:
                made.append(contract.set_schema(mapping.old, archived(mapping.old, self.plan.archive_schema)))
            elif task.kind is Kind.PURGE:
                made += contract.purge_statements(mapping, archived(mapping.old, self.plan.archive_schema))
        checks = [self.plan.check(id_).sql for id_ in task.checks if self.plan.check(id_).sql]
        text = "\n\n".join(
            f"{part};" for part in [*(m.as_string(None) for m in made), *(c.rstrip().rstrip(";") for c in checks)]
        )
        known = self._reading(task.id).known
        if task.kind is Kind.BACKFILL:  # what it calls is read with it, and belongs to the journal
            return _without_first(self._text(f"{NOTE_REJECT}\n{text}", "derived from the mapping", known))
        return self._text(text, "derived from the mapping", known) if text else ()

    def _sizes(self, statements: tuple[Statement, ...]) -> tuple[tuple[str, int, int], ...]:
        """Rows (an estimate) and bytes of the tables that the statements name."""
        if self.catalogue is None:
            return ()
        names = sorted({name for statement in statements for name in statement.tables})
        found = [(name, self.catalogue.relations.get(name)) for name in names]
        return tuple(
            (name, round(max(one.rows, 0)), one.heap_bytes + one.index_bytes)
            for name, one in found
            if one is not None and one.kind in "rpm"
        )

    def _words(self, task: Task) -> str:
        mappings = [self.plan.mapping(id_) for id_ in task.mappings]
        old, new = ", ".join(str(m.old) for m in mappings), ", ".join(str(m.new) for m in mappings)
        source, target = (new, old) if task.direction is Direction.REVERSE else (old, new)
        if task.direction is Direction.BOTH:
            source, target = f"{old} or {new}", "the other side"
        words = _WORDS[task.kind].format(
            file=task.file.path if task.file else "", source=source, target=target, old=old, leads=task.leads.value,
            quiet=task.quiet_seconds, archive=self.plan.archive_schema, question=task.question,
            how=_HOW[task.file.transactions] if task.file else "",
        )  # fmt: skip
        words += _refused_words(task)
        if task.kind is Kind.SYNC and Direction.FORWARD in task.direction.ways:
            words += "".join(f"\nLookup {k.relation}: {_CHANGES[k.changes]}" for m in mappings for k in m.lookups)
        if task.kind is Kind.BACKFILL:
            words += "\n" + order_words(self.plan, task, self._read, self.conn)
        for id_ in (*task.checks, *task.guards):
            check = self.plan.check(id_)
            what = f"program {check.program}" if check.program else f"expects {check.expect}"
            words += f"\nCheck, {_FAILING[check.severity]}: {check.title} ({what})"
        return words
