"""Where a demo runs, noted so that a second terminal finds it without the connection string."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from console.commands.settings import Settings, state_folder
from console.errors import UsageError
from console.plan.find import shipped_plan


def _note() -> Path:
    return state_folder() / "demo"


@contextmanager
def noted(conninfo: str) -> Iterator[None]:
    """Note the demo's connection string, for this user alone, while the block runs; a newer demo's note is kept."""
    note = _note()
    note.parent.mkdir(parents=True, exist_ok=True)
    note.unlink(missing_ok=True)
    with open(os.open(note, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(conninfo)
    try:
        yield
    finally:
        if note.is_file() and note.read_text(encoding="utf-8") == conninfo:
            note.unlink()


def at_demo(settings: Settings) -> Settings:
    """Settings for the demo that runs, with the plan it shows. Raises UsageError when this user started none."""
    try:
        conninfo = _note().read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UsageError("No demo of yours runs on this machine.", do="Start one: pgferry demo.") from None
    return replace(settings, dsn=conninfo, environment="DEMO", plan_dir=settings.plan_dir or shipped_plan())
