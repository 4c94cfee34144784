"""A console's look at a run: one round trip, the same answers as one by one, and dear questions seldom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
import pytest

from console.commands.settings import Settings
from console.commands.world import JournalWorld
from console.engine.runner import carry
from console.journal import commands, runs, schema
from console.journal.connect import Conn, connect
from console.journal.look import SELDOM, Look
from console.journal.state import RunStatus, Verb
from console.plan.load import load_plan
from tests.engine.tiny import tiny_plan

SLOW = SELDOM + "SELECT count(*), pg_sleep(0.02) IS NULL FROM pg_class WHERE relname = %s"


class Clock:
    """A clock that a test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_second_look_takes_few_round_trips_and_sees_what_changed(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = load_plan(tiny_plan(tmp_path))
    with connect(database) as conn:
        schema.install(conn)
        run_id = runs.create(conn, plan, "tester")
        commands.send(conn, run_id, Verb.START, {"until": "A1"}, actor="tester")
    assert carry(database, plan, run_id, "tester") is RunStatus.WAITING
    world = JournalWorld(Settings(database, plan.root, "", "me", "DEV"), plan, control=False)
    first = world.state()
    executed: list[object] = []
    execute = psycopg.Cursor.execute

    def noted(cursor: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
        executed.append((query, cursor.connection.info.pipeline_status.name))
        return execute(cursor, query, *args, **kwargs)

    monkeypatch.setattr(psycopg.Cursor, "execute", noted)
    second = world.state()
    assert second.tasks == first.tasks
    assert second.events == first.events
    assert len(executed) > 10
    assert [query for query, status in executed if status != "ON"] == [], "nothing is asked alone"
    monkeypatch.undo()
    with connect(database) as conn:
        commands.send(conn, run_id, Verb.START, {"until": "end"}, actor="tester")
    assert carry(database, plan, run_id, "tester") is RunStatus.DONE
    assert world.state().status is RunStatus.DONE
    assert [task.status.value for task in world.state().tasks] == ["completed"] * 3
    world.close()


def test_a_dear_question_is_asked_seldom_and_only_by_screens(database: str) -> None:
    with connect(database) as conn:
        clock = Clock()
        asked: list[str] = []

        class Counting:
            def execute(self, query: str, params: Any = None) -> Any:
                asked.append(query)
                return Answering(conn.execute(query, params), 0.2)

            def __getattr__(self, name: str) -> Any:
                return getattr(conn, name)

        class Answering:
            description = True

            def __init__(self, cursor: Any, seconds: float) -> None:
                self._cursor, self._seconds = cursor, seconds

            def fetchall(self) -> Any:
                clock.now += self._seconds
                return self._cursor.fetchall()

        def work(reading: Conn) -> tuple[Any, ...]:
            return (*reading.execute(SLOW, ("things",)).fetchall(), *reading.execute("SELECT 1").fetchall())

        for seldom, times in ((True, 2), (False, 12)):
            asked.clear()
            look_at = Look(seldom=seldom, clock=clock)
            for _ in range(12):
                answer = look_at.read(Counting(), work)  # type: ignore[arg-type]
                assert answer == ((0, False), (1,))
                clock.now += 0.5
            assert asked.count(SLOW) == times
            assert asked.count("SELECT 1") == 12


def test_an_error_of_one_question_is_told_and_the_next_look_goes_on(database: str) -> None:
    with connect(database) as conn:
        conn.execute("CREATE TABLE here (i int)")
        table = ["here"]

        def work(reading: Conn) -> tuple[Any, ...]:
            reading.execute("SELECT 1")
            reading.execute("SET lock_timeout = '2s'")
            return tuple(reading.execute(f"SELECT count(*) FROM {table[0]}").fetchall())

        looks = Look(seldom=True)
        assert looks.read(conn, work) == looks.read(conn, work) == ((0,),)
        conn.execute("ALTER TABLE here RENAME TO there")
        for _ in range(2):
            with pytest.raises(psycopg.errors.UndefinedTable):
                looks.read(conn, work)
        table[0] = "there"
        assert looks.read(conn, work) == looks.read(conn, work) == ((0,),)
        assert conn.info.transaction_status is psycopg.pq.TransactionStatus.IDLE


def test_what_was_read_again_is_as_the_database_is_then(database: str, tmp_path: Path) -> None:
    plan = load_plan(tiny_plan(tmp_path))
    world = JournalWorld(Settings(database, plan.root, "", "me", "DEV"), plan, control=False)
    with connect(database) as conn:
        conn.execute("CREATE TABLE things (n int)")
        assert rows_known(world) == {0}
        conn.execute("INSERT INTO things SELECT generate_series(1, 4000)")
        conn.execute("ANALYZE things")
    assert rows_known(world) == {0}, "read once, not at each key"
    world.reread()
    assert rows_known(world) == {4000}
    world.close()


def rows_known(world: JournalWorld) -> set[int]:
    return {rows for _, rows, _ in world.preview("A2").sizes}
