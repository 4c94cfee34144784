"""Measurements laid over what was derived: what agrees is measured, what differs is said, nothing gets weaker."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from console.commands.plan_record import Record
from console.commands.previews import Previews
from console.plan import rehearsed
from console.plan.load import load_plan
from console.plan.model import Plan
from console.plan.rehearsed import Difference, Measured, Outcome, Rehearsal, TaskRehearsed, sql_sha256
from console.sql.analyse import read_file
from console.sql.locks import LEVEL
from console.sql.model import Statement
from console.sql.overlay import Seen, lay_over

INDEX = "CREATE INDEX i ON t (x)"


def _one(text: str) -> Statement:
    (statement,) = read_file(text, second_reader=False)
    return statement


def test_a_lock_that_was_seen_is_measured() -> None:
    laid = lay_over(_one(INDEX), Seen((("t", "SHARE"),), ms=3, held_ms=2, wal_bytes=1))
    assert [(lock.mode, lock.basis) for lock in laid.locks if lock.object == "t"] == [("SHARE", "measured")]
    assert laid.measured is not None
    assert (laid.measured.ms, laid.measured.held_ms, laid.measured.differences) == (3, 2, ())


def test_a_stronger_lock_counts_and_is_told() -> None:
    laid = lay_over(_one(INDEX), Seen((("t", "ACCESS EXCLUSIVE"),)))
    assert laid.measured is not None
    assert laid.measured.differences == ("derived SHARE on t, measured ACCESS EXCLUSIVE",)
    assert [(lock.mode, lock.basis) for lock in laid.locks if lock.object == "t"] == [("ACCESS EXCLUSIVE", "measured")]
    assert laid.blocks == "reads and writes of t wait"


@pytest.mark.parametrize("mode", ["ACCESS SHARE", "ROW EXCLUSIVE"])
def test_a_weaker_lock_is_told_and_does_not_count(mode: str) -> None:
    laid = lay_over(_one(INDEX), Seen((("t", mode),)))
    (lock,) = (lock for lock in laid.locks if lock.object == "t")
    assert LEVEL[lock.mode] == LEVEL["SHARE"]
    assert lock.basis == "grammar"
    assert laid.measured is not None
    assert laid.measured.differences == (f"derived SHARE on t, measured {mode}",)


def test_a_lock_held_before_in_the_transaction_is_no_difference() -> None:
    laid = lay_over(_one(INDEX), Seen((), already=(("t", "ACCESS EXCLUSIVE"),)))
    assert laid.measured is not None
    assert not laid.measured.differences


def test_what_was_only_assumed_is_replaced_by_what_was_seen() -> None:
    unknown = _one("DO $$ BEGIN EXECUTE current_setting('a.command'); END $$")
    assert [lock.object for lock in unknown.locks] == ["?"]
    laid = lay_over(unknown, Seen((("t", "ACCESS EXCLUSIVE"),)))
    assert [(lock.object, lock.basis) for lock in laid.locks] == [("t", "measured")]
    partly = lay_over(unknown, Seen((("t", "SHARE"),), partial="it was cut short"))
    assert "?" in [lock.object for lock in partly.locks]


def test_a_rewrite_that_was_not_derived_is_told() -> None:
    statement = dataclasses.replace(_one("ALTER TABLE t ADD COLUMN x int"), rewrite=False)
    laid = lay_over(statement, Seen((("t", "ACCESS EXCLUSIVE"),), rewritten=("t",)))
    assert laid.rewrite is True
    assert laid.measured is not None
    assert laid.measured.differences == ("derived without a rewrite, measured: t written again",)


def _plan(tmp_path: Path) -> Plan:
    (tmp_path / "plan.toml").write_text(
        'format = 1\nid = "p"\ntitle = "P"\n[[phase]]\nid = "1"\ntitle = "First"\n[[phase.task]]\nid = "a"\n'
        'title = "a"\nkind = "sql"\nminutes = 1\nfile = "a.sql"\n'
    )
    (tmp_path / "a.sql").write_text(f"{INDEX};\n")
    (tmp_path / "a.down.sql").write_text("DROP INDEX i;\n")
    return load_plan(tmp_path)


def _record(plan: Plan, outcome: Outcome, differences: tuple[Difference, ...] = ()) -> Rehearsal:
    up = Measured("up", 1, INDEX, sql_sha256(INDEX), (("t", "SHARE"),), (), 4.0, 3.0, 10)
    task = TaskRehearsed("a", outcome, "", outcome, 4.0, 12.0, 10, differences, (up,))
    return Rehearsal("p", plan.sha256, "2026-11-21T10:00:00+00:00", 180000, "scratch", "sample", (("t", 5),), (task,))


def test_a_preview_takes_the_record_of_exactly_this_plan(tmp_path: Path) -> None:
    plan = _plan(tmp_path)
    folder = tmp_path / "state"
    assert Record.of(plan, folder).why == ""
    rehearsed.write(_record(plan, Outcome.PASSED), tmp_path / rehearsed.NAME)
    preview = Previews(plan, record=Record.of(plan, folder)).of("a")
    assert {(lock.object, lock.basis) for lock in preview.up[0].locks} >= {("t", "measured")}
    assert preview.down[0].measured is None
    assert (preview.rehearsed, preview.rehearsed_well) == ("rehearsed 2026-11-21: schema and rows equal, 12 ms", True)
    (tmp_path / "a.sql").write_text("CREATE INDEX i ON t (y);\n")
    later = Previews(load_plan(tmp_path), record=Record.of(load_plan(tmp_path), folder)).of("a")
    assert later.up[0].measured is None
    assert "older version of the plan" in later.rehearsed


def test_a_way_back_that_differs_is_not_well(tmp_path: Path) -> None:
    plan = _plan(tmp_path)
    record = _record(plan, Outcome.DIFFERS, (Difference("index i", "", "CREATE INDEX i"),))
    rehearsed.write(record, tmp_path / rehearsed.NAME)
    preview = Previews(plan, record=Record.of(plan, tmp_path / "state")).of("a")
    assert (preview.rehearsed, preview.rehearsed_well) == (
        "rehearsed 2026-11-21: the way back DIFFERS: index i",
        False,
    )


def test_what_a_statement_makes_itself_is_no_difference() -> None:
    made = (("n", "ACCESS EXCLUSIVE"), ("n_pkey", "ACCESS EXCLUSIVE"))
    laid = lay_over(_one("CREATE TABLE n (id int PRIMARY KEY)"), Seen(made, new=made))
    assert laid.measured is not None
    assert not laid.measured.differences
