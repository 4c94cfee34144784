"""The command ``pgferry``: argument parsing and exit codes only."""

from __future__ import annotations

import argparse
import io
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path

from console import __version__
from console.commands.picture_wanted import SCREENS, PictureWanted, cells
from console.commands.settings import Drawn, Settings, environment_name, operator_name
from console.errors import FerryError, UsageError
from console.manual import TOPICS
from console.plan.layouts import LAYOUTS
from console.text import plain

EXIT_CODES = """\
exit codes: 0 done; 1 a step or check failed; 2 usage; 3 no connection or privilege; 4 plan invalid or changed;
5 refused (someone else runs it, not approved, read-only); 6 stopped on purpose (paused, gate); 130 interrupted"""

CONNECTION = """\
The connection is libpq's own: --dsn takes a conninfo string or URI; without it PG* variables, a service file and
~/.pgpass are used, as in psql. PGFERRY_ENV names the place (PROD, STAGING, DEV); unknown counts as PROD."""


def _whole(least: int, most: int | None = None) -> Callable[[str], int]:
    """A type for argparse: a whole number within limits."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
        if value < least or (most is not None and value > most):
            raise argparse.ArgumentTypeError(
                f"{value} is not {f'from {least} to {most}' if most else f'{least} or more'}"
            )
        return value

    return read


def _rate(text: str) -> float:
    """A type for argparse: operations a second, 0 or more."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of operations a second")
    return value


Add = Callable[..., argparse.ArgumentParser]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pgferry",
        description="Carries a live PostgreSQL database from an old shape to a new one while applications keep running.",
        epilog=f"{CONNECTION}\n\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"pgferry {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    def add(name: str, text: str, *, plan: bool = True, dsn: bool = True) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text, epilog=EXIT_CODES)
        if plan:
            made.add_argument("--plan", type=Path, metavar="DIR", help="the plan's directory, or one of migrations")
            made.add_argument(
                "--layout", choices=LAYOUTS, metavar="NAME",
                help=f"read DIR as migrations of {', '.join(LAYOUTS[:-1])} or {LAYOUTS[-1]} (default: found out)",
            )  # fmt: skip
        if dsn:
            made.add_argument("--dsn", default="", help="conninfo string or URI; default: libpq's environment")
        return made

    _screen_words(add)
    _steering_words(add)
    _reading_words(add)
    _init_words(add)
    _manual_words(add)
    completion = add("completion", "print the shell's completion of this command's words", plan=False, dsn=False)
    completion.add_argument(
        "shell", choices=("bash", "zsh", "tcsh"), help='for bash: eval "$(pgferry completion bash)"'
    )
    return parser


def _formats(made: argparse.ArgumentParser, *names: str) -> None:
    """``--format`` with text, json and these."""
    made.add_argument("--format", choices=("text", "json", *names), default="text")


def _screen(made: argparse.ArgumentParser) -> None:
    """How a console is drawn."""
    made.add_argument("--ascii", action="store_true", default=None, help="draw with ASCII characters only")
    made.add_argument("--theme", help="light, dark or a Textual theme (default: by the terminal's own word)")
    made.add_argument(
        "--mouse", action="store_true", help="a click chooses a line, the wheel moves (default: no mouse)"
    )


def _on_detach(made: argparse.ArgumentParser) -> None:
    """What becomes of the run when the console in control goes."""
    made.add_argument(
        "--on-detach", choices=("pause", "go-on"),
        help="when this console goes while it has control, by q or a dropped line: pause the run, or go on (default)",
    )  # fmt: skip


