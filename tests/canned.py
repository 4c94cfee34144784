"""Runs, plans and previews at fixed moments, for everything that is drawn: screens, reports, headless lines.

The clock stands at ``NOW``. ``a_run_state("mid backfill", until="end")`` is that moment with a field changed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from console.journal.activity import Activity, Counts, Drain, Replica, Slot, Use
from console.journal.difference import Difference
from console.journal.state import (
    CheckState,
    ComparisonState,
    Event,
    Latency,
    Lease,
    LockWait,
    Progress,
    RollbackPreview,
    RollbackStep,
    RunState,
    RunStatus,
    Session,
    Setting,
    Signal,
    StatementState,
    Target,
    TaskState,
    TaskStatus,
    Traffic,
)
from console.plan.model import BackfillSettings
from tests.canned_plan import PLAN_SHA256, a_plan, a_statement, a_task_preview, previews

__all__ = [
    "NOW",
    "PLAN_SHA256",
    "STATES",
    "a_plan",
    "a_rollback_preview",
    "a_run_state",
    "a_statement",
    "a_target",
    "a_task_preview",
    "previews",
]

NOW = datetime(2026, 11, 21, 23, 41, 7, tzinfo=UTC)
STARTED = NOW - timedelta(hours=1, minutes=12)
OPERATOR = "dba@bastion"


def ago(seconds: float) -> datetime:
    """The moment this many seconds before ``NOW``."""
    return NOW - timedelta(seconds=seconds)


def a_target(environment: str = "PROD") -> Target:
    """The database of every canned state."""
    return Target("arbitrage", "db1.example", 5432, "16.10", "migrator", environment)


def a_lease(age_s: float = 0.8) -> Lease:
    """The runner's lease; dead when its heartbeat is older than 10 s."""
    return Lease(OPERATOR, "bastion", 4711, STARTED, age_s, age_s < 10)


def tasks(
    done_until: str = "", current: str = "", status: TaskStatus = TaskStatus.IN_PROGRESS, **changes: Any
) -> tuple[TaskState, ...]:
    """The canned plan's tasks: completed through ``done_until``, ``current`` in ``status`` with ``changes``."""
    plan = a_plan()
    ids = [task.id for task in plan.tasks]
    last = ids.index(done_until) if done_until else -1
    states = []
    for index, task in enumerate(plan.tasks):
        phase = next(phase for phase in plan.phases if phase.id == task.phase)
        state = TaskState(
            id=task.id,
            title=task.title,
            kind=task.kind.value,
            phase_id=phase.id,
            phase_title=phase.title,
            status=TaskStatus.PENDING,
            estimate_minutes=task.minutes,
            irreversible=task.irreversible,
            depends=task.depends,
        )
        if index <= last:
            begun = STARTED + timedelta(minutes=2 * index)
            seconds = 12.5 + 7 * index
            state = replace(
                state,
                status=TaskStatus.COMPLETED,
                started_at=begun,
                finished_at=begun + timedelta(seconds=seconds),
                seconds=seconds,
                operator=OPERATOR,
                attempts=1,
            )
        elif task.id == current:
            state = replace(state, status=status, operator=OPERATOR, attempts=1, **changes)
        states.append(state)
    return tuple(states)


def events(*lines: tuple[str, str, str]) -> tuple[Event, ...]:
    """Events of ``(kind, task id, text)``, 20 s apart, the last 5 s before ``NOW``."""
    first = 5 + 20 * (len(lines) - 1)
    return tuple(
        Event(number, ago(first - 20 * (number - 1)), OPERATOR, kind, task_id, text)
        for number, (kind, task_id, text) in enumerate(lines, start=1)
    )


def some_traffic() -> Traffic:
    """Applications that hardly notice: no errors, p99 a little up."""
    return Traffic(
        before=Latency(120_000, 0, 0.82, 3.4, 18.0),
        during=Latency(864_000, 0, 0.88, 4.1, 212.5),
        now=Latency(1_005, 0, 0.85, 3.9, 9.2),
        by_kind=(
            ("insert snapshot", Latency(640_000, 0, 0.80, 3.6, 212.5)),
            ("read latest", Latency(224_000, 0, 1.05, 4.9, 88.0)),
        ),
    )


