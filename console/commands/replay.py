"""A past run on the screens: the same console over a recording, with a clock that can be stopped, sped up and wound."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from console.commands.previews import Previews
from console.commands.settings import Drawn, Settings, state_folder
from console.commands.shown import Shown
from console.errors import ConnectionFailed, FerryError, PlanError, Refused, UsageError
from console.headless.report import report_markdown
from console.headless.words import duration
from console.journal import runs, schema
from console.journal.connect import connect
from console.journal.recorded import record
from console.journal.recording import Recording
from console.journal.recording_file import from_lines
from console.journal.state import RollbackPreview, RunState, Verb
from console.plan.load import load_plan
from console.plan.model import Doc, Plan
from console.sql.model import TaskPreview
from console.tui.ports import Receipt

SPEEDS = (1, 2, 5, 10, 30, 60, 300, 1800, 7200)
WHOLE_RUN_S = 90.0  # about how long a run is played for at the speed it begins with
STEP = 0.02  # of the run, for one press
FRAME_S = 0.25  # how often a playing clock is looked at


class Player:
    """The clock of a replay. Safe to use from several threads."""

    def __init__(self, shown: Recording, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._shown = shown
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._moved = threading.Event()
        self._from = shown.began
        self._since = monotonic()
        self._length = max((shown.ended - shown.began).total_seconds(), 1.0)
        self._speed = next((speed for speed in SPEEDS if self._length / speed <= WHOLE_RUN_S), SPEEDS[-1])
        self._playing = True

    def now(self) -> datetime:
        """The moment of the run that is shown."""
        with self._lock:
            return self._now()

    def _now(self) -> datetime:
        ahead = (self._monotonic() - self._since) * self._speed if self._playing else 0.0
        return min(max(self._from + timedelta(seconds=ahead), self._shown.began), self._shown.ended)

    def _go(self, moment: datetime, *, playing: bool | None = None, speed: int = 0) -> None:
        self._from = min(max(moment, self._shown.began), self._shown.ended)
        self._since = self._monotonic()
        self._playing = self._playing if playing is None else playing
        self._speed = speed or self._speed
        self._moved.set()

    def toggle(self) -> None:
        """Stop or go on; at the end, play from the beginning."""
        with self._lock:
            now = self._now()
            over = now >= self._shown.ended
            self._go(self._shown.began if over else now, playing=True if over else not self._playing)

    def faster(self, step: int) -> None:
        """The next higher (1) or lower (-1) speed."""
        with self._lock:
            place = SPEEDS.index(self._speed) + step
            self._go(self._now(), speed=SPEEDS[min(max(place, 0), len(SPEEDS) - 1)])

    def wind(self, step: int) -> None:
        """Forward (1) or back (-1) by a fiftieth of the run."""
        with self._lock:
            self._go(self._now() + timedelta(seconds=step * STEP * self._length))

    def jump(self, step: int) -> None:
        """To the next (1) or last (-1) moment at which a step began, ended or failed."""
        with self._lock:
            now, marks = self._now(), self._shown.marks
            if step > 0:
                place = bisect_right(marks, now)
                self._go(marks[place] if place < len(marks) else self._shown.ended)
            else:
                # Two presses in a row must not stay on one mark because the clock went on between them.
                place = bisect_left(marks, now - timedelta(seconds=0.5 * self._speed)) - 1
                self._go(marks[place] if place >= 0 else self._shown.began)

    def go(self, moment: datetime) -> None:
        """Stop at this moment of the run, or at the nearest there is."""
        with self._lock:
            self._go(moment, playing=False)

    def words(self) -> str:
        """Where it stands, in a few words."""
        with self._lock:
            now = self._now()
            share = (now - self._shown.began).total_seconds() / self._length
            how = "over" if now >= self._shown.ended else f"x{self._speed}" if self._playing else "stopped"
            return f"replay {how} {share:.0%} of {duration(self._length)}"

    def wait(self, seconds: float) -> None:
        """Return after a short while, or at once when something was pressed; longer while nothing moves."""
        with self._lock:
            still = not self._playing or self._now() >= self._shown.ended
        self._moved.wait(seconds if still else min(seconds, FRAME_S))
        self._moved.clear()


class ReplayWorld(Shown):
    """A recording behind the console's one seam; nothing can be sent."""

    can_control = False
    offer = ""
    reviewer = ""

    def __init__(self, shown: Recording, plan: Plan | None) -> None:
        self._shown = shown
        self._plan = plan if plan and plan.sha256 == shown.plan_sha256 else None
        self._other = plan is not None and self._plan is None
        self._previews = Previews(self._plan) if self._plan else None
        self.player = Player(shown)

    @property
    def plan(self) -> Plan | None:
        """The run's plan, None where its files are not here or others."""
        return self._plan

    def state(self) -> RunState:
        """The run at the moment that is shown. Raises FerryError where a fact of it was edited."""
        moment = self.player.now()
        try:
            return self._shown.at(moment)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise FerryError(
                f"What the recording says of {moment:%H:%M:%S} cannot be shown: it was edited ({error}).",
                do="Export the run again: pgferry report --format jsonl.",
            ) from None

    def wait(self, seconds: float) -> None:
        """See Player."""
        self.player.wait(seconds)

    def preview(self, task_id: str) -> TaskPreview:
        """What the task ran. Raises PlanError without the run's own plan."""
        if self._previews is None:
            raise PlanError(
                "The plan's files are others than the run's." if self._other else "The plan's files are not here.",
                do="Name the run's plan with --plan DIR.",
            )
        return self._previews.of(task_id)

    def reread(self) -> None:
        """Nothing: no database is read here."""

    def docs(self) -> tuple[Doc, ...]:
        """The plan's pages."""
        return self._plan.docs if self._plan else ()

    def rollback_preview(self, to: str) -> RollbackPreview:
        """Refused: the run is past."""
        raise Refused("This is a replay: nothing can be rolled back in it.")

    def forget_rollback(self) -> None:
        """Nothing is looked at here."""

    def take_control(self) -> Receipt:
        """Refused: the run is past."""
        raise Refused("This is a replay: nothing can be controlled in it.")

    def send(self, verb: Verb, **args: object) -> Receipt:
        """Refused: the run is past."""
        raise Refused("This is a replay: nothing can be changed in it.")

    def approve(self, comment: str, *, withdraw: bool = False) -> str:
        """Refused: the run is past."""
        raise Refused("This is a replay: nothing can be approved in it.")

    def save_report(self) -> str:
        """The report of the moment that is shown; returns its path."""
        folder = state_folder() / "reports"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"replay-{self._shown.run_id}-{datetime.now(UTC):%Y%m%d-%H%M%S}.md"
        path.write_text(report_markdown(self.state()), encoding="utf-8")
        return str(path)

    def close(self) -> None:
        """Nothing to release."""


