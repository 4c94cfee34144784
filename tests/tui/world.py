"""A world that answers from canned states and remembers what was asked of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

from textual.pilot import Pilot

from console.errors import ConnectionFailed, FerryError, Refused
from console.journal.state import OnDetach, RollbackPreview, RunState, Verb
from console.plan.model import Doc, Plan
from console.sql.model import TaskPreview
from console.tui.ports import Player, Receipt
from console.tui.shell import Shell
from console.tui.terminal import Terminal
from tests.canned import a_plan, a_rollback_preview, a_run_state, previews


@dataclass
class CannedWorld:
    """Serves one state until ``become`` sets another. ``sent`` holds every command."""

    current: RunState = field(default_factory=a_run_state)
    can_control: bool = True
    player: Player | None = None
    offer: str = ""
    taken: int = 0
    taken_over: int = 0
    shown: int = 0  # states that the screen took
    on_detach: OnDetach = OnDetach.GO_ON
    plan: Plan | None = field(default_factory=a_plan)
    rollback: str = "safe"
    rereads: int = 0  # of the catalogue
    forgotten: int = 0  # looks at a rollback that nobody waits for any more
    gone: bool = False  # the server does not answer
    sent: list[tuple[Verb, dict[str, object]]] = field(default_factory=list)
    closed: bool = False
    reports: int = 0
    known: dict[str, TaskPreview] = field(default_factory=previews)
    changed: threading.Event = field(default_factory=threading.Event)
    refusal: FerryError | None = None  # of every command
    reviewer: str = "r2"
    approved: list[tuple[str, bool]] = field(default_factory=list)  # comment, whether it was taken back

    def approve(self, comment: str, *, withdraw: bool = False) -> str:
        self.approved.append((comment, withdraw))
        return "recorded in the journal of database arbitrage"

    def become(self, state: RunState) -> None:
        """The run changes."""
        self.current = state
        self.changed.set()

    def set_on_detach(self, option: OnDetach) -> Receipt:
        self.on_detach = option
        return Receipt(True, f"on detach: {option}")

    def take_over(self) -> Receipt:
        self.taken_over += 1
        return Receipt(True, "resume: run until end")

    def drawn(self) -> None:
        self.shown += 1

    def take_control(self) -> Receipt:
        self.taken += 1
        self.can_control, self.offer = True, ""
        return Receipt(True, "control taken")

    def state(self) -> RunState:
        if self.gone:
            raise ConnectionFailed("The server at db1.example:5432 does not answer.")
        return self.current

    def wait(self, seconds: float) -> None:
        self.changed.wait(seconds)
        self.changed.clear()

    def preview(self, task_id: str) -> TaskPreview:
        if task_id not in self.known:
            raise FerryError(f"The plan has no task {task_id}.")
        return self.known[task_id]

    def reread(self) -> None:
        self.rereads += 1

    def docs(self) -> tuple[Doc, ...]:
        return self.plan.docs if self.plan else ()

    def rollback_preview(self, to: str) -> RollbackPreview:
        return replace(a_rollback_preview(self.rollback), to=to)

    def forget_rollback(self) -> None:
        self.forgotten += 1

    def send(self, verb: Verb, **args: object) -> Receipt:
        if not self.can_control:
            raise Refused("This console only reads.")
        if self.refusal is not None:
            raise self.refusal
        self.sent.append((verb, args))
        return Receipt(True, f"{verb} accepted")

    def save_report(self) -> str:
        self.reports += 1
        return str(Path("reports") / "run_7.md")

    def close(self) -> None:
        self.closed = True


class RunningWorld(CannedWorld):
    """A copy at work: clock, rows, rates, latencies and log change with every look, as in a busy run."""

    def __init__(self) -> None:
        super().__init__()
        self._begun = time.monotonic()

    def state(self) -> RunState:
        """The canned state, moved on by the time that passed."""
        state = self.current
        passed = time.monotonic() - self._begun
        now = state.server_now + timedelta(seconds=passed)
        progress = tuple(
            replace(
                item,
                rows_done=item.rows_done + int(passed * 21_003),
                rows_written=item.rows_written + int(passed * 21_001),
                share=min(item.share + passed / 100, 0.99),
                rate=20_000 + passed * 977 % 9_000,
                rates=(*item.rates[1:], 20_000 + passed * 977 % 9_000),
                eta_low_s=300 - passed,
                eta_high_s=400 - passed,
                batch_rows=5_000 + int(passed * 77),
                batch_ms=90 + passed * 7 % 20,
            )
            for item in state.progress
        )
        traffic = state.traffic and replace(
            state.traffic,
            now=replace(state.traffic.now, operations=1_000 + int(passed * 7) % 90, p99_ms=1 + passed * 3 % 7),
        )
        count = int(passed)  # a new line of the log each second
        template = state.events[-1]
        events = tuple(
            replace(template, id=template.id + n, at=now, text=f"batch grew from {5_000 + n:,} to {6_000 + n:,} rows")
            for n in range(1, count + 1)
        )
        return replace(state, server_now=now, progress=progress, traffic=traffic, events=(*state.events, *events))

    def wait(self, seconds: float) -> None:
        time.sleep(min(seconds, 0.05))


def a_shell(
    world: CannedWorld | None = None,
    *,
    theme: str = "textual-dark",
    ascii_only: bool = False,
    dry_run: bool = False,
) -> Shell:
    """The application over a canned world, drawn in a known way."""
    terminal = Terminal(theme=theme, ascii_only=ascii_only, per_second=50.0)
    return Shell(world or CannedWorld(), terminal, dry_run=dry_run)


async def settled(pilot: Pilot[int], until: Callable[[], bool] = lambda: True) -> None:
    """Wait until the first state is drawn, no question to the world is open, and ``until`` holds (5 s at most)."""
    shell = pilot.app
    assert isinstance(shell, Shell)
    end = time.monotonic() + 5.0
    while not (shell.facts.state and not shell.reads.waiting and not shell.commands.waiting and until()):
        assert time.monotonic() < end, "the console did not settle"
        await pilot.pause(0.01)
    await pilot.pause()
