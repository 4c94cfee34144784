"""A plan without any database as a console's world: everything of it can be read, nothing can be done."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime

from console.commands.approving import put_name
from console.commands.plan_record import Record
from console.commands.previews import Previews
from console.commands.rollbacks import Reader, on_paper
from console.commands.settings import Settings, state_folder
from console.commands.shown import Shown
from console.errors import Refused
from console.journal import admission, read
from console.journal.state import RollbackPreview, RunState, Target, Verb
from console.plan.approval import Wanted
from console.plan.model import Doc, Plan
from console.sql.model import TaskPreview
from console.tui.ports import Receipt


class PaperWorld(Shown):
    """A plan without any database: everything can be read, nothing can be done."""

    player = None
    offer = ""
    can_control = False

    def __init__(self, plan: Plan, operator: str) -> None:
        self._plan = plan
        self._operator = operator
        self._previews = Previews(plan, record=Record.of(plan, state_folder()))
        self._reader: Reader | None = None

    @property
    def plan(self) -> Plan:
        """The plan on disk."""
        return self._plan

    def state(self) -> RunState:
        """Every task pending, on no server."""
        target = Target("(no database)", "", 0, str(self._plan.server_max), "", "DRY RUN")
        stands = admission.read_standing(None, Wanted.of(self._plan), self._plan)
        return replace(read.paper_state(self._plan, target, datetime.now(UTC), self._operator), approval=stands)

    def wait(self, seconds: float) -> None:
        """Nothing ever changes."""
        time.sleep(seconds)

    def preview(self, task_id: str) -> TaskPreview:
        """What the task would run."""
        return self._previews.of(task_id)

    def reread(self) -> None:
        """Nothing: no database is read here."""

    def docs(self) -> tuple[Doc, ...]:
        """The plan's pages."""
        return self._plan.docs

    def rollback_preview(self, to: str) -> RollbackPreview:
        """What undoing would run, task by task."""
        if self._reader is None:
            self._reader = Reader(self._plan, None, state_folder())
        return on_paper(self._plan, to, self._reader)

    def forget_rollback(self) -> None:
        """Nothing takes long here."""

    def take_control(self) -> Receipt:
        """Always refused."""
        raise Refused("This is a dry run without a database: nothing can be controlled.")

    def send(self, verb: Verb, **args: object) -> Receipt:
        """Always refused."""
        raise Refused("This is a dry run without a database: nothing can be started.")

    @property
    def reviewer(self) -> str:
        """Who would approve the plan from here."""
        return self._operator

    def approve(self, comment: str, *, withdraw: bool = False) -> str:
        """Record in the file beside the plan that the reviewer approves it as it was read, or takes that back."""
        return put_name(Settings(operator=self._operator), self._plan, comment, withdraw=withdraw, offline=True)

    def save_report(self) -> str:
        """Refused: there is no run."""
        raise Refused("There is no run to report on.", do="Print the plan: pgferry plan --format markdown.")

    def close(self) -> None:
        """Nothing to release."""
