"""The runner: a process of its own that carries a run to its goal and survives whatever the console does."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

import platformdirs
import psycopg

from console.engine import rollback, tasks
from console.engine.contract import forget_drain
from console.engine.control import Control
from console.engine.session import LOST, RECONNECT_SECONDS, Interrupted, Session, Wishes, in_words, is_lost
from console.engine.watch import Watcher, forget_waits
from console.errors import ConnectionFailed, FerryError, LeaseLost, PlanError
from console.journal import admission, commands, events, lease, runs, steps
from console.journal.connect import Conn, connect
from console.journal.settle import READER_TIMEOUT
from console.journal.state import Lease, RunStatus, TaskStatus
from console.plan.load import load_plan
from console.plan.model import Plan, Task
from console.plan.order import until
from console.text import plain, several

FORWARD = (RunStatus.RUNNING, RunStatus.PAUSING)  # a failure or a gate ends these, never a rollback ordered meanwhile
BACK = (RunStatus.ROLLING_BACK, RunStatus.PAUSING)
AT_WORK = (RunStatus.RUNNING, RunStatus.ROLLING_BACK, RunStatus.PAUSING)
EXIT = {RunStatus.DONE: 0, RunStatus.ROLLED_BACK: 0, RunStatus.FAILED: 1, RunStatus.PAUSED: 6, RunStatus.WAITING: 6}


class Runner:
    """Carries one run forward or back, task by task."""

    def __init__(self, session: Session, exports: Path) -> None:
        self.session = session
        self.exports = exports

    def run(self) -> RunStatus:
        """Work until there is nothing more to do; returns where the run then stands. Raises LeaseLost."""
        session = self.session
        cut = False
        while True:
            if not session.wishes.leave:
                session.wishes.stop.clear()
            try:
                if cut:
                    session.connected_again()
                    cut = False
                status = self._go_on()
                if status is not None:
                    return status
            except Interrupted:
                if session.wishes.leave:
                    self._leave()
            except LeaseLost:
                session.wishes.lost.set()
                raise
            except LOST as error:  # between tasks, or where a task could not go on by itself: the journal knows
                if not session.lost(error):
                    raise
                session.drop()
                cut = True

    def _go_on(self) -> RunStatus | None:
        """Work towards the run's goal; where it stands once nothing is left to do, None to look again."""
        row = runs.get(self.session.conn, self.session.run_id)
        assert row is not None
        if row.status is RunStatus.RUNNING:
            self._forward(row.until)
        elif row.status is RunStatus.ROLLING_BACK:
            self._back(row.back_to)
        elif row.status is RunStatus.PAUSING:
            if self._set(RunStatus.PAUSED, after=(RunStatus.PAUSING,)):
                self.session.event("run", "paused", edge=steps.END)
        else:
            return row.status
        return None

    def _leave(self) -> None:
        try:
            if self._set(RunStatus.PAUSED, after=AT_WORK):
                self.session.event("run", "paused: the runner was told to stop", edge=steps.END)
        except Interrupted:
            raise ConnectionFailed(
                "The runner was told to stop while the server was away.",
                state="The run stands where the journal says.",
                do="Start it again: it continues there.",
            ) from None

    def _set(self, status: RunStatus, error: str = "", *, after: tuple[RunStatus, ...]) -> bool:
        """Whether it was set: not where an operator changed the run's goal since it was read."""
        with self.session.fenced() as conn:
            done = runs.set_status(conn, self.session.run_id, status, error, after=after)
            events.notify(conn)
        return done

    def _forward(self, target: str) -> None:
        session = self.session
        wanted = until(session.plan, target)
        rows = runs.tasks(session.conn, session.run_id)  # what is not reached yet changes by nobody else
        for task in wanted:
            session.wishes.check()
            if rows[task.id].status in tasks.STANDS:
                continue
            if not self._one(task):
                return
        rows = runs.tasks(session.conn, session.run_id)
        for task in session.plan.tasks:
            if task not in wanted and target == "end" and rows[task.id].status is TaskStatus.PENDING:
                with session.fenced() as conn:
                    runs.task_status(conn, session.run_id, task.id, TaskStatus.DEFERRED)
        left = [t for t in until(session.plan, "end") if rows[t.id].status not in tasks.STANDS]
        if left:
            if self._set(RunStatus.WAITING, after=(RunStatus.RUNNING,)):
                session.event("run", f"reached {target}; next is {left[0].id} {left[0].title}")
        elif self._set(RunStatus.DONE, after=(RunStatus.RUNNING,)):
            session.event("run", "every task is done")

    def _one(self, task: Task) -> bool:
        """Whether the run may go on."""
        session = self.session
        rows = runs.tasks(session.conn, session.run_id)
        waits = ", ".join(id_ for id_ in task.depends if rows[id_].status not in tasks.STANDS)
        if waits:
            with session.fenced() as conn:
                runs.task_status(conn, session.run_id, task.id, TaskStatus.BLOCKED, blocked_on=waits)
            self._set(RunStatus.FAILED, f"{task.id} waits for {waits}.", after=FORWARD)
            return False
        with session.fenced() as conn:
            runs.task_started(conn, session.run_id, task.id, session.operator)
        session.event("task", f"{task.title}", task_id=task.id, edge=steps.BEGIN, way=steps.FORWARD)
        start = time.monotonic()
        try:
            tasks.perform(session, task, rows[task.id], exports=self.exports)
        except Interrupted:
            self._end(task, TaskStatus.IN_PROGRESS, start)
            raise
        except tasks.GateWaits as wait:
            self._wait(task, start, str(wait))
            return False
        except (FerryError, psycopg.Error, OSError) as error:
            if self._beyond_the_task(error):
                raise
            self._fail(task, start, error)
            return False
        self._end(task, TaskStatus.COMPLETED, start)
        session.event(
            "task", f"done in {time.monotonic() - start:.1f} s: {task.title}", task_id=task.id, edge=steps.END
        )
        return True

    def _wait(self, task: Task, start: float, why: str) -> None:
        """Stop at a gate, unless it was confirmed, or a rollback ordered, since it was looked at."""
        session = self.session
        self._end(task, TaskStatus.BLOCKED, start)
        with session.fenced() as conn:
            runs.task_status(conn, session.run_id, task.id, TaskStatus.BLOCKED, blocked_on="a person")
        if self._set(RunStatus.WAITING, why, after=FORWARD):
            session.event("run", why, task_id=task.id, edge=steps.END)
            if tasks.confirmed(session, task):
                self._set(RunStatus.RUNNING, after=(RunStatus.WAITING,))

    def _beyond_the_task(self, error: Exception) -> bool:
        """Whether the lease or the connection is gone: no fault of the task, and not to be written down as one."""
        lease_lost = isinstance(error, LeaseLost) or self.session.wishes.lost.is_set()
        unreachable = isinstance(error, ConnectionFailed) and self.session.lost()
        return lease_lost or unreachable or (isinstance(error, LOST) and self.session.lost(error))

    def _end(self, task: Task, status: TaskStatus, start: float, error: str = "") -> None:
        with self.session.fenced() as conn:
            runs.task_ended(conn, self.session.run_id, task.id, status, time.monotonic() - start, error=error)
            events.notify(conn)

    def _fail(self, task: Task, start: float, error: Exception) -> None:
        words = in_words(error)
        self._end(task, TaskStatus.FAILED, start, words)
        self._set(RunStatus.FAILED, f"{task.id}: {words}", after=FORWARD)
        self.session.event("error", words, task_id=task.id, edge=steps.END)

    def _back(self, to: str) -> None:
        session = self.session
        while True:
            session.wishes.check()
            rows = runs.tasks(session.conn, session.run_id)
            undo = rollback.to_undo(session.plan, rows, to)
            if not undo:
                break
            task = undo[0]
            start = time.monotonic()
            what = rollback.words(session.plan, task)
            session.event("task", f"taking back: {what}", task_id=task.id, edge=steps.BEGIN, way=steps.BACK)
            try:
                rollback.refuse_impossible(session.conn, session.plan, (task,), rows)
                tasks.take_back(session, task, rows[task.id], even_if_lost=self._loss_accepted())
            except Interrupted:
                raise
            except (FerryError, psycopg.Error, OSError) as error:
                if self._beyond_the_task(error):
                    raise
                words = in_words(error)
                self._set(RunStatus.FAILED, f"rolling back {task.id}: {words}", after=BACK)
                session.event("error", f"taking back failed: {words}", task_id=task.id, edge=steps.END)
                return
            with session.fenced() as conn:
                runs.task_taken_back(conn, session.run_id, task.id)
                conn.execute(
                    "DELETE FROM pgferry.live WHERE run_id = %s AND starts_with(name, %s)",
                    (session.run_id, f"progress:{task.id}:"),
                )
            session.event("task", f"taken back in {time.monotonic() - start:.1f} s", task_id=task.id, edge=steps.END)
        left = [r for r in runs.tasks(session.conn, session.run_id).values() if r.status is TaskStatus.COMPLETED]
        if self._set(RunStatus.WAITING if left else RunStatus.ROLLED_BACK, after=(RunStatus.ROLLING_BACK,)):
            session.event("run", f"rolled back to {to}, with {several(len(left), 'task')} of this run left")

    def _loss_accepted(self) -> bool:
        """Whether the operator who asked for this rollback typed the database's name."""
        row = self.session.conn.execute(
            "SELECT args->>'typed' = current_database() FROM pgferry.command WHERE run_id = %s AND verb = 'rollback'"
            " AND status = 'done' ORDER BY id DESC LIMIT 1",
            (self.session.run_id,),
        ).fetchone()
        return bool(row and row[0])


