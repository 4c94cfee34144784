"""``pgferry replay --picture``: one screen of a past run as SVG, without a terminal."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from console.commands.replay import ReplayWorld
from console.errors import UsageError
from console.headless.words import clock
from console.journal.recording import Recording
from console.plan.model import Plan

SCREENS = ("tasks", "preview", "backfill", "checks", "activity", "log")  # console.tui.keys.SCREENS, without a screen
LARGEST = (400, 200)


@dataclass(frozen=True, slots=True)
class PictureWanted:
    """Where it goes, which screen, at what moment (see ``moment``; empty: the end), and how large in cells."""

    file: Path
    screen: str = "tasks"
    at: str = ""
    size: tuple[int, int] = (120, 40)


def size(text: str) -> tuple[int, int]:
    """``120x40`` as width and height in cells. Raises ValueError where no screen of that size can be drawn."""
    found = re.fullmatch(r"(\d{1,4})x(\d{1,4})", text)
    width, height = (int(found[1]), int(found[2])) if found else (0, 0)
    if not (60 <= width <= LARGEST[0] and 16 <= height <= LARGEST[1]):
        raise ValueError(text)
    return width, height


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


def picture(shown: Recording, plan: Plan | None, wanted: PictureWanted) -> None:
    """Write the picture. Raises UsageError for a moment that is none, OSError where it cannot be written."""
    from console.tui.still import Still

    world = ReplayWorld(shown, plan)
    world.player.go(moment(shown, wanted.at))
    still = Still(world, wanted.size)
    still.press(wanted.screen)
    wanted.file.write_text(still.picture(), encoding="utf-8")
