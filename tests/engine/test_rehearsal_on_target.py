"""The second mode of the rehearsal: measured on the target itself, and everything there is as before."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from console.demo.server import EmbeddedServer
from console.engine.files import pieces
from console.journal.connect import Conn, connect
from console.plan.model import Plan
from console.plan.rehearsed import TARGET, Outcome, Rehearsal
from console.rehearsal.on_target import OnTarget, measure, refusal
from console.rehearsal.scratch import Scratch
from console.rehearsal.state import State, compare
from tests.engine.test_rehearsal import BASELINE, a_plan, statement
from tests.engine.tiny import ferry, start, wait_until


@pytest.fixture
def owner(database: str) -> Iterator[Conn]:
    """The target, filled, as its owner."""
    with connect(database) as conn:
        conn.execute(BASELINE + "CREATE SEQUENCE numbers;")  # type: ignore[arg-type]
        yield conn


def state(server: EmbeddedServer, conn: Conn) -> State:
    return Scratch(server, conn.info.dbname).state()


def measured(conn: Conn, database: str, plan: Plan, **limits: int) -> Rehearsal:
    return measure(plan, OnTarget(database, **limits), lambda _: None)  # type: ignore[arg-type]


TASKS: dict[str, tuple[str, str | None]] = {
    "A": (
        "ALTER TABLE things ADD COLUMN made timestamptz DEFAULT clock_timestamp();\n"
        "CREATE INDEX CONCURRENTLY things_kind ON things (kind);\nDELETE FROM things WHERE id < 50;\n"
        "SELECT nextval('numbers');\n",
        "SELECT 1;",
    ),
    "B": ("ALTER TABLE things DROP COLUMN made;", "SELECT 1;"),
    "C": ("DROP TABLE owners;", None),
}


def test_statements_are_measured_and_everything_is_as_before(
    server: EmbeddedServer, database: str, owner: Conn, tmp_path: Path
) -> None:
    plan = a_plan(tmp_path, TASKS)
    before = state(server, owner)
    record = measured(owner, database, plan)
    after = state(server, owner)
    assert compare(before, after) == ()
    assert after.schema == before.schema
    assert after.sequences == {"numbers": 1}
    assert "sequence numbers moved from 0 to 1" in record.notes
    assert record.mode == TARGET
    first, second, third = record.tasks
    assert [task.outcome for task in record.tasks] == [Outcome.NOT_REHEARSED, Outcome.FAILED, Outcome.NOT_REHEARSED]
    add = statement(first, "ALTER TABLE things")
    assert add.rewritten == ("things", "things_pkey")
    assert ("things", "ACCESS EXCLUSIVE") in add.locks
    assert "could not be measured: CREATE INDEX CONCURRENTLY things_kind" in first.why
    assert 'column "made" of relation "things" does not exist' in second.why  # each task stands alone
    assert ("owners", "ACCESS EXCLUSIVE") in statement(third, "DROP TABLE owners").locks


def test_it_gives_way_and_ends_in_time(server: EmbeddedServer, database: str, owner: Conn, tmp_path: Path) -> None:
    plan = a_plan(
        tmp_path,
        {"A": ("DROP TABLE owners;", None), "B": ("CREATE TABLE n (id int); SELECT pg_sleep(60);", "DROP TABLE n;")},
    )
    with connect(database) as other, other.transaction():
        other.execute("SELECT * FROM owners")
        record = measured(owner, database, plan, most_ms=300)
    assert "did not get its lock in 100 ms" in record.tasks[0].why
    assert "still running after 300 ms" in record.tasks[1].why
    assert owner.execute("SELECT to_regclass('n'), to_regclass('owners')::text").fetchone() == (None, "owners")


def test_what_a_rollback_does_not_undo_is_refused(tmp_path: Path) -> None:
    texts = (
        "VACUUM things",
        "COPY things TO '/tmp/x'",
        "CALL p()",
        "LOAD 'x'",
        "CREATE INDEX CONCURRENTLY ON things (id)",
    )
    plan = a_plan(tmp_path, {f"T{n}": (f"{text};", "SELECT 1;") for n, text in enumerate(texts)})
    for task in plan.tasks:
        assert task.file is not None
        (piece,) = pieces(task.file)
        assert refusal(piece), piece.sql


def test_production_is_asked_for_and_a_kill_leaves_nothing(
    server: EmbeddedServer, database: str, owner: Conn, tmp_path: Path
) -> None:
    plan = a_plan(tmp_path, {"A": ("DELETE FROM things; SELECT pg_sleep(1.5);", "SELECT 1;")})
    words = ("rehearse", "--plan", str(plan.root), "--dsn", database, "--on-target")
    code, _, err = ferry(*words, PGFERRY_ENV="PROD")
    assert code == 5
    assert "was not confirmed" in err
    process = start(*words, "--yes", PGFERRY_ENV="PROD")
    sleeping = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%pg_sleep(1.5)%' AND pid <> pg_backend_pid()"
    assert wait_until(lambda: (owner.execute(sleeping).fetchone() or (0,))[0])  # type: ignore[arg-type]
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=20)
    # The server notices a dead client when its statement ends; until then the rows stay locked.
    assert wait_until(lambda: not (owner.execute(sleeping).fetchone() or (0,))[0])  # type: ignore[arg-type]
    assert owner.execute("SELECT count(*) FROM things").fetchone() == (200,)
    code, out, _ = ferry(*words, "--yes", "--format", "json", PGFERRY_ENV="PROD")
    assert code == 0
    assert '"mode": "target"' in out
    assert owner.execute("SELECT count(*) FROM things").fetchone() == (200,)
