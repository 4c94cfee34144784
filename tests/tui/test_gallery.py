"""What holds for every screen at every moment in every size: it fits, it cuts no number, ASCII is ASCII."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text
from textual.color import Color

from console.tui.draw import base
from console.tui.draw.base import clip, ends, fit, heading, rule, wrap
from console.tui.draw.differences import side_by_side
from console.tui.glyphs import ASCII, UNICODE
from console.tui.shell import Shell
from tests.tui.gallery import SIZES, a_picture, gallery, moments
from tests.tui.world import a_shell, settled

HALF_A_NUMBER = re.compile(r"[0-9],?\.\.(?!\.)")


def faults(lines: list[Text], size: tuple[int, int]) -> list[str]:
    """What is wrong with a screen."""
    width, height = size
    found = [] if len(lines) == height else [f"{len(lines)} lines"]
    for number, line in enumerate(lines):
        if line.cell_len != width:
            found.append(f"line {number} has {line.cell_len} cells: {line.plain!r}")
        if not line.plain.isprintable():
            found.append(f"line {number} is not printable: {line.plain!r}")
        if HALF_A_NUMBER.search(line.plain):
            found.append(f"line {number} cuts a number: {line.plain!r}")
    if ".." in lines[-1].plain:
        found.append(f"the footer is cut: {lines[-1].plain!r}")
    return found


@pytest.mark.parametrize("moment", moments())
def test_every_screen_fits_every_size(moment: str) -> None:
    seen = [(picture.name, size, faults(picture.lines(size), size)) for picture in gallery(moment) for size in SIZES]
    assert [item for item in seen if item[2]] == []
    assert len(seen) > 100


@pytest.mark.parametrize("moment", moments())
def test_ascii_is_ascii_on_every_screen(moment: str) -> None:
    found = [
        (picture.name, line.plain)
        for picture in gallery(moment, ascii_only=True)
        for line in picture.lines((120, 40))
        if not line.plain.isascii()
    ]
    assert found == []


TEXTS = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), max_size=60)


@given(text=TEXTS, width=st.integers(0, 70))
def test_a_line_is_as_wide_as_asked(text: str, width: int) -> None:
    assert fit(Text(text), width).cell_len == width
    assert ends(Text(text), Text("1,234 rows"), width).cell_len == width
    assert Text(clip(text, width)).cell_len <= width
    for glyphs in (UNICODE, ASCII):
        assert rule(glyphs, width + 8, text).cell_len == width + 8
        assert heading(glyphs, width + 8, text).cell_len == width + 8
    for limit in (0, 1, 2):
        lines = wrap(text, width, limit=limit)
        assert all(line.cell_len <= max(width, 8) for line in lines)
        assert not limit or len(lines) <= limit


@given(number=st.integers(0, 10**12), before=st.sampled_from(["", "rows ", "a, "]), width=st.integers(3, 40))
def test_a_number_is_whole_or_not_there(number: int, before: str, width: int) -> None:
    shown = fit(Text(f"{before}{number:,} of 5 rows"), width).plain
    figures = re.findall(r"[0-9][0-9,]*", shown)
    assert set(figures) <= {f"{number:,}", "5"}
    assert f"{before}{number:,} of 5 rows".startswith(shown.rstrip(" ."))
    assert shown.startswith(before[: width - 2])


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
def test_who_waits_behind_us_is_never_cut_off(size: tuple[int, int]) -> None:
    shown = a_picture("lock wait").lines(*size)
    assert any("12 wait behind us, blocked by pid 2211 nightly-report" in line.plain for line in shown)


@pytest.mark.parametrize(("moment", "words"), [("runner gone", "no runner"), ("paused", "paused")])
@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
def test_a_copy_that_nobody_works_at_has_no_rate_and_no_end_to_come(
    moment: str, words: str, size: tuple[int, int]
) -> None:
    picture = a_picture(moment)
    picture.open("backfill")
    shown = "\n".join(line.plain for line in picture.lines(*size))
    assert words in shown
    assert "what was in its way" in shown
    for now in ("ETA", "rows/s", "nothing holds it back"):
        assert now not in shown


@pytest.mark.parametrize(("can_control", "goes_on"), [(True, "space tries again"), (False, "the run stands still")])
def test_a_failed_check_says_where_its_rows_are(can_control: bool, goes_on: str) -> None:
    shell = a_picture("failed check")
    shell.facts = replace(shell.facts, can_control=can_control)
    shown = "\n".join(line.plain for line in shell.lines(80, 24))
    assert f"4 shows what was found; {goes_on}" in shown


@pytest.mark.parametrize("width", [72, 80])
def test_a_differing_value_is_shown_to_its_end(width: int) -> None:
    old, new = (f"2025-10-11 00:00:02.040051+00 a long spelling of the venue {end}" for end in "AB")
    columns = {"columns": '["a_longer_column_name"]', "what": "changed", "key": "id = 1"}
    row = {
        **columns,
        **{side: json.dumps({"a_longer_column_name": text}) for side, text in (("old", old), ("new", new))},
    }
    lines = side_by_side(row, width, UNICODE)
    drawn = "\n".join(line.plain for line in lines)
    assert re.search(r"A  +.*B *$", drawn, re.MULTILINE), drawn
    assert {line.cell_len for line in lines} == {width}


def test_wrapping_loses_no_word() -> None:
    words = "replica lag 1.4 s, limit 1.0 s; " * 5
    assert " ".join(line.plain for line in wrap(words, 20)) == " ".join(words.split())


def colours(app: Shell) -> set[str]:
    """Every colour that the screen would send, after all filters; the terminal's own is none."""
    found: set[str] = set()
    for y in range(app.size.height):
        strip = app._canvas.render_line(y)
        for line_filter in app.get_line_filters():
            strip = strip.apply_filter(line_filter, Color.parse("black"))
        for segment in strip:
            shades = (segment.style.color, segment.style.bgcolor) if segment.style else ()
            found |= {shade.name for shade in shades if shade is not None and not shade.is_default}
    return found


@cache
def styles_used() -> frozenset[str]:
    """The names of the styles on all screens."""
    pictures = (picture for moment in ("busy", "lock wait", "differing rows", "done") for picture in gallery(moment))
    return frozenset(str(span.style) for shown in pictures for line in shown.lines((120, 40)) for span in line.spans)


@pytest.mark.parametrize("coloured", [False, True])
async def test_without_colour_no_screen_has_one(monkeypatch: pytest.MonkeyPatch, coloured: bool) -> None:
    if not coloured:
        monkeypatch.setenv("NO_COLOR", "1")
    used = styles_used()
    assert len(used) > 15
    app = a_shell(theme="ansi-dark")
    async with app.run_test(size=(80, 40)) as pilot:
        await settled(pilot)
        app.feed.stop()
        app._canvas.show([fit(base.line((f"{name}.", name)), 80) for name in sorted(used)])
        shown = colours(app)
    assert bool(shown) is coloured, shown
