"""Rows compared on request, outside any task: once, with repair, or again and again until the old table is retired."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import psycopg

from console.engine import compare_sql, repair
from console.engine.compare import judged, silent
from console.engine.derive import table
from console.engine.facts import mapping_facts
from console.engine.scan import Scan
from console.engine.session import LOST
from console.engine.verdict import Verdict
from console.engine.visit import Visitor, may_carry
from console.journal import comparisons
from console.journal.state import TaskStatus
from console.plan.model import Kind, Leads, Mapping

ROUNDS = 3  # repairs at most, while writers keep making new differences
NAMED = 20_000  # differences repaired in one round


@dataclass(frozen=True, slots=True)
class Orders:
    """How to compare. ``limit``: differences named; ``repair_from`` None: from the side that leads."""

    limit: int = 20
    workers: int = 2
    duty_percent: int = 100
    repair: bool = False
    repair_from: Leads | None = None
    remove_duplicates: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """A mapping compared: the last verdict, and how many differences were repaired before it."""

    mapping: str
    verdict: Verdict
    repaired: int = 0


def once(
    visitor: Visitor, mapping: Mapping, orders: Orders, *, origin: str, show: Callable[[Scan, bool], None] = silent
) -> Outcome:
    """Compare every row now; with ``repair`` mend what differs and compare again until nothing is left to mend.

    Raises Refused where repair cannot be done, StepFailed where rows stay locked.
    """
    right = repair.leading(visitor.conn, mapping, orders.repair_from) if orders.repair else Leads.OLD
    repaired = 0
    for turn in range(ROUNDS + 1):
        verdict = _look(visitor, mapping, orders, origin=origin, show=show)
        if verdict.ok or not orders.repair or turn == ROUNDS:
            break
        mended = _mend(visitor, mapping, verdict, repair.Wish(right, orders.remove_duplicates))
        repaired += mended
        if not mended:
            break
    return Outcome(mapping.id, verdict, repaired)


def _look(
    visitor: Visitor, mapping: Mapping, orders: Orders, *, origin: str, show: Callable[[Scan, bool], None]
) -> Verdict:
    began = comparisons.now(visitor.conn)

    def look() -> Verdict:
        return judged(
            visitor, mapping, limit=NAMED if orders.repair else orders.limit, workers=orders.workers,
            duty_percent=orders.duty_percent, show=show,
            settling=visitor.journal and may_carry(visitor.conn, mapping, "touch_old"),
        )  # fmt: skip

    try:
        verdict = look()
    except psycopg.errors.UndefinedTable:  # the old table went to the archive meanwhile, or came back
        verdict = look()
    if visitor.journal:
        changed = comparisons.save(
            visitor.conn, mapping.id, origin, visitor.operator, began_at=began, ok=verdict.ok,
            faults=dict(verdict.faults), words=verdict.words(), ms=verdict.ms, rows=verdict.samples[: orders.limit],
        )  # fmt: skip
        if changed:
            visitor.event("check", f"{origin}: {mapping.id}: {verdict.words()}")
    return verdict


def _mend(visitor: Visitor, mapping: Mapping, verdict: Verdict, wish: repair.Wish) -> int:
    facts = mapping_facts(visitor.conn, mapping, visitor.plan.archive_schema, keys_unique=False)
    question = compare_sql.question(visitor.conn, mapping, facts)
    return repair.mend(visitor, question, verdict.differences, wish)


def retired(visitor: Visitor, mapping: Mapping) -> bool:
    """Whether the contract step of the mapping is done: the old table is in the archive, or gone."""
    name = table(mapping.old).as_string(None)
    row = visitor.conn.execute("SELECT to_regclass(%s) IS NULL", (name,)).fetchone()
    return bool(row and row[0])


def carried(visitor: Visitor, mapping: Mapping) -> bool:
    """Whether the tables should agree now: the sync is on and the copy, where there is one, is complete."""
    if not visitor.journal:
        return True
    copies = [t.id for t in visitor.plan.tasks if t.kind is Kind.BACKFILL and mapping.id in t.mappings]
    row = visitor.conn.execute(
        "SELECT EXISTS (SELECT 1 FROM pgferry.lead WHERE mapping = %s), count(*) FROM pgferry.task"
        " WHERE run_id = %s AND task_id = ANY (%s) AND status = %s",
        (mapping.id, visitor.run_id, copies, TaskStatus.COMPLETED.value),
    ).fetchone()
    return row is not None and row == (True, len(copies))


def watch(
    visitor: Visitor, mappings: tuple[Mapping, ...], orders: Orders, every_s: float, said: Callable[[Outcome], None]
) -> bool:
    """Compare again every ``every_s`` seconds until each old table is retired; whether the last verdicts were good.

    Rows that are not carried yet, or no longer (a rollback), are not compared.
    ``said`` hears of each pass. A server that is away is waited for, as long as the visitor is patient.
    """
    good = {mapping.id: True for mapping in mappings}
    while True:
        start = time.monotonic()
        left = 0
        for mapping in mappings:
            try:
                if retired(visitor, mapping):
                    continue
                left += 1
                if not carried(visitor, mapping):
                    continue
                outcome = once(visitor, mapping, orders, origin="watch")
            except LOST as error:
                if not visitor.lost(error):
                    raise
                visitor.drop()
                continue
            good[mapping.id] = outcome.verdict.ok
            said(outcome)
        if not left:
            return all(good.values())
        visitor.wishes.sleep(max(every_s - (time.monotonic() - start), 0.0))
