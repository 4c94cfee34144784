"""Who is around the plan's tables: users of each shape, chains of waits, replicas, what a role may not see."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from psycopg.conninfo import make_conninfo

from console.engine import users
from console.engine.blockers import BLOCKS_OTHERS, USES_NEW, USES_OLD, USES_TABLES, WAITS_TOO
from console.engine.observe import BRIEF, Observer, hidden
from console.engine.users import User
from console.engine.uses import Uses
from console.journal.activity import NEW, OLD
from console.journal.connect import Conn, connect
from console.journal.read import run_state
from console.journal.recorded import record
from console.journal.state import RunStatus, Verb
from console.plan.model import Direction, Kind
from tests.engine.scene import MAPPING, a_database, a_plan, a_run, a_session, a_task, switch_on
from tests.faults.locked import a_holder, until_state
from tests.faults.tools import one, runner_thread, send, state_of, until


def who(conn: Conn, since: float = 0.0) -> dict[str, User]:
    """Everybody around the tables, by application."""
    tables = users.places(conn, (MAPPING,), "pgferry_archive")
    return {user.session.application: user for user in users.look(conn, tables, since)}


@contextmanager
def waiting(conninfo: str, *statements: tuple[str, str]) -> Iterator[None]:
    """Sessions (application, statement), each started once the one before waits; they end with the block."""
    conns = [connect(conninfo, application_name=name) for name, _ in statements]
    with ThreadPoolExecutor(len(conns)) as pool, connect(conninfo) as control:
        try:
            for conn, (_, statement) in zip(conns, statements, strict=True):
                pool.submit(conn.execute, statement.encode())
                pid = conn.info.backend_pid
                until(lambda pid=pid: one(control, f"SELECT cardinality(pg_blocking_pids({pid}))"), "it to wait")
            yield
        finally:
            for conn in conns:
                control.execute("SELECT pg_terminate_backend(%s)", (conn.info.backend_pid,))
    for conn in conns:
        conn.close()


def test_each_shape_by_what_a_session_names_or_locks(database: str) -> None:
    conn = a_database(database, rows=5)
    switch_on(conn, Direction.BOTH)
    conn.execute("CREATE VIEW old_sales AS SELECT * FROM sales")
    conn.execute("CREATE FUNCTION sold() RETURNS void LANGUAGE sql AS 'UPDATE sales SET note = note'")
    holders = [
        a_holder(database, query, name)
        for name, query in {
            "old reader": "SELECT count(*) FROM SALES",
            "through a view": "SELECT count(*) FROM old_sales",
            "new writer": "INSERT INTO sales_v2 VALUES ('2026-02-01Z', 3, 1, 'x')",
            "through a function": "SELECT sold()",
            "elsewhere": "SELECT count(*) FROM goods",
            "monitoring": "SELECT count(*) FROM pg_class WHERE relname = 'sales'",
        }.items()
    ]
    found = who(conn)
    assert {name: user.session.role for name, user in found.items()} == {
        "old reader": USES_OLD, "through a view": USES_OLD, "new writer": USES_NEW, "through a function": USES_TABLES,
    }  # fmt: skip
    assert {name: set(user.sides) for name, user in found.items()} == {
        "old reader": {OLD}, "through a view": {OLD}, "new writer": {NEW}, "through a function": set(),
    }, "the sync locks the other table too: only what is certain counts"  # fmt: skip
    assert found["new writer"].session.table == "sales_v2 ROW EXCLUSIVE, sales ROW EXCLUSIVE"
    for holder in holders:
        holder.close()
    conn.close()


def test_a_statement_that_is_over_counts_until_the_next_look(database: str) -> None:
    conn = a_database(database, rows=5)
    with connect(database, application_name="quick") as quick:
        quick.execute("SELECT count(*) FROM sales")
        assert who(conn, since=60)["quick"].brief
        assert who(conn, since=60)["quick"].session.mark.endswith(" *"), "the session, whatever its transaction"
        assert "quick" not in who(conn, since=0)
        quick.execute("SELECT 'sales'")
        assert "quick" not in who(conn, since=60), "a literal is no use"
    conn.close()


def test_a_chain_of_three_is_told_from_its_root(database: str) -> None:
    conn = a_database(database, rows=5)
    root = a_holder(database, "SELECT count(*) FROM sales", "report")
    with waiting(
        database,
        ("admin", "ALTER TABLE sales ADD COLUMN more int"),
        ("application", "INSERT INTO sales VALUES ('2026-03-01Z', 'S1', 'item1', 1, 'x')"),
    ):
        until(lambda: len([u for u in who(conn).values() if u.session.role == WAITS_TOO]) == 2, "both to have waited")
        found = {name: user.session for name, user in who(conn).items()}
        assert {name: item.role for name, item in found.items()} == {
            "report": BLOCKS_OTHERS, "admin": WAITS_TOO, "application": WAITS_TOO,
        }  # fmt: skip
        assert found["report"].waits_for == 0
        assert found["admin"].waits_for == found["report"].pid
        assert found["application"].waits_for == found["admin"].pid
        assert found["admin"].table == "sales ACCESS EXCLUSIVE"
    root.close()
    conn.close()


def test_a_prepared_transaction_on_a_table_is_named(database: str) -> None:
    conn = a_database(database, rows=5)
    with connect(database, autocommit=False) as other:
        other.execute("DELETE FROM sales")
        other.execute("PREPARE TRANSACTION 'left behind'")
    found = who(conn)["prepared transaction"].session
    assert (found.pid, found.query, found.role) == (0, "left behind", BLOCKS_OTHERS)
    conn.execute("ROLLBACK PREPARED 'left behind'")
    assert who(conn) == {}
    conn.close()


def test_a_retired_table_is_followed_and_partitions_belong_to_their_table(database: str) -> None:
    conn = a_database(database)
    conn.execute("CREATE SCHEMA pgferry_archive")
    conn.execute("ALTER TABLE sales SET SCHEMA pgferry_archive")
    conn.execute("DROP TABLE sales_v2")
    conn.execute("CREATE TABLE sales_v2 (at timestamptz) PARTITION BY RANGE (at)")
    conn.execute("CREATE TABLE part PARTITION OF sales_v2 DEFAULT")
    holders = [
        a_holder(database, "SELECT count(*) FROM pgferry_archive.sales", "old"),
        a_holder(database, "SELECT * FROM part", "new"),
    ]
    assert {name: user.session.role for name, user in who(conn).items()} == {"old": USES_OLD, "new": USES_NEW}
    for holder in holders:
        holder.close()
    conn.close()


def test_a_picture_by_application_and_minute_survives_its_runner(database: str) -> None:
    conn = a_database(database, rows=20)
    switch_on(conn, Direction.BOTH)
    session = a_session(database, a_plan(a_task("drain", Kind.DRAIN, mappings=("sales",))))
    with (
        connect(database, application_name="writer") as writer,
        connect(database, application_name="reader") as reader,
    ):
        observer = Observer(session)
        observer.look(conn)
        for _ in range(3):
            writer.execute("UPDATE sales SET note = 'again' WHERE note IN ('row 1', 'again')")
            reader.execute("SELECT count(*) FROM sales_v2")
        observer._shown_at = float("-inf")
        observer.look(conn)
        state = run_state(conn, session.run_id, environment="DEV")
        assert state.activity is not None
        seen = {(use.side, use.application): sum(use.seen) for use in state.activity.uses}
        assert seen == {(OLD, "writer"): 1, (NEW, "reader"): 1}
        assert sum(state.activity.looks) == 2
        writes = {count.side: sum(n or 0 for n in count.writes) for count in state.activity.counts}
        assert writes == {OLD: 3, NEW: 0}, "exact, and only the applications' own"
        reader.execute("SELECT note AS password FROM sales")
        observer._shown_at = float("-inf")
        observer.look(conn)
        told = [frame for frame in record(conn, session.run_id, "DEV").frames if frame.name == "activity"]
        assert not any("AS password" in str(frame.payload) for frame in told), "an export keeps no secret"
        shown = {item.application: (item.role, item.state, item.table) for item in state.around}
        assert shown["writer"][:2] == (USES_OLD, BRIEF)
        assert shown["reader"] == (USES_NEW, BRIEF, "sales_v2")
    session.uses = Uses()
    Observer(session).look(conn)
    assert sum(session.uses.picture(state.activity.at.timestamp())[0]) >= 3, (
        "what was seen before, and what was seen since"
    )
    session.conn.close()
    conn.close()


def test_a_drain_names_both_applications_and_falls_quiet(database: str) -> None:
    conn = a_database(database, rows=20)
    plan = a_plan(
        a_task("sync", Kind.SYNC, mappings=("sales",)),
        a_task("drain", Kind.DRAIN, mappings=("sales",), quiet_seconds=3),
    )
    run_id = a_run(database, plan)
    conn.execute("CREATE VIEW old_sales AS SELECT * FROM sales")
    send(database, run_id, Verb.START, until="end")
    ended = threading.Event()

    def use(name: str, statement: str) -> None:
        with connect(database, application_name=name) as user:
            while not ended.wait(0.05):
                user.execute(statement.encode())

    with ThreadPoolExecutor(2) as pool, runner_thread(database, plan, run_id) as running:
        uses = [
            pool.submit(use, "old writer", "UPDATE sales SET note = 'again' WHERE note IN ('row 1', 'again')"),
            pool.submit(use, "view reader", "BEGIN; SELECT count(*), pg_sleep(0.3) FROM old_sales; COMMIT"),
        ]
        try:
            state = until_state(
                database,
                run_id,
                lambda s: s.drain and s.activity and len([u for u in s.activity.uses if sum(u.seen) > 1]) >= 2,
                "both to be named",
            )
            assert not running.done()
        finally:
            ended.set()
        for item in uses:
            item.result()
        assert state.drain is not None
        assert state.activity is not None
        assert (state.drain.side, state.drain.wanted_s) == (OLD, 3)
        assert state.drain.quiet_s < 3
        assert "old writer" in state.drain.last_user or "view reader" in state.drain.last_user
        assert {(OLD, "old writer"), (OLD, "view reader")} <= {
            (use.side, use.application) for use in state.activity.uses
        }
        (old,) = [count for count in state.activity.counts if count.side == OLD]
        assert sum(n or 0 for n in old.writes) > 0, "the sync counts them"
        assert running.result(timeout=60) is RunStatus.DONE, state_of(database, run_id).error
    state = state_of(database, run_id)
    assert (state.drain, state.sessions) == (None, ())
    conn.close()


def test_what_the_role_may_not_see_is_said(database: str) -> None:
    conn = a_database(database, rows=5)
    switch_on(conn, Direction.FORWARD)
    conn.execute("CREATE ROLE blind LOGIN")
    conn.execute("GRANT USAGE ON SCHEMA public TO blind")
    holder = a_holder(database, "SELECT count(*) FROM sales", "hidden report")
    with connect(make_conninfo(database, user="blind")) as looker:
        found = who(looker)["hidden report"].session
        assert (found.state, found.mark, found.table) == ("not visible", "", "sales ACCESS SHARE")
        assert found.role == USES_OLD, "its lock is visible to everybody"
        (words,) = hidden(looker)
        assert "role blind may not see" in words
        assert "grant it pg_monitor" in words
    conn.execute("GRANT pg_monitor TO blind")
    with connect(make_conninfo(database, user="blind")) as looker:
        assert hidden(looker) == ()
    holder.close()
    conn.execute("DROP OWNED BY blind")
    conn.execute("DROP ROLE blind")
    conn.close()
