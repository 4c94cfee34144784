"""``pgferry demo``: a real server, generated rows, live traffic, and the console (or none) on the shipped plan."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from console.commands import operate
from console.commands.console_world import ConsoleWorld
from console.commands.demo_place import noted
from console.commands.settings import Drawn, Settings
from console.commands.world import JournalWorld, finished
from console.demo.server import DEMO_SETTINGS, EmbeddedServer, find_binaries
from console.demo.setup import prepare
from console.demo.traffic import Traffic, TrafficResult
from console.errors import StepFailed
from console.headless.report import report_json, report_text
from console.journal import schema
from console.journal.connect import connect
from console.journal.state import RunState, RunStatus, Verb
from console.plan.find import shipped_plan
from console.plan.load import load_plan
from console.plan.model import Plan

DATABASE = "cex_arbitrage"
ALONE_SECONDS = 10.0  # the traffic's own figures before the run


@dataclass(frozen=True, slots=True)
class DemoSettings:
    """What the demo was asked for. ``rate`` is in operations a second over all workers."""

    rows: int = 1_000_000
    rate: float = 500.0
    headless: bool = False
    and_back: bool = False
    keep: Path | None = None
    output: str = "text"
    drawn: Drawn = field(default_factory=Drawn)


def say(text: str) -> None:
    """A line of the demo's own, on stderr."""
    print(f"demo: {text}", file=sys.stderr, flush=True)


def demo(settings: Settings, wanted: DemoSettings) -> int:
    """Run the demo; returns 0 only if every check passed and the traffic saw no error."""
    plan = load_plan(settings.plan_dir or shipped_plan())
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    binaries = find_binaries()
    say(f"starting PostgreSQL {binaries.version}")
    with EmbeddedServer(binaries, wanted.keep, settings=DEMO_SETTINGS) as server:
        with connect(server.conninfo()) as conn:
            found = conn.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone()
        conninfo = server.conninfo(DATABASE) if found else server.create_database(DATABASE)
        start = time.monotonic()
        if prepare(plan, conninfo, wanted.rows, say):
            say(f"{wanted.rows:,} tickers and {wanted.rows // 5:,} trades in {time.monotonic() - start:.1f} s")
        with connect(conninfo) as conn:
            schema.install(conn)
        say(f'from another terminal: pgferry attach --demo, or psql "{conninfo}"')
        here = replace(settings, dsn=conninfo, environment="DEMO", plan_dir=plan.root)
        with noted(conninfo):
            if wanted.rate <= 0:
                return _operate(here, wanted, plan, None, binaries.program("pg_dump"))
            with Traffic(plan, conninfo, rate=wanted.rate) as traffic:
                return _operate(here, wanted, plan, traffic, binaries.program("pg_dump"))


def _leave(number: int, _: object) -> None:
    raise SystemExit(128 + number)


def _operate(here: Settings, wanted: DemoSettings, plan: Plan, traffic: Traffic | None, pg_dump: Path) -> int:
    if not wanted.headless:
        from console.tui.app import run_console

        code = run_console(
            ConsoleWorld(here, plan),
            ascii_only=wanted.drawn.ascii_only,
            theme=wanted.drawn.theme,
            mouse=wanted.drawn.mouse,
            stays=False,
        )
        result = _stop(here, plan, traffic)
        if result is not None:
            say(_traffic_words(result))
        return code or (0 if result is None or result.ok else 1)
    if traffic is not None:
        say(f"{wanted.rate:.0f} operations/s for {ALONE_SECONDS:.0f} s on their own, for figures to compare with")
        time.sleep(ALONE_SECONDS)
    world = JournalWorld(here, plan)
    try:
        return _unattended(world, wanted, traffic, pg_dump, here.dsn)
    finally:
        world.close()


def _stop(here: Settings, plan: Plan, traffic: Traffic | None) -> TrafficResult | None:
    """End the runner at a safe point, if one works, before the server goes; then the traffic."""
    world = JournalWorld(here, plan)
    try:
        if world.state().status in (RunStatus.RUNNING, RunStatus.ROLLING_BACK):
            say("pausing the run: this server ends with the demo")
            world.send(Verb.PAUSE)
            while not finished(world.state()):
                time.sleep(0.2)
    finally:
        world.close()
    return traffic.stop() if traffic is not None else None


def _unattended(world: JournalWorld, wanted: DemoSettings, traffic: Traffic | None, pg_dump: Path, dsn: str) -> int:
    before = _schema(pg_dump, dsn) if wanted.and_back else ""
    world.send(Verb.START, until="end")
    forward = state = operate.follow(world)
    faults = _faults(state, RunStatus.DONE)
    if wanted.and_back and not faults:
        say("and back to the start")
        lost = world.rollback_preview("start")  # rows that others wrote into the demo's own database may go
        world.send(Verb.ROLLBACK, to="start", typed=lost.needs_typing)
        state = operate.follow(world)
        faults = _faults(replace(state, checks=forward.checks), RunStatus.ROLLED_BACK)
        equal = _schema(pg_dump, dsn) == before
        say("schema equal to the byte" if equal else "the schema differs from the one before")
        if not equal:
            faults.append("the schema after rolling back differs from the baseline")
    result = traffic.stop() if traffic is not None else None
    if result is not None and not result.ok:
        faults.append(f"the traffic saw {result.errors} errors and {len(result.mismatches)} lost or changed rows")
    # Checks of the way there: on the way back nothing is checked again.
    state = replace(world.report_state(), checks=forward.checks)
    operate.out(report_json(state) if wanted.output == "json" else report_text(state))
    if result is not None:
        say(_traffic_words(result))
    if faults:
        raise StepFailed("; ".join(faults) + ".", state="The report above says where.")
    return 0


def _faults(state: RunState, wanted: RunStatus) -> list[str]:
    faults = [] if state.status is wanted else [f"the run is {state.status}, not {wanted}: {state.error}"]
    failed = [check.check_id for check in state.checks if not check.ok and check.severity == "error"]
    return faults + ([f"checks failed: {', '.join(failed)}"] if failed else [])


def _schema(pg_dump: Path, dsn: str) -> str:
    """The schema as pg_dump writes it, without the journal and without the random key of newer versions."""
    with tempfile.TemporaryFile("w+") as text:
        subprocess.run([str(pg_dump), "--schema-only", "--exclude-schema=pgferry", "-d", dsn], stdout=text, check=True)
        text.seek(0)
        return "".join(line for line in text if not line.startswith("\\"))


def _traffic_words(result: TrafficResult) -> str:
    total = result.total
    words = (
        f"traffic: {result.operations:,} operations, {result.errors} errors, p50 {total.p50_ms:.1f} ms, "
        f"p99 {total.p99_ms:.1f} ms, max {total.max_ms:.0f} ms; "
    )
    words += "every row it wrote is as it wrote it" if not result.mismatches else f"LOST: {result.mismatches[0]}"
    return words + "".join(f"\n      {count} x {message}" for message, count in result.messages[:5])
