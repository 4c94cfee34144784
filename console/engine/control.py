"""The runner's ear and pulse: heartbeat and operators' commands."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable

import psycopg

from console.engine import rollback
from console.engine.attendance import Attendance, Gone
from console.engine.interrupt import signal
from console.engine.session import Session, is_lost
from console.engine.tasks import STANDS
from console.errors import FerryError, LeaseLost, Refused, UsageError
from console.journal import admission, approvals, commands, control, events, lease, runs
from console.journal.commands import Command
from console.journal.connect import Conn
from console.journal.state import RunStatus, TaskStatus, Verb
from console.plan import settings
from console.plan.approval import Standing, Wanted, brief, sentences
from console.plan.model import Kind
from console.plan.order import until
from console.text import plain, several

POLL_S = 0.25
LONG_S = 1.0  # a statement that runs so long may well run longer
REFUSED_S = 0.5  # after the server refused a write of ours


class Control:
    """A thread with a connection of its own; it changes the run's goal and tells the worker to look."""

    def __init__(self, session: Session, conn: Conn) -> None:
        self.session = session
        self.conn = conn
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._run, name="control", daemon=True)
        self._beat_at = 0.0
        self._attendance = Attendance(session.run_id)

    def start(self) -> None:
        """Begin to listen."""
        self.thread.start()

    def stop(self) -> None:
        """End the thread and wait for it; the connection stays open."""
        self.ended.set()
        self.thread.join(timeout=10)

    def _run(self) -> None:
        while not self.ended.is_set():
            try:
                self._listen()
            except LeaseLost:
                self.session.wishes.lost.set()
                return
            except (psycopg.Error, FerryError) as error:
                if self.ended.is_set():
                    return
                if is_lost(self.conn, error):
                    self._reconnect()
                else:  # the disk is full, say: the connection holds the advisory lock and stays
                    time.sleep(REFUSED_S)
            except Exception as error:  # a fault of ours must not silence the heartbeat and the operators
                print(f"pgferry: control: {type(error).__name__}: {plain(str(error))}", file=sys.stderr)
                time.sleep(REFUSED_S)

    def _listen(self) -> None:
        self.conn.execute(f"LISTEN {events.CHANNEL}")
        while not self.ended.is_set():
            self._pulse()
            for command in commands.pending(self.conn, self.session.run_id):
                self.obey(command)
            for _ in self.conn.notifies(timeout=POLL_S, stop_after=1):
                pass

    def _reconnect(self) -> None:
        """After a lost connection: a new one, and the advisory lock again before anything else is written."""
        while not self.ended.is_set():
            try:
                if not self.conn.closed:
                    self.conn.close()
                self.conn = self.session.open("control")
                lease.beat(self.conn, self.session.fence)
                self._attendance.reconnected()
                return
            except LeaseLost:
                self.session.wishes.lost.set()
                return
            except (psycopg.Error, FerryError):
                time.sleep(0.5)

    def _pulse(self) -> None:
        if time.monotonic() - self._beat_at >= lease.HEARTBEAT_SECONDS:
            lease.beat(self.conn, self.session.fence)
            self._beat_at = time.monotonic()
            self.attend()

    def attend(self) -> None:
        """Pause where the console in control is gone and its operator chose that. Raises LeaseLost."""
        gone = self._attendance.look(self.conn)
        if gone is not None and self._pause_without(gone):
            self.session.wishes.stop.set()

    def _pause_without(self, gone: Gone) -> bool:
        """Whether it was still gone, and something was at work that is to pause now."""
        paused = False
        with self.conn.transaction():
            self.session.hold(self.conn)
            if control.left_behind(self.conn, self.session.run_id, gone.presence):
                at_work = (RunStatus.RUNNING, RunStatus.ROLLING_BACK)
                paused = runs.set_status(self.conn, self.session.run_id, RunStatus.PAUSING, after=at_work)
                if not paused:
                    raise psycopg.Rollback
                events.append(
                    self.conn, self.session.run_id, "run",
                    f"pause after the current batch or statement: the console in control ({gone.presence.name}) is gone,"
                    f" {gone.why}, and its operator chose that the run pauses then",
                    actor="pgferry",
                )  # fmt: skip
        return paused

    def obey(self, command: Command) -> None:
        """Carry out one command and answer it, in one transaction; a refused one changes nothing. Raises LeaseLost."""
        actions: dict[Verb, Callable[[Command], str]] = {
            Verb.START: self._start,
            Verb.PAUSE: self._pause,
            Verb.RESUME: self._resume,
            Verb.SPEED: self._speed,
            Verb.CONFIRM: self._confirm,
            Verb.ROLLBACK: self._rollback,
            Verb.PURGE: self._purge,
            Verb.CANCEL: lambda command: signal(self.session, self.conn, command, terminate=False),
            Verb.TERMINATE: lambda command: signal(self.session, self.conn, command, terminate=True),
        }
        try:
            with self.conn.transaction():
                self.session.hold(self.conn)
                text = actions[command.verb](command)
                events.append(
                    self.conn, self.session.run_id, "operator", text, actor=command.actor, verb=command.verb.value,
                    args=command.args,
                )  # fmt: skip
                commands.answer(self.conn, command.id, accepted=True, text=text)
        except LeaseLost:
            raise
        except FerryError as error:
            commands.answer(self.conn, command.id, accepted=False, text=str(error))
        except (TypeError, ValueError) as error:
            commands.answer(self.conn, command.id, accepted=False, text=f"The command cannot be read: {error}.")
        else:
            if command.verb in (Verb.PAUSE, Verb.ROLLBACK):  # only now: the worker reads the goal when it is told
                self.session.wishes.stop.set()

    def _status(self) -> RunStatus:
        row = runs.get(self.conn, self.session.run_id)
        assert row is not None
        return row.status

    def _start(self, command: Command) -> str:
        target = str(command.args.get("until", "end"))
        tasks = until(self.session.plan, target)
        if self._status() is RunStatus.ROLLING_BACK:
            raise Refused("The run is rolling back.", do="Wait until it is done, or pause it first.")
        if tasks and tasks[-1].kind is Kind.PURGE:
            raise Refused(f"{target} destroys data.", do="Ask for the purge itself and type the database's name.")
        stands = self._admit(command)
        runs.set_goal(self.conn, self.session.run_id, RunStatus.RUNNING, until=target, back_to="")
        return f"run until {target}" + (f", {brief(stands)}" if stands.counted else "")

    def _pause(self, command: Command) -> str:
        at_work = (RunStatus.RUNNING, RunStatus.ROLLING_BACK, RunStatus.PAUSING)
        if not runs.set_status(self.conn, self.session.run_id, RunStatus.PAUSING, after=at_work):
            raise Refused("Nothing runs that could be paused.")
        attempt, what = self.session.step.now(), self.session.step.what
        because = f" ({plain(str(command.args['because']))})" if command.args.get("because") else ""
        if attempt is None or not attempt.pid or attempt.seconds < LONG_S:
            return f"pause after the current batch or statement{because}"
        return (
            f"pause after the statement that runs now ({what}, {attempt.seconds:.0f} s so far){because};"
            f" 'pgferry cancel {attempt.pid}' or x in Activity stops it at once"
        )

    def _resume(self, command: Command) -> str:
        row = runs.get(self.conn, self.session.run_id)
        assert row is not None
        if row.status is RunStatus.NEW:
            self._admit(command)
        status = RunStatus.ROLLING_BACK if row.back_to else RunStatus.RUNNING
        runs.set_goal(self.conn, self.session.run_id, status)
        goal = "roll back to " + row.back_to if row.back_to else "run until " + row.until
        return f"resume: {goal}{self._withdrawn(row)}"

    def _admit(self, command: Command) -> Standing:
        """Where the plan's approval stands for whoever sent the command; written to the log, so that it is in the chain.

        Raises Refused where it is not enough.
        """
        stands = admission.refuse_unapproved(self.conn, self.session.plan, approvals.person(self.conn, command.actor))
        if stands.counted:
            events.append(
                self.conn, self.session.run_id, "operator", "approved: " + "; ".join(sentences(stands)[1:]),
                actor=command.actor, sha256=stands.sha256,
                approvals=[
                    {"name": one.name, "role": one.role, "at": one.at.isoformat(), "source": one.source}
                    for one in stands.counted
                ],
            )  # fmt: skip
        return stands

    def _withdrawn(self, row: runs.RunRow) -> str:
        """Said where approvals that the run began with were withdrawn: what was begun goes on all the same."""
        plan = self.session.plan
        if not plan.approvals or row.back_to:
            return ""
        operator = approvals.person(self.conn, row.operator)
        stands = admission.read_standing(self.conn, Wanted.of(plan), plan, operator)
        return "" if stands.enough else f"; the run keeps the approval it began with, now it has {brief(stands)}"

    def _speed(self, command: Command) -> str:
        unknown = set(command.args) - set(settings.KEYS)
        if unknown or not command.args:
            raise UsageError(
                f"No such setting: {', '.join(sorted(unknown)) or '(none named)'}.",
                do=f"Known: {', '.join(sorted(settings.KEYS))}.",
            )
        try:
            self._set_speed(command)
        except ValueError as error:
            raise UsageError(str(error)) from None
        return "speed: " + ", ".join(f"{name} = {value}" for name, value in command.args.items())

    def _set_speed(self, command: Command) -> None:
        wishes = self.session.wishes
        values = {name: settings.checked(name, value) for name, value in command.args.items()}
        wishes.settings_by |= dict.fromkeys(values, command.actor)
        wishes.settings |= values

    def recall_speed(self) -> None:
        """What operators set earlier in this run holds for a later runner too."""
        for command in commands.carried_out(self.conn, self.session.run_id, Verb.SPEED):
            with contextlib.suppress(ValueError):  # accepted by another version, with other bounds
                self._set_speed(command)

    def _confirm(self, command: Command) -> str:
        task_id = str(command.args.get("task", ""))
        row = runs.tasks(self.conn, self.session.run_id).get(task_id)
        if row is None or self.session.plan.task(task_id).kind is not Kind.GATE:
            raise UsageError(f"{task_id or '(no task)'} is not a gate.")
        if self._status() is RunStatus.ROLLING_BACK:
            raise Refused("The run is rolling back.", do="Wait until it is done, or pause it first.")
        if row.status in STANDS:
            raise Refused(f"{task_id} is done already.", state="Nothing was changed.")
        if self._status() is RunStatus.NEW:
            self._admit(command)
        runs.task_note(self.conn, self.session.run_id, task_id, f"confirmed by {command.actor}")
        runs.task_status(self.conn, self.session.run_id, task_id, TaskStatus.PENDING)
        runs.set_goal(self.conn, self.session.run_id, RunStatus.RUNNING, back_to="")
        return f"{task_id} confirmed"

    def _rollback(self, command: Command) -> str:
        to = str(command.args.get("to", ""))
        rows = runs.tasks(self.conn, self.session.run_id)
        preview = rollback.preview(self.conn, self.session.plan, self.session.run_id, rows, to)
        if preview.impossible:
            raise Refused(preview.impossible)
        if preview.needs_typing and command.args.get("typed") != preview.needs_typing:
            raise Refused(
                f"Going back to {to} loses data: {'; '.join(preview.loses)}.",
                state="Nothing was changed.",
                do=f"Type {preview.needs_typing} to accept it.",
            )
        runs.set_goal(self.conn, self.session.run_id, RunStatus.ROLLING_BACK, back_to=to)
        return f"roll back to {to}: {several(len(preview.steps), 'step')}"

    def _purge(self, command: Command) -> str:
        task_id = str(command.args.get("task", ""))
        database = self.conn.info.dbname
        plan = self.session.plan
        if task_id not in {task.id for task in plan.tasks} or plan.task(task_id).kind is not Kind.PURGE:
            raise UsageError(f"{task_id or '(no task)'} is not a purge.")
        if command.args.get("typed") != database:
            raise Refused("Purging destroys data.", state="Nothing was changed.", do=f"Type {database} to confirm.")
        if self._status() is RunStatus.ROLLING_BACK:
            raise Refused("The run is rolling back.", do="Wait until it is done, or pause it first.")
        self._admit(command)
        runs.set_goal(self.conn, self.session.run_id, RunStatus.RUNNING, until=task_id, back_to="")
        return f"purge {task_id}, confirmed by typing {database}"
