"""The one thread that reads the run, at its own pace, whatever the terminal does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from textual.message import Message

from console.errors import FerryError
from console.tui.messages import FeedLost, RunChanged
from console.tui.ports import World

SILENCE_S = 3.0
WAIT_S = 1.0  # for word of a change, before the run is read anyway


class Feed:
    """Polls the world and posts at most ``per_second`` states, never a second one before the first was taken.

    ``post`` must be safe to call from a thread. A stalled screen therefore holds back nothing and collects nothing.
    A read without an answer for ``silence`` seconds is told too, while it goes on.
    """

    def __init__(
        self, world: World, post: Callable[[Message], object], *, per_second: float, silence: float | None = None
    ) -> None:
        self._world = world
        self._post = post
        self._interval = 1.0 / per_second
        self._taken = threading.Event()
        self._taken.set()
        self._stop = threading.Event()
        self._silence = SILENCE_S if silence is None else silence
        self._asked_at: float | None = None  # when the read under way began, or the next one should
        self._thread = threading.Thread(target=self._follow, name="feed", daemon=True)
        self._watch = threading.Thread(target=self._listen, name="feed watch", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()
        self._watch.start()

    def taken(self) -> None:
        """The screen has handled the last message and can take another."""
        self._taken.set()

    def stop(self, seconds: float = 1.0) -> None:
        """Stop reading; waits at most ``seconds`` for a read that is under way."""
        self._stop.set()
        self._taken.set()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def _follow(self) -> None:
        while not self._stop.is_set():
            begun = time.monotonic()
            fresh = self._read()
            if self._stop.is_set():
                return
            if fresh:
                self._asked_at = time.monotonic() + WAIT_S  # to wait takes a connection too, which may hang
                try:
                    self._world.wait(WAIT_S)
                except Exception:  # the next read finds and tells the cause
                    self._stop.wait(WAIT_S)
                finally:
                    self._asked_at = None
            else:
                self._stop.wait(1.0)
            self._stop.wait(max(self._interval - (time.monotonic() - begun), 0.0))

    def _listen(self) -> None:
        """Tell once of each read that has had no answer for long."""
        told = None
        while not self._stop.wait(self._silence / 4):
            asked = self._asked_at
            if asked is not None and asked != told and time.monotonic() - asked >= self._silence:
                told = asked
                self._post(FeedLost("The server does not answer."))

    def _read(self) -> bool:
        """Read once and post; False when the run could not be read."""
        self._asked_at = time.monotonic()
        try:
            state = self._world.state()
        except FerryError as error:
            self._tell(FeedLost(str(error)))
            return False
        except Exception as error:  # a fault here must show on the screen, not end the thread unseen
            self._tell(FeedLost(f"The run cannot be read ({type(error).__name__}: {error})."))
            return False
        finally:
            self._asked_at = None
        self._tell(RunChanged(state))
        return True

    def _tell(self, message: Message) -> None:
        if not self._taken.wait(0.0):
            return  # the newer state is read again soon; the screen has not taken the older one yet
        self._taken.clear()
        self._post(message)
