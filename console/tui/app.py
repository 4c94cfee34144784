"""The console in a terminal: looks at the terminal, runs the screens, leaves cleanly."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from datetime import UTC, datetime
from types import FrameType

from platformdirs import user_state_path

from console.journal.state import OnDetach
from console.tui.facts import is_active
from console.tui.ports import World
from console.tui.shell import Shell
from console.tui.terminal import leave_on_hangup, look, refuse_unusable

CRASHED = 1


def run_console(
    world: World,
    *,
    dry_run: bool = False,
    ascii_only: bool | None = None,
    theme: str | None = None,
    mouse: bool = False,
    stays: bool = True,
) -> int:
    """Show the run until the operator leaves; returns the exit code. The run itself is never touched by leaving.

    ``ascii_only`` and ``theme`` override what the terminal's settings suggest; ``mouse`` lets it choose lines; ``stays``:
    the server outlives the console, so that one can come back. Raises UsageError where no screen can be drawn
    (``TERM=dumb``, or no terminal) and for a theme that is not known.
    """
    refuse_unusable(os.environ)
    terminal = look(os.environ, ascii_only=ascii_only, theme=theme)
    leave_on_hangup(world.close)
    shell = Shell(world, terminal, dry_run=dry_run, on_ready=lambda: _end_when_told(shell), stays=stays)
    code = shell.run(mouse=mouse)
    shell.feed.stop()
    closer = threading.Thread(target=world.close, daemon=True)
    closer.start()
    closer.join(2.0)
    state = shell.facts.state
    if stays and state is not None and is_active(state) and world.player is None:
        pauses = shell.facts.can_control and shell.facts.on_detach is OnDetach.PAUSE
        does = "pauses after its batch or statement" if pauses else "goes on"
        sys.stderr.write(f"Run {state.run_id} {does}. Come back to it with: pgferry attach {state.run_id}\n")
    if shell.crash:
        sys.stderr.write(_kept(shell.crash))
        return CRASHED
    return code if code is not None else shell.return_code or 0


def _end_when_told(shell: Shell) -> None:
    """SIGTERM and SIGINT end the console as ``q`` does, the terminal restored."""
    loop = asyncio.get_running_loop()

    def end(signum: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(shell.exit, 128 + signum)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)


def _kept(trace: str) -> str:
    """Keep the trace of an error of the console itself; returns the sentence that says so."""
    cause = trace.strip().splitlines()[-1].partition(":")[0]
    told = f"The console ended by an error of its own ({cause}). Nothing of the run was touched."
    path = user_state_path("pgferry") / f"console-{datetime.now(UTC):%Y%m%d-%H%M%S}-{os.getpid()}.txt"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(trace, encoding="utf-8")
    except OSError as error:
        return f"pgferry: {told} What happened could not be kept ({error.strerror}: {path}).\n"
    return f"pgferry: {told} Please report what {path} says.\n"
