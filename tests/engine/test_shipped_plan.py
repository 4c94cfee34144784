"""The shipped plan carried by the engine on real servers: to the end, to points in between, back to the start."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from console.demo.server import EmbeddedServer
from console.demo.setup import prepare
from console.engine import dual_write
from console.journal.connect import Conn, connect
from console.journal.read import run_state
from console.journal.state import RunState, RunStatus, TaskStatus, Verb
from console.plan.load import load_plan
from console.plan.model import Kind, Plan, Severity, Task
from tests.engine.scene import a_run, dump, order

MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"
ROWS = 3000
TABLES = {"book_ticker_snapshots": "book_ticker_snapshots_v2", "trades": "trade_snapshots_v2"}
POINTS = (
    "P2.1.1",
    "P2.2.2",
    "P3.4.1",
    "P4.1.1",
    "P5.1.3",
)  # before: new tables, copy, reverse sync, extensions, retire


def with_tasks(plan: Plan, change: Callable[[Task], Task]) -> Plan:
    """The plan with every task changed."""
    return replace(plan, phases=tuple(replace(p, tasks=tuple(map(change, p.tasks))) for p in plan.phases))


def shipped() -> Plan:
    """The plan as shipped, with a short drain."""
    return with_tasks(load_plan(MIGRATIONS), lambda t: replace(t, quiet_seconds=1) if t.kind is Kind.DRAIN else t)


def without_programs(plan: Plan) -> Plan:
    """The plan without its check programs: half a minute of processes that start, measure and end."""
    programs = {check.id for check in plan.checks if check.program}

    def change(task: Task) -> Task:
        return replace(task, checks=tuple(id_ for id_ in task.checks if id_ not in programs))

    return with_tasks(plan, change)


@dataclass
class Carried:
    """A database that the shipped plan was carried through to the end, and what was seen on the way."""

    server: EmbeddedServer
    plan: Plan
    conninfo: str
    run_id: int
    state: RunState
    before: str
    legacy: dict[str, list[tuple[object, ...]]]
    dumps: dict[str, str] = field(default_factory=dict)


def rows(conn: Conn, table: str) -> list[tuple[object, ...]]:
    return conn.execute(sql.SQL("SELECT * FROM {} t ORDER BY t.*").format(sql.Identifier(table))).fetchall()


def count(conn: Conn, query: str) -> int:
    row = conn.execute(query.encode()).fetchone()
    assert row is not None
    return int(row[0])


def state_of(conninfo: str, run_id: int) -> RunState:
    with connect(conninfo) as conn:
        return run_state(conn, run_id, environment="DEV")


def legacy_rows(conninfo: str) -> dict[str, list[tuple[object, ...]]]:
    with connect(conninfo) as conn:
        return {table: rows(conn, table) for table in TABLES}


def go(carried: Carried, conninfo: str, verb: Verb, **args: object) -> RunState:
    """Send the command, let a runner carry it out; the state of the run afterwards."""
    _, answer = order(conninfo, carried.plan, carried.run_id, verb, **args)
    state = state_of(conninfo, carried.run_id)
    assert state.status is not RunStatus.FAILED, (answer, state.error)
    return state


def carry_to_the_end(server: EmbeddedServer, plan: Plan, name: str, points: tuple[str, ...] = ()) -> Carried:
    """Generated rows, then the whole plan forward; the schema is dumped at each of the points."""
    conninfo = server.create_database(name)
    prepare(plan, conninfo, ROWS)
    before, legacy = dump(conninfo, server.binaries.dir), legacy_rows(conninfo)
    run_id = a_run(conninfo, plan)
    carried = Carried(server, plan, conninfo, run_id, state_of(conninfo, run_id), before, legacy)
    ids = [task.id for task in plan.tasks]
    for point in points:
        go(carried, conninfo, Verb.START, until=ids[ids.index(point) - 1])
        carried.dumps[point] = dump(conninfo, server.binaries.dir)
    carried.state = go(carried, conninfo, Verb.START, until="end")
    return carried


@pytest.fixture(scope="module", autouse=True)
def impatient() -> Iterator[None]:
    """Nobody writes here: the quiet before a reverse sync goes can be short."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dual_write, "PARTING_QUIET_S", 0.3)
        yield


