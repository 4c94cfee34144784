"""What the tasks of a plan know of each other: what is new, since when it is in use, what an earlier file proved."""

from __future__ import annotations

from pathlib import Path

from console.commands.plan_reading import read_plan
from console.commands.previews import Previews
from console.plan.load import load_plan
from console.plan.model import Plan
from console.sql.model import Statement


def _plan(tmp_path: Path, files: dict[str, str], baseline: str = "") -> Plan:
    """A plan with one task for each file; a file named ``gate`` is a gate."""
    folder = tmp_path / "plan"
    folder.mkdir()
    toml = ["format = 1", 'id = "p"', 'title = "P"']
    if baseline:
        (folder / "000.sql").write_text(baseline)
        toml += ["[paths]", 'baseline = "000.sql"']
    toml += ["[[phase]]", 'id = "1"', 'title = "First"']
    for name, text in files.items():
        toml += ["[[phase.task]]", f'id = "{name}"', f'title = "{name}"', "minutes = 1"]
        if name.startswith("gate"):
            toml += ['kind = "gate"', f'question = "{text}"']
        else:
            up, _, down = text.partition("-- down")
            (folder / f"{name}.sql").write_text(up)
            toml += ['kind = "sql"', f'file = "{name}.sql"']
            if down:
                (folder / f"{name}.down.sql").write_text(down)
            else:
                toml += ['irreversible = "for the test"']
    (folder / "plan.toml").write_text("\n".join(toml) + "\n")
    return load_plan(folder)


def _only(plan: Plan, task: str) -> Statement:
    (statement,) = read_plan(plan, 18)[task].up
    return statement


def test_a_table_is_new_until_applications_may_use_it(tmp_path: Path) -> None:
    files = {
        "a": "CREATE TABLE t (id int);",
        "b": "ALTER TABLE t ADD COLUMN x int NOT NULL;",
        "gate": "Is it deployed?",
        "c": "ALTER TABLE t ADD COLUMN y int NOT NULL;",
    }
    plan = _plan(tmp_path, files)
    before, after = _only(plan, "b"), _only(plan, "c")
    assert [lock.new for lock in before.locks] == [True]
    assert before.blocks == "new table: no one waits"
    assert before.notes == ("t: made by a, not in use before gate",)
    assert [lock.new for lock in after.locks] == [False]
    assert "in use since gate" in after.notes[0]
    assert "COLUMN-NOT-NULL-NO-DEFAULT" in {hazard.code for hazard in after.hazards}
    assert not before.hazards


def test_a_later_file_knows_constraints_and_types_of_an_earlier_one(tmp_path: Path) -> None:
    files = {
        "a": "CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE t (p_id int CONSTRAINT t_p REFERENCES p, z varchar(9));",
        "b": "ALTER TABLE t ADD CONSTRAINT z_there CHECK (z IS NOT NULL) NOT VALID;",
        "gate": "?",
        "c": "ALTER TABLE t VALIDATE CONSTRAINT z_there;",
        "d": "ALTER TABLE t ALTER COLUMN z SET NOT NULL;",
        "e": "ALTER TABLE t DROP CONSTRAINT t_p;",
        "f": "ALTER TABLE t ALTER COLUMN z TYPE varchar(20);",
    }
    plan = _plan(tmp_path, files)
    assert _only(plan, "d").scan is False
    assert {(lock.object, lock.mode) for lock in _only(plan, "e").locks} == {
        ("p", "ACCESS EXCLUSIVE"),
        ("t", "ACCESS EXCLUSIVE"),
    }
    assert _only(plan, "f").rewrite is False


def test_the_baseline_is_there_and_in_use(tmp_path: Path) -> None:
    plan = _plan(
        tmp_path, {"a": "CREATE INDEX i ON old (id);"}, "CREATE TABLE old (id int); CREATE TABLE other (id int);"
    )
    statement = _only(plan, "a")
    assert [(lock.object, lock.new) for lock in statement.locks if not lock.new] == [("old", False)]
    assert "INDEX-NOT-CONCURRENT" in {hazard.code for hazard in statement.hazards}


def test_a_way_back_meets_tables_that_may_be_in_use(tmp_path: Path) -> None:
    files = {
        "a": "CREATE TABLE p (id int PRIMARY KEY);",
        "b": "CREATE TABLE t (p_id int REFERENCES p);-- down\nDROP TABLE t;",
    }
    (statement,) = read_plan(_plan(tmp_path, files), 18)["b"].down
    assert {(lock.object, lock.mode, lock.new) for lock in statement.locks} >= {
        ("t", "ACCESS EXCLUSIVE", False),
        ("p", "ACCESS EXCLUSIVE", False),
    }


def test_the_second_reader_is_asked_for_what_is_looked_at(tmp_path: Path) -> None:
    plan = _plan(tmp_path, {"a": "CREATE TABLE t (id int);"})
    assert read_plan(plan, 18)["a"].up[0].read_by.sqlglot == "failed"
    readers = Previews(plan).of("a").up[0].read_by
    assert (readers.postgresql, readers.sqlglot, readers.agree) == (True, "parsed", True)
