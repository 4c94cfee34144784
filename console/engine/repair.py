"""Repair of named differences: the side that follows is made to hold what the side that leads says.

It goes through the sync's own functions, as a writer's trigger would, beside writers and beside a runner. Rows are
locked first, in the order in which writers lock them, so that what is read is what stays true until it is carried.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

from console.engine import compare_close, compare_sql, derive
from console.engine.compare_sql import Question
from console.engine.derive import Composed, column, commas, table
from console.engine.naming import function_name
from console.engine.session import LOST, Session
from console.engine.visit import may_carry
from console.errors import Refused, StepFailed
from console.journal import events
from console.journal.connect import Conn
from console.journal.difference import Difference, Values
from console.plan.model import Leads, Mapping
from console.text import several

BATCH = 200  # differences mended in one transaction
# Shorter than deadlock_timeout (1 s by default): against a writer it is always the repair that gives way.
LOCK_TIMEOUT_MS = 500
TRIES = 40


@dataclass(frozen=True, slots=True)
class Wish:
    """What to repair by: the side that is right, and whether surplus rows of one key may be deleted."""

    right: Leads
    remove_duplicates: bool = False


def leading(conn: Conn, mapping: Mapping, chosen: Leads | None) -> Leads:
    """The side that is right: the one chosen, else the one that leads. Raises Refused where that cannot be told."""
    row = conn.execute("SELECT leads FROM pgferry.lead WHERE mapping = %s", (mapping.id,)).fetchone()
    right = chosen or (Leads(row[0]) if row else Leads.OLD)
    if right is Leads.BOTH:
        raise Refused(
            f"Applications use both shapes of {mapping.id}: which side is right cannot be told.",
            state="Nothing was changed.",
            do="Say it: --from old or --from new.",
        )
    function, arrow = ("touch_old", "forward") if right is Leads.OLD else ("backward", "reverse")
    if not may_carry(conn, mapping, function) or not may_carry(conn, mapping, "touch_old"):
        raise Refused(
            f"The {arrow} sync of {mapping.id} is not on, or this role may not call its functions.",
            state="Nothing was changed.",
            do=f"Repair while that sync is on, as the role that runs the plan; {right} is taken to be right.",
        )
    return right


def mend(session: Session, question: Question, found: Sequence[Difference], wish: Wish) -> int:
    """Repair these differences in short transactions, each with its line in the audit; returns how many were tried.

    Raises StepFailed when writers keep the rows locked, or the new table lacks the index the sync writes by.
    """
    todo = [d for d in found if wish.remove_duplicates or not surplus(d)]
    for start in range(0, len(todo), BATCH):
        session.wishes.check()
        _batch(session, question, todo[start : start + BATCH], wish)
    return len(todo)


def surplus(difference: Difference) -> bool:
    """Whether only deleting a row of the new table would mend it."""
    return difference.kind == "duplicate" and difference.side == "new"


def _batch(session: Session, question: Question, found: Sequence[Difference], wish: Wish) -> None:
    for _ in range(TRIES):
        try:
            with session.conn.transaction():
                _carry(session.conn, question, found, wish)
                if session.run_id:
                    events.append(
                        session.conn, session.run_id, "check",
                        f"repaired {several(len(found), 'row')} of {question.mapping.id} from the {wish.right} side",
                        actor=session.operator, rows=[d.row() for d in found],
                    )  # fmt: skip
            return
        except psycopg.errors.InvalidColumnReference:
            raise StepFailed(
                f"{question.mapping.new} has no unique index on its key any more: the sync cannot write it.",
                state="These rows were left as they are.",
                do="Remove duplicates (--remove-duplicates), create the index again, then repair the rest.",
            ) from None
        except (
            psycopg.errors.LockNotAvailable,
            psycopg.errors.DeadlockDetected,
            psycopg.errors.SerializationFailure,
        ):
            session.wishes.sleep(0.1)
        except LOST as error:  # what was committed is found equal when it is done again
            if not session.lost(error):
                raise
            session.drop()
    raise StepFailed(
        f"Rows of {question.mapping.id} stayed locked through {TRIES} attempts of {LOCK_TIMEOUT_MS} ms.",
        state="They were left as they are; what was repaired before stands.",
        do="See who holds them (Activity), then repair again.",
    )


def _carry(conn: Conn, q: Question, found: Sequence[Difference], wish: Wish) -> None:
    m = q.mapping
    conn.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(LOCK_TIMEOUT_MS)))
    old_keys = [d.key for d in found if d.side == "old"]
    new_keys = [d.key for d in found if d.side == "new"]
    new_keys += [row[0] for row in conn.execute(compare_close.resolved_keys(q, old_keys)).fetchall()]
    _lock(conn, q, new_keys, old_keys)
    crowded = [d.key for d in found if surplus(d)]
    if crowded:
        conn.execute(_remove_surplus(q, crowded))
    conn.execute(
        sql.SQL("SELECT count({}({})::text) FROM {}").format(
            function_name(m, "forward" if wish.right is Leads.OLD else "backward"),
            commas(compare_sql.from_json(q.new_type(n), "k.key", n) for n in m.new_key),
            compare_close.given([key for key in new_keys if key not in crowded]),
        )
    )
    conn.execute(
        sql.SQL("SELECT count({}({}, NOT EXISTS (SELECT 1 FROM {} o WHERE {}))::text) FROM {}").format(
            function_name(m, "touch_old"),
            commas(compare_sql.from_json(q.old_type(n), "k.key", n) for n in m.old_key),
            table(q.old),
            compare_close.same_key("o", m.old_key, q.old_type),
            compare_close.given(old_keys),
        )
    )


def _lock(conn: Conn, q: Question, new_keys: list[Values], old_keys: list[Values]) -> None:
    """Lock every row of both tables that the keys concern, old ones first."""
    m = q.mapping
    old, _ = compare_close.of_keys(q, new_keys, old_keys)
    olds = conn.execute(sql.SQL("SELECT {} FROM {} o").format(compare_sql.texts("o", m.old_key), old)).fetchall()
    for owner, keys, same in (
        (q.old, [row[0] for row in olds], compare_close.same_key("r", m.old_key, q.old_type)),
        (m.new, new_keys, compare_close.same_key("r", m.new_key, q.new_type)),
    ):
        conn.execute(
            sql.SQL("SELECT 1 FROM {} JOIN {} r ON {} FOR NO KEY UPDATE OF r").format(
                compare_close.given(keys), table(owner), same
            )
        )


def _remove_surplus(q: Question, keys: list[Values]) -> sql.Composed:
    """Leave one row of each key, one that is as the old row says if there is such (they are locked: ctid holds)."""
    m = q.mapping
    key: dict[str, Composed] = {name: column("m", name) for name in m.new_key}
    source = derive.forward(m, q.facts, derive.preimage(m, q.old, key), bulk=False)
    return sql.SQL(
        "DELETE FROM {new} n USING (SELECT m.ctid AS at, row_number() OVER (PARTITION BY {keys} ORDER BY EXISTS ("
        "SELECT 1 FROM ({source}) w WHERE w.pgferry_reason IS NULL AND ROW({of_w}) IS NOT DISTINCT FROM ROW({of_m})"
        ") DESC, m.ctid) AS place FROM {given} JOIN {new} m ON {same}) d WHERE n.ctid = d.at AND d.place > 1"
    ).format(
        new=table(m.new),
        keys=commas(key.values()),
        source=source,
        of_w=commas(q.new_type(n).value(column("w", n)) for n in q.names),
        of_m=commas(q.new_type(n).value(column("m", n)) for n in q.names),
        given=compare_close.given(list({tuple(k.items()): k for k in keys}.values())),
        same=compare_close.same_key("m", m.new_key, q.new_type),
    )
