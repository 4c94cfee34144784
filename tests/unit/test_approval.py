"""Counting approvals by person, the file beside a plan, and the difference of two versions."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from console.errors import PlanError
from console.plan import approval_file
from console.plan.approval import Approval, Person, Wanted, brief, grouped, sentences, standing
from console.plan.difference import MOST_LINES, Kept, compare
from console.plan.load import load_plan
from tests.unit.plan_files import PLAN_TOML, write_plan

SHA, OTHER = "a41f09c2" + "0" * 56, "b" * 64
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def an(name: str, minutes: int = 0, **more: object) -> Approval:
    return Approval(**{"plan_id": "p", "sha256": SHA, "name": name, "at": NOON + timedelta(minutes=minutes), **more})  # type: ignore[arg-type]


OP = Person("op", "dba")


@pytest.mark.parametrize(
    ("records", "counted"),
    [
        ([], []),
        ([an("ann")], ["ann"]),
        ([an("ann"), an("ANN", 1)], ["ANN"]),  # once, by whatever case
        ([an("ann", role="r1"), an("ben", 1, role="r1")], ["ben"]),  # one login role is one person
        ([an("ann", role="r1"), an("ben", 1, role="r2"), an("ann", 2, role="r2")], ["ann"]),  # joined by the third
        ([an("ann"), an("ann", 1, withdraws=True)], []),
        ([an("ann", 1), an("ann", 0, withdraws=True)], ["ann"]),  # approved again later, in whatever order they stand
        ([an("ann", role="r1"), an("ann", 1, withdraws=True)], []),  # approved in the journal, withdrawn in a file
        ([an("ann", sha256=OTHER)], []),
        ([an("ann", plan_id="q")], []),
        ([an("Op")], []),
        ([an("ann", role="dba")], []),  # the operator's login role under another name
        ([an("ann", role="r1"), an("op", 1, role="r1")], []),  # somebody who is also the operator
        ([an("ann", 1), an("ben")], ["ben", "ann"]),
    ],
)
def test_people_are_counted_once(records: list[Approval], counted: list[str]) -> None:
    assert [one.name for one in standing(Wanted("p", SHA, 1), records, OP).counted] == counted


def test_without_an_operator_everybody_counts() -> None:
    assert len(standing(Wanted("p", SHA, 1), [an("op", role="dba")]).counted) == 1


@pytest.mark.parametrize(
    ("needed", "names", "words"),
    [
        (0, [], "not approved"),
        (1, [], "0 of 1 approvals"),
        (0, ["r2"], "approved by r2, 21 Nov"),
        (1, ["r2"], "approved by r2, 21 Nov"),
        (2, ["r2"], "1 of 2 approvals: r2"),
        (2, ["r2", "r3"], "2 of 2 approvals: r2, r3"),
        (0, ["r2", "r3"], "approved by r2, r3"),
    ],
)
def test_in_few_words(needed: int, names: list[str], words: str) -> None:
    stands = standing(Wanted("p", SHA, needed), [an(name, place) for place, name in enumerate(names)])
    assert brief(stands) == words
    assert stands.enough == (len(names) >= needed)


def test_in_sentences() -> None:
    records = [
        an("ann", sha256=OTHER),
        an("op", role="dba", comment="mine"),
        an("ben", 3, withdraws=True, comment="no"),
    ]
    facts = sentences(standing(Wanted("p", SHA, 1), records, OP, ("unreadable",)))
    assert facts == (
        "0 of 1 approvals",
        "op (role dba): approved 2026-11-21 12:00 UTC, not counted: the operator's own",
        "ben (in a file): withdrawn 2026-11-21 12:03 UTC: no",
        "ann (in a file): approved another version, bbbb bbbb, 2026-11-21 12:00 UTC",
        "unreadable",
    )
    assert grouped(SHA) == "a41f 09c2"


def test_approvals_in_a_file(tmp_path: Path) -> None:
    plan = load_plan(write_plan(tmp_path))
    first = Approval(plan.id, plan.sha256, "ann", NOON, "a \u2028 b\nc")
    approval_file.append(plan, first)
    path = plan.root / approval_file.NAME
    path.write_text(path.read_text().rstrip("\n"))  # as some editors leave it
    approval_file.append(plan, Approval(plan.id, plan.sha256, "ben", NOON, withdraws=True))
    found = approval_file.read(plan.root)
    assert [(one.name, one.comment, one.withdraws) for one in found] == [
        ("ann", "a \u2028 b\nc", False),
        ("ben", "", True),
    ]
    assert len(path.read_text().splitlines()) >= 2
    digests = approval_file.file_digests(plan.root, plan.sha256)
    assert digests == {file.path: file.sha256[:16] for file in plan.files}
    assert load_plan(plan.root).sha256 == plan.sha256
    assert "files" not in json.loads(path.read_text().split("\n")[1])


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    plan = load_plan(write_plan(tmp_path))
    (plan.root / approval_file.NAME).write_bytes(b"\xff\xfe")
    with pytest.raises(PlanError, match=r"approvals\.jsonl: The approvals are not UTF-8"):
        approval_file.read(plan.root)


def test_the_plan_says_how_many(tmp_path: Path) -> None:
    assert load_plan(write_plan(tmp_path)).approvals == 0
    two = PLAN_TOML.replace("[paths]", "approvals = 2\n[paths]", 1)
    assert load_plan(write_plan(tmp_path / "two", toml=two)).approvals == 2
    for wrong in ("-1", "true", '"two"', "99"):
        toml = PLAN_TOML.replace("[paths]", f"approvals = {wrong}\n[paths]", 1)
        with pytest.raises(PlanError, match="approvals"):
            load_plan(write_plan(tmp_path / f"wrong_{len(wrong)}", toml=toml))


def test_the_difference_of_two_versions(tmp_path: Path) -> None:
    plan = load_plan(write_plan(tmp_path))
    before = {file.path: Kept(file.sha256, file.text) for file in plan.files}
    assert compare(before, plan.files).words == ""
    before["gone.sql"] = Kept("0" * 64, "SELECT 1;\n")
    before["002_new.sql"] = Kept("1" * 64, "CREATE TABLE before ();\n")
    del before["lib/helper.py"]
    found = compare(before, plan.files)
    assert found.words == "changed: 002_new.sql; added: lib/helper.py; removed: gone.sql"
    for line in ("-SELECT 1;", "-CREATE TABLE before ();", "+CREATE TABLE exchanges ();", "+X = 1", "+++ /dev/null"):
        assert line in found.unified.splitlines()


def test_a_difference_of_digests_alone(tmp_path: Path) -> None:
    plan = load_plan(write_plan(tmp_path))
    before = {file.path: Kept(file.sha256[:16]) for file in plan.files}
    assert compare(before, plan.files).words == ""
    before["002_new.sql"] = Kept("1" * 16)
    found = compare(before, plan.files)
    assert found.changed == ("002_new.sql",)
    assert "only its digest" in found.unified


def test_a_long_difference_is_cut(tmp_path: Path) -> None:
    plan = load_plan(write_plan(tmp_path, **{"002_new.sql": "SELECT 1;\n" * 2_000}))
    found = compare({}, plan.files)
    assert len(found.unified.splitlines()) == MOST_LINES + 1
    assert "more lines" in found.unified.splitlines()[-1]
