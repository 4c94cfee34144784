"""What previews claim with the catalogue at hand, against pg_locks, filenodes and counters of a real server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
import pytest

from console.demo.server import EmbeddedServer
from console.engine.catalogue_facts import read_catalogue
from console.sql.analyse import read_file
from console.sql.facts import Known
from console.sql.locks import LEVEL
from console.sql.model import Statement
from console.sql.resolve import asked, learn

SETUP = """
CREATE TABLE p (id int PRIMARY KEY, v text);
CREATE TABLE c (id int PRIMARY KEY, p_id int CONSTRAINT c_p_fkey REFERENCES p (id), x int, y text, z varchar(50),
  d numeric(10, 2), t timestamp, b text, s varchar(20), n int NOT NULL DEFAULT 1,
  CONSTRAINT c_x_known CHECK (x IS NOT NULL),
  CONSTRAINT c_s_short CHECK (length(s) < 15));
CREATE INDEX c_z_idx ON c (z);
CREATE INDEX c_t_idx ON c (t);
ALTER TABLE c ADD CONSTRAINT c_late_fkey FOREIGN KEY (x) REFERENCES p (id) NOT VALID;
ALTER TABLE c ADD CONSTRAINT c_y_later CHECK (y IS NOT NULL) NOT VALID;
CREATE TABLE child (id int, c_id int CONSTRAINT child_c_fkey REFERENCES c (id));
CREATE TABLE part (k int, p_id int CONSTRAINT part_p_fkey REFERENCES p (id), w text) PARTITION BY RANGE (k);
CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (1) TO (10);
CREATE TABLE part_rest PARTITION OF part DEFAULT;
CREATE INDEX part_k_idx ON part (k);
CREATE TABLE split (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE split_1 PARTITION OF split FOR VALUES FROM (1) TO (100);
CREATE TABLE to_split (id int, s_id int CONSTRAINT to_split_fkey REFERENCES split (id));
CREATE TABLE loose (k int, p_id int, w text);
CREATE TABLE heir (extra int) INHERITS (loose);
CREATE TABLE alone (k int, p_id int, w text);
CREATE VIEW vw AS SELECT id, x FROM c;
CREATE VIEW vw2 AS SELECT id FROM vw;
CREATE MATERIALIZED VIEW mv AS SELECT id, v FROM p;
CREATE UNIQUE INDEX mv_idx ON mv (id);
CREATE DOMAIN pos AS int CHECK (VALUE > 0);
CREATE DOMAIN plain AS int;
CREATE DOMAIN over AS pos;
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE TABLE dom (id int, q plain, r pos);
CREATE TABLE owned (id serial PRIMARY KEY, m mood);
CREATE FUNCTION roll() RETURNS int LANGUAGE plpgsql VOLATILE AS 'BEGIN RETURN 1; END';
CREATE FUNCTION fixed() RETURNS int LANGUAGE plpgsql STABLE AS 'BEGIN RETURN 1; END';
CREATE SCHEMA "My App";
CREATE TABLE "My App"."Order" (id int PRIMARY KEY, v varchar(5));
CREATE TABLE "My App".line (o_id int CONSTRAINT line_fkey REFERENCES "My App"."Order");
INSERT INTO p SELECT n, 'v' FROM generate_series(1, 20) n;
INSERT INTO c SELECT n, n, n, 'y' || n, 'z', 1, now(), 'b', 's' FROM generate_series(1, 20) n;
INSERT INTO loose SELECT n + 20, n, 'w' FROM generate_series(1, 5) n;
INSERT INTO dom SELECT n, n, n FROM generate_series(1, 5) n;
INSERT INTO part SELECT n, n, 'w' FROM generate_series(1, 15) n;
"""

# statement | rewrite | scan, each yes, no or ? (not known); open: what the catalogue cannot tell stays assumed
CASES = """
ALTER TABLE c ALTER COLUMN z TYPE varchar(100) | no | ?
ALTER TABLE c ALTER COLUMN b TYPE varchar | no | no
ALTER TABLE c ALTER COLUMN s TYPE varchar(30) | no | ?
ALTER TABLE c ALTER COLUMN z TYPE varchar(10) | ? | ?
ALTER TABLE c ALTER COLUMN d TYPE numeric(12, 2) | no | no
ALTER TABLE c ALTER COLUMN d TYPE numeric(12, 4) | ? | ?
ALTER TABLE c ALTER COLUMN t TYPE timestamptz | no | ?
ALTER TABLE c ALTER COLUMN n TYPE bigint | yes | yes
ALTER TABLE "My App"."Order" ALTER COLUMN v TYPE varchar(9) | no | no
ALTER TABLE c ALTER COLUMN x SET NOT NULL | no | no
ALTER TABLE c ALTER COLUMN n SET NOT NULL | no | no
ALTER TABLE c ALTER COLUMN y SET NOT NULL | no | yes
ALTER TABLE c DROP CONSTRAINT c_x_known; ALTER TABLE c ALTER COLUMN x SET NOT NULL | no | yes
ALTER TABLE c VALIDATE CONSTRAINT c_y_later; ALTER TABLE c ALTER COLUMN y SET NOT NULL | no | no
ALTER TABLE c ALTER COLUMN n DROP NOT NULL; ALTER TABLE c ALTER COLUMN n SET NOT NULL | no | yes
ALTER TABLE alone ADD COLUMN a int DEFAULT roll() | yes | yes | open
ALTER TABLE alone ADD COLUMN a int DEFAULT fixed() | no | ? | open
ALTER TABLE dom ADD COLUMN a pos | yes | yes
ALTER TABLE dom ADD COLUMN a over DEFAULT 4 | yes | yes
ALTER TABLE dom ADD COLUMN a plain | no | no
ALTER TABLE alone ADD COLUMN a mood | no | no
ALTER TABLE part ADD COLUMN a int | no | no
ALTER TABLE part ALTER COLUMN w TYPE varchar | no | no
ALTER TABLE loose ADD COLUMN a int DEFAULT 3 | no | no
ALTER TABLE part ADD CONSTRAINT n CHECK (k < 1000) | no | yes
ALTER TABLE c DROP CONSTRAINT c_p_fkey | no | no
ALTER TABLE c DROP CONSTRAINT c_x_known | no | no
ALTER TABLE part DROP CONSTRAINT part_p_fkey | no | no
ALTER TABLE to_split DROP CONSTRAINT to_split_fkey | no | no
ALTER TABLE child ADD CONSTRAINT n FOREIGN KEY (id) REFERENCES split (id) NOT VALID | no | no
ALTER TABLE c VALIDATE CONSTRAINT c_late_fkey | no | yes
ALTER TABLE c VALIDATE CONSTRAINT c_y_later | no | yes
ALTER TABLE c DROP COLUMN x CASCADE | no | no
ALTER TABLE c DROP COLUMN p_id | no | no
ALTER TABLE "My App".line DROP CONSTRAINT line_fkey | no | no
ALTER DOMAIN pos ADD CONSTRAINT n CHECK (VALUE < 100) | no | yes
DROP TABLE child | no | no
DROP TABLE to_split | no | no
DROP TABLE c CASCADE | no | no
DROP TABLE part_1 | no | no
DROP TABLE part | no | no
DROP TABLE p CASCADE | no | no
DROP TABLE loose CASCADE | no | no
DROP TABLE owned | no | no
DROP VIEW vw CASCADE | no | no
DROP INDEX c_z_idx | no | no
DROP INDEX part_k_idx | no | no
CREATE INDEX n ON part (w) | no | yes
CREATE OR REPLACE VIEW vw2 AS SELECT id FROM vw | no | no
CREATE OR REPLACE VIEW vw3 AS SELECT id FROM vw | no | no
REFRESH MATERIALIZED VIEW mv | yes | yes
CREATE TABLE n PARTITION OF part FOR VALUES FROM (20) TO (30) | no | ?
ALTER TABLE part ATTACH PARTITION alone FOR VALUES FROM (100) TO (200) | no | ?
ALTER TABLE part DETACH PARTITION part_1 | no | no
ALTER TABLE part DETACH PARTITION part_1; DROP TABLE part_1 | no | no | open
ALTER TABLE part DETACH PARTITION part_rest; DROP TABLE part_1 | no | no
DO 'BEGIN ALTER TABLE c DROP CONSTRAINT c_x_known; END'; ALTER TABLE c ALTER COLUMN x SET NOT NULL | no | yes
DO 'BEGIN TRUNCATE p CASCADE; END' | no | no
ALTER TABLE c ALTER COLUMN p_id TYPE bigint | yes | yes
CREATE TABLE n PARTITION OF part FOR VALUES FROM (20) TO (30); ALTER TABLE part ADD COLUMN q int | no | no
ALTER TABLE alone INHERIT loose; ALTER TABLE loose ADD COLUMN q int | no | no
ALTER TABLE alone ADD CONSTRAINT f FOREIGN KEY (k) REFERENCES c (id) NOT VALID; DROP TABLE alone | no | no
CREATE TRIGGER n AFTER INSERT ON part FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger() | no | no
TRUNCATE p CASCADE | no | no
TRUNCATE part | no | no
INSERT INTO child VALUES (1, 1) | no | no
DELETE FROM child WHERE id = 1 | no | ?
UPDATE c SET id = id WHERE id = 1 | no | ?
INSERT INTO part VALUES (2, 2, 'w') | no | no
ALTER TABLE owned OWNER TO CURRENT_USER | no | no
ALTER TABLE c RENAME COLUMN b TO bb; ALTER TABLE c ALTER COLUMN bb TYPE varchar | ? | ?
ALTER TABLE c RENAME TO moved; ALTER TABLE moved DROP CONSTRAINT c_p_fkey | no | no | open
SET LOCAL search_path = "My App"; ALTER TABLE line DROP CONSTRAINT line_fkey | no | no | open
LOCK TABLE part IN SHARE MODE | no | no
COMMENT ON TABLE part IS 'x' | no | no
"""
# What is counted as locked though it is not: stronger than the truth, never weaker.
OVER = {
    "ALTER TABLE c DROP COLUMN x CASCADE": {"child"},
    "DROP TABLE part_1": {"p"},
    "INSERT INTO part VALUES (2, 2, 'w')": {"part_rest"},
    "DELETE FROM child WHERE id = 1": {"c"},
    "UPDATE c SET id = id WHERE id = 1": {"child", "p"},
    "ALTER TABLE owned OWNER TO CURRENT_USER": {"owned_id_seq"},
}
_LOCKS = """
SELECT CASE n.nspname WHEN 'public' THEN relname ELSE n.nspname || '.' || relname END, l.mode
FROM pg_locks l JOIN before c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' AND c.relkind NOT IN ('i', 'I', 't')
"""
_BEFORE = (
    "CREATE TEMP TABLE before ON COMMIT DROP AS SELECT oid, relname, relnamespace, relkind, relfilenode"
    " FROM pg_class WHERE oid >= 16384"
)
_WORD = {True: "yes", False: "no", None: "?"}


@dataclass(frozen=True)
class Ground:
    """A prepared database, and its catalogue as a preview reads it."""

    conninfo: str

    def read(self, text: str) -> tuple[Statement, ...]:
        """The claims of each statement, as a preview with this database makes them."""
        names = set()
        for statement in read_file(text, second_reader=False):
            names |= {*asked(lock.object for lock in statement.locks), *statement.tables}
        with psycopg.connect(self.conninfo, autocommit=True) as conn:
            known = Known(server_major=conn.info.server_version // 10000)
            learn(known, read_catalogue(conn, names))
        return read_file(text, known=known, second_reader=False)

    def run(self, text: str) -> tuple[dict[str, str], set[str]]:
        """The strongest lock on each relation that was there before, and the tables written anew; nothing stays."""
        with psycopg.connect(self.conninfo) as conn:
            conn.execute("SET timezone = 'UTC'")  # as the runner does
            conn.execute(_BEFORE)
            conn.execute(text)  # type: ignore[call-overload]
            held: dict[str, str] = {}
            for name, word in conn.execute(_LOCKS):
                mode = "".join(" " + ch if ch.isupper() else ch for ch in word.removesuffix("Lock")).strip().upper()
                if LEVEL[mode] > LEVEL.get(held.get(name, ""), 0):
                    held[name] = mode
            rewritten = {
                name
                for (name,) in conn.execute(
                    "SELECT b.relname FROM before b JOIN pg_class c USING (oid)"
                    " WHERE b.relfilenode <> c.relfilenode AND b.relkind IN ('r', 'm')"
                )
            }
            conn.rollback()
        return held, rewritten


@pytest.fixture(scope="module", params=["server", pytest.param("server16", marks=pytest.mark.long)])
def ground(request: pytest.FixtureRequest) -> Iterator[Ground]:
    server: EmbeddedServer = request.getfixturevalue(request.param)
    name = f"overlay_{request.param}"
    conninfo = server.create_database(name)
    with psycopg.connect(conninfo, autocommit=True) as conn:
        conn.execute(SETUP)  # type: ignore[arg-type]
        conn.execute("ANALYZE")
    yield Ground(conninfo)
    server.drop_database(name)


@pytest.mark.parametrize("case", CASES.strip().splitlines())
def test_claims_with_the_catalogue(ground: Ground, case: str) -> None:
    """Every relation's lock is named and strong enough, and rewrite and scan are as the last statement says."""
    text, rewrite, scan, *still_open = (part.strip() for part in case.split(" | "))
    statements = ground.read(text)
    held, rewritten = ground.run(text)
    claimed: dict[str, str] = {}
    for lock in (lock for statement in statements for lock in statement.locks):
        if LEVEL[lock.mode] > LEVEL.get(claimed.get(lock.object, ""), 0):
            claimed[lock.object] = lock.mode
    assumed = [name for name in claimed if " " in name and not name.startswith("My App.")]
    weaker = {
        name: (mode, claimed.get(name, "nothing"))
        for name, mode in held.items()
        if LEVEL[mode] > LEVEL["ACCESS SHARE"] and LEVEL[mode] > LEVEL.get(claimed.get(name, ""), 0)
    }
    assert bool(assumed) is bool(still_open)
    assert not weaker or (still_open and not set(weaker) & set(claimed))
    over = {lock.object for s in statements for lock in s.locks if lock.basis == "catalogue"} - set(held)
    assert over == OVER.get(text, set())
    last = statements[-1]
    assert (_WORD[last.rewrite], _WORD[last.scan]) == (rewrite, scan)
    if "TRUNCATE" not in text:  # which leaves a new, empty file
        assert not rewritten or any(statement.rewrite is not False for statement in statements)
