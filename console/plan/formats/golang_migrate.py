"""golang-migrate: 1_name.up.sql and 1_name.down.sql.

Its driver for PostgreSQL opens no transaction, but sends a file as one message: the server runs several statements
of one message in one transaction, and a single one as it is.
"""

from __future__ import annotations

import re
from dataclasses import replace

from console.plan.formats.base import (
    Folder,
    Ids,
    Layout,
    Migration,
    Reading,
    left_out,
    refuse_twice,
    title_of,
    way_back,
)
from console.plan.model import Origin, SourceFile
from console.transactions import Transactions

_NAME = re.compile(r"(\d+)_(.*)\.(up|down)\.sql")


def example(folder: Folder) -> str:
    """A file of this layout; a .down.sql alone is not one, plain numbered files have it too."""
    return next((name for name in folder.top if (found := _NAME.fullmatch(name)) and found.group(3) == "up"), "")


def read(folder: Folder) -> Reading:
    """Pairs of files, by number."""
    found = {name: match for name in folder.top if (match := _NAME.fullmatch(name))}
    ups = sorted((int(match.group(1)), name) for name, match in found.items() if match.group(3) == "up")
    downs = {int(match.group(1)): name for name, match in found.items() if match.group(3) == "down"}
    refuse_twice(folder, ups)
    refuse_twice(folder, ((int(m.group(1)), name) for name, m in found.items() if m.group(3) == "down"))
    ids, made = Ids(), []
    for number, name in ups:
        version, words, _ = found[name].groups()
        back = downs.pop(number, "")
        missing = f"{version}_{words}.down.sql does not exist"
        down, why = way_back(_source(folder, back) if back else None, missing)
        origin = Origin(str(number), words, name)
        made.append(Migration(ids.make(version), title_of(words, name), _source(folder, name), down, why, origin))
    strange = [name for name in folder.top if name.endswith(".sql") and name not in found]
    return Reading(
        tuple(made),
        (
            *left_out(downs.values(), "a way back without its migration"),
            *left_out(strange, "names that golang-migrate does not read"),
        ),
    )


def _source(folder: Folder, name: str) -> SourceFile:
    return replace(folder.read(name), transactions=Transactions.WHOLE_OR_NONE)


LAYOUT = Layout(
    "golang-migrate",
    "golang-migrate",
    "each file in one transaction, as the server runs one message; a single statement runs as it is",
    example,
    read,
)
