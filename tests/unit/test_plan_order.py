"""How far a run goes and what a rollback undoes; a purge is never reached by the way."""

from __future__ import annotations

from dataclasses import replace

import pytest

from console.errors import UsageError
from console.plan.model import Plan
from console.plan.order import rollback_order, run_order, until
from tests.canned import a_plan

PHASE_1 = ["P1.1.1", "P1.1.2", "P1.1.3"]
PHASE_2 = ["P2.1.1", "P2.1.2", "P2.1.3"]
PHASE_3 = ["P3.1.1", "P3.1.2", "P3.1.3", "P3.1.4"]


@pytest.fixture(scope="module")
def plan() -> Plan:
    return a_plan()


def ids(plan: Plan, target: str) -> list[str]:
    return [task.id for task in until(plan, target)]


def test_a_task_is_reached_with_all_before_it(plan: Plan) -> None:
    assert ids(plan, "P1.1.2") == PHASE_1[:2]
    assert ids(plan, "P1.1.1") == PHASE_1[:1]


def test_a_phase_is_reached_with_its_last_task(plan: Plan) -> None:
    assert ids(plan, "2") == PHASE_1 + PHASE_2


def test_the_end_and_the_last_phase_hold_the_purge_back(plan: Plan) -> None:
    all_but_purge = [*PHASE_1, *PHASE_2, *PHASE_3, "P4.1.1", "P4.1.2"]
    assert ids(plan, "end") == all_but_purge
    assert ids(plan, "4") == all_but_purge


def test_the_purge_runs_only_when_it_is_named(plan: Plan) -> None:
    assert ids(plan, "P4.1.3") == [task.id for task in run_order(plan)]


def test_what_depends_on_a_purge_is_held_back_with_it(plan: Plan) -> None:
    last = plan.phases[-1]
    after = replace(plan.task("P1.1.3"), id="P4.1.4", phase="4", depends=("P4.1.3",))
    further = replace(after, id="P4.1.5", depends=("P4.1.4",))
    free = replace(after, id="P4.1.6", depends=("P4.1.2",))
    longer = replace(plan, phases=(*plan.phases[:-1], replace(last, tasks=(*last.tasks, after, further, free))))
    assert ids(longer, "end")[-2:] == ["P4.1.2", "P4.1.6"]


def test_a_rollback_undoes_last_first_and_the_named_task_too(plan: Plan) -> None:
    assert [task.id for task in rollback_order(plan, "P4.1.1")] == ["P4.1.3", "P4.1.2", "P4.1.1"]
    assert rollback_order(plan, "start") == run_order(plan)[::-1]


def test_a_rollback_to_a_phase_stands_before_its_first_task(plan: Plan) -> None:
    assert rollback_order(plan, "3")[-1].id == "P3.1.1"
    assert rollback_order(plan, "1") == rollback_order(plan, "start")


@pytest.mark.parametrize("word", ["P2.1.9", "p2.1.2 "])
def test_an_unknown_target_gets_the_nearest_known_one(plan: Plan, word: str) -> None:
    with pytest.raises(UsageError, match=r"has no task or phase .* Nothing was changed\. Did you mean P2\.1\.\d\?"):
        until(plan, word)
    with pytest.raises(UsageError, match=r"Did you mean P2\.1\.\d\?"):
        rollback_order(plan, word)


def test_a_target_like_nothing_known_gets_the_known_ones(plan: Plan) -> None:
    with pytest.raises(UsageError, match=r"Known are: P1\.1\.1, .*, \.\.\.\."):
        until(plan, "zzzzzz")


def test_start_is_no_goal_and_end_no_way_back(plan: Plan) -> None:
    with pytest.raises(UsageError):
        until(plan, "start")
    with pytest.raises(UsageError):
        rollback_order(plan, "end")
