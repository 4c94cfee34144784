"""Recordings in files: cut, edited, in another order, of a newer pgferry, of a long run."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from console.commands.replay import ReplayWorld
from console.errors import FerryError, UsageError
from console.journal.recording import Felt, Frame, Ran, Recording
from console.journal.recording_file import from_lines, to_lines
from console.journal.state import Event, RunStatus, StatementState, Target, TaskState, TaskStatus
from console.journal.traffic import Window

BEGAN = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
LENGTH_S = 6000


def at(seconds: float) -> datetime:
    return BEGAN + timedelta(seconds=seconds)


def a_change(status: str, second: float) -> dict[str, object]:
    return {
        "status": status, "started_at": at(second).isoformat(), "finished_at": None, "worked": 1.5, "operator": "me",
        "blocked_on": "", "note": "", "error": "", "attempts": 1,
    }  # fmt: skip


def a_long_recording() -> Recording:
    """A run of 100 minutes: 20 tasks one after the other, a figure of the applications every 5 s for two kinds."""
    tasks = tuple(TaskState(f"T{n}", f"Task {n}", "sql", "1", "One", TaskStatus.PENDING, 5) for n in range(20))
    frames = [Frame(at(0), "run", "", {"status": "running", "started_at": at(100).isoformat()})]
    statements = []
    for n in range(20):
        frames += [
            Frame(at(300 * n), "task", f"T{n}", a_change("in progress", 300 * n)),
            Frame(at(300 * n + 299), "task", f"T{n}", a_change("completed", 300 * n)),
        ]
        state = StatementState(f"T{n}", "up", 1, "SELECT 1", "done", 1, 0.0, 12.0)
        statements.append(Ran(at(300 * n + 1), at(300 * n + 200), 1, state))
    events = tuple(Event(n, at(n), "pgferry", "batch", f"T{n // 300}", f"batch {n}") for n in range(LENGTH_S))
    felt = tuple(Felt(at(5 * (n // 2)), f"k{n % 2}", 10, n % 7 == 0, 2.0, {"3": 9}) for n in range(LENGTH_S // 5 * 2))
    target = Target("db", "host", 5432, "18.4", "role", "DEV")
    return Recording(
        target, 7, "p", "A plan", "0" * 64, "me", BEGAN, at(LENGTH_S), tasks,
        frames=tuple(frames), statements=tuple(statements), events=events, traffic=felt,
    )  # fmt: skip


@pytest.fixture(scope="module")
def shown() -> Recording:
    return a_long_recording()


@pytest.fixture
def lines(shown: Recording) -> list[str]:
    return [f"{line}\n" for line in to_lines(shown)]


def test_every_moment_says_what_had_happened_until_then(shown: Recording) -> None:
    for second in (0, 1, 99, 100, 299, 300, 450, 2999.5, 5999, 6000):
        state = shown.at(at(second))
        now = min(int(second // 300), 19)
        assert [task.status for task in state.tasks[:now]] == [TaskStatus.COMPLETED] * now
        if second < 5999:
            done = second % 300 >= 299
            assert state.tasks[now].status is (TaskStatus.COMPLETED if done else TaskStatus.IN_PROGRESS)
        until = min(int(second) + 1, LENGTH_S)
        assert [event.id for event in state.events] == list(range(max(until - 500, 0), until))
        if second % 300 >= 1:
            (ran,) = state.statements
            assert (ran.task_id, ran.status) == (f"T{now}", "running" if second % 300 < 200 else "done")


def test_the_applications_figures_add_up_wherever_it_is_wound_to(shown: Recording) -> None:
    """Sums that are kept on the way change nothing: forward, back, and at random."""
    for second in [*range(0, LENGTH_S, 700), *random.Random(7).sample(range(LENGTH_S), 20)]:
        heard = [felt for felt in shown.traffic if felt.at <= at(second)]
        before, during = Window(), Window()
        for felt in heard:
            (before if felt.at < at(100) else during).merge(felt.window())
        traffic = shown.at(at(second)).traffic
        assert traffic is not None
        assert (traffic.before, traffic.during) == (before.latency(), during.latency())
        assert sum(figures.operations for _, figures in traffic.by_kind) == during.operations


def test_a_file_says_the_same_whatever_order_its_facts_stand_in(shown: Recording, lines: list[str]) -> None:
    assert from_lines(lines, "run.jsonl") == shown
    head, *facts = lines
    tasks, others = facts[:20], facts[20:]
    random.Random(7).shuffle(others)
    again = from_lines([head, *tasks, *others], "run.jsonl")
    for second in (0, 299, 300, 4321, 6000):
        here, there = again.at(at(second)), shown.at(at(second))
        assert (here.tasks, here.events, here.statements) == (there.tasks, there.events, there.statements)


def _half_a_line(lines: list[str]) -> list[str]:
    return [*lines[:50], lines[50][:-9]]


def _some_lines(lines: list[str]) -> list[str]:
    return lines[:50]


def _a_hole(lines: list[str]) -> list[str]:
    return lines[:50] + lines[51:]


@pytest.mark.parametrize("cut", [_half_a_line, _some_lines, _a_hole])
def test_a_file_that_was_cut_is_not_taken_for_the_run(cut: Callable[[list[str]], list[str]], lines: list[str]) -> None:
    with pytest.raises(UsageError, match=r"run\.jsonl is not whole: it has [\d,]+ of 8,481 facts"):
        from_lines(cut(lines), "run.jsonl")


def test_a_newer_format_is_named_as_such(lines: list[str]) -> None:
    head = json.loads(lines[0])
    with pytest.raises(UsageError, match=r"written by a newer pgferry \(format 2, this one reads 1\)"):
        from_lines([json.dumps({**head, "format": 2, "more": []}) + "\n", '{"is":"dream"}\n'], "run.jsonl")


@pytest.mark.parametrize(
    "edit",
    [
        {"at": "yesterday"},
        {"at": "2026-01-01T12:00:00"},  # without a zone
        {"at": None},
        {"at": 5},
        {"is": "event "},
        {"more": 1},
    ],
)
def test_an_edited_line_is_named(lines: list[str], edit: dict[str, object]) -> None:
    place = next(n for n, line in enumerate(lines) if line.startswith('{"is":"event"'))
    lines[place] = json.dumps({**json.loads(lines[place]), **edit}) + "\n"
    with pytest.raises(UsageError, match=rf"run\.jsonl:{place + 1}: this is no line of a recording"):
        from_lines(lines, "run.jsonl")


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ("run", {"status": "dreaming"}),
        ("task", {"status": "completed"}),
        ("task", []),
        ("live", {"rates": 1}),
    ],
)
def test_an_edited_fact_is_told_when_it_would_be_shown(lines: list[str], kind: str, payload: object) -> None:
    name = {"run": "", "task": "T1", "live": "progress:x"}[kind]
    frame = {"is": "frame", "at": at(1).isoformat(), "kind": kind, "name": name, "payload": payload}
    head = {**json.loads(lines[0]), "facts": len(lines)}
    world = ReplayWorld(from_lines([json.dumps(head) + "\n", *lines[1:], json.dumps(frame) + "\n"], "x"), None)
    assert world.state().status is RunStatus.RUNNING, "until then it is shown"
    world.player.toggle()
    world.player.wind(1)
    with pytest.raises(FerryError, match=r"What the recording says of 12:\d\d:\d\d cannot be shown: it was edited"):
        world.state()
