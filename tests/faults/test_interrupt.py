"""An operator cancels or ends what is in the way, or the run's own statement: the one confirmed, and nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from console.journal import commands
from console.journal.connect import connect
from console.journal.state import RunStatus, Session, Verb
from console.plan.load import load_plan
from console.plan.model import Kind
from tests.engine.scene import a_database, a_plan, a_run, a_task, order
from tests.engine.tiny import ferry, tiny_plan
from tests.faults.locked import a_holder, a_statement, lines, running_alone, until_state
from tests.faults.tools import runner_process, send, state_of, until

MORE = "ALTER TABLE sales ADD COLUMN more int;"


def asked(database: str, run_id: int, verb: Verb, session: Session, **changed: object) -> tuple[bool, str]:
    """The runner's answer to a signal for this session."""
    args = {"pid": session.pid, "mark": session.mark, **changed}
    command = send(database, run_id, verb, **args)
    with connect(database) as conn:
        until(lambda: commands.outcome(conn, command), "the answer")
        outcome = commands.outcome(conn, command)
    assert outcome is not None
    return outcome


def shown(database: str, run_id: int, role: str = "blocks us") -> Session:
    """The first session in that role, as a console sees it."""
    state = until_state(database, run_id, lambda state: any(s.role == role for s in state.sessions), role)
    return next(s for s in state.sessions if s.role == role)


def test_ending_the_holder_lets_the_change_through(database: str) -> None:
    a_database(database, rows=10).close()
    plan = a_statement(MORE)
    run_id = a_run(database, plan)
    holder = a_holder(database)
    send(database, run_id, Verb.START, until="end")
    with running_alone(database, plan, run_id) as running:
        session = shown(database, run_id)
        refused = asked(database, run_id, Verb.CANCEL, session)
        assert refused[0] is False
        assert "is idle in transaction: it has no statement to cancel. Nothing was done. End the session" in refused[1]
        accepted = asked(database, run_id, Verb.TERMINATE, session)
        assert accepted[0] is True
        assert accepted[1].startswith(f"ended pid {holder.info.backend_pid} forgotten psql (idle in transaction")
        assert running.result() is RunStatus.DONE, state_of(database, run_id).error
    with pytest.raises(psycopg.OperationalError):
        holder.execute("SELECT 1")
    told = [e for e in state_of(database, run_id).events if e.kind == "operator" and "ended pid" in e.text]
    assert [e.actor for e in told] == ["tester"]


def test_cancelling_what_a_blocker_does(database: str) -> None:
    a_database(database, rows=10).close()
    plan = a_statement(MORE)
    run_id = a_run(database, plan)
    blocker = a_holder(database, "LOCK TABLE sales", "slow report")
    with ThreadPoolExecutor(1) as pool:
        report = pool.submit(blocker.execute, "SELECT pg_sleep(600)")
        send(database, run_id, Verb.START, until="end")
        with running_alone(database, plan, run_id) as running:
            until_state(database, run_id, lambda s: any("pg_sleep" in x.query for x in s.sessions), "the report")
            accepted, text = asked(database, run_id, Verb.CANCEL, shown(database, run_id))
            assert accepted, text
            with pytest.raises(psycopg.errors.QueryCanceled):
                report.result()
            assert running.result() is RunStatus.DONE, state_of(database, run_id).error
    blocker.rollback()
    assert blocker.execute("SELECT 1").fetchone() == (1,), "its session lives"
    blocker.close()


