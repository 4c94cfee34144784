"""Keys that only show: moving, opening, filtering, the palette, help and the plan's pages."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from console.tui.actions.base import Part, Table
from console.tui.actions.rollback import Rollback
from console.tui.facts import Missing
from console.tui.keys import SCREENS
from console.tui.messages import Outcome
from console.tui.views.lists import BackfillView, ChecksView, LogView

if TYPE_CHECKING:
    from console.tui.shell import Shell

PAGE = 10
MOVES = {"down": 1, "up": -1, "page_down": PAGE, "page_up": -PAGE, "top": -1_000_000, "bottom": 1_000_000}


class Moving(Part):
    """What changes the screen and nothing else."""

    def __init__(self, shell: Shell, rollback: Rollback) -> None:
        super().__init__(shell)
        self._rollback = rollback

    def table(self) -> Table:
        """The actions by name."""
        shell = self._shell
        return {
            **{name: partial(self._move, lines) for name, lines in MOVES.items()},
            **{name: partial(shell.open, name) for name in SCREENS},
            "left": lambda: self._sideways(-1),
            "right": lambda: self._sideways(1),
            "open": self._open,
            "way_back": shell.preview.turn,
            "follow": self._follow,
            "filter": self._filter,
            "docs": self.docs,
            "palette": self._palette,
            "help": self._help,
            "back": self._back,
        }

    def _move(self, lines: int) -> None:
        self._shell.view.move(lines, self._shell.facts)
        if self._shell.view is self._shell.rollback:
            self._rollback.want()

    def _sideways(self, step: int) -> None:
        shell = self._shell
        if shell.view is shell.rollback:
            shell.rollback.choose(step, shell.facts)
            self._rollback.want()
        else:
            shell.tasks.fold(shell.facts, unfold=step > 0)

    def _open(self) -> None:
        shell = self._shell
        view = shell.view
        if view is shell.tasks:
            if shell.tasks.on_phase():
                shell.tasks.fold(shell.facts, unfold=shell.tasks.phase_id(shell.facts) not in shell.tasks.unfolded)
            else:
                shell.open("preview")
        elif view is shell.preview:
            shell.preview.open()
        elif isinstance(view, ChecksView):
            view.opened = not view.opened
        elif isinstance(view, BackfillView):
            view.open()
        elif view is shell.docs:
            shell.docs.open(shell.facts)
        elif view is shell.rollback:
            self._rollback.confirm()

    def _back(self) -> None:
        shell = self._shell
        if not shell.view.back() and len(shell.trail) > 1:
            shell.trail.pop()
        shell.view.settle(shell.facts)

    def _follow(self) -> None:
        view = self._shell.view
        if isinstance(view, LogView) or view is self._shell.tasks:
            view.follow(self._shell.facts)

    def _filter(self) -> None:
        if self._shell.view.filterable:
            self._shell.open_prompt("only lines with: ", self._shell.view.words)
        else:
            self.say("There is nothing to filter on this screen.")

    def _palette(self) -> None:
        shell = self._shell
        shell.palette.words = ""
        shell.palette.cursor = 0
        shell.open("palette")
        shell.open_prompt("command: ")

    def run_command(self, action: str) -> None:
        """Close the palette and do the chosen command in the view beneath."""
        if self._shell.trail[-1] == "palette":
            self._shell.trail.pop()
        if action:
            self._shell.press(action)

    def _help(self) -> None:
        shell = self._shell
        if shell.view is not shell.helping:
            shell.helping.about, shell.helping.about_title = shell.view.name, shell.view.title
            shell.helping.cursor = 0
            shell.open("help")

    def docs(self) -> None:
        """Show the plan's pages."""
        shell = self._shell
        shell.open("docs")
        if not shell.facts.docs:
            shell.facts = replace(shell.facts, docs=Missing())

            def then(outcome: Outcome) -> None:
                docs = Missing(outcome.error) if outcome.error else outcome.value
                shell.facts = replace(shell.facts, docs=docs)  # type: ignore[arg-type]

            shell.reads.ask(shell.world.docs, then)
