"""``pgferry replay --picture``: one screen of a past run as SVG, without a terminal."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from console.commands.picture_wanted import PictureWanted
from console.commands.replay import ReplayWorld, from_file, recorded
from console.commands.settings import Settings
from console.errors import UsageError
from console.headless.words import clock
from console.journal.recording import Recording
from console.plan.load import load_plan


def moment(shown: Recording, text: str) -> datetime:
    """A moment of the run: ``40%`` of it, a time of day, or a date and time; UTC where no zone is said.

    Raises UsageError for anything else and for what is not within the run.
    """
    if not text:
        return shown.ended
    if found := re.fullmatch(r"(\d{1,3})\s*%", text):
        return shown.began + (shown.ended - shown.began) * min(int(found[1]), 100) / 100
    span = f"The run is from {clock(shown.began)} to {clock(shown.ended)}."
    try:
        day = "" if re.search(r"\d-\d", text) else f"{shown.began.astimezone(UTC):%Y-%m-%d}T"
        at = datetime.fromisoformat(day + text)
    except ValueError:
        raise UsageError(f"{text!r} is no moment of a run: 40%, 23:41:07 or '2026-11-21 23:41:07'.", do=span) from None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    if day and at < shown.began:  # a run over midnight
        at += timedelta(days=1)
    if not shown.began <= at <= shown.ended:
        raise UsageError(f"{clock(at)} is not within the run.", do=span)
    return at


def picture(settings: Settings, what: str, wanted: PictureWanted) -> int:
    """Write the picture of a run: a number, a file, or nothing for the newest run.

    Raises UsageError for a moment that is none, and what reading the run raises.
    """
    from console.tui.still import Still

    by_number = not what or what.isdigit()
    shown = recorded(settings, int(what) if what else None) if by_number else from_file(Path(what))
    plan = load_plan(settings.plan_dir, settings.layout) if settings.plan_dir else None
    world = ReplayWorld(shown, plan)
    world.player.go(moment(shown, wanted.at))
    still = Still(world, wanted.size)
    still.press(wanted.screen)
    try:
        wanted.file.write_text(still.picture(), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{wanted.file} cannot be written: {error.strerror}.") from None
    print(wanted.file)
    return 0
