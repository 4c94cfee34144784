"""(a) The copy against its limit, one INSERT .. SELECT, against other ways to size batches, and against filling in place."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from console.engine.backfill import Backfill
from tests.benchmarks.cpu import used
from tests.benchmarks.ground import Ground, limit_statement, say
from tests.benchmarks.lines import Line, line, ratio
from tests.benchmarks.policies import P90, Efficiency, Fixed

GROUP = "backfill"
IN_PLACE_ROWS = 100_000  # the in-place baseline slows down along the table: a short one is in its favour
LIMIT = "limit: one INSERT .. SELECT"
ONE, TWO = "pgferry, 1 worker", "pgferry, 2 workers"
UNHASHED = ", no content hash"


@dataclass(frozen=True, slots=True)
class Copied:
    """One timed copy of all rows."""

    rows: int
    seconds: float
    cpu: float  # seconds of processor time, of the server and of this process

    @property
    def rate(self) -> float:
        """Rows read a second."""
        return self.rows / self.seconds


def run_limit(ground: Ground) -> Copied:
    """The limit, by its best plan: left to estimates it may be read by an index on the names, in 2.5 times the time."""
    with ground.connection() as conn:
        conn.execute("SET enable_nestloop = off")
        cpu, start = used(ground.server_pid), time.perf_counter()
        conn.execute(limit_statement(ground.mapping))
        return Copied(ground.rows, time.perf_counter() - start, used(ground.server_pid) - cpu)


def run_engine(ground: Ground, policy: Fixed | None = None, *, exact: bool = True, **settings: object) -> Copied:
    """The engine's backfill from its begin to its end, with its own pace or another policy in its place.

    ``exact``: nobody else writes, so that it must read every row.
    """
    with ground.session() as session:
        task = ground.task(**settings)
        cpu, start = used(ground.server_pid), time.perf_counter()
        backfill = Backfill(session, task, ground.mapping, 0)
        if policy is not None:
            policy.target_ms = task.backfill.target_ms
            backfill.orders.pace = policy  # type: ignore[assignment]
        backfill.run()
        seconds, cpu = time.perf_counter() - start, used(ground.server_pid) - cpu
        row = session.conn.execute(
            "SELECT sum(rows_read) FROM pgferry.chunk WHERE run_id = %s", (session.run_id,)
        ).fetchone()
    assert row is not None
    assert row[0] == ground.rows or not exact, "the copy left rows out"
    return Copied(int(row[0]), seconds, cpu)


_IN_PLACE = """
DROP TABLE IF EXISTS in_place;
CREATE TABLE in_place (LIKE book_ticker_snapshots INCLUDING DEFAULTS INCLUDING CONSTRAINTS);
INSERT INTO in_place SELECT * FROM book_ticker_snapshots ORDER BY "timestamp" LIMIT {rows};
ALTER TABLE in_place ADD PRIMARY KEY ("timestamp", exchange, symbol_base, symbol_quote);
CREATE INDEX ON in_place (exchange, symbol_base, symbol_quote, "timestamp" DESC);
CREATE INDEX ON in_place (created_at DESC);
ALTER TABLE in_place ADD COLUMN symbol_id integer, ADD COLUMN needs_backfill boolean DEFAULT true;
CREATE OR REPLACE FUNCTION fill_in_place() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.symbol_id IS NULL THEN
        NEW.symbol_id := (SELECT s.symbol_id FROM legacy_symbol_names s WHERE s.exchange = NEW.exchange
            AND s.symbol_base = NEW.symbol_base AND s.symbol_quote = NEW.symbol_quote LIMIT 1);
    END IF;
    NEW.needs_backfill := false;
    RETURN NEW;
