"""A session without a lease: it looks at any time, beside a runner or without one, and writes no run's state."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg

from console.engine.session import Session, Wishes
from console.journal import comparisons, events, runs, schema
from console.journal.connect import Conn, connect
from console.journal.lease import Fence
from console.plan.model import Mapping, Plan

PATIENCE_S = 15.0  # a command says soon that the server is gone


@dataclass
class Visitor(Session):
    """A command's session. ``run_id`` is the newest run's, whose audit it adds to, 0 without one."""

    journal: bool = False  # the journal is there and this role may add to it
    say: Callable[[str], None] | None = None  # hears of long waits

    def event(self, kind: str, text: str, *, task_id: str = "", actor: str = "", **data: Any) -> None:
        """Write a line to the newest run's audit log; without a run, or without the right to, nothing."""
        if kind == "lock" and self.say is not None:
            self.say(text)
        if self.run_id and self.journal:
            events.append(self.conn, self.run_id, kind, text, actor=actor or self.operator, task_id=task_id, **data)


def visit(plan: Plan, conninfo: str, operator: str, *, patience_s: float = PATIENCE_S) -> Visitor:
    """Connect and see what is there. Raises ConnectionFailed at once: a command does not wait for a server."""
    connect(conninfo, application_name="pgferry check", read_only=True).close()
    visitor = Visitor(plan, conninfo, 0, Fence(0, 0), operator, Wishes(), patience_s)
    conn = visitor.conn
    with contextlib.suppress(psycopg.errors.InsufficientPrivilege):  # whoever needs the journal is told then
        visitor.journal = schema.installed(conn) and comparisons.may_save(conn)
    if visitor.journal:
        run = runs.latest(conn, plan.id)
        visitor.run_id = run.id if run else 0
    return visitor


def may_carry(conn: Conn, mapping: Mapping, function: str) -> bool:
    """Whether a function of the mapping's sync (``touch_old``, ``backward``) is there and this role may call it."""
    row = conn.execute(
        "SELECT count(*) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = 'pgferry'"
        " AND p.proname = %s AND has_function_privilege(p.oid, 'EXECUTE')",
        (f"{mapping.id}_{function}",),
    ).fetchone()
    return bool(row and row[0])
