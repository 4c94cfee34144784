"""The console in a real pseudo-terminal, with a reader that can be slow, stop, resize or hang up."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.tui.glass import Glass

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 30.0  # seconds to wait for anything
PROGRAM = """\
import sys
from console.errors import FerryError
from console.tui.app import run_console
from tests.tui import busy
{before}
try:
    code = run_console(busy.{world}(), {options})
except FerryError as error:
    code = error.exit_code
    print(error, file=sys.stderr)
sys.exit(code)
"""
SSH = {"SSH_CONNECTION": "10.0.0.1 22 10.0.0.2 22"}
LEFT_OUT = ("SSH_", "TEXTUAL_", "NO_COLOR", "COLORTERM", "COLORFGBG", "TMUX", "STY", "COLUMNS", "LINES")


class Session:
    """A program on a terminal of its own. What it writes goes to ``glass`` as fast as ``rate`` allows."""

    def __init__(
        self, argv: list[str], *, size: tuple[int, int] = (80, 24), rate: float = 0.0, env: dict[str, str] | None = None
    ) -> None:
        self.glass = Glass(*size)
        self.total = 0  # bytes read
        self.rate = rate  # bytes a second; 0 is as fast as they come
        self._keep = bytearray()
        self._reading = threading.Event()
        self._reading.set()
        self._cut = threading.Event()
        self._lock = threading.Lock()
        self._code: int | None = None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            self.pid, self._master = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
            os.chdir(ROOT)
            plain = {name: value for name, value in os.environ.items() if not name.startswith(LEFT_OUT)}
            os.execve(argv[0], argv, {**plain, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", **(env or {})})
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while True:
            self._reading.wait()
            if self._cut.is_set():
                os.close(self._master)
                return
            try:
                if not select.select([self._master], [], [], 0.05)[0]:
                    continue
                data = os.read(self._master, 512 if self.rate else 65536)
            except OSError:  # the other end is closed
                self._cut.set()
                continue
            with self._lock:
                self.glass.feed(data)
                self.total += len(data)
                self._keep += data
            if self.rate:
                time.sleep(len(data) / self.rate)

    def raw(self) -> bytes:
        """Everything read so far."""
        with self._lock:
            return bytes(self._keep)

    def screen(self) -> str:
        """The screen as text."""
        with self._lock:
            return self.glass.text

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until the condition holds."""
        end = time.monotonic() + LIMIT
        while not condition():
            assert time.monotonic() < end, (
                f"waited for {what}; the screen shows\n{self.screen()}\n{self.raw()[-300:]!r}"
            )
            time.sleep(0.01)

    def shows(self, *words: str) -> str:
        """Wait until all of it stands on the screen; returns the screen."""
        self.until(lambda: all(word in self.screen() for word in words), repr(words))
        return self.screen()

    def wrote(self, words: str) -> None:
        """Wait until this was written, on whatever screen."""
        self.until(lambda: words.encode() in self.raw(), repr(words))

    def quiet(self, seconds: float = 0.4) -> None:
        """Wait until nothing was written for so long."""
        end, before, since = time.monotonic() + LIMIT, -1, time.monotonic()
        while time.monotonic() - since < seconds and time.monotonic() < end:
            if self.total != before:
                before, since = self.total, time.monotonic()
            time.sleep(0.02)

    def press(self, keys: str) -> None:
        """Send keys."""
        os.write(self._master, keys.encode())

    def stall(self) -> None:
        """Read nothing more (a read under way still ends)."""
        self._reading.clear()

    def go_on(self) -> None:
        """Read again."""
        self._reading.set()

    def resize(self, columns: int, rows: int) -> None:
        """The window gets another size."""
        with self._lock:
            self.glass.resize(columns, rows)
            fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def signal(self, number: int) -> None:
        """Send the process a signal."""
        os.kill(self.pid, number)

    def hang_up(self) -> None:
        """The line is cut."""
        self._cut.set()
        self._reading.set()
        self._thread.join()

    def ended(self, seconds: float = LIMIT) -> int:
        """Its exit code (negative: the signal it died of). Fails when it goes on."""
        end = time.monotonic() + seconds
        while self._code is None:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            if done:
                self._code = os.waitstatus_to_exitcode(status)
                break
            assert time.monotonic() < end, f"it still runs; the screen shows\n{self.screen()}"
            time.sleep(0.01)
        return self._code

    def cpu(self) -> float:
        """Seconds of processor time used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> int:
        """Kilobytes of memory in use."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])

    def close(self) -> None:
        """End it, whatever it does."""
        self.hang_up()
        if self._code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)


@contextlib.contextmanager
def console(
    world: str = "CannedWorld",
    *,
    size: tuple[int, int] = (80, 24),
    rate: float = 0.0,
    env: dict[str, str] | None = None,
    options: str = "",
    before: str = "",
) -> Iterator[Session]:
    """The console over a world of ``tests.tui.busy``; ``before`` is Python to run first."""
    program = PROGRAM.format(world=world, options=options, before=before)
    session = Session([sys.executable, "-c", program], size=size, rate=rate, env=env)
    try:
        yield session
    finally:
        session.close()
