"""The clock of a replay: it plays, stops, winds and jumps, and never leaves the run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from console.commands.replay import SPEEDS, Player, ReplayWorld
from console.errors import PlanError, Refused
from console.journal.recording import Recording
from console.journal.state import Event, RunStatus, Target, Verb
from console.tui.keys import KEYS
from tests.tui.world import a_shell, settled

BEGAN = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return BEGAN + timedelta(seconds=seconds)


def a_recording(seconds: float = 1000) -> Recording:
    marks = tuple(Event(n, at(second), "pgferry", "task", "T", "x") for n, second in enumerate((100, 400, 400.5)))
    target = Target("db", "host", 5432, "18.4", "role", "DEV")
    return Recording(target, 7, "p", "A plan", "0" * 64, "me", BEGAN, at(seconds), tasks=(), events=marks)


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def player(clock: Clock) -> Player:
    return Player(a_recording(), clock)


def test_it_plays_at_a_speed_that_shows_the_whole_run_in_a_minute_or_two(player: Player, clock: Clock) -> None:
    assert player.now() == BEGAN
    clock.seconds = 10
    assert player.now() == at(300)
    assert player.words() == "replay x30 30% of 16 min 40 s"
    clock.seconds = 1000
    assert player.now() == at(1000)
    assert player.words().startswith("replay over 100%")


def test_it_stops_goes_on_and_begins_again_at_the_end(player: Player, clock: Clock) -> None:
    clock.seconds = 10
    player.toggle()
    clock.seconds = 50
    assert player.now() == at(300)
    assert "stopped" in player.words()
    player.toggle()
    clock.seconds = 51
    assert player.now() == at(330)
    clock.seconds = 500
    player.toggle()
    clock.seconds = 501
    assert player.now() == at(30)


def test_speeds_have_ends_and_change_nothing_of_where_it_stands(player: Player, clock: Clock) -> None:
    clock.seconds = 10
    for _ in range(20):
        player.faster(1)
    assert player.now() == at(300)
    assert f"x{SPEEDS[-1]}" in player.words()
    for _ in range(20):
        player.faster(-1)
    assert f"x{SPEEDS[0]}" in player.words()
    assert player.now() == at(300)


def test_it_winds_and_never_leaves_the_run(player: Player) -> None:
    player.toggle()
    player.wind(-1)
    assert player.now() == BEGAN
    player.wind(1)
    assert player.now() == at(20)
    for _ in range(60):
        player.wind(1)
    assert player.now() == at(1000)


def test_it_jumps_from_step_to_step(player: Player) -> None:
    player.toggle()
    seen = []
    for _ in range(4):
        player.jump(1)
        seen.append(player.now())
    assert seen == [at(100), at(400), at(400.5), at(1000)]
    player.jump(-1)
    assert player.now() == at(400.5)
    player.jump(-1)  # two marks nearer to each other than half a second of the replay are passed in one
    assert player.now() == at(100)
    player.jump(-1)
    assert player.now() == BEGAN


def test_a_run_of_no_length_can_be_looked_at() -> None:
    player = Player(a_recording(0), Clock())
    assert player.now() == BEGAN
    assert player.words().startswith("replay over")


def test_nothing_can_be_changed_in_a_replay() -> None:
    world = ReplayWorld(a_recording(), None)
    with pytest.raises(Refused):
        world.send(Verb.START)
    with pytest.raises(Refused):
        world.rollback_preview("start")
    with pytest.raises(PlanError, match="not here"):
        world.preview("T")
    assert world.state().status is RunStatus.NEW
    assert not world.can_control


async def test_its_keys_move_the_clock_and_the_band_says_so() -> None:
    world = ReplayWorld(a_recording(), None)
    app = a_shell(world)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press("space")
        await settled(pilot)
        for key, moved in (("right_square_bracket", 20), ("left_square_bracket", -20), ("full_stop", None)):
            before = world.player.now()
            await pilot.press(key)
            await settled(pilot)
            if moved is not None:
                assert (world.player.now() - before).total_seconds() == pytest.approx(moved, abs=25)
            assert "replay stopped" in app.lines(80, 24)[0].plain
        assert world.player.now() == at(100)
        await pilot.press("comma")
        await settled(pilot)
        assert world.player.now() == BEGAN
        await pilot.press("plus")
        await settled(pilot)
        assert "stop/go" in app.lines(80, 24)[-1].plain
        await pilot.press("s")
        await settled(pilot)
        assert "This is a replay" in app.notice[0]
    assert {key.action for key in KEYS} >= {"wind_on", "wind_back", "step_on", "step_back"}
