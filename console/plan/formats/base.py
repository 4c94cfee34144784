"""What every layout shares: a migration as it was read, the folder it stands in, and the layout itself."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from console.errors import PlanError
from console.plan.files import leaves, read_source
from console.plan.model import Origin, SourceFile
from console.plan.schema import MAX_ID, RESERVED_IDS
from console.transactions import Transactions

MAX_FILES = 50_000  # files of a directory that is looked through; more is no directory of migrations
_COMMENTS = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_NOT_ID = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class Migration:
    """One migration: what runs forward and back, and how its own tool calls it. ``no_way_back`` says why there is none."""

    id: str
    title: str
    up: SourceFile
    down: SourceFile | None
    no_way_back: str
    origin: Origin
    verify: SourceFile | None = None
    depends: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reading:
    """A directory as its layout reads it: the migrations in the order they run, and what a user should know of it."""

    migrations: tuple[Migration, ...]
    notes: tuple[str, ...] = ()
    project: str = ""


class Folder:
    """A directory of migrations: its files by relative path, each read once and only from inside."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.root = directory.resolve()
        self.names = _files(directory)
        self.read_files: dict[str, SourceFile] = {}  # what belongs to the plan
        self._seen: dict[str, SourceFile] = {}

    @property
    def top(self) -> tuple[str, ...]:
        """The files directly in it."""
        return tuple(name for name in self.names if "/" not in name)

    def read(self, name: str) -> SourceFile:
        """The file as part of the plan. Raises PlanError where it cannot be read, or is a link to elsewhere."""
        self.read_files[name] = self.glance(name)
        return self.read_files[name]

    def glance(self, name: str) -> SourceFile:
        """As ``read``, without making the file part of the plan: to find out which layout this is."""
        if name not in self._seen:
            if leaves(self.root, name):
                raise self.fault("This file is a link that leaves the directory.", name, do="Copy the file into it.")
            self._seen[name] = read_source(self.directory / name, self.shown(name), name)
        return self._seen[name]

    def shown(self, name: str) -> str:
        """The file as the user would name it."""
        return str(self.directory / name)

    def fault(self, what: str, name: str, line: int = 0, *, do: str = "") -> PlanError:
        """The error for what is wrong with a file."""
        return PlanError(what, file=self.shown(name), line=line, do=do)


@dataclass(frozen=True, slots=True)
class Layout:
    """How the migrations of one tool lie in a directory.

    ``example`` gives a file that is of this layout and no other (empty for none); ``read`` raises PlanError;
    ``rule`` says in words what runs in one transaction.
    """

    name: str
    tool: str
    rule: str
    example: Callable[[Folder], str] = field(repr=False)
    read: Callable[[Folder], Reading] = field(repr=False)


def _files(directory: Path) -> tuple[str, ...]:
    found: list[str] = []
    for parent, directories, names in os.walk(directory):
        directories[:] = sorted(name for name in directories if not name.startswith((".", "node_modules")))
        found += [Path(parent, name).relative_to(directory).as_posix() for name in names if not name.startswith(".")]
        if len(found) > MAX_FILES:
            raise PlanError(
                f"{directory} holds more than {MAX_FILES:,} files.", do="Name the directory of the migrations alone."
            )
    return tuple(sorted(found))


def holds_nothing(text: str) -> bool:
    """Whether there is nothing but comments and blanks."""
    return not _COMMENTS.sub("", text).strip(" \t\r\n;")


def blanked(text: str) -> str:
    """Blanks in the place of everything but line ends."""
    return re.sub(r"[^\r\n]", " ", text)


def part_of(source: SourceFile, start: int, end: int, part: str, transactions: Transactions) -> SourceFile:
    """The characters from ``start`` to ``end`` of a file, at the offsets and lines where they stand."""
    text = blanked(source.text[:start]) + source.text[start:end]
    return replace(source, text=text, part=part, transactions=transactions)


def way_back(down: SourceFile | None, missing: str) -> tuple[SourceFile | None, str]:
    """The way back and why there is none; an empty one was never written."""
    if down is None:
        return None, f"no way back is written ({missing})"
    if holds_nothing(down.text):
        return None, f"no way back is written ({down.shown} holds no statement)"
    return down, ""


def title_of(name: str, otherwise: str) -> str:
    """A file's words as a title."""
    words = " ".join(re.split(r"[_\s-]+", name)).strip()
    return words[:1].upper() + words[1:] if words else otherwise


class Ids:
    """Gives each migration an id that a command line can name: its version, made unique."""

    def __init__(self) -> None:
        self._taken: set[str] = set(RESERVED_IDS)

    def make(self, text: str) -> str:
        """An id like ``text``."""
        plain = _NOT_ID.sub("-", text).lstrip("_.-")[:MAX_ID] or "migration"
        made, number = plain, 1
        while made in self._taken:
            number += 1
            made = f"{plain[: MAX_ID - 6]}.{number}"
        self._taken.add(made)
        return made


def refuse_twice(folder: Folder, versions: Iterable[tuple[object, str]]) -> None:
    """Raises PlanError where two files have one version."""
    seen: dict[object, str] = {}
    for version, name in versions:
        if version in seen:
            raise folder.fault(
                f"{seen[version]} has the same version {version}.", name, do="Give one of them another version."
            )
        seen[version] = name


def line_at(text: str, offset: int) -> int:
    """The 1-based line of a character."""
    return text.count("\n", 0, offset) + 1


def left_out(names: Iterable[str], why: str) -> tuple[str, ...]:
    """One sentence on the SQL files that are no part of the plan; none where there are none."""
    found = sorted(names)
    if not found:
        return ()
    more = f" and {len(found) - 5} more" if len(found) > 5 else ""
    return (f"No part of the plan, {why}: {', '.join(found[:5])}{more}.",)
