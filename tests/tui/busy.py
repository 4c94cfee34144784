"""The dearest run there can be on a line: whatever a screen shows has changed each time it is looked at."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from console.errors import ConnectionFailed
from console.journal.state import Event, Latency, Progress, RunState, Session
from console.tui.ports import World
from tests.canned import a_run_state
from tests.tui.world import CannedWorld

__all__ = ["BusyWorld", "CannedWorld", "GoneWorld", "SilentWorld", "WatchedWorld", "replayed"]
EVENTS = 3  # new lines of the log each second
SILENT_S = 3.0
WAITS = ("active, Lock: relation", "idle in transaction", "active, IO: DataFileRead")


class BusyWorld(CannedWorld):
    """Copies, sessions, waits, latencies, checks and log all change with the clock."""

    def __init__(self) -> None:
        busy, locked, failed = (a_run_state(name) for name in ("mid backfill", "lock wait", "failed check"))
        super().__init__(
            current=replace(
                busy, sessions=locked.sessions, statements=locked.statements, lock_wait=locked.lock_wait,
                checks=failed.checks,
            )
        )  # fmt: skip
        self._begun = time.monotonic()

    def state(self) -> RunState:
        """Everything moved on by the time that passed."""
        state, passed = self.current, time.monotonic() - self._begun
        tick = int(passed)
        now = state.server_now + timedelta(seconds=passed)
        return replace(
            state,
            server_now=now,
            tasks=tuple(
                replace(task, seconds=task.seconds + passed) if task is state.current else task for task in state.tasks
            ),
            progress=tuple(_progress(item, passed) for item in state.progress),
            statements=tuple(replace(item, ms=item.ms + 1000 * passed, attempts=tick) for item in state.statements),
            sessions=tuple(_session(item, tick + n) for n, item in enumerate(state.sessions)),
            lock_wait=state.lock_wait and replace(state.lock_wait, attempt=tick, behind=tick * 7 % 90, most_behind=90),
            checks=tuple(replace(item, ms=item.ms + 37 * tick, at=now) for item in state.checks),
            traffic=state.traffic
            and replace(
                state.traffic,
                now=_latency(tick),
                during=_latency(tick + 5),
                by_kind=tuple((kind, _latency(tick + n)) for n, (kind, _) in enumerate(state.traffic.by_kind)),
            ),
            events=(*state.events, *_events(state, tick)),
        )

    def wait(self, seconds: float) -> None:
        time.sleep(min(seconds, 0.05))


class WatchedWorld(BusyWorld):
    """Keeps how often the screen said that somebody sees it: a byte for each in a file."""

    def drawn(self) -> None:
        """One more."""
        with Path(os.environ["SEEN"]).open("ab") as kept:
            kept.write(b".")


class GoneWorld(BusyWorld):
    """Its server answers once and then no more."""

    def state(self) -> RunState:
        """The first state, then an error."""
        if self.taken:
            raise ConnectionFailed("The server at db1.example:5432 does not answer.")
        self.taken += 1
        return super().state()


class SilentWorld(BusyWorld):
    """Its server takes the second question and says nothing for three seconds; then all is well."""

    def state(self) -> RunState:
        """The state, late."""
        self.taken += 1
        if self.taken == 2:
            time.sleep(SILENT_S)
        return super().state()


def replayed() -> World:
    """A replay of a past run."""
    from console.commands.replay import ReplayWorld
    from tests.unit.test_replay import a_recording

    return ReplayWorld(a_recording(), None)


def _progress(item: Progress, passed: float) -> Progress:
    tick = int(passed)
    rate = 20_000 + passed * 9_770 % 90_000
    return replace(
        item,
        rows_done=item.rows_done + int(passed * 21_003),
        rows_written=item.rows_written + int(passed * 21_001),
        rows_rejected=item.rows_rejected + tick * 13,
        share=min(item.share + passed / 100, 0.99),
        rate=rate,
        rates=(*item.rates[tick % 8 :], *item.rates[: tick % 8], rate),
        eta_low_s=300 + tick * 71 % 600,
        eta_high_s=1_000 + tick * 131 % 900,
        batch_rows=5_000 + tick * 1_777 % 20_000,
        batch_ms=90 + passed * 37 % 200,
        lost_s=item.lost_s + passed,
        chunks=item.chunks + tick * 9,
        retries=item.retries + tick,
        reason=f"last {tick + 20} batches took {84 + tick % 90} ms, target 100",
        signals=tuple(
            replace(signal, value=f"{(tick * 37 + n) % 100 / 10} s", cost_s=signal.cost_s + passed, holds=tick % 5 == n)
            for n, signal in enumerate(item.signals)
        ),
    )


def _session(item: Session, tick: int) -> Session:
    return replace(item, age_s=item.age_s + tick, state=WAITS[tick % 3], query=f"{item.query} -- {tick * 7919}")


def _latency(tick: int) -> Latency:
    return Latency(1_000 + tick * 457 % 900, tick % 4, 0.3 + tick % 7 / 10, 1 + tick * 3 % 17, 5 + tick * 11 % 70)


def _events(state: RunState, tick: int) -> list[Event]:
    first = state.events[-1]
    return [
        replace(
            first, id=first.id + n, at=first.at + timedelta(seconds=n / EVENTS),
            text=f"batch grew from {5_000 + n * 313:,} to {6_000 + n * 517:,} rows: last {n} took {80 + n % 40} ms",
        )
        for n in range(1, EVENTS * tick + 1)
    ]  # fmt: skip