def test_nobody_else_is_ever_hit(database: str) -> None:
    conn = a_database(database, rows=10)
    plan = a_statement(MORE)
    run_id = a_run(database, plan)
    holder = a_holder(database)
    bystander = a_holder(database, "SELECT count(*) FROM goods", "bystander")
    send(database, run_id, Verb.START, until="end")
    with running_alone(database, plan, run_id) as running:
        session = shown(database, run_id)

        def refusal(**changed: object) -> str:
            accepted, text = asked(database, run_id, Verb.TERMINATE, session, **changed)
            assert not accepted
            return text

        start, _, transaction = session.mark.partition(" ")
        assert "is another one by now, or in another transaction" in refusal(mark=f"{start} 1.5")
        assert "is another one by now" in refusal(mark=f"1.5 {transaction}")
        assert "is another one by now" in refusal(mark="")
        (mark,) = conn.execute(
            "SELECT extract(epoch FROM backend_start)::text || ' ' || extract(epoch FROM xact_start)::text"
            " FROM pg_stat_activity WHERE pid = %s",
            (bystander.info.backend_pid,),
        ).fetchone() or ("",)
        assert "is not in the way of this run" in refusal(pid=bystander.info.backend_pid, mark=mark)
        for name in ("control", "work", "watch"):
            (pid,) = conn.execute(
                "SELECT pid FROM pg_stat_activity WHERE application_name = %s", (f"pgferry run {run_id} {name}",)
            ).fetchone() or (0,)
            answer = refusal(pid=pid)
            assert "pgferry's own" in answer or "this run's own statement" in answer
        (server, mark) = conn.execute(
            "SELECT pid, extract(epoch FROM backend_start)::text || ' -' FROM pg_stat_activity"
            " WHERE backend_type = 'checkpointer'"
        ).fetchone() or (0, "")
        assert "is the server's own (checkpointer)" in refusal(pid=server, mark=mark)
        assert "is gone already" in refusal(pid=2**22 + 1)
        assert "no session to signal" in refusal(pid=0)
        assert "Name the session by its pid and mark" in refusal(pid="1; DROP TABLE sales")
        holder.commit()  # it goes on to another transaction, which may be in the way again
        holder.execute("SELECT count(*) FROM sales")
        assert "another transaction" in refusal() or running.done()
        holder.commit()
        assert running.result() is RunStatus.DONE, state_of(database, run_id).error
    for alive in (holder, bystander):
        assert alive.execute("SELECT 1").fetchone() == (1,)
        alive.close()
    conn.close()


@pytest.fixture
def as_owner(database: str) -> Iterator[str]:
    """The database through a role that owns it and may do nothing else."""
    with connect(database) as conn:
        conn.execute("DROP ROLE IF EXISTS ferry_owner")
        conn.execute("CREATE ROLE ferry_owner LOGIN")
        conn.execute(f"ALTER DATABASE {conn.info.dbname} OWNER TO ferry_owner")
        conn.execute("ALTER SCHEMA public OWNER TO ferry_owner")
    yield make_conninfo(database, user="ferry_owner")
    with connect(database) as conn:
        conn.execute(f"ALTER DATABASE {conn.info.dbname} OWNER TO postgres")
        conn.execute("REASSIGN OWNED BY ferry_owner TO postgres")
        conn.execute("DROP OWNED BY ferry_owner")
        conn.execute("DROP ROLE ferry_owner")


def test_without_the_privilege_it_is_refused_plainly(database: str, as_owner: str) -> None:
    a_database(as_owner, rows=10).close()
    plan = a_statement(MORE)
    run_id = a_run(as_owner, plan)
    holder = a_holder(database)  # a superuser's
    send(as_owner, run_id, Verb.START, until="end")
    with running_alone(as_owner, plan, run_id) as running:
        session = shown(as_owner, run_id)
        assert (session.pid, session.state, session.mark) == (holder.info.backend_pid, "not visible", "")
        answer = asked(as_owner, run_id, Verb.TERMINATE, session)
        assert answer[0] is False
        assert "may not see enough" in answer[1]
        assert "Grant it pg_read_all_stats and pg_signal_backend" in answer[1]
        with connect(database) as conn:
            conn.execute("GRANT pg_read_all_stats TO ferry_owner")
        until_state(as_owner, run_id, lambda s: any(x.mark and x.role == "blocks us" for x in s.sessions), "the mark")
        seen = shown(as_owner, run_id)
        accepted, text = asked(as_owner, run_id, Verb.TERMINATE, seen)
        assert not accepted
        assert "may not signal session" in text
        assert "Nothing was done" in text
        holder.rollback()
        assert running.result() is RunStatus.DONE, state_of(database, run_id).error
    holder.close()


