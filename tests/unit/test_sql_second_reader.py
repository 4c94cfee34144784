"""sqlglot against PostgreSQL's grammar over the whole corpus: where it differs, fails or does not understand."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from console.sql.analyse import read_file
from tests.sql_corpus import cases

LISTED = Path(__file__).parent.parent / "sql_second_reader.txt"


def readings() -> dict[str, str]:
    """What sqlglot makes of each statement of the corpus that it does not read as the grammar does."""
    found = {}
    for case in cases():
        for statement in read_file(case.sql):
            reader = statement.read_by
            if reader.agree is False or reader.sqlglot != "parsed":
                found[statement.sql] = "differs" if reader.agree is False else reader.sqlglot
    return found


def test_every_disagreement_over_the_corpus_is_listed() -> None:
    lines = LISTED.read_text(encoding="utf-8").splitlines()
    listed = dict(reversed(line.split(": ", 1)) for line in lines if not line.startswith("#"))
    assert readings() == listed


@pytest.mark.parametrize(("sql", "badge", "agree"), [
    ("ALTER TABLE t RENAME a TO x", "parsed", False),
    ("ALTER TABLE t RENAME COLUMN a TO x", "parsed", True),
    ("ALTER TABLE t RENAME TO u", "parsed", True),
    ("ALTER TABLE t DROP CONSTRAINT k", "parsed", True),
    ("UPDATE t SET a = 1 FROM u WHERE t.a = u.a", "parsed", True),
    ("CLUSTER t", "opaque", None),  # it reads CLUSTER AS t
    ("ALTER TABLE t VALIDATE CONSTRAINT k", "opaque", None),
    ("DO $$ BEGIN END $$", "opaque", None),
    ("CLUSTER t USING i", "failed", None),
    ("SELEKT 1", "failed", None),
])  # fmt: skip
def test_the_badge_and_the_flag(sql: str, badge: str, agree: bool | None) -> None:
    (statement,) = read_file(sql)
    assert (statement.read_by.sqlglot, statement.read_by.agree) == (badge, agree)
    assert statement.sql == sql


def test_it_says_nothing_on_the_screen(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    with caplog.at_level(logging.DEBUG):
        read_file("ALTER TABLE t VALIDATE CONSTRAINT k; DO $$ BEGIN END $$; CLUSTER t USING i")
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")
