"""The rollback panel: its slider, what is told of a point, a rollback at work, stopped and done."""

from __future__ import annotations

from dataclasses import replace

import pytest

from console.journal.state import RunState, TaskStatus, Verb
from console.tui.draw import going_back, rollback_points, rollback_text
from console.tui.draw.rollback_points import START, Point
from console.tui.glyphs import ASCII, UNICODE
from console.tui.shell import Shell
from tests.canned import a_rollback_preview, a_run_state, ago
from tests.tui.test_keys import after
from tests.tui.world import CannedWorld, a_shell, settled


def many(wall_at: int = -1) -> list[Point]:
    """The 67 points of a plan of five phases; those up to ``wall_at`` lie beyond a task without a way back."""
    wall = next(task for task in a_run_state("done").tasks if task.irreversible)
    phases = [phase for phase, count in zip("12345", (20, 16, 14, 10, 7), strict=True) for _ in range(count)]
    return [Point(f"P{place}", phase, wall if place <= wall_at else None) for place, phase in enumerate(phases)]


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("chosen", [0, 19, 20, 40, 66])
def test_the_whole_run_is_in_one_line_and_the_chosen_point_is_named(width: int, chosen: int) -> None:
    found = many()
    rail, names = rollback_points.slider(found, chosen, width, ASCII)
    assert rail.cell_len == names.cell_len == width
    cells = rail.plain.split("start")[1].split("now")[0]
    assert cells.count("#") >= 1
    assert [phase for phase in cells.split() if phase[0] in "12345"] == cells.split(), "each phase by its id"
    assert "<" not in cells[: cells.index("#")], "what is before the point stays"
    assert "-" not in cells[cells.rindex("#") :], "what is after it is taken back"
    assert f"[P{chosen}]" in names.plain


def test_points_beyond_a_task_without_a_way_back_are_drawn_and_cannot_be_chosen() -> None:
    found = many(wall_at=36)
    assert rollback_points.first_reachable(found) == 37
    rail = rollback_points.rail(found, 40, 120, UNICODE).plain
    assert set(rail[rail.index(" 1") : rail.index(" 3")]) == set(" 12x")
    assert rail.rindex("x") < rail.index("█") < rail.index("<")
    words = " ".join(item.plain for item in rollback_points.wall_lines(found, 120))
    assert "NO WAY BACK beyond P4.1.3" in words


def test_pages_go_by_phase() -> None:
    found = many()
    assert [rollback_points.next_phase(found, place, -1) for place in (66, 60, 40, 36, 0)] == [60, 50, 36, 20, 0]
    assert [rollback_points.next_phase(found, place, 1) for place in (0, 19, 20, 60)] == [20, 20, 36, 66]


async def test_left_and_right_choose_points_and_lines_move_through_what_happens() -> None:
    app = await after(CannedWorld(), "u", "j")
    assert (app.rollback.point(app.facts), app.rollback.step) == ("P2.1.2", 1)
    app = await after(CannedWorld(), "u", "j", "left")
    assert (app.rollback.point(app.facts), app.rollback.step) == ("P2.1.1", 0)
    for keys, point in (
        (["pageup"], "P2.1.1"),
        (["pageup", "pageup"], START),
        (["home"], START),
        (["home", "end"], "P2.1.2"),
    ):
        app = await after(CannedWorld(), "u", *keys)
        assert app.rollback.point(app.facts) == point


async def test_a_reviewer_reads_every_way_back_of_a_plan_that_nobody_began() -> None:
    fresh = CannedWorld(current=a_run_state("fresh"), can_control=False)
    app = await after(fresh, "u", "home", dry_run=True)
    assert [point.id for point in app.rollback.points(app.facts)][1:3] == ["P1.1.2", "P1.1.3"]
    assert "Dry run: this is what it would do" in text_of(app)
    fresh_run = await after(CannedWorld(current=a_run_state("fresh")), "u")
    assert fresh_run.rollback.points(fresh_run.facts) == []


