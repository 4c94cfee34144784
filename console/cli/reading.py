"""The commands that read a plan or SQL files, what a reviewer does with them, and those that begin a plan."""

from __future__ import annotations

import argparse
from pathlib import Path

from console.cli.words import Add, formats, whole
from console.commands.settings import Settings
from console.errors import UsageError
from console.manual import TOPICS


def add_reading(add: Add) -> None:
    """Make ``plan``, ``rehearse``, ``approve``, ``lint``, ``new-down``, ``init`` ``config`` and ``manual`` known."""
    plan = add("plan", "print the plan: statements, locks, hazards, ways back", _plan)
    plan.add_argument("--database", action="store_true", help="use the catalogue of the database too")
    plan.add_argument("--task", action="append", default=[], metavar="ID", help="only this task (may be repeated)")
    plan.add_argument("--phase", default="", metavar="ID", help="only this phase")
    plan.add_argument("--hazards", action="store_true", help="only statements with hazards")
    plan.add_argument("--diff", action="store_true", help="only how it differs from what was begun, else approved")
    plan.add_argument("--strict", action="store_true", help="exit code 1 on a hazard that hurts and nobody accepted")
    formats(plan, "markdown", "html", "sarif")

    _rehearse_words(
        add("rehearse", "prove the plan on a scratch server: forward, back to the byte, forward again", _rehearse)
    )
    _approve_words(
        add("approve", "record that you approve exactly these files, or where the approval stands", _approve)
    )
    _lint_words(add("lint", "what the statements of SQL files lock and risk", _lint, plan=False, dsn=False))

    down = add("new-down", "write the derived way back of an SQL file beside it", _new_down, plan=False, dsn=False)
    down.add_argument("file", type=Path, metavar="FILE")

    init = add("init", "write a small plan that applies as it is, to begin with", _init, plan=False, dsn=False)
    init.add_argument("directory", nargs="?", type=Path, default=Path(), metavar="DIR", help="default: this one")
    _config_words(
        add("config", "the settings in force, or what can stand in a plan.toml", _config, plan=False, dsn=False)
    )

    manual = add("manual", "read the manual; without a topic, which there are", _manual, plan=False, dsn=False)
    manual.add_argument("topic", nargs="?", choices=TOPICS, metavar="TOPIC", help=f"one of {', '.join(TOPICS)}")


def _rehearse_words(made: argparse.ArgumentParser) -> None:
    made.add_argument(
        "--database", action="store_true", help="with the schema and rows of the database (as --dsn does)"
    )
    made.add_argument(
        "--data", choices=("sample", "statistics", "made"), default="sample",
        help="rows of the database: a sample, or made up from its statistics, or by type alone",
    )  # fmt: skip
    made.add_argument(
        "--no-data-from-target", dest="data", action="store_const", const="made", help="the same as --data made"
    )
    made.add_argument(
        "--on-target", action="store_true",
        help="measure files' statements on the database itself instead, in transactions that are rolled back",
    )  # fmt: skip
    made.add_argument("--yes", action="store_true", help="with --on-target: do not ask, on production either")
    made.add_argument("--task", default="", metavar="ID", help="only this task; those before it are carried forward")
    made.add_argument("--rows", type=whole(0), default=2000, metavar="N", help="rows of each table (default 2000)")
    made.add_argument("--record", type=Path, metavar="FILE", help="where the record goes (default: the state folder)")
    made.add_argument("--save", action="store_true", help="write it to rehearsal.json beside plan.toml too")
    made.add_argument(
        "--report",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a report as .md, .html or .json; again for more",
    )
    formats(made)


def _approve_words(made: argparse.ArgumentParser) -> None:
    made.add_argument("--comment", default="", metavar="TEXT", help="kept with it")
    made.add_argument("--withdraw", action="store_true", help="take your approval back")
    made.add_argument("--sha256", default="", metavar="DIGITS", help="only if the plan's digest begins so")
    made.add_argument("--file", action="store_true", help="in approvals.jsonl beside the plan, not in the journal")
    made.add_argument("--check", action="store_true", help="only say where it stands; exit code 5 if not approved")
    made.add_argument("--grant", default="", metavar="ROLE", help="let a role record approvals in the journal")
    formats(made)


