"""The analyser's claims against a real server: no lock weaker than what pg_locks shows, no rewrite denied."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
import pytest

from console.demo.server import EmbeddedServer
from console.sql.analyse import read_file
from console.sql.locks import LEVEL
from console.sql.model import Statement

SETUP = """
CREATE TABLE p (id int PRIMARY KEY, v text);
CREATE TABLE c (id int PRIMARY KEY, p_id int CONSTRAINT c_p_fkey REFERENCES p (id), x int, y text, z varchar(50),
  d numeric(10, 2), t timestamp, CONSTRAINT c_x_check CHECK (x > 0) NOT VALID);
CREATE INDEX c_x_idx ON c (x);
CREATE UNIQUE INDEX c_y_idx ON c (y);
ALTER TABLE c ADD CONSTRAINT c_late_fkey FOREIGN KEY (x) REFERENCES p (id) NOT VALID;
CREATE TABLE child (id int, c_id int CONSTRAINT child_c_fkey REFERENCES c (id));
CREATE TABLE other (id int, c_id int);
CREATE TABLE part (k int, p_id int CONSTRAINT part_p_fkey REFERENCES p (id), w text) PARTITION BY RANGE (k);
CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (1) TO (10);
CREATE TABLE part_rest PARTITION OF part DEFAULT;
CREATE INDEX part_k_idx ON part (k);
CREATE TABLE loose (k int, p_id int, w text);
CREATE TABLE heir (extra int) INHERITS (loose);
CREATE TABLE alone (k int, p_id int, w text);
CREATE VIEW vw AS SELECT id, x FROM c;
CREATE MATERIALIZED VIEW mv AS SELECT id, v FROM p;
CREATE UNIQUE INDEX mv_idx ON mv (id);
CREATE SEQUENCE sq;
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE TYPE pair AS (a int, b int);
CREATE DOMAIN pos AS int CHECK (VALUE > 0);
CREATE DOMAIN plain AS int;
CREATE TABLE dom (id int, q plain);
CREATE TABLE owned (id serial PRIMARY KEY, m mood);
CREATE FUNCTION trg() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER c_trg BEFORE INSERT ON c FOR EACH ROW EXECUTE FUNCTION trg();
CREATE POLICY c_policy ON c USING (true);
CREATE RULE c_rule AS ON DELETE TO c DO ALSO SELECT 1;
CREATE STATISTICS c_stats ON x, p_id FROM c;
CREATE SCHEMA attic;
CREATE ROLE lock_reader;
INSERT INTO p SELECT n, 'v' FROM generate_series(1, 20) n;
INSERT INTO c SELECT n, n, n, 'y' || n, 'z', 1, now() FROM generate_series(1, 20) n;
INSERT INTO loose SELECT n + 20, n, 'w' FROM generate_series(1, 5) n;
"""

CASES = """
CREATE TABLE n (id int)
CREATE TABLE n (id int REFERENCES p (id), q int REFERENCES c)
CREATE TABLE IF NOT EXISTS n (id bigserial PRIMARY KEY)
CREATE TABLE n (LIKE c INCLUDING ALL)
CREATE TABLE n () INHERITS (loose)
CREATE TABLE n PARTITION OF part FOR VALUES FROM (20) TO (30)
CREATE TABLE n (id int) PARTITION BY HASH (id); CREATE TABLE n0 PARTITION OF n FOR VALUES WITH (MODULUS 2, REMAINDER 0)
CREATE TABLE n AS SELECT c.* FROM c JOIN p ON p.id = c.p_id
SELECT * INTO n FROM c
CREATE TABLE n (id int PRIMARY KEY); CREATE INDEX ON n (id); ALTER TABLE n ADD COLUMN b uuid DEFAULT gen_random_uuid()
CREATE TABLE n (id int PRIMARY KEY REFERENCES p); DROP TABLE n
CREATE MATERIALIZED VIEW n AS SELECT * FROM c
CREATE VIEW n AS SELECT * FROM c WHERE id IN (SELECT id FROM p)
CREATE OR REPLACE VIEW vw AS SELECT id, x FROM c
CREATE INDEX ON c (y)
CREATE UNIQUE INDEX n ON c (id, x) WHERE x > 1
CREATE INDEX IF NOT EXISTS c_x_idx ON c (x)
CREATE INDEX n ON part (w)
REINDEX INDEX c_x_idx
REINDEX TABLE c
ALTER INDEX c_x_idx RENAME TO n
ALTER INDEX c_x_idx SET (fillfactor = 80)
DROP INDEX c_x_idx
DROP INDEX part_k_idx
CREATE TRIGGER n AFTER INSERT ON c FOR EACH ROW EXECUTE FUNCTION trg()
CREATE CONSTRAINT TRIGGER n AFTER INSERT ON c FROM p FOR EACH ROW EXECUTE FUNCTION trg()
ALTER TRIGGER c_trg ON c RENAME TO n
DROP TRIGGER c_trg ON c
DROP TRIGGER IF EXISTS nothing ON c
CREATE RULE n AS ON INSERT TO other DO ALSO INSERT INTO loose VALUES (1, 1, 'a')
DROP RULE c_rule ON c
CREATE POLICY n ON c USING (true)
ALTER POLICY c_policy ON c USING (id IN (SELECT id FROM p))
DROP POLICY c_policy ON c
CREATE STATISTICS n ON id, x FROM c
COMMENT ON TABLE c IS 'a'
COMMENT ON COLUMN c.x IS 'a'
COMMENT ON INDEX c_x_idx IS 'a'
COMMENT ON VIEW vw IS 'a'
COMMENT ON CONSTRAINT c_x_check ON c IS 'a'
COMMENT ON TRIGGER c_trg ON c IS 'a'
GRANT SELECT ON c, p TO lock_reader
GRANT SELECT (id) ON c TO lock_reader
REVOKE ALL ON c FROM lock_reader
GRANT USAGE ON SEQUENCE sq TO lock_reader
GRANT SELECT ON ALL TABLES IN SCHEMA attic TO lock_reader
ALTER TABLE c ADD COLUMN n int
ALTER TABLE c ADD COLUMN n int DEFAULT 3
ALTER TABLE c ADD COLUMN n timestamptz DEFAULT now()
ALTER TABLE c ADD COLUMN n uuid DEFAULT gen_random_uuid()
ALTER TABLE c ADD COLUMN n float8 DEFAULT random() * 3
ALTER TABLE c ADD COLUMN n int NOT NULL DEFAULT 1
ALTER TABLE c ADD COLUMN n bigserial
ALTER TABLE c ADD COLUMN n int GENERATED ALWAYS AS IDENTITY
ALTER TABLE c ADD COLUMN n int GENERATED ALWAYS AS (x + 1) STORED
ALTER TABLE c ADD COLUMN n int CHECK (n > 0)
ALTER TABLE c ADD COLUMN n int UNIQUE
ALTER TABLE c ADD COLUMN n int REFERENCES p (id)
ALTER TABLE c ADD COLUMN n int DEFAULT 1 REFERENCES p (id)
ALTER TABLE c ADD COLUMN n pos
ALTER TABLE c ADD COLUMN n pos DEFAULT 4
ALTER TABLE c ADD COLUMN n mood DEFAULT 'good'
ALTER TABLE c ADD COLUMN IF NOT EXISTS x int
ALTER TABLE c DROP COLUMN y
ALTER TABLE c DROP COLUMN p_id
ALTER TABLE c DROP COLUMN id CASCADE
ALTER TABLE c ALTER COLUMN x SET NOT NULL
ALTER TABLE c ALTER COLUMN x SET DEFAULT 3
ALTER TABLE c ALTER COLUMN x DROP DEFAULT
ALTER TABLE c ALTER COLUMN x DROP NOT NULL
ALTER TABLE other ALTER COLUMN c_id TYPE bigint
ALTER TABLE c ALTER COLUMN z TYPE varchar(100)
ALTER TABLE c ALTER COLUMN z TYPE text
ALTER TABLE c ALTER COLUMN y TYPE varchar(10)
ALTER TABLE c ALTER COLUMN d TYPE numeric(12, 2)
ALTER TABLE c ALTER COLUMN d TYPE numeric(12, 4)
ALTER TABLE c ALTER COLUMN t TYPE timestamptz
ALTER TABLE c ALTER COLUMN p_id TYPE bigint
DROP VIEW vw; ALTER TABLE c ALTER COLUMN id TYPE bigint USING id::bigint
ALTER TABLE c ALTER COLUMN x SET STATISTICS 100
ALTER TABLE c ALTER COLUMN x SET (n_distinct = 5)
ALTER TABLE c ALTER COLUMN y SET STORAGE EXTERNAL
ALTER TABLE c SET (fillfactor = 80)
ALTER TABLE c SET (autovacuum_enabled = false)
ALTER TABLE c RESET (fillfactor)
ALTER TABLE c SET (user_catalog_table = true)
ALTER TABLE loose SET UNLOGGED
ALTER TABLE c CLUSTER ON c_x_idx
ALTER TABLE c SET WITHOUT CLUSTER
ALTER TABLE c ADD CONSTRAINT n FOREIGN KEY (x) REFERENCES p (id)
ALTER TABLE c ADD CONSTRAINT n FOREIGN KEY (x) REFERENCES p (id) NOT VALID
ALTER TABLE part ADD CONSTRAINT n FOREIGN KEY (k) REFERENCES p (id)
ALTER TABLE c ADD CONSTRAINT n CHECK (x > 0)
ALTER TABLE c ADD CONSTRAINT n CHECK (x > 0) NOT VALID
ALTER TABLE c ADD CONSTRAINT n UNIQUE (x)
ALTER TABLE c ADD CONSTRAINT n UNIQUE USING INDEX c_y_idx
ALTER TABLE other ADD PRIMARY KEY (id)
ALTER TABLE part ADD PRIMARY KEY (k)
ALTER TABLE c ADD CONSTRAINT n EXCLUDE (x WITH =)
ALTER TABLE c VALIDATE CONSTRAINT c_x_check
ALTER TABLE c VALIDATE CONSTRAINT c_late_fkey
ALTER TABLE c ADD CONSTRAINT n FOREIGN KEY (x) REFERENCES p (id) NOT VALID; ALTER TABLE c VALIDATE CONSTRAINT n
ALTER TABLE c DROP CONSTRAINT c_x_check
ALTER TABLE c DROP CONSTRAINT c_p_fkey
ALTER TABLE part DROP CONSTRAINT part_p_fkey
ALTER TABLE c DROP CONSTRAINT c_pkey CASCADE
ALTER TABLE c ALTER CONSTRAINT c_p_fkey DEFERRABLE
ALTER TABLE c RENAME CONSTRAINT c_x_check TO n
ALTER TABLE c RENAME COLUMN x TO n
ALTER TABLE c RENAME TO n
ALTER TABLE c SET SCHEMA attic
ALTER TABLE owned SET SCHEMA attic
ALTER TABLE owned OWNER TO lock_reader
ALTER TABLE c DISABLE TRIGGER c_trg
ALTER TABLE c ENABLE TRIGGER ALL
ALTER TABLE c DISABLE TRIGGER USER
ALTER TABLE c ENABLE REPLICA TRIGGER c_trg
ALTER TABLE c DISABLE RULE c_rule
ALTER TABLE c ENABLE ROW LEVEL SECURITY
ALTER TABLE c REPLICA IDENTITY FULL
ALTER TABLE heir NO INHERIT loose
ALTER TABLE other ADD COLUMN k int, ADD COLUMN p_id int, ADD COLUMN w text; ALTER TABLE other INHERIT loose
ALTER TABLE part ATTACH PARTITION alone FOR VALUES FROM (20) TO (30)
ALTER TABLE part DETACH PARTITION part_1
ALTER TABLE part ADD COLUMN n int
ALTER TABLE loose ADD COLUMN n int, ALTER COLUMN k SET STATISTICS 10, ADD CHECK (k > 0)
ALTER TABLE owned ALTER COLUMN m DROP NOT NULL, ALTER COLUMN id SET DEFAULT 3
ALTER VIEW vw RENAME TO n
ALTER VIEW vw SET (security_barrier = true)
ALTER MATERIALIZED VIEW mv RENAME TO n
ALTER SEQUENCE sq INCREMENT BY 2
ALTER SEQUENCE sq OWNED BY c.id
ALTER SEQUENCE sq RENAME TO n
CREATE SEQUENCE n OWNED BY c.id
CREATE SEQUENCE n; DROP SEQUENCE n
DROP SEQUENCE sq
DROP TABLE other
DROP TABLE child
DROP TABLE c CASCADE
DROP TABLE part
DROP TABLE part_1
DROP TABLE owned
DROP VIEW vw
DROP MATERIALIZED VIEW mv
DROP TYPE pair
DROP TYPE mood CASCADE
DROP FUNCTION trg() CASCADE
DROP SCHEMA attic CASCADE
TRUNCATE other, loose
TRUNCATE p CASCADE
TRUNCATE owned RESTART IDENTITY
LOCK TABLE c IN SHARE MODE
LOCK TABLE c, p IN ACCESS SHARE MODE
CLUSTER c USING c_x_idx
ANALYZE c
REFRESH MATERIALIZED VIEW mv
REFRESH MATERIALIZED VIEW CONCURRENTLY mv
INSERT INTO other SELECT id, x FROM c
INSERT INTO other VALUES (1, (SELECT max(id) FROM p)) RETURNING id
INSERT INTO p VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET v = excluded.v
UPDATE other SET c_id = c.id FROM c WHERE c.id = other.id
UPDATE c SET y = 'b' WHERE id = 1
DELETE FROM other USING c WHERE other.c_id = c.id
MERGE INTO p USING c ON p.id = c.id WHEN MATCHED THEN UPDATE SET v = 'm' WHEN NOT MATCHED THEN INSERT VALUES (c.id, 'n')
SELECT * FROM c
SELECT * FROM vw
SELECT * FROM c JOIN p ON c.p_id = p.id FOR UPDATE OF c
SELECT * FROM c FOR SHARE
SELECT * FROM (SELECT * FROM c) s, p FOR UPDATE OF s
SELECT nextval('sq')
WITH c AS (SELECT * FROM c), gone AS (DELETE FROM other RETURNING id) SELECT * FROM c, gone
WITH RECURSIVE r AS (SELECT id FROM p UNION SELECT id + 1 FROM r WHERE id < 3) INSERT INTO other SELECT id FROM r
DO $$ BEGIN UPDATE other SET c_id = 1 WHERE id = 1; ALTER TABLE loose ADD COLUMN n int; END $$
DO $$ DECLARE a int := (SELECT max(id) FROM c); BEGIN a := (SELECT min(id) FROM p); END $$
DO $$ BEGIN EXECUTE 'DROP TABLE child'; END $$
DO $$ DECLARE r record; BEGIN FOR r IN SELECT * FROM p LOOP DELETE FROM other WHERE id = r.id; END LOOP; END $$
CREATE FUNCTION n() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM c'
CREATE FUNCTION n() RETURNS bigint LANGUAGE sql RETURN (SELECT count(*) FROM c)
CREATE FUNCTION n() RETURNS void LANGUAGE sql AS 'UPDATE other SET c_id = 2'; SELECT n()
CREATE FUNCTION n() RETURNS void LANGUAGE plpgsql AS 'BEGIN LOCK TABLE loose; END'; SELECT n()
CREATE PROCEDURE n() LANGUAGE plpgsql AS 'BEGIN TRUNCATE loose; END'; CALL n()
ALTER DOMAIN plain ADD CHECK (VALUE > 0)
ALTER DOMAIN plain SET NOT NULL
ALTER DOMAIN plain ADD CONSTRAINT n CHECK (VALUE > 0) NOT VALID; ALTER DOMAIN plain VALIDATE CONSTRAINT n
ALTER TYPE pair ADD ATTRIBUTE n int
ALTER TYPE mood ADD VALUE 'ugly'
ALTER TYPE mood RENAME VALUE 'bad' TO 'worse'
CREATE TYPE n AS ENUM ('a')
CREATE TYPE n AS (a int)
CREATE PUBLICATION n FOR TABLE c, p
CREATE PUBLICATION n FOR TABLE c; ALTER PUBLICATION n ADD TABLE p; ALTER PUBLICATION n DROP TABLE c
EXPLAIN ANALYZE DELETE FROM other
DECLARE n CURSOR FOR SELECT * FROM c FOR UPDATE
SET LOCAL lock_timeout = '1s'
CREATE SCHEMA n
""".strip().splitlines()

# A relation that exists before the statement, and the relations whose lock stands for its own:
# a table for its index, a table for its TOAST table, a parent for its partitions and children, a view for what it reads.
RELATIONS = """
WITH RECURSIVE up (oid, over) AS (
  SELECT indexrelid, indrelid FROM pg_index UNION
  SELECT reltoastrelid, oid FROM pg_class WHERE reltoastrelid <> 0 UNION
  SELECT inhrelid, inhparent FROM pg_inherits UNION
  SELECT refobjid, ev_class FROM pg_depend JOIN pg_rewrite r ON r.oid = objid AND classid = 'pg_rewrite'::regclass
    WHERE refclassid = 'pg_class'::regclass AND refobjid <> ev_class
), all_up (oid, over) AS (SELECT * FROM up UNION SELECT a.oid, u.over FROM all_up a JOIN up u ON u.oid = a.over)
SELECT c.oid, c.relname, c.relkind, c.relfilenode,
  array(SELECT o.relname::text FROM all_up JOIN pg_class o ON o.oid = over WHERE all_up.oid = c.oid)
