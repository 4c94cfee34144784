"""The rollback panel's actions: previews are read while the cursor moves, and the last question is asked."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from console.errors import Refused
from console.journal.state import RunState, Verb
from console.tui import questions
from console.tui.actions.base import Part, Table
from console.tui.draw import going_back, rollback_text
from console.tui.draw import rollback as drawing
from console.tui.facts import Missing
from console.tui.messages import Outcome

if TYPE_CHECKING:
    from console.tui.shell import Shell


class Rollback(Part):
    """Opens the panel and rolls back; opening it changes nothing."""

    def __init__(self, shell: Shell) -> None:
        super().__init__(shell)
        self._seen: dict[str, object] = {}  # point -> how the run stood when its preview was asked for
        self._looking = ""  # the point whose preview is being read

    def table(self) -> Table:
        """The actions by name."""
        return {"rollback": self.open, "statements": self._shell.rollback.turn}

    def open(self) -> None:
        """Show the panel, at the last point."""
        shell = self._shell
        if shell.view is not shell.rollback:
            shell.facts = replace(shell.facts, rollbacks={})
            self._seen.clear()
            shell.rollback.newest(shell.facts)
        shell.open("rollback")
        self.want()

    def look_again(self) -> None:
        """Read the chosen point's preview anew."""
        self._seen.clear()
        self.want()

    def want(self) -> None:
        """Have the chosen point's preview read, where it is not known or the run went on since; an older one stays shown."""
        shell = self._shell
        point = shell.rollback.point(shell.facts)
        stand = _stand(shell.facts.state)
        if not point or self._seen.get(point) == stand or going_back.is_going(shell.facts.state):
            return
        if self._looking:
            shell.world.forget_rollback()
        self._seen[point] = stand
        self._looking = point
        if point not in shell.facts.rollbacks:
            self._keep(point, Missing())

        def look() -> object:
            if shell.rollback.point(shell.facts) != point:  # the cursor moved on while another look was under way
                raise Refused("Another point was chosen.")
            return shell.world.rollback_preview(point)

        shell.reads.ask(look, lambda outcome: self._looked(point, outcome))

    def _looked(self, point: str, outcome: Outcome) -> None:
        shell = self._shell
        if self._looking == point:
            self._looking = ""
        if not outcome.error:
            self._keep(point, outcome.value)
        elif shell.rollback.point(shell.facts) == point:
            self._keep(point, Missing(outcome.error))
        else:  # asked for again when it is chosen again
            self._seen.pop(point, None)
        shell.rollback.settle(shell.facts)

    def _keep(self, point: str, value: object) -> None:
        facts = self._shell.facts
        self._shell.facts = replace(facts, rollbacks={**facts.rollbacks, point: value})  # type: ignore[dict-item]

    def confirm(self) -> None:
        """Ask once more, or for the name that has to be typed; then send the command."""
        shell = self._shell
        preview = shell.rollback.preview(shell.facts)
        point = shell.rollback.point(shell.facts)
        if self.refused() or going_back.is_going(shell.facts.state):
            return
        if not point:
            self.say("There is no point to go back to.")
        elif preview is None:
            self.say("What it would do is not known yet, so it cannot be confirmed.")
        elif preview.impossible:
            self.say(f"It cannot be done: {preview.impossible}", "bad")
        else:
            typed = preview.needs_typing
            yes = lambda: self.send(f"roll back to {point}", Verb.ROLLBACK, to=point, typed=typed)  # noqa: E731
            shell.rollback.detailed = False
            shell.ask(questions.roll_back(shell.facts, preview, drawing.meaning(shell.facts, point), yes))

    def as_file(self) -> tuple[str, str]:
        """The chosen rollback's plan: a file's name and its text, empty where there is none."""
        shell = self._shell
        preview = shell.rollback.preview(shell.facts)
        text = rollback_text.plan_text(preview) if preview and not preview.impossible else ""
        return f"rollback_{shell.rollback.point(shell.facts)}.sql", text


def _stand(state: RunState | None) -> object:
    """What of a run a rollback's preview depends on."""
    return state and (state.run_id, state.back_to, tuple((task.id, task.status) for task in state.tasks))