def _screen_words(add: Add) -> None:
    """The commands that open a console, and the demo."""
    demo = add("demo", "a real server, generated data, live traffic and the console on the shipped plan", dsn=False)
    demo.add_argument("--rows", type=_whole(1), default=1_000_000, help="tickers to generate (default 1000000)")
    demo.add_argument("--traffic", type=_rate, default=500, metavar="OPS", help="operations/s (default 500; 0: none)")
    demo.add_argument("--headless", action="store_true", help="run all phases without a screen")
    demo.add_argument("--and-back", action="store_true", help="with --headless: then roll back to the start")
    demo.add_argument("--keep", type=Path, metavar="DIR", help="keep the server's data in DIR and use it again")
    _formats(demo)
    _screen(demo)

    run = add("run", "open the console on a plan")
    run.add_argument("--dry-run", action="store_true", help="for reviewers: nothing can be written")
    run.add_argument("--control", action="store_true", help="take control at once; on PROD else only after T")
    _on_detach(run)
    run.add_argument("--offline", action="store_true", help="a dry run without any database")
    _screen(run)

    attach = add("attach", "open the console on a run that goes on already")
    attach.add_argument("run", type=int, nargs="?", help="the run's number (default: the newest)")
    attach.add_argument("--demo", action="store_true", help="the demo that runs in another terminal")
    attach.add_argument("--control", action="store_true", help="also send commands; needs --plan")
    _on_detach(attach)
    attach.add_argument(
        "--plain", action="store_true",
        help="lines instead of a screen, for screen readers and pipes (by itself where no screen can be drawn)",
    )  # fmt: skip
    _screen(attach)

    replay = add("replay", "play the console through a past run")
    replay.add_argument(
        "what", nargs="?", default="", metavar="RUN", help="its number, or a file of report --format jsonl"
    )
    replay.add_argument(
        "--picture", type=Path, metavar="FILE", help="instead write one screen as SVG; needs no terminal"
    )
    replay.add_argument("--screen", choices=SCREENS, help="with --picture: which one (default tasks)")
    replay.add_argument(
        "--at", metavar="WHEN", help="with --picture: 40%%, 23:41:07 or a date and time (default: the end)"
    )
    replay.add_argument("--size", type=cells, metavar="CELLS", help="with --picture: width and height (default 120x40)")
    _screen(replay)


def _steering_words(add: Add) -> None:
    """The commands that act on a run or look at it without a screen."""
    apply = add("apply", "run forward without a screen")
    apply.add_argument("--until", default="end", metavar="TASK", help="a task, a phase or end (default)")
    _formats(apply)

    _formats(add("status", "where the newest run stands"))
    _formats(add("report", "the whole report of the newest run"), "markdown", "html", "jsonl")

    speed = add("speed", "change a copy's settings while it runs, or before it is resumed")
    speed.add_argument("settings", nargs="+", metavar="NAME=VALUE", help="for instance workers=2 max_lock_waiters=5")
    work = add("work", "lend workers of this host to a copy that runs elsewhere, until it ends")
    work.add_argument("--workers", type=_whole(1, 16), default=1, help="how many (default 1)")
    add("pause", "pause after the current batch or statement")
    resume = add("resume", "go on after a pause or a failure")
    resume.add_argument("--take-over", action="store_true", help="in the place of a runner that does not answer")

    cancel = add("cancel", "cancel the statement of a session that is in the way, or this run's own")
    cancel.add_argument("pid", type=_whole(1), metavar="PID", help="as 'pgferry status' shows it")
    cancel.add_argument("--terminate", action="store_true", help="end the session, its transaction is rolled back")
    cancel.add_argument("--yes", action="store_true", help="do it without asking")

    rollback = add("rollback", "go back to just before a task, or to the start")
    rollback.add_argument("--to", required=True, metavar="TASK", help="a task, a phase or start")
    rollback.add_argument("--show", action="store_true", help="only say what would be done")
    rollback.add_argument("--typed", default="", metavar="DATABASE", help="the database's name, where data is lost")
    _formats(rollback)

    check = add("check", "run the plan's checks now, or compare every row (--rows)")
    check.add_argument("--phase", default="", help="only those of one phase")
    _rows(check)
    _formats(check)


