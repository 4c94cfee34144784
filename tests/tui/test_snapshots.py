"""Every screen at 80x24 and 120x40 in every look, and every other state of them in one look, from canned states."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

import pytest
from textual.pilot import Pilot

from console.tui.shell import Shell
from tests.canned import a_run_state
from tests.tui.world import CannedWorld, a_shell, settled

SIZES = [(80, 24), (120, 40)]


class Compare(Protocol):
    """The snapshot fixture."""

    def __call__(
        self,
        app: object,
        press: object = (),
        terminal_size: tuple[int, int] = (80, 24),
        run_before: Callable[[Pilot[int]], Awaitable[None]] | None = None,
    ) -> bool: ...


def keys(*names: str) -> Callable[[Pilot[int]], Awaitable[None]]:
    """Wait for the first state, press the keys, wait for every answer."""

    async def before(pilot: Pilot[int]) -> None:
        await settled(pilot)
        for name in names:
            await pilot.press(name)
            await settled(pilot)

    return before


MAIN: dict[str, tuple[str, tuple[str, ...]]] = {
    "tasks": ("mid backfill", ()),
    "preview": ("lock wait", ("2",)),
    "backfill": ("busy", ("3",)),
    "checks": ("differing rows", ("4",)),
    "activity": ("lock wait", ("5",)),
    "log": ("busy", ("6", "k")),
    "rollback": ("mid backfill", ("u",)),
    "help": ("mid backfill", ("question_mark",)),
    "docs": ("mid backfill", ("d",)),
    "palette": ("mid backfill", ("colon", "p", "a", "u")),
}
LOOKS = {"truecolor": "textual-dark", "ansi": "ansi-dark", "no_color": "ansi-dark", "ascii": "textual-dark"}
STATES: dict[str, tuple[str, tuple[str, ...]]] = {
    "tasks_fresh": ("fresh", ()),
    "tasks_phase": ("gate", ("k", "k", "k", "k")),
    "tasks_failed": ("failed check", ()),
    "tasks_lock_wait": ("lock wait", ()),
    "tasks_paused": ("paused", ()),
    "tasks_done": ("done", ()),
    "tasks_rolled_back": ("rolled back", ()),
    "tasks_runner_lost": ("runner lost", ()),
    "tasks_rolling_back": ("rolling back", ()),
    "preview_mapping": ("mid backfill", ("2",)),
    "preview_down": ("lock wait", ("2", "w")),
    "preview_differs": ("lock wait", ("2", "j")),
    "preview_filter": ("lock wait", ("2", "slash", *"measured access", "enter")),
    "preview_whole": ("lock wait", ("2", "enter")),
    "backfill_one": ("mid backfill", ("3",)),
    "backfill_settings": ("mid backfill", ("3", "enter")),
    "checks_failed": ("failed check", ("4",)),
    "checks_many": ("busy", ("4",)),
    "checks_row": ("differing rows", ("4", "enter", "j")),
    "checks_again": ("differing rows", ("4", "j", "j")),
    "activity_drain": ("drain", ("5",)),
    "activity_cancel_asks": ("lock wait", ("5", "j", "x")),
    "activity_end_asks": ("lock wait", ("5", "X")),
    "log_follows": ("mid backfill", ("6",)),
    "rollback_detailed": ("mid backfill", ("u", "v")),
    "rollback_asks": ("mid backfill", ("u", "enter")),
    "rollback_at_work": ("rolling back", ("u",)),
    "rollback_failed": ("rollback failed", ("u",)),
    "rollback_purged": ("purged", ("u",)),
    "gate_asks": ("gate", ("c",)),
    "start_asks": ("fresh", ("s",)),
    "docs_page": ("mid backfill", ("d", "enter")),
    "filter": ("fresh", ("slash", *"purge")),
}


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("name", MAIN)
def test_look(
    snap_compare: Compare, monkeypatch: pytest.MonkeyPatch, name: str, look: str, size: tuple[int, int]
) -> None:
    if look == "no_color":
        monkeypatch.setenv("NO_COLOR", "1")
    moment, pressed = MAIN[name]
    world = CannedWorld(current=a_run_state(moment))
    app = a_shell(world, theme=LOOKS[look], ascii_only=look == "ascii")
    assert snap_compare(app, terminal_size=size, run_before=keys(*pressed))


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("name", STATES)
def test_state(snap_compare: Compare, name: str, size: tuple[int, int]) -> None:
    moment, pressed = STATES[name]
    app = a_shell(CannedWorld(current=a_run_state(moment)))
    assert snap_compare(app, terminal_size=size, run_before=keys(*pressed))


@pytest.mark.parametrize("theme", ["textual-light", "ansi-light"])
def test_light(snap_compare: Compare, theme: str) -> None:
    assert snap_compare(a_shell(theme=theme), run_before=keys())


@pytest.mark.parametrize("variety", ["lossy", "impossible"])
def test_rollback_that_costs(snap_compare: Compare, variety: str) -> None:
    app = a_shell(CannedWorld(rollback=variety))
    assert snap_compare(app, run_before=keys("u", "enter"))


def test_dry_run(snap_compare: Compare) -> None:
    app = a_shell(CannedWorld(current=a_run_state("fresh"), can_control=False), dry_run=True)
    assert snap_compare(app, run_before=keys("space"))


def test_server_gone(snap_compare: Compare) -> None:
    world = CannedWorld()

    async def before(pilot: Pilot[int]) -> None:
        await settled(pilot)
        world.gone = True
        world.changed.set()
        app = pilot.app
        assert isinstance(app, Shell)
        await settled(pilot, lambda: bool(app.facts.stale))

    assert snap_compare(a_shell(world), run_before=before)


def test_too_small(snap_compare: Compare) -> None:
    assert snap_compare(a_shell(), terminal_size=(50, 12), run_before=keys())
