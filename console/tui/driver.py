"""The terminal's side of the console: Textual's driver with its output sent by the painter, which waits for nobody."""

from __future__ import annotations

import asyncio
import os
import signal
from io import TextIOWrapper
from typing import cast

from rich.color import ColorSystem
from textual import events
from textual.app import App
from textual.drivers.linux_driver import LinuxDriver
from textual.geometry import Size
from textual.strip import Strip

from console.tui.painter import Painter
from console.tui.picture import Picture, Tracer

LEAVE_SECONDS = 1.0


class _Controls:
    """Where Textual's own writer thread puts control sequences: it never has to wait here."""

    def __init__(self, painter: Painter, fd: int) -> None:
        self._painter = painter
        self._fd = fd

    def write(self, text: str) -> None:
        self._painter.write(text)

    def flush(self) -> None:
        """Everything is on its way already."""

    def fileno(self) -> int:
        return self._fd


class LineDriver(LinuxDriver):
    """For terminals at the end of a bad line.

    The mouse, where asked for, tells of buttons and the wheel only, never of each move.
    """

    def __init__(
        self, app: App[object], *, debug: bool = False, mouse: bool = True, size: tuple[int, int] | None = None
    ) -> None:
        super().__init__(app, debug=debug, mouse=mouse, size=size)
        assert self._file is not None
        fd = self._fd = self._file.fileno()
        self._painter = Painter(fd, lambda error: app.call_later(app._handle_exception, error))
        self._tracer = Tracer()
        self._latest: Picture = ()
        self._marks = False
        self._away = False  # the terminal was given back, as while suspended
        self._file = cast("TextIOWrapper", _Controls(self._painter, fd))

    def show(self, strips: list[Strip], system: ColorSystem | None, *, marks: bool) -> None:
        """Make the terminal show these lines."""
        self._latest = self._tracer.trace(strips, system)
        self._marks = marks
        if not self._away:
            self._painter.show(self._latest, marks=marks)

    def flows(self) -> bool:
        """Whether the operator can see what is shown: the terminal takes it, and is not somebody else's now."""
        return not self._away and self._painter.flows()

    def repaint(self) -> None:
        """Send everything again."""
        self._painter.forget()

    def _get_terminal_size(self) -> tuple[int, int]:
        """The terminal's own word; COLUMNS and LINES, where they are exported, do not change with the window."""
        try:
            return os.get_terminal_size(self._fd)
        except OSError:
            return 80, 24

    def start_application_mode(self) -> None:
        super().start_application_mode()  # type: ignore[no-untyped-call]
        loop = asyncio.get_running_loop()
        signal.signal(signal.SIGWINCH, lambda *_: loop.call_soon_threadsafe(self._measure))
        self._away = False
        if self._latest:
            self._painter.show(self._latest, marks=self._marks)

    def _measure(self) -> None:
        """Tell the new size, read outside of the signal's handler.

        Handlers interrupt each other while a window is dragged: what the outer one read before would be told last.
        """
        if not self._in_band_window_resize:
            size = Size(*self._get_terminal_size())
            self._app.post_message(events.Resize(size, size))

    def stop_application_mode(self) -> None:
        self._away = True
        self._painter.leave()
        super().stop_application_mode()

    def close(self) -> None:
        super().close()
        self._painter.drain(LEAVE_SECONDS)

    def _run_input_thread(self) -> None:
        """As the driver's; a terminal that cannot be read any more was hung up."""
        try:
            self.run_input_thread()
        except OSError:
            os.kill(os.getpid(), signal.SIGHUP)
        except Exception as error:
            self._app.call_later(self._app._handle_exception, error)

    def _sigcont_application(self, *_: object) -> None:
        """Come back to the terminal after a suspension; without one only draw again, as a hang-up too brings SIGCONT."""
        if self._away:
            super()._sigcont_application()
        else:
            self._painter.forget()

    def _enable_mouse_support(self) -> None:
        if self._mouse:
            self.write("\x1b[?1000h\x1b[?1006h")

    def _enable_mouse_pixels(self) -> None:
        """Cells are exact enough."""

    def _disable_mouse_support(self) -> None:
        if self._mouse:
            self.write("\x1b[?1000l\x1b[?1006l")
