"""Pictures: what stands on the screen stands in them, as one file, whatever the text; and no secret does."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import pytest
from rich.color_triplet import ColorTriplet
from rich.style import Style

from console.journal.state import RunState
from console.tui.draw.base import fit, line
from console.tui.keys import SCREENS
from console.tui.svg import CELL, LINE, MARGIN, Palette, svg
from console.tui.still import Still
from tests.canned import a_run_state
from tests.tui.world import CannedWorld

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
    assert boxes == [
        (pytest.approx(MARGIN), pytest.approx(4 * CELL)),
        (pytest.approx(MARGIN + 4 * CELL), pytest.approx(CELL / 2, abs=0.1)),
    ]
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
