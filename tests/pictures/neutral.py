"""A world as it is, but for the names of the machine it runs on."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from typing import Any, TypeVar, cast

from console.commands.world import JournalWorld
from console.journal.recording import Recording
from console.journal.state import RollbackPreview, RunState
from console.sql.model import TaskPreview

HOST, BASTION, OPERATOR = "db1", "bastion", "dba"
T = TypeVar("T")


def names(server: str) -> Callable[[T], T]:
    """A function that puts neutral names into every text of a value; ``server`` is the socket's folder."""
    pairs = ((server, HOST), (socket.gethostname(), BASTION))

    def words(text: str) -> str:
        for real, neutral in pairs:
            text = text.replace(real, neutral)
        return text

    def change(value: Any) -> Any:
        if isinstance(value, Enum):
            return value
        if isinstance(value, str):
            return words(value)
        if isinstance(value, tuple | list):
            return type(value)(change(item) for item in value)
        if isinstance(value, dict):
            return {key: change(item) for key, item in value.items()}
        if is_dataclass(value) and not isinstance(value, type):
            return replace(value, **{f.name: change(getattr(value, f.name)) for f in fields(value) if f.init})
        return value

    return lambda value: cast(T, change(value))


class NeutralWorld(JournalWorld):
    """The journal's world with neutral names in what it shows; what it does is untouched."""

    server = ""

    def state(self) -> RunState:
        return names(self.server)(super().state())

    def preview(self, task_id: str) -> TaskPreview:
        return names(self.server)(super().preview(task_id))

    def rollback_preview(self, to: str) -> RollbackPreview:
        return names(self.server)(super().rollback_preview(to))

    def recording(self, run_id: int) -> Recording:
        return names(self.server)(super().recording(run_id))
