"""What a file or a task accepts: ``-- pgferry: allow CODE reason`` above a statement, ``allow-file`` for a whole file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from console.sql.hazards.catalogue import RULES, UNKNOWN, canonical, level_of, near
from console.sql.hazards.rule import Level
from console.sql.model import Hazard, Statement

_COMMENT = re.compile(r"--[ \t]*pgferry:[ \t]*(allow(?:-file)?)\b[ \t]*(\S*)[ \t]*(.*)", re.IGNORECASE)
_FORM = "-- pgferry: allow {code} REASON"


@dataclass(frozen=True, slots=True)
class Accepted:
    """One hazard that somebody accepts, and why. ``line`` is where it stands in the file, 0 for the plan's own."""

    code: str
    reason: str
    line: int = 0


@dataclass(frozen=True, slots=True)
class _Word:
    """One comment to pgferry, as it was written."""

    line: int
    whole_file: bool
    code: str
    reason: str

    @property
    def fault(self) -> Hazard | None:
        """What is wrong with it; it then accepts nothing."""
        code = canonical(self.code)
        if code not in RULES:
            like = near(self.code)
            named = f"there is no hazard {self.code}" if self.code else "it names no hazard"
            return _hazard(
                "ALLOW-UNKNOWN-CODE",
                f"The comment in line {self.line} accepts nothing: {named}"
                + (f"; did you mean {like}?" if like else "; pgferry lint --explain lists them."),
                _FORM.format(code=like) if like else "",
            )
        if not self.reason:
            return _hazard(
                "ALLOW-WITHOUT-REASON",
                f"The comment in line {self.line} accepts nothing: it gives no reason.",
                _FORM.format(code=self.code),
            )
        return None


def _hazard(code: str, message: str, safer: str = "") -> Hazard:
    return Hazard(code, message, safer, level_of(code).value)


def _words(text: str) -> list[_Word]:
    found = []
    for number, line in enumerate(text.split("\n"), start=1) if "pgferry:" in text.lower() else ():
        if match := _COMMENT.search(line):
            word, code, reason = match.groups()
            found.append(_Word(number, word.lower() == "allow-file", code.rstrip(":,"), reason.strip()))
    return found


class Comments:
    """The comments to pgferry in one file."""

    def __init__(self, text: str) -> None:
        words = _words(text)
        self._of_file = [w for w in words if w.whole_file]
        self._single = {w.line: w for w in words if not w.whole_file}
        self._used: set[str] = set()

    def __bool__(self) -> bool:
        return bool(self._of_file or self._single)

    def apply(self, hazards: Sequence[Hazard], first: int, comments: int) -> tuple[list[Hazard], list[Hazard]]:
        """The hazards of a statement in line ``first`` with ``comments`` lines above: those left, and the accepted.

        Comments that accept nothing become hazards themselves; those between the statements before and this one, too.
        """
        above, faults = [], []
        for line in [line for line in self._single if line < first]:
            word = self._single.pop(line)
            if word.fault:
                faults.append(word.fault)
            elif line < first - comments:
                faults.append(_unused(word, "it does not stand directly above a statement"))
            else:
                above.append(word)
        wide = [w for w in self._of_file if not w.fault]
        left, accepted = divide(hazards, [Accepted(canonical(w.code), w.reason, w.line) for w in (*above, *wide)])
        met = {hazard.code for hazard in accepted}
        self._used |= met
        faults += [_unused(w, "the statement below does not have it") for w in above if canonical(w.code) not in met]
        return [*left, *faults], accepted

    def rest(self) -> list[Hazard]:
        """Once every statement was asked for: what is wrong with the comments that no statement stands below."""
        found = [w.fault or _unused(w, "it does not stand directly above a statement") for w in self._single.values()]
        for word in self._of_file:
            if fault := word.fault:
                found.append(fault)
            elif canonical(word.code) not in self._used:
                found.append(_unused(word, "no statement of the file has it"))
        return found


def _unused(word: _Word, why: str) -> Hazard:
    return _hazard("ALLOW-UNUSED", f"The comment in line {word.line} accepts {word.code}, but {why}.", "Remove it.")


def divide(hazards: Iterable[Hazard], accepted: Sequence[Accepted]) -> tuple[list[Hazard], list[Hazard]]:
    """The hazards that nobody accepts, and those that somebody does, each with the reason."""
    left, taken = [], []
    for hazard in hazards:
        reason = next((a.reason for a in accepted if a.reason and canonical(a.code) == hazard.code), "")
        if reason:
            taken.append(replace(hazard, allowed=reason))
        else:
            left.append(hazard)
    return left, taken


def accept(statements: Iterable[Statement], accepted: Sequence[Accepted]) -> tuple[Statement, ...]:
    """The statements with what a task accepts taken out of their hazards."""
    if not accepted:
        return tuple(statements)
    result = []
    for statement in statements:
        left, taken = divide(statement.hazards, accepted)
        result.append(replace(statement, hazards=tuple(left), accepted=(*statement.accepted, *taken)))
    return tuple(result)


def accepts_unknown(comments: Iterable[str]) -> bool:
    """Whether the comment lines directly above a statement accept that nobody knows what it does."""
    for line in comments:
        match = _COMMENT.search(line)
        if match and canonical(match.group(2).rstrip(":,")) == UNKNOWN and match.group(3).strip():
            return True
    return False


def counted(hazards: Iterable[Hazard]) -> tuple[Hazard, ...]:
    """The hazards that fail a lint."""
    return tuple(hazard for hazard in hazards if hazard.level == Level.HURTS)
