"""Every row of a mapping compared, old against new through the mapping and back, while both are written.

A comparison that was interrupted begins anew: it takes seconds for millions of rows, and a verdict that rests on parts
seen before a pause of days would say less than it seems to.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial

from psycopg import sql

from console.engine import compare_sql, lookup_changes
from console.engine.compare_sql import Part, Question
from console.engine.facts import MappingFacts, mapping_facts
from console.engine.pace import eta_range
from console.engine.scan import TARGET_MS, Scan, look
from console.engine.session import Session, retry_lost
from console.engine.settle import rechecks, rejects, settle
from console.engine.verdict import Verdict
from console.journal import runs
from console.journal.chunks import Key
from console.journal.state import Progress
from console.plan.model import Mapping, Task

SAMPLES = 20
SAY_S = 0.5  # between two lines of progress
AGAIN = 3  # looks at most, while what was noted under older snapshots keeps being carried in between

__all__ = ["SAMPLES", "Verdict", "compare", "compare_statement", "judged", "settle"]


def compare_statement(mapping: Mapping, facts: MappingFacts | None, low: Key | None, high: Key | None) -> sql.Composed:
    """The quick statement of one part, for a preview: as it would be without casts."""
    return compare_sql.quick(Question(mapping, facts), Part(low, high))


def compare(session: Session, task: Task, mapping: Mapping, *, show: bool = True) -> Verdict:
    """Compare every row. Stops at a safe point on an operator's wish; nothing is written but progress."""
    tell = _teller(session, task, mapping) if show else silent
    return judged(session, mapping, limit=SAMPLES, workers=task.connections, duty_percent=100, show=tell)


def judged(
    session: Session, mapping: Mapping, *, limit: int, workers: int, duty_percent: int,
    show: Callable[[Scan, bool], None], settling: bool = True,
) -> Verdict:  # fmt: skip
    """Look at every row; with ``settling`` what looks wrong is carried first, and only then is a difference one.

    ``limit``: how many differences are named. Raises Interrupted on an operator's wish.

    What a lookup learnt meanwhile makes rejects good, and what was written under an older snapshot waits to be
    carried again: neither is a difference.
    """
    facts = mapping_facts(session.conn, mapping, session.plan.archive_schema, keys_unique=False)
    settling = settling and facts.new.guarantees(mapping.new_key)  # without its index nothing can be carried
    if settling:
        settle(session, mapping, facts)
    question = compare_sql.question(session.conn, mapping, facts)
    for turn in range(AGAIN):
        noted = _Noted(session, mapping, facts)
        verdict = look(
            session, question, limit=limit, workers=workers, duty_percent=duty_percent, show=show,
            carried=noted.carried if settling else nothing,
        )  # fmt: skip
        verdict.open_changes = lookup_changes.open_notes(session.conn, mapping)
        verdict.changes = noted.changes()
        if verdict.ok or not settling:
            break
        waiting = rejects(session.conn, mapping)
        news = noted.carried()
        if (
            turn == AGAIN - 1 and verdict.equal
        ):  # the lookups do not rest: what changed since is carried, as any write is
            verdict.open_changes = 0
        if rejects(session.conn, mapping) >= waiting and not news:
            break
    return verdict


def nothing() -> bool:
    """Nothing is carried: rows are judged as they are."""
    return False


class _Noted:
    """What was noted since a look began: changes in lookups, and keys written under older snapshots."""

    def __init__(self, session: Session, mapping: Mapping, facts: MappingFacts) -> None:
        self._session, self._mapping, self._facts = session, mapping, facts
        self._first = self._seen = lookup_changes.newest(session.conn)

    def changes(self) -> int:
        """Changes in lookups since then."""
        return lookup_changes.newest(self._session.conn) - self._first

    def carried(self) -> bool:
        """Carry all of it; whether there was anything since the last time."""
        conn, seen = self._session.conn, self._seen
        noted = rechecks(conn, self._mapping) + lookup_changes.open_notes(conn, self._mapping)
        self._seen = lookup_changes.newest(conn)
        settle(self._session, self._mapping, self._facts)
        return bool(noted) or self._seen > seen


def silent(_: Scan, __: bool) -> None:
    """Progress that nobody hears."""


def _teller(session: Session, task: Task, mapping: Mapping) -> Callable[[Scan, bool], None]:
    """Progress for consoles, at most twice a second."""
    said = 0.0

    def tell(scan: Scan, finished: bool) -> None:
        nonlocal said
        if finished or time.monotonic() - said > SAY_S:
            said = time.monotonic()
            retry_lost(session, partial(_report, session, task, mapping, scan, finished=finished))

    return tell


def _report(session: Session, task: Task, mapping: Mapping, scan: Scan, *, finished: bool) -> None:
    verdict, rates = scan.verdict, tuple(scan.rates)
    total = verdict.old if finished else max(scan.total, verdict.old + 1)
    low, high = eta_range(list(rates), total - verdict.old)
    progress = Progress(
        task_id=task.id, mapping=mapping.id, what="compare", source=str(mapping.old), target=str(mapping.new),
        rows_total=total, rows_done=verdict.old, rows_written=verdict.old - verdict.rejected,
        rows_rejected=verdict.rejected, share=1.0 if finished else min(verdict.old / total, 0.999), finished=finished,
        rate=rates[-1] if rates else 0.0, rates=rates, eta_low_s=low, eta_high_s=high, batch_rows=scan.pace.rows,
        batch_ms=scan.part_ms, target_ms=TARGET_MS, workers=scan.workers, duty_percent=scan.duty_percent,
        reason=scan.pace.reason,
    )  # fmt: skip
    session.live(f"progress:{task.id}:{mapping.id}", asdict(progress))
    runs.task_note(session.conn, session.run_id, task.id, f"{100 * progress.share:.1f}%")
