"""The safe forms that are written out as statements: they run where the original runs, and do not hurt themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
import pytest

from console.demo.server import EmbeddedServer
from console.errors import PlanError
from console.sql.analyse import read_file
from console.sql.model import Hazard
from console.sql.split import split
from tests.sql_corpus import SETUP, Case, cases

# A view in the old name hurts less than what it replaces, but not nothing; so does checking a domain at a quiet time.
LESS = {"RENAME-BREAKS-CLIENTS", "DOMAIN-CHECK-SCAN"}
# What the text alone does not tell: that a table is partitioned (CONCURRENTLY, USING INDEX and, before 18, NOT VALID are
# not there then), that the name is an index's, or that it is taken.
NOT_IN_THE_TEXT = re.compile(r" (keyed_)?part |c_x_idx")


@dataclass(frozen=True)
class Place:
    """The corpus' database on one server."""

    conn: psycopg.Connection
    major: int


@pytest.fixture(scope="module", params=["server", pytest.param("server16", marks=pytest.mark.long)])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    server: EmbeddedServer = request.getfixturevalue(request.param)
    with psycopg.connect(server.create_database("safe_forms"), autocommit=True) as conn:
        conn.execute(SETUP.encode())
        yield Place(conn, conn.info.server_version // 10000)
    server.drop_database("safe_forms")


def _rewritten(case: Case, major: int) -> list[Hazard]:
    """The hazards of a case whose safe form is SQL from beginning to end."""
    found = []
    for statement in read_file(case.sql, second_reader=False, server_major=major):
        for hazard in statement.hazards:
            try:
                if split(hazard.safer):
                    found.append(hazard)
            except PlanError:
                continue
    return found


ONE_STATEMENT = [
    case for case in cases() if len(read_file(case.sql, second_reader=False)) == 1 and _rewritten(case, 18)
]


def _runs(conn: psycopg.Connection, sql: str) -> str:
    """What the server says against a text, run as a whole and rolled back; CONCURRENTLY left out."""
    try:
        with conn.transaction(force_rollback=True):
            for piece in split(sql):
                conn.execute(piece.sql.replace(" CONCURRENTLY", "").encode())
    except psycopg.Error as error:
        return f"{error.sqlstate} {str(error).splitlines()[0]}"
    return ""


def test_many_forms_are_written_out() -> None:
    codes = {hazard.code for case in ONE_STATEMENT for hazard in _rewritten(case, 18)}
    assert len(ONE_STATEMENT) > 60
    assert len(codes) > 10, codes


@pytest.mark.parametrize("case", ONE_STATEMENT, ids=lambda case: case.sql[:60])
def test_a_safe_form_runs_and_does_not_hurt(place: Place, case: Case) -> None:
    if _runs(place.conn, case.sql):
        pytest.skip("the original does not run alone here")
    for hazard in _rewritten(case, place.major):
        said = _runs(place.conn, hazard.safer)
        assert not said or NOT_IN_THE_TEXT.search(case.sql), f"{hazard.code}: {hazard.safer}: {said}"
        again = read_file(hazard.safer, second_reader=False, server_major=place.major)
        hurts = {h.code for s in again for h in s.hazards if h.level == "hurts"}
        assert hazard.code in LESS or not hurts, f"{hazard.code}: {hazard.safer}: {hurts}"
