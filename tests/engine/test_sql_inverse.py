"""Derived ways back, run on a real server: after forward and back, the catalogue says what it said before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from console.commands.read_sql import new_down
from console.demo.server import EmbeddedServer
from console.sql.inverse import Back, way_back
from console.sql.split import split
from tests.engine.schema_text import schema_text
from tests.sql_corpus import SETUP, cases

CASES = tuple(case.sql for case in cases() if not case.alone and case.since <= 15)


def ways_back(sql: str) -> list[Back]:
    """The ways back of a text's statements, the last first."""
    return [way_back(piece.sql) for piece in reversed(split(sql))]


DERIVED = tuple(sql for sql in CASES if not any(back.why_not for back in ways_back(sql)))


@pytest.fixture(scope="module")
def prepared(server: EmbeddedServer) -> Iterator[tuple[psycopg.Connection, list[str]]]:
    """A database with the tables of the corpus, and its schema as text."""
    conninfo = server.create_database("sql_inverse")
    with psycopg.connect(conninfo, autocommit=True) as conn:
        conn.execute("DROP ROLE IF EXISTS lock_reader")
        conn.execute("CREATE ROLE lock_reader")
        conn.execute(SETUP)  # type: ignore[arg-type]
    with psycopg.connect(conninfo) as conn:
        yield conn, schema_text(conn)
    server.drop_database("sql_inverse")
    with psycopg.connect(server.conninfo(), autocommit=True) as conn:
        conn.execute("DROP ROLE lock_reader")


@pytest.mark.parametrize("sql", DERIVED)
def test_forward_and_back_leave_the_schema_as_it_was(prepared: tuple[psycopg.Connection, list[str]], sql: str) -> None:
    conn, before = prepared
    conn.rollback()
    try:
        conn.execute(sql)  # type: ignore[call-overload]
        for back in ways_back(sql):
            if back.sql:
                conn.execute(back.sql)  # type: ignore[call-overload]
        after = schema_text(conn)
    finally:
        conn.rollback()
        conn.execute("DEALLOCATE ALL")
    assert after == before


def test_the_comparison_sees_what_stays(prepared: tuple[psycopg.Connection, list[str]]) -> None:
    conn, before = prepared
    conn.rollback()
    conn.execute("ALTER TABLE other ADD PRIMARY KEY (id); ALTER TABLE other DROP CONSTRAINT other_pkey")
    assert schema_text(conn) != before
    conn.rollback()


def test_much_is_derived_and_the_rest_says_why_not() -> None:
    assert len(DERIVED) > 160
    for sql in CASES:
        for back in ways_back(sql):
            assert not (back.sql and back.why_not)


@pytest.mark.parametrize("sql", [
    "ALTER TABLE c ADD UNIQUE (x)", "ALTER TABLE c ADD CONSTRAINT n PRIMARY KEY (id)", "CREATE INDEX ON c (y)",
    "ALTER TABLE c ADD CONSTRAINT n UNIQUE USING INDEX c_y_idx", "ALTER TABLE part ATTACH PARTITION alone DEFAULT",
    "ALTER INDEX IF EXISTS a RENAME TO b", "ALTER TABLE t ADD COLUMN IF NOT EXISTS x int", "CREATE OR REPLACE VIEW v AS SELECT 1",
    "ALTER TABLE t SET SCHEMA attic", "ALTER TYPE mood ADD VALUE 'x'", "DROP TABLE t", "SELEKT 1", "SELECT 1; SELECT 2",
    "ALTER TABLE t ADD COLUMN a int, ALTER COLUMN b SET DEFAULT 1",
])  # fmt: skip
def test_what_the_text_does_not_tell_is_not_guessed(sql: str) -> None:
    back = way_back(sql)
    assert back.sql == ""
    assert back.why_not


def test_new_down_writes_the_way_back_and_what_is_missing(tmp_path: Path) -> None:
    up = tmp_path / "001_x.sql"
    up.write_text(
        "BEGIN;\nCREATE TABLE a (x int);\nALTER TABLE a ENABLE ROW LEVEL SECURITY;\nANALYZE a;\nUPDATE a SET x = 1;\nCOMMIT;\n"
    )
    assert new_down(up) == 0
    down = (tmp_path / "001_x.down.sql").read_text()
    assert down.splitlines()[1:] == [
        "BEGIN;",
        "-- line 5: no way back could be derived for UPDATE: the values that it overwrites are not in the text",
        "-- line 3: right if it was the other way round before",
        "ALTER TABLE a DISABLE ROW LEVEL SECURITY;",
        "DROP TABLE a;",
        "COMMIT;",
    ]
    assert [piece.group for piece in split(down)] == [1, 1]
