"""The command line without a database: words that are off, plans that are off, SQL files; one clear sentence each."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from console import __version__, cli
from console.plan.find import shipped_plan
from tests.engine.tiny import PLAN_TOML, ferry, tiny_plan


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the user's own settings counts, and nothing is written to the user's home."""
    for name in [name for name in os.environ if name.startswith(("PG", "XDG_")) and name != "PGFERRY_TEST_MAJOR"]:
        monkeypatch.delenv(name)
    for name in ("HOME", "XDG_STATE_HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the command, run in this process."""
    try:
        code = cli.main(list(words))
    except SystemExit as leaving:
        code = int(leaving.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


def one_sentence(err: str) -> str:
    """What the command said on stderr, seen to be one line of its own and no traceback."""
    lines = err.splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith("pgferry: ")
    assert "Traceback" not in err
    assert lines[0].endswith((".", "?"))
    return lines[0]


def test_version_and_help_as_a_user_types_them() -> None:
    assert ferry("--version") == (0, f"pgferry {__version__}\n", "")
    code, out, err = ferry("--help")
    assert (code, err) == (0, "")
    for word in ("demo", "run", "attach", "apply", "status", "pause", "resume", "rollback", "check", "plan", "lint"):
        assert f"\n    {word} " in out
    assert "130 interrupted" in out


def test_no_words_at_all_say_how_to_begin(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", "/nowhere")
    code, out, _ = said(capsys)
    assert code == 0
    assert out.startswith("pgferry carries")
    assert "pgferry --help lists every command" in out


@pytest.mark.parametrize(
    "words",
    [
        ["sail"],
        ["status", "--format", "xml"],
        ["plan", "--format", "yaml"],
        ["rollback"],
        ["lint"],
        ["lint", "--pg", "12", "x.sql"],
        ["lint", "--pg", "new", "x.sql"],
        ["demo", "--rows", "0"],
        ["demo", "--rows", "-5"],
        ["demo", "--traffic", "nan"],
        ["demo", "--traffic", "-1"],
        ["attach", "first"],
        ["apply", "--untill", "A1", "--nonsense"],
    ],
)
def test_words_that_are_off_are_usage(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    code, out, err = said(capsys, *words)
    assert (code, out) == (2, "")
    assert "usage: pgferry" in err
    assert "error: " in err


@pytest.mark.parametrize(
    "command", [["apply"], ["pause"], ["resume"], ["rollback", "--to", "start"], ["plan"], ["check"]]
)
def test_a_command_that_needs_a_plan_asks_for_it(capsys: pytest.CaptureFixture[str], command: list[str]) -> None:
    code, out, err = said(capsys, *command)
    assert (code, out) == (2, "")
    assert one_sentence(err) == "pgferry: Which plan? Name its directory with --plan DIR."


FAULTS: dict[str, tuple[str, str, str]] = {
    "not TOML": ('title = "A tiny plan"', 'title = "A tiny plan', r":3: This is not valid TOML"),
    "unknown key": ("minutes = 1", "minuts = 1\nminutes = 1", "Did you mean minutes?"),
    "cycle": ('id = "A1"', 'id = "A1"\ndepends = ["A2"]', "A2"),
    "double id": ('id = "A2"', 'id = "A1"', "A1"),
    "no such kind": ('kind = "check"', 'kind = "chek"', "Did you mean check?"),
    "no such check": ('checks = ["filled"]', 'checks = ["fild"]', "Did you mean filled?"),
    "no such file": ("003_fill.sql", "003_fil.sql", "003_fil.sql does not exist"),
    "format of the future": ("format = 1", "format = 2", "format"),
}


@pytest.mark.parametrize("fault", list(FAULTS))
@pytest.mark.parametrize("command", ["plan", "apply"])
def test_a_faulty_plan_is_told_with_file_and_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, fault: str, command: str
) -> None:
    good, bad, words = FAULTS[fault]
    assert good in PLAN_TOML
    root = tiny_plan(tmp_path, toml=PLAN_TOML.replace(good, bad, 1))
    code, out, err = said(capsys, command, "--plan", str(root))  # apply: before any connection is tried
    assert (code, out) == (4, "")
    sentence = one_sentence(err)
    assert words in sentence
    assert f"{root}/plan.toml:" in sentence
    assert sentence.removeprefix(f"pgferry: {root}/plan.toml:").split(":")[0].isdigit()


def test_a_missing_way_back_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, _, err = said(capsys, "plan", "--plan", str(tiny_plan(tmp_path, fill_down=None)))
    assert code == 4
    assert "003_fill.down.sql" in one_sentence(err)


@pytest.mark.parametrize("make", ["missing", "a file", "empty"])
def test_a_plan_directory_that_is_none(capsys: pytest.CaptureFixture[str], tmp_path: Path, make: str) -> None:
    place = tmp_path / "here"
    if make == "a file":
        place.write_text("")
    elif make == "empty":
        place.mkdir()
    code, _, err = said(capsys, "apply", "--plan", str(place))
    assert code == 4
    assert str(place) in one_sentence(err)


def test_control_sequences_in_a_plan_do_not_reach_the_terminal(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    evil = tiny_plan(tmp_path, toml=PLAN_TOML.replace('"Make things"', '"\\u001b[2Jgone \\u202e"'))
    code, out, _ = said(capsys, "plan", "--plan", str(evil))
    assert code == 0
    assert "\x1b" not in out
    assert "\u202e" not in out
    named = tmp_path / "\x1b[2Jevil"
    code, _, err = said(capsys, "plan", "--plan", str(named))
    assert code == 4
    assert "\x1b" not in err


@pytest.mark.parametrize("target", ["A9", "4", "start"])
def test_unknown_goals_are_usage_before_any_connection(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, target: str
) -> None:
    root = str(tiny_plan(tmp_path))
    code, _, err = said(capsys, "apply", "--plan", root, "--until", target)
    assert code == 2
    assert f"has no task or phase {target}. Nothing was changed." in one_sentence(err)
    code, _, err = said(capsys, "rollback", "--plan", root, "--to", "A9")
    assert code == 2
    assert "Known are: A1, A2, B1, 1, 2, start." in one_sentence(err)


def test_the_shipped_plan_is_printed_whole(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["plan", "--plan", str(shipped_plan()), "--format"]
    code, out, err = said(capsys, *words, "json")
    assert (code, err) == (0, "")
    data = json.loads(out)
    code, text, _ = said(capsys, *words, "text")
    assert data["sha256"] in text
    for phase in data["phases"]:
        for task in phase["tasks"]:
            assert f"  {task['id']}  " in text


def test_a_plan_as_markdown(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, _ = said(capsys, "plan", "--plan", str(tiny_plan(tmp_path)), "--format", "markdown")
    assert code == 0
    assert out.startswith("# A tiny plan\n")
    assert "```sql\nCREATE TABLE things" in out


def test_a_terminal_that_lacks_a_character_stops_nothing(tmp_path: Path) -> None:
    root = tiny_plan(tmp_path, toml=PLAN_TOML.replace("Make things", "Größe Ψ"))
    code, out, err = ferry("plan", "--plan", str(root), PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert (code, err) == (0, "")
    assert "Gr??e ?" in out


RISKY = "CREATE TABLE fresh (i int);\n\nALTER TABLE orders ADD COLUMN mark int DEFAULT random();\n"
KEYS = {"file", "line", "sql", "kind", "transactional", "rewrite", "scan", "locks", "hazards", "read_by"}


def test_lint_prints_the_documented_json(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "risky.sql"
    path.write_text(RISKY)
    code, out, err = said(capsys, "lint", "--format", "json", str(path))
    assert (code, err) == (1, "")
    first, second = json.loads(out)["statements"]
    assert set(first) == set(second) == KEYS
    assert (second["file"], second["line"], second["kind"]) == (str(path), 3, "ALTER TABLE")
    assert second["sql"].startswith("ALTER TABLE orders")
    assert second["rewrite"] is True
    assert second["transactional"] is True
    assert {"object": "orders", "mode": "ACCESS EXCLUSIVE", "basis": "grammar"} in second["locks"]
    assert set(second["hazards"][0]) == {"code", "message", "safer"}
    assert second["hazards"][0]["code"] == "VOLATILE-DEFAULT-REWRITE"
    assert set(second["read_by"]) == {"postgresql", "sqlglot"}
    assert first["hazards"] == []


def test_lint_as_text_says_the_safe_form(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "risky.sql"
    path.write_text(RISKY)
    code, out, _ = said(capsys, "lint", str(path))
    assert code == 1
    assert f"{path}:3: ALTER TABLE: ACCESS EXCLUSIVE on orders (grammar)" in out
    assert "safer: " in out
    path.write_text("CREATE TABLE fresh (i int);\n")
    assert said(capsys, "lint", str(path))[0] == 0


def test_lint_of_hostile_and_broken_sql(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "evil.sql"
    path.write_text('CREATE TABLE "a\x1b[2J\x1b]0;t\x07" (i int);\nSELCT \x1b[31m1;\n')
    code, out, _ = said(capsys, "lint", str(path))
    assert code == 1, "what is not understood is never called safe"
    assert "\x1b" not in out
    assert "\x07" not in out
    statement = json.loads(said(capsys, "lint", "--format", "json", str(path))[1])["statements"][1]
    assert statement["rewrite"] == "unknown"
    assert statement["read_by"]["postgresql"] is False


def test_files_that_cannot_be_read(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, _, err = said(capsys, "lint", str(tmp_path / "absent.sql"))
    assert code == 2
    assert "absent.sql cannot be read: No such file" in one_sentence(err)
    code, _, err = said(capsys, "lint", str(tmp_path))
    assert code == 4
    assert "no migrations in a layout known here" in one_sentence(err)
    latin = tmp_path / "latin.sql"
    latin.write_bytes(b"SELECT '\xe4';\n")
    code, _, err = said(capsys, "lint", str(latin))
    assert code == 4
    assert "UTF-8" in one_sentence(err)


def test_new_down_writes_a_way_back_once(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "004_more.sql"
    path.write_text("CREATE TABLE a (i int);\nCREATE INDEX a_i ON a (i);\nDELETE FROM b;\n")
    code, out, err = said(capsys, "new-down", str(path))
    goal = tmp_path / "004_more.down.sql"
    assert (code, out, err) == (0, f"{goal}\n", "")
    lines = goal.read_text().splitlines()
    assert lines[0] == "-- Derived from 004_more.sql: read it before you trust it."
    assert lines[1].startswith("-- line 3: no way back could be derived for DELETE")
    assert lines[2].startswith("DROP INDEX")
    assert lines[3].startswith("DROP TABLE")
    before = goal.read_bytes()
    code, _, err = said(capsys, "new-down", str(path))
    assert code == 2
    assert "exists already. Nothing was written." in one_sentence(err)
    assert goal.read_bytes() == before


def test_new_down_of_broken_sql_writes_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "x.sql"
    path.write_text("SELCT 1;\n")
    code, _, err = said(capsys, "new-down", str(path))
    assert code == 4
    assert f"{path}:1: " in one_sentence(err)
    assert list(tmp_path.glob("*.down.sql")) == []


def test_an_unwritable_folder_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    blocked = tmp_path / "x.sql"
    blocked.write_text("CREATE TABLE a (i int);\n")
    (tmp_path / "x.down.sql").symlink_to(tmp_path / "absent" / "y")
    code, _, err = said(capsys, "new-down", str(blocked))
    assert code == 2
    assert "cannot be written" in one_sentence(err)


@pytest.mark.parametrize(
    "dsn",
    [
        "host=nowhere.invalid password=very s3cr3t",
        "postgresql://u:very@s3cr3t@localhost/db",
        "postgresql://u:very/s3cr3t@localhost/db",
        "postgresql://u:very?s3cr3t@localhost/db",
        "s3cr3t",
        "password='s3cr3t",
    ],
)
def test_no_part_of_a_password_is_in_an_error(capsys: pytest.CaptureFixture[str], dsn: str) -> None:
    code, out, err = said(capsys, "status", "--dsn", dsn)
    assert code == 3
    assert "s3cr3t" not in one_sentence(err) + out


def test_no_server(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    root = str(tiny_plan(tmp_path))
    for command in (["status"], ["apply", "--plan", root], ["check", "--plan", root], ["report"]):
        code, out, err = said(capsys, *command, "--dsn", f"host={tmp_path}")
        assert (code, out) == (3, "")
        sentence = one_sentence(err)
        assert "No connection to PostgreSQL" in sentence
        assert "Nothing was changed. Check that the server runs" in sentence


def test_lint_counts_what_hurts_and_shows_style_when_asked(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "a.sql"
    path.write_text("CREATE TABLE n (id int);\nALTER TABLE t ALTER x DROP NOT NULL;\n")
    code, out, _ = said(capsys, "lint", "--format", "json", str(path))
    first, second = json.loads(out)["statements"]
    assert (code, first["hazards"]) == (0, [])
    assert [(h["code"], h["level"]) for h in second["hazards"]] == [("DROP-NOT-NULL", "note")]
    code, out, _ = said(capsys, "lint", "--style", str(path))
    assert (code, "(style) PREFER-BIGINT" in out) == (0, True)
    path.write_text("-- pgferry: allow TRUNCATE a cache\nTRUNCATE t;\n")
    code, out, _ = said(capsys, "lint", str(path))
    assert (code, "accepted TRUNCATE: a cache" in out) == (0, True)
    path.write_text("-- pgferry: allow TRUNCATE\nTRUNCATE t;\n")
    assert said(capsys, "lint", str(path))[0] == 1


def test_lint_explains_a_code(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys, "lint", "--explain", "fk-not-valid")
    assert code == 0
    assert "NOT VALID" in out
    assert "VALIDATE-IN-SAME-TRANSACTION" in said(capsys, "lint", "--explain")[1]
    assert json.loads(said(capsys, "lint", "--explain", "--format", "json")[1])["rules"][0]["why"]
    code, out, err = said(capsys, "lint", "--explain", "FK-NOT-VALLID")
    assert (code, out) == (2, "")
    assert "Did you mean FK-NOT-VALID?" in err
    assert said(capsys, "lint", "--explain", "CASCADE", "x.sql")[0] == 2
    assert said(capsys, "lint", "--format", "markdown", "x.sql")[0] == 2
