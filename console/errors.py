"""The errors a user can meet, and the exit code of each kind.

FerryError (1)
 +- StepFailed (1)        a step or a check of the plan failed
 +- UsageError (2)        the command's words are off
 +- ConnectionFailed (3)  no server, wrong password, missing privilege, unsupported version
 +- PlanError (4)         the plan is missing, unreadable, inconsistent or changed
 +- Refused (5)           someone else runs it, not approved, read-only
 |   +- LeaseLost (5)     another runner took the run over
 +- Stopped (6)           stopped on purpose: paused, or a gate waits for a person

Every message says what happened, what state things are in now, and what to do next.
"""

from __future__ import annotations


class FerryError(Exception):
    """Base of every error shown to the user as one sentence, never as a traceback."""

    exit_code = 1
    detail = ""  # more lines that show it, for instance a difference; printed above the sentence

    def __init__(self, what: str, *, state: str = "", do: str = "") -> None:
        self.what = what
        self.state = state
        self.do = do
        super().__init__(" ".join(part for part in (what, state, do) if part))


class StepFailed(FerryError):
    """A step or a check of the plan failed; the task's state is known and journalled."""

    exit_code = 1


class UsageError(FerryError):
    """The command line cannot be understood or contradicts itself."""

    exit_code = 2


class ConnectionFailed(FerryError):
    """The database cannot be reached or does not grant what is needed. ``final``: waiting will not help."""

    exit_code = 3

    def __init__(self, what: str, *, state: str = "", do: str = "", final: bool = False) -> None:
        self.final = final
        super().__init__(what, state=state, do=do)


class PlanError(FerryError):
    """The plan cannot be used. ``file`` and ``line`` (1-based, 0 when unknown) locate the fault."""

    exit_code = 4

    def __init__(self, what: str, *, file: str = "", line: int = 0, state: str = "", do: str = "") -> None:
        self.file = file
        self.line = line
        where = f"{file}:{line}: " if file and line else f"{file}: " if file else ""
        super().__init__(where + what, state=state, do=do)


class Refused(FerryError):
    """Someone else runs the plan, it is not approved, or the console is read-only."""

    exit_code = 5


class LeaseLost(Refused):
    """Another runner took the run over; this one must not write any more."""


class Stopped(FerryError):
    """The run stopped on purpose: paused, or a gate waits for a person."""

    exit_code = 6