FROM pg_class c WHERE c.oid >= 16384
"""
LOCKS = (
    "SELECT relation, mode FROM pg_locks WHERE locktype = 'relation' AND pid = pg_backend_pid() AND relation >= 16384"
)
ASSUMED = (
    "reference",
    "default partition",
    "parent of",
    "sequences of",
    "depends on",
    "table of",
    "tables ",
    "indexes of",
)


@dataclass(frozen=True)
class Relation:
    """One relation of the prepared database."""

    name: str
    kind: str
    filenode: int
    over: tuple[str, ...]


def mode_name(name: str) -> str:
    """``AccessExclusiveLock`` as ACCESS EXCLUSIVE."""
    return "".join(" " + ch if ch.isupper() else ch for ch in name.removesuffix("Lock")).strip().upper()


def relations(conn: psycopg.Connection) -> dict[int, Relation]:
    """Every relation of the database that is not the system's."""
    return {row[0]: Relation(row[1], row[2], row[3], tuple(row[4])) for row in conn.execute(RELATIONS)}


def claimed_level(statements: tuple[Statement, ...], relation: Relation) -> int:
    """The strongest lock claimed on a relation, by its name or by what stands for it.

    Assumptions about objects that only the catalogue knows count for relations that no claim names.
    """
    named, other = 0, 0
    for lock in (lock for statement in statements for lock in statement.locks):
        level = LEVEL[lock.mode]
        indexes = relation.kind == "i" and lock.object in {f"indexes of {table}" for table in relation.over}
        everything = lock.object == "?" or lock.object.startswith(("every table of", "everything in"))
        assumed = lock.basis == "assumed" and any(words in lock.object for words in ASSUMED)
        if lock.object == relation.name or indexes:
            named = max(named, level)
        elif lock.object in relation.over or everything or assumed:
            other = max(other, level)
    return max(named, other) if relation.kind == "i" or not named else named


