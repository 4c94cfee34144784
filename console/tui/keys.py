"""The one table of keys: bindings, footer, help screen and palette are all made from it."""

from __future__ import annotations

from dataclasses import dataclass

SCREENS = ("tasks", "preview", "backfill", "checks", "activity", "log")


@dataclass(frozen=True, slots=True)
class Key:
    """A key and what it does.

    ``keys`` are textual's names, comma-separated, empty for a line that only the footer has; ``shown`` is how they
    are printed; ``label`` is the footer's word. ``where`` names the views in which it works, empty for all.
    ``footer`` names the views whose footer shows it, in the order of this table. ``control`` marks what sends a
    command to the runner, or moves a replay's clock where there is a word for that in ``replay``; ``review`` what only
    a reviewer's console (a dry run) does. ``group`` is its part of the help page, ``here`` its help in certain views.
    """

    action: str
    keys: str
    shown: str
    label: str
    help: str
    where: tuple[str, ...] = ()
    footer: tuple[str, ...] = ()
    control: bool = False
    review: bool = False
    replay: str = ""  # the footer's word while a past run is shown
    group: str = ""  # one of GROUPS; empty: everywhere
    here: tuple[tuple[str, str], ...] = ()

    def help_in(self, view: str) -> str:
        """What it does in this view, in words."""
        return dict(self.here).get(view, self.help)


RUN, REPLAY, MOVE, SCREEN = "run", "replay", "move", "screen"
GROUPS = (RUN, REPLAY, MOVE, SCREEN)
OPENS = (
    ("tasks", "on a phase: fold or unfold it; on a task: its statements, locks, way back"),
    ("preview", "all SQL of the task, or the list again"),
    ("backfill", "all settings of the copy, or its pace and signals again"),
    ("checks", "the rows behind the result, old beside new"),
    ("docs", "open the page"),
    ("rollback", "roll back to the chosen point (asks first)"),
)


