"""Directories of other tools' migrations, read as plans: order, transactions, ways back, and what is refused where."""

from __future__ import annotations

import contextlib
import json
import os
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from console.cli import main
from console.commands.previews import Previews
from console.engine.files import pieces
from console.errors import PlanError
from console.plan.formats.detect import LAYOUTS
from console.plan.formats.flyway import checksum, version_key
from console.plan.layouts import LAYOUTS as NAMES
from console.plan.load import load_plan
from console.plan.model import Plan, Task
from tests.unit.migration_files import DIRECTORIES, INDEX, POSTS, SQITCH_PLAN, USERS, put


def plan_of(tmp_path: Path, files: dict[str, str], layout: str = "") -> Plan:
    return load_plan(put(tmp_path, files), layout)


def refusal(tmp_path: Path, files: dict[str, str], layout: str = "") -> PlanError:
    with pytest.raises(PlanError) as caught:
        plan_of(tmp_path, files, layout)
    return caught.value


def place(error: PlanError) -> tuple[str, int]:
    return Path(error.file).name, error.line


def groups(task: Task) -> list[int | None]:
    assert task.file is not None
    return [piece.group for piece in pieces(task.file)]


def test_the_names_on_the_command_line_are_the_layouts() -> None:
    assert tuple(LAYOUTS) == NAMES


@pytest.mark.parametrize("layout", NAMES)
def test_each_layout_is_found_out_and_read(tmp_path: Path, layout: str) -> None:
    plan = plan_of(tmp_path, DIRECTORIES[layout])
    assert plan.layout == layout
    assert [task.title.split()[0].lower() for task in plan.tasks][:2] in (["users", "posts"], ["makes", "makes"])
    assert len(plan.tasks) == 3, "in the order of their versions, 10 after 2 and 1.10 after 1.9"
    assert all(task.down is not None and not task.irreversible for task in plan.tasks)
    assert plan.tasks[2].file is not None
    assert [piece.transactional for piece in pieces(plan.tasks[2].file)] == [False]
    first = groups(plan.tasks[0])
    assert first == ([None, None] if layout == "plain" else [1, 1]), "one transaction, but for plain files"
    assert {file.path for file in plan.files} == set(DIRECTORIES[layout]), "every file is covered by the digest"
    assert load_plan(tmp_path / "migrations", layout).sha256 == plan.sha256
    assert all(preview.up and preview.down for preview in Previews(plan).all().values())


@pytest.mark.parametrize("layout", NAMES)
def test_every_file_counts_for_the_digest(tmp_path: Path, layout: str) -> None:
    root = put(tmp_path, DIRECTORIES[layout])
    before = load_plan(root).sha256
    for name in DIRECTORIES[layout]:
        text = (root / name).read_text()
        (root / name).write_text(text + ("\n" if name.endswith((".plan", ".conf", ".toml")) else "-- more\n"))
        assert load_plan(root).sha256 != before, name
        (root / name).write_text(text)
    assert load_plan(root).sha256 == before


@pytest.mark.parametrize("layout", ["flyway", "golang-migrate", "dbmate", "goose", "diesel", "prisma"])
def test_a_concurrent_build_among_others_is_refused_with_its_line(tmp_path: Path, layout: str) -> None:
    files = {n: t for n, t in DIRECTORIES[layout].items() if "index" not in n}
    name = next(n for n in files if "posts" in n and not n.startswith("U") and "down" not in n)
    files[name] = files[name].replace("CREATE TABLE posts", f"{INDEX}CREATE TABLE posts")
    plan = plan_of(tmp_path, files)
    assert plan.tasks[1].file is not None
    with pytest.raises(PlanError, match=r"CREATE INDEX cannot run in a transaction block.*file of its own") as caught:
        pieces(plan.tasks[1].file)
    assert caught.value.line == files[name].splitlines().index(INDEX.strip()) + 1
    found = Previews(plan).of(plan.tasks[1].id).up[0].hazards
    assert "NOT-IN-TRANSACTION" in {hazard.code for hazard in found}


