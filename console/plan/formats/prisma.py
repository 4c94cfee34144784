"""Prisma: a directory for each migration with migration.sql, in the order of their names.

Prisma sends a file as one message: the server runs several statements of it in one transaction, a single one as it
is. Prisma has no way back; a down.sql beside it (as its documentation has one made) is taken for it.
"""

from __future__ import annotations

import re
from dataclasses import replace

from console.plan.formats.base import Folder, Ids, Layout, Migration, Reading, left_out, line_at, title_of, way_back
from console.plan.model import Origin, SourceFile
from console.transactions import Transactions

_FILE = re.compile(r"([^/]+)/migration\.sql")
_WORDS = re.compile(r"\d*_?(.*)")
_LOCK = "migration_lock.toml"
_PROVIDER = re.compile(r'^\s*provider\s*=\s*"([^"]*)"', re.MULTILINE)


def example(folder: Folder) -> str:
    """A file of this layout."""
    return next((name for name in folder.names if _FILE.fullmatch(name)), "")


def read(folder: Folder) -> Reading:
    """Directories in the order of their names."""
    _refuse_other_server(folder)
    found = sorted(match.group(1) for name in folder.names if (match := _FILE.fullmatch(name)))
    ids, made = Ids(), []
    for parent in found:
        up, back = _source(folder, f"{parent}/migration.sql"), f"{parent}/down.sql"
        missing = f"Prisma writes none, and {back} does not exist"
        down, why = way_back(_source(folder, back) if back in folder.names else None, missing)
        words = _WORDS.fullmatch(parent)
        title = title_of(words.group(1) if words else "", parent)
        made.append(Migration(ids.make(parent), title, up, down, why, Origin(parent, parent, parent, up.sha256)))
    known = {f"{parent}/{name}" for parent in found for name in ("migration.sql", "down.sql")}
    strange = [name for name in folder.names if name.endswith(".sql") and name not in known]
    return Reading(tuple(made), left_out(strange, "files that Prisma does not read"))


def _source(folder: Folder, name: str) -> SourceFile:
    return replace(folder.read(name), transactions=Transactions.WHOLE_OR_NONE)


def _refuse_other_server(folder: Folder) -> None:
    if _LOCK not in folder.names:
        return
    text = folder.read(_LOCK).text
    found = _PROVIDER.search(text)
    if found and found.group(1) not in ("postgresql", "postgres", "cockroachdb"):
        raise folder.fault(
            f"These migrations are for {found.group(1)}.", _LOCK, line_at(text, found.start(1)),
            do="Name a directory of PostgreSQL migrations.",
        )  # fmt: skip


LAYOUT = Layout(
    "prisma",
    "Prisma",
    "each file in one transaction, as the server runs one message; a single statement runs as it is",
    example,
    read,
)
