"""Every key of the table in every view: what it does, and that it does nothing where it must not.

The expectations stand in ``DOES``, one for each action of the table: a key that is added without one fails here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from console.journal.state import Verb
from console.tui.keys import KEYS, SCREENS, works_in
from tests.canned import a_run_state
from tests.tui.gallery import PANELS, Still, a_picture
from tests.tui.world import CannedWorld, a_shell, settled

VIEWS = (*SCREENS, *(name for name in PANELS if name != "palette"))  # the palette is left to its own tests: it types
REAL = tuple(key for key in KEYS if key.keys)


@dataclass(frozen=True)
class Seen:
    """What a key can change."""

    view: str
    cursor: int
    opened: tuple[object, ...]
    unfolded: frozenset[str]
    following: tuple[bool, ...]
    question: str
    prompt: str
    notice: str
    sent: tuple[Verb, ...]
    reports: int
    taken: int
    left: bool


def seen(shell: Still, world: CannedWorld) -> Seen:
    """The console and its world at this moment."""
    opened = (shell.preview.whole, shell.preview.side, shell.rollback.detailed, shell.docs.opened)
    return Seen(
        view=shell.view.name,
        cursor=shell.view.cursor,
        opened=(*opened, *(getattr(view, "opened", None) for view in shell.views.values())),
        unfolded=frozenset(shell.tasks.unfolded),
        following=tuple(getattr(view, "following", False) for view in shell.views.values()),
        question=shell.question.title if shell.question else "",
        prompt=shell._line.label,
        notice=shell.notice[0],
        sent=tuple(verb for verb, _ in world.sent),
        reports=world.reports,
        taken=world.taken,
        left=shell.left,
    )


def pressed(action: str, view: str, *, moment: str = "mid backfill", control: bool = True) -> tuple[Seen, Seen]:
    """A view before and after one key, in the middle of its lines where it has some."""
    world = CannedWorld(current=a_run_state(moment), can_control=control)
    shell = a_picture(moment, world=world)
    shell.open(view)
    if view != "tasks":
        shell.view.cursor = 1
        shell.view.settle(shell.facts)
    before = seen(shell, world)
    shell.press(action)
    return before, seen(shell, world)


def _opens(name: str) -> Callable[[Seen, Seen], bool]:
    return lambda was, now: now.view == name


def _says(*words: str) -> Callable[[Seen, Seen], bool]:
    return lambda was, now: any(word in now.notice for word in words)


def _asks(was: Seen, now: Seen) -> bool:
    return bool(now.question) and now.sent == was.sent


def _sends(verb: Verb) -> Callable[[Seen, Seen], bool]:
    return lambda was, now: now.sent == (*was.sent, verb)


def _higher(was: Seen, now: Seen) -> bool:
    return now.cursor <= was.cursor


def _lower(was: Seen, now: Seen) -> bool:
    return now.cursor >= was.cursor


def _turned(was: Seen, now: Seen) -> bool:
    return now.opened != was.opened or now.view != was.view or now.unfolded != was.unfolded or bool(now.question)


def _sideways(was: Seen, now: Seen) -> bool:
    return now.unfolded != was.unfolded or now.cursor != was.cursor or was.view == "rollback"


DOES: dict[str, Callable[[Seen, Seen], bool]] = {
    **{name: _opens(name) for name in SCREENS},
    "left": _sideways,
    "right": lambda was, now: now.cursor >= was.cursor and now.unfolded >= was.unfolded,
    "down": _lower,
    "up": _higher,
    "page_down": _lower,
    "page_up": _higher,
    "top": lambda was, now: now.cursor == 0,
    "bottom": _lower,
    "open": _turned,
    "way_back": lambda was, now: now.opened != was.opened,
    "approve": _says("reviewers"),
    "statements": lambda was, now: now.opened != was.opened,
    "start": _asks,
    "pause": _sends(Verb.PAUSE),
    "faster": _sends(Verb.SPEED),
    "slower": _sends(Verb.SPEED),
    "wind_back": _says("only a replay"),
    "wind_on": _says("only a replay"),
    "step_back": _says("only a replay"),
    "step_on": _says("only a replay"),
    "control": _says("has control"),
    "detach": _asks,
    "confirm": _says("Nothing waits"),
    "cancel": _says("There is no session"),
    "end": _says("There is no session"),
    "rollback": _opens("rollback"),
    "follow": lambda was, now: now.following != was.following or now == was,
    "filter": lambda was, now: bool(now.prompt) or "nothing to filter" in now.notice,
    "copy": _says("SQL sent", "no SQL"),
    "report": lambda was, now: (
        (now.reports == was.reports + 1 and "run_7.md" in now.notice)
        or (was.view == "rollback" and ".sql" in now.notice)
    ),
    "docs": _opens("docs"),
    "refresh": _says("reading everything"),
    "palette": lambda was, now: now.view == "palette" and now.prompt == "command: ",
    "help": _opens("help"),
    "back": lambda was, now: now.sent == was.sent and not now.question,
    "suspend": lambda was, now: was == now,  # without a terminal there is nothing to give back: test_window has one
    "leave": lambda was, now: _asks(was, now) and not now.left,
    "stop": _sends(Verb.PAUSE),
}
COMMANDS = {"pause", "faster", "slower", "stop"}  # without a question: all of them can be taken back


def test_every_key_has_an_expectation() -> None:
    assert set(DOES) == {key.action for key in REAL}
    names = [name for key in REAL for name in key.keys.split(",")]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("view", VIEWS)
def test_what_each_key_does(view: str) -> None:
    wrong = []
    for key in REAL:
        was, now = pressed(key.action, view)
        if not works_in(key, view):
            assert now == was, (key.action, view)
        elif not DOES[key.action](was, now):
            wrong.append((key.action, was, now))
        if key.action not in COMMANDS:
            assert now.sent == was.sent, f"{key.action} sends {now.sent} without a question"
    assert wrong == []


@pytest.mark.parametrize("moment", ["mid backfill", "gate", "failed check", "done", "fresh", "lock wait"])
def test_a_console_that_only_reads_sends_nothing(moment: str) -> None:
    world = CannedWorld(current=a_run_state(moment), can_control=False)
    for view in VIEWS:
        shell = a_picture(moment, world=world)
        for key in REAL:
            shell.open(view)
            shell.press(key.action)
            now = seen(shell, world)
            assert (now.sent, now.taken) == ((), 0)
            if key.control and works_in(key, view) and key.action != "stop":
                assert not now.question
                assert "only reads" in now.notice or "replay" in now.notice, (key.action, view, now.notice)
            shell.close_prompt()
            shell.ask(None)


MOVES = {"down", "up", "left", "right"}
ANSWERS = {"open", "tasks", "preview", "backfill", "checks", "copy", "leave"}  # enter and the options' own keys


@pytest.mark.parametrize(
    ("moment", "opening"), [("fresh", "start"), ("gate", "confirm"), ("mid backfill", "leave"), ("done", "confirm")]
)
def test_an_open_question_takes_every_key(moment: str, opening: str) -> None:
    for key in REAL:
        world = CannedWorld(current=a_run_state(moment))
        shell = a_picture(moment, opening, world=world)
        was = seen(shell, world)
        assert was.question
        shell.press(key.action)
        now = seen(shell, world)
        if key.action == "stop":
            continue
        if key.action == "back":
            assert (now.question, now.sent, now.left) == ("", was.sent, False)
        elif key.action not in ANSWERS and not was.prompt:
            assert (now.question, now.view, now.sent, now.left) == (was.question, was.view, was.sent, False), key.action
        elif was.prompt:
            assert (now.question, now.sent) == (was.question, was.sent), key.action


def test_keys_are_letters_while_something_is_typed() -> None:
    for key in REAL:
        world = CannedWorld()
        shell = a_picture("mid backfill", "log", "filter", world=world)
        was = seen(shell, world)
        shell.press(key.action)
        now = seen(shell, world)
        if key.action == "back":
            assert now.prompt == ""
        elif key.action != "stop":
            assert now == was, key.action


@pytest.mark.parametrize("typing", [False, True])
async def test_every_name_of_a_key_reaches_its_action(typing: bool) -> None:
    app = a_shell(CannedWorld())
    reached: list[str] = []
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        if typing:
            await pilot.press("slash")
        app.press = reached.append  # type: ignore[method-assign]
        for key in REAL:
            for name in key.keys.split(","):
                if typing and name == "enter":  # it ends the typing
                    continue
                reached.clear()
                await pilot.press(name)
                letter = len(name) == 1 or name in SIGNS
                if not typing:
                    assert reached == [key.action], name
                elif letter:
                    assert reached == [], name
        if typing:
            assert set(app.view.words) >= set("sq?+- ")  # ctrl+u has taken away what was typed before


SIGNS = {
    "space", "plus", "equals_sign", "minus", "left_square_bracket", "right_square_bracket", "comma", "full_stop",
    "slash", "colon", "question_mark",
}  # fmt: skip