@pytest.fixture(scope="module", params=["server", "server16"])
def prepared(request: pytest.FixtureRequest) -> Iterator[tuple[psycopg.Connection, dict[int, Relation], int]]:
    """A database with the tables of SETUP, once for each server version."""
    server: EmbeddedServer = request.getfixturevalue(request.param)
    name = f"sql_locks_{request.param}"
    conninfo = server.create_database(name)
    with psycopg.connect(conninfo) as conn:
        conn.autocommit = True
        conn.execute("DROP ROLE IF EXISTS lock_reader")
        conn.execute(SETUP)
        conn.autocommit = False
        known = relations(conn)
        conn.rollback()
        yield conn, known, conn.info.server_version // 10000
        conn.rollback()
        conn.execute("DROP OWNED BY lock_reader")
        conn.execute("DROP ROLE lock_reader")
        conn.commit()
    server.drop_database(name)


@pytest.mark.parametrize("sql", CASES)
def test_claims_are_not_weaker_than_what_the_server_does(
    prepared: tuple[psycopg.Connection, dict[int, Relation], int], sql: str
) -> None:
    conn, known, major = prepared
    statements = read_file(sql, server_major=major, second_reader=False)
    conn.rollback()
    try:
        conn.execute(sql)
        held = conn.execute(LOCKS).fetchall()
        after = relations(conn)
    finally:
        conn.rollback()
    weak = [
        f"{known[oid].name}: {mode_name(mode)}"
        for oid, mode in held
        if oid in known and claimed_level(statements, known[oid]) < LEVEL[mode_name(mode)]
    ]
    assert weak == [], [(lock.object, lock.mode, lock.basis) for s in statements for lock in s.locks]
    named = {table for statement in statements for table in statement.tables}
    rewritten = {
        r.name
        for oid, r in known.items()
        if r.kind in "rm" and oid in after and after[oid].filenode != r.filenode and r.name in named
    }
    truncates = any("TRUNCATE" in s.sql for s in statements)
    if rewritten and not truncates:
        assert any(s.rewrite is not False for s in statements), f"rewritten without warning: {rewritten}"
    if any(s.rewrite for s in statements) and not any(lock.new for s in statements for lock in s.locks):
        assert rewritten, "a rewrite was claimed as certain and did not happen"


def test_the_measure_would_notice_a_weak_claim(
    prepared: tuple[psycopg.Connection, dict[int, Relation], int],
) -> None:
    _, known, _ = prepared
    table = next(r for r in known.values() if r.name == "c")
    assert claimed_level(read_file("SELECT * FROM c", second_reader=False), table) < LEVEL["ACCESS EXCLUSIVE"]
