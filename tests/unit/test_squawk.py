"""squawk over the corpus and the rules' own examples: every hazard that it reports is reported here too.

Where it is not, the reason stands in ``WRONG``; what squawk says there of locks and rows is refuted by what the corpus
holds as measured on real servers.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from console.sql.analyse import read_file
from console.sql.hazards.catalogue import RULES
from console.sql.hazards.rule import Level
from tests.sql_corpus import Effects, cases

SAME = {
    "adding-field-with-default": "VOLATILE-DEFAULT-REWRITE GENERATED-COLUMN-REWRITE IDENTITY-COLUMN-REWRITE",
    "adding-foreign-key-constraint": "FK-NOT-VALID",
    "adding-not-nullable-field": "SET-NOT-NULL-SCAN",
    "adding-required-field": "COLUMN-NOT-NULL-NO-DEFAULT",
    "adding-serial-primary-key-field": "UNIQUE-BUILDS-INDEX",
    "ban-alter-domain-with-add-constraint": "DOMAIN-CHECK-SCAN",
    "ban-alter-identity": "ALTER-IDENTITY",
    "ban-char-field": "CHAR-TYPE",
    "ban-concurrent-index-creation-in-transaction": "NOT-IN-TRANSACTION",
    "ban-create-domain-with-constraint": "DOMAIN-WITH-CHECK",
    "ban-drop-column": "DROP-COLUMN",
    "ban-drop-constraint": "DROP-CONSTRAINT",
    "ban-drop-database": "DROP-DATABASE",
    "ban-drop-default": "DROP-DEFAULT",
    "ban-drop-domain": "DROP-OBJECT",
    "ban-drop-extension": "DROP-OBJECT",
    "ban-drop-function": "DROP-OBJECT",
    "ban-drop-generated-expression": "DROP-EXPRESSION",
    "ban-drop-not-null": "DROP-NOT-NULL",
    "ban-drop-schema": "DROP-OBJECT",
    "ban-drop-sequence": "DROP-OBJECT",
    "ban-drop-table": "DROP-TABLE",
    "ban-drop-type": "DROP-OBJECT",
    "ban-drop-view": "DROP-OBJECT",
    "ban-duplicate-column-assignments": "DUPLICATE-ASSIGNMENT",
    "ban-set-schema": "RENAME-BREAKS-CLIENTS",
    "ban-truncate-cascade": "CASCADE",
    "ban-uncommitted-transaction": "UNKNOWN-STATEMENT",
    "changing-column-type": "TYPE-CHANGE-REWRITE",
    "constraint-missing-not-valid": "CHECK-NOT-VALID UNIQUE-BUILDS-INDEX FK-NOT-VALID EXCLUDE-BUILDS-INDEX"
    " SET-NOT-NULL-SCAN VALIDATE-IN-SAME-TRANSACTION",
    "disallowed-unique-constraint": "UNIQUE-BUILDS-INDEX",
    "identifier-too-long": "IDENTIFIER-TOO-LONG",
    "prefer-bigint-over-int": "PREFER-BIGINT",
    "prefer-bigint-over-smallint": "PREFER-BIGINT",
    "prefer-identity": "PREFER-IDENTITY",
    "prefer-text-field": "PREFER-TEXT",
    "prefer-timestamp-tz": "PREFER-TIMESTAMPTZ",
    "renaming-column": "RENAME-BREAKS-CLIENTS",
    "renaming-object": "RENAME-BREAKS-CLIENTS RENAME-OBJECT",
    "renaming-table": "RENAME-BREAKS-CLIENTS",
    "require-concurrent-index-creation": "INDEX-NOT-CONCURRENT",
    "require-concurrent-index-deletion": "DROP-INDEX-NOT-CONCURRENT",
    "require-concurrent-partition-detach": "DETACH-NOT-CONCURRENT",
    "require-concurrent-reindex": "REINDEX-NOT-CONCURRENT",
    "require-enum-value-ordering": "ENUM-VALUE-ORDER",
    "transaction-nesting": "UNKNOWN-STATEMENT",
}
# Rules that are not asked, each with the reason.
NOT_ASKED = {
    "require-lock-timeout": "pgferry sets lock_timeout for every statement (tests/faults/test_alone.py reads it there)",
    "require-statement-timeout": "pgferry sets statement_timeout for every statement, as the task says",
    "prefer-robust-stmts": "a run goes on at the statement where it stopped; IF NOT EXISTS would pass over an INVALID"
    " index (IF-NOT-EXISTS-INDEX)",
}


@dataclass(frozen=True)
class Wrong:
    """Where squawk is wrong: its rule (a pattern), the statement (a pattern), why."""

    rule: str
    sql: str
    why: str


WRONG = (
    Wrong(
        "require-concurrent|ban-drop|renaming-table|adding-field-with-default|disallowed|constraint-missing",
        r"^(-- [^\n]*\n)?(CREATE|ALTER TABLE t ADD CONSTRAINT (\w+) .*DROP CONSTRAINT \3)",
        "the same file made it: nobody can use it yet",
    ),
    Wrong("prefer-bigint-over-int", "^CREATE TEMP", "a temporary table ends with its session"),
    Wrong("adding-field-with-default", "current_user|VIRTUAL", "no row is written: one value for all, or none is kept"),
    Wrong("adding-foreign-key", r"ADD COLUMN n int (CONSTRAINT nn CHECK \(n IS NULL\) )?REFERENCES", "no row is read: all are NULL"),
    Wrong("adding-foreign-key|constraint-missing", "NOT ENFORCED", "a constraint that is not enforced reads no row"),
    Wrong("ban-alter-domain", "NOT VALID", "only new values are checked"),
    Wrong("changing-column-type", r"ADD COLUMN z varchar\(50\); .* TYPE varchar\(100\)", "the longer limit rewrites nothing"),
    Wrong("ban-drop-constraint", r"^ALTER TABLE c ADD CONSTRAINT n .*DROP CONSTRAINT n", "the same file made it"),
)  # fmt: skip
COSTS = ("adding-", "changing-", "constraint-missing", "disallowed")


@dataclass(frozen=True)
class Said:
    """One thing that squawk says of one text."""

    sql: str
    rule: str


def _squawk() -> str:
    beside = Path(sysconfig.get_path("scripts")) / "squawk"
    found = str(beside) if beside.exists() else shutil.which("squawk")
    if not found:
        pytest.skip("squawk-cli is not installed (pip install -e .[dev])")
    return found


def _texts() -> Iterator[str]:
    yield from (case.sql for case in cases())
    for rule in RULES.values():
        if not rule.plan:
            yield from (rule.fires, rule.safe)
    yield from MORE


MORE = (
    "CREATE TABLE n (a smallint, b char, c timestamp, d serial)", "DROP EXTENSION hstore", "COMMIT", "BEGIN; SELECT 1",
    "BEGIN; BEGIN; COMMIT", "ALTER TABLE t ADD COLUMN x int NOT NULL", "ALTER TYPE e RENAME VALUE 'a' TO 'b'",
    "ALTER SCHEMA a RENAME TO b", "ALTER TABLE t ALTER x TYPE varchar(9), ADD UNIQUE (y)", "DROP TYPE e", "DROP DOMAIN d",
)  # fmt: skip


@cache
def _reported(folder: Path) -> tuple[Said, ...]:
    texts = sorted(set(_texts()))
    for number, text in enumerate(texts):
        (folder / f"{number}.sql").write_text(text.rstrip().rstrip(";") + ";\n", encoding="utf-8")
    excluded = [word for rule in NOT_ASKED for word in ("--exclude", rule)]
    done = subprocess.run(
        [_squawk(), "--reporter", "json", "--pg-version", "18.0", *excluded, *(str(path) for path in sorted(folder.glob("*.sql")))],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    found = {Said(texts[int(Path(one["file"]).stem)], one["rule_name"]) for one in json.loads(done.stdout)}
    return tuple(sorted(found, key=lambda said: (said.rule, said.sql)))


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Said, ...]:
    return _reported(tmp_path_factory.mktemp("squawk"))


def _ours(sql: str) -> set[str]:
    statements = read_file(sql, style=True, second_reader=False)
    return {hazard.code for statement in statements for hazard in (*statement.hazards, *statement.accepted)}


def _excused(said: Said) -> Wrong | None:
    flat = said.sql.replace("\n", " ") if not said.sql.startswith("--") else said.sql
    return next((w for w in WRONG if re.search(w.rule, said.rule) and re.search(w.sql, flat)), None)


def test_every_hazard_that_squawk_reports_is_reported(reported: tuple[Said, ...]) -> None:
    missing = [
        said for said in reported if not set(SAME[said.rule].split()) & _ours(said.sql) and _excused(said) is None
    ]
    assert missing == []
    assert len(reported) > 300
    assert {said.rule for said in reported} == SAME.keys()


def test_squawk_is_called_wrong_only_where_it_is(reported: tuple[Said, ...]) -> None:
    """Each exception is used, and where squawk speaks of locks and rows, nothing was read or written when measured."""
    measured: dict[str, Effects] = {case.sql: case.usual for case in cases()}
    used = set()
    for said in reported:
        wrong = _excused(said)
        if wrong is None or set(SAME[said.rule].split()) & _ours(said.sql):
            continue
        used.add(wrong)
        if said.rule.startswith(COSTS) and said.sql in measured:
            effects = measured[said.sql]
            other = any(
                RULES[code].level is Level.HURTS for code in _ours(said.sql)
            )  # the work is reported as another's
            assert other or (effects.rewritten, effects.scanned) == ((), ()), said
    assert [wrong for wrong in WRONG if wrong not in used] == []


def test_every_code_named_here_exists() -> None:
    assert {code for codes in SAME.values() for code in codes.split()} <= RULES.keys()
