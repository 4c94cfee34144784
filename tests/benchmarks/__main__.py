"""``python -m tests.benchmarks``: every benchmark, or some; tables on stdout, progress on stderr, JSON where asked."""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from console.demo.binaries import find_binaries
from console.demo.server import EmbeddedServer
from tests.benchmarks import backfill, console, preview, traffic, triggers, validation, whole_run
from tests.benchmarks.ground import SETTINGS, lay, say, server
from tests.benchmarks.lines import Line, printed

ON_GROUND = {
    "backfill": backfill.measure,
    "traffic": traffic.measure,
    "writer": triggers.measure,
    "validation": validation.measure,
}
ALL = (*ON_GROUND, "stalls", "preview", "console")


def _words(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument(
        "--rows", default="1000000", help="rows of the ticker table, several with commas (default 1000000)"
    )
    parser.add_argument("--only", default=",".join(ALL), help=f"which: any of {', '.join(ALL)} (memory is in stalls)")
    parser.add_argument("--repeats", type=int, default=3, help="repetitions, of which medians are taken (default 3)")
    parser.add_argument("--json", type=Path, help="also write everything there")
    args = parser.parse_args(argv)
    args.rows = [int(rows) for rows in args.rows.replace("_", "").split(",")]
    args.only = args.only.split(",")
    if unknown := set(args.only) - set(ALL):
        parser.error(f"unknown benchmark: {', '.join(sorted(unknown))}")
    return args


def run(running: EmbeddedServer, rows: int, only: list[str], repeats: int) -> Iterator[list[Line]]:
    """The benchmarks at one size, each as it is done."""
    wanted = [name for name in ON_GROUND if name in only]
    if wanted:
        name = f"ground_{rows}"
        say(f"filling {rows:,} rows")
        ground = lay(running, name, rows)
        for benchmark in wanted:
            yield ON_GROUND[benchmark](ground, repeats)
        running.drop_database(name)
    if "stalls" in only:
        yield whole_run.measure(running, rows, repeats)
    if "preview" in only:
        yield list(preview.measure(running, repeats))
    if "console" in only:
        yield list(console.measure(running, repeats))


def main(argv: list[str]) -> int:
    """Run, print, write; what was measured before a failure is printed too."""
    args = _words(argv)
    load = [os.getloadavg()[0]]
    began = datetime.now(UTC)
    lines: list[Line] = []
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        with server() as running:
            for rows in args.rows:
                for found in run(running, rows, args.only, args.repeats):
                    lines += found
                    load.append(os.getloadavg()[0])
    finally:
        _show(args, began, load, lines)
    return 0


def _show(args: argparse.Namespace, began: datetime, load: list[float], lines: list[Line]) -> None:
    print(printed(lines))
    print(
        f"PostgreSQL {find_binaries().version}, {os.cpu_count()} processors, load {load[0]:.1f} at the beginning and"
        f" {load[-1]:.1f} at the end: medians of {args.repeats}, in brackets the least and the most"
    )
    if args.json:
        about = {
            "began": began.isoformat(), "ended": datetime.now(UTC).isoformat(), "load": load, "settings": SETTINGS,
            "postgresql": find_binaries().version, "python": platform.python_version(), "machine": platform.platform(),
            "processors": os.cpu_count(), "repeats": args.repeats,
        }  # fmt: skip
        args.json.write_text(json.dumps(about | {"lines": [found.data() for found in lines]}, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