@pytest.fixture(scope="module")
def carried(server: EmbeddedServer) -> Iterator[Carried]:
    """The plan carried to the end once; tests work on copies of it."""
    name = f"shipped_{uuid.uuid4().hex[:12]}"
    yield carry_to_the_end(server, shipped(), name, POINTS)
    server.drop_database(name)


@pytest.fixture
def a_copy(carried: Carried) -> Iterator[str]:
    """A fresh copy of the carried database, its journal included."""
    name = f"copy_{uuid.uuid4().hex[:12]}"
    with connect(make_conninfo(carried.conninfo, dbname="postgres")) as conn:
        original = conninfo_to_dict(carried.conninfo)["dbname"]
        conn.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(str(original)))
        )
    yield make_conninfo(carried.conninfo, dbname=name)
    carried.server.drop_database(name)


def test_the_end_is_reached_with_every_error_check_good(carried: Carried) -> None:
    state = carried.state
    assert state.status is RunStatus.DONE, state.error
    by_id = {task.id: task.status for task in state.tasks}
    assert by_id.pop("P5.1.6") is TaskStatus.DEFERRED, "a purge runs only when asked for by name"
    assert set(by_id.values()) == {TaskStatus.COMPLETED}
    assert [c for c in state.checks if not c.ok and c.severity == Severity.ERROR] == []
    seen = {check.check_id.partition(".")[0] for check in state.checks}
    wanted = {id_ for task in carried.plan.tasks for id_ in (*task.checks, *task.guards)}
    assert wanted <= seen, "every check of the plan was run"


def test_old_is_new_and_rejects(carried: Carried) -> None:
    with connect(carried.conninfo) as conn:
        for old, new in TABLES.items():
            mapping = next(m.id for m in carried.plan.mappings if m.old.name == old)
            before = count(conn, f"SELECT count(*) FROM pgferry_archive.{old}")
            after = count(conn, f"SELECT count(*) FROM {new}")
            rejects = count(
                conn, f"SELECT count(*) FROM pgferry.reject WHERE mapping = '{mapping}' AND direction = 'forward'"
            )
            assert before == len(carried.legacy[old])
            assert 0 < rejects < before / 20
            assert before == after + rejects
        assert count(conn, "SELECT count(*) FROM pgferry.reject WHERE direction = 'reverse'") == 0


def test_back_to_the_start_and_forward_again(carried: Carried, a_copy: str) -> None:
    state = go(carried, a_copy, Verb.ROLLBACK, to="start")
    assert state.status is RunStatus.ROLLED_BACK
    assert dump(a_copy, carried.server.binaries.dir) == carried.before
    assert legacy_rows(a_copy) == carried.legacy
    again = replace(carried, plan=without_programs(carried.plan))
    assert go(again, a_copy, Verb.START, until="end").status is RunStatus.DONE
    assert dump(a_copy, carried.server.binaries.dir) == dump(carried.conninfo, carried.server.binaries.dir)


@pytest.mark.parametrize("point", POINTS)
def test_back_to_a_point_in_between(carried: Carried, a_copy: str, point: str) -> None:
    state = go(carried, a_copy, Verb.ROLLBACK, to=point)
    assert state.status is RunStatus.WAITING
    assert dump(a_copy, carried.server.binaries.dir) == carried.dumps[point]
    assert legacy_rows(a_copy) == carried.legacy


@pytest.mark.long  # all of these tests run on 16 with PGFERRY_TEST_MAJOR=16
def test_there_and_back_on_16(server16: EmbeddedServer) -> None:
    name = f"shipped_{uuid.uuid4().hex[:12]}"
    carried = carry_to_the_end(server16, without_programs(shipped()), name)
    assert carried.state.status is RunStatus.DONE
    assert go(carried, carried.conninfo, Verb.ROLLBACK, to="start").status is RunStatus.ROLLED_BACK
    assert dump(carried.conninfo, server16.binaries.dir) == carried.before
    assert legacy_rows(carried.conninfo) == carried.legacy
    server16.drop_database(name)