def a_progress(**changes: Any) -> Progress:
    """A copy at 63 %, slowed by a replica."""
    progress = Progress(
        task_id="P2.1.2",
        mapping="book_ticker",
        what="copy",
        source="book_ticker_snapshots",
        target="book_ticker_snapshots_v2",
        rows_total=12_400_000,
        rows_done=7_812_000,
        rows_written=7_811_660,
        rows_rejected=340,
        share=0.63,
        finished=False,
        rate=18_400.0,
        rates=(12_000.0, 15_500.0, 17_900.0, 19_200.0, 16_100.0, 18_000.0, 18_400.0),
        eta_low_s=230.0,
        eta_high_s=310.0,
        batch_rows=4_200,
        batch_ms=96.0,
        target_ms=100,
        duty_percent=80,
        workers=2,
        reason="smaller: a batch took 140 ms, the target is 100 ms",
        signals=(
            Signal("replica lag", "1.4 s", "1.0 s", "throttling", 41.5, holds=True),
            Signal("blocked sessions", "0", "0", "ok", 2.0),
            Signal("WAL rate", "not visible", "64 MB/s", "unknown", 0.0),
        ),
        lost_s=43.5,
        held="held back by replica lag (1.4 s, limit 1.0 s)",
        settings=(
            Setting("batch_rows", "20,000", "the plan"),
            Setting("duty_percent", "80", OPERATOR),
            Setting("max_replica_lag_s", "1", "the plan"),
            Setting("workers", "2", OPERATOR),
        ),
        chunks=1860,
        retries=3,
        content_hash="90071992547409931",
        hands=("2 of bob on db-helper (pid 4711)",),
    )
    return replace(progress, **changes)


def _base(**changes: Any) -> RunState:
    state = RunState(
        target=a_target(),
        server_now=NOW,
        run_id=7,
        plan_id="cex-normalise",
        plan_title="Normalise exchanges and symbols",
        plan_sha256=PLAN_SHA256,
        status=RunStatus.RUNNING,
        until="end",
        operator=OPERATOR,
        started_at=STARTED,
        finished_at=None,
        error="",
        lease=a_lease(),
        tasks=tasks(),
        leads=(("book_ticker", "old"),),
    )
    return replace(state, **changes)


def _fresh() -> RunState:
    return _base(status=RunStatus.NEW, until="", operator="", started_at=None, lease=None)


def _mid_backfill() -> RunState:
    return _base(
        tasks=tasks("P2.1.1", "P2.1.2", started_at=ago(431), seconds=431.0, note="63%"),
        progress=(a_progress(),),
        traffic=some_traffic(),
        rejects=(("book_ticker", "unknown symbol", 300), ("book_ticker", "base equals quote", 40)),
        checks=(a_check("P1.1.1", "exchanges_seeded", at=ago(4000)),),
        events=events(
            ("task", "P2.1.1", "P2.1.1 completed in 33.5 s"),
            ("task", "P2.1.2", "P2.1.2 started"),
            ("throttle", "P2.1.2", "throttled: replica lag 1.4 s, limit 1.0 s"),
        ),
    )


def a_check(task_id: str, check_id: str, ok: bool = True, **changes: Any) -> CheckState:
    """A check's result; a failed one has two sample rows."""
    plan = a_plan()
    known = next((check for check in plan.checks if check.id == check_id), None)
    rows = ({"symbol_id": "17", "difference": "2"}, {"symbol_id": "23", "difference": "1"})
    result = CheckState(
        task_id=task_id,
        check_id=check_id,
        title=known.title if known else check_id,
        severity=known.severity.value if known else "error",
        ok=ok,
        expected="zero rows",
        actual="zero rows" if ok else "2 rows",
        ms=41.7,
        at=ago(8),
        rows=() if ok else rows,
    )
    return replace(result, **changes)


