"""Live settings of a copy: checked by the plan's own bounds, shown with who set them, kept for later runners."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from console.engine.pace import Pace
from console.engine.session import Wishes
from console.engine.workers import Orders
from console.journal.state import Progress, RunStatus, Verb
from console.plan import settings as live
from console.plan.model import BackfillSettings
from tests.engine.scene import a_database, a_run, order
from tests.faults.tools import a_plan_directory, assert_no_runner_left, state_of


@pytest.mark.parametrize(
    ("name", "value", "is_then"),
    [
        ("batch_rows", "500", 500),
        ("workers", 3.0, 3),
        ("max_replica_lag_s", 2, 2.0),
        ("hold_for_vacuum", "on", True),
        ("synchronous_commit", False, False),
        ("probe_sql", "SELECT 1", "SELECT 1"),
    ],
)
def test_a_value_is_taken_as_its_setting_takes_it(name: str, value: object, is_then: object) -> None:
    taken = live.checked(name, value)
    assert (taken, type(taken)) == (is_then, type(is_then))


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("colour", 1, "No such setting: colour."),
        ("batch_rows", 0, "batch_rows must be at least 1, not 0."),
        ("duty_percent", 101, "duty_percent must be at most 100, not 101."),
        ("workers", 1.5, "workers must be a whole number, not 1.5."),
        ("target_ms", "fast", "target_ms must be a number, not 'fast'."),
        ("target_ms", True, "target_ms must be a number, not True."),
        ("max_wal_mb_per_s", "nan", "max_wal_mb_per_s must be a number, not 'nan'."),
        ("hold_for_vacuum", "maybe", "hold_for_vacuum must be true or false, not 'maybe'."),
        ("probe_sql", 7, "probe_sql must be text, not 7."),
    ],
)
def test_a_value_that_cannot_be_is_refused_in_one_sentence(name: str, value: object, words: str) -> None:
    with pytest.raises(ValueError, match=words.replace(".", r"\.")):
        live.checked(name, value)


def test_every_setting_can_be_set_and_is_shown_in_words() -> None:
    settings = BackfillSettings()
    assert set(live.KEYS) == set(BackfillSettings.__dataclass_fields__)
    for name in live.KEYS:
        assert live.checked(name, getattr(settings, name)) == getattr(settings, name)
    assert [live.words("max_rejects", 0), live.words("batch_rows", 20_000), live.words("probe_sql", "")] == [
        "none", "20,000", "none",
    ]  # fmt: skip
    assert (settings.batch_rows, settings.target_ms, settings.synchronous_commit) == (20_000, 100, False)


def test_the_limit_on_rows_a_second_is_shared_by_all_hands() -> None:
    orders = Orders(Pace(100, 100), BackfillSettings(workers=99))
    assert orders.workers == 16, "no more than this however many were asked for"
    assert Wishes().settings == {}


@pytest.mark.parametrize(
    ("settings", "target_ms", "batch_rows"),
    [
        (BackfillSettings(throttled_ms=400), 100, 200_000),
        (BackfillSettings(duty_percent=50), 100, 200_000),
        (BackfillSettings(duty_percent=50, throttled_ms=400), 400, 200_000),
        (BackfillSettings(duty_percent=50, throttled_ms=40), 100, 200_000),
        (BackfillSettings(max_rows_per_second=10_000), 100, 5_000),
        (BackfillSettings(max_rows_per_second=10_000, throttled_ms=400), 400, 40_000),
    ],
    ids=["at full speed", "slowed", "slowed, longer", "never shorter", "a limit", "a limit, longer"],
)
def test_a_slowed_copy_works_in_longer_batches_where_the_plan_says_so(
    settings: BackfillSettings, target_ms: int, batch_rows: int
) -> None:
    orders = Orders(Pace(200_000, 100), settings, settings.duty_percent)
    assert (orders.target_ms, orders.batch_rows) == (target_ms, batch_rows)
    orders.duty_percent = 20  # what a signal near its limit leaves
    assert orders.target_ms == target_ms


def test_a_live_limit_makes_batches_longer_and_full_speed_shorter_again(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGFERRY_OPERATOR", "alice")
    conn = a_database(database, rows=500)
    plan = a_plan_directory(tmp_path / "plan")
    run_id = a_run(database, plan)
    order(database, plan, run_id, Verb.SPEED, throttled_ms=900, duty_percent=99)
    order(database, plan, run_id, Verb.START, until="copy")
    slowed = copy_of(database, run_id)
    assert (slowed.target_ms, slowed.aim_ms) == (5, 900)
    assert slowed.chunks < 10, "a batch of 50 rows grows where each takes far less than 900 ms"
    conn.close()


def pgferry(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, in a process of its own."""
    return subprocess.run([sys.executable, "-m", "console", *arguments], capture_output=True, text=True, check=False)


def test_from_the_command_line_to_the_report_and_on_to_the_next_runner(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("PGFERRY_OPERATOR", "alice")
    conn = a_database(database, rows=500)
    plan = a_plan_directory(tmp_path / "plan")
    run_id = a_run(database, plan)
    common = ["--plan", str(plan.root), "--dsn", database]
    refused = pgferry("speed", *common, "duty_percent=200")
    assert (refused.returncode, "duty_percent must be at most 100, not 200." in refused.stderr) == (2, True)
    done = pgferry("speed", *common, "synchronous_commit=on", "max_lock_waiters=9", "max_rows_per_second=0")
    assert done.returncode == 0, done.stderr
    assert_no_runner_left(conn, run_id)
    status, answer = order(
        database, plan, run_id, Verb.START, until="copy"
    )  # another runner than the one that answered
    assert status is RunStatus.WAITING, answer
    shown = {s.name: (s.value, s.set_by) for s in copy_of(database, run_id).settings}
    assert shown["synchronous_commit"] == ("on", "alice")
    assert shown["max_lock_waiters"] == ("9", "alice")
    assert shown["batch_rows"] == ("50", "the plan")
    progress = json.loads(pgferry("report", *common, "--format", "json").stdout)["progress"][0]
    assert {"name": "max_lock_waiters", "value": "9", "set_by": "alice"} in progress["settings"]
    assert progress["chunks"] == copy_of(database, run_id).chunks > 0
    assert int(progress["content_hash"]) != 0
    assert "SETTINGS THAT OPERATORS CHANGED" in pgferry("report", *common).stdout
    conn.close()


def copy_of(database: str, run_id: int) -> Progress:
    """The copy's progress."""
    return next(p for p in state_of(database, run_id).progress if p.what == "copy")