END $$;
CREATE TRIGGER fill BEFORE INSERT OR UPDATE ON in_place FOR EACH ROW EXECUTE FUNCTION fill_in_place();
"""
_TOUCH = """
WITH batch AS (
    SELECT "timestamp", exchange, symbol_base, symbol_quote FROM in_place
    WHERE needs_backfill AND ("timestamp", exchange, symbol_base, symbol_quote) > (%s, %s, %s, %s)
    ORDER BY "timestamp", exchange, symbol_base, symbol_quote LIMIT 1000 FOR NO KEY UPDATE
), touched AS (
    UPDATE in_place t SET "timestamp" = t."timestamp" FROM batch b WHERE t."timestamp" = b."timestamp"
      AND t.exchange = b.exchange AND t.symbol_base = b.symbol_base AND t.symbol_quote = b.symbol_quote
    RETURNING t."timestamp", t.exchange, t.symbol_base, t.symbol_quote
)
SELECT * FROM touched ORDER BY 1 DESC, 2 DESC, 3 DESC, 4 DESC LIMIT 1
"""


def run_in_place(ground: Ground) -> Copied:
    """As pgroll does: a new column, filled by a BEFORE trigger when batches of 1,000 rows are set to themselves."""
    rows = min(ground.rows, IN_PLACE_ROWS)
    with ground.connection() as conn:
        conn.execute(_IN_PLACE.format(rows=rows))
        conn.execute("VACUUM ANALYZE in_place")
        conn.execute("CHECKPOINT")
        last: tuple[object, ...] | None = ("-infinity", "", "", "")
        cpu, start = used(ground.server_pid), time.perf_counter()
        while last is not None:
            last = conn.execute(_TOUCH, last).fetchone()
        seconds, cpu = time.perf_counter() - start, used(ground.server_pid) - cpu
        left = conn.execute("SELECT count(*) FROM in_place WHERE needs_backfill").fetchone()
        conn.execute("DROP TABLE in_place")
    assert left == (0,), "rows were left out"
    return Copied(rows, seconds, cpu)


Variant = Callable[[Ground], Copied]
VARIANTS: dict[str, tuple[Variant, str]] = {
    ONE: (run_engine, ">= 0.90 of the limit, 6 x in place"),
    TWO: (lambda ground: run_engine(ground, workers=2), ">= 1.10 of the limit"),
    ONE + UNHASHED: (lambda ground: run_engine(ground, content_hash=False), ">= 0.90 of the limit"),
    TWO + UNHASHED: (lambda ground: run_engine(ground, workers=2, content_hash=False), ">= 1.10 of the limit"),
    "fixed 1,000 rows": (lambda ground: run_engine(ground, Fixed()), ""),
    "efficiency 0.90-0.95": (lambda ground: run_engine(ground, Efficiency()), ""),
    "p90 of the batch": (lambda ground: run_engine(ground, P90()), ""),
}


def measure(ground: Ground, repeats: int) -> list[Line]:
    """Every variant next to a limit of its own, from a fresh table each; the order turns with each repetition.

    ``by CPU`` is the same ratio in processor time: below ``of the limit`` where the copy used both processors, above
    where it had to wait for others.
    """
    names = list(VARIANTS)
    found: dict[str, list[Copied]] = {name: [] for name in (LIMIT, *names)}
    in_place: list[float] = []
    finish: list[float] = []
    for turn in range(repeats):
        limits = [_fresh(ground, run_limit)]
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            found[name].append(_fresh(ground, VARIANTS[name][0]))
            if name.startswith((ONE, TWO)):
                limits.append(_fresh(ground, run_limit))
        found[LIMIT].append(_mean(limits))
        start = time.perf_counter()
        ground.indexed()
        finish.append(time.perf_counter() - start)
        in_place.append(run_in_place(ground).rate)
        share = found[ONE][-1].rate / found[LIMIT][-1].rate
        say(f"  backfill {ground.rows:,}: repetition {turn + 1} of {repeats}, 1 worker {share:.2f} of the limit")
    lines = [line(GROUP, ground.rows, LIMIT, {"rows/s": [one.rate for one in found[LIMIT]]})]
    for name in names:
        pairs = list(zip(found[name], found[LIMIT], strict=True))
        rates = [one.rate for one in found[name]]
        figures = {
            "rows/s": rates,
            "of the limit": [one.rate / limit.rate for one, limit in pairs],
            "by CPU": [limit.cpu / max(one.cpu, 0.01) for one, limit in pairs],
            # What follows the copy, whatever made it: indexes, foreign key, its validation.
            "all with indexes": [
                (limit.seconds + rest) / (one.seconds + rest) for (one, limit), rest in zip(pairs, finish, strict=True)
            ],
            "x in place": ratio(rates, in_place),
        }
        lines.append(line(GROUP, ground.rows, name, figures, VARIANTS[name][1]))
    lines.append(line(GROUP, min(ground.rows, IN_PLACE_ROWS), "in place, trigger, 1,000 rows", {"rows/s": in_place}))
    return lines


def _fresh(ground: Ground, variant: Variant) -> Copied:
    ground.fresh()
    return variant(ground)


def _mean(found: list[Copied]) -> Copied:
    count = len(found)
    return Copied(found[0].rows, sum(one.seconds for one in found) / count, sum(one.cpu for one in found) / count)
