"""Prepares the demo's database: the plan's baseline, then generated rows."""

from __future__ import annotations

from typing import Any

import psycopg

from console.demo.generate import Progress, first_line, generate
from console.errors import FerryError, PlanError
from console.plan.model import Plan

_USER_TABLES = (
    "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pgferry')"
    " AND n.nspname NOT LIKE 'pg\\_t%'"
)


def prepare(plan: Plan, conninfo: str, rows: int, progress: Progress = lambda text: None) -> bool:
    """Make the baseline in an empty database and fill it; ``progress`` is told what happens, in words.

    A database that holds tables already, of an earlier demo that was kept, is left as it is: then False.
    Raises PlanError when the plan has no baseline or demo, FerryError when its SQL fails.
    """
    if plan.baseline is None or plan.demo is None:
        raise PlanError(
            "the plan cannot be tried: it names no baseline or no demo",
            file="plan.toml",
            do="Add [paths] baseline and [demo] generate and traffic to it.",
        )
    with psycopg.connect(conninfo, autocommit=True) as conn:
        if _has_tables(conn):
            progress("rows of an earlier demo are there")
            return False
        progress("baseline")
        try:
            conn.execute(plan.baseline.text)
        except psycopg.Error as error:
            raise FerryError(
                f"The baseline {plan.baseline.path} failed: {first_line(error)}.",
                state="The database is empty, as it was.",
                do="Mend the file and start again.",
            ) from error
        generate(conn, plan.demo, rows, progress)
        # Hint bits and the visibility map, as in a database that has been running for a while.
        progress("vacuum")
        conn.execute("VACUUM")
    return True


def _has_tables(conn: psycopg.Connection[Any]) -> bool:
    row = conn.execute(_USER_TABLES).fetchone()
    return bool(row and row[0])