KEYS: tuple[Key, ...] = (
    Key("screens", "", "1-6", "screens", "the six screens", footer=("tasks", "checks", "activity", "log", "backfill")),
    Key("tasks", "1", "1", "tasks", "Tasks: phases and tasks, what runs and what waits", group=SCREEN),
    Key("preview", "2", "2", "preview", "Preview: what the chosen task runs, its locks, its way back", group=SCREEN),
    Key("backfill", "3", "3", "backfill", "Backfill: the copy, what holds it back, its settings", group=SCREEN),
    Key("checks", "4", "4", "checks", "Checks: results, failing ones first", group=SCREEN),
    Key(
        "activity",
        "5",
        "5",
        "activity",
        "Activity: sessions that block or wait, the applications' figures",
        group=SCREEN,
    ),
    Key("log", "6", "6", "log", "Log: everything that happened", group=SCREEN),
    Key("points", "", "left/right", "point", "", footer=("rollback",)),
    Key("moves", "", "j/k", "move", "", footer=("preview", "docs", "help")),
    Key("whole", "", "enter", "all SQL", "", footer=("preview",)),
    Key("settings", "", "enter", "settings", "", footer=("backfill",)),
    Key("confirms", "", "enter", "roll back", "", footer=("rollback",), control=True),
    Key(
        "left",
        "left,h",
        "left h",
        "",
        "fold a phase; the point before",
        ("tasks", "rollback"),
        here=(("tasks", "fold the phase"), ("rollback", "the point before")),
    ),
    Key(
        "right",
        "right,l",
        "right l",
        "",
        "unfold a phase; the point after",
        ("tasks", "rollback"),
        here=(("tasks", "unfold the phase"), ("rollback", "the point after")),
    ),
    Key("down", "j,down", "j", "", "down", group=MOVE, here=(("rollback", "the next step of what happens"),)),
    Key("up", "k,up", "k", "", "up", group=MOVE, here=(("rollback", "the step before"),)),
    Key("page_down", "pagedown,ctrl+d", "pgdn", "", "a page down", group=MOVE, here=(("rollback", "the next phase"),)),
    Key("page_up", "pageup,ctrl+u", "pgup", "", "a page up", group=MOVE, here=(("rollback", "the phase before"),)),
    Key("top", "g,home", "g", "", "to the first line", group=MOVE, here=(("rollback", "the start"),)),
    Key("bottom", "G,end", "G", "", "to the last line", group=MOVE, here=(("rollback", "the last point"),)),
    Key(
        "open",
        "enter",
        "enter",
        "open",
        "open what the line stands for",
        tuple(view for view, _ in OPENS),
        ("checks", "docs"),
        here=OPENS,
    ),
    Key(
        "way_back",
        "w",
        "w",
        "way back",
        "the other direction: forward or way back",
        ("preview",),
        ("preview",),
    ),
    Key(
        "approve",
        "a",
        "a",
        "approve",
        "approve exactly this plan, or take that back (in a dry run; asks)",
        ("tasks", "preview"),
        ("preview",),
        review=True,
    ),
    Key("statements", "v", "v", "all of it", "every fact and statement of it, to scroll", ("rollback",), ("rollback",)),
    Key(
        "start",
        "s",
        "s",
        "start",
        "start or continue to a point you choose (asks)",
        footer=("tasks",),
        control=True,
        group=RUN,
    ),
    Key(
        "pause",
        "space",
        "space",
        "pause",
        "pause after the batch that runs, or resume; in a replay: stop or go on",
        footer=("tasks", "backfill", "going back"),
        control=True,
        replay="stop/go",
        group=RUN,
    ),
    Key(
        "faster",
        "plus,equals_sign",
        "+",
        "faster",
        "faster: more of the time at work; in a replay: its clock",
        (),
        ("backfill",),
        True,
        replay="faster",
        group=RUN,
    ),
    Key(
        "slower",
        "minus",
        "-",
        "slower",
        "slower: gentler on the applications; in a replay: its clock",
        (),
        ("backfill",),
        True,
        replay="slower",
        group=RUN,
    ),
    Key("wind", "", "[ ]", "wind", "", replay="wind"),
    Key("wind_back", "left_square_bracket", "[", "", "in a replay: back by a fiftieth of the run", group=REPLAY),
    Key("wind_on", "right_square_bracket", "]", "", "in a replay: forward by a fiftieth of the run", group=REPLAY),
    Key("steps", "", ", .", "steps", "", replay="steps"),
    Key("step_back", "comma", ",", "", "in a replay: to where the last step began, ended or failed", group=REPLAY),
    Key("step_on", "full_stop", ".", "", "in a replay: to where the next one does", group=REPLAY),
    Key("control", "T", "T", "control", "take control of the run, from whoever has it (asks; is logged)", group=RUN),
    Key(
        "detach",
        "D",
        "D",
        "on detach",
        "when this console goes, by q or a dropped line: the run pauses, or goes on (asks which)",
        control=True,
        group=RUN,
    ),
    Key(
        "confirm",
        "c",
        "c",
        "confirm",
        "confirm what waits for a person: a gate, a purge",
        footer=("tasks",),
        control=True,
        group=RUN,
    ),
    Key(
        "cancel",
        "x",
        "x",
        "cancel its statement",
        "cancel the statement of the chosen session, or our own (asks first)",
        ("activity",),
        ("activity",),
        True,
    ),
    Key("end", "X", "X", "end it", "end the chosen session: asks for its pid", ("activity",), ("activity",), True),
    Key(
        "rollback",
        "u",
        "u",
        "roll back",
        "the rollback panel: what going back would do (asks first)",
        (),
        ("tasks",),
        group=RUN,
    ),
    Key(
        "follow",
        "f",
        "f",
        "follow",
        "follow: the running task, the newest line",
        ("tasks", "log"),
        ("log",),
        here=(("tasks", "follow the running task"), ("log", "stay on the newest line")),
    ),
    Key("filter", "slash", "/", "filter", "show only lines with a word", SCREENS, ("log", "checks", "activity")),
    Key("copy", "y", "y", "copy", "copy the SQL (to the terminal's clipboard and to a file)", (), ("preview",)),
    Key(
        "report",
        "S",
        "S",
        "save",
        "save a report of the run, and a picture of this screen",
        (),
        ("rollback",),
        here=(("rollback", "save this rollback's plan as a file"),),
    ),
    Key("docs", "d", "d", "docs", "the plan's pages, and this program's manual"),
    Key("refresh", "R", "R", "refresh", "read everything again"),
    Key("palette", "colon,ctrl+p", ":", "commands", "every command by name"),
    Key("help", "question_mark", "?", "help", "this page"),
    Key(
        "back",
        "escape",
        "esc",
        "back",
        "back; never changes anything",
        (),
        ("preview", "rollback", "going back", "docs", "help"),
    ),
    Key("leave", "q", "q", "leave", "leave; the run goes on without this console", (), ("tasks",)),
    Key("suspend", "ctrl+z", "ctrl+z", "suspend", "to the shell for a while: fg comes back; the run goes on"),
    Key(
        "stop",
        "ctrl+c",
        "ctrl+c",
        "",
        "first: pause after the batch; again: asks whether to leave",
        control=True,
        group=RUN,
    ),
)


def works_in(key: Key, view: str) -> bool:
    """Whether the key does something in this view."""
    return not key.where or view in key.where


def footer(
    view: str, control: bool = True, paused: bool = False, review: bool = False, replay: bool = False,
    runs: bool = False, asks: bool = False,
) -> tuple[tuple[str, str], ...]:  # fmt: skip
    """At most six keys of a view as (key, word), without commands where ``control`` is false; ``? help`` comes last.

    What ``runs`` is not started, and confirmed is only what ``asks`` for a person.
    """
    if replay and view in SCREENS:
        shown = [(key.shown, key.replay) for key in KEYS if key.replay]
        return (("1-6", "screens"), *shown, ("q", "leave"), ("?", "help"))
    shown = [
        (key.shown, "resume" if paused and key.action == "pause" else key.label)
        for key in KEYS
        if view in key.footer
        and (control or not key.control)
        and (review or not key.review)
        and not (key.action == "start" and (runs or asks))
        and (key.action != "confirm" or asks)
    ][:6]
    return (*shown, ("?", "help"))


def commands(words: str) -> tuple[Key, ...]:
    """The palette's entries that contain every one of ``words``."""
    wanted = words.lower().split()
    named = [key for key in KEYS if key.keys and key.action not in MOVES]
    return tuple(key for key in named if all(word in f"{key.label} {key.help}".lower() for word in wanted))


MOVES = ("left", "right", "down", "up", "page_down", "page_up", "top", "bottom", "open", "back", "palette", "stop")
