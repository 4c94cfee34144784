"""What each key does. Commands to the runner are sent only from here, and only after the questions they need."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from platformdirs import user_state_path

from console.journal.state import RunStatus, Session, TaskState, TaskStatus, Verb
from console.plan.model import Doc
from console.text import plain
from console.tui import pace, questions, signing
from console.tui.draw import rollback as rollback_drawing
from console.tui.draw.live import OURS, WAITS
from console.tui.facts import Missing, can_resume, is_active
from console.tui.keys import SCREENS
from console.tui.messages import Outcome
from console.tui.ports import Player, Receipt
from console.tui.views.lists import ActivityView, ChecksView, LogView

if TYPE_CHECKING:
    from console.tui.shell import Shell

SEEN_SECONDS = 2.0  # a change of speed shows in the journal within this time
ASKS_FOR_A_PERSON = ("gate", "purge")


class Actions:
    """The actions of the key table, by name."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._by_name: dict[str, Callable[[], None]] = {
            "open": self._open,
            "way_back": shell.preview.turn,
            "statements": self._statements,
            "approve": lambda: signing.approve(shell, self.say),
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
            "cancel": self._cancel,
            "end": self._end,
            "rollback": self._rollback,
            "follow": self._follow,
            "filter": self._filter,
            "copy": self._copy,
            "report": self._report,
            "docs": self._docs,
            "refresh": self._refresh,
            "palette": self._palette,
            "help": self._help,
            "back": self._back,
            "leave": self._leave,
        }
        page = 10
        moves = {"down": 1, "up": -1, "page_down": page, "page_up": -page, "top": -1_000_000, "bottom": 1_000_000}
        for name, lines in moves.items():
            self._by_name[name] = lambda lines=lines: self._move(lines)  # type: ignore[misc]
        for name in SCREENS:
            self._by_name[name] = lambda name=name: shell.open(name)  # type: ignore[misc]
        self._by_name["left"] = lambda: self._sideways(-1)
        self._by_name["right"] = lambda: self._sideways(1)

    def do(self, action: str) -> None:
        """Do what the table calls ``action``."""
        self._by_name[action]()

    def say(self, text: str, style: str = "warn") -> None:
        """Tell the operator, in the line above the footer, until the next key."""
        self._shell.notice = (plain(text), style)

    # moving

    def _move(self, lines: int) -> None:
        self._shell.view.move(lines, self._shell.facts)
        if self._shell.view is self._shell.rollback:
            self._want_rollback()

    def _sideways(self, step: int) -> None:
        shell = self._shell
        if shell.view is shell.rollback:
            self._move(step)
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
        elif view is shell.docs:
            shell.docs.open(shell.facts)
        elif view is shell.rollback:
            self._confirm_rollback()

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

    def _docs(self) -> None:
        shell = self._shell
        shell.open("docs")
        if not shell.facts.docs:
            shell.facts = replace(shell.facts, docs=Missing())

            def then(outcome: Outcome) -> None:
                docs = Missing(outcome.error) if outcome.error else outcome.value
                shell.facts = replace(shell.facts, docs=docs)  # type: ignore[arg-type]

            shell.reads.ask(shell.world.docs, then)

    # commands to the runner

    def _refused(self) -> bool:
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

    def _send(self, words: str, verb: Verb, **args: object) -> None:
        self.say(f"{words}: asked..", "dim")
        done = words if verb is Verb.SPEED else ""  # the runner names settings; the operator reads words

        def then(outcome: Outcome) -> None:
            receipt = outcome.value
            if isinstance(receipt, Receipt):
                self.say(done if done and receipt.accepted else receipt.text, "ok" if receipt.accepted else "bad")
            else:
                self._refuse(outcome)

        self._shell.commands.ask(lambda: self._shell.world.send(verb, **args), then)

    def _refuse(self, outcome: Outcome) -> None:
        """Say why not; what shows it (a difference of plans) is a page that esc closes."""
        self.say(outcome.error, "bad")
        if outcome.detail:
            shown = outcome.detail.replace("```", "` ` `")  # a fence in a page of the plan
            self._shell.docs.show(Doc("difference", "What changed", f"{outcome.error}\n\n```\n{shown}\n```\n"))
            self._shell.open("docs")

    def _chosen(self) -> TaskState | None:
        return self._shell.facts.task(self._shell.tasks.task_id(self._shell.facts))

    def _start(self) -> None:
        task = self._chosen()
        if self._refused() or task is None:
            return

        def send(until: str) -> None:
            self._send(f"start until {until}", Verb.START, until=until)

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
        if self._refused() or state is None:
            return
        if can_resume(state):
            self._send("try again" if state.status is RunStatus.FAILED else "resume", Verb.RESUME)
        elif is_active(state):
            self._send("pause after this batch", Verb.PAUSE)
        elif state.current is not None and state.current.kind in ASKS_FOR_A_PERSON:
            self._confirm()
        else:
            self.say("Nothing runs: s starts it.")

    def _speed(self, step: Callable[..., dict[str, int]]) -> None:
        state = self._shell.facts.state
        if self._refused() or state is None:
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
            self._send(pace.words(change), Verb.SPEED, **change)
        else:
            self.say("That is as far as it goes.")

    def _confirm(self) -> None:
        facts, state = self._shell.facts, self._shell.facts.state
        if self._refused() or state is None:
            return
        task = state.current
        if task is None or task.status is not TaskStatus.BLOCKED:
            chosen = self._chosen()
            task = chosen if chosen and chosen.irreversible and chosen.status is not TaskStatus.COMPLETED else task
        if task is not None and task.irreversible:
            final = task
            args = {"task": final.id, "typed": state.target.database}
            self._shell.ask(questions.final(state, final, lambda: self._send(final.title, Verb.PURGE, **args)))
        elif task is not None and task.kind == "gate" and task.status is not TaskStatus.COMPLETED:
            planned = facts.planned(task.id)
            words = planned.question if planned else task.blocked_on
            gate = task.id
            yes = lambda: self._send(f"confirm {gate}", Verb.CONFIRM, task=gate)  # noqa: E731
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

    def _in_the_way(self, verb: str) -> Session | None:
        """The session under the cursor of Activity, if it may be signalled; else the operator is told why not."""
        view = self._shell.view
        if self._refused() or not isinstance(view, ActivityView):
            return None
        session = view.chosen(self._shell.facts)
        if session is None:
            self.say(f"There is no session to {verb}.")
        elif session.pid == 0:
            self.say("A prepared transaction: its owner ends it with COMMIT PREPARED or ROLLBACK PREPARED.")
        elif session.role == WAITS:
            self.say(f"Session {session.pid} waits behind us; it is not in the way.")
        else:
            return session
        return None

    def _cancel(self) -> None:
        session = self._in_the_way("cancel")
        if session is None:
            return
        if session.role != OURS and session.state.startswith("idle"):
            self.say(f"Session {session.pid} is {session.state}: it has no statement to cancel. X ends the session.")
            return
        ask = questions.cancel_ours if session.role == OURS else questions.cancel
        args = {"pid": session.pid, "mark": session.mark}
        self._shell.ask(ask(session, lambda: self._send(f"cancel {session.pid}", Verb.CANCEL, **args)))

    def _end(self) -> None:
        session = self._in_the_way("end")
        if session is None:
            return
        if session.role == OURS:
            self.say("That is our own statement: x cancels it.")
            return
        args = {"pid": session.pid, "mark": session.mark}
        self._shell.ask(questions.end(session, lambda: self._send(f"end {session.pid}", Verb.TERMINATE, **args)))

    # rolling back

    def _rollback(self) -> None:
        shell = self._shell
        if shell.view is not shell.rollback:
            shell.facts = replace(shell.facts, rollbacks={})
            shell.rollback.cursor = max(shell.rollback.count(shell.facts) - 1, 0)
            shell.rollback.detailed = False
        shell.open("rollback")
        self._want_rollback()

    def _want_rollback(self) -> None:
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

    def _confirm_rollback(self) -> None:
        shell = self._shell
        preview = shell.rollback.preview(shell.facts)
        if self._refused():
            return
        if preview is None:
            self.say("What it would do is not known yet, so it cannot be confirmed.")
        elif preview.impossible:
            self.say(f"It cannot be done: {preview.impossible}", "bad")
        else:
            point = shell.rollback.point(shell.facts)
            typed = preview.needs_typing

            def yes() -> None:
                self._send(f"roll back to {point}", Verb.ROLLBACK, to=point, typed=typed)
                shell.open("tasks")

            shell.ask(questions.roll_back(shell.facts, preview, rollback_drawing.meaning(shell.facts, point), yes))

    # the rest

    def _copy(self) -> None:
        shell = self._shell
        if shell.view is shell.rollback:
            preview = shell.rollback.preview(shell.facts)
            text = rollback_drawing.plan_text(preview) if preview and not preview.impossible else ""
            name = f"rollback_{shell.rollback.point(shell.facts)}.sql"
        else:
            text = shell.preview.sql(shell.facts)
            name = f"{shell.preview.task_id}.sql"
        if not text:
            self.say("There is no SQL to copy here.")
            return
        sent = shell.copy_out(text)

        def then(outcome: Outcome) -> None:
            where = f"in {outcome.value}" if outcome.value else f"not in a file: {outcome.error}"
            clip = "sent to the terminal's clipboard" if sent else "too long for the clipboard"
            self.say(f"SQL {clip}, and {where}", "ok" if outcome.value else "bad")

        shell.reads.ask(lambda: _write(name, text), then)

    def _report(self) -> None:
        self.say("saving the report..", "dim")

        def then(outcome: Outcome) -> None:
            self.say(*((outcome.error, "bad") if outcome.error else (f"report saved: {outcome.value}", "ok")))

        self._shell.reads.ask(self._shell.world.save_report, then)

    def _refresh(self) -> None:
        shell = self._shell
        shell.facts = replace(shell.facts, previews={}, rollbacks={}, docs=())
        if shell.view is shell.rollback:
            self._want_rollback()
        elif shell.view is shell.docs:
            self._docs()
        self.say("reading everything again..", "dim")
        shell.repaint()
        shell.reads.ask(shell.world.state, lambda outcome: self.say(outcome.error, "bad") if outcome.error else None)

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
            self._send("pause after this batch (ctrl+c again asks whether to leave)", Verb.PAUSE)
        else:
            self._stopping = False
            shell.ask(questions.leave(shell.facts, lambda: shell.exit(0)))

    _stopping = False
    _asked: tuple[str, dict[str, int], float] = ("", {}, 0.0)  # the last change of speed: task, settings, when


def _write(name: str, text: str) -> Path:
    folder = user_state_path("pgferry", ensure_exists=True)
    path = folder / "".join(ch if ch.isalnum() or ch in "._-" else "_" for ch in name)
    path.write_text(text, encoding="utf-8")
    return path
