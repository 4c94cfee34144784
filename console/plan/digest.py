"""One SHA-256 for a whole plan: every file it uses, by relative path and content."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from console.plan.model import Plan, SourceFile

_HEAD = b"pgferry plan digest 1\n"


def plan_sha256(files: Iterable[SourceFile]) -> str:
    """The digest (hex) of the plan made of ``files``; their order does not matter.

    Each path stands with its length before it, so no two different plans give the same bytes.
    """
    digest = hashlib.sha256(_HEAD)
    for path, content in sorted({(file.path, file.sha256) for file in files}):
        name = path.encode("utf-8")
        digest.update(b"%d:%s %s\n" % (len(name), name, content.encode("ascii")))
    return digest.hexdigest()


def layout_said(layout: str) -> SourceFile:
    """How the files are read, as one more file: the same files in another layout are another plan."""
    return SourceFile("(layout)", layout, hashlib.sha256(layout.encode()).hexdigest())


def digested(plan: Plan) -> tuple[SourceFile, ...]:
    """Everything that the plan's digest covers."""
    return (*plan.files, layout_said(plan.layout)) if plan.layout else plan.files
