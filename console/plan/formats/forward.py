"""Single files as their tool sees them: the way forward of what ``lint`` is given, and where the way back stands."""

from __future__ import annotations

import re
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


def way_back_of(path: Path) -> Path:
    """Where the way back of a file stands, by the names of its tool."""
    name = path.name
    if name in ("up.sql", "migration.sql"):
        return path.with_name("down.sql")
    if name.endswith(".up.sql"):
        return path.with_name(name.removesuffix(".up.sql") + ".down.sql")
    if re.match(r"V\d+([._]\d+)*__", name):
        return path.with_name("U" + name[1:])
    if path.parent.name == "deploy" and (path.parent.parent / "sqitch.plan").is_file():
        return path.parent.parent / "revert" / name
    return path.with_name(f"{path.stem}.down.sql")
