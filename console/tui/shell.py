"""The application: one canvas, one input line; keys go to actions, facts come from the feed, answers from lanes."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from dataclasses import replace

from rich.console import RenderableType
from rich.text import Text
from textual import events
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.screen import Screen
from textual.widgets import Input

from console.text import plain
from console.tui import mouse, questions, whole
from console.tui.actions import Actions
from console.tui.asking import Lane
from console.tui.canvas import Canvas
from console.tui.driver import LineDriver
from console.tui.facts import Facts, Missing
from console.tui.feed import Feed
from console.tui.glyphs import ASCII, UNICODE
from console.tui.keys import KEYS, SCREENS, works_in
from console.tui.messages import Answered, FeedLost, Outcome, RunChanged
from console.tui.ports import World
from console.tui.prompt import Prompt
from console.tui.questions import Question
from console.tui.styles import styles
from console.tui.terminal import Terminal, clipboard
from console.tui.views.activity import ActivityView
from console.tui.views.base import View
from console.tui.views.docs import DocsView
from console.tui.views.lists import BackfillView, ChecksView, LogView
from console.tui.views.panels import HelpView, PaletteView
from console.tui.views.preview import PreviewView
from console.tui.views.rollback import RollbackView
from console.tui.views.tasks import WIDE, TasksView


class Shell(App[int], inherit_bindings=False):
    """Draws the facts and hands keys to the actions; knows nothing of SQL or of the journal."""

    ENABLE_COMMAND_PALETTE = False
    ALLOW_SELECT = False
    AUTO_FOCUS = None
    CSS = """
    Screen { layers: below above; background: $background; }
    Canvas { layer: below; }
    Prompt { layer: above; display: none; height: 1; border: none; padding: 0; background: $background; }
    Prompt:focus { border: none; background: $background; background-tint: $background 0%; }
    """
    BINDINGS = [  # noqa: RUF012 - the base class declares it
        Binding(
            name, f"press('{key.action}')", key.help, show=False, id=f"{key.action}.{name}", priority=name == "ctrl+c"
        )
        for key in KEYS
        for name in key.keys.split(",")
        if name
    ]

    def __init__(
        self, world: World, terminal: Terminal, *, dry_run: bool, on_ready: Callable[[], None] | None = None,
        stays: bool = True,
    ) -> None:  # fmt: skip
        # said at once: under NO_COLOR textual chooses its filter here, and that for other themes makes black on black
        super().__init__(driver_class=LineDriver, ansi_color=True if terminal.theme.startswith("ansi-") else None)
        self.animation_level = "none"
        self.theme = terminal.theme
        self.world = world
        self.feed = Feed(world, self.post_message, per_second=terminal.per_second)
        self.reads = Lane("reads", self.post_message)
        self.commands = Lane("commands", self.post_message)
        self.facts = Facts(
            plan=world.plan,
            can_control=world.can_control and not dry_run,
            dry_run=dry_run,
            glyphs=ASCII if terminal.ascii_only else UNICODE,
            offer=world.offer,
            on_detach=world.on_detach,
            stays=stays,
            replay=world.player.words() if world.player else "",
        )
        self.tasks = TasksView()
        self.preview = PreviewView()
        self.rollback = RollbackView()
        self.helping = HelpView()
        self.docs = DocsView()
        self.palette = PaletteView()
        listed: list[View] = [self.tasks, self.preview, BackfillView(), ChecksView(), ActivityView(), LogView()]
        self.views: dict[str, View] = {
            view.name: view for view in (*listed, self.rollback, self.helping, self.docs, self.palette)
        }
        self.trail = ["tasks"]  # views from the first screen to the one shown
        self.question: Question | None = None
        self.chosen = 0  # option of the question
        self.notice = ("", "")
        self.actions = Actions(self)
        self._on_ready = on_ready
        self._colours = terminal.colours
        self.crash = ""  # the trace of an error of the console itself
        self._canvas = Canvas(ascii_only=terminal.ascii_only)
        self._line = Prompt()

    # what is on the screen

    def compose(self) -> ComposeResult:
        yield self._canvas
        yield self._line

    def on_mount(self) -> None:
        self.theme_changed_signal.subscribe(self, lambda _: self._restyle())
        self._restyle()
        for thread in (self.feed, self.reads, self.commands):
            thread.start()
        if self._on_ready is not None:
            self._on_ready()

    def _display(self, screen: Screen[object], renderable: RenderableType | None) -> None:
        """Hand the whole screen to the painter, which finds what changed; nothing before the first lines are there."""
        driver = self._driver
        if not isinstance(driver, LineDriver):
            super()._display(screen, renderable)
            return
        if renderable is None or self._batch_count or not self._canvas.drawn or self._closed:
            return
        try:
            system = self.console._color_system if self._colours else None
            driver.show(screen._compositor.render_strips(), system, marks=self._sync_available)
        except Exception as error:
            self._handle_exception(error)

    def _say_drawn(self) -> None:
        """Tell the world that an operator sees the run; not where the terminal takes nothing."""
        if not isinstance(self._driver, LineDriver) or self._driver.flows():
            self.world.drawn()

    def repaint(self) -> None:
        """Send the whole screen again, for instance after another program wrote over it."""
        if isinstance(self._driver, LineDriver):
            self._driver.repaint()

    def _fatal_error(self) -> None:
        """An error of the console itself: it ends, and what happened is kept for whoever mends it, not shown."""
        self.crash = "".join(traceback.format_exception(self._exception))
        self._close_messages_no_wait()

    def panic(self, *renderables: object) -> None:
        """An error that Textual would show, its words in ``renderables``."""
        self._return_code = 1
        self.crash = "\n".join(str(item) for item in renderables)
        self._close_messages_no_wait()

    def on_unmount(self) -> None:
        self.feed.stop(0.0)
        self.reads.stop()
        self.commands.stop()

    def _restyle(self) -> None:
        self._canvas.use_styles(styles(self.get_css_variables(), ansi=self.native_ansi_color))
        self.redraw()

    @property
    def view(self) -> View:
        """The view shown."""
        return self.views[self.trail[-1]]

    def open(self, name: str) -> None:
        """Show a view: a screen takes the place of all, anything else opens over what is shown."""
        if name in SCREENS:
            self.trail = ["tasks"] if name == "tasks" else ["tasks", name]
        elif name != self.trail[-1]:
            self.trail = [item for item in self.trail if item != name] + [name]
        self.view.settle(self.facts)

    @property
    def screen_size(self) -> tuple[int, int]:
        """Width and height of what is drawn, in cells."""
        return self._canvas.size.width, self._canvas.size.height

    def redraw(self) -> None:
        """Draw everything again; only what changed is sent."""
        width, height = self._canvas.size
        if width and height:
            self._canvas.show(self.lines(width, height))

    def lines(self, width: int, height: int) -> list[Text]:
        """The whole screen as lines."""
        return whole.lines(self, width, height)

    def on_canvas_resized(self) -> None:
        if self.prompt:  # moving it lays everything out, and so paints everything, again
            self._line.place(self._canvas.size)
        self.want_preview()
        self.redraw()

    # facts

    def on_run_changed(self, message: RunChanged) -> None:
        self.feed.taken()
        player = self.world.player
        replaying = player.words() if player else ""
        had = self.facts.can_control
        self.facts = replace(
            self.facts, state=message.state, stale="", plan=self.world.plan, replay=replaying, offer=self.world.offer,
            can_control=self.world.can_control and not self.facts.dry_run, on_detach=self.world.on_detach,
        )  # fmt: skip
        self._say_drawn()
        if had and not self.facts.can_control:
            self._control_lost()
        for view in self.views.values():
            view.settle(self.facts)
        self.want_preview()
        if self.view is self.rollback:
            self.actions.want_rollback()
        self.redraw()

    def _control_lost(self) -> None:
        """What was asked for the sake of a command is asked no more: no answer could do anything."""
        asked = self.question is not None
        if asked:
            self.close_prompt()
            self.ask(None)
        closed = " The question is closed; nothing was sent." if asked else ""
        self.notice = (plain(f"This console has lost control: {self.facts.offer}.{closed}"), "bad")

    def on_feed_lost(self, message: FeedLost) -> None:
        self.feed.taken()
        self.facts = replace(self.facts, stale=message.text)
        self._say_drawn()
        self.redraw()

    def on_answered(self, message: Answered) -> None:
        message.then(message.outcome)
        self.redraw()

    def want_preview(self) -> None:
        """Fetch what the chosen task would run, where it is shown and not yet known."""
        if self.view is self.tasks:
            self.preview.show(self.tasks.task_id(self.facts))
        shown = self.view is self.preview or (self.view is self.tasks and self._canvas.size.width >= WIDE)
        task_id = self.preview.task_id
        if not shown or not task_id or task_id in self.facts.previews:
            return
        self._keep_preview(task_id, Missing())

        def then(outcome: Outcome) -> None:
            self._keep_preview(task_id, Missing(outcome.error) if outcome.error else outcome.value)
            self.preview.settle(self.facts)

        self.reads.ask(lambda: self.world.preview(task_id), then)

    def _keep_preview(self, task_id: str, value: object) -> None:
        self.facts = replace(self.facts, previews={**self.facts.previews, task_id: value})  # type: ignore[dict-item]

    # keys

    def action_press(self, action: str) -> None:
        """A key of the table was pressed."""
        self.press(action)
        self.want_preview()
        self.redraw()

    def press(self, action: str) -> None:
        """Do what a key of the table stands for, in the view that is shown."""
        key = next(item for item in KEYS if item.action == action)
        if action == "stop":
            self.actions.stop()
            return
        self.notice = ("", "")
        if self.prompt:
            if action == "back":
                self._give_up()
            elif self.view is self.palette and action in ("up", "down"):
                self.view.move(1 if action == "down" else -1, self.facts)
        elif self.question is not None:
            self._answer(action)
        elif works_in(key, self.view.name):
            self.actions.do(action)

    def _give_up(self) -> None:
        """Close the input line without doing anything."""
        self.close_prompt()
        if self.question is not None:
            self.ask(None)
        elif self.view is self.palette:
            self.trail.pop()
        else:
            self.view.filter("", self.facts)

    def ask(self, question: Question | None) -> None:
        """Open a question, or close the one that is open."""
        self.question = question
        self.chosen = 0
        if question is not None and question.said is not None:
            self.open_prompt("comment, may stay empty: ")
        elif question is not None and question.typed:
            self.open_prompt(f"type {question.typed}: ")

    def _answer(self, action: str) -> None:
        asked = self.question
        if asked is None:
            return
        steps = {"down": 1, "right": 1, "up": -1, "left": -1}
        by_key = {"tasks": "1", "preview": "2", "backfill": "3", "checks": "4", "copy": "y", "leave": "q"}
        if action in steps:
            self.chosen = (self.chosen + steps[action]) % max(len(asked.options), 1)
        elif action == "back":
            self.ask(None)
        elif action == "open":
            self._act(asked.options[self.chosen])
        else:
            for option in asked.options:
                if option.key == by_key.get(action):
                    self._act(option)
                    return

    def _act(self, option: questions.Option) -> None:
        self.ask(None)
        option.act()

    # the mouse, where it was asked for

    def on_click(self, event: events.Click) -> None:
        """Choose a line; a click never does anything else."""
        width, height = self._canvas.size
        body = (width, height - whole.FRAME_LINES)
        if self.question is None and not self.prompt and 3 <= event.screen_y < 3 + body[1]:
            mouse.aim(self.view, self.facts, body, int(event.screen_y) - 3)
            self.want_preview()
            self.redraw()

    def on_mouse_scroll_down(self) -> None:
        self._wheel(mouse.WHEEL)

    def on_mouse_scroll_up(self) -> None:
        self._wheel(-mouse.WHEEL)

    def _wheel(self, lines: int) -> None:
        if self.question is None and not self.prompt:
            self.view.move(lines, self.facts)
            self.want_preview()
            self.redraw()

    # the input line

    @property
    def prompt(self) -> str:
        """The label of the input line while it is open."""
        return self._line.label

    def open_prompt(self, label: str, value: str = "") -> None:
        """Let the operator type; what is typed comes to ``on_input_submitted``."""
        self._line.open(label, value, self._canvas.size)

    def close_prompt(self) -> None:
        """Close the input line."""
        self._line.close()

    def on_input_changed(self, event: Input.Changed) -> None:
        if self.prompt and self.question is None:
            self.view.filter(event.value, self.facts)
            self.want_preview()
            self.redraw()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        asked = self.question
        self.close_prompt()
        self.ask(None)
        if asked is not None and asked.said is not None:
            asked.said(event.value.strip())
        elif asked is not None:
            if event.value == asked.typed and asked.act is not None:
                asked.act()
            else:
                self.notice = (f"That was not {asked.typed}: nothing was done.", "warn")
        elif self.view is self.palette:
            self.actions.run_command(self.palette.action())
        self.want_preview()
        self.redraw()

    def copy_out(self, text: str) -> bool:
        """Send text to the terminal's clipboard; False when it is too long. Nothing tells whether it arrived."""
        sequence = clipboard(text, os.environ)
        if sequence and self._driver is not None:
            self._driver.write(sequence)
        return bool(sequence)
