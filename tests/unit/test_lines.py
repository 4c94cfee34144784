"""The lines of a run for those who see no screen: all that a screen tells, once, with what to do about it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import pytest

from console.commands.operate import _patient
from console.errors import ConnectionFailed
from console.headless.lines import LineWriter, next_words, traffic_words
from console.headless.report import progress_words
from console.journal.state import Latency, Lease, RunState, RunStatus, TaskStatus
from console.tui.draw.live import traffic_line
from console.tui.glyphs import UNICODE
from tests.canned import NOW, a_run_state, some_traffic


def later(state: RunState, seconds: float) -> RunState:
    return replace(state, server_now=state.server_now + timedelta(seconds=seconds))


def test_who_is_in_the_way_is_said_once_with_how_to_cancel_it() -> None:
    writer = LineWriter()
    state = a_run_state("lock wait")
    first = "\n".join(writer.lines(state))
    assert "pid 2211 (nightly-report, analyst) blocks us" in first
    assert "idle in transaction for 30 min 43 s" in first
    assert "pgferry cancel 2211 --terminate ends it" in first, "there is no statement to cancel"
    assert "waits for its lock" in first or "stands aside" in first
    assert writer.lines(later(state, 1)) == []
    free = replace(later(state, 2), sessions=(), lock_wait=None)
    assert writer.lines(free) == [f"2026-11-21 23:41:09 pid {pid} is no longer in the way" for pid in (2211, 2304)]
    assert writer.lines(later(free, 1)) == []


def test_a_runner_that_does_not_answer_is_told_and_its_return() -> None:
    writer = LineWriter()
    state = a_run_state("mid backfill")
    lease = Lease("ann", "db1", 4711, NOW, 42.0, False)
    writer.lines(state)
    (said,) = writer.lines(replace(later(state, 1), lease=lease))
    assert "the runner of ann, process 4711 on db1, was last heard 42 s ago" in said
    assert "pgferry resume --take-over" in said
    assert writer.lines(replace(later(state, 2), lease=lease)) == []
    (said,) = writer.lines(replace(later(state, 3), lease=replace(lease, alive=True, age_s=0.1)))
    assert said.endswith("the runner answers")
    assert writer.lines(replace(later(state, 4), lease=None)) == [], "between two runners there is none"
    (said,) = writer.lines(replace(later(state, 5), lease=None))
    assert "no runner works at the run: pgferry resume starts one" in said


def test_new_errors_of_applications_are_told() -> None:
    writer = LineWriter()
    state = a_run_state("mid backfill")
    assert state.traffic is not None
    traffic = replace(state.traffic, during=replace(state.traffic.during, errors=0))
    assert not [line for line in writer.lines(replace(state, traffic=traffic)) if "traffic:" in line]
    worse = replace(traffic, during=replace(traffic.during, errors=3))
    assert [line for line in writer.lines(replace(later(state, 1), traffic=worse)) if line.endswith("3 errors so far")]
    assert writer.lines(replace(later(state, 2), traffic=worse)) == []


@pytest.mark.parametrize(
    ("moment", "words"),
    [
        ("paused", "pgferry resume goes on"),
        ("gate", "pgferry confirm P3.1.3 --plan DIR"),
        ("mid backfill", ""),
        ("done", ""),
        ("failed check", ""),
    ],
)
def test_a_run_that_stands_says_how_it_goes_on(moment: str, words: str) -> None:
    state = a_run_state(moment)
    assert words in next_words(state)
    assert bool(next_words(state)) == bool(words)
    assert [line for line in LineWriter().lines(state) if f"run 7: {state.status}" in line and words in line]


def test_a_run_that_reached_its_stop_says_how_it_goes_on() -> None:
    assert "pgferry apply --plan DIR goes on" in next_words(a_run_state("paused", status=RunStatus.WAITING))


def test_a_done_run_names_the_purge_that_is_left() -> None:
    state = a_run_state("done")
    *others, last = state.tasks
    left = replace(last, kind="purge", status=TaskStatus.DEFERRED)
    said = next_words(replace(state, tasks=(*others, left)))
    assert said == f"{last.id} is left and has no way back: pgferry confirm {last.id} --plan DIR asks for it"


def test_a_copy_that_is_done_has_no_rate_and_no_end_to_come() -> None:
    (progress, *_) = a_run_state("mid backfill").progress
    assert progress_words(replace(progress, finished=True)) == "copy book_ticker done, 7,812,000 rows"


def test_that_a_task_began_and_ended_is_said_once() -> None:
    state = a_run_state("mid backfill")
    task, event = state.tasks[0], state.events[-1]
    begun = replace(event, id=event.id + 1, kind="task", task_id=task.id, text=task.title)
    done = replace(event, id=event.id + 2, kind="task", task_id=task.id, text=f"done in 4.0 s: {task.title}")
    back = replace(event, id=event.id + 3, kind="task", task_id=task.id, text="taking back: drops the table")
    lines = LineWriter().lines(replace(state, events=(*state.events, begun, done, back)))
    assert [line for line in lines if f" {task.id} {task.title}: completed in " in line]
    assert len([line for line in lines if task.title in line]) == 1
    assert [line for line in lines if line.endswith(f"task {task.id}: taking back: drops the table")]


class Restarted:
    """A server that is away for two looks."""

    def __init__(self) -> None:
        self.looks = [a_run_state("mid backfill")] * 2 + [None, None] + [a_run_state("done")]

    def state(self) -> RunState:
        found = self.looks.pop(0)
        if found is None:
            raise ConnectionFailed("The connection to the server was lost.", state="The run goes on by itself.")
        return found


def test_a_server_that_restarts_ends_no_watching(capsys: pytest.CaptureFixture[str]) -> None:
    look = _patient(cast(Any, Restarted()))
    seen = [look().status for _ in range(4)]
    assert seen == [RunStatus.RUNNING] * 3 + [RunStatus.DONE]
    assert capsys.readouterr().err.splitlines() == [
        "pgferry: The connection to the server was lost. It is tried again until it answers.",
        "pgferry: the server answers again",
    ]


def test_what_was_not_measured_before_the_run_is_not_called_zero() -> None:
    traffic = replace(some_traffic(), before=Latency(0, 0, 0.0, 0.0, 0.0))
    assert "before unknown" in traffic_words(traffic)
    assert "before unknown" in traffic_line(traffic, UNICODE, 80).plain
    assert "before unknown" not in traffic_words(some_traffic())
