"""Files are split as PostgreSQL and psql would: strings, comments, bodies, psql's own commands, transactions."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from console.commands.lint import LintWanted, lint
from console.errors import PlanError
from console.sql.analyse import read_file
from console.sql.kinds import UNKNOWN
from console.sql.split import read_parts, split

BROKEN = "SELEKT 1;\n"  # makes the reader go statement by statement, without the grammar's help

TEXTS = [
    ("SELECT 'a'\n'b;c'; SELECT 2", ["SELECT 'a'\n'b;c'", "SELECT 2"]),
    ("SELECT E'a'\n  'b\\';c'; SELECT 2", ["SELECT E'a'\n  'b\\';c'", "SELECT 2"]),
    ("SELECT U&'\\0041;' , U&\"\\0041;\"; SELECT 2", ["SELECT U&'\\0041;' , U&\"\\0041;\"", "SELECT 2"]),
    ("SELECT 'a\\'; SELECT 2", ["SELECT 'a\\'", "SELECT 2"]),
    ("SELECT B'1', X'f', N';'; SELECT 2", ["SELECT B'1', X'f', N';'", "SELECT 2"]),
    ('SELECT "a;""b"; SELECT 2', ['SELECT "a;""b"', "SELECT 2"]),
    ("SELECT $tag$ ; $a$ ; $b$ ; $tag$; SELECT 2", ["SELECT $tag$ ; $a$ ; $b$ ; $tag$", "SELECT 2"]),
    ("SELECT $é🎉$;$é🎉$; SELECT 2", ["SELECT $é🎉$;$é🎉$", "SELECT 2"]),
    ("SELECT /* a /* ; */ ; */ 1; SELECT 2", ["SELECT /* a /* ; */ ; */ 1", "SELECT 2"]),
    ("SELECT 1 --;\n; SELECT 2", ["SELECT 1 --;", "SELECT 2"]),
    ("-- a comment\rSELECT 1;\rSELECT 2", ["SELECT 1", "SELECT 2"]),
    ("\f\v\tSELECT 1;\x0cSELECT 2", ["SELECT 1", "SELECT 2"]),
    ("\ufeffSELECT 1;\r\nSELECT 2\r\n", ["SELECT 1", "SELECT 2"]),
    (";;SELECT 1;;\n;/* ; */;SELECT 2", ["SELECT 1", "SELECT 2"]),
    ("SELECT 1 AS x\u00a0; SELECT 2", ["SELECT 1 AS x\u00a0", "SELECT 2"]),
    (
        "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE 1 WHEN 1 THEN 2 END; SELECT 2; END; SELECT 2",
        ["CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE 1 WHEN 1 THEN 2 END; SELECT 2; END", "SELECT 2"],
    ),
    (
        "CREATE OR REPLACE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2); SELECT 2",
        ["CREATE OR REPLACE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2)", "SELECT 2"],
    ),
    ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1; SELECT 2'; SELECT 2",
     ["CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1; SELECT 2'", "SELECT 2"]),
    ("COPY (SELECT 1 AS \"x from stdin\") TO '/x'; SELECT 2", ["COPY (SELECT 1 AS \"x from stdin\") TO '/x'", "SELECT 2"]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), TEXTS)
def test_a_text_is_split_where_the_server_splits_it(text: str, expected: list[str]) -> None:
    assert [piece.sql for piece in split(text)] == expected


@pytest.mark.parametrize(("text", "expected"), TEXTS)
def test_a_fault_elsewhere_in_the_file_does_not_move_the_borders(text: str, expected: list[str]) -> None:
    start = "\ufeff" if text.startswith("\ufeff") else ""
    parts = read_parts(f"{start}{BROKEN}{text.removeprefix(start)};\nSELEKT 2")
    assert [part.sql for part in parts[1:-1]] == expected
    assert not any(part.fault for part in parts[1:-1])
    assert parts[0].fault
    assert parts[-1].fault


def test_a_string_that_goes_on_after_a_comment_moves_no_border() -> None:
    """The server takes it; the grammar here does not, so it is unknown, and what follows is still right."""
    parts = read_parts("SELECT E'a' -- x\n 'b\\';c'; SELECT 2")
    assert [(part.sql, bool(part.fault)) for part in parts] == [
        ("SELECT E'a' -- x\n 'b\\';c'", True),
        ("SELECT 2", False),
    ]


def test_nothing_after_a_lone_carriage_return_is_lost() -> None:
    assert [p.sql for p in read_parts("SELEKT;-- note\rDROP TABLE t;\nSELECT 1")][1:] == ["DROP TABLE t", "SELECT 1"]


def test_a_blank_of_unicode_is_part_of_a_name_as_it_is_to_the_server() -> None:
    assert read_parts("\u00a0SELECT 1")[0].fault


def test_lines_are_those_of_the_file() -> None:
    text = "\\timing on\n\n/* two\nlines */ SELECT 1;\r\n-- x\nSELECT\n2;\n\nSELECT 3"
    assert [piece.line for piece in split(text)] == [4, 6, 9]


HARMLESS = """
\\echo 'it''s; on' a b
\\qecho x
\\warn x
\\timing
\\pset pager off
\\x auto
\\set ON_ERROR_STOP on
\\set ON_ERROR_STOP
\\set VERBOSITY verbose
\\set QUIET 1
\\unset ECHO
\\conninfo
\\dt+ public.*
\\d t
\\restrict abc
\\unrestrict abc
""".strip().splitlines()


@pytest.mark.parametrize("line", HARMLESS)
def test_what_only_prints_is_passed_over(line: str) -> None:
    assert [(p.sql, p.line) for p in split(f"{line}\nSELECT 1;\n{line}\r\nSELECT 2;\n{line}")] == [
        ("SELECT 1", 2),
        ("SELECT 2", 4),
    ]


def test_lint_says_what_it_passed_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.sql"
    file.write_text("\\timing on\nSELECT 1;\n  \\echo done\n")
    assert lint(LintWanted((file,), 18, False, "text")) == 0
    assert capsys.readouterr().out.splitlines()[:2] == [
        f"{file}:1: passed over, only psql uses it: \\timing on",
        f"{file}:3: passed over, only psql uses it: \\echo done",
    ]


REFUSED = [
    ("\\i other.sql", r"\\i is not carried out"), ("\\ir other.sql", r"\\ir is not"), ("\\c other", r"\\c is not"),
    ("\\connect other", r"\\connect is not"), ("\\copy t from 'x'", r"\\copy is not"), ("\\if true", r"\\if is not"),
    ("\\set schema app", r"\\set is not"), ("\\gexec", r"\\gexec is not"), ("SELECT 1 \\gset", "start of a line"),
    ("\\! rm x", r"\\! is not"), ("\\q", r"\\q is not"), ("\\r", r"\\r is not"), ("\\o f", r"\\o is not"),
    ("\\set AUTOCOMMIT off", r"\\set is not"), ("\\set ON_ERROR_STOP off", "go on after an error"),
    ("\\unset ON_ERROR_STOP", "go on after an error"), ("\\echo `date`", "runs a program"),
    ("\\echo a \\\\ SELECT 1", "another command"), ("SELECT 1\\; SELECT 2;", "start of a line"),
    ("SELECT * FROM :table;", "variable :table is not set"), ("SELECT :'name';", "variable :'name' is not set"),
    ('SELECT * FROM :"name";', 'variable :"name" is not set'),
    ("SET standard_conforming_strings = off;", "standard_conforming_strings"),
    ("SET LOCAL standard_conforming_strings TO 'off';", "standard_conforming_strings"),
    ("COPY t FROM STDIN;\n1\tSELECT\n\\.", "carries data"), ("COPY t TO STDOUT;", "prints data"),
    ("COPY t (a, b) FROM stdin WITH (FORMAT csv);\n\"a;\",'\n\\.\n", "carries data"),
    ("ROLLBACK;", "ROLLBACK would take back"), ("ABORT;", "ROLLBACK would take back"), ("SAVEPOINT a;", "SAVEPOINT is not"),
    ("RELEASE a;", "RELEASE"), ("ROLLBACK TO a;", "ROLLBACK TO"), ("PREPARE TRANSACTION 'a';", "PREPARE TRANSACTION"),
    ("COMMIT PREPARED 'a';", "COMMIT PREPARED"), ("COMMIT;", "without a BEGIN"), ("END;", "without a BEGIN"),
    ("BEGIN;", "without a COMMIT"), ("START TRANSACTION READ ONLY; COMMIT;", "BEGIN with options"),
    ("BEGIN ISOLATION LEVEL SERIALIZABLE; COMMIT;", "BEGIN with options"), ("SELECT '\x00';", "cannot store"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "why"), REFUSED)
def test_what_is_not_carried_out_is_an_error_with_its_line(text: str, why: str) -> None:
    with pytest.raises(PlanError, match=why) as caught:
        split(f"SELECT 1;\n\n{text}", "f.sql")
    assert (caught.value.file, caught.value.line) == ("f.sql", 3)


def test_rows_of_copy_are_not_read_as_statements() -> None:
    parts = read_parts("COPY t FROM STDIN;\nDROP TABLE t;\n'\n\\.\nSELECT 1;")
    assert [part.sql for part in parts] == ["COPY t FROM STDIN", "SELECT 1"]


@pytest.mark.parametrize("text", [
    "BEGIN; SELECT 1; SELECT 2; END;", "START TRANSACTION; SELECT 1; SELECT 2; COMMIT WORK",
    "BEGIN TRANSACTION ISOLATION LEVEL READ COMMITTED READ WRITE NOT DEFERRABLE; SELECT 1; SELECT 2; COMMIT AND NO CHAIN",
])  # fmt: skip
def test_a_block_is_one_transaction(text: str) -> None:
    assert [piece.group for piece in split(text)] == [1, 1]


def test_commit_and_chain_begins_the_next() -> None:
    pieces = split("BEGIN; SELECT 1; COMMIT AND CHAIN; SELECT 2; COMMIT; SELECT 3")
    assert [piece.group for piece in pieces] == [1, 2, None]


CHAINS = {
    "plus": "SELECT 1{}", "concat": "SELECT 'a'{}", "cast": "SELECT 1{}", "join": "SELECT * FROM t{}",
    "union": "SELECT 1{}", "body": "DO $$ DECLARE a int; BEGIN a := 1{}; END $$",
}  # fmt: skip
LINKS = {
    "plus": "+1",
    "concat": "||'a'",
    "cast": "::int",
    "join": " JOIN t USING (a)",
    "union": " UNION SELECT 1",
    "body": "+1",
}


@pytest.mark.parametrize("shape", CHAINS)
def test_a_long_chain_does_not_end_the_process(shape: str) -> None:
    """Run in a process of its own: the parser's stack ends without an exception."""
    code = (
        "from console.sql.analyse import read_file; from console.sql.inverse import inverse\n"
        f"text = {CHAINS[shape]!r}.format({LINKS[shape]!r} * 60_000)\n"
        "(s,) = read_file(text, second_reader=False)\n"
        "inverse(text)\n"
        "print(s.rewrite, [lock.object for lock in s.locks])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, "None ['?']\n"), done.stderr


NESTED = {
    "parentheses": "SELECT " + "(" * 5000 + "1" + ")" * 5000,
    "comments": "/*" * 5000 + "*/" * 5000 + "SELECT 1",
    "selects": "SELECT * FROM " + "(SELECT * FROM " * 300 + "t" + ") x" * 300,
    "blocks": "DO $$ BEGIN " + "BEGIN " * 3000 + "NULL; " + "END; " * 3000 + "END $$",
    "not": "SELECT " + "NOT " * 3000 + "true",
}


@pytest.mark.parametrize("shape", NESTED)
def test_what_is_nested_too_deeply_is_unknown(shape: str) -> None:
    unknown = [statement for statement in read_file(NESTED[shape]) if statement.rewrite is None]
    assert [(lock.object, lock.basis) for lock in unknown[0].locks] == [("?", "assumed")]


@pytest.mark.parametrize("text", [
    "SELECT '" + "x" * 10_000_000 + "'", "SELECT E'" + "\\'" * 500_000 + "'", "SELECT $a$" + "$b$ " * 300_000 + "$a$",
    "SELEKT " + "rule do " * 20_000, "SELEKT begin atomic " + "x;" * 2000, "'" * 20_001, "$a$ " * 20_001, "/* " * 3000,
    "SELEKT;" + " " * 1_000_000, "SELECT " + "a," * 10_000 + "b", "DROP TABLE " + "t," * 1000 + "u", ";" * 50_000,
    "ALTER TABLE t " + ", ".join(f"ADD c{n} int" for n in range(2000)), "SELECT 1;\n" * 3000, "\\i x\n" * 3000,
], ids=range(15))  # fmt: skip
def test_long_texts_are_read(text: str) -> None:
    """What takes quadratic time here takes hours, not seconds."""
    for statement in read_file(text, second_reader=False):
        if statement.kind == UNKNOWN:
            assert statement.rewrite is None
