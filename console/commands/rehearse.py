"""``pgferry rehearse``: proves a plan on a scratch server and keeps the record."""

from __future__ import annotations

import signal
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

from console.commands.migrations import pending
from console.commands.operate import out, the_plan
from console.commands.settings import Settings, state_folder
from console.errors import FerryError, Refused, UsageError
from console.headless.rehearsal_report import check_form, write_report
from console.headless.rehearsal_text import rehearsal_text
from console.headless.words import safe
from console.plan import rehearsed
from console.plan.model import Plan
from console.plan.rehearsed import Outcome, Rehearsal
from console.rehearsal import target
from console.rehearsal.on_target import OnTarget, measure
from console.rehearsal.rehearse import Wanted, rehearse


@dataclass(frozen=True, slots=True)
class RehearseSettings:
    """Where the record goes, and how it is printed."""

    wanted: Wanted
    output: str = "text"
    record: Path | None = None
    save: bool = False
    reports: tuple[Path, ...] = ()
    on_target: bool = False  # measure on the target itself, in transactions that are rolled back
    yes: bool = False


def say(text: str) -> None:
    """Progress, on stderr."""
    print(safe(f"rehearsal: {text}"), file=sys.stderr, flush=True)


def rehearse_plan(settings: Settings, asked: RehearseSettings) -> int:
    """Rehearse, keep the record, print it; 1 when something failed, differs or could not be rehearsed."""
    plan = the_plan(settings)
    for file in asked.reports:
        check_form(file)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    subject = _subject(settings, plan, asked)
    if not subject.tasks:
        out("Every migration is applied: there is nothing to rehearse.")
        return 0
    record = _on_target(settings, subject, asked) if asked.on_target else rehearse(subject, asked.wanted, say)
    for file in _files(plan, asked):
        try:
            rehearsed.write(record, file)
        except OSError as error:
            raise FerryError(
                f"The record cannot be written to {file}: {error.strerror}.",
                state=f"The rehearsal itself is done: {'nothing failed' if record.ok else 'something failed'}.",
                do="Name another place with --record FILE.",
            ) from None
        say(f"record written to {file}")
    for file in asked.reports:
        try:
            write_report(record, plan, file)
        except OSError as error:
            raise FerryError(
                f"The report cannot be written to {file}: {error.strerror}.",
                state="The rehearsal itself is done and its record kept.",
                do="Name another place with --report FILE.",
            ) from None
        say(f"report written to {file}")
    out(rehearsed.to_json(record).rstrip("\n") if asked.output == "json" else rehearsal_text(record, subject))
    if asked.on_target:
        return int(not record.ok)
    return exit_code(record, asked.wanted.only)


def _on_target(settings: Settings, plan: Plan, asked: RehearseSettings) -> Rehearsal:
    """Measure on the target, on PROD only after its database's name was typed. Raises Refused."""
    wanted = OnTarget(settings.dsn, asked.wanted.only)
    if settings.environment == "PROD" and not asked.yes:
        with target.reader(settings.dsn) as conn:
            name = conn.info.dbname
        print(
            safe(
                f"Each task's statements run on {name} in a transaction that is rolled back. What they lock is locked for"
                f" everybody meanwhile, up to {wanted.most_ms / 1000:.0f} s a task."
            ),
            file=sys.stderr,
        )
        if not (sys.stdin.isatty() and input(f"Type {safe(name)} to go on: ").strip() == name):
            raise Refused(
                f"{name} counts as production, and it was not confirmed.",
                state="Nothing was done.",
                do="Type its name when asked, say --yes, or name the place in PGFERRY_ENV.",
            )
    return measure(plan, wanted, say)


def _subject(settings: Settings, plan: Plan, asked: RehearseSettings) -> Plan:
    """What is carried out: of a directory of migrations, what is pending on the target, if one is read.

    Its tool's own table is neither read nor written meanwhile. Raises UsageError, Refused.
    """
    if not plan.layout:
        return plan
    if asked.on_target or asked.wanted.from_target:
        with target.reader(settings.dsn if asked.on_target else asked.wanted.conninfo) as conn:
            left = pending(conn, plan)
        for note in left.notes[len(plan.notes) :]:
            say(note)
        only = asked.wanted.only
        if only in {task.id for task in plan.tasks} - {task.id for task in left.tasks}:
            raise UsageError(f"{only} is applied already.", do="Name a pending one, or rehearse without --dsn.")
        plan = left
    return replace(plan, layout="")


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _files(plan: Plan, asked: RehearseSettings) -> list[Path]:
    """Where the record is kept; that of one task alone, or of the target, only where it is asked for."""
    files = [plan.root / rehearsed.NAME] if asked.save else []
    if asked.record is not None:
        files.append(asked.record)
    elif not asked.wanted.only and not asked.on_target:
        files.append(rehearsed.kept_at(plan, state_folder()))
    return files


def exit_code(record: Rehearsal, only: str = "") -> int:
    """0 where every task (or the one asked for) passed."""
    wanted = [task for task in record.tasks if not only or task.task_id == only]
    return int(any(task.outcome is not Outcome.PASSED for task in wanted))
