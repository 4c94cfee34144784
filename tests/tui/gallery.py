"""Every screen at every canned moment, drawn without a terminal: what holds for all of them is tested over these."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from rich.text import Text
from textual.geometry import Size

from console.errors import FerryError
from console.tui.facts import Missing
from console.tui.keys import SCREENS
from console.tui.messages import Outcome
from console.tui.prompt import Prompt
from console.tui.shell import Shell
from console.tui.terminal import Terminal
from tests.canned import STATES, a_run_state
from tests.tui.world import CannedWorld

SIZES = ((80, 24), (120, 40), (60, 16), (200, 60))
PANELS = ("rollback", "help", "docs", "palette")
KEYS: dict[str, tuple[str, ...]] = {
    "whole": ("preview", "open"),
    "way back": ("preview", "way_back"),
    "opened check": ("checks", "open"),
    "log, first line": ("log", "top"),
    "phase": ("top",),
    "all folded": ("top", "left"),
    "statements": ("rollback", "statements"),
    "docs page": ("docs", "open"),
    "start asks": ("start",),
    "confirm asks": ("confirm",),
    "rollback asks": ("rollback", "open"),
    "leave asks": ("stop", "stop"),
    "control asks": ("control",),
    "detach asks": ("detach",),
    "lost runner asks": ("pause",),
    "cancel asks": ("activity", "bottom", "up", "cancel"),
    "end asks": ("activity", "end"),
}


class AtOnce:
    """Answers every question before the next line runs."""

    waiting = 0

    def ask(self, question: Callable[[], object], then: Callable[[Outcome], None]) -> None:
        try:
            outcome = Outcome(value=question())
        except FerryError as error:
            outcome = Outcome(error=str(error), detail=error.detail)
        then(outcome)


class Label(Prompt):
    """An input line of which only the label is there."""

    def open(self, label: str, value: str, size: Size) -> None:
        self.label = label

    def close(self) -> None:
        self.label = ""

    def place(self, size: Size) -> None:
        """It has no place."""


class Still(Shell):
    """A console that runs in no terminal: its input line is only its label, and answers come at once."""

    left = False

    def __init__(self, world: CannedWorld, terminal: Terminal, *, dry_run: bool) -> None:
        super().__init__(world, terminal, dry_run=dry_run)
        self.reads = self.commands = AtOnce()  # type: ignore[assignment]
        self._line = Label()

    def repaint(self) -> None:
        """Nothing is painted."""

    def exit(self, *args: object, **options: object) -> None:
        self.left = True


@dataclass(frozen=True)
class Picture:
    """A screen at a moment. ``name`` says which."""

    name: str
    shell: Still

    def lines(self, size: tuple[int, int]) -> list[Text]:
        """The whole screen in this size (columns, rows)."""
        self.shell.want_preview()
        return self.shell.lines(*size)


def a_picture(moment: str, *actions: str, world: CannedWorld | None = None, **looks: bool) -> Still:
    """A console that runs in no terminal, with everything fetched, after these actions of the key table."""
    world = world or CannedWorld(current=a_run_state(moment))
    terminal = Terminal("textual-dark", looks.get("ascii_only", False), per_second=1.0)
    shell = Still(world, terminal, dry_run=looks.get("dry_run", False))
    everything(shell, world)
    for action in actions:
        shell.press(action)
        everything(shell, world)
    return shell


def everything(shell: Shell, world: CannedWorld) -> None:
    """All that could be asked of the world is known."""
    state = world.state()
    points = {"start": world.rollback_preview("start")} | {
        task.id: world.rollback_preview(task.id) for task in state.tasks
    }
    shell.facts = replace(
        shell.facts, state=state, previews=dict(world.known), rollbacks=points, docs=world.docs(), plan=world.plan
    )
    for view in shell.views.values():
        view.settle(shell.facts)


def gallery(moment: str, world: CannedWorld | None = None, **looks: bool) -> Iterator[Picture]:
    """Every view at a moment, with what can be opened in it, and every question that it brings up."""
    for name in (*SCREENS, *PANELS):
        shell = a_picture(moment, world=world, **looks)
        shell.open(name)
        yield Picture(f"{moment}: {name}", shell)
    for name, actions in KEYS.items():
        yield Picture(f"{moment}: {name}", a_picture(moment, *actions, world=world, **looks))
    for name, change in ODD.items():
        shell = a_picture(moment, world=world, **looks)
        change(shell)
        yield Picture(f"{moment}: {name}", shell)


def _gone(shell: Shell) -> None:
    shell.facts = replace(shell.facts, stale="The server at db1.example:5432 does not answer; last read at 23:41:07.")


def _reading(shell: Shell) -> None:
    shell.facts = replace(
        shell.facts, can_control=False, offer="dba-2@bastion.long-name.example has control since 23:41; T takes it over"
    )


def _unknown(shell: Shell) -> None:
    shell.facts = replace(shell.facts, previews={}, rollbacks={}, docs=Missing("The plan cannot be read."), plan=None)
    shell.open("preview")


def _filtered(shell: Shell) -> None:
    shell.open("log")
    shell.view.filter("throttled", shell.facts)


def _filtered_to_nothing(shell: Shell) -> None:
    shell.view.filter("no line has these words, however long one looks for them, on any screen " * 2, shell.facts)


def _typing(shell: Shell) -> None:
    shell.open_prompt("only lines with: ")


def _replayed(shell: Shell) -> None:
    shell.facts = replace(shell.facts, can_control=False, replay="replay 4x, 00:12:07 of 01:12:00")


def _nothing_read(shell: Shell) -> None:
    shell.facts = replace(shell.facts, state=None)


def _told(shell: Shell) -> None:
    shell.notice = ("The server refused it: " + "a reason that goes on and on, " * 12, "bad")


ODD: dict[str, Callable[[Shell], None]] = {
    "server gone": _gone,
    "only reading": _reading,
    "nothing fetched": _unknown,
    "filtered": _filtered,
    "filtered to nothing": _filtered_to_nothing,
    "typing": _typing,
    "replay": _replayed,
    "no state yet": _nothing_read,
    "a long notice": _told,
}


def moments() -> tuple[str, ...]:
    """The names of all canned moments."""
    return tuple(STATES)
