"""``pgferry approve``: who approved exactly which files, in the journal where the role may, else in a file beside the plan."""

from __future__ import annotations

import os
from dataclasses import dataclass

from console.commands.approving import record
from console.commands.operate import out, the_plan
from console.commands.settings import Settings
from console.errors import PlanError, Refused, UsageError
from console.headless.words import safe, to_json
from console.journal import admission, approvals
from console.journal.connect import Conn, connect, in_a_sentence
from console.plan.approval import Person, Standing, Wanted, sentences
from console.plan.model import Plan

PLACES = ("PGHOST", "PGHOSTADDR", "PGSERVICE", "PGDATABASE")  # any of them set: libpq's environment names a database


@dataclass(frozen=True, slots=True)
class Wish:
    """The command's words. ``sha256``: the first digits of the only digest to approve; ``role``: whom to grant it."""

    comment: str = ""
    withdraw: bool = False
    sha256: str = ""
    to_file: bool = False
    look: bool = False
    role: str = ""
    output: str = "text"


def approve(settings: Settings, wish: Wish) -> int:
    """Record, withdraw, or only look (exit code 5 where approvals are missing); or let a role record approvals."""
    if wish.role:
        return _grant(settings, wish.role)
    plan = the_plan(settings)
    wanted = wish.sha256.replace(" ", "").lower()
    if wanted and not plan.sha256.startswith(wanted):
        raise PlanError(
            f"The plan is {plan.sha256[:12]}, not {wanted[:12]}.", state="Nothing was recorded.",
            do="Read it as it is now, then approve that.",
        )  # fmt: skip
    conn = None
    if not wish.to_file and (settings.dsn or any(os.environ.get(name) for name in PLACES)):
        conn = connect(settings.dsn, application_name="pgferry approve", statement_timeout="30s")
    try:
        with in_a_sentence():
            return _carry_out(conn, settings, plan, wish)
    finally:
        if conn is not None:
            conn.close()


def _carry_out(conn: Conn | None, settings: Settings, plan: Plan, wish: Wish) -> int:
    if wish.look:
        stands = admission.read_standing(conn, Wanted.of(plan), plan, _operator(conn, settings, plan), strict=True)
        _print(plan, stands, "", wish.output)
        return 0 if stands.enough else Refused.exit_code
    where = record(conn, plan, settings.operator, wish.comment, withdraw=wish.withdraw)
    stands = admission.read_standing(conn, Wanted.of(plan), plan, strict=True)
    _print(plan, stands, ("withdrawn, " if wish.withdraw else "approved, ") + where, wish.output)
    return 0


def _operator(conn: Conn | None, settings: Settings, plan: Plan) -> Person | None:
    """Whoever looks is taken for the operator, where the plan asks for approvals at all."""
    if not plan.approvals:
        return None
    return approvals.person(conn, settings.operator) if conn is not None else Person(settings.operator)


def _print(plan: Plan, stands: Standing, done: str, output: str) -> None:
    if output == "json":
        out(
            {
                "plan": plan.id,
                "sha256": plan.sha256,
                "done": safe(done),
                "approval": to_json(stands),
                "enough": stands.enough,
            }
        )
        return
    lines = [f"plan      {plan.title} ({plan.id})", f"sha256    {plan.sha256}"]
    lines += [f"done      {done}"] if done else []
    first, *rest = sentences(stands)
    lines += [f"approval  {first}", *(f"          {line}" for line in rest)]
    out("\n".join(safe(line) for line in lines))


def _grant(settings: Settings, role: str) -> int:
    conn = connect(settings.dsn, application_name="pgferry approve", statement_timeout="30s")
    try:
        if role.strip() != role or not role:
            raise UsageError(f"{role!r} is no name of a role.")
        with in_a_sentence():
            approvals.grant(conn, role)
    finally:
        conn.close()
    out(f"role {safe(role)} may record and read approvals in the journal, and nothing else of it")
    return 0
