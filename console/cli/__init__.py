"""The command ``pgferry``: argument parsing and exit codes only.

Imports of what a command does stand in its act: printing help or a status must not wait for what it does not use.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from console import __version__
from console.cli.completion import print_completion
from console.cli.reading import add_reading
from console.cli.screens import add_screens
from console.cli.steering import add_steering
from console.cli.words import Do
from console.commands.settings import Settings, environment_name, operator_name
from console.errors import FerryError
from console.headless import streams
from console.plan.layouts import LAYOUTS
from console.text import plain

EXIT_CODES = """\
exit codes: 0 done; 1 a step or check failed; 2 usage; 3 no connection or privilege; 4 plan invalid or changed;
5 refused (someone else runs it, not approved, read-only); 6 stopped on purpose (paused, gate); 130 interrupted"""

CONNECTION = """\
The connection is libpq's own: --dsn takes a conninfo string or URI; without it PG* variables, a service file and
~/.pgpass are used, as in psql. PGFERRY_ENV names the place (PROD, STAGING, DEV); unknown counts as PROD."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pgferry",
        description="Carries a live PostgreSQL database from an old shape to a new one while applications keep running.",
        epilog=f"{CONNECTION}\n\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(do=_welcome)
    parser.add_argument("--version", action="version", version=f"pgferry {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    def add(name: str, text: str, do: Do, *, plan: bool = True, dsn: bool = True) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text, epilog=EXIT_CODES)
        made.set_defaults(do=do)
        if plan:
            made.add_argument("--plan", type=Path, metavar="DIR", help="the plan's directory, or one of migrations")
            made.add_argument(
                "--layout", choices=LAYOUTS, metavar="NAME",
                help=f"read DIR as migrations of {', '.join(LAYOUTS[:-1])} or {LAYOUTS[-1]} (default: found out)",
            )  # fmt: skip
        if dsn:
            made.add_argument("--dsn", default="", help="conninfo string or URI; default: libpq's environment")
        return made

    add_screens(add)
    add_steering(add)
    add_reading(add)
    completion = add(
        "completion", "print the shell's completion of this command's words",
        lambda _, args: print_completion(parser, args.shell), plan=False, dsn=False,
    )  # fmt: skip
    completion.add_argument(
        "shell", choices=("bash", "zsh", "tcsh"), help='for bash: eval "$(pgferry completion bash)"'
    )
    return parser


def _welcome(settings: Settings, args: argparse.Namespace) -> int:
    from console.commands.welcome import welcome

    return welcome(settings)


def _settings(args: argparse.Namespace) -> Settings:
    return Settings(
        dsn=getattr(args, "dsn", ""),
        plan_dir=getattr(args, "plan", None),
        layout=getattr(args, "layout", None) or "",
        operator=operator_name(),
        environment=environment_name(),
    )


def main(argv: list[str] | None = None) -> int:
    """Entry point; every FerryError becomes one clear message and its exit code."""
    streams.make_ready(os.environ)
    try:
        return _told(_parser().parse_args(argv))
    finally:
        streams.finish()


def _told(args: argparse.Namespace) -> int:
    """The exit code of the command; what stops it is told on stderr."""
    try:
        act: Do = args.do
        return act(_settings(args), args)
    except FerryError as error:
        if error.detail:
            print(plain(error.detail, keep_newlines=True), file=sys.stderr)
        print(f"pgferry: {plain(str(error))}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("pgferry: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read the result has seen enough
        streams.mute(sys.stdout)
        return 0
    except OSError as error:
        place = f" ({error.filename})" if error.filename else ""
        print(f"pgferry: {plain(f'The system refused: {error.strerror or error}{place}.')}", file=sys.stderr)
        return 1
