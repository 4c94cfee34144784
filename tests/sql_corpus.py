"""The statements that the reading of SQL is judged by: what each takes, measured on real servers.

``sql_corpus.txt`` holds one case a line: ``SQL => effects``, where the effects are separated by commas: ``c AE`` (a lock on the
existing relation ``c``), ``rewrite c`` (its file changed), ``scan c`` (all of its rows were read), in that order and
sorted; nothing stands for a statement that touches no existing relation. A case may begin with ``17+`` (only from
that version on); ``/ 15-16: effects`` at its end says what those versions do instead. Cases below the line
``# alone`` cannot run in a transaction block. The database they run in is ``sql_corpus_setup.sql``.

The locks are those that the session holds at the end of the statement (``pg_locks``) on relations that were there
before, or, for what runs alone, those it was seen to hold or to wait for. The rest stands for more: a lock on a table also for
its indexes, its TOAST table and its children, which are not listed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

HERE = Path(__file__).resolve().parent
SETUP = (HERE / "sql_corpus_setup.sql").read_text(encoding="utf-8")
MODES = {
    "AS": "ACCESS SHARE",
    "RS": "ROW SHARE",
    "RE": "ROW EXCLUSIVE",
    "SUE": "SHARE UPDATE EXCLUSIVE",
    "S": "SHARE",
    "SRE": "SHARE ROW EXCLUSIVE",
    "E": "EXCLUSIVE",
    "AE": "ACCESS EXCLUSIVE",
}
_SINCE = re.compile(r"(\d+)\+ ")
_OTHER = re.compile(r" / (\d+)(?:-(\d+))?: ?")


@dataclass(frozen=True)
class Effects:
    """What a statement did: the strongest lock on each relation, the relations written anew, those read in full."""

    locks: tuple[tuple[str, str], ...] = ()
    rewritten: tuple[str, ...] = ()
    scanned: tuple[str, ...] = ()

    @classmethod
    def of(cls, text: str) -> Effects:
        """From the notation of the corpus."""
        locks: list[tuple[str, str]] = []
        work: dict[str, list[str]] = {"rewrite": [], "scan": []}
        for words in (part.split() for part in text.split(", ") if part.strip()):
            if words[0] in work:
                work[words[0]].append(words[1])
            else:
                locks.append((words[0], MODES[words[1]]))
        return cls(tuple(locks), tuple(work["rewrite"]), tuple(work["scan"]))

    def __str__(self) -> str:
        short = {mode: letters for letters, mode in MODES.items()}
        words = [f"{name} {short[mode]}" for name, mode in self.locks]
        words += [f"rewrite {name}" for name in self.rewritten] + [f"scan {name}" for name in self.scanned]
        return ", ".join(words)


@dataclass(frozen=True)
class Case:
    """One line of the corpus: the SQL (one statement or several), and what it did on each version."""

    sql: str
    since: int = 13
    alone: bool = False
    usual: Effects = Effects()
    others: tuple[tuple[int, int, Effects], ...] = ()

    def effects(self, major: int) -> Effects:
        """What it did on this major version."""
        return next((e for low, high, e in self.others if low <= major <= high), self.usual)


def _case(line: str, alone: bool) -> Case:
    since = _SINCE.match(line)
    sql, _, effects = line[since.end() if since else 0 :].partition(" =>")
    usual, *others = _OTHER.split(effects)
    rest = [
        (int(low), int(high or low), Effects.of(text))
        for low, high, text in zip(others[::3], others[1::3], others[2::3], strict=True)
    ]
    return Case(sql, int(since.group(1)) if since else 13, alone, Effects.of(usual), tuple(rest))


@cache
def cases() -> tuple[Case, ...]:
    """The whole corpus."""
    lines = (HERE / "sql_corpus.txt").read_text(encoding="utf-8").splitlines()
    border = lines.index("# alone")
    found = [_case(line, number > border) for number, line in enumerate(lines) if line and not line.startswith("#")]
    return tuple(found)
