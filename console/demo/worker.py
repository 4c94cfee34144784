"""One process of the demo's traffic: ``python -m console.demo.worker``, started by ``console.demo.traffic``.

The first line of standard input is its configuration (not an argument: it holds a connection string). The line
``stop`` or SIGTERM ends it in order: it compares what it wrote with the database and prints its result as JSON. The
end of standard input without ``stop`` means that the parent is gone: it ends at once.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import signal
import sys
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol

import psycopg

from console.journal.traffic import Trace, Window, leads, record, report
from console.text import plain

Shape = Literal["legacy", "normalised"]
_BEHIND_S = 1.0  # a schedule further behind than this starts afresh, as after an outage
_PAUSE_S = 0.1  # after a lost connection


class Workload(Protocol):
    """What a plan's traffic module makes with ``workload(conninfo, worker, seed)``."""

    def step(self, shape: Shape) -> str:
        """Do one operation in that shape and return its kind. Raises psycopg.Error, LookupError or ValueError."""

    def verify(self, shape: Shape) -> list[str]:
        """Compare what it wrote with the database in that shape; a sentence for each difference."""

    def close(self) -> None:
        """Let go of the database."""


@dataclass(frozen=True, slots=True)
class Config:
    """What a worker is told. ``rate`` is its own share, in operations a second."""

    plan_root: str
    module: str
    conninfo: str
    worker: int
    seed: int
    rate: float


@dataclass(slots=True)
class Outcome:
    """What a worker reports at its end."""

    kinds: dict[str, Window] = field(default_factory=dict)
    errors: Counter[str] = field(default_factory=Counter)
    mismatches: list[str] = field(default_factory=list)

    def text(self) -> str:
        """As one line of JSON."""
        kinds = {kind: asdict(window) for kind, window in self.kinds.items()}
        return json.dumps({"kinds": kinds, "errors": self.errors, "mismatches": self.mismatches})

    @classmethod
    def parse(cls, text: str) -> Outcome:
        """Read ``text``'s output. Raises ValueError."""
        data = json.loads(text)
        kinds = {
            kind: Window(**{**window, "buckets": {int(k): v for k, v in window["buckets"].items()}})
            for kind, window in data["kinds"].items()
        }
        return cls(kinds, Counter(data["errors"]), data["mismatches"])


def shapes(leading: dict[str, str], worker: int) -> Shape:
    """The shape a worker uses while these lead: with both, even workers are the new application's."""
    values = set(leading.values())
    if not values or "old" in values:
        return "legacy"
    if values == {"new"} or worker % 2 == 0:
        return "normalised"
    return "legacy"


class Reporter:
    """The worker's second connection: sends its figures, asks which shape leads. Survives the server's restart."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._source = f"worker {config.worker}"
        self._conn: psycopg.Connection[Any] | None = None
        self._windows: dict[str, Window] = {}
        self.trace = Trace()
        self.leading: dict[str, str] = {}

    def window(self, kind: str) -> Window:
        """The figures of a kind since the last report."""
        return self._windows.setdefault(kind, Window())

    def exchange(self) -> dict[str, Window]:
        """Report and ask; returns the windows reported. Where the database cannot answer, all stays for next time."""
        try:
            if self._conn is None or self._conn.closed:
                name = f"pgferry traffic {self._config.worker}"
                self._conn = psycopg.connect(
                    self._config.conninfo, autocommit=True, application_name=name, connect_timeout=5
                )
            with self._conn.transaction():
                report(self._conn, self._source, self._windows)
                record(self._conn, self._source, self.trace, time.perf_counter())
            done, self._windows, self.trace = self._windows, {}, Trace()
            self.leading = leads(self._conn)
        except psycopg.Error:
            return {}
        return done

    def close(self) -> dict[str, Window]:
        """Report the rest and disconnect; returns what is not reported yet or was just now."""
        done = self.exchange() or self._windows
        if self._conn is not None:
            self._conn.close()
        return done


class Worker:
    """Runs a workload at a rate until told to stop."""

    def __init__(self, config: Config, workload: Workload) -> None:
        self._config = config
        self._workload = workload
        self._reporter = Reporter(config)
        self._outcome = Outcome()
        self.stop = threading.Event()
        self.orphaned = False

    def run(self) -> Outcome:
        """Work until ``stop`` is set, then verify."""
        self._merge(self._reporter.exchange())
        interval = 1.0 / self._config.rate
        due = report_due = time.monotonic()
        while not self.stop.is_set():
            now = time.monotonic()
            if now >= report_due + 1.0:
                report_due = now
                self._merge(self._reporter.exchange())
            if now < due:
                self.stop.wait(min(due - now, 1.0))
                continue
            self._operate()
            due = due + interval if now - due < _BEHIND_S else now
        self._merge(self._reporter.close())
        if not self.orphaned:
            self._verify()
        self._workload.close()
        return self._outcome

    def _operate(self) -> None:
        shape = shapes(self._reporter.leading, self._config.worker)
        started = time.perf_counter()
        try:
            kind = self._workload.step(shape)
        except (psycopg.Error, LookupError, ValueError) as error:
            text = _describe(error)
            self._outcome.errors[text] += 1
            self._reporter.window("failed").fail(text)
            self._reporter.trace.add(started, time.perf_counter() - started, failed=True)
            if isinstance(error, psycopg.OperationalError) and error.sqlstate in (None, "57P01", "57P02", "57P03"):
                self.stop.wait(_PAUSE_S)
        else:
            seconds = time.perf_counter() - started
            self._reporter.window(kind).add(seconds * 1000)
            self._reporter.trace.add(started, seconds)

    def _merge(self, windows: dict[str, Window]) -> None:
        for kind, window in windows.items():
            self._outcome.kinds.setdefault(kind, Window()).merge(window)

    def _verify(self) -> None:
        leading = self._reporter.leading
        chosen: set[Shape] = {shapes(leading, 0), shapes(leading, 1)}
        for shape in sorted(chosen):
            try:
                found = self._workload.verify(shape)
            except (psycopg.Error, LookupError, ValueError) as error:
                found = [f"the rows could not be compared: {_describe(error)}"]
            self._outcome.mismatches += [f"{shape}: {text}" for text in found]


def _describe(error: Exception) -> str:
    state = getattr(error, "sqlstate", None) or type(error).__name__
    return plain(f"{state}: {error}")[:300]


def _listen(worker: Worker, orders: io.RawIOBase) -> None:
    """Wait for the parent's word, or its end."""
    worker.orphaned = (orders.readline() or b"").strip() != b"stop"
    worker.stop.set()


def main() -> None:
    """Read the configuration, work, print the result."""
    # Unbuffered: a daemon thread must not hold a buffer's lock when the interpreter ends.
    orders = io.FileIO(sys.stdin.fileno(), closefd=False)
    config = Config(**json.loads(orders.readline() or b""))
    sys.path.insert(0, config.plan_root)
    module = importlib.import_module(config.module)
    worker = Worker(config, module.workload(config.conninfo, config.worker, config.seed))
    signal.signal(signal.SIGTERM, lambda number, frame: worker.stop.set())
    threading.Thread(target=_listen, args=(worker, orders), daemon=True).start()
    outcome = worker.run()
    with contextlib.suppress(BrokenPipeError):
        print(outcome.text(), flush=True)


if __name__ == "__main__":
    main()
