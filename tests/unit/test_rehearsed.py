"""The record of a rehearsal: written, read, found for exactly its plan, refused when damaged."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from console.errors import PlanError
from console.plan.load import load_plan
from console.plan.model import Plan
from console.plan.rehearsed import (
    NAME,
    Difference,
    Measured,
    Outcome,
    Rehearsal,
    TaskRehearsed,
    find,
    from_json,
    kept_at,
    outdated,
    read,
    sql_sha256,
    to_json,
    write,
)
from tests.unit.plan_files import write_plan

SQL = "ALTER TABLE ticks ADD COLUMN note text"
MEASURED = Measured(
    "up", 0, SQL, sql_sha256(SQL), (("ticks", "ACCESS EXCLUSIVE"),), (), 1.5, 2, 400, (("pg_toast", "SHARE"),)
)
TASK = TaskRehearsed(
    "T1", Outcome.DIFFERS, "the way back differs", Outcome.PASSED, 3.0, 2.0, 400,
    (Difference("table ticks", "note text", ""),), (MEASURED,),
)  # fmt: skip


def _record(plan: Plan, **changed: object) -> Rehearsal:
    record = Rehearsal(
        plan.id, plan.sha256, "2026-01-02T03:04:05Z", 160014, "scratch", "sample", (("ticks", 20),), (TASK,), ("x",)
    )
    return dataclasses.replace(record, **changed)  # type: ignore[arg-type]


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return load_plan(write_plan(tmp_path / "plan"))


def test_a_record_comes_back_as_it_was_written(plan: Plan, tmp_path: Path) -> None:
    file = tmp_path / "new" / "record.json"
    write(_record(plan), file)
    assert read(file) == _record(plan)
    assert [path.name for path in file.parent.iterdir()] == ["record.json"]


def test_a_record_beside_the_plan_leaves_its_digest_alone(plan: Plan) -> None:
    write(_record(plan), plan.root / NAME)
    assert load_plan(plan.root).sha256 == plan.sha256


def test_the_newest_record_of_just_this_plan_is_found(plan: Plan, tmp_path: Path) -> None:
    assert find(plan, tmp_path) is None
    write(_record(plan), kept_at(plan, tmp_path))
    assert find(plan, tmp_path) == _record(plan)
    newer = _record(plan, made_at="2026-02-02T03:04:05Z")
    write(newer, plan.root / NAME)
    assert find(plan, tmp_path) == newer
    assert outdated(plan) is None


def test_a_record_of_an_older_version_marks_nothing_and_is_named(plan: Plan, tmp_path: Path) -> None:
    old = _record(plan, plan_sha256="0" * 64)
    write(old, plan.root / NAME)
    assert find(plan, tmp_path) is None
    assert outdated(plan) == old


def test_a_statement_is_known_again_by_its_text_and_side(plan: Plan) -> None:
    record = _record(plan)
    assert record.measured("T1", "up", f"\n{SQL}  ") == MEASURED
    assert record.measured("T1", "down", SQL) is None
    assert record.measured("T1", "up", SQL + " NOT NULL") is None
    assert record.measured("T2", "up", SQL) is None
    assert not record.ok
    assert record.complete


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.update(format=2), "no record of a rehearsal in format 1"),
        (lambda d: d.pop("plan_id"), "damaged"),
        (lambda d: d.update(server_version="16"), "damaged"),
        (lambda d: d["tasks"][0].update(outcome="fine"), "damaged"),
        (lambda d: d["tasks"][0]["statements"][0].update(locks=[["ticks"]]), "damaged"),
        (lambda d: d.update(tasks={}), "damaged"),
    ],
)
def test_a_damaged_record_is_refused_in_one_sentence(plan: Plan, change: object, words: str) -> None:
    data = json.loads(to_json(_record(plan)))
    change(data)  # type: ignore[operator]
    with pytest.raises(PlanError, match=words) as caught:
        from_json(json.dumps(data), "here.json")
    assert str(caught.value).startswith("here.json: ")
    assert "Rehearse the plan again." in str(caught.value)


def test_what_is_no_json_is_refused(tmp_path: Path) -> None:
    for text in ("", "{", "[]", "\x00"):
        with pytest.raises(PlanError):
            from_json(text, "here.json")
    (tmp_path / "x").write_bytes(b"\xff")
    with pytest.raises(PlanError, match="cannot be read"):
        read(tmp_path / "x")
