"""What cannot run in a transaction block: the server refuses each there, and so it is said."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg.errors import ActiveSqlTransaction

from console.demo.server import EmbeddedServer
from console.errors import PlanError
from console.sql.analyse import read_file
from console.sql.split import split

SETUP = """
CREATE TABLE t (id int PRIMARY KEY);
CREATE TABLE part (k int) PARTITION BY LIST (k);
CREATE TABLE part_1 PARTITION OF part FOR VALUES IN (1);
CREATE INDEX part_k_idx ON part (k);
CREATE PUBLICATION pub FOR TABLE t;
CREATE SUBSCRIPTION sub CONNECTION 'dbname=nothing' PUBLICATION pub WITH (connect = false, slot_name = NONE, enabled = false);
"""
REFUSED = """
CREATE DATABASE n_of_test
DROP DATABASE IF EXISTS n_of_test
ALTER DATABASE postgres SET TABLESPACE pg_default
ALTER SYSTEM SET work_mem = '4MB'
ALTER SYSTEM RESET ALL
CREATE TABLESPACE n LOCATION '/nowhere'
DROP TABLESPACE n
CREATE INDEX CONCURRENTLY n ON t (id)
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS t_pkey ON t (id)
DROP INDEX CONCURRENTLY part_k_idx
REINDEX TABLE CONCURRENTLY t
REINDEX INDEX CONCURRENTLY t_pkey
REINDEX (CONCURRENTLY) TABLE t
REINDEX SCHEMA public
REINDEX SCHEMA CONCURRENTLY public
VACUUM
VACUUM t
VACUUM FULL t
VACUUM (ANALYZE) t
CLUSTER
ALTER TABLE part DETACH PARTITION part_1 CONCURRENTLY
DISCARD ALL
CREATE SUBSCRIPTION n CONNECTION 'dbname=nothing' PUBLICATION pub
COMMIT PREPARED 'n'
ROLLBACK PREPARED 'n'
""".strip().splitlines()
ALLOWED = """
REINDEX TABLE t
REINDEX INDEX t_pkey
ANALYZE t
CLUSTER t USING t_pkey
CREATE INDEX n ON t (id)
REINDEX (CONCURRENTLY false) TABLE t
ALTER TABLE part DETACH PARTITION part_1
DISCARD PLANS
ALTER DATABASE postgres SET work_mem = '4MB'
CREATE SUBSCRIPTION n CONNECTION 'dbname=nothing' PUBLICATION pub WITH (connect = false)
ALTER SUBSCRIPTION sub DISABLE
ALTER SUBSCRIPTION sub CONNECTION 'dbname=other'
ALTER SUBSCRIPTION sub SET (synchronous_commit = off)
REFRESH MATERIALIZED VIEW m
ALTER TYPE mood ADD VALUE 'new'
TRUNCATE t
LOCK TABLE t
""".strip().splitlines()


@pytest.fixture(scope="module", params=["server", pytest.param("server16", marks=pytest.mark.long)])
def conn(request: pytest.FixtureRequest) -> Iterator[psycopg.Connection]:
    """A connection to a database with a few objects, on each server version."""
    server: EmbeddedServer = request.getfixturevalue(request.param)
    name = f"sql_transactional_{request.param}"
    conninfo = server.create_database(name)
    with psycopg.connect(conninfo, autocommit=True) as conn:
        conn.execute("CREATE TYPE mood AS ENUM ('good'); CREATE MATERIALIZED VIEW m AS SELECT 1")
        for statement in SETUP.strip().splitlines():
            conn.execute(statement)  # type: ignore[call-overload]
    with psycopg.connect(conninfo) as conn:
        yield conn
        conn.rollback()
    with psycopg.connect(conninfo, autocommit=True) as conn:
        conn.execute("DROP SUBSCRIPTION sub")
    server.drop_database(name)


@pytest.mark.parametrize("sql", REFUSED)
def test_what_the_server_refuses_in_a_block_is_known(conn: psycopg.Connection, sql: str) -> None:
    conn.rollback()
    with pytest.raises(ActiveSqlTransaction):
        conn.execute(sql)  # type: ignore[call-overload]
    conn.rollback()
    assert not any(statement.transactional and statement.kind != "unknown" for statement in read_file(sql))
    with pytest.raises(PlanError, match=r"cannot run in a transaction block|PREPARED"):
        split(f"BEGIN; {sql}; COMMIT")


@pytest.mark.parametrize("sql", ALLOWED)
def test_what_runs_in_a_block_is_not_kept_from_it(conn: psycopg.Connection, sql: str) -> None:
    conn.rollback()
    conn.execute(sql)  # type: ignore[call-overload]
    conn.rollback()
    assert split(f"BEGIN; {sql}; COMMIT")[0].transactional


def test_a_routine_that_commits_cannot(conn: psycopg.Connection) -> None:
    conn.rollback()
    block = "DO $$ BEGIN COMMIT; END $$"
    conn.execute("SELECT 1")
    with pytest.raises(psycopg.errors.InvalidTransactionTermination):
        conn.execute(block)
    conn.rollback()
    assert not read_file(block)[0].transactional
    procedure = "CREATE PROCEDURE f() LANGUAGE plpgsql AS 'BEGIN COMMIT; END'; CALL f()"
    assert [s.transactional for s in read_file(procedure)] == [True, False]


def test_a_partitioned_table_made_before_is_known_to_need_it_alone() -> None:
    made = "CREATE TABLE n (k int) PARTITION BY LIST (k);"
    assert [s.transactional for s in read_file(f"{made} REINDEX TABLE n; CLUSTER n")] == [True, False, False]