def test_lines_and_bytes_are_those_of_the_file(tmp_path: Path) -> None:
    text = "-- ü\r\n-- +goose Up\r\nSELECT 'é\r\n';\r\n\r\n-- +goose Down\r\n\r\nSELECT   2 ;\r\n"
    (task,) = plan_of(tmp_path, {"1_x.sql": text}).tasks
    assert task.file is not None
    assert task.down is not None
    assert [(p.sql, p.line) for p in pieces(task.file)] == [("SELECT 'é\r\n'", 3)]
    assert [(p.sql, p.line) for p in pieces(task.down)] == [("SELECT   2", 8)]
    assert task.down.shown == "1_x.sql (goose Down)"


def test_a_file_in_one_block_of_its_own_is_that_transaction(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, {"1_a.up.sql": f"BEGIN;\n{USERS}COMMIT;\n"})
    assert groups(plan.tasks[0]) == [1, 1]


def test_a_commit_in_the_middle_is_refused(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, {"1_a.up.sql": f"BEGIN;\n{USERS}COMMIT;\nSELECT 1;\n"})
    assert plan.tasks[0].file is not None
    with pytest.raises(PlanError, match="its own COMMIT ends the one transaction") as caught:
        pieces(plan.tasks[0].file)
    assert caught.value.line == 5


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"1_a.up.sql": "SELECT 1;"}, "1_a.down.sql does not exist"),
        ({"1_a.up.sql": "SELECT 1;", "1_a.down.sql": "-- later\n"}, "1_a.down.sql holds no statement"),
        ({"1_a.sql": "-- +goose Up\nSELECT 1;\n-- +goose Down\n"}, r"1_a.sql \(goose Down\) holds no statement"),
        ({"1_a.sql": "-- migrate:up\nSELECT 1;\n"}, "there is no '-- migrate:down'"),
        ({"V1__a.sql": "SELECT 1;"}, "U1__a.sql does not exist"),
        ({"R__a.sql": "SELECT 1;"}, "a repeatable migration replaces what was there"),
        ({"1_a/migration.sql": "SELECT 1;"}, "Prisma writes none, and 1_a/down.sql does not exist"),
        ({"1_a/up.sql": "SELECT 1;"}, "1_a/down.sql does not exist"),
        ({"001.sql": "SELECT 1;"}, "001.down.sql does not exist"),
    ],
)
def test_a_way_back_that_was_not_written_is_never_invented(tmp_path: Path, files: dict[str, str], why: str) -> None:
    (task,) = plan_of(tmp_path, files).tasks
    assert task.down is None
    assert re.fullmatch(rf"no way back is written \({why}\)", task.irreversible)