def _reading_words(add: Add) -> None:
    """The commands that read a plan or SQL files, and what a reviewer does with them."""
    plan = add("plan", "print the plan: statements, locks, hazards, ways back")
    plan.add_argument("--database", action="store_true", help="use the catalogue of the database too")
    plan.add_argument("--task", action="append", default=[], metavar="ID", help="only this task (may be repeated)")
    plan.add_argument("--phase", default="", metavar="ID", help="only this phase")
    plan.add_argument("--hazards", action="store_true", help="only statements with hazards")
    plan.add_argument("--diff", action="store_true", help="only how it differs from what was begun, else approved")
    plan.add_argument("--strict", action="store_true", help="exit code 1 on a hazard that hurts and nobody accepted")
    _formats(plan, "markdown", "html", "sarif")

    _rehearse_words(add)

    _approve_words(add("approve", "record that you approve exactly these files, or where the approval stands"))

    _lint(add("lint", "what the statements of SQL files lock and risk", plan=False, dsn=False))

    down = add("new-down", "write the derived way back of an SQL file beside it", plan=False, dsn=False)
    down.add_argument("file", type=Path, metavar="FILE")


def _rehearse_words(add: Add) -> None:
    made = add("rehearse", "prove the plan on a scratch server: forward, back to the byte, forward again")
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
    made.add_argument("--rows", type=_whole(0), default=2000, metavar="N", help="rows of each table (default 2000)")
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
    _formats(made)


def _rehearse(settings: Settings, args: argparse.Namespace) -> int:
    from console.commands.rehearse import RehearseSettings, rehearse_plan
    from console.rehearsal.rehearse import Data, Wanted

    wanted = Wanted(args.rows, args.task, args.database or bool(args.dsn), args.dsn, Data(args.data))
    if args.on_target and args.save:
        raise UsageError("What --on-target measures proves no way back: it is not saved beside the plan.")
    asked = RehearseSettings(wanted, args.format, args.record, args.save, tuple(args.report), args.on_target, args.yes)
    return rehearse_plan(settings, asked)


def _lint(lint: argparse.ArgumentParser) -> None:
    """The words of ``lint``."""
    lint.set_defaults(refuse=lint.error)
    lint.add_argument(
        "files",
        nargs="*",
        type=Path,
        metavar="FILE",
        help="SQL files, or directories: the way forward of their plan or migrations",
    )
    lint.add_argument("--pg", type=_whole(13, 18), default=18, metavar="MAJOR", help="server version (default 18)")
    lint.add_argument("--style", action="store_true", help="also types and names that are regretted later")
    lint.add_argument(
        "--explain", nargs="?", const="", metavar="CODE", help="what a hazard means; without CODE: list them all"
    )
    lint.add_argument(
        "--format", choices=("text", "json", "sarif", "markdown"), default="text", help="markdown: with --explain"
    )


def _do_lint(args: argparse.Namespace) -> int:
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


def _approve_words(made: argparse.ArgumentParser) -> None:
    """The words of ``approve``."""
    made.add_argument("--comment", default="", metavar="TEXT", help="kept with it")
    made.add_argument("--withdraw", action="store_true", help="take your approval back")
    made.add_argument("--sha256", default="", metavar="DIGITS", help="only if the plan's digest begins so")
    made.add_argument("--file", action="store_true", help="in approvals.jsonl beside the plan, not in the journal")
    made.add_argument("--check", action="store_true", help="only say where it stands; exit code 5 if not approved")
    made.add_argument("--grant", default="", metavar="ROLE", help="let a role record approvals in the journal")
    _formats(made)


def _approve(settings: Settings, args: argparse.Namespace) -> int:
    from console.commands.approve import Wish, approve

    words = [name for name in ("withdraw", "check", "grant") if getattr(args, name)]
    if len(words) > 1:
        raise UsageError(f"--{words[0]} and --{words[1]} do not go together.")
    wish = Wish(args.comment, args.withdraw, args.sha256, args.file, args.check, args.grant, args.format)
    return approve(settings, wish)


def _manual_words(add: Add) -> None:
    """The words of ``manual``."""
    manual = add("manual", "read the manual; without a topic, which there are", plan=False, dsn=False)
    manual.add_argument("topic", nargs="?", choices=TOPICS, metavar="TOPIC", help=f"one of {', '.join(TOPICS)}")


