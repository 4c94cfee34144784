"""``replay --picture``: the right screen of the right moment, and one sentence where there is none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from console import cli
from console.commands.picture import moment
from console.errors import UsageError
from console.journal.recording import Frame, Recording
from console.journal.recording_file import to_lines
from console.journal.state import Event, Target, TaskState, TaskStatus

BEGAN = datetime(2026, 11, 21, 23, 30, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return BEGAN + timedelta(minutes=minutes)


@pytest.fixture
def run() -> Recording:
    """A run over midnight: its one task is at work from minute 10 to minute 50."""
    target = Target("shop", "db1", 5432, "18.4", "role", "DEV")
    task = TaskState("T1", "Copy the orders", "backfill", "1", "Only", TaskStatus.PENDING, 15)
    facts = {
        "worked": 0,
        "finished_at": None,
        "operator": "me",
        "blocked_on": "",
        "note": "",
        "error": "",
        "attempts": 1,
    }
    frames = tuple(
        Frame(at(minute), "task", "T1", {**facts, "status": status, "started_at": at(10).isoformat()})
        for minute, status in ((10, TaskStatus.IN_PROGRESS), (50, TaskStatus.COMPLETED))
    )
    events = (Event(1, at(10), "me", "task", "T1", "begins"),)
    return Recording(target, 7, "p", "A plan", "0" * 64, "me", BEGAN, at(60), (task,), frames, events=events)


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("", 60),
        ("0%", 0),
        ("50 %", 30),
        ("100%", 60),
        ("23:45", 15),
        ("00:10:30", 40.5),
        ("2026-11-22 00:10", 40),
        ("2026-11-22T01:10:00+01:00", 40),
    ],
)
def test_moments(run: Recording, text: str, minutes: float) -> None:
    assert moment(run, text) == at(minutes)


@pytest.mark.parametrize("text", ["soon", "12:00", "2026-11-23 00:00", "25:00", "-1%"])
def test_what_is_no_moment_of_the_run_is_told_with_its_span(run: Recording, text: str) -> None:
    with pytest.raises(UsageError, match="2026-11-21 23:30:00 UTC to 2026-11-22 00:30:00 UTC"):
        moment(run, text)


def drawn(run: Recording, folder: Path, *words: str) -> tuple[int, str]:
    """The command on a file of the run: its exit code, and the picture where there is one."""
    recording, picture = folder / "run.jsonl", folder / "a.svg"
    recording.write_text("\n".join(to_lines(run)))
    code = cli.main(["replay", str(recording), "--picture", str(picture), *words])
    return code, picture.read_text(encoding="utf-8") if picture.exists() else ""


def test_a_picture_without_a_terminal(run: Recording, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, picture = drawn(run, tmp_path, "--at", "23:45", "--size", "120x30")
    assert code == 0
    assert capsys.readouterr().out == f"{tmp_path / 'a.svg'}\n"
    assert "<title>pgferry, Tasks, run 7 at 2026-11-21 23:45:00</title>" in picture
    assert "in progress" in picture
    assert "completed" in drawn(run, tmp_path)[1]
    code, picture = drawn(run, tmp_path, "--screen", "log", "--at", "50%")
    assert "<title>pgferry, Log, run 7" in picture
    assert "begins" in picture


def test_words_that_do_not_go_together(run: Recording, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["replay", "7", "--at", "40%"]) == 2
    assert "Add --picture FILE." in capsys.readouterr().err
    for size in ("59x20", "80x15", "9999x20", "80", "x"):
        with pytest.raises(SystemExit, match="2"):
            drawn(run, tmp_path, "--size", size)
    assert cli.main(["replay", str(tmp_path / "none"), "--picture", str(tmp_path / "a.svg")]) == 2


def test_a_folder_that_is_not_there_is_one_sentence(
    run: Recording, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recording = tmp_path / "run.jsonl"
    recording.write_text("\n".join(to_lines(run)))
    assert cli.main(["replay", str(recording), "--picture", str(tmp_path / "none" / "a.svg")]) == 2
    assert "cannot be written" in capsys.readouterr().err
