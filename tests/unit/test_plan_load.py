"""A plan directory is read whole, and every fault of it is one sentence with file and line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from console.errors import PlanError
from console.plan.load import load_plan
from console.plan.model import Direction, Kind, Severity, TableName
from tests.unit.plan_files import CHECKS_SQL, PLAN_TOML, line_of, write_plan


def test_a_valid_plan_is_read_whole(tmp_path: Path) -> None:
    plan = load_plan(write_plan(tmp_path))
    assert [task.id for task in plan.tasks] == ["T1", "T2", "T3", "T4", "T5", "T6"]
    assert plan.root == (tmp_path / "plan").resolve()
    first = plan.task("T1")
    assert first.kind is Kind.SQL
    assert first.file is not None
    assert first.down is not None
    assert first.file.text == "CREATE TABLE exchanges ();\n"
    assert first.down.path == "002_new.down.sql"
    assert plan.task("T2").direction is Direction.FORWARD
    assert plan.task("T3").backfill.batch_rows == 100
    assert plan.task("T3").backfill.max_replica_lag_s == 2.0
    assert isinstance(plan.task("T3").backfill.max_replica_lag_s, float)
    assert plan.task("T5").irreversible == "the rows are gone"
    assert (plan.server_min, plan.server_max, plan.archive_schema) == (13, 18, "pgferry_archive")
    assert plan.docs[0].title == "The first phase"
    assert plan.baseline is not None


def test_the_mapping_has_tables_with_schemas(tmp_path: Path) -> None:
    mapping = load_plan(write_plan(tmp_path)).mapping("ticks")
    assert mapping.old == TableName("public", "ticks")
    assert mapping.new == TableName("market", "ticks_v2")
    assert mapping.lookups[0].match == (("spelling", "exchange"),)
    assert mapping.refuse[0].reason == "negative price"
    assert dict(mapping.back)["exchange"] == "ex.spelling"


def test_checks_are_read_with_their_headers(tmp_path: Path) -> None:
    plan = load_plan(write_plan(tmp_path))
    seeded, quiet, speed = plan.check("seeded"), plan.check("quiet"), plan.check("speed")
    assert (seeded.file, seeded.line, seeded.phase) == ("../checks/phase_1.sql", 3, "1")
    assert seeded.expect == "value >= 1"
    assert seeded.sql.endswith("WHERE name <> ';';")
    assert quiet.severity is Severity.WARNING
    assert quiet.line == line_of(CHECKS_SQL, "-- check: quiet")
    assert (speed.program, speed.sql, speed.line) == ("../checks/speed.py", "", 3)
    assert len(plan.checks) == 3


def test_defaults_hold_where_a_task_says_nothing(tmp_path: Path) -> None:
    toml = PLAN_TOML.replace("[paths]", '[defaults]\nlock_timeout_ms = 750\nschema = "cex"\n[paths]')
    plan = load_plan(write_plan(tmp_path, toml=toml.replace('question = "Told?"', 'question="?"\nlock_timeout_ms=90')))
    assert plan.task("T1").lock_timeout_ms == 750
    assert plan.task("T6").lock_timeout_ms == 90
    assert plan.mapping("ticks").old == TableName("cex", "ticks")
    assert plan.mapping("ticks").lookups[0].relation.schema == "cex"


def edit(old: str, new: str) -> Callable[[], str]:
    assert old in PLAN_TOML, old
    return lambda: PLAN_TOML.replace(old, new, 1)


TOML_FAULTS = [
    # (what is changed, words of the message, line that is named: its beginning, and which of them)
    pytest.param("minutes = 60", "minutes = ", "not valid TOML", ("minutes =", 3), id="syntax"),
    pytest.param('title = "Copy"', 'title = "Copy', "not valid TOML", ('title = "Copy', 1), id="open-string"),
    pytest.param("format = 1", "format = 2", "format 2, this pgferry reads format 1", ("format", 1), id="format"),
    pytest.param("batch_rows = 100", "batch_row = 100", "Did you mean batch_rows?", ("batch_row", 1), id="unknown-key"),
    pytest.param("[paths]", "[path]", "Did you mean paths?", ("[path]", 1), id="unknown-table"),
    pytest.param('gives = "exchange_id"', 'give = "x"', "Did you mean gives?", ("give", 1), id="unknown-in-lookup"),
    pytest.param('reason = "neg', 'why = "neg', "Unknown key why", ("refuse", 1), id="unknown-in-inline"),
    pytest.param("minutes = 60", 'minutes = "60"', "a whole number, it is a string", ("minutes", 3), id="type"),
    pytest.param("minutes = 60", "minutes = true", "it is true or false", ("minutes", 3), id="bool-for-number"),
    pytest.param("minutes = 60", "minutes = -1", "must be at least 0", ("minutes", 3), id="limit"),
    pytest.param("minutes = 60", "", "key minutes is missing in task T3", ("[[phase.task]]", 4), id="missing-key"),
    pytest.param(
        'depends = ["T2"]', "depends = [2]", "a list with a whole number", ("depends = [2]", 1), id="list-type"
    ),
    pytest.param(
        'depends = ["T2"]', 'depends = "T2"', "must be a list of strings", ('depends = "T2"', 1), id="no-list"
    ),
    pytest.param('title = "Copy"', 'title = " "', "title is empty", ('title = " "', 1), id="empty"),
    pytest.param('title = "Copy"', "title = 2026-11-21", "a date or time", ("title = 2026", 1), id="date"),
    pytest.param('kind = "backfill"', 'kind = "backfil"', "Did you mean backfill?", ('kind = "backfil"', 1), id="kind"),
    pytest.param('id = "T3"', 'id = "T2"', "a task T2 already", ('id = "T2"', 2), id="twice-task"),
    pytest.param('id = "T3"', 'id = "2"', "a phase 2 already", ('id = "2"', 2), id="task-like-phase"),
    pytest.param('id = "2"', 'id = "1"', "a phase 1 already", ('id = "1"', 2), id="twice-phase"),
    pytest.param('id = "T3"', 'id = "T 3"', "characters", ('id = "T 3"', 1), id="odd-id"),
    pytest.param('id = "T3"', r'id = "T\u001b"', "characters", (r'id = "T\u', 1), id="escape-in-id"),
    pytest.param('id = "T3"', 'id = "end"', "reserved", ('id = "end"', 1), id="reserved-id"),
    pytest.param('"T1",', '"T1", "T9",', "depends on T9", ('"T1", "T9"', 1), id="unknown-depends"),
    pytest.param(
        'guards = ["seeded"]', 'guards = ["seede"]', "Did you mean seeded?", ("guards", 1), id="unknown-guard"
    ),
    pytest.param('"speed"]', '"sped"]', "Did you mean speed?", ("checks = [", 1), id="unknown-check"),
    pytest.param(
        'mappings = ["ticks"]', 'mappings = ["tick"]', "Did you mean ticks?", ("mappings", 1), id="unknown-map"
    ),
    pytest.param('"T1",', '"T3",', "circle: T2 -> T3 -> T2", ('"T3",', 1), id="cycle"),
    pytest.param('"T1",', '"T2",', "circle: T2 -> T2", ('"T2",', 1), id="self"),
    pytest.param('"T1",', '"T6",', "circle: T2 -> T6 -> T4 -> T3 -> T2", ('"T6",', 1), id="long-cycle"),
    pytest.param(
        'file = "002_new.sql"',
        'file = "002_new.sql"\ndepends = ["T0"]',
        "depends on T0",
        ('depends = ["T0"]', 1),
        id="T0",
    ),
    pytest.param('depends = ["T2"]', 'depends = ["T6"]\n#', "circle", ('depends = ["T6"]', 1), id="cycle-later"),
    pytest.param('depends = ["T3"]', 'depends = ["T5"]', "circle", ('depends = ["T5"]', 1), id="cycle-purge"),
    pytest.param(
        'depends = ["T4"]\nquestion',
        'depends = ["T5"]\nquestion',
        "depends on the purge T5",
        ('depends = ["T5"]', 1),
        id="p",
    ),
    pytest.param('"T1",', "", "", None, id="no-fault-empty-list"),
    pytest.param('"002_new.sql"', '"003.sql"', "The file 003.sql does not exist", ('file = "003', 1), id="no-file"),
    pytest.param('"002_new.sql"', '"../x.sql"', "leaves the plan directory", ('file = "../x', 1), id="leaves"),
    pytest.param('"002_new.sql"', '"/etc/x.sql"', "leaves the plan directory", ("file =", 1), id="absolute"),
    pytest.param('"002_new.sql"', '"002_new.down.sql"', "no name for the SQL", ("file =", 1), id="down-as-file"),
    pytest.param('"../checks"', '"../../checks"', "leaves the plan directory", ("checks =", 1), id="checks-too-far"),
    pytest.param('"../checks"', '"../nothing"', "../nothing does not exist", ("checks =", 1), id="no-checks-dir"),
    pytest.param('"001_baseline.sql"', '"0.sql"', "0.sql does not exist", ("baseline", 1), id="no-baseline"),
    pytest.param('doc = "first"', 'doc = "firts"', "Did you mean first?", ("doc =", 1), id="no-doc"),
    pytest.param(
        'guards = ["seeded"]',
        'irreversible = "why"',
        "its way back 002_new.down.sql exists",
        ("irreversible", 1),
        id="both",
    ),
    pytest.param(
        "batch_rows = 100", 'direction = "reverse"', "which has no direction", ("direction", 1), id="wrong-kind"
    ),
    pytest.param("batch_rows = 100", 'file = "002_new.sql"', "which has no file", ("file", 2), id="file-wrong-kind"),
    pytest.param("batch_rows = 100", "mappings_x = 1", "Did you mean mappings?", ("mappings_x", 1), id="near-kind-key"),
    pytest.param('question = "Told?"', "", "needs question", ("[[phase.task]]", 7), id="gate-without-question"),
    pytest.param('irreversible = "the rows are gone"', "", "needs irreversible", ("[[phase.task]]", 6), id="purge"),
    pytest.param('checks = ["seeded", "speed"]', "", "checks nothing", ("[[phase.task]]", 5), id="empty-check"),
    pytest.param(
        'checks = ["seeded", "speed"]',
        'mappings = ["ticks"]\nirreversible = "x"',
        "changes nothing",
        ('irreversible = "x"', 1),
        id="irreversible-check",
    ),
    pytest.param(
        'mappings = ["ticks"]\nbatch',
        'mappings = ["ticks", "b"]\nbatch',
        "exactly one",
        ('mappings = ["ticks", ', 1),
        id="two",
    ),
    pytest.param('new_key = ["at", ', 'new_key = ["at", "x", ', "new_key names x", ("new_key", 1), id="new-key"),
    pytest.param(
        'old_key = ["at", ', 'old_key = ["at", "prise", ', "old_key names prise", ("old_key", 1), id="old-key"
    ),
    pytest.param('old_key = ["at", ', 'old_key = ["at", "at", ', "names at twice", ("old_key", 1), id="key-twice"),
    pytest.param('new = "market.ticks_v2"', 'new = "ticks"', "to itself", ("new =", 1), id="same-table"),
    pytest.param('new = "market.ticks_v2"', 'new = "a.b.c"', "names no table", ("new =", 1), id="bad-table"),
    pytest.param('name = "ex"', 'name = "sym"', "reads ex.exchange_id", ("exchange_id", 1), id="lookup-renamed"),
    pytest.param('name = "ex"', 'name = "o"', "cannot name a lookup", ('name = "o"', 1), id="lookup-o"),
    pytest.param(
        'name = "ex"',
        'name = "ex"\nmissing = "create"\ncreate = "o.exchange"',
        "makes no row: it calls nothing",
        ("create =", 1),
        id="lookup-create",
    ),
    pytest.param('price = "o.price"', 'price = "n.price"', "reads n.price", ("price =", 1), id="wrong-row"),
    pytest.param('price = "n.price"', 'price = "o.price"', "reads o.price", ("price =", 2), id="wrong-row-back"),
    pytest.param('= "exchange" }', '= "venue" }', "depends on venue", ("exchange_id", 1), id="key-source"),
    pytest.param("[paths]", "[server]\nmin = 17\nmax = 14\n[paths]", "above the newest", ("[server]", 1), id="servers"),
]


@pytest.mark.parametrize(("old", "new", "words", "where"), TOML_FAULTS)
def test_a_fault_in_plan_toml_names_its_line(
    tmp_path: Path, old: str, new: str, words: str, where: tuple[str, int] | None
) -> None:
    toml = edit(old, new)()
    directory = write_plan(tmp_path, toml=toml)
    if where is None:
        load_plan(directory)
        return
    with pytest.raises(PlanError) as caught:
        load_plan(directory)
    assert words in str(caught.value)
    assert caught.value.file == str(directory / "plan.toml")
    assert caught.value.line == line_of(toml, *where)
    assert str(caught.value).startswith(f"{caught.value.file}:{caught.value.line}: ")
    assert "\x1b" not in str(caught.value)


def test_an_unused_lookup_is_a_fault(tmp_path: Path) -> None:
    extra = '[[mapping.lookup]]\nname = "spare"\nrelation = "r"\nmatch = { a = "at" }\ngives = "g"\ncanonical = "c"\n\n'
    toml = PLAN_TOML.replace("[[phase]]", extra + "[[phase]]", 1)
    with pytest.raises(PlanError, match="no expression uses the lookup spare") as caught:
        load_plan(write_plan(tmp_path, toml=toml))
    assert caught.value.line == line_of(toml, 'name = "spare"')


def test_two_mappings_with_one_id(tmp_path: Path) -> None:
    start = PLAN_TOML.index("[[mapping]]")
    block = PLAN_TOML[start : PLAN_TOML.index("[[phase]]")]
    toml = PLAN_TOML.replace(block, block + block)
    with pytest.raises(PlanError, match="a mapping ticks already") as caught:
        load_plan(write_plan(tmp_path, toml=toml))
    assert caught.value.line == line_of(toml, 'id = "ticks"', 2)


def test_a_dependency_on_a_later_task(tmp_path: Path) -> None:
    toml = PLAN_TOML.replace('"T1",', "").replace('file = "002_new.sql"', 'file = "002_new.sql"\ndepends = ["T2"]')
    with pytest.raises(PlanError, match="T2, which stands later") as caught:
        load_plan(write_plan(tmp_path, toml=toml))
    assert caught.value.line == line_of(toml, 'depends = ["T2"]')


def test_a_missing_way_back(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"no way back: 002_new\.down\.sql does not exist") as caught:
        load_plan(write_plan(tmp_path, **{"002_new.down.sql": None}))
    assert caught.value.line == line_of(PLAN_TOML, "file =")


def test_irreversible_leaves_the_way_back_empty(tmp_path: Path) -> None:
    toml = PLAN_TOML.replace('guards = ["seeded"]', 'irreversible = "it is an export"')
    task = load_plan(write_plan(tmp_path, toml=toml, **{"002_new.down.sql": None})).task("T1")
    assert task.down is None
    assert task.irreversible == "it is an export"


def test_a_switch_with_both_ways(tmp_path: Path) -> None:
    switch = 'kind = "switch"\nmappings = ["ticks"]\nleads = "new"\nleads_back = "old"\nirreversible = "x"'
    toml = PLAN_TOML.replace('kind = "gate"', switch).replace('question = "Told?"', "")
    with pytest.raises(PlanError, match="both irreversible and leads_back") as caught:
        load_plan(write_plan(tmp_path, toml=toml))
    assert caught.value.line == line_of(toml, 'irreversible = "x"')


def test_a_link_out_of_the_plan_directory_leaves_it(tmp_path: Path) -> None:
    outside = tmp_path / "outside.sql"
    outside.write_text("SELECT 1;\n")
    directory = write_plan(tmp_path, **{"002_new.sql": None})
    (directory / "002_new.sql").symlink_to(outside)
    with pytest.raises(PlanError, match="leaves the plan directory"):
        load_plan(directory)


def test_a_missing_directory_and_a_missing_plan_toml(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="does not exist"):
        load_plan(tmp_path / "nowhere")
    with pytest.raises(PlanError, match=r"There is no plan\.toml") as caught:
        load_plan(tmp_path)
    assert caught.value.file == str(tmp_path / "plan.toml")
    with pytest.raises(PlanError, match="is not a directory"):
        load_plan(write_plan(tmp_path) / "plan.toml")


def test_text_a_server_cannot_take(tmp_path: Path) -> None:
    directory = write_plan(tmp_path)
    for data, words, line in (
        (b"SELECT 1;\n-- \xff\n", "not UTF-8", 2),
        (b"\xef\xbb\xbfSELECT 1;\n", "byte order mark", 1),
        (b"SELECT 1;\n\n\x00", "NUL", 3),
    ):
        (directory / "002_new.sql").write_bytes(data)
        with pytest.raises(PlanError, match=words) as caught:
            load_plan(directory)
        assert (caught.value.file, caught.value.line) == (str(directory / "002_new.sql"), line)


def test_the_traffic_module_must_exist(tmp_path: Path) -> None:
    demo = '[demo]\ngenerate = "001_baseline.sql"\ntraffic = "lib.{}"\n[paths]'
    plan = load_plan(write_plan(tmp_path / "a", toml=PLAN_TOML.replace("[paths]", demo.format("helper"))))
    assert plan.demo is not None
    assert plan.demo.traffic == "lib.helper"
    toml = PLAN_TOML.replace("[paths]", demo.format("absent"))
    with pytest.raises(PlanError, match=r"module lib\.absent does not exist") as caught:
        load_plan(write_plan(tmp_path / "b", toml=toml))
    assert caught.value.line == line_of(toml, "traffic")


SQL_FAULTS = [
    pytest.param("-- expect: value >= 1", "-- expect: some", "expect cannot be 'some'", 6, id="expect"),
    pytest.param("-- expect: value >= 1", "-- expect: value >= ten", "'ten' is no number", 6, id="expect-number"),
    pytest.param("-- expect: value >= 1\n", "", "expects nothing", 3, id="no-expect"),
    pytest.param("-- title: There", "-- titel: There", "Did you mean title?", 4, id="unknown-key"),
    pytest.param("-- title: There are exchanges\n", "", "has no title", 3, id="no-title"),
    pytest.param("-- title: There are exchanges", "-- title:", "title is empty", 4, id="empty-title"),
    pytest.param("-- phase: 1", "-- check: again", "has no query", 3, id="no-query"),
    pytest.param("-- phase: 1", "-- title: again", "names title twice", 5, id="twice"),
    pytest.param("-- phase: 1", "-- phase: 9", "names the phase 9", 3, id="unknown-phase"),
    pytest.param("-- phase: 1", "-- severity: fatal", "severity cannot be 'fatal'", 5, id="severity"),
    pytest.param("check: quiet", "check: seeded", "a check seeded already", 11, id="duplicate"),
    pytest.param("check: quiet", "check: qui et", "characters", 11, id="odd-id"),
    pytest.param("name <> ';';", "name <> ';'; SELECT 2;", "several statements", 3, id="several"),
    pytest.param("SELECT 1 WHERE false", "DELETE FROM ticks", "is no query", 11, id="no-select"),
    pytest.param("SELECT 1 WHERE false", "-- nothing", "has no query", 11, id="only-comment"),
    pytest.param("-- Checks of the first phase.", "SELECT 1;", "under no header", 1, id="no-header"),
]


@pytest.mark.parametrize(("old", "new", "words", "line"), SQL_FAULTS)
def test_a_fault_in_a_check_names_its_line(tmp_path: Path, old: str, new: str, words: str, line: int) -> None:
    assert old in CHECKS_SQL
    directory = write_plan(tmp_path, **{"../checks/phase_1.sql": CHECKS_SQL.replace(old, new, 1)})
    with pytest.raises(PlanError) as caught:
        load_plan(directory)
    assert words in str(caught.value)
    assert (caught.value.file, caught.value.line) == (str(directory / "../checks/phase_1.sql"), line)


@pytest.mark.parametrize(
    ("text", "words", "line"),
    [
        ('"""check: speed\ntitle: x\nexpect: true\n"""\n', "A program says itself", 3),
        ('"""check: speed\nphase: 2\n"""\n', "has no title", 1),
        ("x = 1\ndef f(:\n", "not valid Python", 2),
    ],
)
def test_a_fault_in_a_program_names_its_line(tmp_path: Path, text: str, words: str, line: int) -> None:
    directory = write_plan(tmp_path, **{"../checks/speed.py": text})
    with pytest.raises(PlanError) as caught:
        load_plan(directory)
    assert words in str(caught.value)
    assert (caught.value.file, caught.value.line) == (str(directory / "../checks/speed.py"), line)


def test_an_empty_check_file_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="no check in this file"):
        load_plan(write_plan(tmp_path, **{"../checks/empty.sql": "-- nothing yet\n"}))
