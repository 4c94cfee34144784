"""The world of a console on a screen: as the journal's, and commands only from the one console in control."""

from __future__ import annotations

import contextlib
import socket
import time
import uuid

import psycopg

from console.commands.settings import Settings
from console.commands.world import JournalWorld
from console.errors import FerryError, Refused
from console.journal import control, schema
from console.journal.connect import Conn
from console.journal.control import Holder
from console.journal.state import RunState, Verb
from console.plan.model import Plan
from console.tui.ports import Receipt

RENEW_S = 3.0


class ConsoleWorld(JournalWorld):
    """``asked``: take control at once if nobody has it. Without it, on PROD, the console reads until it takes control.

    While it only reads, its connection is read-only on the server's side too.
    """

    def __init__(
        self, settings: Settings, plan: Plan | None, *, may: bool = True, asked: bool = False, run_id: int | None = None
    ) -> None:
        super().__init__(settings, plan, control=False, run_id=run_id)
        self._may = may and plan is not None
        self._at_once = self._may and (asked or settings.environment != "PROD")
        self._me = uuid.uuid4().hex
        self._name = f"{settings.operator}@{socket.gethostname()}"
        self._renewed = 0.0
        self._holder: Holder | None = None

    @property
    def offer(self) -> str:
        """Why commands cannot be sent from here and what would change that; empty while they can."""
        if self._control:
            return ""
        other = self._holder
        whose = f"{other.name} has control since {other.since}" if other and other.alive else "reading"
        return f"{whose}; T takes {'it over' if other and other.alive else 'control'}" if self._may else whose

    def take_control(self) -> Receipt:
        """Take control, from whoever has it."""
        if not self._may:
            raise Refused("Control needs the plan's files.", do="Name them: pgferry attach --control --plan DIR.")
        self._set(True)
        before = self._holder
        self._use(lambda conn: self._take(conn, over=True))
        other = before is not None and before.alive and before.console != self._me
        return Receipt(True, f"control taken over from {before.name}" if other and before else "control taken")

    def _set(self, held: bool) -> None:
        """Whether this console holds it now; the connection that follows may write, or may not."""
        with self._lock:
            if held != self._control:
                self._control = held
                if self._conn is not None:
                    self._conn.close()

    def _take(self, conn: Conn, *, over: bool) -> None:
        run_id = self._find_run(conn)
        if run_id is None:
            return  # nothing to share yet: whoever starts the run has it
        schema.install(conn)  # a run of an earlier version may lack the table
        self._holder = control.take(conn, run_id, self._me, self._name, over=over)
        self._renewed = time.monotonic()

    def state(self) -> RunState:
        """The state of the run now; a console in control says that it lives."""
        state = super().state()
        with contextlib.suppress(FerryError):  # whatever it is shows with the next state
            self._keep(state.run_id)
        return state

    def _keep(self, run_id: int) -> None:
        if self._at_once:
            self._at_once = False
            self._set(True)
            self._use(lambda conn: self._take(conn, over=False))
            if self._holder is not None:
                self._set(False)
        if not run_id or time.monotonic() - self._renewed < RENEW_S:
            return
        self._renewed = time.monotonic()
        if self._control and not self._use(lambda conn: control.renew(conn, run_id, self._me)):
            self._use(lambda conn: self._take(conn, over=False))  # nobody's: as when the run was just made
            if self._holder is not None:
                self._set(False)
        if not self._control:
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
        """Give control back and release connections; the run goes on."""
        conn, run_id = self._conn, self._run_id
        if self._control and run_id and conn is not None and not conn.closed:
            with contextlib.suppress(psycopg.Error):
                control.release(conn, run_id, self._me)
        super().close()
