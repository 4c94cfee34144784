"""One console commands a run: control is given once, taken over openly, lost when it was not seen, and logged."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from textual.pilot import Pilot

from console.commands import pulse
from console.commands.console_world import ConsoleWorld
from console.commands.settings import Settings
from console.demo.server import EmbeddedServer
from console.engine.runner import carry
from console.errors import ConnectionFailed, Refused
from console.journal import commands, control, runs, schema
from console.journal.connect import Conn, connect
from console.journal.state import OnDetach, RunStatus, Verb
from console.plan.load import load_plan
from console.plan.model import Plan
from console.tui.shell import Shell
from console.tui.terminal import Terminal
from tests.engine.tiny import ferry, tiny_plan, wait_until


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse, "EVERY_S", 0.2)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tiny_plan(tmp_path)


@pytest.fixture
def plan(root: Path, database: str) -> Plan:
    """The plan, its run begun and stopped after the first task."""
    plan = load_plan(root)
    with connect(database) as conn:
        schema.install(conn)
        run_id = runs.create(conn, plan, "tester")
        commands.send(conn, run_id, Verb.START, {"until": "A1"}, actor="tester")
    assert carry(database, plan, run_id, "tester") is RunStatus.WAITING
    return plan


@pytest.fixture
def conn(database: str) -> Iterator[Conn]:
    with connect(database, application_name="pgferry test") as made:
        yield made


def a_console(database: str, plan: Plan, name: str, environment: str = "DEV", *, asked: bool = False) -> ConsoleWorld:
    world = ConsoleWorld(Settings(database, plan.root, "", name, environment), plan, asked=asked)
    world.state()
    return world


def closed(*worlds: ConsoleWorld) -> None:
    """Close consoles, when the runners they started have ended."""
    for world in worlds:
        runner = world._runner
        if runner is not None:
            runner.wait(30)
        world.close()


def spoken(conn: Conn) -> list[str]:
    rows = conn.execute("SELECT text FROM pgferry.event WHERE kind = 'operator' ORDER BY id").fetchall()
    return [row[0] for row in rows if "control" in row[0]]


def test_the_second_console_reads_until_it_takes_control_and_the_first_is_told(
    database: str, plan: Plan, conn: Conn
) -> None:
    first = a_console(database, plan, "dba-1")
    second = a_console(database, plan, "dba-2")
    assert (first.can_control, first.offer) == (True, "")
    assert not second.can_control
    assert "dba-1@" in second.offer
    assert second.offer.endswith("T takes it over")
    with pytest.raises(Refused, match="read-only"):
        second.send(Verb.START, until="end")
    assert second._use(lambda c: c.execute("SHOW default_transaction_read_only").fetchone()) == ("on",)

    assert "control taken over from dba-1@" in second.take_control().text
    assert second.can_control
    with pytest.raises(Refused, match=r"dba-2@.* has control of this run"):
        first.send(Verb.START, until="end")
    assert wait_until(lambda: first.state() and not first.can_control), "it hears of it within a few seconds"
    assert "dba-2@" in first.offer
    assert second.send(Verb.START, until="end").accepted
    assert [text.split("@")[0] for text in spoken(conn)] == ["took control over from dba-1"]
    assert wait_until(lambda: second.state().status.value == "done")
    closed(first, second)
    assert control.holder(conn, 1) is None, "the last one gave it back"


def test_control_of_a_console_that_was_not_seen_goes_to_the_next(database: str, plan: Plan, conn: Conn) -> None:
    first = a_console(database, plan, "dba-1")
    assert first._pulse is not None
    first._pulse.stop()  # its host stands still
    first._pulse._thread.join(10)
    conn.execute("UPDATE pgferry.control SET seen_at = seen_at - interval '1 minute'")
    second = a_console(database, plan, "dba-2")
    assert second.can_control
    assert [text.split("@")[0] for text in spoken(conn)] == ["took control, left behind by dba-1"]
    first.close()
    assert control.holder(conn, 1) is not None, "who lost it gives nothing back"
    second.close()


@pytest.mark.parametrize(
    ("environment", "asked", "has"), [("PROD", False, False), ("PROD", True, True), ("DEV", False, True)]
)
def test_on_prod_control_is_taken_only_when_asked_for(
    database: str, plan: Plan, environment: str, asked: bool, has: bool
) -> None:
    world = a_console(database, plan, "dba-1", environment, asked=asked)
    assert world.can_control is has
    if not has:
        assert world.offer == "reading; T takes control"
        assert world.take_control().accepted
        assert world.send(Verb.START, until="A2").accepted
    closed(world)


def test_a_role_that_may_not_write_reads_on_and_says_why(server: EmbeddedServer, database: str, plan: Plan) -> None:
    """Not the screen refuses: the journal's privileges do."""
    with a_role(server, database) as reader:
        for asked in (True, False):
            world = ConsoleWorld(Settings(reader, plan.root, "", "dba-1", "DEV"), plan, asked=asked)
            assert world.state().run_id == 1
            assert not world.can_control
            assert "permission denied" in world.offer
            with pytest.raises(ConnectionFailed, match="may not do that: permission denied"):
                world.take_control()
            assert not world.can_control
            with pytest.raises(Refused, match="read-only"):
                world.send(Verb.START, until="end")
            world.close()


