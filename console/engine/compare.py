"""Every row of a mapping compared, old against new through the mapping, chunk by chunk, while both are written.

Each chunk is one statement, so one snapshot: a writer's row and what the sync made of it are committed together,
so a difference that is seen is real.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import asdict, dataclass, field
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from console.engine import derive, ranges
from console.engine.derive import Composed, ands, column, commas, table
from console.engine.facts import MappingFacts, mapping_facts
from console.engine.pace import Pace, eta_range
from console.engine.session import Session, retry_lost
from console.engine.sync import function_name
from console.journal import runs
from console.journal.chunks import Key
from console.journal.connect import Conn
from console.journal.state import Progress
from console.plan.model import Mapping, Task

SAMPLES = 20
TARGET_MS = 250
FIRST_ROWS = 20_000
# Shorter than deadlock_timeout (1 s by default): against a writer it is always the comparison that gives way.
CARRY_LOCK_TIMEOUT_MS = 500
_RIPE = (  # noted before every transaction that is open now
    "at < coalesce((SELECT min(xact_start) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
    " AND datname = current_database()), 'infinity')"
)
_TAKE_RECHECKS = f"DELETE FROM pgferry.recheck WHERE mapping = %s AND key <> '{{}}' AND {_RIPE} RETURNING key"


@dataclass
class Verdict:
    """What a comparison found; ``samples`` name up to 20 differing rows, old beside new."""

    old: int = 0
    good: int = 0
    rejected: int = 0
    new: int = 0
    different: int = 0
    unexplained: int = 0  # refused rows without an entry among the rejects
    stale: int = 0  # rejects whose row is gone or good
    ms: float = 0.0
    samples: list[dict[str, str]] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Nothing differs, and old = new + rejects to the row."""
        return not (self.different or self.unexplained or self.stale) and self.old == self.new + self.rejected

    def words(self) -> str:
        """One line for people."""
        text = f"{self.old:,} old = {self.new:,} new + {self.rejected:,} rejected"
        if self.ok:
            return text + ", every row equal"
        text = text if self.old == self.new + self.rejected else text.replace("=", "<>")
        faults = (
            (self.different, "differ"),
            (self.unexplained, "refused without a reject"),
            (self.stale, "stale rejects"),
        )
        return text + "; " + ", ".join(f"{n:,} {what}" for n, what in faults if n)


def compare_statement(mapping: Mapping, facts: MappingFacts | None, low: Key | None, high: Key | None) -> sql.Composed:
    """Counts and differing rows of one range of the leading key column (all rows without one)."""
    old = facts.old.name if facts else mapping.old
    lead = derive.shared_lead(mapping)
    old_range: Composed = sql.SQL("true")
    new_range: Composed = sql.SQL("true")
    if lead:
        old_range = ranges.between("s", (lead[0],), low, high)
        as_new = [None if key is None else {lead[1]: key[lead[0]]} for key in (low, high)]
        new_range = ranges.between("m", (lead[1],), as_new[0], as_new[1])
    names = [name for name, _ in mapping.columns]
    keys = commas(column("p", name) for name in mapping.new_key)
    return sql.SQL(
        """WITH p AS MATERIALIZED ({projection}),
good AS MATERIALIZED (
  SELECT DISTINCT ON ({keys}) p.* FROM p WHERE p.pgferry_reason IS NULL
  ORDER BY {keys}, p.pgferry_canonical DESC, {order}
), n AS MATERIALIZED (
  SELECT m.* FROM {new} m WHERE {new_range}
), diff AS (
  SELECT CASE WHEN g.pgferry_canonical IS NULL THEN 'only in the new table'
              WHEN {n_missing} THEN 'missing in the new table' ELSE 'different' END AS what,
         coalesce({g_key}, {n_key}) AS key, {g_values} AS old, {n_values} AS new
  FROM good g FULL JOIN n ON {join}
  WHERE g.pgferry_canonical IS NULL OR {n_missing} OR ROW({of_g}) IS DISTINCT FROM ROW({of_n})
), other AS (
  SELECT {p_key} AS key FROM p LEFT JOIN good g ON {same_old} WHERE g.pgferry_canonical IS NULL
)
SELECT (SELECT count(*) FROM p), (SELECT count(*) FROM good), (SELECT count(*) FROM n), (SELECT count(*) FROM diff),
  (SELECT count(*) FROM other LEFT JOIN pgferry.reject r
     ON r.mapping = {id} AND r.direction = 'forward' AND r.key = other.key WHERE r.mapping IS NULL),
  (SELECT jsonb_agg(d) FROM (SELECT what, key::text, old::text, new::text FROM diff LIMIT {samples}) d)"""
    ).format(
        projection=derive.forward(
            mapping,
            facts,
            sql.SQL("(SELECT s.* FROM {} s WHERE {})").format(table(old), old_range),
            bulk=True,
        ),
        keys=keys,
        order=commas(column("p", f"pgferry_old_{i}") for i in range(len(mapping.old_key))),
        new=table(mapping.new),
        new_range=new_range,
        n_missing=sql.SQL("{} IS NULL").format(column("n", mapping.new_key[0])),
        g_key=_object("g", mapping.new_key),
        n_key=_object("n", mapping.new_key),
        g_values=_object("g", names),
        n_values=_object("n", names),
        join=ands(sql.SQL("{} = {}").format(column("g", k), column("n", k)) for k in mapping.new_key),
        of_g=commas(column("g", name) for name in names),
        of_n=commas(column("n", name) for name in names),
        p_key=derive.projected_key(mapping, "p"),
        same_old=ands(
            sql.SQL("{} = {}").format(column("g", f"pgferry_old_{i}"), column("p", f"pgferry_old_{i}"))
            for i in range(len(mapping.old_key))
        ),
        id=sql.Literal(mapping.id),
        samples=sql.Literal(SAMPLES),
    )