def _lock_wait() -> RunState:
    ddl = "ALTER TABLE book_ticker_snapshots_v2 ADD CONSTRAINT fk_symbol FOREIGN KEY (symbol_id) REFERENCES symbols"
    return _base(
        tasks=tasks("P1.1.2", "P1.1.3", started_at=ago(9), seconds=9.0, note="waiting for a lock"),
        statements=(StatementState("P1.1.3", "up", 1, ddl, "waiting for a lock", 4, 812.0, 0.0),),
        sessions=(
            Session(
                2211,
                "nightly-report",
                "analyst",
                "idle in transaction",
                1843.0,
                "SELECT * FROM symbols",
                "blocks us",
                mark="1700000000.1 1700000100.2",
            ),
            Session(
                2304,
                "admin psql",
                "dba",
                "active",
                61.0,
                "ALTER TABLE symbols ADD COLUMN note text",
                "blocks us",
                mark="1700000000.3 1700000100.4",
                waits_for=2211,
            ),
            Session(2390, "arbitrage-engine", "engine", "active", 0.4, "INSERT INTO symbols ...", "waits behind us"),
        ),
        lock_wait=LockWait("P1.1.3", ddl, 4, True, 12, 14),
        traffic=some_traffic(),
        events=events(
            ("task", "P1.1.3", "P1.1.3 started"),
            (
                "lock",
                "P1.1.3",
                "ALTER TABLE book_ticker_snapshots_v2 ADD CONSTRAINT fk_symbol FO..: in the way: pid 2211 nightly-report"
                " (idle in transaction, 31 min): SELECT * FROM symbols and 1 more; 12 sessions wait behind us;"
                " stood aside after attempt 3, next in 1.6 s",
            ),
        ),
    )


def _drain() -> RunState:
    looks = (30,) * 14 + (4,)
    fades = (30, 30, 30, 28, 30, 22, 14, 9, 3, 1, 0, 0, 0, 0, 0)
    return _base(
        tasks=tasks("P3.1.3", "P4.1.1", started_at=ago(620), seconds=620.0, note="quiet for 12 of 600 s"),
        leads=(("book_ticker", "new"),),
        drain=Drain("P4.1.1", "old", 12.0, 600.0, "nightly-report"),
        activity=Activity(
            ago(2),
            looks,
            uses=(
                Use("old", "arbitrage-engine", fades),
                Use("old", "nightly-report", (0,) * 12 + (3, 4, 1)),
                Use("new", "arbitrage-engine", (0, 0, 2, 5, 8, 20, 25, 28) + (30,) * 6 + (4,)),
            ),
            counts=(
                Counts("old", (4100, 4000, 4100, 3900, 2000, 900, 40, 3) + (0,) * 7, (9000,) * 15),
                Counts("new", (0,) * 5 + (2000, 4000) + (4200,) * 8, (9100,) * 15),
            ),
            replicas=(
                Replica("replica2 10.0.0.7", "streaming", "async", 48_234_496, 12.4),
                Replica("replica1 10.0.0.6", "streaming", "sync", 0, 0.0),
            ),
            slots=(Slot("warehouse", "logical", False, "extended", 6_871_947_674),),
        ),
        around=(
            Session(
                2611, "nightly-report", "analyst", "active", 71.0, "SELECT * FROM book_ticker_snapshots",
                "uses the old table", "book_ticker_snapshots ACCESS SHARE", "1700000000.1 1700000100.2",
            ),
            Session(
                2701, "arbitrage-engine", "engine", "short transactions", 0.0, "INSERT INTO book_ticker_snapshots_v2 ...",
                "uses the new table", "book_ticker_snapshots_v2", "1700000000.3 *",
            ),
        ),
        traffic=some_traffic(),
        events=events(("task", "P4.1.1", "P4.1.1 started")),
    )  # fmt: skip


