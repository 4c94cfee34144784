"""What every action has in common: the operator is told, commands are sent, and what may not be sent is explained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from console.journal.state import TaskState, Verb
from console.plan.model import Doc
from console.text import plain
from console.tui.messages import Outcome
from console.tui.ports import Receipt

if TYPE_CHECKING:
    from console.tui.shell import Shell

Table = Mapping[str, Callable[[], None]]  # action of the key table -> what it does


class Part:
    """Some of the actions. Commands to the runner are sent only by ``send``, after the questions they need."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell

    def say(self, text: str, style: str = "warn") -> None:
        """Tell the operator, in the line above the footer, until the next key."""
        self._shell.notice = (plain(text), style)

    def refused(self) -> bool:
        """Explain why nothing can be commanded from here; False when it can."""
        facts = self._shell.facts
        if facts.replay:
            self.say("This is a replay: nothing can be started or changed in it.")
        elif facts.dry_run:
            self.say("Dry run: nothing can be written, so nothing is started or changed from here.")
        elif facts.offer:
            self.say(f"Nothing was sent: {facts.offer}.")
        elif not facts.can_control:
            self.say("This console only reads; the operator with control can do that.")
        elif facts.state is None:
            self.say("The run is not read yet.")
        else:
            return False
        return True

    def send(self, words: str, verb: Verb, **args: object) -> None:
        """Send a command; ``words`` stand for it until its answer is there."""
        done = words if verb is Verb.SPEED else ""  # the runner names settings; the operator reads words
        self.ask_world(words, lambda: self._shell.world.send(verb, **args), done=done)

    def ask_world(
        self, words: str, ask: Callable[[], Receipt], then: Callable[[], None] | None = None, *, done: str = ""
    ) -> None:
        """Ask for something that changes the run, and say what became of it; ``then`` only where it was accepted."""
        self.say(f"{words}: asked..", "dim")

        def answered(outcome: Outcome) -> None:
            receipt = outcome.value
            if not isinstance(receipt, Receipt):
                self._refuse(outcome)
                return
            self.say(done if done and receipt.accepted else receipt.text, "ok" if receipt.accepted else "bad")
            if then is not None and receipt.accepted:
                then()

        self._shell.commands.ask(ask, answered)

    def _refuse(self, outcome: Outcome) -> None:
        """Say why not; what shows it (a difference of plans) is a page that esc closes."""
        self.say(outcome.error, "bad")
        if outcome.detail:
            shown = outcome.detail.replace("```", "` ` `")  # a fence in a page of the plan
            self._shell.docs.show(Doc("difference", "What changed", f"{outcome.error}\n\n```\n{shown}\n```\n"))
            self._shell.open("docs")

    def chosen(self) -> TaskState | None:
        """The task under the cursor of Tasks."""
        return self._shell.facts.task(self._shell.tasks.task_id(self._shell.facts))
