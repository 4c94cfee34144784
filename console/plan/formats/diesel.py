"""Diesel: a directory for each migration, with up.sql, down.sql and perhaps metadata.toml (run_in_transaction)."""

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
from console.plan.source import Source
from console.transactions import Transactions

_FILE = re.compile(r"([^/_]+)(?:_([^/]*))?/up\.sql")


def example(folder: Folder) -> str:
    """A file of this layout."""
    return next((name for name in folder.names if _FILE.fullmatch(name)), "")


def read(folder: Folder) -> Reading:
    """Directories in the order of their versions, which Diesel compares as text without dashes."""
    found = {name: match for name in folder.names if (match := _FILE.fullmatch(name))}
    order = sorted((match.group(1).replace("-", ""), name) for name, match in found.items())
    refuse_twice(folder, order)
    ids, made = Ids(), []
    for version, name in order:
        parent, words = name.removesuffix("/up.sql"), found[name].group(2) or ""
        rule = _transactions(folder, parent)
        back = f"{parent}/down.sql"
        down, why = way_back(_source(folder, back, rule) if back in folder.names else None, f"{back} does not exist")
        made.append(
            Migration(
                ids.make(found[name].group(1)),
                title_of(words, parent),
                _source(folder, name, rule),
                down,
                why,
                Origin(version, words, parent),
            )
        )
    parents = {name.rsplit("/", 1)[0] for name in found}
    strange = [
        name
        for name in folder.names
        if name.endswith(".sql")
        and not (name.rpartition("/")[0] in parents and name.rpartition("/")[2] in ("up.sql", "down.sql"))
    ]
    return Reading(tuple(made), left_out(strange, "files that Diesel does not read"))


def _source(folder: Folder, name: str, rule: Transactions) -> SourceFile:
    return replace(folder.read(name), transactions=rule)


def _transactions(folder: Folder, parent: str) -> Transactions:
    """One for the file; where the metadata say none, the file still goes to the server as one message."""
    name = f"{parent}/metadata.toml"
    if name not in folder.names:
        return Transactions.WHOLE_FILE
    value = Source(folder.directory / name, folder.read(name).text).data.get("run_in_transaction", True)
    if not isinstance(value, bool):
        raise folder.fault(f"run_in_transaction is {value!r}.", name, 1, do="Write true or false.")
    return Transactions.WHOLE_FILE if value else Transactions.WHOLE_OR_NONE


LAYOUT = Layout(
    "diesel",
    "Diesel",
    "each file in one transaction; with run_in_transaction = false a single statement in none",
    example,
    read,
)
