"""The way forward of what ``lint`` is given: the migrations of a directory, or the marked part of a single file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from console.plan.formats import dbmate, goose
from console.plan.load import load_plan
from console.plan.model import SourceFile


def forward_files(directory: Path) -> tuple[SourceFile, ...]:
    """What the tasks of a plan or a directory of migrations run, in order, by paths as the user names them.

    Raises PlanError.
    """
    files = (task.file for task in load_plan(directory).tasks)
    return tuple(replace(file, path=str(directory / file.path)) for file in files if file is not None)


def forward_part(path: str, text: str) -> SourceFile:
    """A single file; of one that holds both ways under the marks of dbmate or goose, the way forward."""
    source = SourceFile(path, text, "")
    return dbmate.forward(source) or goose.forward(source) or source