async def test_after_a_purge_there_is_no_point_and_enter_says_so() -> None:
    world = CannedWorld(current=a_run_state("purged"))
    app = await after(world, "u", "enter")
    assert app.rollback.point(app.facts) == ""
    shown = text_of(app)
    assert "NO WAY BACK beyond P4.1.3" in shown
    assert "There is no point to go back to." in shown
    assert world.sent == []


def text_of(app: Shell, size: tuple[int, int] = (80, 24)) -> str:
    """The whole screen as text."""
    return "\n".join(item.plain.rstrip() for item in app.lines(*size))


async def test_every_statement_stands_under_its_lock_and_every_time_says_from_what() -> None:
    app = await after(CannedWorld(), "u")
    shown = text_of(app, (120, 40))
    assert "ACCESS EXCLUSIVE on book_ticker_snapshots_v2" in shown
    assert "TRUNCATE book_ticker_snapshots_v2" in shown
    whole = "\n".join(item.plain for item in rollback_text.full(a_rollback_preview(), 200, UNICODE))
    for words in (
        "at 100,000/s, as they were copied",
        "time unknown: it never ran",
        "12 rows that the new shape refused",
    ):
        assert words in whole


async def test_s_and_y_keep_the_plan_in_a_file(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    world = CannedWorld()
    app = await after(world, "u", "left", "S")
    assert "this plan is saved:" in app.notice[0]
    path = app.notice[0].split(": ", 1)[1]
    assert path.endswith("rollback_P2.1.1.sql")
    with open(path) as file:
        text = file.read()
    assert "-- What is lost: nothing" in text
    assert "TRUNCATE book_ticker_snapshots_v2;" in text
    assert world.reports == 0


@pytest.mark.parametrize(
    ("moment", "words"),
    [
        (
            "rolling back",
            ["Rolling back to just before P2.1.1", "1 of 3 taken back", "about 60,000 of 250,000 rows compared"],
        ),
        (
            "rollback failed",
            ["stopped at P2.1.2: 1 step taken back, 2 to go", "would lose 3 rows", "space goes on with it"],
        ),
        ("rollback paused", ["is paused: 1 step taken back, 2 to go; P2.1.2 is"]),
        ("rolled back", ["Rolled back to just before P2.1.1", "3 steps taken back", "Nothing was lost"]),
    ],
)
async def test_a_rollback_is_told_beside_the_tasks_and_in_the_panel(moment: str, words: list[str]) -> None:
    for keys in ((), ("u",)):
        app = await after(CannedWorld(current=a_run_state(moment)), *keys)
        shown = " ".join(text_of(app, (120, 40)).split())
        for one in words if keys else words[1:2]:
            assert one in shown, (keys, shown)


async def test_a_rollback_at_work_is_not_ordered_again_and_can_be_paused() -> None:
    world = CannedWorld(current=a_run_state("rolling back"))
    await after(world, "u", "enter", "enter", "space")
    assert world.sent == [(Verb.PAUSE, {})]


def test_what_was_lost_as_accepted_is_said_at_the_end() -> None:
    state = a_run_state("rolled back")
    lost = replace(state.events[-1], text="sales_v2 is empty again; lost, as accepted: 3 rows of sales_v2")
    words, style = going_back.ended(replace(state, events=(*state.events[:-1], lost, state.events[-1])))
    assert "Lost, as accepted: 3 rows of sales_v2." in words
    assert style == "bad"


async def test_a_point_is_looked_at_again_when_the_run_went_on() -> None:
    world = CannedWorld()
    asked: list[str] = []
    look = world.rollback_preview
    world.rollback_preview = lambda to: asked.append(to) or look(to)  # type: ignore[method-assign,func-returns-value]
    app = a_shell(world)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await pilot.press("u")
        await settled(pilot)
        world.become(with_task(world.current, "P2.1.2", TaskStatus.COMPLETED))
        await settled(pilot, lambda: len(asked) == 2)
        assert asked == ["P2.1.2", "P2.1.2"]


def with_task(state: RunState, task_id: str, status: TaskStatus) -> RunState:
    """The state with one task's status changed."""
    tasks = tuple(
        replace(task, status=status, finished_at=ago(1)) if task.id == task_id else task for task in state.tasks
    )
    return replace(state, tasks=tasks)