def _init_words(add: Add) -> None:
    """The words of ``init`` and ``config``."""
    init = add("init", "write a small plan that applies as it is, to begin with", plan=False, dsn=False)
    init.add_argument("directory", nargs="?", type=Path, default=Path(), metavar="DIR", help="default: this one")
    config = add("config", "the settings in force, or what can stand in a plan.toml", plan=False, dsn=False)
    what = config.add_mutually_exclusive_group()
    what.add_argument(
        "--schema", dest="what", action="store_const", const="schema", help="the JSON Schema of plan.toml, for editors"
    )
    what.add_argument(
        "--reference", dest="what", action="store_const", const="reference", help="every key of plan.toml, as Markdown"
    )


def _rows(check: argparse.ArgumentParser) -> None:
    """The words of ``check --rows``."""
    rows = check.add_argument_group("every row (--rows)")
    rows.add_argument("--rows", action="store_true", help="compare every row of old and new tables instead")
    rows.add_argument("--mapping", default="", metavar="M", help="only one mapping")
    rows.add_argument("--limit", type=_whole(0), default=20, metavar="N", help="differences to name (default 20)")
    rows.add_argument("--workers", type=_whole(1, 16), default=2, metavar="N", help="connections (default 2)")
    rows.add_argument(
        "--duty",
        type=_whole(1, 100),
        metavar="PERCENT",
        help="share of the time to work (default 100; 20 with --watch)",
    )
    rows.add_argument("--repair", action="store_true", help="make the side that follows right, then compare again")
    rows.add_argument(
        "--from",
        dest="side",
        choices=("old", "new"),
        help="with --repair: the side that is right (default: the one that leads)",
    )
    rows.add_argument("--remove-duplicates", action="store_true", help="with --repair: delete surplus rows of one key")
    rows.add_argument("--watch", action="store_true", help="compare again and again until the old table is retired")
    rows.add_argument(
        "--every",
        type=_whole(1),
        default=60,
        metavar="SECONDS",
        help="with --watch: from one pass to the next (default 60)",
    )


def _check(settings: Settings, args: argparse.Namespace) -> int:
    """The plan's checks, or rows. Raises UsageError for words that do not go together."""
    alone = [w for w in ("mapping", "duty", "repair", "side", "remove_duplicates", "watch") if getattr(args, w)]
    if not args.rows:
        if alone:
            raise UsageError(f"--{alone[0].replace('side', 'from').replace('_', '-')} needs --rows.")
        from console.commands.operate import run_checks

        return run_checks(settings, args.phase, args.format)
    if args.phase:
        raise UsageError("--phase chooses checks, not rows: --mapping chooses rows.")
    if (args.side or args.remove_duplicates) and not args.repair:
        raise UsageError("--from and --remove-duplicates say how to repair.", do="Add --repair.")
    if args.watch and args.repair:
        raise UsageError("--watch only looks; it does not repair.", do="Repair once, then watch.")
    from console.commands.check_rows import RowsWanted, check_rows
    from console.engine.rows import Orders
    from console.plan.model import Leads

    orders = Orders(
        args.limit, 1 if args.watch else args.workers, args.duty or (20 if args.watch else 100), args.repair,
        Leads(args.side) if args.side else None, args.remove_duplicates,
    )  # fmt: skip
    return check_rows(settings, RowsWanted(orders, args.mapping, args.every if args.watch else 0, args.format))


def _settings(args: argparse.Namespace) -> Settings:
    return Settings(
        dsn=getattr(args, "dsn", ""),
        plan_dir=getattr(args, "plan", None),
        layout=getattr(args, "layout", None) or "",
        operator=operator_name(),
        environment=environment_name(),
    )


def _drawn(args: argparse.Namespace) -> Drawn:
    return Drawn(args.ascii, args.theme, args.mouse)