def carry(
    conninfo: str,
    plan: Plan,
    run_id: int,
    operator: str,
    *,
    takeover: bool = False,
    patience_s: float = RECONNECT_SECONDS,
) -> RunStatus:
    """Take the lease and work until there is nothing to do; commands that arrive while leaving are not lost.

    Raises Refused when someone else runs it, LeaseLost when someone took it over, ConnectionFailed.
    """
    control_conn = connect(conninfo, application_name=f"pgferry run {run_id} control", statement_timeout=READER_TIMEOUT)
    while True:
        try:
            _refuse_other_plan(control_conn, plan, run_id)
            before = lease.read(control_conn, run_id)
            fence = lease.acquire(control_conn, run_id, operator, takeover=takeover)
        except BaseException:
            control_conn.close()
            raise
        session = Session(plan, conninfo, run_id, fence, operator, Wishes(), patience_s)
        if before is not None:
            _say_whose_place(session, control_conn, before, takeover=takeover)
        takeover = False
        control = Control(session, control_conn)
        watcher = Watcher(session)
        if threading.current_thread() is threading.main_thread():
            _obey_signals(session)
        control.recall_speed()
        control.attend()
        for command in commands.pending(control_conn, run_id):
            control.obey(command)
        forget_waits(control_conn, run_id)  # of a runner that was killed
        forget_drain(control_conn, run_id)
        control.start()
        watcher.start()
        try:
            status = Runner(session, exports_folder(run_id)).run()
            watcher.stop()
            control.stop()
            control_conn, more = _part(session, control.conn)
        except BaseException:
            watcher.stop()
            control.stop()
            if not session.wishes.lost.is_set():
                with contextlib.suppress(psycopg.Error):  # the server is gone, and the lease with it
                    lease.release(control.conn, session.fence)
            control.conn.close()
            raise
        finally:
            session.drop()
        if not more:
            control_conn.close()
            return status


