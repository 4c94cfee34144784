"""What a look at one statement cannot see and one at the whole plan can: missing ways back, order, names in use."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from postgast import pg_query_pb2 as pb

from console.commands.plan_found import Found, hazard
from console.commands.plan_names import still_used
from console.commands.plan_uses import ForeignKey, Reads, Use, Uses, uses_of
from console.plan.model import Kind, Leads, Plan, Task
from console.sql.hazards.allow import Accepted, divide
from console.sql.hazards.catalogue import RULES, canonical, near
from console.sql.hazards.rule import Level
from console.sql.model import Hazard, TaskPreview
from console.sql.nodes import columns, inner, quoted, relation, strings, which

_CORRUPTING = range(140000, 140004)  # CREATE INDEX CONCURRENTLY of 14.0 to 14.3 (release notes of 14.4)
IndexesOf = Callable[[Iterable[str]], Mapping[str, list[tuple[str, ...]]]]
_CONTRACT = (Kind.RETIRE, Kind.PURGE)


def plan_hazards(
    plan: Plan, read: Reads, *, server_version: int = 0, indexes_of: IndexesOf | None = None
) -> dict[str, list[Hazard]]:
    """The hazards of each task that only the whole plan shows, by task id.

    ``read`` gives the statements of an SQL task's way forward. ``server_version``: as server_version_num, 0 where no
    database is asked. ``indexes_of``: what the database has of relations that exist.
    """
    found: dict[str, list[Hazard]] = {task.id: [] for task in plan.tasks}
    uses = uses_of(plan, read)
    if indexes_of is not None and uses.foreign_keys:
        for table, indexes in indexes_of(key.table for key in uses.foreign_keys).items():
            uses.indexes.setdefault(table, []).extend(indexes)
            uses.in_database.add(table)
    for rule in _RULES:
        for one in rule(plan, uses):
            if one.hazard not in found[one.task_id]:
                found[one.task_id].append(one.hazard)
    for one in _corrupting(uses, server_version):
        found[one.task_id].append(one.hazard)
    return found


def with_hazards(task: Task, preview: TaskPreview, found: Iterable[Hazard]) -> TaskPreview:
    """The preview with these hazards of the task; what it accepts is taken out, what it accepts in vain is noted."""
    accepted = tuple(Accepted(one.hazard, one.reason) for one in task.allow)
    left, taken = divide(found, accepted)
    inside = {hazard.code for statement in (*preview.up, *preview.down) for hazard in statement.accepted}
    met = inside | {hazard.code for hazard in taken}
    for one in task.allow:
        code = canonical(one.hazard)
        if code not in RULES:
            like = near(one.hazard)
            hint = f" Did you mean {like}?" if like else " pgferry lint --explain lists every code."
            left.append(hazard("ALLOW-UNKNOWN-CODE", f"{task.id} accepts {one.hazard}, which does not exist.{hint}"))
        elif code not in met:
            left.append(hazard("ALLOW-UNUSED", f"{task.id} accepts {one.hazard}, but nothing of it has that."))
    return replace(preview, hazards=tuple(left), accepted=tuple(taken))


def _no_way_back(plan: Plan, uses: Uses) -> Iterator[Found]:
    """A task that changes the database and says neither how it is undone nor why it cannot be."""
    for task in plan.tasks:
        if task.kind is Kind.SQL and not task.irreversible:
            lacks = "no file for the way back" if task.down is None else "an empty way back"
            if task.down is None or not any(_is_sql(line) for line in task.down.text.splitlines()):
                yield Found(
                    task.id,
                    hazard(
                        "NO-WAY-BACK",
                        f"{task.id} has {lacks} and no reason why: a rollback passes over it, or stops there.",
                        f"pgferry new-down {task.file.path if task.file else ''}, then check it; or irreversible ="
                        ' "why" in plan.toml.',
                    ),
                )


def _is_sql(line: str) -> bool:
    """Whether a line of a file holds more than blanks and a comment."""
    text = line.strip()
    return bool(text) and not text.startswith("--")


def _contract_before_validation(plan: Plan, uses: Uses) -> Iterator[Found]:
    """Old tables that are moved away or dropped before every row was compared after the last copy."""
    compared: set[str] = set()
    copied: set[str] = set()
    olds = {str(mapping.old): mapping.id for mapping in plan.mappings}
    dropped = {(use.task.id, gone.name if not gone.table else gone.table) for gone in uses.gone
               if (use := uses.all[gone.at]).task is not None}  # fmt: skip
    for task in plan.tasks:
        if task.kind is Kind.BACKFILL:
            compared -= set(task.mappings)
            copied |= set(task.mappings)
        elif task.kind is Kind.CHECK:
            compared |= set(task.mappings)
        touched = set(task.mappings) if task.kind in _CONTRACT else set()
        touched |= {olds[name] for id_, name in dropped if id_ == task.id and name in olds}
        word = "retires" if task.kind is Kind.RETIRE else "drops"
        for mapping in sorted(touched - compared):
            yield Found(
                task.id,
                hazard(
                    "CONTRACT-BEFORE-VALIDATION",
                    f"{task.id} {word} the old table of {mapping} before any task compared its rows with the new one"
                    + (" since they were copied." if mapping in copied else "."),
                    f'A task of kind "check" with mappings = ["{mapping}"] before {task.id}.',
                ),
            )
        if task.kind is Kind.SWITCH and task.leads is Leads.NEW:
            for mapping in sorted(set(task.mappings) - compared):
                yield Found(
                    task.id,
                    hazard(
                        "SWITCH-BEFORE-VALIDATION",
                        f"Applications are told to use the new table of {mapping} before its rows were compared.",
                        f'A task of kind "check" with mappings = ["{mapping}"] before {task.id}.',
                    ),
                )


def _foreign_keys(plan: Plan, uses: Uses) -> Iterator[Found]:
    """Foreign keys without an index, or between columns of different types."""
    for key in uses.foreign_keys:
        task = uses.all[key.at].task
        if task is None:
            continue
        lead = {frozenset(index[: len(key.columns)]) for index in uses.indexes.get(key.table, ())}
        if frozenset(key.columns) not in lead:
            yield Found(task.id, _unindexed(key, uses))
        yield from _mismatched(task, key, uses)


def _unindexed(key: ForeignKey, uses: Uses) -> Hazard:
    sure = (
        uses.known(key.table)
        or key.table in uses.in_database
        or any(c in uses.columns.get(key.table, {}) for c in key.columns)
    )
    name = quoted("_".join([key.table.rsplit(".", 1)[-1], *key.columns, "idx"]))
    who = (
        "Neither the database nor a file of the plan has"
        if key.table in uses.in_database
        else "No file of the plan makes"
    )
    return hazard(
        "FK-WITHOUT-INDEX",
        f"{who} an index on {key.table} ({', '.join(key.columns)})"
        + (": each" if sure else "; unless the database has one, each")
        + f" DELETE and key UPDATE in {key.target} reads all of {key.table}.",
        f"CREATE INDEX CONCURRENTLY {name} ON {key.table_sql} ({columns(key.columns)});",
        None if sure else Level.NOTE,
    )


def _mismatched(task: Task, key: ForeignKey, uses: Uses) -> Iterator[Found]:
    targets = key.target_columns or next(iter(uses.keys.get(key.target, ())), ())
    for mine, theirs in zip(key.columns, targets, strict=False):
        here = uses.columns.get(key.table, {}).get(mine, "")
        there = uses.columns.get(key.target, {}).get(theirs, "")
        if here and there and _plain_type(here) != _plain_type(there):
            yield Found(
                task.id,
                hazard(
                    "FK-TYPE-MISMATCH",
                    f"{key.table}.{mine} is {here}, {key.target}.{theirs} is {there}: values can outgrow the narrower"
                    " one, and comparisons may not use the index.",
                    f"Give {key.table}.{mine} the type {there}.",
                ),
            )


def _plain_type(text: str) -> str:
    word = text.lower().removeprefix("pg_catalog.")
    same = {
        "serial": "integer", "int": "integer", "int4": "integer", "serial4": "integer", "bigserial": "bigint",
        "int8": "bigint", "serial8": "bigint", "int2": "smallint", "smallserial": "smallint", "character varying":
        "varchar",
    }  # fmt: skip
    return same.get(word, word)


def _never_validated(plan: Plan, uses: Uses) -> Iterator[Found]:
    for (table, constraint), at in uses.unvalidated.items():
        if task := uses.all[at].task:
            yield Found(
                task.id,
                hazard(
                    "NEVER-VALIDATED",
                    f"{constraint} of {table} is added NOT VALID, and no later statement of the plan validates it: rows"
                    " that were there before may break it, and the planner does not trust it.",
                    f"ALTER TABLE {'.'.join(quoted(p) for p in table.split('.'))} VALIDATE CONSTRAINT"
                    f" {quoted(constraint)}; in a later file.",
                ),
            )


def _unbounded(plan: Plan, uses: Uses) -> Iterator[Found]:
    """Changes of rows without a bound, of tables that the plan did not make."""
    for use in uses.all:
        if use.task is None or use.kind not in ("update_stmt", "delete_stmt", "insert_stmt"):
            continue
        stmt = inner(use.node)
        table = relation(stmt.relation)
        source = table if use.kind != "insert_stmt" else _read_whole(stmt, use)
        made = uses.made.get(source)
        if not source or (made is not None and uses.all[made].task is not None):
            continue
        if use.kind != "insert_stmt" and (not which(stmt.where_clause) or _bounded(stmt.where_clause)):
            continue
        verb = {"update_stmt": "changed", "delete_stmt": "removed"}.get(use.kind, "read and inserted")
        yield Found(
            use.task.id,
            hazard(
                "UNBOUNDED-DML",
                f"{use.where}: how many rows of {source} are {verb} in one transaction depends on the data; they stay"
                " locked, and vacuum waits, until it ends.",
                f'A task of kind "backfill", or batches by key: ... WHERE <key of {source}> BETWEEN <from> AND <to>;',
                Level.NOTE if use.kind == "insert_stmt" else None,
            ),
        )


def _read_whole(stmt: Any, use: Use) -> str:
    """The existing table that an INSERT ... SELECT reads without a bound; empty where there is none."""
    select = inner(stmt.select_stmt) if which(stmt.select_stmt) else None
    if not isinstance(select, pb.SelectStmt) or not select.from_clause or which(select.limit_count):
        return ""
    if which(select.where_clause) and _bounded(select.where_clause):
        return ""
    first = inner(select.from_clause[0])
    return relation(first) if isinstance(first, pb.RangeVar) else ""


def _bounded(where: Any) -> bool:
    """Whether a condition names its rows: a column equal to, in, or between constants."""
    node = inner(where)
    if isinstance(node, pb.BoolExpr):
        parts = [_bounded(arg) for arg in node.args]
        return any(parts) if node.boolop == pb.AND_EXPR else bool(parts) and node.boolop == pb.OR_EXPR and all(parts)
    if not isinstance(node, pb.A_Expr) or not isinstance(inner(node.lexpr), pb.ColumnRef):
        return False
    column = strings(inner(node.lexpr).fields)[-1:] or [""]
    if not _is_key(column[0]):
        return False
    if node.kind == pb.AEXPR_OP:
        return strings(node.name) == ["="] and _constant(node.rexpr)
    if node.kind in (pb.AEXPR_IN, pb.AEXPR_BETWEEN):
        return all(_constant(item) for item in inner(node.rexpr).items)
    return False


def _is_key(column: str) -> bool:
    """Whether the name says that few rows share a value. The catalogue is not asked: a lint has none."""
    return not column.endswith(("status", "state", "type", "kind")) and not column.startswith(("is_", "has_"))


def _constant(node: Any) -> bool:
    value = inner(node)
    while isinstance(value, pb.TypeCast):
        value = inner(value.arg)
    return isinstance(value, pb.A_Const)


def _corrupting(uses: Uses, server_version: int) -> Iterable[Found]:
    """Concurrent builds on a server whose release breaks them."""
    if server_version not in _CORRUPTING:
        return
    for use in uses.all:
        if use.task is not None and use.kind in ("index_stmt", "reindex_stmt") and "concurrently" in use.words:
            yield Found(
                use.task.id,
                hazard(
                    "CONCURRENT-BUILD-CORRUPTS",
                    f"{use.where}: the server is 14.{server_version % 100}, where rows written during a concurrent build"
                    " can be missing from the index.",
                    "Update the server to 14.4 or later first.",
                ),
            )


_RULES: tuple[Callable[[Plan, Uses], Iterator[Found]], ...] = (
    _no_way_back,
    _contract_before_validation,
    _foreign_keys,
    _never_validated,
    still_used,
    _unbounded,
)
