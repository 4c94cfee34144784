"""The world of a console on a screen: as the journal's, and commands only from the one console in control."""

from __future__ import annotations

import contextlib
import socket
import time
import uuid

import psycopg

from console.commands.pulse import Pulse
from console.commands.settings import Settings
from console.commands.world import JournalWorld
from console.errors import FerryError, Refused
from console.journal import control, schema
from console.journal.connect import Conn, connect
from console.journal.control import Holder
from console.journal.look import Look
from console.journal.state import OnDetach, RunState, Verb
from console.plan.model import Plan
from console.tui.ports import Receipt

LOOK_S = 3.0  # a console that reads looks so often who has control
BUSY_S = 0.2  # a hang-up leaves half a second to say goodbye


class ConsoleWorld(JournalWorld):
    """``asked``: take control at once if nobody has it. Without it, on PROD, the console reads until it takes control.

    While it only reads, its connections are read-only on the server's side too. ``on_detach``: what becomes of the run
    when this console goes; None leaves it as it is.
    """

    def __init__(
        self,
        settings: Settings,
        plan: Plan | None,
        *,
        may: bool = True,
        asked: bool = False,
        run_id: int | None = None,
        on_detach: OnDetach | None = None,
    ) -> None:
        super().__init__(settings, plan, control=False, run_id=run_id)
        self._reading = Look(seldom=True)
        self._may = may and plan is not None
        self._at_once = self._may and (asked or settings.environment != "PROD")
        self._me = uuid.uuid4().hex
        self._name = f"{settings.operator}@{socket.gethostname()}"
        self._looked = 0.0
        self._holder: Holder | None = None
        self._pulse: Pulse | None = None
        self._asked_detach = on_detach
        self._cannot = ""  # why control could not be taken

    @property
    def offer(self) -> str:
        """Why commands cannot be sent from here and what would change that; empty while they can."""
        if self._control:
            return ""
        other = self._holder
        if other is None or not other.alive:
            return self._cannot or ("reading; T takes control" if self._may else "reading")
        detach = " (its leaving pauses)" if other.on_detach is OnDetach.PAUSE else ""
        whose = f"{other.name} has control since {other.since}{detach}"
        return f"{whose}; T takes it over" if self._may else whose

    @property
    def on_detach(self) -> OnDetach:
        """What becomes of the run when the console in control goes."""
        if self._holder is not None:
            return self._holder.on_detach
        return self._asked_detach or OnDetach.GO_ON

    def set_on_detach(self, option: OnDetach) -> Receipt:
        """Choose what becomes of the run when this console goes. Refused without control."""
        if not self._control:
            raise Refused("This console has no control.", state="Nothing was changed.", do="T takes it.")

        def set_it(conn: Conn) -> None:
            run_id = self._find_run(conn)
            if run_id is not None:
                schema.install(conn)
                control.choose(conn, run_id, self._me, self._name, option)
                self._holder = control.holder(conn, run_id)

        self._use(set_it)
        self._asked_detach = option
        does = "pauses after its batch" if option is OnDetach.PAUSE else "goes on"
        return Receipt(True, f"when this console goes, the run {does}")

    def drawn(self) -> None:
        """The screen has shown something: its operator is not cut off."""
        if self._pulse is not None:
            self._pulse.drawn()

    def take_control(self) -> Receipt:
        """Take control, from whoever has it."""
        if not self._may:
            raise Refused("Control needs the plan's files.", do="Name them: pgferry attach --control --plan DIR.")
        before = self._holder
        self._take_it(over=True)
        other = before is not None and before.alive and before.console != self._me
        return Receipt(True, f"control taken over from {before.name}" if other and before else "control taken")

    def _take_it(self, *, over: bool) -> None:
        """Take control, unless another console has it; without the rights for it this console goes on reading."""
        self._set(True)
        try:
            self._use(lambda conn: self._take(conn, over=over))
        except FerryError as error:
            self._set(False)
            self._cannot = f"reading: {error.what.rstrip('.')}"
            raise
        self._cannot = ""

    def _set(self, held: bool) -> None:
        """Whether this console holds it now; the connection that follows may write, or may not."""
        with self._lock:
            if not held and self._pulse is not None:
                self._pulse.stop()
                self._pulse = None
            if held != self._control:
                self._control = held
                if self._conn is not None:
                    self._conn.close()

    def _take(self, conn: Conn, *, over: bool) -> None:
        run_id = self._find_run(conn)
        if run_id is None:
            return  # nothing to share yet: whoever starts the run has it
        schema.install(conn)  # a run of an earlier version may lack the table
        other = control.take(conn, run_id, self._me, self._name, over=over, on_detach=self._asked_detach)
        self._holder = control.holder(conn, run_id)
        if other is not None:
            self._set(False)
        elif self._pulse is None or self._pulse.lost.is_set():
            self._pulse = Pulse(self._settings.dsn, run_id, self._me)
            self._pulse.start()

    def state(self) -> RunState:
        """The state of the run now; and whether this console has control."""
        state = super().state()
        with contextlib.suppress(FerryError):  # whatever it is shows with the next state
            self._keep(state.run_id)
        return state

    def _keep(self, run_id: int) -> None:
        if self._at_once:
            self._at_once = False
            self._take_it(over=False)
        if self._control and self._pulse is not None and self._pulse.lost.is_set():
            self._take_it(over=False)  # nobody's, say after a while without a server: it is ours again
        if run_id and not self._control and time.monotonic() - self._looked >= LOOK_S:
            self._looked = time.monotonic()
            self._holder = self._use(lambda conn: self._look(conn, run_id))

    def _look(self, conn: Conn, run_id: int) -> Holder | None:
        return control.holder(conn, run_id) if schema.may_select(conn, "control") else None

    def _write(self, conn: Conn, verb: Verb, args: dict[str, object]) -> int:
        run_id = self._find_run(conn)
        if run_id is None:
            command = super()._write(conn, verb, args)
            self._take(conn, over=False)
            return command
        with conn.transaction():
            control.require(conn, run_id, self._me)
            return super()._write(conn, verb, args)

    def close(self) -> None:
        """Give control back and release connections; the run goes on, or pauses where that was chosen."""
        if self._pulse is not None:
            self._pulse.stop()
        if self._control and self._run_id and self._conn is not None and not self._conn.closed:
            with contextlib.suppress(psycopg.Error, FerryError):  # the runner misses it, then
                self._leave(self._run_id)
        super().close()

    def _leave(self, run_id: int) -> None:
        if self._conn is not None and self._lock.acquire(timeout=BUSY_S):
            try:
                control.leave(self._conn, run_id, self._me, self._settings.operator)
            finally:
                self._lock.release()
        else:  # a long read is under way on it
            with connect(self._settings.dsn, application_name="pgferry console") as conn:
                control.leave(conn, run_id, self._me, self._settings.operator)
