"""A rehearsal from end to end: scratch server, ground, course, record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from console.demo.server import EmbeddedServer
from console.errors import UsageError
from console.journal.connect import Conn
from console.plan.model import Plan
from console.plan.rehearsed import SCRATCH, Rehearsal
from console.rehearsal import ground, target
from console.rehearsal.course import Course
from console.rehearsal.made import make, statistics
from console.rehearsal.sample import sample, settle, tables
from console.rehearsal.scratch import SETTINGS, Scratch, choose
from console.rehearsal.state import rows_of

Say = Callable[[str], None]


class Data(StrEnum):
    """Where the rows of a rehearsal on the target's schema come from."""

    SAMPLE = "sample"  # real rows
    STATISTICS = "statistics"  # made up, with common values and bounds from pg_stats
    MADE = "made"  # made up by type and constraints: no value of the target is read


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to rehearse with.

    ``rows``: of each table; ``only``: one task's id, or empty for all. ``conninfo`` is the target, whose schema and
    rows are read where ``from_target`` says so; else the plan's baseline is taken. ``data``: what of the target's rows
    is read.
    """

    rows: int = 2000
    only: str = ""
    from_target: bool = False
    conninfo: str = ""
    data: Data = Data.SAMPLE


def rehearse(plan: Plan, wanted: Wanted, say: Say) -> Rehearsal:
    """Carry the plan through a scratch server, forward, back and forward, and return what was measured.

    Nothing outside a temporary folder is written, and it is gone afterwards. Raises FerryError.
    """
    if wanted.only and wanted.only not in {task.id for task in plan.tasks}:
        raise UsageError(f"The plan {plan.id} has no task {wanted.only}.")
    if not wanted.from_target:
        return _on_scratch(plan, wanted, None, say)
    with target.reader(wanted.conninfo) as conn:
        return _on_scratch(plan, wanted, conn, say)


def _on_scratch(plan: Plan, wanted: Wanted, reading: Conn | None, say: Say) -> Rehearsal:
    lacks = ground.Lacks()
    found = target.facts(reading) if reading is not None else None
    needed = (*(found.extensions if found else ()), *ground.wanted_extensions(plan))
    choice = choose(plan, found.major if found else None, needed)
    lacks.extensions += choice.missing
    text = target.dump(wanted.conninfo, found) if found else ""
    say(f"starting PostgreSQL {choice.binaries.version}")
    with EmbeddedServer(choice.binaries, settings=SETTINGS) as server:
        scratch = Scratch(server)
        scratch.create()
        with scratch.connect() as conn:
            ground.make_roles(conn, ground.named_roles(plan))
            if reading is not None and found is not None:
                target.load_schema(conn, text, found, lacks, say)
        with scratch.connect() as conn:
            if reading is not None:
                data = _rows_of_target(reading, conn, wanted, lacks, say)
            else:
                data = ground.from_baseline(conn, plan, wanted.rows, lacks, say)
                if not data:
                    data = f"{make(conn, tables(conn), wanted.rows, {}, lacks):,} rows made up by type and constraints"
            settle(conn, lacks)
            rows = tuple((name, one.count) for name, one in rows_of(conn).items())
            version = conn.info.server_version
        course = Course(plan, scratch, say, lacks.for_task, wanted.only)
        tasks = course.run()
    return Rehearsal(
        plan.id, plan.sha256, now(), version, SCRATCH, data, rows, tasks, lacks.words(), (*choice.notes, *NOTES)
    )


def _rows_of_target(reading: Conn, conn: Conn, wanted: Wanted, lacks: ground.Lacks, say: Say) -> str:
    """Fill the tables; returns in words with what."""
    if wanted.rows == 0:
        return "no rows were asked for"
    if wanted.data is Data.SAMPLE:
        unread = sample(reading, conn, wanted.rows, lacks, say)
        made = make(conn, unread, wanted.rows, {}, lacks) if unread else 0
        words = f"a sample of up to {wanted.rows:,} rows of each table of the target"
        return f"{words}; {made:,} rows made up for {len(unread)} tables that could not be read" if unread else words
    shapes = statistics(reading) if wanted.data is Data.STATISTICS else {}
    made = make(conn, tables(conn), wanted.rows, shapes, lacks)
    how = (
        "from the target's statistics (pg_stats)"
        if shapes
        else "by type and constraints; no value of the target was read"
    )
    return f"{made:,} rows made up {how}"


NOTES = (
    "times are of few rows on an idle server; what is locked and rewritten does not depend on that",
    "write-ahead log without full-page images",
)


def now() -> str:
    """The time as it stands in a record."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
