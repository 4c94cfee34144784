"""goose: one file a migration, with ``-- +goose Up`` and ``-- +goose Down``; ``-- +goose NO TRANSACTION`` holds for both.

StatementBegin and StatementEnd help goose to find a statement's end; PostgreSQL's grammar needs no such help here.
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

_NAME = re.compile(r"(\d+)_(.*)\.(sql|go)")
_MARK = re.compile(r"^--[ \t]*\+goose[ \t]+(.+?)[ \t]*\r?$", re.MULTILINE | re.IGNORECASE)
_VARIABLE = re.compile(r"\$\{?[A-Za-z_]\w*")
_UP, _DOWN, _ALONE, _VARIABLES = "up", "down", "no transaction", "envsub on"
_KNOWN = (_UP, _DOWN, _ALONE, _VARIABLES, "envsub off", "statementbegin", "statementend")


def example(folder: Folder) -> str:
    """A file of this layout."""
    names = (name for name in folder.top if name.endswith(".sql") and _NAME.fullmatch(name))
    return next((name for name in names if _MARK.search(folder.glance(name).text)), "")


def read(folder: Folder) -> Reading:
    """Files by version."""
    found = {name: match for name in folder.top if (match := _NAME.fullmatch(name)) and not name.endswith("_test.go")}
    for name in found:
        if name.endswith(".go"):
            raise folder.fault(
                "This migration is written in Go; only SQL can be previewed and run here.",
                name,
                do="Write it as SQL, or apply it with goose and move it out of the directory.",
            )
    order = sorted((int(match.group(1)), name) for name, match in found.items())
    refuse_twice(folder, order)
    ids = Ids()
    made = [_migration(folder, ids, name, *found[name].groups()[:2]) for _, name in order]
    strange = [name for name in folder.top if name.endswith(".sql") and name not in found]
    return Reading(tuple(made), left_out(strange, "names that goose does not read"))


def _migration(folder: Folder, ids: Ids, name: str, version: str, words: str) -> Migration:
    source = folder.read(name)
    marks = [(" ".join(mark.group(1).lower().split()), mark) for mark in _MARK.finditer(source.text)]
    for word, mark in marks:
        if word not in _KNOWN:
            line = line_at(source.text, mark.start())
            raise folder.fault(f"goose knows no '+goose {mark.group(1)}'.", name, line, do="Correct the mark.")
    places = [(word, mark.start()) for word, mark in marks if word in (_UP, _DOWN)]
    if [word for word, _ in places] not in ([_UP], [_UP, _DOWN]):
        line = line_at(source.text, places[-1][1]) if places else 1
        raise folder.fault(
            "A migration of goose has one '-- +goose Up' and below it one '-- +goose Down'.", name, line,
            do="Write both marks, each once.",
        )  # fmt: skip
    if not holds_nothing(source.text[: places[0][1]]):
        raise folder.fault("A statement stands above '-- +goose Up'.", name, 1, do="Move it below the mark.")
    rule = Transactions.AS_WRITTEN if any(word == _ALONE for word, _ in marks) else Transactions.WHOLE_FILE
    end = places[1][1] if len(places) > 1 else len(source.text)
    up = part_of(_checked(source, marks), places[0][1], end, "goose Up", rule)
    back = part_of(_checked(source, marks), end, len(source.text), "goose Down", rule) if len(places) > 1 else None
    down, why = way_back(back, "there is no '-- +goose Down'")
    return Migration(ids.make(version), title_of(words, name), up, down, why, Origin(str(int(version)), words, name))


def forward(source: SourceFile) -> SourceFile | None:
    """The part to run forward of a file that stands alone; None for a file without its mark."""
    marks = [(" ".join(mark.group(1).lower().split()), mark.start()) for mark in _MARK.finditer(source.text)]
    up = next((start for word, start in marks if word == _UP), None)
    if up is None:
        return None
    end = next((start for word, start in marks if word == _DOWN and start > up), len(source.text))
    alone = any(word == _ALONE for word, _ in marks)
    return part_of(source, up, end, "goose Up", Transactions.AS_WRITTEN if alone else Transactions.WHOLE_FILE)


def _checked(source: SourceFile, marks: list[tuple[str, re.Match[str]]]) -> SourceFile:
    """The file, with a fault where goose would put variables of the environment into it."""
    for index, (word, mark) in enumerate(marks):
        if word != _VARIABLES:
            continue
        later = (other for name, other in marks[index + 1 :] if name == "envsub off")
        end = next((other.start() for other in later), len(source.text))
        if found := _VARIABLE.search(source.text, mark.end(), end):
            what = f"goose would replace {found.group()} here; pgferry runs a file as it stands. Write the value."
            return replace(source, fault=what, fault_line=line_at(source.text, found.start()))
    return source


LAYOUT = Layout(
    "goose", "goose", "each Up and Down in one transaction; none with '-- +goose NO TRANSACTION'", example, read
)
