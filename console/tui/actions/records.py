"""What leaves the console: SQL to the clipboard and a file, a report, a picture; and reading everything again."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from platformdirs import user_state_path

from console.errors import FerryError
from console.tui.actions.base import Part, Table
from console.tui.actions.moving import Moving
from console.tui.actions.rollback import Rollback
from console.tui.messages import Outcome
from console.tui.still import picture_of

if TYPE_CHECKING:
    from console.tui.shell import Shell


class Records(Part):
    """Copies, reports, and a fresh look."""

    def __init__(self, shell: Shell, rollback: Rollback, moving: Moving) -> None:
        super().__init__(shell)
        self._rollback = rollback
        self._moving = moving

    def table(self) -> Table:
        """The actions by name."""
        return {"copy": self._copy, "report": self._report, "refresh": self._refresh}

    def _copy(self) -> None:
        shell = self._shell
        if shell.view is shell.rollback:
            name, text = self._rollback.as_file()
        else:
            name, text = f"{shell.preview.task_id}.sql", shell.preview.sql(shell.facts)
        if not text:
            self.say("There is no SQL to copy here.")
            return
        sent = shell.copy_out(text)

        def then(outcome: Outcome) -> None:
            where = f"in {outcome.value}" if outcome.value else f"not in a file: {outcome.error}"
            clip = "sent to the terminal's clipboard" if sent else "too long for the clipboard"
            self.say(f"SQL {clip}, and {where}", "ok" if outcome.value else "bad")

        shell.reads.ask(lambda: _write(name, text), then)

    def _report(self) -> None:
        """A report of the run, where there is one, and the screen as it is now; in the rollback panel, that plan."""
        shell = self._shell
        if shell.view is shell.rollback:
            self._save_rollback()
            return
        picture = picture_of(shell, shell.screen_size)
        self.say("saving the report..", "dim")

        def save() -> tuple[str, str]:
            try:
                report = shell.world.save_report()
            except FerryError as error:  # no run, or no server: the screen can be kept all the same
                kept = _keep(f"screen-{datetime.now(UTC):%Y%m%d-%H%M%S}", picture)
                return f"{error.what} This screen: {_short(kept)}", "warn"
            kept = _keep(Path(report).stem, picture)
            return f"{Path(report).name} and its picture .svg are in {_short(kept.parent)}", "ok"

        def then(outcome: Outcome) -> None:
            self.say(*((outcome.error, "bad") if outcome.error else outcome.value))  # type: ignore[misc]

        shell.reads.ask(save, then)

    def _save_rollback(self) -> None:
        name, text = self._rollback.as_file()
        if not text:
            self.say("There is no plan of a rollback to save here.")
            return

        def then(outcome: Outcome) -> None:
            self.say(*((outcome.error, "bad") if outcome.error else (f"this plan is saved: {outcome.value}", "ok")))

        self._shell.reads.ask(lambda: _write(name, text), then)

    def _refresh(self) -> None:
        shell = self._shell
        shell.world.reread()
        shell.facts = replace(shell.facts, previews={}, rollbacks={}, docs=())
        if shell.view is shell.rollback:
            self._rollback.look_again()
        elif shell.view is shell.docs:
            self._moving.docs()
        self.say("reading everything again..", "dim")
        shell.repaint()
        shell.reads.ask(shell.world.state, lambda outcome: self.say(outcome.error, "bad") if outcome.error else None)


def _short(path: Path) -> str:
    """The path, from the user's home where it is in there: a line is short."""
    return f"~/{path.relative_to(Path.home())}" if path.is_relative_to(Path.home()) else str(path)


def _keep(name: str, picture: str) -> Path:
    """Write a picture beside the reports. Raises FerryError where it cannot be written."""
    path = user_state_path("pgferry") / "reports" / f"{name}.svg"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(picture, encoding="utf-8")
    except OSError as error:
        raise FerryError(f"The picture cannot be written to {path}: {error.strerror}.") from None
    return path


def _write(name: str, text: str) -> Path:
    folder = user_state_path("pgferry", ensure_exists=True)
    path = folder / "".join(ch if ch.isalnum() or ch in "._-" else "_" for ch in name)
    path.write_text(text, encoding="utf-8")
    return path