def _object(alias: str, names: tuple[str, ...] | list[str]) -> Composed:
    inner = commas(sql.SQL("{}, {}").format(sql.Literal(name), column(alias, name)) for name in names)
    missing = sql.SQL("{} IS NULL").format(column(alias, names[0]))
    return sql.SQL("CASE WHEN {} THEN NULL ELSE jsonb_build_object({}) END").format(missing, inner)


def settle(session: Session, mapping: Mapping, facts: MappingFacts) -> int:
    """Carry again what could not be judged when it was written: keys under old snapshots, and rejects that may be good.

    Waits (bounded by the operator's patience: any wish stops it) until every transaction that was open when such
    a key was noted has ended. Returns the number of keys carried.
    """
    conn = session.conn
    call = _touch(mapping, facts)
    carried = 0
    while True:
        row = conn.execute(
            "SELECT count(*) FROM pgferry.recheck WHERE mapping = %s AND key <> '{}'", (mapping.id,)
        ).fetchone()
        noted = row[0] if row else 0
        taken = _carry_all(session, call, _TAKE_RECHECKS, mapping) if noted else 0
        carried += taken
        if taken >= noted:
            break
        session.wishes.sleep(0.5)
    return carried + _carry_all(
        session, call, "SELECT key FROM pgferry.reject WHERE mapping = %s AND direction = 'forward'", mapping
    )


def _touch(mapping: Mapping, facts: MappingFacts) -> sql.Composed:
    arguments = [
        sql.SQL("(k.key->>{})::{}").format(sql.Literal(name), derive.raw(_type(facts, name)))
        for name in mapping.old_key
    ]
    gone = sql.SQL("NOT EXISTS (SELECT 1 FROM {} o WHERE {})").format(
        table(facts.old.name),
        ands(
            sql.SQL("{} = {}").format(column("o", name), argument)
            for name, argument in zip(mapping.old_key, arguments, strict=True)
        ),
    )
    return sql.SQL("SELECT count({}({}, {})::text) FROM jsonb_array_elements(%s) k(key)").format(
        function_name(mapping, "touch_old"), commas(arguments), gone
    )


def _type(facts: MappingFacts, name: str) -> str:
    found = facts.old.column(name)
    assert found is not None
    return found.type


def _carry_all(session: Session, call: sql.Composed, find: str, mapping: Mapping) -> int:
    """Carry the keys that ``find`` gives, in one transaction; stands aside for writers and tries again."""
    while True:
        conn = session.conn
        try:
            with conn.transaction():
                conn.execute(derive.raw(f"SET LOCAL lock_timeout = {CARRY_LOCK_TIMEOUT_MS}"))
                keys = [row[0] for row in conn.execute(derive.raw(find), (mapping.id,)).fetchall()]
                for start in range(0, len(keys), 500):
                    conn.execute(call, (Jsonb(keys[start : start + 500]),))
            return len(keys)
        except (
            psycopg.errors.LockNotAvailable,
            psycopg.errors.DeadlockDetected,
            psycopg.errors.SerializationFailure,
        ):
            session.wishes.sleep(0.1)


def stale_rejects(conn: Conn, mapping: Mapping, facts: MappingFacts) -> int:
    """Rejects whose old row is no longer there."""
    match = ands(
        sql.SQL("o.{} = (r.key->>{})::{}").format(
            sql.Identifier(name), sql.Literal(name), derive.raw(_type(facts, name))
        )
        for name in mapping.old_key
    )
    row = conn.execute(
        sql.SQL(
            "SELECT count(*) FROM pgferry.reject r WHERE r.mapping = {} AND r.direction = 'forward'"
            " AND NOT EXISTS (SELECT 1 FROM {} o WHERE {})"
        ).format(sql.Literal(mapping.id), table(facts.old.name), match)
    ).fetchone()
    return int(row[0]) if row else 0


