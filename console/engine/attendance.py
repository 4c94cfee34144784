"""Whether the console in control is still there, for operators who chose that the run pauses when it goes.

Judged by the runner's own clock, from when a sign of life last changed: neither a stepped clock nor a server that was
away for a while makes a console that lives seem gone. A console that left says so itself and is not looked for here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from console.journal import control, schema
from console.journal.connect import Conn
from console.journal.control import SEEN_S, Presence
from console.journal.state import OnDetach

ENDED_S = 6.0  # a console whose connection ended connects again and says that it lives within half of this


@dataclass(frozen=True, slots=True)
class Gone:
    """A console that is missed, its last sign of life, and why it is taken for gone."""

    presence: Presence
    why: str


class Attendance:
    """Looks at the signs of life of the console in control. ``clock``: seconds that only go forward."""

    def __init__(self, run_id: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._run_id = run_id
        self._clock = clock
        self._last: tuple[str, str] | None = None  # console, sign of life
        self._since = 0.0
        self._watched = False
        self._kept = False  # whether the journal keeps who has control

    def reconnected(self) -> None:
        """The server was away: a console had no way to give a sign either."""
        self._since = self._clock()

    def look(self, conn: Conn) -> Gone | None:
        """The console that is gone although the run shall pause then; None while all is well."""
        self._kept = self._kept or schema.may_select(conn, "control")
        found = control.presence(conn, self._run_id) if self._kept else None
        if found is None:
            self._last = None
            return None
        sign = (found.console, found.seen)
        if sign != self._last:
            # one that was gone before this runner began is nobody's wish to pause what was just started
            self._watched = self._last is not None or found.fresh or found.held
            self._last, self._since = sign, self._clock()
        silent_s = self._clock() - self._since
        if not self._watched or found.on_detach is not OnDetach.PAUSE or silent_s < ENDED_S:
            return None
        if not found.held:
            return Gone(found, "its connection ended")
        return Gone(found, f"not heard for {silent_s:.0f} s") if silent_s >= SEEN_S else None