def recorded(settings: Settings, run_id: int | None) -> Recording:
    """A run's recording from its journal; the newest run's without a number. Raises PlanError where there is none."""
    conn = connect(
        settings.dsn, application_name="pgferry replay", read_only=True, autocommit=True, statement_timeout="60s"
    )
    with conn:
        if not schema.installed(conn):
            raise PlanError("No run of pgferry is known in this database.")
        if not schema.may_select(conn, "history"):
            raise ConnectionFailed(
                "This role may not read the journal's history.",
                state="Nothing was changed.",
                do="Have its owner GRANT USAGE ON SCHEMA pgferry and SELECT ON ALL TABLES IN SCHEMA pgferry to it.",
            )
        row = runs.latest(conn, None) if run_id is None else runs.get(conn, run_id)
        if row is None:
            raise UsageError(f"There is no run {run_id} in this database." if run_id else "No run was started yet.")
        return record(conn, row.id, settings.environment)


def from_file(path: Path) -> Recording:
    """The recording in a file. Raises UsageError when it is none."""
    try:
        with path.open(encoding="utf-8") as lines:
            return from_lines(lines, str(path))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is no recording of a run: it is not UTF-8 text.") from None


def replay(settings: Settings, what: str, drawn: Drawn) -> int:
    """Open the console on a past run: a number, a file, or nothing for the newest run."""
    from console.tui.app import run_console

    by_number = not what or what.isdigit()
    shown = recorded(settings, int(what) if what else None) if by_number else from_file(Path(what))
    plan = load_plan(settings.plan_dir, settings.layout) if settings.plan_dir else None
    return run_console(ReplayWorld(shown, plan), ascii_only=drawn.ascii_only, theme=drawn.theme, mouse=drawn.mouse)