def _failed_check() -> RunState:
    error = "Check rejects_small failed: expected value <= 1000, got 1340."
    return _base(
        status=RunStatus.FAILED,
        error=error,
        lease=None,
        tasks=tasks(
            "P2.1.1", "P2.1.2", TaskStatus.FAILED, started_at=ago(900), finished_at=ago(8), seconds=892.0, error=error
        ),
        progress=(a_progress(share=1.0, finished=True, rows_done=12_400_000, eta_low_s=None, eta_high_s=None),),
        checks=(
            a_check("P1.1.1", "exchanges_seeded", at=ago(4000)),
            a_check(
                "P2.1.2", "rejects_small", False, severity="error", expected="value <= 1000", actual="1340", at=ago(8)
            ),
        ),
        rejects=(("book_ticker", "unknown symbol", 1_300), ("book_ticker", "base equals quote", 40)),
        traffic=some_traffic(),
        events=events(("check", "P2.1.2", error), ("error", "P2.1.2", "P2.1.2 failed")),
    )


_VALUES: dict[str, str | None] = {
    "timestamp": "2025-10-11 05:33:50.80077+00", "symbol_id": "91", "id": "500001", "bid_price": "0.05466351",
    "bid_qty": "12.00000000", "ask_price": "0.05466400", "ask_qty": "3.50000000", "sequence_number": None,
    "update_type": "snapshot", "created_at": "2025-10-11 05:33:51+00",
}  # fmt: skip


def _a_difference(kind: str, second: int, **new: str | None) -> dict[str, str]:
    """A differing row as a comparison names it."""
    key = {"timestamp": f"2025-10-11 05:33:{second}.80077+00", "symbol_id": str(second)}
    old = None if kind == "extra" else {**_VALUES, **key}
    there = None if kind == "missing" else {**_VALUES, **key, **new}
    return Difference(kind, "new", key, old, there, tuple(new)).row()


def _differing_rows() -> RunState:
    found = (
        _a_difference("changed", 21, bid_price="0.05466352", sequence_number="7"),
        _a_difference("extra", 37),
        _a_difference("missing", 50),
        *(_a_difference("changed", second, update_type=None) for second in range(51, 57)),
    )
    words = (
        "1,000,000 old <> 998,381 new + 1,620 rejected; 7 changed, 1 missing in the new table, 1 only in the new table"
    )
    equal = "old = new + rejected, every row equal"
    title = "every row of {0} against {0}_v2"
    return replace(
        _failed_check(),
        checks=(
            a_check("P1.1.1", "exchanges_seeded", at=ago(4000)),
            a_check(
                "P2.1.2", "compare.book_ticker", False, severity="error", title=title.format("book_ticker_snapshots"),
                expected=equal, actual=words, rows=found, ms=1830.0, at=ago(8),
            ),
            a_check(
                "P2.1.2", "compare.trades", severity="error", title=title.format("trades"), expected=equal,
                actual="200,000 old = 199,680 new + 320 rejected, every row equal", ms=402.0, at=ago(400),
            ),
        ),
        comparisons=(
            ComparisonState("book_ticker", "P2.1.2", 1, ago(8), 8.0, False, words, found),
            ComparisonState("trades", "watch", 6, ago(40), 40.0, True, "every row equal"),
        ),
    )  # fmt: skip


def _gate() -> RunState:
    question = a_plan().task("P3.1.3").question
    return _base(
        status=RunStatus.WAITING,
        tasks=tasks("P3.1.2", "P3.1.3", TaskStatus.BLOCKED, started_at=ago(60), blocked_on=question),
        traffic=some_traffic(),
        leads=(("book_ticker", "both"),),
        events=events(("task", "P3.1.3", "P3.1.3 waits for a person")),
    )


def _done() -> RunState:
    copied = {"share": 1.0, "finished": True, "rows_done": 12_400_000, "rows_written": 12_399_660}
    return _base(
        status=RunStatus.DONE,
        finished_at=ago(5),
        lease=None,
        tasks=tasks("P4.1.2"),
        progress=(a_progress(**copied, eta_low_s=None, eta_high_s=None),),
        checks=(
            a_check("P1.1.1", "exchanges_seeded", at=ago(4000)),
            a_check("P3.1.2", "performance", severity="error", expected="not slower", actual="1.9 times faster"),
        ),
        rejects=(("book_ticker", "unknown symbol", 300), ("book_ticker", "base equals quote", 40)),
        traffic=some_traffic(),
        leads=(("book_ticker", "new"),),
        events=events(("run", "", "run 7 started"), ("run", "", "run 7 done")),
    )