def _lint_words(lint: argparse.ArgumentParser) -> None:
    lint.set_defaults(refuse=lint.error)
    lint.add_argument(
        "files",
        nargs="*",
        type=Path,
        metavar="FILE",
        help="SQL files, or directories: the way forward of their plan or migrations",
    )
    lint.add_argument("--pg", type=whole(13, 18), default=18, metavar="MAJOR", help="server version (default 18)")
    lint.add_argument("--style", action="store_true", help="also types and names that are regretted later")
    lint.add_argument(
        "--explain", nargs="?", const="", metavar="CODE", help="what a hazard means; without CODE: list them all"
    )
    lint.add_argument(
        "--format", choices=("text", "json", "sarif", "markdown"), default="text", help="markdown: with --explain"
    )


def _config_words(config: argparse.ArgumentParser) -> None:
    what = config.add_mutually_exclusive_group()
    what.add_argument(
        "--schema", dest="what", action="store_const", const="schema", help="the JSON Schema of plan.toml, for editors"
    )
    what.add_argument(
        "--reference", dest="what", action="store_const", const="reference", help="every key of plan.toml, as Markdown"
    )


def _manual(settings: Settings, args: argparse.Namespace) -> int:
    from console.commands.manual import manual

    return manual(args.topic or "")


def _plan(settings: Settings, args: argparse.Namespace) -> int:
    with_database = args.database or bool(args.dsn)
    if args.diff:
        from console.commands.plan_diff import plan_diff

        return plan_diff(settings, args.format, with_database=with_database)
    from console.commands.show_plan import PlanWanted, show_plan

    wanted = PlanWanted(args.format, with_database, args.strict, tuple(args.task), args.phase, args.hazards)
    return show_plan(settings, wanted)


def _rehearse(settings: Settings, args: argparse.Namespace) -> int:
    from console.commands.rehearse import RehearseSettings, rehearse_plan
    from console.rehearsal.rehearse import Data, Wanted

    wanted = Wanted(args.rows, args.task, args.database or bool(args.dsn), args.dsn, Data(args.data))
    if args.on_target and args.save:
        raise UsageError("What --on-target measures proves no way back: it is not saved beside the plan.")
    asked = RehearseSettings(wanted, args.format, args.record, args.save, tuple(args.report), args.on_target, args.yes)
    return rehearse_plan(settings, asked)


def _approve(settings: Settings, args: argparse.Namespace) -> int:
    from console.commands.approve import Wish, approve

    words = [name for name in ("withdraw", "check", "grant") if getattr(args, name)]
    if len(words) > 1:
        raise UsageError(f"--{words[0]} and --{words[1]} do not go together.")
    wish = Wish(args.comment, args.withdraw, args.sha256, args.file, args.check, args.grant, args.format)
    return approve(settings, wish)


def _lint(settings: Settings, args: argparse.Namespace) -> int:
    """Lint files, or explain a hazard. Raises UsageError for words that do not go together."""
    from console.commands.lint import LintWanted, explain_code, lint

    if args.explain is not None:
        if args.files:
            raise UsageError("--explain takes one code and no files.", do="Ask for it alone.")
        return explain_code(args.explain, args.format)
    if not args.files:
        args.refuse("the following arguments are required: FILE")
    if args.format == "markdown":
        raise UsageError("--format markdown is for --explain.", do="Use --format text or json.")
    return lint(LintWanted(tuple(args.files), args.pg, args.style, args.format))


def _new_down(settings: Settings, args: argparse.Namespace) -> int:
    from console.commands.read_sql import new_down

    return new_down(args.file)


def _init(settings: Settings, args: argparse.Namespace) -> int:
    from console.commands.init import init

    return init(args.directory)


def _config(settings: Settings, args: argparse.Namespace) -> int:
    from console.commands.init import config

    return config(settings, args.what or "")