def test_our_own_statement_is_cancelled_and_resumed(database: str) -> None:
    conn = a_database(database, rows=10)
    slow = (
        "CREATE TABLE slow AS SELECT 1 AS n FROM pg_sleep(CASE WHEN exists (SELECT 1 FROM goods) THEN 600 ELSE 0 END);"
    )
    plan = a_statement("CREATE TABLE before (n int); " + slow)
    run_id = a_run(database, plan)
    send(database, run_id, Verb.START, until="end")
    with running_alone(database, plan, run_id) as running:
        ours = shown(database, run_id, "our statement")
        assert "pg_sleep" in ours.query
        command = send(database, run_id, Verb.PAUSE)
        until(lambda: commands.outcome(conn, command), "the answer")
        told = (commands.outcome(conn, command) or (False, ""))[1]
        assert "pause after the statement that runs now (CREATE TABLE slow" in told
        assert f"'pgferry cancel {ours.pid}'" in told
        assert asked(database, run_id, Verb.CANCEL, ours)[0] is True
        assert running.result() is RunStatus.FAILED
    state = state_of(database, run_id)
    assert "cancelled by tester. Nothing of it was done; the statements before it stand." in state.error
    assert [s.status for s in state.statements] == ["done", "failed"]
    assert state.sessions == ()
    conn.execute("TRUNCATE goods")
    status, _ = order(database, plan, run_id, Verb.RESUME)
    assert status is RunStatus.DONE, state_of(database, run_id).error
    conn.close()


def test_our_own_build_is_cancelled_and_leaves_nothing(database: str) -> None:
    conn = a_database(database, rows=100)
    plan = a_statement("CREATE INDEX CONCURRENTLY sales_note ON sales (note);", build_lock_timeout_ms=600_000)
    run_id = a_run(database, plan)
    snapshot = connect(database, autocommit=False)  # holds a build up, and no lock on the table
    snapshot.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    snapshot.execute("SELECT 1")
    send(database, run_id, Verb.START, until="end")
    with running_alone(database, plan, run_id) as running:
        ours = shown(database, run_id, "our statement")
        assert asked(database, run_id, Verb.CANCEL, ours)[0] is True
        assert running.result() is RunStatus.FAILED
    state = state_of(database, run_id)
    assert "cancelled by tester" in state.error
    assert ("Nothing of it is left" in state.error) == (
        not list(conn.execute("SELECT 1 FROM pg_index WHERE NOT indisvalid"))
    )
    snapshot.close()
    status, _ = order(database, plan, run_id, Verb.RESUME)
    assert status is RunStatus.DONE, state_of(database, run_id).error
    assert conn.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = 'sales_note'::regclass").fetchone() == (
        True,
    )
    conn.close()


def test_who_uses_an_old_table_can_be_ended(database: str) -> None:
    """An application that reads the old table in one short transaction after the other keeps the drain waiting."""
    a_database(database, rows=10).close()
    plan = a_plan(
        a_task("sync", Kind.SYNC, mappings=("sales",)),
        a_task("drain", Kind.DRAIN, mappings=("sales",), quiet_seconds=1),
    )
    run_id = a_run(database, plan)
    user = a_holder(database, "SELECT pg_sleep(600) FROM sales LIMIT 0", "old report")
    send(database, run_id, Verb.START, until="end")
    with running_alone(database, plan, run_id) as running:
        session = shown(database, run_id, "uses the old table")
        assert session.mark.endswith(" *")
        accepted, text = asked(database, run_id, Verb.TERMINATE, session)
        assert accepted, text
        assert running.result() is RunStatus.DONE, state_of(database, run_id).error
    with pytest.raises(psycopg.OperationalError):
        user.execute("SELECT 1")


def test_the_command_names_asks_and_does(database: str, tmp_path: Path) -> None:
    plan = load_plan(tiny_plan(tmp_path, fill="ALTER TABLE things ADD COLUMN more int;\n"))
    words = ("--plan", str(plan.root), "--dsn", database)
    run_id = a_run(database, plan)
    send(database, run_id, Verb.START, until="A1")
    with runner_process(database, plan, run_id) as poll:
        until(lambda: poll() is not None, "the table")
    holder = a_holder(database, "SELECT 1 FROM things")
    send(database, run_id, Verb.START, until="A2")
    with runner_process(database, plan, run_id):
        pid = shown(database, run_id).pid
        code, out, err = ferry("cancel", "1", *words)
        assert (code, out) == (5, "")
        assert "No session 1 is known to be in the way of the run. Nothing was done." in err
        code, out, err = ferry("cancel", str(pid), "--terminate", *words)
        assert (code, out) == (5, "")
        assert f"blocks us: pid {pid} forgotten psql (idle in transaction" in err
        assert "It was not confirmed. Nothing was done." in err
        code, out, err = ferry("cancel", str(pid), "--terminate", "--yes", *words)
        assert (code, out[:20]) == (0, f"ended pid {pid} forgotten"[:20]), err
        until(lambda: state_of(database, run_id).status is RunStatus.WAITING, "the change")
    assert lines(state_of(database, run_id), "ended pid")
    holder.close()
