"""``pgferry`` without a command: the runs of the database that libpq's environment names, or what to do first."""

from __future__ import annotations

import sys

import psycopg

from console.commands.settings import Settings
from console.errors import ConnectionFailed, FerryError
from console.headless.words import clock, safe, table
from console.journal import read, schema
from console.journal.connect import connect
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


def welcome(settings: Settings, *, ascii_only: bool | None = None) -> int:
    """Show the newest runs and offer to attach; where there is none, say how to begin. Always exit code 0."""
    try:
        found = _runs(settings)
    except ConnectionFailed as error:
        print(f"{FIRST}\n")
        print(safe(f"No database was asked for runs: {error.what} PGHOST, PGDATABASE or a --dsn name one."))
        return 0
    if not found:
        print(FIRST)
        print("\nThe database has no runs of pgferry yet.")
        return 0
    rows = [
        [
            f"run {run.id}",
            run.status,
            f"{run.done} of {run.total} tasks",
            clock(run.started_at),
            run.operator,
            run.title,
        ]
        for run in found
    ]
    print("\n".join(safe(line, ascii_only=bool(ascii_only)).rstrip() for line in table(rows)))
    newest = found[0]
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        print(f"\nWatch the newest: pgferry attach {newest.id}. What else there is: pgferry --help.")
        return 0
    return _offer(settings, newest)


def _runs(settings: Settings) -> tuple[FoundRun, ...]:
    """The newest runs. Raises ConnectionFailed, soon: nobody asked for a database yet."""
    dsn = settings.dsn or "connect_timeout=3"
    conn = connect(dsn, application_name="pgferry", read_only=True, statement_timeout="5s")
    with conn:
        try:
            return read.found_runs(conn, SHOWN) if schema.readable(conn) else ()
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
        return attach_screen(settings, number, control=False, ascii_only=None, theme=None)
    except FerryError as error:
        print(safe(str(error)))
        return error.exit_code