def compare(session: Session, task: Task, mapping: Mapping, *, show: bool = True) -> Verdict:
    """Compare every row. Stops at a safe point on an operator's wish; nothing is written but progress."""
    facts = mapping_facts(session.conn, mapping, session.plan.archive_schema)
    settle(session, mapping, facts)
    verdict = _look(session, task, mapping, facts, show=show)
    if not verdict.ok:
        # What a lookup learnt meanwhile makes rejects good: they are carried, and only then is a difference one.
        waiting = _rejects(session.conn, mapping)
        settle(session, mapping, facts)
        if _rejects(session.conn, mapping) < waiting:
            verdict = _look(session, task, mapping, facts, show=show)
    return verdict


def _rejects(conn: Conn, mapping: Mapping) -> int:
    row = conn.execute(
        "SELECT count(*) FROM pgferry.reject WHERE mapping = %s AND direction = 'forward'", (mapping.id,)
    ).fetchone()
    return int(row[0]) if row else 0


def _look(session: Session, task: Task, mapping: Mapping, facts: MappingFacts, *, show: bool) -> Verdict:
    verdict = Verdict()
    began = time.monotonic()
    for _ in _chunks(session, task, mapping, facts, verdict, show=show):
        session.wishes.check()
    verdict.stale = stale_rejects(session.conn, mapping, facts)
    verdict.ms = (time.monotonic() - began) * 1000
    return verdict


def _chunks(
    session: Session, task: Task, mapping: Mapping, facts: MappingFacts, verdict: Verdict, *, show: bool
) -> Any:
    lead = derive.shared_lead(mapping)
    total = max(ranges.rows_estimate(session.conn, facts.old), 1)
    pace = Pace(FIRST_ROWS, TARGET_MS)
    rates: deque[float] = deque(maxlen=20)
    low: Key | None = None
    shown = 0.0
    while True:
        high = ranges.step(session.conn, facts.old, (lead[0],), low, None, pace.rows) if lead else None
        statement = compare_statement(mapping, facts, low, high)
        start = time.monotonic()
        before = verdict.old
        _one_chunk(session, statement, verdict)
        ms = (time.monotonic() - start) * 1000
        rows = verdict.old - before
        pace.feed(rows, ms)
        rates.append(1000 * rows / max(ms, 0.1))
        if show and (high is None or time.monotonic() - shown > 0.5):
            shown = time.monotonic()
            _report(session, task, mapping, verdict, total, list(rates), pace, ms, finished=high is None)
        if high is None:
            return
        low = high
        yield


def _one_chunk(session: Session, statement: sql.Composed, verdict: Verdict) -> None:
    def look() -> tuple[Any, ...]:
        conn = session.conn
        with conn.transaction():
            conn.execute("SET LOCAL work_mem = '64MB'")
            # At the live end of a table the planner expects one row and would loop over thousands.
            conn.execute("SET LOCAL enable_nestloop = off")
            row = conn.execute(statement).fetchone()
        assert row is not None
        return row

    old, good, new, different, unexplained, samples = retry_lost(session, look)
    verdict.old += old
    verdict.good += good
    verdict.rejected += old - good
    verdict.new += new
    verdict.different += different
    verdict.unexplained += unexplained
    verdict.samples.extend(samples or [])
    del verdict.samples[SAMPLES:]


def _report(
    session: Session, task: Task, mapping: Mapping, verdict: Verdict, total: int, rates: list[float], pace: Pace,
    ms: float, *, finished: bool,
) -> None:  # fmt: skip
    total = verdict.old if finished else max(total, verdict.old + 1)
    low, high = eta_range(rates, total - verdict.old)
    progress = Progress(
        task_id=task.id, mapping=mapping.id, what="compare", source=str(mapping.old), target=str(mapping.new),
        rows_total=total, rows_done=verdict.old, rows_written=verdict.good, rows_rejected=verdict.rejected,
        share=1.0 if finished else min(verdict.old / total, 0.999), finished=finished,
        rate=rates[-1] if rates else 0.0, rates=tuple(rates), eta_low_s=low, eta_high_s=high, batch_rows=pace.rows,
        batch_ms=ms, target_ms=TARGET_MS, reason=pace.reason,
    )  # fmt: skip
    session.live(f"progress:{task.id}:{mapping.id}", asdict(progress))
    runs.task_note(session.conn, session.run_id, task.id, f"{100 * progress.share:.1f}%")
