"""The rollback panel: what going back would do, asked for as the cursor moves, and the last question before it."""

from __future__ import annotations

from dataclasses import replace

from console.journal.state import Verb
from console.tui import questions
from console.tui.actions.base import Part, Table
from console.tui.draw import rollback as rollback_drawing
from console.tui.facts import Missing
from console.tui.messages import Outcome


class Rollback(Part):
    """Opens the panel and rolls back; opening it changes nothing."""

    def table(self) -> Table:
        """The actions by name."""
        return {"rollback": self._rollback, "statements": self._statements}

    def _rollback(self) -> None:
        shell = self._shell
        if shell.view is not shell.rollback:
            shell.facts = replace(shell.facts, rollbacks={})
            shell.rollback.cursor = max(shell.rollback.count(shell.facts) - 1, 0)
            shell.rollback.detailed = False
        shell.open("rollback")
        self.want()

    def want(self) -> None:
        """Fetch what going back to the chosen point would do, unless it is known."""
        shell = self._shell
        point = shell.rollback.point(shell.facts)
        if not point or point in shell.facts.rollbacks:
            return

        def keep(value: object) -> None:
            rollbacks = {**shell.facts.rollbacks, point: value}
            shell.facts = replace(shell.facts, rollbacks=rollbacks)  # type: ignore[arg-type]

        def then(outcome: Outcome) -> None:
            keep(Missing(outcome.error) if outcome.error else outcome.value)

        keep(Missing())
        shell.reads.ask(lambda: shell.world.rollback_preview(point), then)

    def _statements(self) -> None:
        self._shell.rollback.detailed = not self._shell.rollback.detailed

    def confirm(self) -> None:
        """Ask, and roll back to the chosen point."""
        shell = self._shell
        preview = shell.rollback.preview(shell.facts)
        if self.refused():
            return
        if preview is None:
            self.say("What it would do is not known yet, so it cannot be confirmed.")
        elif preview.impossible:
            self.say(f"It cannot be done: {preview.impossible}", "bad")
        else:
            point = shell.rollback.point(shell.facts)
            typed = preview.needs_typing

            def yes() -> None:
                self.send(f"roll back to {point}", Verb.ROLLBACK, to=point, typed=typed)
                shell.open("tasks")

            shell.ask(questions.roll_back(shell.facts, preview, rollback_drawing.meaning(shell.facts, point), yes))
