"""The console in a terminal: looks at the terminal, runs the screens, leaves cleanly."""

from __future__ import annotations

import os
import signal
import sys
import threading

from console.tui.facts import is_active
from console.tui.ports import World
from console.tui.shell import Shell
from console.tui.terminal import leave_on_hangup, look, refuse_unusable

TERMINATED = 143


def run_console(
    world: World, *, dry_run: bool = False, ascii_only: bool | None = None, theme: str | None = None
) -> int:
    """Show the run until the operator leaves; returns the exit code. The run itself is never touched by leaving.

    ``ascii_only`` and ``theme`` override what the terminal's settings suggest. Raises UsageError where no screen can
    be drawn: ``TERM=dumb``, or no terminal.
    """
    refuse_unusable(os.environ)
    terminal = look(os.environ, ascii_only=ascii_only, theme=theme)

    def ready() -> None:
        leave_on_hangup(world.close)
        signal.signal(signal.SIGTERM, lambda *_: shell.exit(TERMINATED))

    shell = Shell(world, terminal, dry_run=dry_run, on_ready=ready)
    code = shell.run(mouse=False)
    shell.feed.stop()
    closer = threading.Thread(target=world.close, daemon=True)
    closer.start()
    closer.join(2.0)
    state = shell.facts.state
    if state is not None and is_active(state) and world.player is None:
        sys.stderr.write(f"Run {state.run_id} goes on. Come back to it with: pgferry attach {state.run_id}\n")
    return code if code is not None else shell.return_code or 0
