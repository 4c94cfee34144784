"""(e, f) The whole plan forward and back under traffic: the worst stall a client sees in each kind of step, and the
runner's memory; next to the same traffic with no migration, in the same run."""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from console.commands.spawn import start_runner
from console.demo.server import EmbeddedServer
from console.demo.setup import prepare
from console.demo.traffic import Traffic
from console.journal import commands, runs, schema, steps
from console.journal.connect import connect
from console.journal.state import RunStatus, StepLatency, Verb
from console.plan.find import shipped_plan
from console.plan.load import load_plan
from tests.benchmarks.ground import say
from tests.benchmarks.lines import Line, line, ratio

STALLS, MEMORY = "stalls", "memory"
RATE = 500.0
RUN_MINUTES = 60


@dataclass(frozen=True, slots=True)
class Whole:
    """One run of the whole plan: what each kind of step did to the traffic, and the runner's largest size in MB."""

    felt: tuple[StepLatency, ...]
    forward_mb: float
    back_mb: float


def peak_mb(process: subprocess.Popen[str]) -> float:
    """The process's largest resident size so far, 0 once it is gone."""
    try:
        for text in Path(f"/proc/{process.pid}/status").read_text(encoding="ascii").splitlines():
            if text.startswith("VmHWM:"):
                return int(text.split()[1]) / 1024
    except OSError:
        pass
    shown = subprocess.run(["ps", "-o", "rss=", "-p", str(process.pid)], capture_output=True, text=True, check=False)
    return int(shown.stdout.split()[0]) / 1024 if shown.stdout.split() else 0.0


def run(server: EmbeddedServer, rows: int, seconds: float, rate: float, until: str = "end") -> Whole:
    """From an empty database: traffic alone for so long, then forward to ``until`` and back to the start."""
    name = f"whole_{time.monotonic_ns()}"
    conninfo = server.create_database(name)
    plan = load_plan(shipped_plan())
    prepare(plan, conninfo, rows)
    try:
        with connect(conninfo) as conn, Traffic(plan, conninfo, rate=rate) as traffic:
            schema.install(conn)
            run_id = runs.create(conn, plan, "benchmark")
            time.sleep(seconds)
            peaks = []
            for verb, args, wanted in (
                (Verb.START, {"until": until}, (RunStatus.DONE, RunStatus.WAITING)),
                (Verb.ROLLBACK, {"to": "start"}, (RunStatus.ROLLED_BACK,)),
            ):
                commands.send(conn, run_id, verb, args, actor="benchmark")
                peaks.append(_work(start_runner(conninfo, plan.root, run_id, "benchmark")))
                row = runs.get(conn, run_id)
                assert row is not None
                assert row.status in wanted, f"the run is {row.status}"
            result = traffic.stop()
            assert result.ok, (result.messages, result.mismatches)
            return Whole(steps.latencies(conn, run_id), *peaks)
    finally:
        server.drop_database(name)


def _work(process: subprocess.Popen[str]) -> float:
    """Wait for a runner to end; its largest size."""
    peak = 0.0
    deadline = time.monotonic() + 60 * RUN_MINUTES
    while process.poll() is None:
        assert time.monotonic() < deadline, "the runner did not end"
        peak = max(peak, peak_mb(process))
        time.sleep(0.05)
    return peak


def measure(
    server: EmbeddedServer, rows: int, repeats: int, *, seconds: float = 20.0, rate: float = RATE, until: str = "end"
) -> list[Line]:
    """The whole plan so many times, each in a database of its own."""
    found = []
    for turn in range(repeats):
        found.append(run(server, rows, seconds, rate, until))
        say(f"  whole run {rows:,}: repetition {turn + 1} of {repeats}")
    lines = [
        _stall(rows, [one.felt[index] for one in found], [one.felt[0] for one in found]) for index in _kinds(found)
    ]
    for name, peaks in (("forward", [one.forward_mb for one in found]), ("back", [one.back_mb for one in found])):
        lines.append(line(MEMORY, rows, f"runner, {name}", {"MB": peaks}, "< 150 MB"))
    return lines


def _kinds(found: list[Whole]) -> list[int]:
    """Which of the figures to show: before the run, and kinds of step that every repetition had."""
    first = found[0].felt
    assert all([(s.way, s.name) for s in one.felt] == [(s.way, s.name) for s in first] for one in found)
    return [index for index, step in enumerate(first) if step.what != "phase"]


def _stall(rows: int, step: list[StepLatency], alone: list[StepLatency]) -> Line:
    name = f"{step[0].way}, every {step[0].name}" if step[0].way else "the same traffic, no migration"
    return line(
        STALLS, rows, name,
        {
            "s": [one.seconds for one in step],
            "operations": [float(one.latency.operations) for one in step],
            "p99 ms": [one.latency.p99_ms for one in step],
            "worst ms": [one.latency.max_ms for one in step],
            "worst x alone": ratio([one.latency.max_ms for one in step], [one.latency.max_ms for one in alone]),
        },
    )  # fmt: skip
