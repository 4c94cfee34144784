"""The commands that act on a run or look at it without a screen."""

from __future__ import annotations

import argparse

from console.cli.words import Add, formats, whole
from console.commands.settings import Settings
from console.errors import UsageError


def add_steering(add: Add) -> None:
    """Make the commands on a run known, from ``apply`` to ``check``."""
    apply = add("apply", "run forward without a screen", _apply)
    apply.add_argument("--until", default="end", metavar="TASK", help="a task, a phase or end (default)")
    formats(apply)

    formats(add("status", "where the newest run stands", _status))
    formats(add("report", "the whole report of the newest run", _report), "markdown", "html", "jsonl")

    speed = add("speed", "change a copy's settings while it runs, or before it is resumed", _speed)
    speed.add_argument("settings", nargs="+", metavar="NAME=VALUE", help="for instance workers=2 max_lock_waiters=5")
    work = add("work", "lend workers of this host to a copy that runs elsewhere, until it ends", _work)
    work.add_argument("--workers", type=whole(1, 16), default=1, help="how many (default 1)")
    add("pause", "pause after the current batch or statement", _pause)
    resume = add("resume", "go on after a pause or a failure", _resume)
    resume.add_argument("--take-over", action="store_true", help="in the place of a runner that does not answer")

    confirm = add("confirm", "answer a gate that waits for a person, or begin a step with no way back", _confirm)
    confirm.add_argument("task", metavar="TASK", help="the gate, or the purge")
    confirm.add_argument("--yes", action="store_true", help="a gate's answer, without asking")
    confirm.add_argument("--typed", default="", metavar="DATABASE", help="the database's name, for a purge")

    cancel = add("cancel", "cancel the statement of a session that is in the way, or this run's own", _cancel)
    cancel.add_argument("pid", type=whole(1), metavar="PID", help="as 'pgferry status' shows it")
    cancel.add_argument("--terminate", action="store_true", help="end the session, its transaction is rolled back")
    cancel.add_argument("--yes", action="store_true", help="do it without asking")

    rollback = add("rollback", "go back to just before a task, or to the start", _rollback)
    rollback.add_argument("--to", required=True, metavar="TASK", help="a task, a phase or start")
    rollback.add_argument("--show", action="store_true", help="only say what would be done")
    rollback.add_argument("--typed", default="", metavar="DATABASE", help="the database's name, where data is lost")
    formats(rollback)

    check = add("check", "run the plan's checks now, or compare every row (--rows)", _check)
    check.add_argument("--phase", default="", help="only those of one phase")
    _rows(check)
    formats(check)


def _rows(check: argparse.ArgumentParser) -> None:
    """The words of ``check --rows``."""
    rows = check.add_argument_group("every row (--rows)")
    rows.add_argument("--rows", action="store_true", help="compare every row of old and new tables instead")
    rows.add_argument("--mapping", default="", metavar="M", help="only one mapping")
    rows.add_argument("--limit", type=whole(0), default=20, metavar="N", help="differences to name (default 20)")
    rows.add_argument("--workers", type=whole(1, 16), default=2, metavar="N", help="connections (default 2)")
    rows.add_argument(
        "--duty",
        type=whole(1, 100),
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
        type=whole(1),
        default=60,
        metavar="SECONDS",
        help="with --watch: from one pass to the next (default 60)",
    )


def _apply(settings: Settings, args: argparse.Namespace) -> int:
    from console.commands import operate

    return operate.apply(settings, args.until, args.format)


def _status(settings: Settings, args: argparse.Namespace) -> int:
    from console.commands.status import status

    return status(settings, args.format)


def _report(settings: Settings, args: argparse.Namespace) -> int:
    from console.commands import operate

    return operate.report(settings, args.format)


def _speed(settings: Settings, args: argparse.Namespace) -> int:
    from console.commands import operate

    return operate.speed(settings, args.settings)


def _work(settings: Settings, args: argparse.Namespace) -> int:
    from console.commands import operate

    return operate.work(settings, args.workers)


def _pause(settings: Settings, args: argparse.Namespace) -> int:
    from console.commands import operate
    from console.journal.state import Verb

    return operate.command(settings, Verb.PAUSE)


def _resume(settings: Settings, args: argparse.Namespace) -> int:
    from console.commands import operate

    return operate.resume(settings, take_over=args.take_over)


def _confirm(settings: Settings, args: argparse.Namespace) -> int:
    from console.commands.confirm import confirm

    return confirm(settings, args.task, typed=args.typed, yes=args.yes)


def _cancel(settings: Settings, args: argparse.Namespace) -> int:
    from console.commands import operate

    return operate.cancel(settings, args.pid, terminate=args.terminate, yes=args.yes)


def _rollback(settings: Settings, args: argparse.Namespace) -> int:
    from console.commands import operate

    return operate.rollback(settings, args.to, args.typed, args.format, show=args.show)


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
