"""``pgferry lint``: what the statements of SQL files lock and risk, and what each hazard means. No database is needed."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from pathlib import Path

from console.commands.operate import out
from console.errors import PlanError, UsageError
from console.headless.sarif import found_in, repository_of, sarif
from console.headless.words import safe
from console.plan.formats.forward import forward_files, forward_part
from console.plan.model import SourceFile
from console.sql.analyse import read_file
from console.sql.hazards.allow import counted
from console.sql.hazards.catalogue import RULES, canonical, explain, listing, near, page
from console.sql.lint import lint_json
from console.sql.model import Hazard, Statement
from console.sql.psql import passed_over
from console.text import several


@dataclass(frozen=True, slots=True)
class LintWanted:
    """What is asked: the files, the server they are for, whether style counts as worth showing, the form."""

    files: tuple[Path, ...]
    server_major: int
    style: bool
    output: str  # text, json; markdown for the explanation of every rule


def read_text(path: Path) -> str:
    """A file's text. Raises UsageError where it cannot be read, PlanError where it is no text."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise PlanError("it is not UTF-8 text.", file=str(path), do="Convert it to UTF-8.") from None


def lint(wanted: LintWanted) -> int:
    """Print what each statement locks and risks; 1 where a hazard that hurts is not accepted by its file."""
    sources: list[SourceFile] = []
    for path in wanted.files:
        sources += forward_files(path) if path.is_dir() else [forward_part(str(path), read_text(path))]
    found: list[Statement] = []
    for source in sources:
        found += read_file(
            source.text, source.path, server_major=wanted.server_major, style=wanted.style,
            transactions=source.transactions,
        )  # fmt: skip
    if wanted.output == "json":
        out(lint_json(found))
    elif wanted.output == "sarif":
        places = [one for statement in found for one in found_in(statement, Path(statement.file))]
        out(sarif(places, RULES, repository_of(wanted.files[0])))
    else:
        for source in sources:
            for line, words in passed_over(source.text):
                out(safe(f"{source.path}:{line}: passed over, only psql uses it: {words}"))
        for statement in found:
            _print(statement)
        out(_total(found))
    return int(any(counted(statement.hazards) for statement in found))


def _print(statement: Statement) -> None:
    locks = ", ".join(f"{lock.mode} on {lock.object} ({lock.basis})" for lock in statement.locks) or "no locks"
    out(safe(f"{statement.file}:{statement.line}: {statement.kind}: {locks}; {statement.blocks}"))
    for hazard in statement.hazards:
        out(safe(f"    {_mark(hazard)}{hazard.code}: {hazard.message}"))
        if hazard.safer:
            form = safe(hazard.safer, keep_newlines=True).splitlines()
            out("        safer: " + "\n               ".join(form))
    for hazard in statement.accepted:
        out(safe(f"    accepted {hazard.code}: {hazard.allowed}"))


def _mark(hazard: Hazard) -> str:
    return "" if hazard.level == "hurts" else f"({hazard.level}) "


def _total(found: list[Statement]) -> str:
    hazards = [hazard for statement in found for hazard in statement.hazards]
    hurts = len(counted(hazards))
    accepted = sum(len(statement.accepted) for statement in found)
    counts = ((len(found), "statement"), (hurts, "hazard"), (len(hazards) - hurts, "note"))
    return ", ".join([*(several(number, noun) for number, noun in counts), f"{accepted:,} accepted"])


def explain_code(code: str, output: str) -> int:
    """Print what a hazard means and how to avoid it; without a code, every one. Raises UsageError for an unknown one."""
    rule = RULES.get(canonical(code))
    if code and rule is None:
        like = near(code)
        do = f"Did you mean {like}?" if like else "pgferry lint --explain lists every code."
        raise UsageError(f"There is no hazard {code}.", do=do)
    rules = [rule] if rule else list(RULES.values())
    if output == "json":
        out({"rules": [
            {"code": r.code, "level": r.level.value, "title": r.title, "why": r.why, "fires": r.fires, "safe": r.safe,
             "source": r.source, "server": r.server, "plan": r.plan}
            for r in rules
        ]})  # fmt: skip
    elif rule:
        out("\n".join(_wrapped(line) for line in explain(rule).splitlines()))
    else:
        out(page() if output == "markdown" else listing())
    return 0


def _wrapped(line: str) -> str:
    """A line of prose at 100 columns; SQL stays as it is."""
    if line.startswith("    ") or len(line) <= 100:
        return line
    return textwrap.fill(line, 100, subsequent_indent="  ", break_long_words=False)