def test_no_setting_gives_a_reader_a_command(server: EmbeddedServer, database: str, plan: Plan, conn: Conn) -> None:
    insert = "INSERT INTO pgferry.command (run_id, actor, verb, args) VALUES (1, 'me', 'start', '{}')"
    with a_role(server, database) as reader:
        reading = ConsoleWorld(Settings(reader, None, "", "me", "DEV"), None, may=False)
        reading.state()
        for conninfo in (reader, database):
            world = ConsoleWorld(Settings(conninfo, None, "", "me", "DEV"), None, may=False)
            world.state()
            with pytest.raises(Refused, match="the server refuses every write"):
                world._use(lambda c: c.execute(insert))
            world.close()
        for lifted in ("SET transaction_read_only = off", "SET default_transaction_read_only = off"):
            with connect(reader, read_only=True) as other:
                other.execute(lifted)
                other.execute("SET default_transaction_read_only = off")
                for attempt in (insert, "DELETE FROM pgferry.control", "UPDATE pgferry.run SET status = 'paused'"):
                    with pytest.raises(psycopg.errors.InsufficientPrivilege):
                        other.execute(attempt)
        reading.close()
    assert conn.execute("SELECT count(*) FROM pgferry.command WHERE actor = 'me'").fetchone() == (0,)


@contextmanager
def a_role(server: EmbeddedServer, database: str) -> Iterator[str]:
    """The connection string of a role with SELECT on the journal and nothing else."""
    name = "reader_" + conninfo_to_dict(database)["dbname"][-8:]
    role = sql.Identifier(name)
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE ROLE {} LOGIN").format(role))
        conn.execute(sql.SQL("GRANT USAGE ON SCHEMA pgferry TO {}").format(role))
        conn.execute(sql.SQL("GRANT SELECT ON ALL TABLES IN SCHEMA pgferry TO {}").format(role))
    try:
        yield make_conninfo(database, user=name)
    finally:
        with psycopg.connect(database, autocommit=True) as conn:
            conn.execute(sql.SQL("DROP OWNED BY {}").format(role))
        with psycopg.connect(server.conninfo(), autocommit=True) as conn:
            conn.execute(sql.SQL("DROP ROLE {}").format(role))


def test_two_consoles_and_an_open_question(database: str, plan: Plan, conn: Conn) -> None:
    """Control is lost between the question and its answer: the server refuses, whatever the screen still believes."""
    first, second = a_console(database, plan, "dba-1"), a_console(database, plan, "dba-2")
    rows = "SELECT count(*) FROM pgferry.command"
    before = conn.execute(rows).fetchone()
    second.take_control()
    assert first.can_control, "it has not heard of it yet"
    for verb, args in ((Verb.START, {"until": "end"}), (Verb.ROLLBACK, {"to": "start", "typed": ""}), (Verb.PAUSE, {})):
        with pytest.raises(Refused, match=r"dba-2@.* has control of this run, not this console. Nothing was sent"):
            first.send(verb, **args)
    with pytest.raises(Refused, match="has control"):
        first.take_over()
    with pytest.raises(Refused, match="has control"):
        first.set_on_detach(OnDetach.PAUSE)
    assert conn.execute(rows).fetchone() == before
    first.close()
    holder = control.holder(conn, 1)
    assert holder is not None
    assert holder.name.startswith("dba-2@"), "who leaves without control changes nothing"
    closed(second)


def test_a_journal_from_before_the_choice_is_read_as_it_is_and_completed_by_who_takes_control(
    database: str, plan: Plan, conn: Conn
) -> None:
    first = a_console(database, plan, "dba-1")
    conn.execute("ALTER TABLE pgferry.control DROP COLUMN on_detach")
    holder, presence = control.holder(conn, 1), control.presence(conn, 1)
    assert holder is not None
    assert presence is not None
    assert (holder.on_detach, presence.on_detach) == (OnDetach.GO_ON, OnDetach.GO_ON)
    second = ConsoleWorld(Settings(database, plan.root, "", "dba-2", "DEV"), plan, on_detach=OnDetach.PAUSE)
    second.state()
    second.take_control()
    assert second.on_detach is OnDetach.PAUSE
    closed(first, second)


