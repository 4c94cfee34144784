"""What stands on the new table when a copy runs, and what the other order would cost."""

from __future__ import annotations

import re
from collections.abc import Callable

from console.journal.connect import Conn
from console.plan.model import Kind, Plan, SourceFile, TableName, Task
from console.sql.model import Statement

# Measured at one million rows, PostgreSQL 18, one foreign key and two indexes beside the primary key: 11.2 s with
# all of them first, 4.0 s without the foreign key, 2.8 s with the primary key alone and the rest made afterwards.
_ALL_FIRST = (
    "4 times as long as with the primary key alone and the rest made afterwards, two thirds of it for the checks"
)
_INDEXES_FIRST = "1.4 times as long as with the primary key alone and the rest made afterwards"


def order_words(
    plan: Plan, task: Task, read: Callable[[SourceFile | None], tuple[Statement, ...]], conn: Conn | None
) -> str:
    """What the copy of a task pays for keys and indexes that are there before it, or is spared."""
    table = plan.mapping(task.mappings[0]).new
    keys, indexes = _planned(plan, task, table, read)
    if conn is not None:
        now_keys, now_indexes = _standing(conn, table)
        keys, indexes = max(keys, now_keys), max(indexes, now_indexes)
    if not keys and not indexes:
        return (
            f"{table} has its key alone then; other indexes and foreign keys come after it. The other order was measured"
            f" (one foreign key, two indexes, a million rows): {_ALL_FIRST}."
        )
    there = " and ".join(
        f"{number} {what}{'s' if number > 1 else ''}"
        for number, what in ((keys, "foreign key"), (indexes, "further index"))
        if number
    ).replace("indexs", "indexes")
    cost = _ALL_FIRST if keys else _INDEXES_FIRST
    return (
        f"{table} has {there} before the copy, and every row pays for them. Measured (a million rows): {cost}."
        " Better: indexes CONCURRENTLY, foreign keys NOT VALID and then VALIDATE, in tasks after the copy."
    )


def _planned(
    plan: Plan, task: Task, table: TableName, read: Callable[[SourceFile | None], tuple[Statement, ...]]
) -> tuple[int, int]:
    """(foreign keys, indexes beside the key) that the plan's statements before the task make on the table."""
    keys = indexes = 0
    for earlier in plan.tasks[: plan.tasks.index(task)]:
        if earlier.kind is not Kind.SQL:
            continue
        for statement in read(earlier.file):
            if statement.kind == "CREATE INDEX" and _names(table) & set(statement.tables):
                indexes += 1
            elif statement.kind in ("CREATE TABLE", "ALTER TABLE") and _is_on(statement.sql, table):
                keys += len(re.findall(r"\bREFERENCES\b", statement.sql, re.IGNORECASE))
    return keys, indexes


def _names(table: TableName) -> set[str]:
    return {table.name, f"{table.schema}.{table.name}"}


def _is_on(sql: str, table: TableName) -> bool:
    """Whether a CREATE TABLE or ALTER TABLE is of this table, and not only refers to it."""
    start = re.match(
        r"\s*(?:CREATE|ALTER)\b.*?\bTABLE\s+(?:IF\s+(?:NOT\s+)?EXISTS\s+|ONLY\s+)*([\w.\"]+)", sql, re.I | re.S
    )
    return start is not None and start.group(1).replace('"', "") in _names(table)


def _standing(conn: Conn, table: TableName) -> tuple[int, int]:
    """(foreign keys, indexes beside one unique one) that the table has now."""
    row = conn.execute(
        "SELECT (SELECT count(*) FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'f'),"
        " greatest((SELECT count(*) FROM pg_index i WHERE i.indrelid = c.oid) - 1, 0)"
        " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relname = %s",
        (table.schema, table.name),
    ).fetchone()
    return (row[0], row[1]) if row else (0, 0)
