"""Commands to the runner: start, pause, resume, speed, confirm, control; and leaving, which never harms the run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from console.journal.state import OnDetach, RunState, RunStatus, TaskStatus, Verb
from console.tui import pace, questions
from console.tui.actions.base import Part, Table
from console.tui.facts import ASKS_FOR_A_PERSON, can_resume, is_active, runner_frozen, runner_lost
from console.tui.ports import Player

SEEN_SECONDS = 2.0  # a change of speed shows in the journal within this time
AGAIN_SECONDS = 30.0  # a second ctrl+c within this time means leaving; later it is a first one again


class Steering(Part):
    """Carries the run on, or a replay's clock where a past run is shown."""

    _stopped_at = float("-inf")  # when ctrl+c last asked for a pause
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
            "detach": self._detach,
            "leave": self._leave,
        }

    def _start(self) -> None:
        task = self.chosen()
        if self.refused() or task is None:
            return

        def send(until: str) -> None:
            self.send(f"start until {until}", Verb.START, until=until)

        self._shell.ask(questions.start(self._shell.facts, task, send, self._shell.ask))

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
        if self._shell.commands.waiting and can_resume(state):
            self.say("The last command is still on its way; its answer comes here.")
        elif runner_lost(state):
            self._replace_runner(state)
        elif can_resume(state):
            self.send("try again" if state.status is RunStatus.FAILED else "resume", Verb.RESUME)
        elif is_active(state):
            self.send("pause after this batch", Verb.PAUSE)
        elif state.current is not None and state.current.kind in ASKS_FOR_A_PERSON:
            self._confirm()
        else:
            self.say("Nothing runs: s starts it.")

    def _replace_runner(self, state: RunState) -> None:
        """Another runner in the place of one that is gone, or, asked for in so many words, that does not answer."""
        if runner_frozen(state):
            act = partial(self.ask_world, "take the run over", self._shell.world.take_over)
        else:
            act = partial(self.send, "start another runner", Verb.RESUME)
        self._shell.ask(questions.lost_runner(state, act))

    def _detach(self) -> None:
        if not self.refused():
            self._shell.ask(questions.detach(self._shell.facts, self._choose))

    def _choose(self, option: OnDetach, then: Callable[[], None] | None = None) -> None:
        """Set what becomes of the run when this console goes, and then do something."""
        self.ask_world("on detach", lambda: self._shell.world.set_on_detach(option), then)

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
            task = chosen if chosen and chosen.kind == "purge" and chosen.status is not TaskStatus.COMPLETED else task
        if task is not None and task.kind == "purge":
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

        def taken() -> None:
            shell.facts = replace(shell.facts, can_control=True, offer="")

        self.ask_world("control", shell.world.take_control, taken)

    def _leave(self) -> None:
        if is_active(self._shell.facts.state) and self._shell.facts.can_control:
            self._ask_to_leave()
        else:
            self._shell.exit(0)

    def _ask_to_leave(self) -> None:
        def leave() -> None:
            self._shell.exit(0)

        self._shell.ask(questions.leave(self._shell.facts, leave, lambda option: self._choose(option, leave)))

    def stop(self) -> None:
        """ctrl+c: pause after the batch where something runs and this console may; else ask whether to leave."""
        shell = self._shell
        state = shell.facts.state
        shell.close_prompt()
        shell.ask(None)
        again = time.monotonic() - self._stopped_at < AGAIN_SECONDS
        at_work = state is not None and state.status in (RunStatus.RUNNING, RunStatus.ROLLING_BACK)
        if at_work and shell.facts.can_control and not again and state is not None and not runner_lost(state):
            self._stopped_at = time.monotonic()
            self.send("pause after this batch (ctrl+c again asks whether to leave)", Verb.PAUSE)
        else:
            self._stopped_at = float("-inf")
            self._ask_to_leave()
