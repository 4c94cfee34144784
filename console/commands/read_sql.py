"""Commands that only read files: print a plan, derive a way back. No database is needed."""

from __future__ import annotations

from pathlib import Path

from console.commands.lint import read_text
from console.commands.operate import out
from console.errors import UsageError
from console.plan.formats.forward import forward_part, way_back_of
from console.sql.inverse import way_back
from console.sql.split import split


def new_down(path: Path) -> int:
    """Write the derived way back of an SQL file where its tool looks for it, for its author to check.

    Of a file that holds both ways it is printed: such a file is never written.
    """
    source = forward_part(str(path), read_text(path))
    goal = way_back_of(path)
    if goal.exists() and not source.part:
        raise UsageError(f"{goal} exists already.", state="Nothing was written.")
    lines = [f"-- Derived from {path.name}: read it before you trust it."]
    pieces = split(source.text, str(path), source.transactions)
    one_block = (
        bool(pieces) and not source.part and pieces[0].group is not None and len({piece.group for piece in pieces}) == 1
    )
    lines += ["BEGIN;"] * one_block
    for piece in reversed(pieces):
        back = way_back(piece.sql)
        if back.assumes:
            lines.append(f"-- line {piece.line}: right if {back.assumes}")
        if back.why_not:
            lines.append(f"-- line {piece.line}: no way back could be derived for {piece.kind}: {back.why_not}")
        elif back.sql:
            lines.append(back.sql)
    lines += ["COMMIT;"] * one_block
    if source.part:
        out("\n".join(lines))
        return 0
    try:
        goal.parent.mkdir(exist_ok=True)  # Sqitch's revert/
        goal.write_text("\n".join(lines) + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{goal} cannot be written: {error.strerror}.", state="Nothing was written.") from None
    out(str(goal))
    return 0
