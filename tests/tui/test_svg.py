"""Pictures: what stands on the screen stands in them, as one file, whatever the text; and no secret does."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest
from platformdirs import user_state_path
from rich.color_triplet import ColorTriplet
from rich.style import Style

from console.errors import ConnectionFailed
from console.journal.state import RunState
from console.tui.draw.base import fit, line
from console.tui.keys import SCREENS
from console.tui.still import Still
from console.tui.svg import CELL, LINE, MARGIN, Palette, svg
from tests.canned import a_run_state
from tests.tui.world import CannedWorld, a_shell, settled

PALETTE = Palette(ColorTriplet(224, 224, 224), ColorTriplet(18, 18, 18))
NS = "{http://www.w3.org/2000/svg}"


def drawn(state: RunState, *actions: str, size: tuple[int, int] = (120, 40)) -> str:
    """The picture of a canned state after these keys."""
    still = Still(CannedWorld(state), size)
    still.press(*actions)
    return still.picture()


def words(picture: str) -> str:
    """All text of a picture."""
    return " ".join(item.text or "" for item in ElementTree.fromstring(picture).iter(f"{NS}text"))


@pytest.mark.parametrize("screen", [*SCREENS, "rollback", "docs", "help"])
@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
def test_a_picture_says_what_the_screen_says(screen: str, size: tuple[int, int]) -> None:
    still = Still(CannedWorld(a_run_state("mid backfill")), size)
    still.press(screen)
    picture = still.picture()
    text = words(picture).replace(" ", "")
    for item in still.shell.lines(*size):
        for word in re.findall(r"[A-Za-z0-9_.,]{3,}", item.plain):
            assert word in text
    root = ElementTree.fromstring(picture)
    assert float(root.get("width", "0")) == pytest.approx(size[0] * CELL + 2 * MARGIN)
    assert float(root.get("height", "0")) == pytest.approx(size[1] * LINE + 2 * MARGIN)
    assert "mid backfill" not in picture
    assert not re.search(r"(?:href|src|url|@import|<script)", picture), "nothing is fetched"


def test_text_is_text_and_never_markup() -> None:
    state = a_run_state("mid backfill")
    hostile = "</text><script>x</script>&\x1b[31m\u202e"
    tasks = tuple(replace(task, title=hostile) for task in state.tasks)
    picture = drawn(replace(state, tasks=tasks))
    assert "<script" not in picture
    assert "</text><script>" in words(picture)
    assert "\x1b" not in picture
    assert "\u202e" not in picture


def test_secrets_are_masked() -> None:
    state = a_run_state("lock wait")
    sessions = tuple(replace(item, query="ALTER ROLE a PASSWORD 'hunter2'") for item in state.sessions)
    events = tuple(replace(item, text="connection to postgresql://a:hunter2@h/d lost") for item in state.events)
    broken = replace(state, sessions=sessions, events=events, error="password=hunter2 was refused")
    for screen in SCREENS:
        assert "hunter2" not in drawn(broken, screen)
    assert "***" in words(drawn(broken, "activity"))
    assert "***" in words(drawn(broken, "log"))


def test_bars_are_shapes_of_the_right_length() -> None:
    full, half = "\u2588", "\u258c"
    root = ElementTree.fromstring(svg([fit(line(full * 4 + half), 10)], {}, PALETTE, "t"))
    ground, *rects = root.iter(f"{NS}rect")
    assert ground.get("width") == "100%"
    boxes = [(float(box.get("x", 0)), float(box.get("width", 0))) for box in rects]
    wanted = [(MARGIN, 4 * CELL), (MARGIN + 4 * CELL, CELL / 2)]
    assert [pytest.approx(pair, abs=0.1) for pair in wanted] == boxes
    assert not list(root.iter(f"{NS}text"))


def test_styles_become_colours() -> None:
    styles = {"a": Style.parse("bold red"), "b": Style.parse("reverse")}
    picture = svg([line(("one", "a"), " ", ("two", "b"))], styles, PALETTE, "t")
    root = ElementTree.fromstring(picture)
    one, two = root.iter(f"{NS}text")
    assert one.get("class") == "b"
    assert one.get("fill") not in (PALETTE.ink.hex, PALETTE.ground.hex)
    assert two.get("fill") == PALETTE.ground.hex
    assert any(box.get("fill") == PALETTE.ink.hex for box in root.iter(f"{NS}rect"))
    assert root.find(f"{NS}title") is not None


async def saved(world: CannedWorld, *pressed: str) -> tuple[str, list[Path]]:
    """What the console says after these keys, and the pictures that are in its folder then."""
    app = a_shell(world)
    async with app.run_test(size=(200, 40)) as pilot:
        await settled(pilot)
        for key in pressed:
            await pilot.press(key)
            await settled(pilot)
        return app.notice[0], sorted(user_state_path("pgferry").glob("reports/*.svg"))


async def test_the_report_has_a_picture_of_the_screen_beside_it() -> None:
    notice, kept = await saved(CannedWorld(), "3", "S")
    assert "run_7.md" in notice
    assert [path.name for path in kept] == ["run_7.svg"]
    assert "<title>pgferry, Backfill, run 7" in kept[0].read_text(encoding="utf-8")


async def test_a_screen_is_kept_where_no_report_can_be_made() -> None:
    class Gone(CannedWorld):
        def save_report(self) -> str:
            raise ConnectionFailed("The server does not answer.")

    notice, kept = await saved(Gone(), "S")
    assert notice.startswith("The server does not answer.")
    assert len(kept) == 1
    assert kept[0].name in notice


async def test_a_folder_that_cannot_be_written_is_one_sentence() -> None:
    folder = user_state_path("pgferry", ensure_exists=True) / "reports"
    folder.write_text("no folder")
    notice, _ = await saved(CannedWorld(), "S")
    assert notice.startswith("The picture cannot be written to")
