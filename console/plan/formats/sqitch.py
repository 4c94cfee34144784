"""Sqitch: sqitch.plan in order, with deploy, revert and verify scripts; a reworked change keeps its old scripts.

Scripts go through psql and carry their own BEGIN and COMMIT. A verify script fails by an error and is rolled back.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace

from console.plan.formats.base import Folder, Ids, Layout, Migration, Reading, left_out, way_back
from console.plan.formats.sqitch_ids import entries
from console.plan.formats.sqitch_plan import Change, Need, SqitchPlan, parse, resolve
from console.plan.model import Origin
from console.plan.source import suggestion

_SECTION = re.compile(r"\[([^\]\"\s]+)(?:\s+\"([^\"]*)\")?\]")
_VALUE = re.compile(r"(\w+)\s*=\s*(.*?)\s*")
_SERVERS = ("pg", "cockroach", "yugabyte")


@dataclass(frozen=True, slots=True)
class _Config:
    """Where sqitch.conf says that the scripts are; paths relative to the directory."""

    plan: str
    deploy: str
    revert: str
    verify: str
    extension: str


def example(folder: Folder) -> str:
    """A file of this layout."""
    return next((name for name in ("sqitch.plan", "sqitch.conf") if name in folder.names), "")


def read(folder: Folder) -> Reading:
    """Every change in the order of the plan."""
    config = _config(folder)
    if config.plan not in folder.names:
        raise folder.fault("The file does not exist.", config.plan, do="Name the directory of the Sqitch project.")
    plan = parse(folder, config.plan)
    ids = Ids()
    names = [ids.make(change.name) for change in plan.changes]
    notes: list[str] = []
    made = [_migration(folder, config, plan, change, names, notes) for change in plan.changes]
    kept = entries(plan)
    made = [
        replace(one, origin=replace(one.origin, version=entry.line.id, registry=entry))
        for one, entry in zip(made, kept, strict=True)
    ]
    used = set(folder.read_files)
    roots = tuple(f"{path}/" for path in (config.deploy, config.revert, config.verify))
    strange = [name for name in folder.names if name.startswith(roots) and name not in used]
    return Reading(tuple(made), (*notes, *left_out(strange, "scripts of no change in the plan")), plan.project)


def _config(folder: Folder) -> _Config:
    """The part of sqitch.conf that says where things are. Raises PlanError for another database."""
    core: dict[str, str] = {}
    if "sqitch.conf" in folder.names:
        section = ""
        for number, text in enumerate(folder.read("sqitch.conf").text.splitlines(), 1):
            line = text.split("#")[0].split(";")[0].strip()
            if head := _SECTION.fullmatch(line):
                section = head.group(1).lower() if not head.group(2) else ""
            elif section == "core" and (value := _VALUE.fullmatch(line)):
                core[value.group(1).lower()] = value.group(2).strip('"')
                if value.group(1).lower() == "engine" and core["engine"] not in _SERVERS:
                    raise folder.fault(
                        f"This project is for {core['engine']}.", "sqitch.conf", number,
                        do="Name a project for PostgreSQL.",
                    )  # fmt: skip
    top = core.get("top_dir", ".")

    def place(key: str, name: str) -> str:
        path = core.get(key) or (name if top in (".", "") else f"{top}/{name}")
        return path.removeprefix("./").rstrip("/")

    return _Config(
        place("plan_file", "sqitch.plan"),
        place("deploy_dir", "deploy"),
        place("revert_dir", "revert"),
        place("verify_dir", "verify"),
        core.get("extension", "sql"),
    )


def _migration(
    folder: Folder, config: _Config, plan: SqitchPlan, change: Change, ids: list[str], notes: list[str]
) -> Migration:
    depends = []
    for need in change.needs:
        found = _met(folder, config, plan, change, need, notes)
        if found is not None and ids[found.index] not in depends:
            depends.append(ids[found.index])
    name = _script_name(folder, config, change)
    deploy = f"{config.deploy}/{name}"
    if deploy not in folder.names:
        raise folder.fault(
            f"The change {change.name} has no script {deploy}.", config.plan, change.line, do="Write it."
        )
    revert, verify = f"{config.revert}/{name}", f"{config.verify}/{name}"
    back = folder.read(revert) if revert in folder.names else None
    down, why = way_back(back, f"{revert} does not exist")
    return Migration(
        ids[change.index],
        change.by.note or change.name,
        folder.read(deploy),
        down,
        why,
        Origin("", change.name, deploy, _sha1(folder, deploy)),
        folder.read(verify) if verify in folder.names else None,
        tuple(depends),
    )


def _sha1(folder: Folder, name: str) -> str:
    """Sqitch's hash of a deploy script: of its bytes, which are the text's."""
    return hashlib.sha1(folder.read(name).text.encode("utf-8"), usedforsecurity=False).hexdigest()


def _script_name(folder: Folder, config: _Config, change: Change) -> str:
    """NAME.sql, or NAME@TAG.sql for a change that was reworked after that tag."""
    if change.reworked:
        tagged = [f"{change.name}@{tag}.{config.extension}" for tag in change.tags]
        return next((name for name in tagged if f"{config.deploy}/{name}" in folder.names), tagged[0])
    return f"{change.name}.{config.extension}"


def _met(
    folder: Folder, config: _Config, plan: SqitchPlan, change: Change, need: Need, notes: list[str]
) -> Change | None:
    """The change that is needed; None for one of another project. Raises PlanError for one that is not before."""
    if need.project and need.project != plan.project:
        notes.append(f"{change.name} needs {need.text} of another project: that is not looked at.")
        return None
    found = resolve(plan, change, need)
    if need.conflicts:
        if found is not None:
            raise folder.fault(
                f"{change.name} conflicts with {found.name}, which stands before it.", config.plan, change.line,
                do="Remove one of them from the plan.",
            )  # fmt: skip
        return None
    if found is None:
        known = [one.name for one in plan.changes[: change.index]]
        raise folder.fault(
            f"{change.name} needs {need.text}, which does not stand before it.", config.plan, change.line,
            do=suggestion(need.change or need.tag, known, none="Move it below what it needs."),
        )  # fmt: skip
    return found


LAYOUT = Layout("sqitch", "Sqitch", "BEGIN and COMMIT in the script; else each statement alone", example, read)
