"""The rehearsal on a scratch database: what it measures, which ways back it finds wrong, and that it goes on."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from console.demo.server import EmbeddedServer
from console.plan.load import load_plan
from console.plan.model import Plan
from console.plan.rehearsed import Measured, Outcome, TaskRehearsed
from console.rehearsal import ground
from console.rehearsal.course import Course
from console.rehearsal.scratch import Scratch

BASELINE = """
CREATE TABLE things (id int PRIMARY KEY, kind text, amount numeric(10, 2));
INSERT INTO things SELECT i, 'kind ' || i, i FROM generate_series(1, 200) i;
CREATE TABLE owners (id int PRIMARY KEY);
"""


@pytest.fixture
def scratch(server: EmbeddedServer) -> Iterator[Scratch]:
    """An empty scratch database on the tests' server."""
    made = Scratch(server, f"rehearsal_{uuid.uuid4().hex[:12]}")
    made.create()
    yield made
    for name in (made.database, *made.copies()):
        server.drop_database(name)


def a_plan(folder: Path, tasks: dict[str, tuple[str, str | None]], *, baseline: str = BASELINE) -> Plan:
    """A plan of SQL tasks: id -> (forward, back); without a way back the task is irreversible."""
    toml = ['format = 1\nid = "small"\ntitle = "Small"\n[paths]\nbaseline = "001.sql"\n']
    toml.append('[[phase]]\nid = "1"\ntitle = "Only"\n')
    (folder / "001.sql").write_text(baseline)
    for id_, (up, down) in tasks.items():
        toml.append(
            f'[[phase.task]]\nid = "{id_}"\ntitle = "Task {id_}"\nkind = "sql"\nminutes = 1\nfile = "{id_}.sql"\n'
        )
        (folder / f"{id_}.sql").write_text(up)
        if down is None:
            toml.append('irreversible = "it cannot be undone"\n')
        else:
            (folder / f"{id_}.down.sql").write_text(down)
    (folder / "plan.toml").write_text("".join(toml))
    return load_plan(folder)


def rehearsed(scratch: Scratch, plan: Plan, *, only: str = "") -> dict[str, TaskRehearsed]:
    """Each task's rehearsal by its id."""
    lacks = ground.Lacks()
    with scratch.connect() as conn:
        ground.make_roles(conn, ground.named_roles(plan))
        ground.from_baseline(conn, plan, 100, lacks, lambda _: None)
    course = Course(plan, scratch, lambda _: None, lacks.for_task, only)
    return {task.task_id: task for task in course.run()}


def statement(task: TaskRehearsed, beginning: str, side: str = "up") -> Measured:
    found = [one for one in task.statements if one.side == side and one.sql.startswith(beginning)]
    assert len(found) == 1, [one.sql for one in task.statements]
    return found[0]


