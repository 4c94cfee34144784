"""The one thread that writes to the terminal. What waits is one picture, the newest, however slowly it is read."""

from __future__ import annotations

import os
import select
import termios
import threading
import time
from collections.abc import Callable

from console.tui.pen import Pen
from console.tui.picture import Picture, blank, moved, shifted

STUCK_S = 2.0
PIECE = 1024  # characters composed before a newer picture is looked for
SYNC_ON, SYNC_OFF = "\x1b[?2026h", "\x1b[?2026l"
SYNC_ROWS = 3  # fewer changed lines need no marks against tearing


class Painter:
    """Turns what the terminal shows into what it should show, and sends control sequences in their order.

    No caller ever waits for the terminal. ``broken`` is told of an error that is not the terminal's end.
    """

    def __init__(self, fd: int, broken: Callable[[Exception], object]) -> None:
        self._fd = fd
        self._broken = broken
        self._turn = threading.Condition()
        self._controls: list[str] = []
        self._wanted: Picture | None = None
        self._marks = False  # the terminal knows how to hold back a half-drawn screen
        self._shown: Picture | None = None
        self._row = 0  # the next line to look at
        self._open = False  # a half-drawn screen is held back
        self._pen = Pen()
        self._idle = True
        self._sending: float | None = None  # since when, where something is
        self._thread: threading.Thread | None = None

    def write(self, text: str) -> None:
        """Send a control sequence before whatever is drawn from now on."""
        with self._turn:
            self._controls.append(text)
            self._wake()

    def show(self, picture: Picture, *, marks: bool) -> None:
        """Draw this; a picture not drawn yet is forgotten. ``marks``: the terminal can hold back half a screen."""
        with self._turn:
            if picture == self._wanted:
                return
            self._wanted, self._marks, self._row = picture, marks, -1
            self._wake()

    def forget(self) -> None:
        """What the terminal shows is not known any more: draw everything again."""
        with self._turn:
            self._shown = None
            self._row = -1
            self._wake()

    def leave(self) -> None:
        """Draw nothing more until the next picture, and leave no attribute on."""
        with self._turn:
            self._wanted = self._shown = None
            if self._open:
                self._controls.append(SYNC_OFF)
                self._open = False
            self._controls.append(self._pen.rest())
            self._pen.forget()
            self._wake()

    def drain(self, seconds: float) -> None:
        """Wait until everything was sent. Where the terminal takes nothing, what it has not read is thrown away."""
        if not self._done(seconds):
            try:
                termios.tcflush(self._fd, termios.TCOFLUSH)
            except termios.error:
                return
            self._done(seconds)

    def _done(self, seconds: float) -> bool:
        with self._turn:
            return self._turn.wait_for(lambda: self._idle, seconds)

    def _wake(self) -> None:
        self._idle = False
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._work, name="painter", daemon=True)
            self._thread.start()
        self._turn.notify_all()

    def _work(self) -> None:
        try:
            while True:
                with self._turn:
                    text = self._next()
                    while not text:
                        self._idle = True
                        self._turn.notify_all()
                        self._turn.wait()
                        text = self._next()
                self._send(text.encode(errors="replace"))
        except OSError:  # the terminal is gone: the hang-up ends the console
            with self._turn:
                self._idle = True
                self._turn.notify_all()
        except Exception as error:
            self._broken(error)

    def _next(self) -> str:
        """What to send next: control sequences, else a piece of the picture; empty when all was sent."""
        if self._controls:
            text = "".join(self._controls)
            self._controls.clear()
            return text
        wanted = self._wanted
        if wanted is None:
            return ""
        text = "" if self._row >= 0 else self._begin(wanted)
        while self._row < len(wanted) and len(text) < PIECE:
            text += self._line(wanted)
        if self._row == len(wanted) and self._open:
            self._open = False
            text += SYNC_OFF
        return text

    def _begin(self, wanted: Picture) -> str:
        """Start on a new picture: clear where nothing is known, move lines where they only moved."""
        self._row = 0
        text = ""
        size = (len(wanted), len(wanted[0]) if wanted else 0)
        if self._shown is None or (len(self._shown), len(self._shown[0]) if self._shown else 0) != size:
            self._pen.forget()
            text = self._pen.clear()
            self._shown = blank(size[1], size[0])
        elif (found := shifted(self._shown, wanted)) is not None:
            text = self._pen.scroll(*found)
            self._shown = moved(self._shown, *found)
        differ = sum(old != new for old, new in zip(self._shown, wanted, strict=True))
        if self._marks and not self._open and (text or differ >= SYNC_ROWS):
            self._open = True
            text = SYNC_ON + text
        return text

    def _line(self, wanted: Picture) -> str:
        assert self._shown is not None
        y = self._row
        self._row += 1
        text = self._pen.row(y, self._shown[y], wanted[y])
        if text:
            self._shown = (*self._shown[:y], wanted[y], *self._shown[y + 1 :])
        return text

    def flows(self) -> bool:
        """Whether the terminal takes what it is sent; False where it has taken nothing for ``STUCK_S`` seconds."""
        since = self._sending
        return since is None or time.monotonic() - since < STUCK_S

    def _send(self, data: bytes) -> None:
        while data:
            self._sending = time.monotonic()
            try:
                data = data[os.write(self._fd, data) :]
            except BlockingIOError:  # somebody left the terminal that way
                select.select([], [self._fd], [], STUCK_S)
            finally:
                self._sending = None
