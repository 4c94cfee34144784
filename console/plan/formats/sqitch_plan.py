"""Reads a sqitch.plan: its pragmas, changes and tags in order, each with its line."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from console.plan.formats.base import Folder

_PRAGMA = re.compile(r"%\s*([\w-]+)\s*(?:=\s*(.*?))?\s*")
_STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
_BY = rf"({_STAMP})\s+([^<#]+?)\s*<([^>]+)>\s*(?:#\s*(.*))?"
_TAG = re.compile(rf"@(\S+)\s+{_BY}")
_CHANGE = re.compile(rf"(?:\+\s*)?([^\s@#%\[\]:!+-][^\s@\[\]:]*)\s*(?:\[([^\]]*)\]\s*)?\s{_BY}")
_ESCAPED = {"\\n": "\n", "\\r": "\r", "\\\\": "\\"}
_NEED = re.compile(r"(!?)(?:([^:@\s!]+):)?([^:@\s!]*)(?:@(\S+))?")


@dataclass(frozen=True, slots=True)
class Need:
    """A change that another one needs before it, or conflicts with. ``tag``: as it stood there."""

    text: str
    change: str
    tag: str
    project: str
    conflicts: bool


@dataclass(frozen=True, slots=True)
class By:
    """When and by whom a line was planned, and its note."""

    at: str
    name: str
    email: str
    note: str

    @classmethod
    def of(cls, groups: tuple[str | None, ...]) -> By:
        """From the groups of a line's pattern."""
        at, name, email, note = (group or "" for group in groups)
        return cls(at, name, email, re.sub(r"\\[\\nr]", lambda found: _ESCAPED[found.group()], note.strip()))


@dataclass(slots=True)
class Change:
    """One change; ``tags`` are those set after it and before a later change of its name."""

    name: str
    line: int
    by: By
    needs: tuple[Need, ...]
    index: int
    tags: list[str] = field(default_factory=list)
    reworked: bool = False  # a later change has its name


@dataclass(slots=True)
class SqitchPlan:
    """The whole file; ``tagged`` is the index of the change that each tag follows."""

    project: str
    changes: list[Change]
    tagged: dict[str, int]
    tags: dict[str, By] = field(default_factory=dict)
    uri: str = ""


def parse(folder: Folder, name: str) -> SqitchPlan:
    """The plan in the file ``name``. Raises PlanError with the line."""
    plan = SqitchPlan("", [], {})
    current: dict[str, Change] = {}
    for number, text in enumerate(folder.read(name).text.splitlines(), 1):
        line = text.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("%"):
            pragma = _PRAGMA.fullmatch(line)
            if pragma and pragma.group(1) == "project":
                plan.project = pragma.group(2) or ""
            elif pragma and pragma.group(1) == "uri":
                plan.uri = pragma.group(2) or ""
        elif tag := _TAG.fullmatch(line):
            _tag(folder, name, plan, current, tag, number)
        elif change := _CHANGE.fullmatch(line):
            _change(folder, name, plan, current, change, number)
        else:
            raise folder.fault(
                "This line is neither a change nor a tag nor a pragma of Sqitch.", name, number,
                do="A change is: name [needs] 2026-01-31T12:00:00Z Planner <mail> # note.",
            )  # fmt: skip
    if not plan.project:
        raise folder.fault("The plan names no project.", name, 1, do="Write %project=name at its top.")
    return plan


def _tag(
    folder: Folder, file: str, plan: SqitchPlan, current: dict[str, Change], found: re.Match[str], line: int
) -> None:
    tag = found.group(1)
    if not plan.changes or tag in plan.tagged:
        what = f"The tag @{tag} is there already." if plan.changes else f"The tag @{tag} stands before any change."
        raise folder.fault(what, file, line, do="Choose another name." if plan.changes else "Move it below a change.")
    plan.tagged[tag] = plan.changes[-1].index
    plan.tags[tag] = By.of(found.groups()[1:])
    for change in current.values():
        change.tags.append(tag)


def _change(
    folder: Folder, file: str, plan: SqitchPlan, current: dict[str, Change], found: re.Match[str], line: int
) -> None:
    name, needs, *by = found.groups()
    before = current.get(name)
    if before is not None:
        if not before.tags:
            raise folder.fault(
                f"The change {name} is there already, in line {before.line}, and no tag stands between.", file, line,
                do="Remove one of them, or tag before it is reworked.",
            )  # fmt: skip
        before.reworked = True
    made = Change(name, line, By.of(tuple(by)), _needs(folder, file, needs or "", line), len(plan.changes))
    plan.changes.append(made)
    current[name] = made


def _needs(folder: Folder, file: str, text: str, line: int) -> tuple[Need, ...]:
    made = []
    for word in text.split():
        found = _NEED.fullmatch(word)
        if found is None or not (found.group(3) or found.group(4)):
            raise folder.fault(f"{word!r} names no change.", file, line, do="Write change, change@tag or @tag.")
        sign, project, change, tag = found.groups()
        made.append(Need(word, change or "", tag or "", project or "", conflicts=bool(sign)))
    return tuple(made)


def resolve(plan: SqitchPlan, change: Change, need: Need) -> Change | None:
    """The change before ``change`` that ``need`` means; None when there is none."""
    before = plan.changes[: change.index]
    if need.tag:
        if need.tag not in plan.tagged or plan.tagged[need.tag] >= change.index:
            return None
        before = before[: plan.tagged[need.tag] + 1]
        if not need.change:
            return before[-1]
    return next((one for one in reversed(before) if one.name == need.change), None)