def _purged() -> RunState:
    return replace(_done(), tasks=tasks("P4.1.3"))


def _rolled_back() -> RunState:
    back = tuple(
        replace(task, status=TaskStatus.ROLLED_BACK, finished_at=ago(10))
        if task.started_at and task.id >= "P2"
        else task
        for task in tasks("P2.1.3")
    )
    return _base(
        status=RunStatus.ROLLED_BACK,
        finished_at=ago(5),
        lease=None,
        tasks=back,
        traffic=some_traffic(),
        events=events(
            ("operator", "P2.1.1", "roll back to P2.1.1: 3 steps"),
            ("run", "", "rolled back to P2.1.1, with 4 tasks of this run left"),
        ),
        back_to="P2.1.1",
    )


def _rolling_back(status: RunStatus = RunStatus.ROLLING_BACK, error: str = "", note: str = "") -> RunState:
    """One of three steps is taken back; the copy is compared before the new table is emptied."""
    changed = {
        "P2.1.3": {"status": TaskStatus.ROLLED_BACK, "finished_at": ago(30), "started_at": None},
        "P2.1.2": {"note": note},
    }
    return _base(
        status=status,
        lease=a_lease() if status is RunStatus.ROLLING_BACK else None,
        error=error,
        tasks=tuple(replace(task, **changed.get(task.id, {})) for task in tasks("P2.1.3")),
        traffic=some_traffic(),
        events=events(
            ("operator", "", "roll back to P2.1.1: 3 steps"),
            ("task", "P2.1.3", "taking back: nothing to undo: it only looked"),
            ("task", "P2.1.3", "taken back in 0.1 s"),
            ("task", "P2.1.2", "taking back: empty book_ticker_snapshots_v2, what only it holds carried first"),
        ),
        back_to="P2.1.1",
    )


def _busy() -> RunState:
    """Many copies, every signal and setting, refusals of many kinds, long names, a long log."""
    signals = (
        Signal("replica lag", "1.4 s", "1.0 s", "throttling", 4_141.5, holds=True),
        Signal("slot replica_of_the_reports", "3.9 GB", "4.0 GB", "slowing", 312.0),
        Signal("archiver", "not visible", "", "unknown", 0.0),
        Signal("WAL rate", "11.7 MB/s", "none", "ok", 0.0),
        Signal("waiting sessions", "1", "3", "ok", 2.0),
        Signal("oldest transaction", "312 s", "600 s", "ok", 0.0),
        Signal("active sessions", "117", "none", "ok", 0.0),
        Signal("vacuum", "none", "none", "ok", 0.0),
        Signal("disk space", "77.2 GB free (31 %)", "5 % free", "ok", 0.0),
        Signal("probe", "4.1 ms", "20 ms", "ok", 0.0),
    )
    settings = tuple(
        Setting(field.name, str(field.default), "the plan" if number else OPERATOR)
        for number, field in enumerate(fields(BackfillSettings))
    )
    big = {"rows_total": 1_234_567_890, "rows_done": 777_777_777, "rows_written": 777_000_000, "rows_rejected": 7_777}
    copies = [
        a_progress(
            task_id=f"P2.1.{number}", target=f"a_table_with_a_rather_long_name_{number}_v2", mapping=f"mapping_{number}",
            share=1.0 if number < 3 else 0.63 / number, finished=number < 3, signals=signals, settings=settings,
            reason="batch shrank from 21,000 to 4,671: batches took 139 ms, target 100 ms, for the last 20 of them", **big,
        )
        for number in range(2, 9)
    ]  # fmt: skip
    refused = tuple(("mapping_3", f"no row of a lookup has column_{n}, seen in row {n}", 10**n) for n in range(6))
    lines = [("batch", "P2.1.2", f"batch grew from {n:,} to {n + 1_000:,} rows") for n in range(90)]
    checks = [a_check(f"P1.1.{n % 3 + 1}", f"check_{n}", n != 7, title=f"The {n}th of many checks") for n in range(60)]
    return replace(
        _mid_backfill(), progress=tuple(copies), rejects=refused, events=events(*lines), checks=tuple(checks)
    )


