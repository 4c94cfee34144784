"""The demo's live traffic: several worker processes, a steady rate, and what they found at the end."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections import Counter
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Self

from console.demo.worker import Config, Outcome
from console.errors import FerryError, PlanError
from console.journal.state import Latency
from console.journal.traffic import Window
from console.plan.model import Plan
from console.text import plain

_STOP_S = 180.0  # comparing every row takes its time


@dataclass(frozen=True, slots=True)
class TrafficResult:
    """What the traffic saw. ``by_kind`` holds latencies in milliseconds; ``messages`` each error and its number.

    ``mismatches`` has a sentence for each row that the database does not hold as the application wrote it.
    """

    operations: int
    errors: int
    total: Latency
    by_kind: tuple[tuple[str, Latency], ...]
    messages: tuple[tuple[str, int], ...]
    mismatches: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing failed and nothing was lost."""
        return not self.errors and not self.mismatches


class Traffic:
    """Worker processes that run a plan's workload. ``rate`` is the sum over all, in operations a second."""

    def __init__(self, plan: Plan, conninfo: str, *, rate: float = 500.0, workers: int = 3, seed: int = 1) -> None:
        if plan.demo is None:
            raise PlanError("the plan has no traffic", file="plan.toml", do="Add [demo] traffic to it.")
        self._configs = [
            Config(str(plan.root.absolute()), plan.demo.traffic, conninfo, worker, seed, rate / workers)
            for worker in range(workers)
        ]
        self._processes: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def start(self) -> None:
        """Start the workers, unless they run. They end by themselves when this process is gone."""
        if self._processes:
            return
        for config in self._configs:
            # Their own session: a terminal's Ctrl-C is for us, and we stop them in order.
            process = subprocess.Popen(
                [sys.executable, "-m", "console.demo.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            self._processes.append(process)
            self._tell(process, json.dumps(asdict(config)))

    def failed(self) -> int:
        """How many workers ended without being told to."""
        return sum(process.poll() is not None for process in self._processes)

    def pids(self) -> list[int]:
        """The workers' processes."""
        return [process.pid for process in self._processes]

    def stop(self) -> TrafficResult:
        """Stop the workers, let each compare what it wrote, and return what they saw.

        Raises FerryError when a worker crashed: then its part is unknown.
        """
        for process in self._processes:
            self._tell(process, "stop")
        outcomes: list[Outcome] = []
        faults: list[str] = []
        for process in self._processes:
            try:
                out, err = process.communicate(timeout=_STOP_S)
                outcomes.append(Outcome.parse(out))
            except subprocess.TimeoutExpired:
                faults.append(f"it did not end within {_STOP_S:.0f} s")
            except ValueError:
                faults.append(plain(err.strip().splitlines()[-1]) if err.strip() else f"exit {process.returncode}")
        self.kill()
        if faults:
            raise FerryError(
                f"{len(faults)} of the traffic's workers failed: {faults[0]}.",
                state="What they wrote could not be compared with the database.",
                do="Run the demo again; if it fails again, the plan's traffic module is at fault.",
            )
        return _combine(outcomes)

    def kill(self) -> None:
        """End the workers at once, without a result. Harmless when they have ended."""
        for process in self._processes:
            process.kill()
            process.communicate()
        self._processes.clear()

    @staticmethod
    def _tell(process: subprocess.Popen[str], line: str) -> None:
        if process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(line + "\n")
                process.stdin.flush()


def _combine(outcomes: list[Outcome]) -> TrafficResult:
    total = Window()
    kinds: dict[str, Window] = {}
    messages: Counter[str] = Counter()
    mismatches: list[str] = []
    for outcome in outcomes:
        for kind, window in outcome.kinds.items():
            kinds.setdefault(kind, Window()).merge(window)
            total.merge(window)
        messages.update(outcome.errors)
        mismatches += outcome.mismatches
    return TrafficResult(
        operations=total.operations,
        errors=total.errors,
        total=total.latency(),
        by_kind=tuple((kind, window.latency()) for kind, window in sorted(kinds.items())),
        messages=tuple(messages.most_common()),
        mismatches=tuple(mismatches),
    )
