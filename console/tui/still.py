"""The console without a terminal: the same screens, keys pressed one after another, and a picture of what they show.

Every question to the world is answered before the next key; nothing runs and nothing waits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from textual.color import Color

from console.errors import FerryError
from console.journal.public import public
from console.tui.asking import Lane
from console.tui.facts import Facts, Missing
from console.tui.messages import Outcome
from console.tui.ports import World
from console.tui.styles import styles
from console.tui.svg import Palette, svg
from console.tui.terminal import Terminal

if TYPE_CHECKING:
    from console.tui.shell import Shell

THEME = "textual-dark"


class _AtOnce(Lane):
    """Answers in the place of a thread."""

    def __init__(self) -> None:
        super().__init__("at once", lambda _: None)

    def ask(self, question: Callable[[], object], then: Callable[[Outcome], None]) -> None:
        try:
            outcome = Outcome(value=question())
        except FerryError as error:
            outcome = Outcome(error=str(error), detail=error.detail)
        then(outcome)


class Still:
    """One look at a world. ``size`` is width and height in cells."""

    def __init__(self, world: World, size: tuple[int, int], *, dry_run: bool = False, theme: str = THEME) -> None:
        from console.tui.shell import Shell

        self._size = size
        self.shell = Shell(world, Terminal(theme, ascii_only=False, per_second=1.0), dry_run=dry_run)
        self.shell.reads, self.shell.commands = _AtOnce(), _AtOnce()
        self.shell.facts = replace(self.shell.facts, state=world.state())
        self._settle()

    def press(self, *actions: str) -> None:
        """Do what these keys of the table stand for (``preview``, ``down``, ..)."""
        for action in actions:
            self.shell.press(action)
            self._settle()

    def preview(self, task_id: str) -> None:
        """Show what a task runs."""
        self.shell.open("preview")
        self.shell.preview.show(task_id)
        self._settle()

    def _settle(self) -> None:
        shell = self.shell
        for view in shell.views.values():
            view.settle(shell.facts)
        if shell.view is shell.tasks:
            shell.preview.show(shell.tasks.task_id(shell.facts))
        task_id = shell.preview.task_id
        if task_id and task_id not in shell.facts.previews:
            try:
                found = shell.world.preview(task_id)
                shell.facts = replace(shell.facts, previews={**shell.facts.previews, task_id: found})
            except FerryError as error:
                shell.facts = replace(shell.facts, previews={**shell.facts.previews, task_id: Missing(str(error))})
            shell.preview.settle(shell.facts)

    def picture(self) -> str:
        """The screen as SVG."""
        return picture_of(self.shell, self._size)


def picture_of(shell: Shell, size: tuple[int, int]) -> str:
    """The shell's screen as SVG, its secrets masked; the clipboard, the notice and the environment are not in it."""
    facts, notice = shell.facts, shell.notice
    shell.facts, shell.notice = public_facts(facts), ("", "")
    try:
        lines = shell.lines(*size)
    finally:
        shell.facts, shell.notice = facts, notice
    variables = shell.get_css_variables()
    ansi = shell.native_ansi_color
    palette = Palette(_triplet(variables, "foreground", "#e0e0e0"), _triplet(variables, "background", "#121212"))
    state = facts.state
    title = f"pgferry, {shell.view.title}" + (
        f", run {state.run_id} at {state.server_now:%Y-%m-%d %H:%M:%S}" if state else ""
    )
    return svg(lines, styles(variables, ansi=ansi), palette, title)


def _triplet(variables: dict[str, str], name: str, otherwise: str):  # type: ignore[no-untyped-def]
    colour = Color.parse(variables[name])
    return (Color.parse(otherwise) if colour.ansi is not None else colour).rich_color.get_truecolor()


def public_facts(facts: Facts) -> Facts:
    """The facts without secrets; the plan itself is left as it was reviewed."""
    return replace(
        facts,
        state=public(facts.state),
        previews={name: public(value) for name, value in facts.previews.items()},
        rollbacks={name: public(value) for name, value in facts.rollbacks.items()},
    )
