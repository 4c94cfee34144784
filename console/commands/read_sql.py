"""Commands that only read files: print a plan, lint SQL, derive a way back. No database is needed."""

from __future__ import annotations

from pathlib import Path

from console.commands.operate import out, the_plan
from console.commands.previews import Previews
from console.commands.settings import Settings
from console.errors import PlanError, UsageError
from console.headless.plan_text import plan_json, plan_markdown, plan_text
from console.headless.words import safe
from console.journal.connect import connect
from console.sql.analyse import read_file
from console.sql.inverse import inverse
from console.sql.lint import lint_json
from console.sql.model import Statement
from console.sql.split import split


def show_plan(settings: Settings, output: str, *, with_database: bool) -> int:
    """Print the whole plan: every statement, its locks and hazards, its way back."""
    plan = the_plan(settings)
    conn = (
        connect(settings.dsn, application_name="pgferry plan", read_only=True, statement_timeout="30s")
        if with_database
        else None
    )
    try:
        previews = Previews(plan, conn).all()
    finally:
        if conn is not None:
            conn.close()
    if output == "json":
        out(plan_json(plan, previews))
    else:
        out(plan_markdown(plan, previews) if output == "markdown" else plan_text(plan, previews))
    return 0


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise PlanError("it is not UTF-8 text", file=str(path), do="Convert it to UTF-8.") from None


def lint(files: list[Path], server_major: int, output: str) -> int:
    """Print what each statement locks and risks; exit code 1 on a hazard that the file does not allow."""
    found: list[Statement] = []
    for path in files:
        found += read_file(_read(path), str(path), server_major=server_major)
    if output == "json":
        out(lint_json(found))
    else:
        for statement in found:
            locks = ", ".join(f"{lock.mode} on {lock.object} ({lock.basis})" for lock in statement.locks) or "no locks"
            out(safe(f"{statement.file}:{statement.line}: {statement.kind}: {locks}; {statement.blocks}"))
            for hazard in statement.hazards:
                out(safe(f"    {hazard.code}: {hazard.message}"))
                if hazard.safer:
                    form = safe(hazard.safer, keep_newlines=True).splitlines()
                    out("        safer: " + "\n               ".join(form))
    return int(any(statement.hazards for statement in found))


def new_down(path: Path) -> int:
    """Write the derived way back of an SQL file beside it, for its author to check."""
    goal = path.with_name(f"{path.stem}.down.sql")
    if goal.exists():
        raise UsageError(f"{goal} exists already.", state="Nothing was written.")
    lines = [f"-- Derived from {path.name}: read it before you trust it."]
    for piece in reversed(split(_read(path), str(path))):
        back = inverse(piece.sql)
        lines.append(
            f"{back.rstrip(';')};" if back else f"-- line {piece.line}: no way back could be derived for: {piece.kind}"
        )
    try:
        goal.write_text("\n".join(lines) + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{goal} cannot be written: {error.strerror}.", state="Nothing was written.") from None
    out(str(goal))
    return 0
