"""Names that a plan drops or renames while something of it still uses them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import dropwhile
from typing import Any

from postgast import pg_query_pb2 as pb

from console.commands.plan_found import Found, hazard
from console.commands.plan_uses import Gone, Use, Uses
from console.plan.model import Plan, Task
from console.sql.nodes import inner, plain_name, relation, strings


def still_used(plan: Plan, uses: Uses) -> Iterator[Found]:
    """Names that are dropped or renamed while something of the plan still uses them."""
    for gone in uses.gone:
        task = uses.all[gone.at].task
        if task is None:
            continue
        users = list(dict.fromkeys([*_later_uses(gone, uses), *_bodies(gone, uses), *_mappings(plan, task, gone)]))
        if users:
            what = f"the column {gone.name} of {gone.table}" if gone.table else gone.name
            verb = "renamed" if gone.renamed else "dropped"
            yield Found(
                task.id,
                hazard(
                    "NAME-STILL-USED",
                    f"{what} is {verb} in {uses.all[gone.at].where}, but still used by {_some(users)}.",
                    "Change those first, in an earlier task; drop or rename it last.",
                ),
            )


def _some(users: list[str]) -> str:
    return ", ".join(users[:3]) + (f" and {len(users) - 3} more" if len(users) > 3 else "")


def _later_uses(gone: Gone, uses: Uses) -> Iterator[str]:
    """Later statements that name it, until one makes it again."""
    for use in uses.after(gone):
        if use.node is None:
            continue
        if _makes(use, gone):
            return
        if not _names(use, gone):
            continue
        if not _tolerant(use):
            yield use.where


def _names(use: Use, gone: Gone) -> bool:
    """Whether a statement that holds the word means this name by it."""
    if gone.called:
        return re.search(rf"\b{re.escape(gone.bare)}\s*\(", use.sql, re.IGNORECASE) is not None
    table = (gone.table or gone.name).rsplit(".", 1)[-1].lower()
    if table not in use.words:
        return False
    tables = use.statement.tables if use.statement else ()
    wanted = gone.table or gone.name
    return wanted in tables or use.kind in ("create_function_stmt", "view_stmt", "do_stmt")


def _makes(use: Use, gone: Gone) -> bool:
    """Whether the statement gives the name again."""
    stmt = inner(use.node)
    if gone.table:
        added = use.kind == "alter_table_stmt" and relation(stmt.relation) == gone.table
        names = [inner(getattr(inner(c), "def")).colname for c in stmt.cmds
                 if inner(c).subtype == pb.AT_AddColumn] if added else []  # fmt: skip
        renamed = use.kind == "rename_stmt" and relation(stmt.relation) == gone.table and stmt.newname == gone.name
        return gone.name in names or renamed or _made(use, stmt) == gone.table
    renamed = use.kind == "rename_stmt" and stmt.newname == gone.name.rsplit(".", 1)[-1]
    return renamed or _made(use, stmt) == gone.name


def _made(use: Use, stmt: Any) -> str:
    match use.kind:
        case "create_stmt":
            return relation(stmt.relation)
        case "view_stmt":
            return relation(stmt.view)
        case "create_table_as_stmt":
            return relation(stmt.into.rel)
        case "create_function_stmt":
            return plain_name(strings(stmt.funcname))
    return ""


def _tolerant(use: Use) -> bool:
    """DROP ... IF EXISTS of what is gone is no use of it."""
    return use.kind == "drop_stmt"


def _bodies(gone: Gone, uses: Uses) -> Iterator[str]:
    """Functions and triggers that stand there and name it; views follow a rename, and hold a drop up."""
    table = gone.table.rsplit(".", 1)[-1].lower()
    for name, use in gone.bodies:
        if name == gone.name or (gone.renamed and use.kind != "create_function_stmt"):
            continue
        if (not table or table in use.words) and not _dropped_later(name, gone.at, uses):
            yield f"{name} ({use.where})"


def _dropped_later(name: str, at: int, uses: Uses) -> bool:
    """Whether the same task goes on to drop or replace the body: then it was its to break."""
    task = uses.all[at].task
    for number in range(at + 1, len(uses.all)):
        use = uses.all[number]
        if use.task is not task:
            return False
        if _made(use, inner(use.node)) == name if use.node is not None else False:
            return True
        if any(gone.at == number and gone.name == name for gone in uses.gone):
            return True
    return False


def _mappings(plan: Plan, task: Task, gone: Gone) -> Iterator[str]:
    """Later tasks whose mapping reads or writes the relation or its column."""
    if not plan.mappings:
        return
    for one in [
        one for one in dropwhile(lambda one: one.id != task.id, plan.tasks) if one.mappings and one is not task
    ]:
        for mapping in (plan.mapping(id_) for id_ in one.mappings):
            names = {str(mapping.old), str(mapping.new), *(str(lookup.relation) for lookup in mapping.lookups)}
            wanted = gone.table or gone.name
            if wanted not in names:
                continue
            old, new = (
                set(mapping.old_key) | {c for c, _ in mapping.back},
                set(mapping.new_key) | {c for c, _ in mapping.columns},
            )
            held = old if wanted == str(mapping.old) else new if wanted == str(mapping.new) else set()
            if not gone.table or gone.name in held:
                yield f"mapping {mapping.id} in task {one.id}"
