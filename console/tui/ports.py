"""What the screens may ask of the world: the one seam between drawing and everything else.

The commands package implements it over the journal; tests implement it with canned states.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from console.journal.state import OnDetach, RollbackPreview, RunState, Verb
from console.plan.model import Doc, Plan
from console.sql.model import TaskPreview as TaskPreview


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a command that was sent."""

    accepted: bool
    text: str


class Player(Protocol):
    """The clock of a replay."""

    def toggle(self) -> None:
        """Stop or go on."""

    def faster(self, step: int) -> None:
        """The next higher (1) or lower (-1) speed."""

    def wind(self, step: int) -> None:
        """Forward (1) or back (-1) by a part of the run."""

    def jump(self, step: int) -> None:
        """To the next (1) or last (-1) moment at which a step began, ended or failed."""

    def words(self) -> str:
        """Where it stands, in a few words."""


class World(Protocol):
    """All calls may block and are made from worker threads; errors are FerryError with a clear sentence."""

    @property
    def plan(self) -> Plan | None:
        """The plan on disk, None when only the journal is known (attach)."""

    @property
    def can_control(self) -> bool:
        """False for a reviewer's or an attached, read-only console."""

    @property
    def offer(self) -> str:
        """Who has control and how to take it; empty where this console has it or can never have it."""

    def take_control(self) -> Receipt:
        """Take control of the run, from whoever has it. Refused where that cannot be."""

    @property
    def on_detach(self) -> OnDetach:
        """What becomes of the run when the console in control goes."""

    def set_on_detach(self, option: OnDetach) -> Receipt:
        """Choose that. Refused without control."""

    def take_over(self) -> Receipt:
        """Go on with another runner in the place of one that does not answer; that one writes nothing more. Blocks."""

    def drawn(self) -> None:
        """The screen has just shown a state: whoever sits there is not cut off. Returns at once."""

    @property
    def player(self) -> Player | None:
        """The clock, where a past run is shown; None where the run is now."""

    def state(self) -> RunState:
        """The state of the run now, or at the moment that a replay shows."""

    def wait(self, seconds: float) -> None:
        """Returns when the journal changed, or after this long."""

    def preview(self, task_id: str) -> TaskPreview:
        """What the task would run."""

    def reread(self) -> None:
        """What was read of the catalogue is forgotten: previews are of the database as it is then. Returns at once."""

    def docs(self) -> tuple[Doc, ...]:
        """The plan's pages."""

    def rollback_preview(self, to: str) -> RollbackPreview:
        """What rolling back to just before task ``to`` (or ``start``) would do."""

    def forget_rollback(self) -> None:
        """Nobody waits for a rollback's preview any more: a look that is under way ends. Returns at once."""

    def send(self, verb: Verb, **args: object) -> Receipt:
        """Send a command to the runner, starting one if none runs. Refused for a read-only console."""

    @property
    def reviewer(self) -> str:
        """Who would approve the plan from here."""

    def approve(self, comment: str, *, withdraw: bool = False) -> str:
        """Record that the reviewer approves the plan as it was read, or takes that back; returns where it was recorded."""

    def save_report(self) -> str:
        """Write a report of the run; returns the path of the file."""

    def close(self) -> None:
        """Release connections."""
