"""``pgferry`` without a command: the runs of the database that libpq's environment names, or what to do first."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import psycopg

from console.commands.settings import Drawn, Settings
from console.errors import ConnectionFailed, FerryError
from console.headless.words import clock, safe, table
from console.journal import read, schema
from console.journal.connect import connect, target
from console.journal.read import FoundRun

FIRST = """\
pgferry carries a live PostgreSQL database from an old shape to a new one while applications keep running.

  pgferry demo                       see all of it on a real server that it brings along
  pgferry plan --plan DIR            what a plan (or a directory of migrations) would do; no database needed
  pgferry init DIR                   write a plan to begin with
  pgferry run --plan DIR --dry-run   the console for a reviewer: nothing can be written
  pgferry run --plan DIR             the console for the operator

pgferry --help lists every command, pgferry COMMAND --help explains one."""
SHOWN = 5


@dataclass(frozen=True, slots=True)
class Found:
    """What a database tells: where it is, its newest runs, or that this role may not read them."""

    where: str
    runs: tuple[FoundRun, ...]
    hidden: bool


def welcome(settings: Settings, *, ascii_only: bool | None = None) -> int:
    """Show the newest runs and offer to attach; where there is none, say how to begin. Always exit code 0."""
    try:
        found = _look(settings)
    except ConnectionFailed as error:
        print(f"{FIRST}\n")
        print(safe(f"No database was asked for runs: {error.what} PGHOST, PGDATABASE or a --dsn name one."))
        return 0
    if not found.runs:
        print(f"{FIRST}\n")
        hidden = f"The journal in {found.where} cannot be read by this role: whether there are runs is not known."
        print(safe(hidden if found.hidden else f"There are no runs of pgferry in {found.where} yet."))
        return 0
    print(safe(f"Runs in {found.where}, the newest first:") + "\n")
    rows = [
        [
            f"run {run.id}",
            _status(run),
            f"{run.done} of {run.total} tasks",
            clock(run.started_at),
            run.operator,
            run.title,
        ]
        for run in found.runs
    ]
    print("\n".join(safe(line, ascii_only=bool(ascii_only)).rstrip() for line in table(rows)))
    if advice := [words for run in found.runs if (words := _advice(run))]:
        print("\n" + "\n".join(advice))
    newest = found.runs[0]
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        print(f"\nWatch the newest: pgferry attach {newest.id}. What else there is: pgferry --help.")
        return 0
    return _offer(settings, newest)


def _status(run: FoundRun) -> str:
    return f"{run.status}, no runner" if run.lost else run.status


def _advice(run: FoundRun) -> str:
    """What a run that stands still waits for; empty where it waits for nobody."""
    goes_on = "pgferry run --plan DIR --control goes on with it"
    if run.lost:
        return f"Run {run.id} has lost its runner; what it finished is kept. {goes_on}: space starts another runner."
    if run.status == "paused":
        return f"Run {run.id} is paused. {goes_on}: space resumes."
    if run.status == "failed":
        return f"Run {run.id} failed; pgferry status says why. {goes_on}: space tries again, u goes back."
    if run.status == "waiting":
        return f"Run {run.id} waits for a person, or stopped where it was told to. {goes_on}."
    return ""


def _look(settings: Settings) -> Found:
    """The newest runs. Raises ConnectionFailed, soon: nobody asked for a database yet."""
    dsn = settings.dsn or "connect_timeout=3"
    conn = connect(dsn, application_name="pgferry", read_only=True, statement_timeout="5s")
    with conn:
        try:
            here = target(conn, settings.environment)
            where = f"database {here.database} at {here.host}:{here.port}"
            readable = schema.readable(conn)
            runs = read.found_runs(conn, SHOWN) if readable else ()
            return Found(where, runs, hidden=not readable and schema.installed(conn))
        except psycopg.Error as error:
            raise ConnectionFailed(f"The server refused: {str(error).splitlines()[0]}.") from None


def _offer(settings: Settings, newest: FoundRun) -> int:
    verb = "watch" if newest.going else "look at"
    try:
        answer = input(f"\nEnter to {verb} run {newest.id}, a number for another one, q to leave: ").strip().lower()
    except EOFError:
        return 0
    if answer in ("q", "quit", "n", "no"):
        return 0
    if answer and not answer.isdigit():
        print(f"{safe(answer)!r} is no number of a run: nothing was opened.")
        return 0
    from console.commands.operate import attach_screen

    number = int(answer) if answer else newest.id
    try:
        return attach_screen(settings, number, control=False, drawn=Drawn())
    except FerryError as error:
        print(safe(str(error)))
        return error.exit_code
