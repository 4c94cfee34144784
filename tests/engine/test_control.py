"""One console commands a run: control is given once, taken over openly, lost when it was not seen, and logged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from console.commands.console_world import ConsoleWorld
from console.commands.settings import Settings
from console.errors import Refused
from console.journal import control
from console.journal.connect import Conn, connect
from console.journal.state import Verb
from console.plan.load import load_plan
from console.plan.model import Plan
from tests.engine.tiny import ferry, tiny_plan, wait_until


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tiny_plan(tmp_path)


@pytest.fixture
def plan(root: Path, database: str) -> Plan:
    """The plan, its run begun and stopped after the first task."""
    assert ferry("apply", "--plan", str(root), "--dsn", database, "--until", "A1")[0] == 0
    return load_plan(root)


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
    first._renewed = 0.0
    first.state()
    assert not first.can_control
    assert "dba-2@" in first.offer
    assert second.send(Verb.START, until="end").accepted
    assert [text.split("@")[0] for text in spoken(conn)] == ["took control over from dba-1"]
    assert wait_until(lambda: second.state().status.value == "done")
    closed(first, second)
    assert control.holder(conn, 1) is None, "the last one gave it back"


def test_control_of_a_console_that_was_not_seen_goes_to_the_next(database: str, plan: Plan, conn: Conn) -> None:
    first = a_console(database, plan, "dba-1")
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