def _say_whose_place(session: Session, conn: Conn, before: Lease, *, takeover: bool) -> None:
    """In the log: this runner is not the one that gave the run up by itself. Raises LeaseLost."""
    how = "did not answer and was cut off" if takeover and before.held else "is gone"
    with conn.transaction():
        session.hold(conn)
        events.append(
            conn, session.run_id, "run",
            f"process {os.getpid()} on {socket.gethostname()} carries the run on: the runner of {before.holder},"
            f" process {before.pid} on {before.host}, {how}, last heard {before.age_s:.0f} s before",
            actor="pgferry",
        )  # fmt: skip


def _refuse_other_plan(conn: Conn, plan: Plan, run_id: int) -> None:
    row = runs.get(conn, run_id)
    if row is None:
        raise PlanError(f"There is no run {run_id} in this database.")
    admission.refuse_other_plan(conn, plan, row)


def _part(session: Session, conn: Conn) -> tuple[Conn, bool]:
    """Give the lease back, on a new connection where this one is lost; whether there is work again meanwhile."""
    while True:
        try:
            lease.release(conn, session.fence)
            row = runs.get(conn, session.run_id)  # a command may have been obeyed after the worker stopped looking
            new_goal = row is not None and row.status not in EXIT and row.status is not RunStatus.NEW
            return conn, new_goal or bool(commands.pending(conn, session.run_id))
        except LOST as error:
            if not is_lost(conn, error):
                raise
            conn.close()
            conn = session.open("control")


def _obey_signals(session: Session) -> None:
    """Hang-up does nothing; interrupt and terminate pause at the next safe point."""

    def pause(*_: object) -> None:
        session.wishes.leave = True
        session.wishes.stop.set()

    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, pause)


def exports_folder(run_id: int) -> Path:
    """Where a purge writes rows first."""
    return Path(platformdirs.user_data_dir("pgferry")) / "exports" / f"run-{run_id}"


def main() -> int:
    """Entry of the runner's process: its orders come as one JSON object on standard input, never as arguments."""
    orders = json.loads(sys.stdin.readline())
    try:
        plan = load_plan(Path(orders["plan"]), orders.get("layout", ""))
        status = carry(
            orders["conninfo"],
            plan,
            orders["run_id"],
            orders["operator"],
            takeover=orders.get("takeover", False),
            patience_s=orders.get("patience_s", RECONNECT_SECONDS),
        )
    except FerryError as error:
        print(f"pgferry: {plain(str(error))}", file=sys.stderr)
        return error.exit_code
    except psycopg.Error as error:  # the journal itself could not be read or written
        print(f"pgferry: {in_words(error)}", file=sys.stderr)
        return ConnectionFailed.exit_code
    return EXIT.get(status, 1)


if __name__ == "__main__":
    sys.exit(main())
