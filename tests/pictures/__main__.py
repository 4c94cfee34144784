"""``python -m tests.pictures``: a server, the shipped plan under traffic, and the README's pictures from its journal."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from console.commands.settings import Settings
from console.demo.server import DEMO_SETTINGS, EmbeddedServer, find_binaries
from console.demo.setup import prepare
from console.demo.traffic import Traffic
from console.journal import schema
from console.journal.connect import connect
from console.plan.find import shipped_plan
from console.plan.load import load_plan
from tests.pictures.course import Course
from tests.pictures.neutral import OPERATOR, NeutralWorld


def say(text: str) -> None:
    """Progress, on stderr."""
    print(f"pictures: {text}", file=sys.stderr, flush=True)


def main() -> int:
    """Draw every picture into ``--folder``."""
    parser = argparse.ArgumentParser(prog="python -m tests.pictures", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent, help="where they go (default: here)")
    parser.add_argument("--rows", type=int, default=600_000, help="tickers to generate (default 600000)")
    parser.add_argument("--traffic", type=float, default=200.0, help="operations/s (default 200)")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    plan = load_plan(shipped_plan())
    with tempfile.TemporaryDirectory() as state, EmbeddedServer(find_binaries(), settings=DEMO_SETTINGS) as server:
        os.environ["XDG_STATE_HOME"] = state  # the runner's log and exports are nobody's
        conninfo = server.create_database("cex_arbitrage")
        prepare(plan, conninfo, args.rows, say)
        with connect(conninfo) as conn:
            schema.install(conn)
        with Traffic(plan, conninfo, rate=args.traffic) as traffic:
            settings = Settings(conninfo, plan.root, operator=OPERATOR, environment="DEMO")

            def look(control: bool = False) -> NeutralWorld:
                made = NeutralWorld(settings, plan, control=control)
                made.server = str(conninfo_to_dict(conninfo)["host"])
                return made

            world = look(control=True)
            try:
                Course(world, look, plan, conninfo, args.rows, args.folder, say).run()
            finally:
                world.close()
            if not traffic.stop().ok:
                say("the traffic saw errors or lost rows")
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