@pytest.mark.parametrize(
    ("files", "where", "says"),
    [
        ({"1_a.sql": "-- migrate:up\n", "01_b.up.sql": ""}, ("", 0), "1_a.sql is dbmate's"),
        ({"1_a.up.sql": "", "01_b.up.sql": ""}, ("1_a.up.sql", 0), "01_b.up.sql has the same version 1"),
        ({"V1__a.sql": "", "V1.0__b.sql": ""}, ("V1__a.sql", 0), "V1.0__b.sql is the same migration already"),
        ({"x/V1__a.sql": "", "y/V1__a.sql": ""}, ("V1__a.sql", 0), "x/V1__a.sql is the same migration"),
        ({"1_a.sql": "-- +goose Up\n", "01_b.sql": "-- +goose Up\n"}, ("1_a.sql", 0), "the same version 1"),
        ({"1_a.sql": "-- +goose Up\n", "2_b.go": "package x"}, ("2_b.go", 0), "written in Go"),
        ({"1_a.sql": "-- +goose Up\n-- +goose Bogus\n"}, ("1_a.sql", 2), "knows no '+goose Bogus'"),
        ({"1_a.sql": "-- +goose Down\nSELECT 1;\n-- +goose Up\n"}, ("1_a.sql", 3), "one '-- +goose Up'"),
        ({"1_a.sql": "SELECT 1;\n-- +goose Up\n"}, ("1_a.sql", 1), "stands above '-- +goose Up'"),
        ({"1_a.sql": "-- migrate:down\n-- migrate:up\n"}, ("1_a.sql", 2), "one '-- migrate:up'"),
        ({"1_a.sql": "SELECT 1;\n-- migrate:up\n"}, ("1_a.sql", 1), "stands above '-- migrate:up'"),
        ({"1_a.sql": "-- migrate:up transaction:no\n"}, ("1_a.sql", 1), "transaction is 'no'"),
        ({"V1__a.sql": "", "V1__a.sql.conf": "#\nexecuteInTransaction=no"}, ("V1__a.sql.conf", 2), "is 'no'"),
        ({"1_a/up.sql": "", "1_a/metadata.toml": "x = 1\nrun_in = \n"}, ("metadata.toml", 2), "not valid TOML"),
        ({"1_a/up.sql": "", "1_a/metadata.toml": "run_in_transaction = 1"}, ("metadata.toml", 1), "is 1"),
        ({"1/migration.sql": "", "migration_lock.toml": '#\nprovider = "mysql"'}, ("migration_lock.toml", 2), "for mysql"),
        ({"001_a.sql": "", "001_b.sql": ""}, ("001_b.sql", 0), "001_a.sql has the same version 001"),
        ({"readme.md": ""}, ("plan.toml", 0), "no migrations in a layout known here"),
        ({"db/migrations/1_a.up.sql": ""}, ("plan.toml", 0), "Did you mean"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_place(
    tmp_path: Path, files: dict[str, str], where: tuple[str, int], says: str
) -> None:
    error = refusal(tmp_path, files)
    assert says in str(error)
    assert place(error) == where
    assert error.do


def test_a_link_out_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.sql").write_text("SELECT 1;")
    root = put(tmp_path, {"1_a.up.sql": "SELECT 1;"})
    os.symlink(tmp_path / "secret.sql", root / "2_b.up.sql")
    with pytest.raises(PlanError, match="link that leaves the directory"):
        load_plan(root)


def test_flyway_placeholders_do_not_run(tmp_path: Path) -> None:
    files = {
        "V1__a.sql": "-- ${in_a_comment}\nSELECT '${env}';",
        "V2__b.sql": "SELECT '${env}';",
        "V2__b.sql.conf": "placeholderReplacement=false\n",
    }
    first, second = plan_of(tmp_path, files).tasks
    assert first.file is not None
    assert second.file is not None
    with pytest.raises(PlanError, match=r"Flyway would replace \$\{env\}") as caught:
        pieces(first.file)
    assert caught.value.line == 2
    assert "DOES NOT RUN: V1__a.sql:2" in Previews(plan_of(tmp_path, files)).of("V1").text
    assert len(pieces(second.file)) == 1


def test_goose_variables_do_not_run(tmp_path: Path) -> None:
    text = "-- +goose Up\n-- +goose ENVSUB ON\nSELECT '${REGION}';\n-- +goose ENVSUB OFF\nSELECT '$x';\n"
    (task,) = plan_of(tmp_path, {"1_a.sql": text}).tasks
    assert task.file is not None
    with pytest.raises(PlanError, match=r"goose would replace \$\{REGION") as caught:
        pieces(task.file)
    assert caught.value.line == 3


def test_flyway_transactions_are_the_scripts(tmp_path: Path) -> None:
    files = {
        "V1__a.sql": "SELECT 1;\nSELECT 2;\n",
        "V1__a.sql.conf": "executeInTransaction=false\n",
        "V2__b.sql": INDEX * 2,
    }
    first, second = plan_of(tmp_path, files).tasks
    assert groups(first) == [None, None]
    assert groups(second) == [None, None], "where none can run in a transaction, none is asked for"


def test_what_is_no_part_of_the_plan_is_said(tmp_path: Path) -> None:
    plan = plan_of(
        tmp_path, {"V1__a.sql": "", "B5__all.sql": "", "U9__x.sql": "", "afterMigrate.sql": "", "sub/V2__b.sql": ""}
    )
    assert [task.id for task in plan.tasks] == ["V1", "V2"]
    said = " ".join(plan.notes)
    assert all(name in said for name in ("B5__all.sql", "U9__x.sql", "afterMigrate.sql"))
    assert plan.docs[0].title == "How these migrations are read"


def test_the_checksum_is_flyways() -> None:
    # CRC-32 of "123456789" is the well-known check value 0xCBF43926; line ends do not count.
    assert checksum("1234\r\n56\n789\n") == str(0xCBF43926 - (1 << 32))
    assert checksum("") == "0"


@given(st.lists(st.integers(0, 30), min_size=1, max_size=4), st.lists(st.integers(0, 30), min_size=1, max_size=4))
def test_flyway_versions_compare_as_numbers(left: list[int], right: list[int]) -> None:
    width = max(len(left), len(right))
    padded = [side + [0] * (width - len(side)) for side in (left, right)]
    keys = [version_key(".".join(map(str, left))), version_key("_".join(map(str, right)))]
    assert (keys[0] < keys[1], keys[0] == keys[1]) == (padded[0] < padded[1], padded[0] == padded[1])


def test_sqitch_depends_checks_and_reworked_changes(tmp_path: Path) -> None:
    files = dict(DIRECTORIES["sqitch"])
    files["sqitch.plan"] = SQITCH_PLAN + (
        "@v1.1 2026-01-04T10:00:00Z Ann <ann@example.org>\n"
        "users [users@v1.1 other:thing] 2026-01-05T10:00:00Z Ann <ann@example.org> # Again.\n"
    )
    files["deploy/users@v1.1.sql"], files["revert/users@v1.1.sql"] = (
        files["deploy/users.sql"],
        files["revert/users.sql"],
    )
    plan = plan_of(tmp_path, files)
    assert [(t.id, t.file.path if t.file else "", t.depends) for t in plan.tasks] == [
        ("users", "deploy/users@v1.1.sql", ()),
        ("posts", "deploy/posts.sql", ("users",)),
        ("author-index", "deploy/author-index.sql", ("posts", "users")),
        ("users.2", "deploy/users.sql", ("users",)),
    ]
    assert plan.project == "blog"
    assert plan.id == "sqitch-blog"
    assert plan.task("posts").guards == ("verify.posts",)
    assert plan.check("verify.posts").script
    assert "other:thing of another project" in " ".join(plan.notes)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("what is this", "neither a change nor a tag"),
        ("posts 2026-01-05T10:00:00Z Ann <a@b.c>\nposts 2026-01-05T10:00:00Z Ann <a@b.c>", "no tag stands between"),
        ("more [missing] 2026-01-05T10:00:00Z Ann <a@b.c>", "needs missing, which does not stand before it"),
        ("more [!users] 2026-01-05T10:00:00Z Ann <a@b.c>", "conflicts with users"),
        ("more 2026-01-05T10:00:00Z Ann <a@b.c>", "has no script deploy/more.sql"),
        ("@v1.0 2026-01-05T10:00:00Z Ann <a@b.c>", "The tag @v1.0 is there already"),
    ],
)
def test_faults_of_a_sqitch_plan_name_their_line(tmp_path: Path, line: str, says: str) -> None:
    text = SQITCH_PLAN + line + "\n"
    error = refusal(tmp_path, {**DIRECTORIES["sqitch"], "sqitch.plan": text})
    assert says in str(error)
    assert place(error) == ("sqitch.plan", len(text.splitlines()))


def test_sqitch_directories_are_where_the_configuration_says(tmp_path: Path) -> None:
    files = {f"db/{name}" if "/" in name else name: text for name, text in DIRECTORIES["sqitch"].items()}
    files["db/sqitch.plan"] = files.pop("sqitch.plan")
    files["sqitch.conf"] = '[core]\n  engine = pg\n  top_dir = db\n[engine "pg"]\n  target = db:pg:x\n'
    assert len(plan_of(tmp_path, files).tasks) == 3
    files["sqitch.conf"] = "[core]\n  engine = mysql\n"
    assert place(refusal(tmp_path, files)) == ("sqitch.conf", 2)


def test_ids_can_be_named_on_a_command_line(tmp_path: Path) -> None:
    long = "x" * 80
    plan = plan_of(
        tmp_path,
        {
            "start/migration.sql": "",
            "migrations/migration.sql": "",
            f"{long}1/migration.sql": "",
            f"{long}2/migration.sql": "",
        },
    )
    ids = [task.id for task in plan.tasks]
    assert len(set(ids)) == 4
    assert all(len(id_) <= 64 for id_ in ids)
    assert not {"start", "end", plan.phases[0].id} & set(ids)


@pytest.mark.parametrize("layout", NAMES)
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(text=st.text(alphabet="-+ \n;'$\\gooseUpDnmigrat:wxBEGIN()éV_", max_size=80))
def test_no_text_makes_the_reader_fail_otherwise_than_by_an_error_of_the_plan(
    tmp_path_factory: pytest.TempPathFactory, layout: str, text: str
) -> None:
    root = tmp_path_factory.mktemp("any")
    name = next(n for n in DIRECTORIES[layout] if "users" in n and not n.startswith(("U", "revert", "verify")))
    put(root, {**DIRECTORIES[layout], name: text})
    with contextlib.suppress(PlanError):
        assert len(Previews(load_plan(root / "migrations", layout)).all()) == 3


@pytest.mark.parametrize("layout", ["dbmate", "goose"])
def test_lint_reads_the_way_forward_of_a_marked_file(
    tmp_path: Path, layout: str, capsys: pytest.CaptureFixture[str]
) -> None:
    root = put(tmp_path, DIRECTORIES[layout])
    name = next(name for name in DIRECTORIES[layout] if "posts" in name)
    assert main(["lint", "--format", "json", str(root / name)]) == 0
    (found,) = json.loads(capsys.readouterr().out)["statements"]
    assert (found["kind"], found["line"], found["file"]) == ("CREATE TABLE", 2, str(root / name))


def test_lint_reads_a_directory_of_migrations(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = put(tmp_path, {**DIRECTORIES["golang-migrate"], "11_bad.up.sql": f"SELECT 1;\n{INDEX}"})
    assert main(["lint", "--format", "json", str(root)]) == 1
    found = json.loads(capsys.readouterr().out)["statements"]
    assert [one["kind"] for one in found].count("DROP TABLE") == 0, "only the way forward"
    hazards = {hazard["code"] for one in found for hazard in one["hazards"] if "11_bad" in one["file"]}
    assert "NOT-IN-TRANSACTION" in hazards


@pytest.mark.parametrize("layout", ["flyway", "golang-migrate", "diesel", "prisma", "sqitch", "plain"])
def test_new_down_writes_the_way_back_where_its_tool_looks(tmp_path: Path, layout: str) -> None:
    files = {n: t for n, t in DIRECTORIES[layout].items() if not re.search(r"^U|down|undo|revert", n)}
    root = put(tmp_path, files)
    assert all(task.irreversible for task in load_plan(root).tasks)
    for task in load_plan(root).tasks:
        assert task.file is not None
        assert main(["new-down", str(root / task.file.path)]) == 0
    assert not any(task.irreversible for task in load_plan(root).tasks)


def test_new_down_prints_what_belongs_below_a_mark(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = put(tmp_path, {"1_x.sql": f"-- +goose Up\n{POSTS}"})
    assert main(["new-down", str(root / "1_x.sql")]) == 0
    assert "DROP TABLE posts" in capsys.readouterr().out
    assert [path.name for path in root.iterdir()] == ["1_x.sql"]


def test_five_hundred_migrations_are_one_plan(tmp_path: Path) -> None:
    files = {
        f"{n:014}_step.sql": f"-- migrate:up\nCREATE TABLE t{n} (id int);\n{INDEX.replace('CONCURRENTLY ', '')}-- migrate:down\nDROP TABLE t{n};\n"
        for n in range(500)
    }
    plan = plan_of(tmp_path, files)
    assert [task.id for task in plan.tasks] == sorted(task.id for task in plan.tasks)
    previews = Previews(plan).all()
    assert sum(len(one.up) for one in previews.values()) == 1000
    assert {statement.group for one in previews.values() for statement in one.up} == {1}
    assert (previews["00000000000499"].up[0].file, previews["00000000000499"].up[1].line) == (
        "00000000000499_step.sql",
        3,
    )
