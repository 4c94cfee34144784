"""Where the plan shipped with pgferry is."""

from __future__ import annotations

from pathlib import Path

from console.errors import PlanError

_CONSOLE = Path(__file__).resolve().parents[1]


def shipped_plan() -> Path:
    """The directory of the shipped plan: inside an installed package, or beside it in the repository.

    Raises PlanError when this installation has none.
    """
    for place in (_CONSOLE / "shipped" / "migrations", _CONSOLE.parent / "migrations"):
        if (place / "plan.toml").is_file():
            return place
    raise PlanError(
        "The plan shipped with pgferry is missing from this installation.",
        do="Install pgferry again, or name a plan directory.",
    )
