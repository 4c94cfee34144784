"""Questions to the world, asked in threads of their own so that no answer, however late, stops the screen."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

from textual.message import Message

from console.errors import FerryError
from console.tui.messages import Answered, Outcome

Job = tuple[Callable[[], object], Callable[[Outcome], None], Callable[[], bool]]


class Lane:
    """One thread that asks one thing after another and posts each answer.

    Reads and commands have a lane each: a slow preview must not hold up a pause.
    """

    def __init__(self, name: str, post: Callable[[Message], object]) -> None:
        self._post = post
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def ask(
        self,
        question: Callable[[], object],
        then: Callable[[Outcome], None],
        wanted: Callable[[], bool] = lambda: True,
    ) -> None:
        """Ask in turn, unless ``wanted`` says by then that nobody waits for it; ``then`` gets the outcome."""
        self._jobs.put((question, then, wanted))

    def _work(self) -> None:
        while True:
            question, then, wanted = self._jobs.get()
            if not wanted():
                continue
            try:
                outcome = Outcome(value=question())
            except FerryError as error:
                outcome = Outcome(error=str(error))
            except Exception as error:  # shown to the operator; this thread must live on
                outcome = Outcome(error=f"That failed ({type(error).__name__}: {error}).")
            self._post(Answered(then, outcome))
