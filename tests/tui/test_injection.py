"""Names, SQL and errors full of markup and terminal sequences draw as harmless text, on screens and without."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from functools import cache
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from console.headless.follow import picture
from console.headless.lines import LineWriter
from console.headless.report import report_json, report_markdown, report_text, status_line, status_text
from console.journal.state import RunState
from console.text import MARKS, plain, visible
from console.tui.styles import styles
from tests.canned import a_run_state
from tests.tui.gallery import a_picture, gallery, moments
from tests.tui.world import CannedWorld, a_shell, settled

ATTACKS = {
    "markup": "[red]x[/] [/] [bold [@click=app.exit]y[/] [link=http://evil]z[/link] {x} %s \\[",
    "clipboard": "\x1b]52;c;aGk=\x07",
    "link": "\x1b]8;;http://evil\x1b\\click\x1b]8;;\x1b\\",
    "title": "\x1b]0;owned\x07",
    "clear": "\x1b[2J\x1b[H\x1bc",
    "report": "\x1b[6n\x1b[c\x1b[?1049l\x1b[?25l",
    "device": '\x1bP$q"p\x1b\\\x1b_G\x1b\\\x1b^x\x1b\\',
    "8 bit": "\x9b31m\x9d0;x\x9c\x90q\x9c\x85\x84",
    "open end": "\x1b]0;never ended, the rest must still be seen",
    "order": "\u202eabc\u2066def\u2069\u200f\u061c",
    "no width": "a\u200bb\u200dc\ufeffd\u2060e\u00ad",
    "flood": "e" + "\u0301" * 90 + "\u1160" * 40,
    "blanks": "a\tb\r\nc\rd\ne\x00f\x0bg\x0ch\u2028i\u2029j\u00a0k",
    "long": "no_space_anywhere_" * 12,
    "wide": "\u6771\u4eac\u306e\u5e02\u5834" * 12,
    "odd": "\u2764\ufe0f \U0001f468\u200d\U0001f469 \U0001f1e9\U0001f1ea \ue000 \U000e0041 \ud800",
}
EVIL = " ".join(ATTACKS.values())
LARGE = ("lock wait", "differing rows")  # moments that are drawn in both sizes
EVIL_MOMENTS = ("fresh", "busy", "gate", "rolled back", "done", *LARGE)
KEPT = {
    "role",
    "severity",
    "what",
    "direction",
    "state",
    "sha256",
    "waits_for",
    "set_by",
}  # their words decide what is drawn

T = TypeVar("T")


def infected(value: T, text: str) -> T:
    """The value with ``text`` behind every text in it, whatever it is made of; keys of dictionaries too."""
    return _infected(value, text)  # type: ignore[no-any-return]


def _infected(value: Any, text: str) -> Any:
    if isinstance(value, Enum):
        return value
    if isinstance(value, str):
        return f"{value}{text}"
    if is_dataclass(value) and not isinstance(value, type):
        found = {field.name: getattr(value, field.name) for field in fields(value) if field.name not in KEPT}
        return replace(value, **{name: _infected(item, text) for name, item in found.items()})
    if isinstance(value, tuple):
        return tuple(_infected(item, text) for item in value)
    if isinstance(value, dict):
        return {_infected(name, text): _infected(item, text) for name, item in value.items()}
    return value


def evil_world(moment: str, text: str) -> CannedWorld:
    """A world in which every text from a database or a file ends in ``text``."""
    world = CannedWorld(current=infected(a_run_state(moment), text))
    world.known = {f"{name}{text}": infected(preview, text) for name, preview in world.known.items()}
    assert world.plan is not None
    world.plan = replace(
        world.plan,
        title=world.plan.title + text,
        phases=tuple(infected_phase(phase, text) for phase in world.plan.phases),
        docs=tuple(infected(doc, text) for doc in world.plan.docs),
        checks=tuple(replace(check, title=check.title + text) for check in world.plan.checks),
    )
    return world


def infected_phase(phase: Any, text: str) -> Any:
    """A phase of the plan with evil words, its tasks named as the run names them."""
    tasks = tuple(
        replace(task, id=task.id + text, title=task.title + text, question=task.question + text, irreversible=text)
        for task in phase.tasks
    )
    return replace(phase, title=phase.title + text, goal=phase.goal + text, schedule=text, risk=text, tasks=tasks)


@cache
def known_styles() -> frozenset[str]:
    """The names of styles that drawing functions may use."""
    shell = a_picture("fresh")
    return frozenset(styles(shell.get_css_variables(), ansi=False)) | {""}


def harmful(lines: Iterable[Text], size: tuple[int, int]) -> list[str]:
    """Lines that do more than show text, or that move others."""
    width, height = size
    lines = list(lines)
    assert len(lines) == height
    return [
        repr(item.plain)
        for item in lines
        if not item.plain.isprintable()
        or item.cell_len != width
        or sum(cell_len(character) for character in item.plain) != width
        or len(item.plain) > width * (MARKS + 1)
        or not {str(span.style) for span in item.spans} <= known_styles()
    ]


@pytest.mark.parametrize("moment", EVIL_MOMENTS)
def test_nothing_escapes_on_any_screen(moment: str) -> None:
    found = []
    for shown in gallery(moment, world=evil_world(moment, EVIL)):
        for size in ((80, 24), (120, 40))[: 1 + (moment in LARGE)]:
            found += [(shown.name, size, line) for line in harmful(shown.lines(size), size)]
    assert found == []


NASTY = st.text(
    st.sampled_from(
        [*"\x1b[]/\\;m@\x07\x9b\x9c\x9d\x90\u202e\u2066\u200b\u0301\u1160\u6771\ufe0f\r\n\t\x00 a1.,x{}'\"`|<&"]
    ),
    max_size=40,
)


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=NASTY, moment=st.sampled_from(moments()))
def test_nothing_made_by_chance_escapes(text: str, moment: str) -> None:
    for shown in gallery(moment, world=evil_world(moment, text)):
        assert harmful(shown.lines((80, 24)), (80, 24)) == [], shown.name


async def test_a_running_console_stays_itself() -> None:
    app = a_shell(evil_world("lock wait", EVIL))
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        app.feed.stop()  # each state brings every line anew, and a state comes fifty times a second here
        for key in ("2", "3", "4", "enter", "5", "6", "u", "d", "enter", "colon"):
            await pilot.press(key)
            await settled(pilot)
            drawn = [app._canvas.render_line(y) for y in range(40)]
            assert all(segment.text.isprintable() for strip in drawn for segment in strip)
            assert all(
                not (segment.style and (segment.style.link or segment.style.meta)) for s in drawn for segment in s
            )
        assert app.is_running
        assert app.return_value is None


def harmless(text: str) -> bool:
    """Whether a terminal would only draw it."""
    return all(line.isprintable() for line in text.split("\n"))


def followed(state: RunState) -> str:
    """What attach --plain prints, and what a terminal without a screen draws."""
    stream = io.StringIO()
    Console(file=stream, width=120, force_terminal=False).print(picture(state))
    return "\n".join([*LineWriter().lines(state), stream.getvalue()])


@pytest.mark.parametrize("moment", moments())
def test_nothing_escapes_without_a_screen(moment: str) -> None:
    state = infected(a_run_state(moment), EVIL)
    for printer in (status_text, status_line, report_text, report_markdown, followed):
        text = printer(state)
        assert harmless(text), printer
        assert printer is status_line or "the rest must still be seen" in text
    data = json.dumps(report_json(state), ensure_ascii=False)
    assert harmless(data)


@given(text=st.text(st.characters(), max_size=60))
def test_plain_text_is_only_what_is_drawn(text: str) -> None:
    for made in (plain(text), visible(text)):
        assert made.isprintable()
        assert cell_len(made) == sum(cell_len(character) for character in made)
        assert made == plain(made)
    assert plain(text.replace("\n", " ")).replace(" ", "") == plain(text, keep_newlines=False).replace(" ", "")


@given(before=st.text("ab \x1b\u202e", max_size=8), attack=st.sampled_from(list(ATTACKS.values())))
def test_nothing_is_hidden_in_sql(before: str, attack: str) -> None:
    sql = f"SELECT '{before}{attack}'; DROP TABLE symbols"
    shown = visible(sql)
    assert "DROP TABLE symbols" in shown
    assert shown.isprintable()
    for character in "\x1b\u202e\u200b\u00a0\x00":
        assert shown.count(ascii(character)[1:-1]) >= sql.count(character)


def test_sequences_go_as_a_whole_and_text_after_them_stays() -> None:
    assert plain("a\x1b]0;owned\x07b\x1b[31mc\x1bP1q\x1b\\d\x9b0me") == "abcde"
    assert plain("a\x1b]0;not ended") == "a0;not ended"
    assert plain("e" + "\u0301" * 50) == "e" + "\u0301" * MARKS
