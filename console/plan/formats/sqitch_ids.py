"""What Sqitch's registry keeps of each change: identities are SHA-1 sums of the plan's lines, each with the one before."""

from __future__ import annotations

import hashlib

from console.plan.formats.sqitch_plan import By, Change, Need, SqitchPlan, resolve
from console.plan.model import RegistryEntry, RegistryLine


def entries(plan: SqitchPlan) -> tuple[RegistryEntry, ...]:
    """The entry of every change of the plan, in its order."""
    made: list[RegistryEntry] = []
    for change in plan.changes:
        line = _line("change", change.name, change.by, _change_info(plan, change, made))
        tags = tuple(
            _line("tag", f"@{tag}", by, _tag_info(plan, f"@{tag}", by, line.id))
            for tag, by in plan.tags.items()
            if plan.tagged[tag] == change.index
        )
        needs = tuple(_need(plan, change, need, made) for need in change.needs if not need.conflicts)
        conflicts = tuple(_text(plan, need) for need in change.needs if need.conflicts)
        made.append(RegistryEntry(line, plan.uri, needs, conflicts, tags))
    return tuple(made)


def _line(kind: str, name: str, by: By, info: str) -> RegistryLine:
    data = info.encode("utf-8")
    sha1 = hashlib.sha1(b"%s %d\0%s" % (kind.encode(), len(data), data), usedforsecurity=False).hexdigest()
    return RegistryLine(sha1, name, by.note, by.at, by.name, by.email)


def _change_info(plan: SqitchPlan, change: Change, before: list[RegistryEntry]) -> str:
    needs = [_text(plan, need) for need in change.needs if not need.conflicts]
    conflicts = [_text(plan, need) for need in change.needs if need.conflicts]
    lines = [*_head(plan), f"change {change.name}"]
    lines += [f"parent {before[-1].line.id}"] if before else []
    lines += [*_by(change.by)]
    lines += ["requires", *(f"  + {text}" for text in needs)] if needs else []
    lines += ["conflicts", *(f"  - {text}" for text in conflicts)] if conflicts else []
    return "\n".join([*lines, *_note(change.by)])


def _tag_info(plan: SqitchPlan, name: str, by: By, change_id: str) -> str:
    return "\n".join([*_head(plan), f"tag {name}", f"change {change_id}", *_by(by), *_note(by)])


def _head(plan: SqitchPlan) -> list[str]:
    return [f"project {plan.project}", *([f"uri {plan.uri}"] if plan.uri else [])]


def _by(by: By) -> list[str]:
    return [f"planner {by.name} <{by.email}>", f"date {by.at}"]


def _note(by: By) -> list[str]:
    return ["", by.note] if by.note else []


def _text(plan: SqitchPlan, need: Need) -> str:
    key = need.change + (f"@{need.tag}" if need.tag else "")
    return key if need.project in ("", plan.project) else f"{need.project}:{key}"


def _need(
    plan: SqitchPlan, change: Change, need: Need, before: list[RegistryEntry]
) -> tuple[str, str, tuple[str, str] | None]:
    if need.project not in ("", plan.project):
        return _text(plan, need), "", (need.project, need.change)
    found = resolve(plan, change, need)
    return _text(plan, need), before[found.index].line.id if found is not None else "", None
