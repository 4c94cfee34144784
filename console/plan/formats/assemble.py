"""A directory of migrations as a plan of one phase."""

from __future__ import annotations

from pathlib import Path

from console.errors import PlanError
from console.plan.digest import layout_said, plan_sha256
from console.plan.formats.base import Folder, Ids, Layout, Migration, Reading
from console.plan.formats.detect import detect
from console.plan.model import Check, Doc, Kind, Phase, Plan, Severity, SourceFile, Task

PHASE = "migrations"
_VERIFY = "verify."


def read_migrations(directory: Path, wanted: str = "") -> Plan:
    """The directory as a plan; ``wanted`` names the layout, else it is found out. Raises PlanError."""
    folder = Folder(directory)
    layout = detect(folder, wanted)
    reading = layout.read(folder)
    if not reading.migrations:
        raise PlanError(f"There is no migration of {layout.tool} in {directory}.", do="Name another directory.")
    return _plan(folder, layout, reading)


def _plan(folder: Folder, layout: Layout, reading: Reading) -> Plan:
    ids = Ids()
    for migration in reading.migrations:
        ids.make(migration.id)
    phase = ids.make(PHASE)
    checks = tuple(_check(one, phase) for one in reading.migrations if one.verify is not None)
    notes = (f"{len(reading.migrations):,} migrations in the layout of {layout.tool}: {layout.rule}.", *reading.notes)
    files = tuple(folder.read_files[name] for name in sorted(folder.read_files))
    name = reading.project or folder.root.name
    return Plan(
        id=Ids().make(f"{layout.name}-{name}"),
        title=f"{layout.tool}: {name}",
        root=folder.root,
        server_min=13,
        server_max=18,
        archive_schema="pgferry_archive",
        baseline=None,
        phases=(Phase(phase, "Migrations", "", "", "", "", tuple(_task(one, phase) for one in reading.migrations)),),
        mappings=(),
        checks=checks,
        docs=(Doc("reading", "How these migrations are read", _page(layout, reading, notes)),),
        demo=None,
        files=files,
        sha256=_digest(layout, files),
        layout=layout.name,
        project=reading.project,
        notes=notes,
    )


def _digest(layout: Layout, files: tuple[SourceFile, ...]) -> str:
    """Of the files, and of how they are read."""
    return plan_sha256((*files, layout_said(layout.name)))


def _task(migration: Migration, phase: str) -> Task:
    return Task(
        id=migration.id,
        title=migration.title,
        kind=Kind.SQL,
        minutes=0,
        phase=phase,
        depends=migration.depends,
        guards=(_VERIFY + migration.id,) if migration.verify is not None else (),
        irreversible=migration.no_way_back,
        file=migration.up,
        down=migration.down,
        origin=migration.origin,
    )


def _check(migration: Migration, phase: str) -> Check:
    assert migration.verify is not None
    return Check(
        id=_VERIFY + migration.id,
        title=f"{migration.id} is as its verify script says",
        phase=phase,
        severity=Severity.ERROR,
        file=migration.verify.path,
        line=1,
        sql=migration.verify.text,
        expect="no error",
        script=True,
    )


def _page(layout: Layout, reading: Reading, notes: tuple[str, ...]) -> str:
    without = [one for one in reading.migrations if one.no_way_back]
    lines = ["# How these migrations are read", "", *(f"- {note}" for note in notes)]
    if without:
        lines += ["", "## Without a way back", ""]
        lines += [f"- `{one.id}`: {one.no_way_back}" for one in without]
    return "\n".join(lines) + "\n"
