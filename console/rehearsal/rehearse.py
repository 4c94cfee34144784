"""A rehearsal from end to end: scratch server, ground, course, record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from console.demo.server import EmbeddedServer
from console.errors import UsageError
from console.plan.model import Plan
from console.plan.rehearsed import SCRATCH, Rehearsal
from console.rehearsal import ground
from console.rehearsal.course import Course
from console.rehearsal.scratch import SETTINGS, Scratch, choose
from console.rehearsal.state import rows_of

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to rehearse with. ``rows``: of each table; ``only``: one task's id, or empty for all."""

    rows: int = 2000
    only: str = ""


def rehearse(plan: Plan, wanted: Wanted, say: Say) -> Rehearsal:
    """Carry the plan through a scratch server, forward, back and forward, and return what was measured.

    Nothing outside a temporary folder is written, and it is gone afterwards. Raises FerryError.
    """
    if wanted.only and wanted.only not in {task.id for task in plan.tasks}:
        raise UsageError(f"The plan {plan.id} has no task {wanted.only}.")
    lacks = ground.Lacks()
    choice = choose(plan, None, ground.wanted_extensions(plan))
    lacks.extensions += choice.missing
    say(f"starting PostgreSQL {choice.binaries.version}")
    with EmbeddedServer(choice.binaries, settings=SETTINGS) as server:
        scratch = Scratch(server)
        scratch.create()
        with scratch.connect() as conn:
            ground.make_roles(conn, ground.named_roles(plan))
            data = ground.from_baseline(conn, plan, wanted.rows, lacks, say)
            conn.execute("ANALYZE")
            rows = tuple((name, found.count) for name, found in rows_of(conn).items())
            version = conn.info.server_version
        course = Course(plan, scratch, say, lacks.for_task, wanted.only)
        tasks = course.run()
    return Rehearsal(
        plan.id, plan.sha256, now(), version, SCRATCH, data, rows, tasks, lacks.words(), (*choice.notes, *NOTES)
    )


NOTES = (
    "times are of few rows on an idle server; what is locked and rewritten does not depend on that",
    "write-ahead log without full-page images",
)


def now() -> str:
    """The time as it stands in a record."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
