"""A world that answers from canned states and remembers what was asked of it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from pathlib import Path

from console.errors import ConnectionFailed, FerryError, Refused
from console.journal.state import RollbackPreview, RunState, Verb
from console.plan.model import Doc, Plan
from console.sql.model import TaskPreview
from console.tui.ports import Receipt
from tests.canned import a_plan, a_rollback_preview, a_run_state, previews


@dataclass
class CannedWorld:
    """Serves one state until ``become`` sets another. ``sent`` holds every command."""

    current: RunState = field(default_factory=a_run_state)
    can_control: bool = True
    plan: Plan | None = field(default_factory=a_plan)
    rollback: str = "safe"
    gone: bool = False  # the server does not answer
    sent: list[tuple[Verb, dict[str, object]]] = field(default_factory=list)
    closed: bool = False
    reports: int = 0
    known: dict[str, TaskPreview] = field(default_factory=previews)
    changed: threading.Event = field(default_factory=threading.Event)

    def become(self, state: RunState) -> None:
        """The run changes."""
        self.current = state
        self.changed.set()

    def state(self) -> RunState:
        if self.gone:
            raise ConnectionFailed("The server at db1.example:5432 does not answer.")
        return self.current

    def wait(self, seconds: float) -> None:
        self.changed.wait(min(seconds, 0.05))
        self.changed.clear()

    def preview(self, task_id: str) -> TaskPreview:
        if task_id not in self.known:
            raise FerryError(f"The plan has no task {task_id}.")
        return self.known[task_id]

    def docs(self) -> tuple[Doc, ...]:
        return self.plan.docs if self.plan else ()

    def rollback_preview(self, to: str) -> RollbackPreview:
        return replace(a_rollback_preview(self.rollback), to=to)

    def send(self, verb: Verb, **args: object) -> Receipt:
        if not self.can_control:
            raise Refused("This console only reads.")
        self.sent.append((verb, args))
        return Receipt(True, f"{verb} accepted")

    def save_report(self) -> str:
        self.reports += 1
        return str(Path("reports") / "run_7.md")

    def close(self) -> None:
        self.closed = True
