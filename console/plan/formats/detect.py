"""Which layout a directory has: by its files' names and marks, or as the user says."""

from __future__ import annotations

from console.errors import PlanError
from console.plan.formats import dbmate, diesel, flyway, golang_migrate, goose, plain, prisma, sqitch
from console.plan.formats.base import Folder, Layout

LAYOUTS: dict[str, Layout] = {
    module.LAYOUT.name: module.LAYOUT
    for module in (flyway, golang_migrate, dbmate, goose, sqitch, diesel, prisma, plain)
}
_USUAL = ("migrations", "db/migrations", "migration", "db/migrate", "prisma/migrations", "sql")


def detect(folder: Folder, wanted: str = "") -> Layout:
    """The layout of the directory, or the ``wanted`` one. Raises PlanError when it is none, or more than one."""
    if wanted:
        return LAYOUTS[wanted]
    found = [(layout, example) for layout in LAYOUTS.values() if (example := layout.example(folder))]
    if len(found) == 1:
        return found[0][0]
    where = str(folder.directory)
    if found:
        examples = ", ".join(f"{name} is {layout.tool}'s" for layout, name in found)
        names = " or ".join(f"--layout {layout.name}" for layout, _ in found)
        raise PlanError(f"{where} could be read in more than one way: {examples}.", do=f"Say which: {names}.")
    below = next((path for path in _USUAL if any(name.startswith(f"{path}/") for name in folder.names)), "")
    tools = ", ".join(layout.tool for layout in LAYOUTS.values())
    raise PlanError(
        f"There is no plan.toml in {where}, and no migrations in a layout known here ({tools}).",
        file=str(folder.directory / "plan.toml"),
        do=f"Did you mean {where.rstrip('/')}/{below}?" if below else "Name a directory of one, or write a plan: init.",
    )
