"""What the terminal can do, and how the console leaves it when the line is cut."""

from __future__ import annotations

import base64
import locale
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import FrameType

from textual.theme import BUILTIN_THEMES

from console.errors import UsageError

HANGUP_EXIT = 129
CLIPBOARD_LIMIT = 74_000  # encoded bytes; longer sequences are dropped by common terminals


@dataclass(frozen=True, slots=True)
class Terminal:
    """How to draw: theme name, ASCII or not, states a second; without colours where the terminal has or wants none."""

    theme: str
    ascii_only: bool
    per_second: float
    colours: bool = True


def refuse_unusable(environ: Mapping[str, str]) -> None:
    """Raise UsageError where no screen can be drawn: a dumb terminal, or none at all."""
    do = "Use what needs no screen: pgferry status, attach --plain, apply, pause, resume, rollback, report."
    if environ.get("TERM", "") in ("", "dumb"):
        raise UsageError(f"The terminal (TERM={environ.get('TERM', '') or 'unset'}) cannot draw a screen.", do=do)
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError("The console needs a terminal for input and output, and this is none.", do=do)


def over_ssh(environ: Mapping[str, str]) -> bool:
    """Whether this process was reached over SSH."""
    return any(environ.get(name) for name in ("SSH_CONNECTION", "SSH_TTY", "SSH_CLIENT"))


def look(environ: Mapping[str, str], *, ascii_only: bool | None, theme: str | None) -> Terminal:
    """Choose how to draw from the environment; what the user asked for comes first.

    Raises UsageError for a theme that is not known. ``light`` and ``dark`` stand for the one that suits the terminal.
    """
    ssh = over_ssh(environ)
    many_colours = environ.get("COLORTERM", "").lower() in ("truecolor", "24bit")
    term = environ.get("TERM", "")
    colours = "NO_COLOR" not in environ and not term.startswith("vt")
    family = "ansi" if ssh or not many_colours or not colours else "textual"  # its own colours cost half the bytes
    narrow = not _utf8() or term == "linux" or term.startswith("vt")
    return Terminal(
        theme=_theme(theme or ("light" if light_ground(environ) else "dark"), family),
        ascii_only=narrow if ascii_only is None else ascii_only,
        per_second=1.0 if ssh else 4.0,
        colours=colours,
    )


def _theme(name: str, family: str) -> str:
    if name in ("light", "dark"):
        return f"{family}-{name}"
    if name not in BUILTIN_THEMES:
        raise UsageError(f"There is no theme {name!r}.", do=f"Known: light, dark, {', '.join(sorted(BUILTIN_THEMES))}.")
    return name


def light_ground(environ: Mapping[str, str]) -> bool:
    """Whether the terminal says that its ground is light: COLORFGBG ends with white or light grey."""
    return environ.get("COLORFGBG", "").rpartition(";")[2] in ("7", "15")


def _utf8() -> bool:
    names = (locale.getpreferredencoding(False), getattr(sys.stderr, "encoding", "") or "")
    charset = next((os.environ[name] for name in ("LC_ALL", "LC_CTYPE", "LANG") if os.environ.get(name)), "")
    plain_locale = charset in ("", "C", "POSIX") and "LANG" not in os.environ
    return all("utf" in name.lower() for name in names) and not (plain_locale or charset in ("C", "POSIX"))


def clipboard(text: str, environ: Mapping[str, str]) -> str:
    """The OSC 52 sequence that copies ``text``, wrapped for tmux and screen; empty when it is too long."""
    encoded = base64.b64encode(text.encode()).decode("ascii")
    if len(encoded) > CLIPBOARD_LIMIT:
        return ""
    sequence = f"\x1b]52;c;{encoded}\x07"
    if environ.get("TMUX"):
        return "\x1bPtmux;" + sequence.replace("\x1b", "\x1b\x1b") + "\x1b\\"
    if environ.get("TERM", "").startswith("screen"):
        return f"\x1bP{sequence}\x1b\\"
    return sequence


def leave_on_hangup(close: Callable[[], None]) -> None:
    """End the process at once (status 129) when the terminal goes away.

    Where no signal arrives, a look every two seconds notices.
    """

    def leave(signum: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGCONT, signal.SIG_IGN)
        closer = threading.Thread(target=close, daemon=True)
        closer.start()
        closer.join(0.5)
        os._exit(HANGUP_EXIT)

    def watch() -> None:
        while True:
            time.sleep(2.0)
            if not os.isatty(fd):
                os.kill(os.getpid(), signal.SIGHUP)
                return

    fd = sys.__stdin__.fileno() if sys.__stdin__ else 0
    signal.signal(signal.SIGHUP, leave)
    threading.Thread(target=watch, name="terminal watch", daemon=True).start()
