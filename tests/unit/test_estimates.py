"""Estimates: from which size, at which rate, and what is said of it."""

from __future__ import annotations

import pytest

from console.sql.analyse import read_file
from console.sql.catalogue import Catalogue, Column, Relation
from console.sql.estimates import estimate, seconds_words
from console.sql.facts import Known
from console.sql.model import Mark, Statement
from console.sql.resolve import learn

BIG = Relation(
    "t", "r", rows=50_000_000, heap_bytes=6_000_000_000, index_bytes=1_000_000_000,
    columns={"x": Column("integer", False), "v": Column("character varying(9)", False)},
)  # fmt: skip


def _last(text: str) -> Statement:
    known = Known()
    learn(known, Catalogue(180000, "UTC", {"t": BIG}, frozenset({"t"})))
    return read_file(text, known=known, second_reader=False)[-1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ALTER TABLE t ADD CHECK (x > 0)", "about 60 s: 50 M rows, 6.0 GB read at an assumed 100 MB/s"),
        (
            "CREATE INDEX ON t (x)",
            "about 2 min: 50 M rows, 6.0 GB read and sorted at an assumed 50 MB/s; WAL about 1.2 GB",
        ),
        (
            "CREATE INDEX CONCURRENTLY ON t (x)",
            "about 2 min: 50 M rows, 6.0 GB read and sorted at an assumed 40 MB/s; WAL about 1.2 GB",
        ),
        (
            "ALTER TABLE t ALTER x TYPE bigint",
            "about 5 min: 50 M rows, 7.0 GB written again at an assumed 25 MB/s; WAL about 9.4 GB",
        ),
        ("UPDATE t SET x = 1", "about 8 min: 50 M rows written again at an assumed 100k rows/s; WAL about 20 GB"),
        ("ALTER TABLE t ALTER v TYPE varchar(20)", "instant once it has its locks: only the catalogue changes"),
        ("ALTER TABLE t ALTER x TYPE strange", "unknown; if all 7.0 GB are written again, about 5 min"),
        ("CREATE TABLE n (x int); ALTER TABLE n ADD CHECK (x > 0)", "instant: the table is empty"),
    ],
)
def test_estimates_say_from_what(text: str, words: str) -> None:
    statement = _last(text)
    found = estimate(statement, BIG if statement.about == "t" else None)
    assert found is not None
    assert found.words == words


def test_nothing_is_said_without_a_size() -> None:
    assert estimate(_last("ALTER TABLE t ADD CHECK (x > 0)"), None) is None
    filled = _last("CREATE TABLE n (x int); INSERT INTO n SELECT x FROM t; ALTER TABLE n ADD CHECK (x > 0)")
    assert estimate(filled, None) is None


def test_a_rehearsed_rate_is_used_where_it_says_something() -> None:
    statement = _last("ALTER TABLE t ADD CHECK (x > 0)")
    found = estimate(statement, BIG, mark=Mark(1000.0, 1000.0, 0), rehearsed_rows=120_000)
    assert found is not None
    assert found.words == "about 7 min: 50 M rows at 120k rows/s, measured in the rehearsal"
    assert found.seconds == pytest.approx(50_000_000 / 120_000)
    few = estimate(statement, BIG, mark=Mark(1.0, 1.0, 0), rehearsed_rows=100)
    assert few is not None
    assert "assumed" in few.words


def test_times_in_words() -> None:
    assert [seconds_words(s) for s in (0.2, 40, 420, 10_800)] == ["under 1 s", "about 40 s", "about 7 min", "about 3 h"]