def test_every_statement_is_measured(scratch: Scratch, tmp_path: Path) -> None:
    plan = a_plan(
        tmp_path,
        {
            "A": (
                "ALTER TABLE things ADD COLUMN made timestamptz DEFAULT clock_timestamp();\n"
                "CREATE INDEX CONCURRENTLY things_kind ON things (kind);\n"
                "BEGIN;\nCREATE TABLE n (id int REFERENCES owners (id));\nALTER TABLE things DROP COLUMN amount;\n"
                "ALTER TABLE things ALTER COLUMN kind SET NOT NULL;\nCOMMIT;\n",
                "BEGIN;\nALTER TABLE things ALTER COLUMN kind DROP NOT NULL;\nALTER TABLE things DROP COLUMN made;\n"
                "DROP TABLE n;\nCOMMIT;\nDROP INDEX things_kind;\n",
            )
        },
    )
    task = rehearsed(scratch, plan)["A"]
    assert task.outcome is Outcome.DIFFERS  # amount is lost
    assert [one.object for one in task.differences] == ["table things", "rows of things"]
    assert "amount numeric(10,2)" in task.differences[0].before
    assert "amount" not in task.differences[0].after
    add = statement(task, "ALTER TABLE things ADD")
    assert add.locks == (("things", "ACCESS EXCLUSIVE"), ("things_pkey", "ACCESS EXCLUSIVE"))
    assert add.rewritten == ("things", "things_pkey")
    assert add.ordinal == 1
    assert add.wal_bytes > 10_000
    assert add.held_ms >= add.ms > 0
    build = statement(task, "CREATE INDEX CONCURRENTLY")
    assert ("things", "SHARE UPDATE EXCLUSIVE") in build.locks
    assert build.partial
    made = statement(task, "CREATE TABLE n")
    assert made.locks == (("owners", "SHARE ROW EXCLUSIVE"), ("owners_pkey", "ACCESS SHARE")) or made.locks == (
        ("owners", "SHARE ROW EXCLUSIVE"),
    )
    assert ("n", "ACCESS EXCLUSIVE") in made.new
    assert statement(task, "ALTER TABLE things DROP COLUMN amount").locks == (("things", "ACCESS EXCLUSIVE"),)
    scanned = statement(task, "ALTER TABLE things ALTER COLUMN kind SET NOT NULL")
    assert scanned.locks == ()
    assert ("things", "ACCESS EXCLUSIVE") in scanned.already
    assert scanned.scanned == ("things",)
    assert scanned.rewritten == ()
    dropped = statement(task, "DROP TABLE n", "down")  # its row in pg_class is gone when its locks are read
    assert ("n", "ACCESS EXCLUSIVE") in dropped.locks
    assert ("owners", "ACCESS EXCLUSIVE") in dropped.locks
    assert task.forward_ms > 0
    assert task.back_ms > 0


def test_ways_back_that_are_wrong_are_named_and_the_others_are_rehearsed(scratch: Scratch, tmp_path: Path) -> None:
    plan = a_plan(
        tmp_path,
        {
            "good": ("CREATE TABLE a (id int);", "DROP TABLE a;"),
            "wrong": ("CREATE INDEX b ON things (kind); CREATE TABLE b2 (id int);", "DROP TABLE b2;"),
            "fails": ("CREATE TABLE c (id serial);", "DROP TABLE c; DROP TABLE never_made;"),
            "loses": (
                "ALTER TABLE things RENAME kind TO sort;",
                "ALTER TABLE things RENAME sort TO kind; DELETE FROM things WHERE id > 150;",
            ),
            "values": ("CREATE TABLE d (id int);", "DROP TABLE d; UPDATE things SET amount = 0 WHERE id = 3;"),
            "never": ("ALTER TABLE absent ADD COLUMN a int;", "SELECT 1;"),
            "later": ("CREATE TABLE e (id int);", "DROP TABLE e;"),
        },
    )
    tasks = rehearsed(scratch, plan)
    assert {id_: task.outcome.value for id_, task in tasks.items()} == {
        "good": "passed", "wrong": "differs", "fails": "failed", "loses": "differs", "values": "differs",
        "never": "failed", "later": "passed",
    }  # fmt: skip
    (index,) = tasks["wrong"].differences
    assert index.object == "index b"
    assert index.before == ""
    assert "CREATE INDEX b ON public.things" in index.after
    assert "never_made" in tasks["fails"].why
    assert [(d.object, d.before, d.after) for d in tasks["loses"].differences] == [
        ("rows of things", "200 rows", "150 rows")
    ]
    assert [d.after for d in tasks["values"].differences] == ["200 rows, with other values"]
    assert "42P01" in tasks["never"].why
    assert all(task.alone is task.outcome for task in tasks.values())


def test_what_only_the_whole_way_back_shows(scratch: Scratch, tmp_path: Path) -> None:
    plan = a_plan(
        tmp_path,
        {
            "first": ("CREATE TABLE z (id int);", "DROP TABLE z;"),
            "sneaky": (
                "CREATE TABLE a (id int);",
                "DROP TABLE a; INSERT INTO owners SELECT 99 WHERE (SELECT last_value FROM counter) > 1;",
            ),
            "counts": ("SELECT nextval('counter'), nextval('counter');", "SELECT 1;"),
        },
        baseline=BASELINE + "CREATE SEQUENCE counter;",
    )
    tasks = rehearsed(scratch, plan)
    assert tasks["sneaky"].alone is Outcome.PASSED
    assert tasks["sneaky"].outcome is Outcome.DIFFERS
    assert "alone it passed" in tasks["sneaky"].why
    assert [one.object for one in tasks["sneaky"].differences] == ["rows of owners"]
    assert tasks["first"].outcome is tasks["counts"].outcome is Outcome.PASSED  # the row is not held against the first


