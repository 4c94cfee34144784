"""The analyser's claims against real servers: no lock weaker than what pg_locks shows, no rewrite or scan denied.

Every statement of the corpus runs here. What it did must also be what the corpus says it does, and what is claimed too
strongly is counted and listed in ``sql_overclaims.txt``, case by case.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from console.demo.server import EmbeddedServer
from console.sql.analyse import read_file
from console.sql.locks import LEVEL
from console.sql.model import Statement
from tests.engine.sql_claims import Claims
from tests.engine.sql_measure import Relation, by_itself, in_transaction, relations
from tests.sql_corpus import MODES, SETUP, Case, Effects, cases

OVERCLAIMS = Path(__file__).parent.parent / "sql_overclaims.txt"
SHORT = {mode: letters for letters, mode in MODES.items()} | {"-": "-"}
# Their files are new because their rows are gone, or made anew by design.
EMPTIED = ("TRUNCATE", "WITH NO DATA")
EVERYONE = tuple(case for case in cases() if not case.alone)
ALONE = tuple(case for case in cases() if case.alone)


@dataclass(frozen=True)
class Prepared:
    """A database with the tables of the corpus, and what is in it."""

    conn: psycopg.Connection
    known: dict[int, Relation]
    claims: Claims
    major: int
    fresh: Callable[[], str]


@pytest.fixture(scope="module", params=["server", pytest.param("server16", marks=pytest.mark.long)])
def prepared(request: pytest.FixtureRequest) -> Iterator[Prepared]:
    """The corpus' database, once for each server version."""
    server: EmbeddedServer = request.getfixturevalue(request.param)
    name = f"sql_locks_{request.param}"
    conninfo = server.create_database(name)
    made: list[str] = []

    def fresh() -> str:
        copy = f"{name}_{len(made)}"
        made.append(copy)
        with psycopg.connect(server.conninfo(), autocommit=True) as admin:
            admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(copy), sql.Identifier(name)))
        return server.conninfo(copy)

    with psycopg.connect(conninfo, autocommit=True) as conn:
        conn.execute("DROP ROLE IF EXISTS lock_reader")
        conn.execute("CREATE ROLE lock_reader")
        conn.execute(SETUP)  # type: ignore[arg-type]
        known = relations(conn)
    conn = psycopg.connect(fresh())
    yield Prepared(conn, known, Claims(conn, known), conn.info.server_version // 10000, fresh)
    conn.close()
    for database in (*made, name):
        server.drop_database(database)
    with psycopg.connect(server.conninfo(), autocommit=True) as conn:
        conn.execute("DROP ROLE lock_reader")


def weaker(prepared: Prepared, statements: tuple[Statement, ...], held: dict[int, str]) -> list[str]:
    """The locks that were held and not claimed, or claimed weaker."""
    found = [
        f"{prepared.known[oid].name} {SHORT[mode]}"
        for oid, mode in held.items()
        if prepared.claims.level(statements, oid) < LEVEL[mode]
    ]
    prepared.conn.rollback()
    return found


def denied(statements: tuple[Statement, ...], case: Case, effects: Effects) -> list[str]:
    """Rewrites and scans that happened and were said not to."""
    found = []
    emptied = any(word in case.sql for word in EMPTIED) or any(s.kind.startswith("DROP") for s in statements)
    if effects.rewritten and not emptied and all(s.rewrite is False for s in statements):
        found.append("rewrite")
    if effects.scanned and all(s.scan is False for s in statements):
        found.append("scan")
    return found


def overclaimed(prepared: Prepared, statements: tuple[Statement, ...], effects: Effects, held: dict[int, str]) -> str:
    """What was claimed and did not happen, in one line; empty when every claim came true."""
    beyond = prepared.claims.beyond(statements, held)
    prepared.conn.rollback()
    words = sorted({f"{name} {SHORT[lock.mode]} not {SHORT[mode]}" for lock, name, mode in beyond})
    old = [s for s in statements if not any(lock.new for lock in s.locks)]
    words += ["rewrite"] * (any(s.rewrite for s in old) and not effects.rewritten)
    words += ["scan"] * (any(s.scan for s in old) and not effects.scanned)
    return ", ".join(words)


@pytest.mark.parametrize("case", EVERYONE, ids=lambda case: case.sql)
def test_claims_are_not_weaker_than_what_the_server_does(prepared: Prepared, case: Case) -> None:
    if case.since > prepared.major:
        pytest.skip(f"only from {case.since} on")
    statements = read_file(case.sql, server_major=prepared.major, second_reader=False)
    effects, held = in_transaction(prepared.conn, prepared.known, case.sql)
    assert weaker(prepared, statements, held) == [], [str(lock) for s in statements for lock in s.locks]
    assert denied(statements, case, effects) == []
    assert all(s.transactional for s in statements)
    expected = case.effects(prepared.major)
    assert (effects.locks, effects.rewritten) == (expected.locks, expected.rewritten), "the corpus says otherwise"


def _by_itself(prepared: Prepared, case: Case) -> None:
    if case.since > prepared.major:
        pytest.skip(f"only from {case.since} on")
    (statement,) = read_file(case.sql, server_major=prepared.major, second_reader=False)
    effects, held = by_itself(prepared.fresh, prepared.known, case.sql)
    assert weaker(prepared, (statement,), held) == []
    assert denied((statement,), case, effects) == []
    assert not statement.transactional or "part" in case.sql
    assert effects == case.effects(prepared.major), "the corpus says otherwise"


@pytest.mark.parametrize("case", ALONE[::5], ids=lambda case: case.sql)
def test_claims_of_what_runs_alone(prepared: Prepared, case: Case) -> None:
    _by_itself(prepared, case)


@pytest.mark.long
@pytest.mark.parametrize("case", ALONE, ids=lambda case: case.sql)
def test_all_claims_of_what_runs_alone(prepared: Prepared, case: Case) -> None:
    _by_itself(prepared, case)


def test_what_is_claimed_too_strongly_is_listed(prepared: Prepared) -> None:
    found = {}
    for case in EVERYONE:
        if case.since <= prepared.major:
            statements = read_file(case.sql, server_major=prepared.major, second_reader=False)
            effects, held = in_transaction(prepared.conn, prepared.known, case.sql)
            if words := overclaimed(prepared, statements, effects, held):
                found[case.sql] = words
    lines = OVERCLAIMS.read_text(encoding="utf-8").splitlines()
    listed = dict(line.rsplit(" => ", 1) for line in lines if not line.startswith("#"))
    if prepared.major == 18:
        assert found == listed
    assert set(found) <= set(listed)


def test_the_measure_would_notice_a_weak_claim(prepared: Prepared) -> None:
    statements = read_file("SELECT * FROM c", second_reader=False)
    table = next(oid for oid, relation in prepared.known.items() if relation.name == "c")
    assert weaker(prepared, statements, {table: "ACCESS EXCLUSIVE"}) == ["c AE"]
    assert weaker(prepared, statements, {table: "ACCESS SHARE"}) == []