def _runner_lost(*, held: bool) -> RunState:
    """A copy whose runner is not heard any more; ``held``: its session lives."""
    state = _mid_backfill()
    assert state.lease is not None
    return replace(state, lease=replace(state.lease, age_s=42.0, alive=False, held=held))


STATES: dict[str, Callable[[], RunState]] = {
    "fresh": _fresh,
    "mid backfill": _mid_backfill,
    "paused": lambda: replace(_mid_backfill(), status=RunStatus.PAUSED, lease=None),
    "runner gone": lambda: _runner_lost(held=False),
    "runner frozen": lambda: _runner_lost(held=True),
    "lock wait": _lock_wait,
    "failed check": _failed_check,
    "differing rows": _differing_rows,
    "drain": _drain,
    "gate": _gate,
    "done": _done,
    "purged": _purged,
    "rolling back": lambda: _rolling_back(note="about 60,000 of 250,000 rows compared"),
    "rollback paused": lambda: _rolling_back(RunStatus.PAUSED),
    "rollback failed": lambda: _rolling_back(
        RunStatus.FAILED,
        "rolling back P2.1.2: Going back would lose 3 rows of book_ticker_snapshots_v2 that book_ticker_snapshots refuses.",
    ),
    "rolled back": _rolled_back,
    "busy": _busy,
    "runner lost": lambda: replace(_mid_backfill(), lease=a_lease(age_s=312.0)),
}


def a_run_state(moment: str = "mid backfill", **changes: Any) -> RunState:
    """The canned run at a moment of ``STATES``, with fields of RunState changed."""
    return replace(STATES[moment](), **changes)


def a_rollback_preview(variety: str = "safe") -> RollbackPreview:
    """A rollback of the canned run: ``safe`` (nothing lost), ``lossy`` (asks to type) or ``impossible``."""
    steps = (
        RollbackStep(
            "P2.1.2",
            "half done: empty book_ticker_snapshots_v2, what only it holds carried to book_ticker_snapshots first",
            ("LOCK TABLE book_ticker_snapshots_v2 IN ACCESS EXCLUSIVE MODE", "TRUNCATE book_ticker_snapshots_v2"),
            2.5,
            "about 250,000 rows of book_ticker_snapshots to compare at 100,000/s, as they were copied",
            ("ACCESS EXCLUSIVE on book_ticker_snapshots_v2 (by grammar)",) * 2,
        ),
        RollbackStep(
            "P2.1.1",
            "stop carrying writes from book_ticker_snapshots to book_ticker_snapshots_v2",
            ("DROP TRIGGER pgferry_fwd ON book_ticker_snapshots",),
            None,
            "it never ran, and its text does not tell",
            ("ACCESS EXCLUSIVE on book_ticker_snapshots (measured)",),
        ),
    )
    safe = RollbackPreview(
        to="P2.1.1",
        steps=steps,
        loses=(),
        keeps=("8 tasks, up to P1.2.3",),
        facts=(
            "1,204,882 writes through book_ticker_snapshots_v2 since 21:30:12 are already in book_ticker_snapshots:"
            " nothing to copy",
            "12 rows that the new shape refused stay in book_ticker_snapshots",
        ),
        impossible="",
        seconds=2.5,
        before=(
            "applications write 800/s through book_ticker_snapshots_v2 now; at P2.1.1 they have to be gone from"
            " book_ticker_snapshots_v2: 2 s without a write are waited for, 120 s at most, else it stops there and"
            " nothing is lost",
        ),
        at=NOW,
    )
    if variety == "lossy":
        lost = "812 rows of book_notes: undoing P2.1.1 drops them, and this plan did not write them"
        return replace(safe, loses=(lost,), needs_typing="arbitrage")
    if variety == "impossible":
        return replace(
            safe,
            to="start",
            steps=(),
            seconds=None,
            impossible="P4.1.3 purged the old table; its rows are in the export",
        )
    return safe
