"""Rows that go with what a way back drops or empties: those that the plan itself wrote, and those that others did.

So do the values of a column that it drops. The second kind is lost: no statement of the plan brings it back. A table
counts as written by the plan when one of its statements, or one of its check programs, writes rows into it outside of a
function that applications call.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any

import postgast
import psycopg
from google.protobuf.message import DecodeError
from postgast import pg_query_pb2 as pb
from psycopg import sql

from console.errors import StepFailed
from console.journal.connect import Conn
from console.journal.state import RowsAtRisk
from console.plan.model import Plan, SourceFile, Task
from console.sql.analyse import read_file
from console.sql.drops import object_name
from console.sql.facts import Known
from console.sql.grammar import TooDeep, parse
from console.sql.nodes import inner, plain_name, relation, which

COUNTED = 10_000  # rows that are counted one by one; beyond, the server's statistics are asked
COUNT_TIMEOUT = "2s"
_WRITES = ("ROW EXCLUSIVE",)
_FILLED = ("CREATE TABLE AS", "SELECT INTO")
_NO_WRITE = ("CREATE FUNCTION", "CREATE PROCEDURE", "CREATE TRIGGER", "CREATE VIEW", "CREATE RULE")
_INSERT = re.compile(r"\b(?:INSERT\s+INTO|COPY)\s+(?:ONLY\s+)?\"?(?:public\"?\.\"?)?([A-Za-z_]\w*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Going:
    """A table whose rows, or a column whose values, a task's way back takes away."""

    task_id: str
    table: str
    column: str = ""


def going(tasks: Iterable[Task], carried: Iterable[str] = ()) -> tuple[Going, ...]:
    """What the ways back drop or empty, each once, without the tables whose rows are ``carried`` first."""
    seen = {(table, "") for table in carried}
    found = []
    for task in tasks:
        for table, column in _emptied(task.down) if task.down else ():
            if (table, column) not in seen:
                seen.add((table, column))
                found.append(Going(task.id, table, column))
    tables = {one.table for one in found if not one.column}
    return tuple(one for one in found if not one.column or one.table not in tables)


def _emptied(file: SourceFile) -> list[tuple[str, str]]:
    try:
        trees = parse(file.text)
    except (postgast.PgQueryError, DecodeError, TooDeep):
        return []
    return [name for tree in trees for name in _taken(tree.stmt)]


def _taken(node: Any) -> list[tuple[str, str]]:
    """(table, column or nothing) of each thing whose rows or values the statement takes away."""
    stmt = inner(node)
    match which(node):
        case "drop_stmt" if stmt.remove_type == pb.OBJECT_TABLE:
            return [(plain_name(object_name(one)), "") for one in stmt.objects]
        case "truncate_stmt":
            return [(relation(inner(one)), "") for one in stmt.relations]
        case "delete_stmt" if not which(stmt.where_clause) and not stmt.using_clause:
            return [(relation(stmt.relation), "")]
        case "alter_table_stmt":
            parts = [inner(one) for one in stmt.cmds]
            return [(relation(stmt.relation), one.name) for one in parts if one.subtype == pb.AT_DropColumn]
    return []


@lru_cache(maxsize=4)
def own_tables(plan: Plan) -> frozenset[str]:
    """The tables into which the plan itself writes rows."""
    known = Known(server_major=plan.server_max)
    names: set[str] = set()
    for task in plan.tasks:
        names |= _written(task.file, known) if task.file else set()
    places = {str(PurePosixPath(check.file).parent) for check in plan.checks if check.program}
    for file in plan.files:
        if file.path.endswith(".py") and any(file.path.startswith(f"{place}/") for place in places):
            names |= set(_INSERT.findall(file.text))
    return frozenset(names)


def _written(file: SourceFile, known: Known) -> set[str]:
    found = read_file(file.text, file.path, transactions=file.transactions, known=known, second_reader=False)
    return {
        name
        for one in found
        if not one.kind.startswith(_NO_WRITE)
        for name in (k.object for k in one.locks if k.mode in _WRITES or (k.new and one.kind in _FILLED))
    }


def rows_of(conn: Conn, found: Iterable[Going], plan: Plan) -> tuple[tuple[RowsAtRisk, ...], tuple[RowsAtRisk, ...]]:
    """(rows of others, rows of the plan's own) that would go now; tables that are empty or gone are left out."""
    others: list[RowsAtRisk] = []
    own: list[RowsAtRisk] = []
    for one in found:
        rows, exact, why = _count(conn, one)
        if rows == 0 and exact:
            continue
        mine = one.table in own_tables(plan)
        words = "this plan fills it" if mine else f"undoing {one.task_id} drops them, and this plan did not write them"
        (own if mine else others).append(RowsAtRisk(one.table, rows, exact, f"{words}{why}", column=one.column))
    return tuple(others), tuple(own)


def _count(conn: Conn, one: Going) -> tuple[int | None, bool, str]:
    """(rows, or values of the column that are no default, whether counted one by one, what is to be added in words): never long, and no wait behind a lock."""
    name = sql.Identifier(*one.table.split("."))
    try:
        with conn.transaction():
            conn.execute(sql.SQL("SET LOCAL statement_timeout = {}").format(sql.Literal(COUNT_TIMEOUT)))
            row = conn.execute(
                "SELECT greatest(reltuples, 0)::bigint FROM pg_class c WHERE oid = to_regclass(%s) AND relkind IN ('r', 'p')"
                " AND (%s = '' OR EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND attname = %s"
                " AND NOT atthasdef AND attidentity = ''))",
                (name.as_string(None), one.column, one.column),
            ).fetchone()
            if row is None:
                return 0, True, ""
            where = sql.SQL("WHERE {} IS NOT NULL").format(sql.Identifier(one.column)) if one.column else sql.SQL("")
            counted = conn.execute(
                sql.SQL("SELECT count(*) FROM (SELECT FROM {} {} LIMIT {}) s").format(
                    name, where, sql.Literal(COUNTED + 1)
                )
            ).fetchone()
    except (psycopg.errors.QueryCanceled, psycopg.errors.LockNotAvailable):
        return None, False, f"; they could not be counted within {COUNT_TIMEOUT}"
    except psycopg.errors.InsufficientPrivilege:
        return None, False, "; this role may not read them"
    assert counted is not None
    if counted[0] <= COUNTED:
        return counted[0], True, ""
    return max(0 if one.column else row[0], COUNTED), False, "; more than were counted" if one.column else ""


def in_words(risk: RowsAtRisk) -> str:
    """The rows as a phrase: ``about 1,200,000 rows of t``, ``3 values of t.c``."""
    what, where = ("value", f"{risk.table}.{risk.column}") if risk.column else ("row", risk.table)
    if risk.rows is None:
        return f"{what}s of {where}"
    about = "" if risk.exact else "at least " if risk.column else "about "
    return f"{about}{risk.rows:,} {what}{'' if risk.rows == 1 else 's'} of {where}"


def refuse_loss(conn: Conn, plan: Plan, task: Task, *, accept: bool) -> str:
    """What goes with the task's way back and was not the plan's, in words. Raises StepFailed unless it was accepted.

    By then the tables of mappings are empty, but for what was written to them since.
    """
    others, _ = rows_of(conn, going((task,)), plan)
    lost = "; ".join(in_words(risk) for risk in others)
    if lost and not accept:
        raise StepFailed(
            f"Undoing {task.id} would drop {lost}, which this plan did not write.",
            state="Nothing of it was undone.",
            do="Save those rows, or roll back again and type the database's name to accept the loss.",
        )
    return lost