def test_an_irreversible_task_is_carried_forward_alone(scratch: Scratch, tmp_path: Path) -> None:
    plan = a_plan(
        tmp_path,
        {
            "before": ("CREATE TABLE a (id int);", "DROP TABLE a;"),
            "gone": ("DROP TABLE owners;", None),
            "after": ("CREATE TABLE b (id int);", "DROP TABLE b;"),
        },
    )
    tasks = rehearsed(scratch, plan)
    assert [task.outcome for task in tasks.values()] == [Outcome.PASSED] * 3
    assert tasks["gone"].why == "forward alone, there is no way back: it cannot be undone"
    assert ("owners", "ACCESS EXCLUSIVE") in statement(tasks["gone"], "DROP TABLE owners").locks


def test_a_task_that_needs_a_lacking_extension_was_not_rehearsed(scratch: Scratch, tmp_path: Path) -> None:
    plan = a_plan(
        tmp_path,
        {
            "has": ("CREATE EXTENSION no_such_extension;", "DROP EXTENSION no_such_extension;"),
            "uses": ("SELECT of_that_extension(1);", "SELECT 1;"),
            "free": ("CREATE TABLE b (id int);", "DROP TABLE b;"),
            "wrong": ("CREATE TABLE things (id int);", "DROP TABLE things;"),
        },
    )
    assert ground.wanted_extensions(plan) == ("no_such_extension",)
    tasks = rehearsed(scratch, plan)
    assert [task.outcome.value for task in tasks.values()] == ["not rehearsed", "not rehearsed", "passed", "failed"]
    assert "lacks the extension no_such_extension" in tasks["has"].why


def test_one_task_alone_needs_those_before_it_carried_forward(scratch: Scratch, tmp_path: Path) -> None:
    plan = a_plan(
        tmp_path,
        {
            "one": ("CREATE TABLE a (id int);", "SELECT 1;"),
            "two": ("ALTER TABLE a ADD b int;", "ALTER TABLE a DROP b;"),
            "three": ("SELECT 1/0;", "SELECT 1;"),
        },
    )
    tasks = rehearsed(scratch, plan, only="two")
    assert [task.outcome.value for task in tasks.values()] == ["not rehearsed", "passed", "not rehearsed"]


def test_roles_that_the_plan_only_names_are_made(scratch: Scratch, tmp_path: Path) -> None:
    plan = a_plan(
        tmp_path,
        {"grant": ("GRANT SELECT ON things TO rehearsal_reader;", "REVOKE SELECT ON things FROM rehearsal_reader;")},
    )
    assert ground.named_roles(plan) == ("rehearsal_reader",)
    task = rehearsed(scratch, plan)["grant"]
    with scratch.connect() as conn:
        conn.execute("DROP OWNED BY rehearsal_reader; DROP ROLE rehearsal_reader")
    # the first GRANT makes an owner's implicit rights explicit, which REVOKE does not take back
    assert task.outcome in (Outcome.PASSED, Outcome.DIFFERS)


def test_a_statement_that_nobody_understands_is_rehearsed_before_anybody_accepts_it(
    scratch: Scratch, tmp_path: Path
) -> None:
    block = "DO $$ BEGIN EXECUTE replace('ALTER TABLE NAME ADD COLUMN seen text', 'NAME', 'things'); END $$;\n"
    task = rehearsed(scratch, a_plan(tmp_path, {"A": (block, "ALTER TABLE things DROP COLUMN seen;\n")}))["A"]
    assert task.outcome is Outcome.PASSED, task.why
    assert ("things", "ACCESS EXCLUSIVE") in statement(task, "DO").locks
