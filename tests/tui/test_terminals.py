"""What terminals of every kind are sent: as many colours as they have, none where none is wanted, ASCII where it must be."""

from __future__ import annotations

import re

import pytest

from console.errors import UsageError
from console.tui.terminal import look
from tests.tui.terminals import SSH, console

COLOUR = re.compile(r"(?:^|;)(?:[34]\d|9\d|10\d)(?:;|$)")  # inks and grounds, also 38 and 48; 39 and 49 undo them
TRUE, INDEXED = re.compile(r"[34]8;2;"), re.compile(r"[34]8;5;")
KINDS: dict[str, tuple[dict[str, str], str]] = {  # environment, the most it may be sent
    "16 colours": ({"TERM": "xterm"}, "16"),
    "256 colours, its own theme": ({"TERM": "xterm-256color", "THEME": "textual-dark"}, "256"),
    "truecolor": ({"TERM": "xterm-256color", "COLORTERM": "truecolor"}, "true"),
    "truecolor over SSH": ({"TERM": "xterm-256color", "COLORTERM": "truecolor", **SSH}, "16"),
    "NO_COLOR": ({"TERM": "xterm-256color", "COLORTERM": "truecolor", "NO_COLOR": "1"}, "none"),
    "NO_COLOR, a theme": ({"COLORTERM": "truecolor", "NO_COLOR": "1", "THEME": "textual-dark"}, "none"),
    "linux": ({"TERM": "linux"}, "16 ascii"),
    "vt220": ({"TERM": "vt220"}, "none ascii"),
    "vt100": ({"TERM": "vt100"}, "none ascii"),
    "no UTF-8": ({"TERM": "xterm", "LC_ALL": "C"}, "16 ascii"),
}


USUAL = ("16 colours", "256 colours, its own theme", "truecolor", "NO_COLOR, a theme", "vt220")


@pytest.mark.parametrize(
    "kind", [kind if kind in USUAL else pytest.param(kind, marks=pytest.mark.long) for kind in KINDS]
)
def test_what_it_is_sent(kind: str) -> None:
    env, most = KINDS[kind]
    env = dict(env)
    theme = env.pop("THEME", None)
    with console("BusyWorld", env=env, options=f"theme={theme!r}") as session:
        session.shows("help")
        for key in "345":
            session.press(key)
            session.quiet(0.1)
        sent = session.glass.sgr
        colours = {one for one in sent if COLOUR.search(one)}
        assert bool(colours) == ("none" not in most), colours
        assert any(TRUE.search(one) for one in sent) == (most == "true")
        assert any(INDEXED.search(one) for one in sent) == (most == "256")
        assert session.screen().isascii() == ("ascii" in most)
        assert session.raw().isascii() == ("ascii" in most)


def test_a_light_ground_has_a_light_theme() -> None:
    assert look({"TERM": "xterm", "COLORFGBG": "0;15"}, ascii_only=None, theme=None).theme == "ansi-light"
    assert look({"TERM": "xterm", "COLORFGBG": "0;default;7"}, ascii_only=None, theme=None).theme == "ansi-light"
    assert look({"TERM": "xterm", "COLORFGBG": "15;0"}, ascii_only=None, theme=None).theme == "ansi-dark"
    assert look({"TERM": "xterm", "COLORFGBG": "15;0"}, ascii_only=None, theme="light").theme == "ansi-light"
    many = {"TERM": "xterm", "COLORTERM": "truecolor"}
    assert look(many, ascii_only=None, theme="light").theme == "textual-light"
    assert look({**many, **SSH}, ascii_only=None, theme="light").theme == "ansi-light"
    assert look({**many, **SSH}, ascii_only=None, theme="nord").theme == "nord"
    with pytest.raises(UsageError, match="no theme 'neon'"):
        look(many, ascii_only=None, theme="neon")
