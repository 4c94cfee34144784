"""A plan directory over the scene's tables, runner processes that can be killed, and what must hold at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from console.commands.spawn import log_file, start_runner
from console.engine.compare import compare
from console.engine.runner import carry
from console.engine.session import Session, Wishes
from console.journal import commands, lease
from console.journal.connect import Conn, connect
from console.journal.lease import Fence
from console.journal.read import run_state
from console.journal.state import RunState, RunStatus, Verb
from console.plan.load import load_plan
from console.plan.model import BackfillSettings, Kind, Plan
from tests.engine.scene import a_plan, a_task

PLAN = """
format = 1
id = "scene"
title = "A scene"

[[mapping]]
id = "sales"
old = "sales"
new = "sales_v2"
old_key = ["at", "shop", "item"]
new_key = ["at", "good_id"]
refuse = [{ when = "o.shop = o.item", reason = "shop equals item" }]
[mapping.columns]
at = 'o."at"'
good_id = "g.good_id"
amount = "o.amount"
note = "o.note"
[mapping.back]
at = "n.at"
shop = "g.shop"
item = "g.item"
amount = "n.amount"
note = "n.note"
[[mapping.lookup]]
name = "g"
relation = "goods_names"
match = { shop = "shop", item = "item" }
gives = "good_id"
canonical = "is_canonical"

[[phase]]
id = "1"
title = "Only phase"
schedule = "now"
risk = "low"
goal = "carry the sales over"
[[phase.task]]
id = "ddl"
title = "statements that leave a trace"
kind = "sql"
minutes = 1
file = "001_trace.sql"
[[phase.task]]
id = "sync"
title = "every write is carried"
kind = "sync"
minutes = 1
mappings = ["sales"]
[[phase.task]]
id = "copy"
title = "copy"
kind = "backfill"
minutes = 1
mappings = ["sales"]
batch_rows = 50
target_ms = 5
max_rows_per_second = 3000
workers = 2
max_reject_percent = 50
[[phase.task]]
id = "compare"
title = "compare"
kind = "check"
minutes = 1
mappings = ["sales"]
""".replace("is_canonical", "canonical")

STATEMENTS = 12  # traces left by the first task
TRACES = "CREATE TABLE ran (n int PRIMARY KEY, times int NOT NULL);\n" + "\n".join(
    f"INSERT INTO ran SELECT {n}, 1 FROM (SELECT pg_sleep(0.03)) s;" for n in range(STATEMENTS)
)


def a_plan_directory(folder: Path) -> Plan:
    """Write a plan over the scene's tables and load it."""
    folder.mkdir()
    (folder / "plan.toml").write_text(PLAN)
    (folder / "001_trace.sql").write_text(TRACES + "\n")
    (folder / "001_trace.down.sql").write_text("DROP TABLE ran;\n")
    return load_plan(folder)


SLOW = BackfillSettings(batch_rows=50, target_ms=5, max_rows_per_second=1500, workers=2, max_reject_percent=50)


def a_slow_plan(settings: BackfillSettings = SLOW) -> Plan:
    """Sync, a copy in many small batches, a comparison."""
    return a_plan(
        a_task("sync", Kind.SYNC, mappings=("sales",)),
        a_task("copy", Kind.BACKFILL, mappings=("sales",), backfill=settings),
        a_task("compare", Kind.CHECK, mappings=("sales",)),
    )


def until(condition: Callable[[], object], what: str, seconds: float = 20.0) -> None:
    """Wait for a condition; fails in words when it does not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.01)


@contextmanager
def runner_process(conninfo: str, plan: Plan, run_id: int) -> Iterator[Callable[[], int | None]]:
    """A runner in a process of its own, killed with SIGKILL at the end of the block if it still lives."""
    process = start_runner(conninfo, plan.root, run_id, "tester")
    try:
        yield process.poll
    finally:
        process.kill()
        process.wait()


def run_to_the_end(conninfo: str, plan: Plan, run_id: int) -> None:
    """A runner in a process of its own, until it ends."""
    process = start_runner(conninfo, plan.root, run_id, "tester")
    try:
        code = process.wait(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert code == 0, log_file(run_id).read_text() + state_of(conninfo, run_id).error


@contextmanager
def runner_thread(conninfo: str, plan: Plan, run_id: int, **more: bool) -> Iterator[Future[RunStatus]]:
    """A runner in a thread; whoever leaves the block has waited for it."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(carry, conninfo, plan, run_id, "tester", **more)


def send(conninfo: str, run_id: int, verb: Verb, **args: object) -> int:
    """Send a command; returns its id."""
    with connect(conninfo) as conn:
        return commands.send(conn, run_id, verb, args, actor="tester")


def state_of(conninfo: str, run_id: int) -> RunState:
    """The run's state as a console sees it."""
    with connect(conninfo) as conn:
        return run_state(conn, run_id, environment="DEV")


def one(conn: Conn, query: str) -> int:
    """The first column of the first row."""
    row = conn.execute(query).fetchone()
    assert row is not None
    return int(row[0])


def chunks_done(conn: Conn) -> int:
    """Chunks finished so far."""
    return one(conn, "SELECT count(*) FROM pgferry.chunk WHERE status = 'done'")


def terminate(conn: Conn, run_id: int, what: str) -> int:
    """End the runner's connections of one kind (work, copy, control); returns how many."""
    name = f"pgferry run {run_id} {what}"
    return one(conn, f"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = '{name}'")


def assert_copied_once(conn: Conn, rows: int) -> None:
    """Every chunk is done and no row was read twice or passed over; nothing may have written meanwhile."""
    left, read, written, rejected = conn.execute(
        "SELECT count(*) FILTER (WHERE status <> 'done'), sum(rows_read), sum(rows_written), sum(rows_rejected)"
        " FROM pgferry.chunk"
    ).fetchone() or (0, 0, 0, 0)
    assert (left, read, written + rejected) == (0, rows, rows)
    assert one(conn, "SELECT count(*) FROM sales_v2") == written
    assert one(conn, "SELECT count(*) FROM pgferry.reject") == rejected


def assert_equal(conninfo: str, plan: Plan, mapping: str = "sales") -> None:
    """The two tables hold the same by a comparison outside of any run."""
    with connect(conninfo) as conn:
        session = Session(plan, conninfo, 0, Fence(0, 0), "tester", Wishes(), _conn=conn)
        verdict = compare(session, plan.task("compare"), plan.mapping(mapping), show=False)
    assert verdict.ok, (verdict.words(), verdict.samples)


def assert_no_runner_left(conn: Conn, run_id: int) -> None:
    """Nobody holds the lease or a connection any more."""
    name = f"pgferry run {run_id} %"
    until(
        lambda: one(conn, f"SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE '{name}'") == 0,
        "the runner's connections to end",
    )
    assert lease.read(conn, run_id) is None
