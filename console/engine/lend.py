"""Workers of another process, on this host or another, that join a running copy.

They hold no lease: each batch asserts the fence of the runner whose copy it is, so that none of them can write
once another runner took over. Pace, limits, pauses and what holds the copy back come from the runner.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from dataclasses import replace

from console.engine import copier, ranges
from console.engine.facts import mapping_facts
from console.engine.pace import Pace
from console.engine.session import LOST, Session, Wishes, is_lost
from console.engine.workers import MOST_WORKERS, Crew, Ground, Orders
from console.errors import Refused, Stopped
from console.journal import admission, chunks, hands, lease, runs, schema
from console.journal.chunks import Copy
from console.journal.connect import Conn, connect
from console.journal.hands import Hand
from console.journal.lease import Fence
from console.journal.state import RunStatus
from console.plan.model import BackfillSettings, Plan
from console.text import several

ASK_EVERY_S = 0.5
_SILENCE = "the runner is silent"


def lend(conninfo: str, plan: Plan, who: str, *, workers: int, say: Callable[[str], None]) -> tuple[int, int]:
    """Copy batches of the plan's running copy until it ends; returns (batches, rows) copied here.

    Raises Refused when no copy of this plan runs, PlanError when the run is of other files, LeaseLost when another
    runner took over, Stopped when the run is paused, StepFailed as the copy itself would.
    """
    conn = connect(conninfo, application_name="pgferry work")
    try:
        copy, fence = _find(conn, plan)
    finally:
        conn.close()
    session = Session(plan, conninfo, copy.run_id, fence, who, Wishes())
    try:
        return _help(session, copy, Hand(who, socket.gethostname(), os.getpid(), min(workers, MOST_WORKERS)), say)
    finally:
        session.drop()


def _find(conn: Conn, plan: Plan) -> tuple[Copy, Fence]:
    """The running copy and the fence of its runner."""
    row = runs.latest(conn, plan.id) if schema.installed(conn) else None
    held = lease.read(conn, row.id) if row else None
    copy = hands.running_copy(conn, row.id) if row and held and held.alive else None
    if row is None or copy is None:
        raise Refused(
            "No copy of this plan is running that a hand could be lent to.",
            state="Nothing was changed.",
            do="Start the run on one host first; join it while it copies.",
        )
    admission.refuse_other_plan(conn, plan, row)
    fence = conn.execute("SELECT fence FROM pgferry.run WHERE id = %s", (row.id,)).fetchone()
    assert fence is not None
    return copy, Fence(row.id, fence[0])


def _help(session: Session, copy: Copy, hand: Hand, say: Callable[[str], None]) -> tuple[int, int]:
    mapping = session.plan.mapping(copy.mapping)
    facts = mapping_facts(session.conn, mapping, session.plan.archive_schema)
    names = ranges.old_order(mapping, facts)
    statement = copier.make_statement(session.conn, mapping, facts, names)
    settings = replace(BackfillSettings(), workers=hand.workers)
    orders = Orders(Pace(settings.batch_rows, settings.target_ms), settings, held_by=[_SILENCE])
    _ask(session, copy, hand, orders)
    crew = Crew(session, Ground(mapping, facts, names, copy, statement), orders)
    say(f"lends {several(hand.workers, 'worker')} to run {copy.run_id}: {mapping.old} to {mapping.new}")
    held: list[str] = []
    try:
        while not orders.done.is_set():
            crew.keep(plan=False)
            orders.done.wait(ASK_EVERY_S)
            if orders.failed:
                raise orders.failed[0]
            if orders.done.is_set():
                break
            held = _tell(held, orders.held_by, say)
            _patiently(session, lambda _: _ask(session, copy, hand, orders))
    finally:
        crew.stop()
        _patiently(session, lambda conn: hands.leave(conn, copy, hand))
    return orders.batches, orders.rows


def _tell(before: list[str], now: list[str], say: Callable[[str], None]) -> list[str]:
    if now != before:
        say(f"held back by {', '.join(now)}" if now else "going on")
    return list(now)


def _patiently(session: Session, work: Callable[[Conn], None]) -> None:
    """Do it; a lost connection is opened again at the next time."""
    try:
        work(session.conn)
    except LOST as error:
        if not is_lost(session.conn, error):
            raise
        session.drop()
        time.sleep(0.2)


def _ask(session: Session, copy: Copy, hand: Hand, orders: Orders) -> None:
    """Take over what the runner says now, and say that we are here.

    Raises LeaseLost where another runner took over, though no batch was begun since; Stopped.
    """
    conn = session.conn
    if chunks.waiting(conn, copy) == (0, True):
        orders.done.set()
        return
    row = runs.get(conn, copy.run_id)
    if row is None or row.status is not RunStatus.RUNNING:
        raise Stopped(
            f"Run {copy.run_id} is {row.status.value if row else 'gone'}: there is nothing to help with.",
            state="Every batch that was begun here was finished.",
            do="Join again when it copies.",
        )
    session.hold(conn)
    hands.lend(conn, copy, hand)
    pacing = hands.told(conn, copy)
    if pacing is None:
        orders.held_by = [_SILENCE]
        return
    settings = BackfillSettings(**pacing.settings)
    orders.settings = replace(settings, workers=hand.workers)
    orders.pace.aim(orders.target_ms)
    orders.pace.rows = pacing.batch_rows
    orders.duty_percent = pacing.duty_percent
    orders.hands = max(pacing.hands, hand.workers)
    orders.held_by = list(pacing.held_by)
