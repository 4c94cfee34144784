"""What every tool's table has in common: how it is found, what is read from it, how it is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from psycopg import sql

from console.engine.derive import table as identifier
from console.errors import Refused, StepFailed
from console.journal.connect import Conn
from console.plan.model import Origin, Plan, TableName, Task

_FIND = """
SELECT n.nspname, c.relname, pg_table_is_visible(c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname = ANY (%s) AND c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
    AND %s::text[] <@ (SELECT array_agg(a.attname::text) FROM pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)
    AND NOT %s::text[] && (SELECT array_agg(a.attname::text) FROM pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)
ORDER BY pg_table_is_visible(c.oid) DESC, n.nspname
"""


@dataclass(frozen=True, slots=True)
class Found:
    """What a tool's table says: applied migrations by task id, each with a few words, and what else is worth saying.

    ``refusal``: why nothing may be applied before somebody looked.
    """

    applied: Mapping[str, str]
    words: Sequence[str] = field(default=())
    refusal: str = ""


class Ledger(Protocol):
    """One tool's table."""

    @property
    def names(self) -> tuple[str, ...]:
        """What the table may be called."""
        ...

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns it must have."""
        ...

    @property
    def without(self) -> tuple[str, ...]:
        """Columns that another tool's table of the same name has."""
        ...

    def read(self, conn: Conn, table: TableName, plan: Plan) -> Found:
        """What is applied."""
        ...

    def record(self, conn: Conn, table: TableName, plan: Plan, task: Task, ms: int) -> bool:
        """Note the task as applied, in the transaction that is open; false if it was noted already."""
        ...

    def forget(self, conn: Conn, table: TableName, plan: Plan, task: Task, ms: int) -> None:
        """Note the task as taken back, in the transaction that is open; nothing if it is not noted as applied."""
        ...


def find(conn: Conn, ledger: Ledger) -> TableName | None:
    """The tool's table in this database. Raises Refused where there are several and none in the search path."""
    rows = conn.execute(_FIND, (list(ledger.names), list(ledger.columns), list(ledger.without))).fetchall()
    if len(rows) > 1 and not rows[0][2]:
        names = ", ".join(f"{schema}.{name}" for schema, name, _ in rows)
        raise Refused(
            f"There is more than one table of the applied migrations ({names}), and none in the search path.",
            state="Nothing was changed.",
            do="Name its schema: --dsn \"... options='-c search_path=SCHEMA'\".",
        )
    return TableName(rows[0][0], rows[0][1]) if rows else None


def run(conn: Conn, query: str, table: TableName, args: Sequence[Any] = ()) -> int:
    """Execute ``query`` with ``{}`` as the table; how many rows it changed."""
    return conn.execute(_on(query, table), args).rowcount


def rows(conn: Conn, query: str, table: TableName, args: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """The rows of ``query`` with ``{}`` as the table."""
    return conn.execute(_on(query, table), args).fetchall()


def _on(query: str, table: TableName) -> sql.Composed:
    return sql.SQL(query).format(identifier(table))  # our own constants, never data


def origin_of(task: Task) -> Origin:
    """The migration as its own tool knows it."""
    assert task.origin is not None
    return task.origin


def strangers(table: TableName, names: Sequence[str]) -> list[str]:
    """One sentence on applied migrations that have no file here; none where there are none."""
    if not names:
        return []
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return [f"{table} knows migrations that have no file here: {', '.join(names[:5])}{more}."]


def meanwhile(table: TableName, task: Task) -> StepFailed:
    """The error for a migration that somebody else applied since the run began."""
    return StepFailed(
        f"{table} says that {task.id} was applied by another tool meanwhile.",
        state="What it did here was rolled back.",
        do="Let only one tool work at a time; roll this run back to before the task, or start anew.",
    )
