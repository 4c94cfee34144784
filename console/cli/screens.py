"""The commands that open a console, and the demo."""

from __future__ import annotations

import argparse
from pathlib import Path

from console.cli.words import Add, formats, rate, whole
from console.commands.picture_wanted import SCREENS, PictureWanted, cells
from console.commands.settings import Drawn, Settings
from console.errors import UsageError


def add_screens(add: Add) -> None:
    """Make ``demo``, ``run``, ``attach`` and ``replay`` known."""
    demo = add(
        "demo", "a real server, generated data, live traffic and the console on the shipped plan", _demo, dsn=False
    )
    demo.add_argument("--rows", type=whole(1), default=1_000_000, help="tickers to generate (default 1000000)")
    demo.add_argument("--traffic", type=rate, default=500, metavar="OPS", help="operations/s (default 500; 0: none)")
    demo.add_argument("--headless", action="store_true", help="run all phases without a screen")
    demo.add_argument("--and-back", action="store_true", help="with --headless: then roll back to the start")
    demo.add_argument("--keep", type=Path, metavar="DIR", help="keep the server's data in DIR and use it again")
    formats(demo)
    _drawing(demo)

    run = add("run", "open the console on a plan", _run)
    run.add_argument("--dry-run", action="store_true", help="for reviewers: nothing can be written")
    run.add_argument("--control", action="store_true", help="take control at once; on PROD else only after T")
    _on_detach(run)
    run.add_argument("--offline", action="store_true", help="a dry run without any database")
    _drawing(run)

    attach = add("attach", "open the console on a run that goes on already", _attach)
    attach.add_argument("run", type=int, nargs="?", help="the run's number (default: the newest)")
    attach.add_argument("--demo", action="store_true", help="the demo that runs in another terminal")
    attach.add_argument("--control", action="store_true", help="also send commands; needs --plan")
    _on_detach(attach)
    attach.add_argument(
        "--plain", action="store_true",
        help="lines instead of a screen, for screen readers and pipes (by itself where no screen can be drawn)",
    )  # fmt: skip
    _drawing(attach)

    replay = add("replay", "play the console through a past run", _replay)
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
    _drawing(replay)


def _drawing(made: argparse.ArgumentParser) -> None:
    """How a console is drawn."""
    made.add_argument("--ascii", action="store_true", default=None, help="draw with ASCII characters only")
    made.add_argument("--theme", help="light, dark or a Textual theme (default: by the terminal's own word)")
    made.add_argument(
        "--mouse", action="store_true", help="a click chooses a line, the wheel moves (default: no mouse)"
    )


def _drawn(args: argparse.Namespace) -> Drawn:
    return Drawn(args.ascii, args.theme, args.mouse)


def _on_detach(made: argparse.ArgumentParser) -> None:
    """What becomes of the run when the console in control goes."""
    made.add_argument(
        "--on-detach", choices=("pause", "go-on"),
        help="when this console goes while it has control, by q or a dropped line: pause the run, or go on (default)",
    )  # fmt: skip


def _demo(settings: Settings, args: argparse.Namespace) -> int:
    from console.commands.demo import DemoSettings, demo

    wanted = DemoSettings(args.rows, args.traffic, args.headless, args.and_back, args.keep, args.format, _drawn(args))
    return demo(settings, wanted)


def _run(settings: Settings, args: argparse.Namespace) -> int:
    from console.commands.operate import run_screen

    return run_screen(
        settings, dry_run=args.dry_run or args.offline, offline=args.offline, control=args.control,
        on_detach=args.on_detach, drawn=_drawn(args),
    )  # fmt: skip


def _attach(settings: Settings, args: argparse.Namespace) -> int:
    from console.commands.operate import attach_screen

    if args.demo:
        from console.commands.demo_place import at_demo

        settings = at_demo(settings)
    return attach_screen(
        settings, args.run, control=args.control, on_detach=args.on_detach, drawn=_drawn(args), plain=args.plain
    )


def _replay(settings: Settings, args: argparse.Namespace) -> int:
    if args.picture:
        from console.commands.picture import picture

        asked = (args.screen or "tasks", args.at or "", args.size or (120, 40))
        return picture(settings, args.what, PictureWanted(args.picture, *asked))
    if args.screen or args.at or args.size:
        raise UsageError("--screen, --at and --size say which picture.", do="Add --picture FILE.")
    from console.commands.replay import replay

    return replay(settings, args.what, _drawn(args))