async def _until(pilot: Pilot[int], true: Callable[[], object]) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end
        await pilot.pause(0.05)


async def test_the_real_console_on_production(database: str, plan: Plan, conn: Conn) -> None:
    """From reading to control, a start, and control lost while a question is open: the journal has one command more."""

    def sent() -> list[tuple[object, ...]]:
        return conn.execute("SELECT verb, actor FROM pgferry.command WHERE id > 1 ORDER BY id").fetchall()

    world = ConsoleWorld(Settings(database, plan.root, "", "dba-1", "PROD"), plan)
    shell = Shell(world, Terminal(theme="textual-dark", ascii_only=False, per_second=10.0), dry_run=False)
    async with shell.run_test(size=(80, 24)) as pilot:
        await _until(pilot, lambda: shell.facts.state)
        assert shell.lines(80, 24)[0].plain.startswith(" PROD ")
        await pilot.press("s", "1", "space", "T", "escape", "s", "c", "u", "enter", "enter", "escape")
        assert shell.notice[0] or not shell.question
        assert sent() == []
        assert control.holder(conn, 1) is None
        await pilot.press("T", "y")
        await _until(pilot, lambda: shell.facts.can_control)
        await pilot.press("escape", "1", "j", "s", "1")
        await _until(pilot, lambda: sent() == [("start", "dba-1")])
        await _until(pilot, lambda: shell.facts.state and shell.facts.state.status is RunStatus.WAITING)
        await _until(pilot, lambda: not shell.commands.waiting)
        await pilot.press("s")
        assert shell.question is not None
        other = a_console(database, plan, "dba-2")
        other.take_control()
        await pilot.press("3")  # at once, or after the question was closed: it makes no difference
        await _until(pilot, lambda: not shell.facts.can_control and not shell.commands.waiting)
        assert sent() == [("start", "dba-1")]
        assert "dba-2@" in shell.notice[0] + shell.facts.offer
    closed(world, other)


def test_many_consoles_show_the_same_and_one_commands(database: str, plan: Plan) -> None:
    consoles = [a_console(database, plan, f"dba-{n}") for n in range(8)]
    assert [console.can_control for console in consoles] == [True] + [False] * 7
    assert {console.offer for console in consoles[1:]} == {consoles[1].offer}
    assert consoles[0].send(Verb.START, until="end").accepted
    assert wait_until(lambda: all(console.state().status is RunStatus.DONE for console in consoles))
    shown = [console.state() for console in consoles]
    assert {(state.tasks, state.events, state.statements) for state in shown} == {
        (shown[0].tasks, shown[0].events, shown[0].statements)
    }
    closed(*consoles)


def test_the_same_command_twice_does_it_once(database: str, plan: Plan, conn: Conn) -> None:
    world = a_console(database, plan, "dba-1")
    with ThreadPoolExecutor(2) as pool:
        receipts = list(pool.map(lambda _: world.send(Verb.START, until="end"), range(2)))
    assert [receipt.accepted for receipt in receipts] == [True, True]
    assert wait_until(lambda: world.state().status.value == "done")
    assert conn.execute("SELECT count(*) FROM things").fetchone() == (3,), "filled once"
    with ThreadPoolExecutor(2) as pool:
        receipts = list(pool.map(lambda _: world.send(Verb.ROLLBACK, to="start", typed=""), range(2)))
    assert wait_until(lambda: world.state().status.value == "rolled back")
    assert [task.attempts for task in world.state().tasks] == [1, 1, 1]
    assert conn.execute("SELECT to_regclass('things')").fetchone() == (None,)
    closed(world)


def test_who_starts_a_run_has_control_of_it(database: str, root: Path, conn: Conn) -> None:
    plan = load_plan(root)
    world = a_console(database, plan, "dba-1")
    assert world.can_control
    assert world.send(Verb.START, until="A1").accepted
    holder = control.holder(conn, 1)
    assert holder is not None
    assert holder.name.startswith("dba-1@")
    other = a_console(database, plan, "dba-2")
    assert not other.can_control
    closed(other, world)


def test_without_the_plan_there_is_no_control_and_a_command_of_its_own_asks_nobody(
    database: str, plan: Plan, root: Path
) -> None:
    holder = a_console(database, plan, "dba-1")
    watcher = ConsoleWorld(Settings(database, None, "", "me", "DEV"), None, may=False)
    watcher.state()
    assert not watcher.can_control
    assert watcher.offer.startswith("dba-1@")
    assert "T takes" not in watcher.offer
    with pytest.raises(Refused, match="needs the plan's files"):
        watcher.take_control()
    assert ferry("resume", "--plan", str(root), "--dsn", database)[0] in (0, 5, 6)
    watcher.close()
    holder.close()
