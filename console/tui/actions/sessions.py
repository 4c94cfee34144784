"""Sessions in the way: their statement cancelled, or ended."""

from __future__ import annotations

from console.journal.state import Session, Verb
from console.tui import questions
from console.tui.actions.base import Part, Table
from console.tui.draw.live import OURS, WAITS
from console.tui.views.activity import ActivityView


class Sessions(Part):
    """What Activity's keys do to the session under the cursor."""

    def table(self) -> Table:
        """The actions by name."""
        return {"cancel": self._cancel, "end": self._end}

    def _in_the_way(self, verb: str) -> Session | None:
        """The session under the cursor of Activity, if it may be signalled; else the operator is told why not."""
        view = self._shell.view
        if self.refused() or not isinstance(view, ActivityView):
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
            self.say(f"Session {session.pid} has no statement to cancel; X ends it. It is {session.state}.")
            return
        ask = questions.cancel_ours if session.role == OURS else questions.cancel
        args = {"pid": session.pid, "mark": session.mark}
        self._shell.ask(ask(session, lambda: self.send(f"cancel {session.pid}", Verb.CANCEL, **args)))

    def _end(self) -> None:
        session = self._in_the_way("end")
        if session is None:
            return
        if session.role == OURS:
            self.say("That is our own statement: x cancels it.")
            return
        args = {"pid": session.pid, "mark": session.mark}
        self._shell.ask(questions.end(session, lambda: self.send(f"end {session.pid}", Verb.TERMINATE, **args)))
