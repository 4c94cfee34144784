"""Reads the files of a plan: inside its directory only, as text a server can take, each with its digest."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path, PurePosixPath

from console.errors import PlanError
from console.plan.model import SourceFile


def read_source(file: Path, shown: str, path: str) -> SourceFile:
    """The file at ``file`` as part of the plan under the relative name ``path``; ``shown`` names it in errors.

    Raises PlanError when it cannot be read or is not plain UTF-8 text.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise PlanError(f"The file cannot be read: {error.strerror or error}.", file=shown) from None
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise PlanError("The text is not UTF-8.", file=shown, line=line, do="Save the file as UTF-8.") from None
    if text.startswith("\ufeff"):
        raise PlanError("The file begins with a byte order mark.", file=shown, line=1, do="Save it without one.")
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise PlanError("There is a NUL character in the text.", file=shown, line=line, do="Remove it.")
    return SourceFile(path=path, text=text, sha256=hashlib.sha256(data).hexdigest())


def leaves(root: Path, path: str, *, sibling: bool = False) -> bool:
    """Whether ``path`` points out of the plan directory ``root`` (resolved), by its words or through a link.

    With ``sibling`` a directory directly beside the plan directory is accepted as well (``../checks``).
    """
    parts = PurePosixPath(path)
    if parts.is_absolute() or Path(path).is_absolute() or "\\" in path:
        return True
    target = (root / path).resolve()
    if sibling and target.parent == root.parent and target != root:
        return False
    return ".." in parts.parts or target == root or root not in target.parents


def python_files(directory: Path) -> tuple[Path, ...]:
    """Every .py file under ``directory``, hidden directories and linked ones left out, in a fixed order."""
    found = []
    for parent, directories, names in os.walk(directory):
        directories[:] = [name for name in directories if not name.startswith(".")]
        found += [Path(parent, name) for name in names if name.endswith(".py")]
    return tuple(sorted(found))
