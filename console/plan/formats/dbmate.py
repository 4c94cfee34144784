"""dbmate: one file a migration, with ``-- migrate:up`` and ``-- migrate:down``, each with ``transaction:false`` or not.

Without a transaction dbmate still sends the block as one message, which the server runs in one transaction where it
holds several statements.
"""

from __future__ import annotations

import re

from console.plan.formats.base import (
    Folder,
    Ids,
    Layout,
    Migration,
    Reading,
    holds_nothing,
    left_out,
    line_at,
    part_of,
    refuse_twice,
    title_of,
    way_back,
)
from console.plan.model import Origin, SourceFile
from console.transactions import Transactions

_NAME = re.compile(r"(\d+)(.*)\.sql")
_MARK = re.compile(r"^--[ \t]*migrate:(up|down)\b([^\n]*)$", re.MULTILINE)
_OPTION = re.compile(r"(\S+?):(\S+)")


def example(folder: Folder) -> str:
    """A file of this layout."""
    names = (name for name in folder.top if _NAME.fullmatch(name))
    return next((name for name in names if _MARK.search(folder.glance(name).text)), "")


def read(folder: Folder) -> Reading:
    """Files in the order of their names."""
    found = {name: match for name in folder.top if (match := _NAME.fullmatch(name))}
    refuse_twice(folder, ((match.group(1), name) for name, match in found.items()))
    ids = Ids()
    made = [_migration(folder, ids, name, *found[name].groups()) for name in sorted(found)]
    strange = [name for name in folder.top if name.endswith(".sql") and name not in found]
    return Reading(tuple(made), left_out(strange, "names that dbmate does not read"))


def _migration(folder: Folder, ids: Ids, name: str, version: str, words: str) -> Migration:
    source = folder.read(name)
    marks = list(_MARK.finditer(source.text))
    order = [mark.group(1) for mark in marks]
    if order not in (["up"], ["up", "down"]):
        line = line_at(source.text, marks[-1].start()) if marks else 1
        raise folder.fault(
            "A migration of dbmate has one '-- migrate:up' and below it one '-- migrate:down'.",
            name,
            line,
            do="Write both marks, each once.",
        )
    if not holds_nothing(source.text[: marks[0].start()]):
        raise folder.fault("A statement stands above '-- migrate:up'.", name, 1, do="Move it below the mark.")
    end = marks[1].start() if len(marks) > 1 else len(source.text)
    up = part_of(source, marks[0].start(), end, "migrate:up", _transactions(folder, source, marks[0]))
    back = None
    if len(marks) > 1:
        rule = _transactions(folder, source, marks[1])
        back = part_of(source, end, len(source.text), "migrate:down", rule)
    down, why = way_back(back, "there is no '-- migrate:down'")
    origin = Origin(version, words.strip("_- "), name)
    return Migration(ids.make(version), title_of(origin.name, name), up, down, why, origin)


def forward(source: SourceFile) -> SourceFile | None:
    """The block to run forward of a file that stands alone; None for a file without its mark."""
    marks = list(_MARK.finditer(source.text))
    up = next((mark for mark in marks if mark.group(1) == "up"), None)
    if up is None:
        return None
    end = next((mark.start() for mark in marks if mark.start() > up.start()), len(source.text))
    alone = dict(_OPTION.findall(up.group(2))).get("transaction") == "false"
    rule = Transactions.WHOLE_OR_NONE if alone else Transactions.WHOLE_FILE
    return part_of(source, up.start(), end, "migrate:up", rule)


def _transactions(folder: Folder, source: SourceFile, mark: re.Match[str]) -> Transactions:
    options = dict(_OPTION.findall(mark.group(2)))
    value = options.get("transaction", "true")
    if value not in ("true", "false"):
        line = line_at(source.text, mark.start())
        raise folder.fault(f"transaction is {value!r}.", source.path, line, do="Write true or false.")
    return Transactions.WHOLE_FILE if value == "true" else Transactions.WHOLE_OR_NONE


LAYOUT = Layout(
    "dbmate",
    "dbmate",
    "each block in one transaction; with transaction:false a single statement in none",
    example,
    read,
)
