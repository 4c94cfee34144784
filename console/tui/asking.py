"""Questions to the world, asked in threads of their own so that no answer, however late, stops the screen."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

from textual.message import Message

from console.errors import FerryError
from console.tui.messages import Answered, Outcome

Job = tuple[Callable[[], object], Callable[[Outcome], None]]


class Lane:
    """One thread that asks one thing after another and posts each answer.

    Reads and commands have a lane each: a slow preview must not hold up a pause.
    """

    def __init__(self, name: str, post: Callable[[Message], object]) -> None:
        self._post = post
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self.waiting = 0  # questions whose answer has not been handled yet
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def stop(self) -> None:
        """Ask nothing more; an answer under way is not waited for."""
        self._jobs.put(None)

    def ask(self, question: Callable[[], object], then: Callable[[Outcome], None]) -> None:
        """Ask in turn; ``then`` gets the outcome, on the screen's side."""
        self.waiting += 1
        self._jobs.put((question, self._done(then)))

    def _done(self, then: Callable[[Outcome], None]) -> Callable[[Outcome], None]:
        def done(outcome: Outcome) -> None:
            self.waiting -= 1
            then(outcome)

        return done

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            if job is None:
                return
            question, then = job
            try:
                outcome = Outcome(value=question())
            except FerryError as error:
                outcome = Outcome(error=str(error), detail=error.detail)
            except Exception as error:  # shown to the operator; this thread must live on
                outcome = Outcome(error=f"That failed ({type(error).__name__}: {error}).")
            self._post(Answered(then, outcome))
