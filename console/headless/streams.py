"""The standard streams of a command: a reader that left, a stream that was closed or a poor terminal stop nothing."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Mapping
from typing import Any, TextIO


def make_ready(environ: Mapping[str, str]) -> None:
    """Open what was closed, and let characters that the terminal lacks become ``?`` instead of an error.

    A terminal whose locale is not UTF-8 gets ASCII, whatever encoding Python chose for itself.
    """
    if sys.stdin is None:
        sys.stdin = open(os.devnull)  # noqa: SIM115  # stays open as long as the process
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # else something stands in for it, in a test for instance
            poor = stream.isatty() and not utf8(environ)
            stream.reconfigure(encoding="ascii" if poor else None, errors="replace")
    if sys.stderr is sys.__stderr__ and isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr = _forgiving(sys.stderr)


class _Forgiving(io.FileIO):
    """A file whose reader may leave: what is written then goes nowhere."""

    def write(self, data: Any, /) -> int:
        """As FileIO has it, without BrokenPipeError."""
        try:
            return super().write(data) or 0
        except BrokenPipeError:
            return len(data)


def _forgiving(stream: io.TextIOWrapper) -> TextIO:
    """The stream of progress and errors: nobody reading it must not end a command, nor change its exit code."""
    stream.flush()
    raw = io.BufferedWriter(_Forgiving(stream.fileno(), "w", closefd=False))
    return io.TextIOWrapper(raw, encoding=stream.encoding, errors="replace", line_buffering=True)


def utf8(environ: Mapping[str, str]) -> bool:
    """Whether the locale is a UTF-8 one: the first that is set of LC_ALL, LC_CTYPE and LANG says so."""
    chosen = next((environ[name] for name in ("LC_ALL", "LC_CTYPE", "LANG") if environ.get(name)), "")
    return "utf8" in chosen.lower().replace("-", "")


def mute(stream: TextIO) -> None:
    """Let what is still written to ``stream`` go nowhere: its reader left."""
    try:
        place = os.open(os.devnull, os.O_WRONLY)
        os.dup2(place, stream.fileno())
        os.close(place)
    except (OSError, ValueError):  # no file behind it
        return


def say(text: str) -> None:
    """Print a result; a reader that left is no failure, and the command comes to its own end and exit code."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        mute(sys.stdout)


def finish() -> None:
    """Write out what is left; without this Python would complain on its way out that the reader left."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            mute(stream)
