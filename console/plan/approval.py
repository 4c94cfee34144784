"""Who approved which plan, and whether that is enough: counted by person, for exactly one digest."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from console.plan.model import Plan

JOURNAL = "journal"
FILE = "file"


@dataclass(frozen=True, slots=True)
class Approval:
    """One record: a person approved a plan's digest, or withdrew what they had approved.

    ``name`` is what the person calls themselves; ``role`` the login role as the server knows it, empty in a file.
    ``source`` is ``journal`` or ``file``. ``at`` has a time zone.
    """

    plan_id: str
    sha256: str
    name: str
    at: datetime
    comment: str = ""
    withdraws: bool = False
    role: str = ""
    source: str = FILE


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody by name and, where the server knows it, by login role."""

    name: str
    role: str = ""

    def is_who(self, approval: Approval) -> bool:
        """Whether the record may be this person's: the same name, or the same login role."""
        same_role = bool(self.role) and self.role == approval.role
        return same_role or self.name.casefold() == approval.name.casefold()


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the approval of one digest stands. ``counted``: one record a person, the newest, oldest person first.

    ``not_counted``: records that stand for this digest and do not count, each with the reason. ``withdrawn``: the
    newest records of people who took theirs back. ``older``: somebody approved another version of the plan.
    ``unread``: why a place that may hold approvals could not be read.
    """

    sha256: str
    needed: int
    counted: tuple[Approval, ...] = ()
    not_counted: tuple[tuple[Approval, str], ...] = ()
    withdrawn: tuple[Approval, ...] = ()
    older: tuple[Approval, ...] = ()
    unread: tuple[str, ...] = ()

    @property
    def enough(self) -> bool:
        """Whether the plan may be started."""
        return len(self.counted) >= self.needed


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be approved: the plan's id, its digest, by how many people."""

    plan_id: str
    sha256: str
    needed: int = 0

    @classmethod
    def of(cls, plan: Plan) -> Wanted:
        """What ``plan`` asks for."""
        return cls(plan.id, plan.sha256, plan.approvals)


def standing(
    wanted: Wanted, records: Iterable[Approval], operator: Person | None = None, unread: tuple[str, ...] = ()
) -> Standing:
    """Count the approvals of a plan. With an ``operator``, what may be their own does not count.

    Records of one person are those that share a name or a login role, directly or through others: one role cannot
    speak for two people, nor one name for two roles. The newest record of a person decides.
    """
    mine = [one for one in records if one.plan_id == wanted.plan_id]
    people = _people(one for one in mine if one.sha256 == wanted.sha256)
    counted: list[Approval] = []
    refused: list[tuple[Approval, str]] = []
    withdrawn: list[Approval] = []
    for person in people:
        newest = person[-1]
        if newest.withdraws:
            withdrawn.append(newest)
        elif operator is not None and any(operator.is_who(one) for one in person):
            same_name = any(operator.name.casefold() == one.name.casefold() for one in person)
            why = "the operator's own" if same_name else f"given as the operator's own login role {operator.role}"
            refused.append((newest, why))
        else:
            counted.append(newest)
    others = [one for one in mine if one.sha256 != wanted.sha256 and not one.withdraws]
    return Standing(
        wanted.sha256, wanted.needed, tuple(counted), tuple(refused), tuple(withdrawn),
        tuple(sorted(others, key=lambda one: one.at)), unread,
    )  # fmt: skip


def _people(records: Iterable[Approval]) -> list[list[Approval]]:
    """The records by person, each person's oldest first; people in the order of their first record."""
    people: list[list[Approval]] = []
    for record in sorted(records, key=lambda one: one.at):
        who = Person(record.name, record.role)
        same = [person for person in people if any(who.is_who(one) for one in person)]
        people = [person for person in people if person not in same]
        people.append(sorted([*(one for person in same for one in person), record], key=lambda one: one.at))
    return sorted(people, key=lambda person: person[0].at)


def grouped(sha256: str) -> str:
    """The first eight digits of a digest, as people read them out: ``a41f 09c2``."""
    return f"{sha256[:4]} {sha256[4:8]}"


def day(at: datetime) -> str:
    """A day as ``21 Nov``."""
    return f"{at.day} {at:%b}"


def brief(stands: Standing) -> str:
    """Where it stands in a few words; the names come last, where they may be cut."""
    names = ", ".join(one.name for one in stands.counted)
    if stands.needed > 1 or (stands.needed and not stands.counted):
        return f"{len(stands.counted)} of {stands.needed} approvals" + (f": {names}" if names else "")
    if len(stands.counted) == 1:
        return f"approved by {names}, {day(stands.counted[0].at)}"
    return f"approved by {names}" if names else "not approved"


def sentences(stands: Standing) -> tuple[str, ...]:
    """Everything known of the approval, a line each: how many, who and when, who does not count and why."""
    lines = [brief(stands)]
    lines += [f"{_who(one)}: approved {_when(one)}{_said(one)}" for one in stands.counted]
    lines += [f"{_who(one)}: approved {_when(one)}, not counted: {why}" for one, why in stands.not_counted]
    lines += [f"{_who(one)}: withdrawn {_when(one)}{_said(one)}" for one in stands.withdrawn]
    if stands.older and not stands.counted:
        last = stands.older[-1]
        lines.append(f"{_who(last)}: approved another version, {grouped(last.sha256)}, {_when(last)}")
    return (*lines, *stands.unread)


def _who(one: Approval) -> str:
    return f"{one.name} (role {one.role})" if one.role else f"{one.name} (in a file)"


def _when(one: Approval) -> str:
    return f"{one.at:%Y-%m-%d %H:%M} {one.at.tzname() or ''}".rstrip()


def _said(one: Approval) -> str:
    return f": {one.comment}" if one.comment else ""