def _dispatch(args: argparse.Namespace) -> int:
    """Imports stand in the branches: printing help or a status must not wait for what it does not use."""
    settings = _settings(args)
    match args.command:
        case None:
            from console.commands.welcome import welcome

            return welcome(settings)
        case "lint":
            return _do_lint(args)
        case "approve":
            return _approve(settings, args)
        case "rehearse":
            return _rehearse(settings, args)
        case "init":
            from console.commands.init import init

            return init(args.directory)
        case "config":
            from console.commands.init import config

            return config(settings, args.what or "")
        case "manual":
            from console.commands.manual import manual

            return manual(args.topic or "")
        case "status":
            from console.commands.status import status

            return status(settings, args.format)
        case "new-down":
            from console.commands.read_sql import new_down

            return new_down(args.file)
        case "plan" if args.diff:
            from console.commands.plan_diff import plan_diff

            return plan_diff(settings, args.format, with_database=args.database or bool(args.dsn))
        case "plan":
            from console.commands.show_plan import PlanWanted, show_plan

            return show_plan(
                settings,
                PlanWanted(
                    args.format,
                    args.database or bool(args.dsn),
                    args.strict,
                    tuple(args.task),
                    args.phase,
                    args.hazards,
                ),
            )
        case "demo":
            from console.commands.demo import DemoSettings, demo

            wanted = DemoSettings(
                args.rows, args.traffic, args.headless, args.and_back, args.keep, args.format, _drawn(args)
            )
            return demo(settings, wanted)
    return _operate(settings, args)


def _operate(settings: Settings, args: argparse.Namespace) -> int:
    from console.commands import operate
    from console.journal.state import Verb

    match args.command:
        case "run":
            return operate.run_screen(
                settings, dry_run=args.dry_run or args.offline, offline=args.offline, control=args.control,
                on_detach=args.on_detach, drawn=_drawn(args),
            )  # fmt: skip
        case "attach":
            if args.demo:
                from console.commands.demo_place import at_demo

                settings = at_demo(settings)
            return operate.attach_screen(
                settings, args.run, control=args.control, on_detach=args.on_detach, drawn=_drawn(args),
                plain=args.plain,
            )  # fmt: skip
        case "replay":
            if args.picture:
                from console.commands.picture import picture

                asked = (args.screen or "tasks", args.at or "", args.size or (120, 40))
                return picture(settings, args.what, PictureWanted(args.picture, *asked))
            if args.screen or args.at or args.size:
                raise UsageError("--screen, --at and --size say which picture.", do="Add --picture FILE.")
            from console.commands.replay import replay

            return replay(settings, args.what, _drawn(args))
        case "apply":
            return operate.apply(settings, args.until, args.format)
        case "report":
            return operate.report(settings, args.format)
        case "speed":
            return operate.speed(settings, args.settings)
        case "work":
            return operate.work(settings, args.workers)
        case "pause":
            return operate.command(settings, Verb.PAUSE)
        case "resume":
            return operate.resume(settings, take_over=args.take_over)
        case "cancel":
            return operate.cancel(settings, args.pid, terminate=args.terminate, yes=args.yes)
        case "rollback":
            return operate.rollback(settings, args.to, args.typed, args.format, show=args.show)
        case _:
            return _check(settings, args)


def _completion(parser: argparse.ArgumentParser, shell: str) -> int:
    """Print what makes a shell complete the command's words, its files and directories included."""
    import shtab

    directories, files = ("plan", "keep"), ("files", "file", "what", "report", "record", "picture")
    subparsers = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for command in (made for action in subparsers for made in action.choices.values()):
        for action in command._actions:
            if action.dest in directories:
                action.complete = shtab.DIRECTORY
            elif action.dest in files:
                action.complete = shtab.FILE
    print(shtab.complete(parser, shell))
    return 0


def main(argv: list[str] | None = None) -> int:
    """Entry point; every FerryError becomes one clear message and its exit code."""
    parser = _parser()
    args = parser.parse_args(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal that lacks a character shows ?, and nothing stops
        sys.stdout.reconfigure(errors="replace")
    try:
        if args.command == "completion":
            return _completion(parser, args.shell)
        return _dispatch(args)
    except FerryError as error:
        if error.detail:
            print(plain(error.detail, keep_newlines=True), file=sys.stderr)
        print(f"pgferry: {plain(str(error))}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("pgferry: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        place = f" ({error.filename})" if error.filename else ""
        print(f"pgferry: {plain(f'The system refused: {error.strerror or error}{place}.')}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
