"""Commands to the runner: start, pause, resume, speed, confirm, control; and leaving, which never harms the run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from console.journal.state import RunStatus, TaskStatus, Verb
from console.tui import pace, questions
from console.tui.actions.base import Part, Table
from console.tui.facts import can_resume, is_active
from console.tui.messages import Outcome
from console.tui.ports import Player, Receipt

SEEN_SECONDS = 2.0  # a change of speed shows in the journal within this time
ASKS_FOR_A_PERSON = ("gate", "purge")


class Steering(Part):
    """Carries the run on, or a replay's clock where a past run is shown."""

    _stopping = False
    _asked: tuple[str, dict[str, int], float] = ("", {}, 0.0)  # the last change of speed: task, settings, when

    def table(self) -> Table:
        """The actions by name."""
        return {
            "start": self._start,
            "pause": self._pause,
            "faster": lambda: self._faster(1, pace.faster),
            "slower": lambda: self._faster(-1, pace.slower),
            "wind_back": lambda: self._play(lambda player: player.wind(-1)),
            "wind_on": lambda: self._play(lambda player: player.wind(1)),
            "step_back": lambda: self._play(lambda player: player.jump(-1)),
            "step_on": lambda: self._play(lambda player: player.jump(1)),
            "confirm": self._confirm,
            "control": self._take_control,
            "leave": self._leave,
        }

    def _start(self) -> None:
        task = self.chosen()
        if self.refused() or task is None:
            return

        def send(until: str) -> None:
            self.send(f"start until {until}", Verb.START, until=until)

        self._shell.ask(questions.start(self._shell.facts, task, send))

    def _play(self, press: Callable[[Player], None]) -> None:
        """Move a replay's clock."""
        player = self._shell.world.player
        if player is None:
            self.say("The run is shown as it is now: only a replay can be wound.")
            return
        press(player)
        self._shell.facts = replace(self._shell.facts, replay=player.words())

    def _faster(self, step: int, change: Callable[..., dict[str, int]]) -> None:
        if self._shell.world.player is not None:
            self._play(lambda player: player.faster(step))
        else:
            self._speed(change)

    def _pause(self) -> None:
        if self._shell.world.player is not None:
            self._play(lambda player: player.toggle())
            return
        state = self._shell.facts.state
        if self.refused() or state is None:
            return
        if can_resume(state):
            self.send("try again" if state.status is RunStatus.FAILED else "resume", Verb.RESUME)
        elif is_active(state):
            self.send("pause after this batch", Verb.PAUSE)
        elif state.current is not None and state.current.kind in ASKS_FOR_A_PERSON:
            self._confirm()
        else:
            self.say("Nothing runs: s starts it.")

    def _speed(self, step: Callable[..., dict[str, int]]) -> None:
        state = self._shell.facts.state
        if self.refused() or state is None:
            return
        running = next((item for item in state.progress if not item.finished), None)
        if running is None:
            self.say("No copy is running: there is no speed to change.")
            return
        task_id, asked, at = self._asked
        if task_id == running.task_id and time.monotonic() - at < SEEN_SECONDS:
            running = replace(running, **asked)  # type: ignore[arg-type]  # the journal does not show the last key yet
        change = step(running)
        if change:
            self._asked = (
                running.task_id,
                {**(asked if task_id == running.task_id else {}), **change},
                time.monotonic(),
            )
            self.send(pace.words(change), Verb.SPEED, **change)
        else:
            self.say("That is as far as it goes.")

    def _confirm(self) -> None:
        facts, state = self._shell.facts, self._shell.facts.state
        if self.refused() or state is None:
            return
        task = state.current
        if task is None or task.status is not TaskStatus.BLOCKED:
            chosen = self.chosen()
            task = chosen if chosen and chosen.irreversible and chosen.status is not TaskStatus.COMPLETED else task
        if task is not None and task.irreversible:
            final = task
            args = {"task": final.id, "typed": state.target.database}
            self._shell.ask(questions.final(state, final, lambda: self.send(final.title, Verb.PURGE, **args)))
        elif task is not None and task.kind == "gate" and task.status is not TaskStatus.COMPLETED:
            planned = facts.planned(task.id)
            words = planned.question if planned else task.blocked_on
            gate = task.id
            yes = lambda: self.send(f"confirm {gate}", Verb.CONFIRM, task=gate)  # noqa: E731
            self._shell.ask(questions.gate(task, words, yes))
        else:
            self.say("Nothing waits for a person now.")

    def _take_control(self) -> None:
        shell = self._shell
        facts = shell.facts
        if facts.can_control:
            self.say("This console has control.", "ok")
        elif not facts.offer:
            self.say("Control cannot be taken from here: this console only reads.")
        else:
            shell.ask(questions.take_control(facts, self._take))

    def _take(self) -> None:
        shell = self._shell

        def then(outcome: Outcome) -> None:
            receipt = outcome.value
            taken = isinstance(receipt, Receipt)
            self.say(receipt.text if isinstance(receipt, Receipt) else outcome.error, "ok" if taken else "bad")
            if taken:
                shell.facts = replace(shell.facts, can_control=True, offer="")

        shell.commands.ask(shell.world.take_control, then)

    def _leave(self) -> None:
        if is_active(self._shell.facts.state) and self._shell.facts.can_control:
            self._shell.ask(questions.leave(self._shell.facts, lambda: self._shell.exit(0)))
        else:
            self._shell.exit(0)

    def stop(self) -> None:
        """ctrl+c: pause after the batch where something runs and this console may; else ask whether to leave."""
        shell = self._shell
        state = shell.facts.state
        shell.close_prompt()
        shell.ask(None)
        if state is not None and state.status is RunStatus.RUNNING and shell.facts.can_control and not self._stopping:
            self._stopping = True
            self.send("pause after this batch (ctrl+c again asks whether to leave)", Verb.PAUSE)
        else:
            self._stopping = False
            shell.ask(questions.leave(shell.facts, lambda: shell.exit(0)))
