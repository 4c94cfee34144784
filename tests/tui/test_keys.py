"""Every key of the table does what the table says, on every view where it works."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from console.errors import PlanError
from console.journal.state import Lease, OnDetach, RunState, Session, TaskStatus, Verb
from console.plan.approval import Approval, Wanted, standing
from console.tui.draw.frame import phase_strip
from console.tui.draw.tasks import first_words
from console.tui.facts import Facts
from console.tui.glyphs import UNICODE
from console.tui.keys import KEYS, SCREENS, footer
from console.tui.shell import Shell
from tests.canned import a_plan, a_run_state
from tests.tui.world import CannedWorld, a_shell, settled


async def after(world: CannedWorld, *pressed: str, dry_run: bool = False) -> Shell:
    """The application after these keys."""
    app = a_shell(world, dry_run=dry_run)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        for key in pressed:
            await pilot.press(key)
            await settled(pilot)
    return app


@pytest.mark.parametrize("name", SCREENS)
async def test_digits_open_the_screens(name: str) -> None:
    app = await after(CannedWorld(), "6", str(SCREENS.index(name) + 1))
    assert app.view.name == name


@pytest.mark.parametrize(("key", "name"), [("u", "rollback"), ("question_mark", "help"), ("d", "docs")])
async def test_panels_open_and_escape_closes_them(key: str, name: str) -> None:
    assert (await after(CannedWorld(), "4", key)).view.name == name
    assert (await after(CannedWorld(), "4", key, "escape")).view.name == "checks"


@pytest.mark.parametrize(
    ("keys", "row"), [(["k"], 4), (["up"], 4), (["j"], 6), (["down"], 6), (["g"], 0), (["G"], -1), (["k", "f"], 5)]
)
async def test_moving_in_the_tree(keys: list[str], row: int) -> None:
    app = await after(CannedWorld(), "g", "right", *["f"], *keys)
    rows = [item.key for item in app.tasks.rows(app.facts)]
    here = rows.index("P2.1.2")
    wanted = {4: here - 1, 5: here, 6: here + 1}.get(row, row)
    assert app.tasks.chosen == rows[wanted]


@pytest.mark.parametrize("key", ["pagedown", "ctrl+d", "end"])
async def test_pages_move_down_and_up(key: str) -> None:
    down = await after(CannedWorld(), "g", key)
    assert down.tasks.cursor >= min(10, down.tasks.count(down.facts) - 1)
    for back in ("pageup", "ctrl+u", "home"):
        assert (await after(CannedWorld(), "g", key, back)).tasks.cursor < down.tasks.cursor


async def test_folding() -> None:
    app = await after(CannedWorld(), "left")
    assert "2" not in app.tasks.unfolded
    assert "2" in (await after(CannedWorld(), "h", "l")).tasks.unfolded


async def test_enter_opens() -> None:
    assert (await after(CannedWorld(), "enter")).view.name == "preview"
    assert (await after(CannedWorld(), "enter", "enter")).preview.whole
    assert not (await after(CannedWorld(), "enter", "enter", "escape")).preview.whole
    assert (await after(CannedWorld(), "d", "enter")).docs.opened is not None


async def test_way_back_and_statements() -> None:
    assert (await after(CannedWorld(), "2", "w")).preview.side == "down"
    assert (await after(CannedWorld(), "u", "v")).rollback.detailed


@pytest.mark.parametrize(
    ("moment", "keys", "sent"),
    [
        ("fresh", ["s", "1"], (Verb.START, {"until": "P1.1.1"})),
        ("fresh", ["s", "2"], (Verb.START, {"until": "1"})),
        ("fresh", ["s", "j", "j", "enter"], (Verb.START, {"until": "end"})),
        ("mid backfill", ["space"], (Verb.PAUSE, {})),
        ("paused", ["space"], (Verb.RESUME, {})),
        ("failed check", ["space"], (Verb.RESUME, {})),
        ("mid backfill", ["ctrl+c"], (Verb.PAUSE, {})),
        ("mid backfill", ["+"], (Verb.SPEED, {"duty_percent": 100})),
        ("mid backfill", ["-"], (Verb.SPEED, {"duty_percent": 75})),
        ("gate", ["c", "y"], (Verb.CONFIRM, {"task": "P3.1.3"})),
        ("mid backfill", ["u", "enter", "enter"], (Verb.ROLLBACK, {"to": "P2.1.2", "typed": ""})),
        ("mid backfill", ["u", "g", "enter", "enter"], (Verb.ROLLBACK, {"to": "start", "typed": ""})),
        ("mid backfill", ["u", "left", "enter", "enter"], (Verb.ROLLBACK, {"to": "P2.1.1", "typed": ""})),
        ("mid backfill", ["colon", *"resume", "enter"], (Verb.PAUSE, {})),
        ("mid backfill", ["ctrl+p", *"resume", "enter"], (Verb.PAUSE, {})),
    ],
)
async def test_keys_that_send(moment: str, keys: list[str], sent: tuple[Verb, dict[str, object]]) -> None:
    world = CannedWorld(current=a_run_state(moment))
    await after(world, *keys)
    assert world.sent == [sent]


@pytest.mark.parametrize("name", ["", "wrong", "arbitrage"])
async def test_what_is_lost_or_final_is_typed(name: str) -> None:
    losing = CannedWorld(rollback="lossy")
    await after(losing, "u", "enter", *name, "enter")
    assert losing.sent == ([(Verb.ROLLBACK, {"to": "P2.1.2", "typed": name})] if name == "arbitrage" else [])
    final = CannedWorld(current=a_run_state("done"))
    await after(final, "G", "c", *name, "enter")
    assert final.sent == ([(Verb.PURGE, {"task": "P4.1.3", "typed": name})] if name == "arbitrage" else [])


GONE = Lease("dba-1", "db-ops", 4711, datetime(2026, 11, 21, 12, tzinfo=UTC), 42.0, alive=False)
FROZEN = replace(GONE, held=True)
HOLDER = {"pid": 2211, "mark": "1700000000.1 1700000100.2"}
MIDDLE = {"pid": 2304, "mark": "1700000000.3 1700000100.4"}


@pytest.mark.parametrize(
    ("keys", "sent"),
    [
        (["5", "x"], []),  # idle in transaction: there is nothing to cancel
        (["5", "j", "x", "y"], [(Verb.CANCEL, MIDDLE)]),
        (["5", "j", "x", "escape", "enter"], []),
        (["5", "X", *"2304", "enter"], []),
        (["5", "X", *"2211", "enter"], [(Verb.TERMINATE, HOLDER)]),
        (["5", "X", *"2211", "escape"], []),
        (["5", "G", "X", "x"], []),  # it waits behind us
        (["x", "X"], []),
    ],
)
async def test_a_session_in_the_way_is_signalled_only_after_a_question(
    keys: list[str], sent: list[tuple[Verb, dict[str, object]]]
) -> None:
    world = CannedWorld(current=a_run_state("lock wait"))
    await after(world, *keys)
    assert world.sent == sent


async def test_a_reader_signals_nobody() -> None:
    reading = CannedWorld(current=a_run_state("lock wait"), can_control=False)
    app = await after(reading, "5", "j", "x", "y", "X", "enter")
    assert reading.sent == []
    assert app.question is None


async def test_our_own_statement_can_be_cancelled_not_ended() -> None:
    own = Session(4711, "pgferry run 7 work", "dba", "active", 300.0, "CREATE INDEX CONCURRENTLY", "our statement")
    world = CannedWorld(current=a_run_state("lock wait", sessions=(own,)))
    assert "x cancels it" in (await after(world, "5", "X")).notice[0]
    await after(world, "5", "x", "y")
    assert world.sent == [(Verb.CANCEL, {"pid": 4711, "mark": ""})]


@pytest.mark.parametrize("opened", [["s"], ["c"], ["u", "enter"], ["ctrl+c", "ctrl+c"], ["slash"], ["colon"], ["q"]])
async def test_escape_never_acts(opened: list[str]) -> None:
    world = CannedWorld(current=a_run_state("gate"))
    app = await after(world, *opened, "escape")
    assert not world.sent
    assert app.question is None
    assert not app.prompt


@pytest.mark.parametrize("key", ["s", "space", "plus", "minus", "c", "ctrl+c"])
async def test_readers_send_nothing(key: str) -> None:
    reading = CannedWorld(can_control=False)
    app = await after(reading, key)
    assert not reading.sent
    assert key == "ctrl+c" or "only reads" in app.notice[0]
    dry = CannedWorld(current=a_run_state("fresh"))
    app = await after(dry, key, dry_run=True)
    assert not dry.sent
    assert key == "ctrl+c" or "Dry run" in app.notice[0]


@pytest.mark.parametrize("opened", ["s", "uenter", "Gc"])
async def test_control_lost_closes_the_question_and_says_so(opened: str) -> None:
    world = CannedWorld(current=a_run_state("done" if opened == "Gc" else "mid backfill"))
    app = a_shell(world)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        for key in {"s": ["s"], "uenter": ["u", "enter"], "Gc": ["G", "c"]}[opened]:
            await pilot.press(key)
            await settled(pilot)
        assert app.question is not None
        world.can_control, world.offer = False, "dba-2@bastion has control since 23:41; T takes it over"
        world.changed.set()
        await settled(pilot, lambda: not app.facts.can_control)
        assert app.question is None
        assert not app.prompt
        assert app.notice[0].startswith("This console has lost control: dba-2@bastion")
        await pilot.press("y", "enter", "1")
        await settled(pilot)
    assert world.sent == []


@pytest.mark.parametrize(("typed", "sends"), [("arbitrage", True), ("arbitrag", False)])
async def test_a_start_past_a_step_with_no_way_back_is_typed(typed: str, sends: bool) -> None:
    fresh = a_run_state("fresh")
    walls = tuple(
        replace(task, irreversible="rows are dropped") if task.id == "P2.1.1" else task for task in fresh.tasks
    )
    world = CannedWorld(current=replace(fresh, tasks=walls))
    await after(world, "s", "1")
    assert world.sent == [(Verb.START, {"until": "P1.1.1"})], "it ends before that step"
    world.sent.clear()
    await after(world, "s", "3", *typed, "enter")
    assert world.sent == ([(Verb.START, {"until": "end"})] if sends else [])


@pytest.mark.parametrize(
    ("moment", "lease", "keys", "sent"),
    [
        ("rolling back", ..., ["ctrl+c"], [Verb.PAUSE]),
        ("mid backfill", None, ["ctrl+c"], []),
        ("mid backfill", ..., ["ctrl+c", "ctrl+c", "escape"], [Verb.PAUSE]),
        ("mid backfill", ..., ["ctrl+c", "ctrl+c", "escape", "ctrl+c"], [Verb.PAUSE, Verb.PAUSE]),
    ],
)
async def test_ctrl_c_pauses_first_and_asks_then(moment: str, lease: object, keys: list[str], sent: list[Verb]) -> None:
    state = a_run_state(moment)
    world = CannedWorld(current=state if lease is ... else replace(state, lease=None))
    app = await after(world, *keys)
    assert [verb for verb, _ in world.sent] == sent
    assert app.return_value is None, "nothing but an answer leaves"


@pytest.mark.parametrize(
    ("lease", "keys", "sent", "taken"),
    [
        (GONE, ["space", "y"], [(Verb.RESUME, {})], 0),
        (GONE, ["space", "escape"], [], 0),
        (None, ["space", "y"], [(Verb.RESUME, {})], 0),
        (FROZEN, ["space", "y"], [], 1),
        (FROZEN, ["space", "escape"], [], 0),
        (FROZEN, ["space"], [], 0),
    ],
)
async def test_a_lost_runner_is_replaced_only_after_a_question(
    lease: Lease | None, keys: list[str], sent: list[tuple[Verb, dict[str, object]]], taken: int
) -> None:
    world = CannedWorld(current=replace(a_run_state("mid backfill"), lease=lease))
    app = await after(world, *keys)
    assert (world.sent, world.taken_over) == (sent, taken)
    if keys == ["space"]:
        text = " ".join(" ".join(line.plain for line in app.lines(80, 24)).split())
        whole = ("does not answer since", "(42 s): process 4711 on db-ops", "still holds the run", "P2.1.2, batch")
        for words in whole:
            assert words in text
    reading = CannedWorld(current=world.current, can_control=False)
    await after(reading, *keys)
    assert (reading.sent, reading.taken_over) == ([], 0)


@pytest.mark.parametrize(
    ("keys", "option"),
    [
        (["D", "1"], OnDetach.PAUSE),
        (["D", "2"], OnDetach.GO_ON),
        (["D", "escape"], OnDetach.GO_ON),
        (["q", "2"], OnDetach.PAUSE),
        (["q", "q"], OnDetach.GO_ON),
        (["q", "escape"], OnDetach.GO_ON),
        (["colon", *"on detach", "enter", "1"], OnDetach.PAUSE),
    ],
)
async def test_what_becomes_of_the_run_is_chosen_and_shown(keys: list[str], option: OnDetach) -> None:
    world = CannedWorld()
    app = await after(world, *keys)
    assert world.on_detach is option
    assert (app.return_value == 0) is (keys[0] == "q" and keys[1] != "escape")
    band = (await after(world)).lines(80, 24)[0].plain
    assert ("pauses" in band) is (option is OnDetach.PAUSE)
    reading = CannedWorld(can_control=False)
    await after(reading, *[key for key in keys if key != "q"])
    assert reading.on_detach is OnDetach.GO_ON


async def test_copy_and_report_say_where() -> None:
    app = await after(CannedWorld(), "2", "y")
    assert "P2.1.2.sql" in app.notice[0]
    world = CannedWorld()
    assert "run_7.md" in (await after(world, "S")).notice[0]
    assert world.reports == 1


async def test_filter_and_refresh() -> None:
    app = await after(CannedWorld(), "6", "slash", *"throttled", "enter")
    assert app.view.words == "throttled"
    assert app.view.count(app.facts) == 1
    world = CannedWorld()
    assert (await after(world, "2", "R")).preview.preview(app.facts) is None
    assert world.rereads == 1


@pytest.mark.parametrize(
    ("stays", "words"),
    [(True, "Closing this never stops the run."), (False, "Closing this ends the demo.")],
)
def test_before_the_start_it_is_said_what_closing_does(stays: bool, words: str) -> None:
    facts = Facts(state=a_run_state("fresh"), can_control=True, stays=stays)
    assert first_words(facts)[-1].endswith(words)


async def test_leaving() -> None:
    running = await after(CannedWorld(), "q", "q")
    assert running.return_value == 0
    assert (await after(CannedWorld(current=a_run_state("done")), "q")).return_value == 0
    assert (await after(CannedWorld(), "ctrl+c", "ctrl+c", "enter")).return_value == 0


def test_footers_are_short() -> None:
    for name in (*SCREENS, "rollback", "help", "docs"):
        keys = footer(name)
        assert len(keys) <= 7
        assert keys[-1] == ("?", "help")
    assert len({key.action for key in KEYS}) == len(KEYS)


def test_the_footer_offers_what_can_be_done() -> None:
    def offered(**what: bool) -> list[str]:
        return [word for _, word in footer("tasks", **what)]

    assert "start" in offered()
    assert "confirm" not in offered()
    assert not {"start", "confirm"} & set(offered(runs=True))
    assert "confirm" in offered(asks=True)
    assert "start" not in offered(asks=True)
    assert "confirm" not in offered(asks=True, control=False)


def test_a_phase_with_a_purge_left_is_not_called_done() -> None:
    state = a_run_state("done")
    left = replace(state, tasks=(*state.tasks[:-1], replace(state.tasks[-1], status=TaskStatus.DEFERRED)))
    last = [task for task in left.tasks if task.phase_id == left.tasks[-1].phase_id]
    assert f"{len(last) - 1}/{len(last)}" in phase_strip(left, 120, UNICODE).plain


def approved(*names: str, needed: int = 1) -> RunState:
    """A run that has not begun, with these approvals of the plan."""
    plan = a_plan()
    records = [
        Approval(plan.id, plan.sha256, name, datetime(2026, 11, 21, 12, place, tzinfo=UTC), role=f"role_{name}")
        for place, name in enumerate(names)
    ]
    return replace(a_run_state("fresh"), approval=standing(Wanted(plan.id, plan.sha256, needed), records))


@pytest.mark.parametrize(
    ("state", "keys", "asked"),
    [
        (approved(), ["2", "a", "enter"], [("", False)]),
        (approved(), ["a", *"ok", "enter"], [("ok", False)]),
        (approved(), ["2", "a", "escape", "enter"], []),
        (approved("r2"), ["2", "a", "y"], [("", True)]),
        (approved("r2"), ["2", "a", "escape"], []),
        (approved("other"), ["2", "a", "enter"], [("", False)]),
    ],
)
async def test_a_reviewer_approves(state: RunState, keys: list[str], asked: list[tuple[str, bool]]) -> None:
    world = CannedWorld(current=state)
    app = await after(world, *keys, dry_run=True)
    assert world.approved == asked
    if asked:
        assert "journal of database arbitrage" in app.notice[0]


async def test_only_a_reviewer_approves() -> None:
    world = CannedWorld(current=approved())
    app = await after(world, "2", "a", "enter")
    assert world.approved == []
    assert "dry-run" in app.notice[0] or app.question is None


async def test_the_question_names_plan_digest_and_reviewer() -> None:
    app = await after(CannedWorld(current=approved()), "2", "a", dry_run=True)
    text = "\n".join(line.plain for line in app.lines(80, 24))
    for words in ("r2", a_plan().sha256, a_plan().title):
        assert words in text
    assert ("a", "approve") in footer("preview", control=False, review=True)
    assert "approve" not in dict(footer("preview")).values()


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (approved("r2"), "approved by r2, 21 Nov"),
        (approved("r2", "r3", needed=2), "2 of 2 approvals: r2, r3"),
        (approved(), "0 of 1 approvals"),
    ],
)
async def test_preview_says_who_approved(state: RunState, words: str) -> None:
    app = await after(CannedWorld(current=state), "2", dry_run=True)
    text = "\n".join(line.plain for line in app.lines(80, 24))
    assert words in text
    assert f"{a_plan().sha256[:4]} {a_plan().sha256[4:8]}" in text


async def test_control_is_taken_with_a_question_and_nothing_is_sent_before() -> None:
    world = CannedWorld(can_control=False, offer="dba-2@bastion has control since 23:41; T takes it over")
    app = await after(world, "space")
    assert app.notice[0].startswith("Nothing was sent: dba-2@bastion has control")
    assert world.sent == []
    app = await after(world, "T", "escape", "space")
    assert (world.taken, world.sent) == (0, [])
    app = await after(world, "T", "y", "space")
    assert world.taken == 1
    assert [verb for verb, _ in world.sent] == [Verb.PAUSE]
    app = await after(world, "T")
    assert app.notice[0] == "This console has control."


async def test_where_control_cannot_be_taken_the_key_says_so() -> None:
    app = await after(CannedWorld(can_control=False), "T")
    assert app.notice[0].startswith("Control cannot be taken from here")


async def test_a_plan_that_changed_is_shown_as_a_page() -> None:
    error = PlanError("The plan changed since run 7 began: changed: a.sql.")
    error.detail = "--- a/a.sql\n+++ b/a.sql\n ```\n-SELECT 1;\n+SELECT 2;"
    world = CannedWorld(current=a_run_state("paused"), refusal=error)
    app = await after(world, "space")
    text = "\n".join(line.plain for line in app.lines(80, 24))
    for words in ("What changed", "-SELECT 1;", "+SELECT 2;", "since run 7 began"):
        assert words in text
    world.refusal = error
    app = await after(world, "space", "escape")
    assert app.view.name == "tasks"
    assert "SELECT 2" not in "\n".join(line.plain for line in app.lines(80, 24))
