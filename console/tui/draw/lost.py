"""A runner that is gone or does not answer, in words: since when and where, what was in flight, what state things are in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from console.journal.state import RunState
from console.text import plain, shorten
from console.tui.draw import numbers
from console.tui.draw.going_back import course, is_going
from console.tui.facts import runner_frozen

SQL_SHOWN = 50


@dataclass(frozen=True, slots=True)
class Lost:
    """Three sentences: who is missed, what it was doing, what became of that."""

    who: str
    in_flight: str
    kept: str

    @property
    def facts(self) -> tuple[str, ...]:
        """As paragraphs of a question."""
        return self.who, f"{self.in_flight} {self.kept}"


def lost_words(state: RunState) -> Lost:
    """What is known of the runner of ``state`` and of its work; call it where no runner is at work but one should be."""
    lease = state.lease
    if lease is None:
        who = "No runner is at work: nobody holds the run."
    else:
        heard = numbers.clock(state.server_now - timedelta(seconds=lease.age_s))
        what = "does not answer" if runner_frozen(state) else "is gone"
        since = f"{heard} ({numbers.age(lease.age_s)})"
        who = f"The runner {what} since {since}: process {lease.pid} on {plain(lease.host)}."
    in_flight, kept = _in_flight(state)
    return Lost(who, in_flight, kept)


def _in_flight(state: RunState) -> tuple[str, str]:
    if is_going(state):
        left = course(state)[1]
        doing = f"It was taking back {left[0].id}." if left else "Everything was taken back."
        return doing, "What it had not committed is rolled back; what was taken back stays so."
    current = state.current
    if current is None:
        return "It was between two tasks.", "Nothing is lost."
    copy = next((item for item in state.progress if not item.finished and item.task_id == current.id), None)
    if copy is not None:
        again = "copied again" if copy.what == "copy" else "compared again"
        return (
            f"In flight: {current.id}, batch {numbers.count(copy.chunks + 1)}.",
            f"What it had not committed is {again}: nothing is lost.",
        )
    running = next(
        (item for item in state.statements if item.task_id == current.id and item.status not in ("done", "failed")),
        None,
    )
    if running is not None:
        words = shorten(" ".join(plain(running.sql).split()), SQL_SHOWN)
        return (
            f"In flight: {current.id}, statement {running.ordinal}: {words}",
            "What it had not committed is rolled back; what runs outside a transaction is looked at first.",
        )
    return (
        f"In flight: {current.id} {plain(current.title)}.",
        "What it had not committed is rolled back: nothing is lost.",
    )
