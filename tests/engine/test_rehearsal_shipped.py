"""``pgferry rehearse`` as its users type it: the shipped plan, exit codes, interruption."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from console.demo.setup import prepare
from console.plan.model import Kind, Plan, Task
from console.plan.rehearsed import Outcome, read
from console.rehearsal.course import Course
from console.rehearsal.scratch import Scratch
from tests.engine.test_rehearsal import a_plan, scratch  # noqa: F401 (a fixture)
from tests.engine.test_shipped_plan import shipped, without_programs
from tests.engine.tiny import ferry, start, wait_until


def without_checks(plan: Plan) -> Plan:
    """The plan without the tasks that only run checks; those that compare rows stay, as retiring needs them."""
    looks = {task.id for task in plan.tasks if task.kind is Kind.CHECK and not task.mappings}

    def kept(task: Task) -> Task:
        return replace(task, depends=tuple(id_ for id_ in task.depends if id_ not in looks))

    phases = (replace(p, tasks=tuple(kept(t) for t in p.tasks if t.id not in looks)) for p in plan.phases)
    return replace(plan, phases=tuple(phases))


@pytest.mark.long  # CI rehearses the shipped plan by the command itself
@pytest.mark.parametrize("whole", [False, True])
def test_the_shipped_plan_forward_back_and_forward(scratch: Scratch, whole: bool) -> None:  # noqa: F811
    plan = without_programs(shipped())
    plan = plan if whole else without_checks(plan)
    prepare(plan, scratch.conninfo, 100)
    tasks = {task.task_id: task for task in Course(plan, scratch, lambda _: None).run()}
    assert {id_: (task.outcome, task.why) for id_, task in tasks.items() if task.outcome is not Outcome.PASSED} == {}
    for task in plan.tasks:
        if task.kind in (Kind.SYNC, Kind.BACKFILL, Kind.RETIRE):
            assert tasks[task.id].statements, task.id
            assert tasks[task.id].back_ms > 0, task.id
    retired = next(task.id for task in plan.tasks if task.kind is Kind.RETIRE)
    locks = {lock for one in tasks[retired].statements if one.side == "up" for lock in one.locks}
    assert ("trades", "ACCESS EXCLUSIVE") in locks


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_interrupted_it_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    plan = a_plan(tmp_path, {"A": ("SELECT pg_sleep(30);", "SELECT 1;")})
    mine = tmp_path / "temporary"
    mine.mkdir(mode=0o755)
    tmp_path.chmod(0o755)
    process = start("rehearse", "--plan", str(plan.root), TMPDIR=str(mine), XDG_STATE_HOME=str(tmp_path / "state"))
    assert process.stderr is not None
    for line in process.stderr:
        if "baseline" in line:
            break
    process.send_signal(number)
    process.communicate(timeout=120)
    assert process.returncode == (130 if number != signal.SIGKILL else -9)
    assert wait_until(lambda: not list(mine.iterdir()), 60)  # socket, data and log of the server are gone
    assert not (tmp_path / "state").exists()


def test_exit_codes_and_the_record(tmp_path: Path) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    for folder in (good, bad):
        folder.mkdir()
    a_plan(good, {"A": ("CREATE TABLE a (id int);", "DROP TABLE a;")})
    state = {"XDG_STATE_HOME": str(tmp_path / "state")}
    code, out, err = ferry("rehearse", "--plan", str(good), "--save", "--format", "json", **state)
    assert code == 0, err
    assert json.loads(out)["tasks"][0]["outcome"] == "passed"
    assert read(good / "rehearsal.json").tasks[0].task_id == "A"
    assert len(list((tmp_path / "state").rglob("*.json"))) == 1
    a_plan(bad, {"A": ("CREATE TABLE a (id int);", "SELECT 1;")})
    code, out, err = ferry("rehearse", "--plan", str(bad), **state)
    assert code == 1, err
    assert "DIFFERS" in out
    assert "CREATE TABLE public.a" in out
    code, _, err = ferry(
        "rehearse", "--plan", str(bad), "--dsn", "host=127.0.0.1 port=1 dbname=x password=hush", **state
    )
    assert code == 3
    assert "hush" not in err
    code, _, err = ferry("rehearse", "--plan", str(bad), "--task", "none", **state)
    assert code == 2
    assert "no task none" in err
