"""What each key does, by subject; commands to the runner are sent only after the questions they need."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from console.tui import signing
from console.tui.actions.base import Part
from console.tui.actions.moving import Moving
from console.tui.actions.records import Records
from console.tui.actions.rollback import Rollback
from console.tui.actions.sessions import Sessions
from console.tui.actions.steering import Steering

if TYPE_CHECKING:
    from console.tui.shell import Shell


class Actions:
    """The actions of the key table, by name."""

    def __init__(self, shell: Shell) -> None:
        rollback = Rollback(shell)
        moving = Moving(shell, rollback)
        self.want_rollback = rollback.want
        self._steering = Steering(shell)
        self.run_command = moving.run_command
        self.stop = self._steering.stop
        self._by_name: dict[str, Callable[[], None]] = {
            **moving.table(),
            **rollback.table(),
            **self._steering.table(),
            **Sessions(shell).table(),
            **Records(shell, rollback, moving).table(),
            "suspend": shell.action_suspend_process,
            "approve": lambda: signing.approve(shell, Part(shell).say),
        }

    def do(self, action: str) -> None:
        """Do what the table calls ``action``."""
        self._by_name[action]()
