"""plan.toml with the line of everything in it, so that each fault names its place."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from console.errors import PlanError
from console.plan.locate import Locator

NAME = "plan.toml"
_AT_LINE = re.compile(r"\s*\(at line (\d+), column \d+\)")
_AT_END = re.compile(r"\s*\(at end of document\)")


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word most like ``word``; empty when none is close."""
    by_lower = {name.lower(): name for name in known}
    found = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else ""


def suggestion(word: str, known: Iterable[str], *, none: str = "") -> str:
    """What to do about an unknown ``word``: the nearest known one, else the known ones, else ``none``."""
    names = list(known)
    close = nearest(word, names)
    if close:
        return f"Did you mean {close}?"
    if not names:
        return none
    more = ", ..." if len(names) > 12 else ""
    return f"Known are: {', '.join(names[:12])}{more}."


class Source:
    """A parsed plan.toml: ``data`` as tomllib gives it, ``file`` as the user named it."""

    def __init__(self, file: Path, text: str) -> None:
        self.file = str(file)
        try:
            self.data: dict[str, Any] = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise self._syntax_fault(str(error), text) from None
        self._locator = Locator(text)

    def _syntax_fault(self, message: str, text: str) -> PlanError:
        found = _AT_LINE.search(message)
        line = int(found.group(1)) if found else len(text.splitlines())
        what = _AT_END.sub(" at the end of the file", _AT_LINE.sub("", message))
        return PlanError(
            f"This is not valid TOML: {what.rstrip('.')}.", file=self.file, line=line, do="Correct this line."
        )

    def fault(self, what: str, *path: str | int, do: str = "") -> PlanError:
        """The error for what is wrong at ``path``."""
        return PlanError(what, file=self.file, line=self._locator.line(*path) or 1, do=do)
