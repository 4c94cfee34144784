"""Statements and what is said of them; splitting; the way back; nothing unknown is called safe."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from console.errors import PlanError
from console.sql.analyse import creates, read_file
from console.sql.highlight import tokens
from console.sql.inverse import inverse
from console.sql.lint import lint_json
from console.sql.split import split

# statement | kind | lock on t (- for none) | rewrite | scan | hazards
CASES = """
CREATE TABLE n (id int) | CREATE TABLE | - | no | no |
CREATE TABLE n (id int REFERENCES t) | CREATE TABLE | SHARE ROW EXCLUSIVE | no | no |
CREATE TABLE n PARTITION OF t DEFAULT | CREATE TABLE | ACCESS EXCLUSIVE | no | ? | PARTITION-OF-LOCKS-PARENT
CREATE TABLE n AS SELECT * FROM t | CREATE TABLE AS | ACCESS SHARE | no | ? |
CREATE VIEW n AS SELECT * FROM t | CREATE VIEW | ACCESS SHARE | no | no |
CREATE VIEW n AS SELECT hash_record_extended(t, 0), starts_with(x, 'a') FROM t | CREATE VIEW | ACCESS SHARE | no | no |
CREATE INDEX ON t (x) | CREATE INDEX | SHARE | no | yes | INDEX-NOT-CONCURRENT
CREATE INDEX CONCURRENTLY i ON t (x) | CREATE INDEX | SHARE UPDATE EXCLUSIVE | no | yes |
CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON t (x) | CREATE INDEX | SHARE UPDATE EXCLUSIVE | no | yes | IF-NOT-EXISTS-INDEX
CREATE TRIGGER g AFTER INSERT ON t EXECUTE FUNCTION f() | CREATE TRIGGER | SHARE ROW EXCLUSIVE | no | no |
ALTER TABLE t ADD COLUMN x int | ALTER TABLE | ACCESS EXCLUSIVE | no | no |
ALTER TABLE t ADD x int DEFAULT 1 | ALTER TABLE | ACCESS EXCLUSIVE | no | no |
ALTER TABLE t ADD x timestamptz DEFAULT now() | ALTER TABLE | ACCESS EXCLUSIVE | no | no |
ALTER TABLE t ADD x float8 DEFAULT random() | ALTER TABLE | ACCESS EXCLUSIVE | yes | yes | VOLATILE-DEFAULT-REWRITE
ALTER TABLE t ADD x int DEFAULT mine() | ALTER TABLE | ACCESS EXCLUSIVE | ? | ? | VOLATILE-DEFAULT-REWRITE
ALTER TABLE t ADD x bigserial | ALTER TABLE | ACCESS EXCLUSIVE | yes | yes | SERIAL-COLUMN
ALTER TABLE t ADD x int NOT NULL | ALTER TABLE | ACCESS EXCLUSIVE | no | yes | COLUMN-NOT-NULL-NO-DEFAULT
ALTER TABLE t ADD x int GENERATED ALWAYS AS (1) STORED | ALTER TABLE | ACCESS EXCLUSIVE | yes | yes | GENERATED-COLUMN-REWRITE
ALTER TABLE t ADD x int UNIQUE | ALTER TABLE | ACCESS EXCLUSIVE | no | yes | UNIQUE-BUILDS-INDEX
ALTER TABLE t ADD x int CHECK (x > 0) | ALTER TABLE | ACCESS EXCLUSIVE | no | yes | CHECK-NOT-VALID
ALTER TABLE t ADD x a_domain | ALTER TABLE | ACCESS EXCLUSIVE | ? | ? |
ALTER TABLE t DROP COLUMN x | ALTER TABLE | ACCESS EXCLUSIVE | no | no | DROP-COLUMN
ALTER TABLE t DROP COLUMN x CASCADE | ALTER TABLE | ACCESS EXCLUSIVE | no | no | DROP-COLUMN CASCADE
ALTER TABLE t ALTER x SET NOT NULL | ALTER TABLE | ACCESS EXCLUSIVE | no | yes | SET-NOT-NULL-SCAN
ALTER TABLE t ALTER x SET DEFAULT 1 | ALTER TABLE | ACCESS EXCLUSIVE | no | no |
ALTER TABLE t ALTER x TYPE bigint | ALTER TABLE | ACCESS EXCLUSIVE | yes | yes | TYPE-CHANGE-REWRITE
ALTER TABLE t ALTER x TYPE text | ALTER TABLE | ACCESS EXCLUSIVE | ? | ? | TYPE-CHANGE-REWRITE
ALTER TABLE t ALTER x SET STATISTICS 9 | ALTER TABLE | SHARE UPDATE EXCLUSIVE | no | no |
ALTER TABLE t SET (fillfactor = 9) | ALTER TABLE | SHARE UPDATE EXCLUSIVE | no | no |
ALTER TABLE t SET (user_catalog_table) | ALTER TABLE | ACCESS EXCLUSIVE | no | no |
ALTER TABLE t SET LOGGED | ALTER TABLE | ACCESS EXCLUSIVE | yes | yes | TABLE-REWRITE
ALTER TABLE t ADD CONSTRAINT k FOREIGN KEY (x) REFERENCES p | ALTER TABLE | SHARE ROW EXCLUSIVE | no | yes | FK-NOT-VALID
ALTER TABLE t ADD CONSTRAINT k FOREIGN KEY (x) REFERENCES p NOT VALID | ALTER TABLE | SHARE ROW EXCLUSIVE | no | no |
ALTER TABLE c ADD FOREIGN KEY (x) REFERENCES t | ALTER TABLE | SHARE ROW EXCLUSIVE | no | yes | FK-NOT-VALID
ALTER TABLE t ADD CHECK (x > 0) | ALTER TABLE | ACCESS EXCLUSIVE | no | yes | CHECK-NOT-VALID
ALTER TABLE t ADD CHECK (x > 0) NOT VALID | ALTER TABLE | ACCESS EXCLUSIVE | no | no |
ALTER TABLE t ADD UNIQUE (x) | ALTER TABLE | ACCESS EXCLUSIVE | no | yes | UNIQUE-BUILDS-INDEX
ALTER TABLE t ADD CONSTRAINT k UNIQUE USING INDEX k | ALTER TABLE | ACCESS EXCLUSIVE | no | no |
ALTER TABLE t ADD EXCLUDE (x WITH =) | ALTER TABLE | ACCESS EXCLUSIVE | no | yes | EXCLUDE-BUILDS-INDEX
ALTER TABLE t VALIDATE CONSTRAINT k | ALTER TABLE | SHARE UPDATE EXCLUSIVE | no | yes |
ALTER TABLE t DROP CONSTRAINT k | ALTER TABLE | ACCESS EXCLUSIVE | no | no |
ALTER TABLE t RENAME x TO y | ALTER TABLE | ACCESS EXCLUSIVE | no | no | RENAME-BREAKS-CLIENTS
ALTER TABLE t RENAME TO u | ALTER TABLE | ACCESS EXCLUSIVE | no | no | RENAME-BREAKS-CLIENTS
ALTER TABLE t RENAME CONSTRAINT k TO l | ALTER TABLE | ACCESS EXCLUSIVE | no | no |
ALTER TABLE t SET SCHEMA s | ALTER TABLE | ACCESS EXCLUSIVE | no | no | RENAME-BREAKS-CLIENTS
ALTER TABLE t DISABLE TRIGGER g | ALTER TABLE | SHARE ROW EXCLUSIVE | no | no | DISABLE-TRIGGER
ALTER TABLE t ATTACH PARTITION u DEFAULT | ALTER TABLE | SHARE UPDATE EXCLUSIVE | no | ? | ATTACH-SCANS-PARTITION
ALTER TABLE p ATTACH PARTITION t DEFAULT | ALTER TABLE | ACCESS EXCLUSIVE | no | ? | ATTACH-SCANS-PARTITION
ALTER TABLE t DETACH PARTITION u | ALTER TABLE | ACCESS EXCLUSIVE | no | no | DETACH-NOT-CONCURRENT
ALTER TABLE t DETACH PARTITION u CONCURRENTLY | ALTER TABLE | SHARE UPDATE EXCLUSIVE | no | no |
ALTER TABLE t INHERIT u | ALTER TABLE | ACCESS EXCLUSIVE | no | no |
DROP TABLE t | DROP TABLE | ACCESS EXCLUSIVE | no | no | DROP-TABLE
DROP TRIGGER g ON t | DROP TRIGGER | ACCESS EXCLUSIVE | no | no | DROP-OBJECT
DROP INDEX i | DROP INDEX | - | no | no | DROP-INDEX-NOT-CONCURRENT
DROP INDEX CONCURRENTLY i | DROP INDEX | - | no | no |
TRUNCATE t | TRUNCATE TABLE | ACCESS EXCLUSIVE | no | no | TRUNCATE
LOCK TABLE t IN EXCLUSIVE MODE | LOCK TABLE | EXCLUSIVE | no | no |
CLUSTER t USING i | CLUSTER | ACCESS EXCLUSIVE | yes | yes | CLUSTER
VACUUM t | VACUUM | SHARE UPDATE EXCLUSIVE | no | yes |
VACUUM FULL t | VACUUM | ACCESS EXCLUSIVE | yes | yes | VACUUM-FULL
ANALYZE t | ANALYZE | SHARE UPDATE EXCLUSIVE | no | yes |
REINDEX TABLE t | REINDEX | SHARE | no | yes | REINDEX-NOT-CONCURRENT
REINDEX TABLE CONCURRENTLY t | REINDEX | SHARE UPDATE EXCLUSIVE | no | yes |
REFRESH MATERIALIZED VIEW t | REFRESH MATERIALIZED VIEW | ACCESS EXCLUSIVE | yes | yes | REFRESH-NOT-CONCURRENT
REFRESH MATERIALIZED VIEW CONCURRENTLY t | REFRESH MATERIALIZED VIEW | EXCLUSIVE | no | yes |
COMMENT ON TABLE t IS 'x' | COMMENT | SHARE UPDATE EXCLUSIVE | no | no |
GRANT SELECT ON t TO r | GRANT | ACCESS SHARE | no | no |
INSERT INTO t VALUES (1) | INSERT | ROW EXCLUSIVE | no | no |
INSERT INTO u SELECT * FROM t | INSERT | ACCESS SHARE | no | ? |
UPDATE t SET x = 1 | UPDATE | ROW EXCLUSIVE | no | yes | UPDATE-WITHOUT-WHERE
UPDATE t SET x = 1 WHERE y = 1 | UPDATE | ROW EXCLUSIVE | no | ? |
DELETE FROM t | DELETE | ROW EXCLUSIVE | no | yes | DELETE-WITHOUT-WHERE
DELETE FROM t WHERE x = 1 | DELETE | ROW EXCLUSIVE | no | ? |
MERGE INTO t USING u ON t.a = u.a WHEN MATCHED THEN DELETE | MERGE | ROW EXCLUSIVE | no | ? |
SELECT * FROM t | SELECT | ACCESS SHARE | no | ? |
SELECT * FROM t FOR UPDATE | SELECT | ROW SHARE | no | ? |
WITH t AS (SELECT 1) SELECT * FROM t | SELECT | - | no | ? |
WITH t AS (SELECT * FROM t) SELECT * FROM t | SELECT | ACCESS SHARE | no | ? |
SELECT 1 | SELECT | - | no | no |
DO $$ BEGIN DELETE FROM t WHERE x = 1; END $$ | DO | ROW EXCLUSIVE | no | ? |
DO $$ BEGIN EXECUTE 'x'; END $$ | DO | - | ? | ? | UNKNOWN-STATEMENT
CALL f() | CALL | - | ? | ? | UNKNOWN-STATEMENT
CREATE FUNCTION f() RETURNS int LANGUAGE sql RETURN 1 | CREATE FUNCTION | - | no | no |
CREATE TYPE e AS ENUM ('a') | CREATE TYPE | - | no | no |
ALTER TYPE e ADD VALUE 'b' | ALTER TYPE | - | no | no |
CREATE SCHEMA s | CREATE SCHEMA | - | no | no |
CREATE EXTENSION pgcrypto | CREATE EXTENSION | - | no | no |
SET lock_timeout = '1s' | SET | - | no | no |
SELEKT 1 | unknown | - | ? | ? | UNKNOWN-STATEMENT
""".strip().splitlines()
ANSWER = {"yes": True, "no": False, "?": None}


@pytest.mark.parametrize("case", CASES)
def test_facts(case: str) -> None:
    sql, kind, mode, rewrite, scan, codes = (part.strip() for part in case.split("|"))
    (s,) = read_file(sql)
    assert s.kind == kind
    assert [lock.mode for lock in s.locks if lock.object == "t"] == ([] if mode == "-" else [mode])
    assert (s.rewrite, s.scan) == (ANSWER[rewrite], ANSWER[scan])
    assert sorted(h.code for h in s.hazards if h.level == "hurts") == sorted(codes.split())


@pytest.mark.parametrize("case", CASES)
def test_a_table_made_before_has_no_hazard_but_what_is_unknown(case: str) -> None:
    sql = case.split("|")[0].strip()
    statement = read_file(sql, known_new=frozenset({"t", "u", "c", "e", "i", "p"}))[0]
    assert {h.code for h in statement.hazards if h.level == "hurts"} <= {
        "UNKNOWN-STATEMENT",
        "IF-NOT-EXISTS-INDEX",
        "DROP-INDEX-NOT-CONCURRENT",
    }


def test_the_words_of_who_waits() -> None:
    words = [s.blocks for s in read_file("ALTER TABLE t ADD x int; CREATE INDEX ON t (x); CREATE TABLE n (); SELECT 1")]
    assert words == [
        "reads and writes of t wait",
        "writes wait; reads go on",
        "new table: no one waits",
        "nobody waits",
    ]
    assert read_file("VACUUM t")[0].blocks == "other schema changes wait"


@pytest.mark.parametrize(("body", "table"), [
    ("EXECUTE 'LOCK TABLE a';", "a"), ("EXECUTE 'LOCK TABLE ' || quote_ident('B');", "B"),
    ("EXECUTE format('LOCK TABLE %I.%I', 's', 'a');", "s.a"), ("EXECUTE format('LOCK TABLE %2$s -- %1$L', 'it''s', 'a');", "a"),
    ("FOR r IN EXECUTE 'SELECT 1 FROM a FOR UPDATE' LOOP NULL; END LOOP;", "a"), ("PERFORM 1 FROM a;", "a"),
    ("IF EXISTS (SELECT 1 FROM a) THEN NULL; END IF;", "a"), ("r := (SELECT 1 FROM a LIMIT 1);", "a"),
    ("BEGIN DROP TABLE a; EXCEPTION WHEN OTHERS THEN NULL; END;", "a"), ("EXECUTE 'TRUNCATE a' USING r;", "a"),
    ("WHILE false LOOP INSERT INTO a VALUES (1); END LOOP;", "a"), ("RAISE NOTICE '%', (SELECT 1 FROM a);", "a"),
])  # fmt: skip
def test_a_block_is_read_for_the_statements_inside(body: str, table: str) -> None:
    (block,) = read_file(f"DO $$ DECLARE r record; BEGIN {body} END $$")
    assert table in [lock.object for lock in block.locks]
    assert "?" not in [lock.object for lock in block.locks]


@pytest.mark.parametrize("body", [
    "EXECUTE 'LOCK TABLE ' || r;", "EXECUTE format('LOCK TABLE %I', r);", "EXECUTE format('LOCK TABLE %-9I', 'a');",
    "EXECUTE format('LOCK TABLE %I %I', 'a');", "EXECUTE lower('LOCK TABLE A');", "EXECUTE 'SELEKT';", "EXECUTE r;",
    "FOR r IN EXECUTE r LOOP NULL; END LOOP;", "CALL unread();", "EXECUTE format(VARIADIC ARRAY['LOCK TABLE a']);",
])  # fmt: skip
def test_what_a_block_puts_together_is_unknown(body: str) -> None:
    (block,) = read_file(f"DO $$ DECLARE r record; BEGIN {body} END $$")
    assert (block.rewrite, block.scan) == (None, None)
    assert ("?", "ACCESS EXCLUSIVE", "assumed") in [(x.object, x.mode, x.basis) for x in block.locks]


def test_a_hazard_is_accepted_by_a_comment_directly_above_with_a_reason() -> None:
    assert read_file("-- pgferry: allow TRUNCATE it is a cache\nTRUNCATE t;")[0].hazards == ()
    assert read_file("-- pgferry: allow TRUNCATE\nTRUNCATE t;")[0].hazards
    assert read_file("-- pgferry: allow TRUNCATE it is a cache\n\nTRUNCATE t;")[0].hazards


def test_a_sequence_knows_what_it_made_and_what_it_holds() -> None:
    made = read_file("CREATE TABLE a (); CREATE TABLE b (); DROP TABLE b;")
    assert creates(made) == {"a"}
    group = read_file("BEGIN; ALTER TABLE a ADD x int; ALTER TABLE b ADD x int; COMMIT;")
    assert [h.code for h in group[1].hazards] == ["TWO-HOT-TABLES"]
    proven = read_file(
        "ALTER TABLE t ADD CONSTRAINT k CHECK (x IS NOT NULL) NOT VALID;"
        "ALTER TABLE t VALIDATE CONSTRAINT k; ALTER TABLE t ALTER x SET NOT NULL"
    )
    assert proven[2].scan is False
    assert proven[2].hazards == ()


SPLITS = [
    ("SELECT 1; SELECT 2", [("SELECT 1", 1), ("SELECT 2", 1)]),
    ("SELECT $a$;$$;$a$;\nSELECT ';'", [("SELECT $a$;$$;$a$", 1), ("SELECT ';'", 2)]),
    ("/* a; /* b; */ ; */\r\n-- x;\r\nSELECT 1;\r\n", [("SELECT 1", 3)]),
    ("\\timing on\n\\set ON_ERROR_STOP on\n\\echo it's on\nSELECT 1;", [("SELECT 1", 4)]),
    ("-- é ü 漢\nSELECT 'é'; SELECT '漢'\n;", [("SELECT 'é'", 2), ("SELECT '漢'", 2)]),
    ("CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END;\nSELECT 3",
     [("CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END", 1), ("SELECT 3", 2)]),
    ("\ufeffSELECT 1;;;", [("SELECT 1", 1)]),
    ("SELECT E'\\';' ;\nSELECT a$b$c", [("SELECT E'\\';'", 1), ("SELECT a$b$c", 2)]),
    ("", []),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), SPLITS)
def test_split(text: str, expected: list[tuple[str, int]]) -> None:
    pieces = split(text, "f.sql")
    assert [(p.sql, p.line) for p in pieces] == expected
    assert [p.ordinal for p in pieces] == list(range(1, len(expected) + 1))


def test_a_block_is_a_group() -> None:
    pieces = split("SELECT 0; BEGIN; SELECT 1; SELECT 2; COMMIT; BEGIN; SELECT 3; END; VACUUM")
    assert [p.group for p in pieces] == [None, 1, 1, 2, None]
    assert [p.transactional for p in pieces] == [True, True, True, True, False]


@pytest.mark.parametrize("text", [
    "\\i x", "\\q", "SELECT 1 \\gexec", "\\echo `date`", "\\set a b", "SELEKT 1", "SELECT 'a", "BEGIN; SELECT 1",
    "COMMIT", "BEGIN; BEGIN; COMMIT", "ROLLBACK", "BEGIN; SAVEPOINT a; COMMIT", "COPY t FROM STDIN;\n1\t'\n\\.\n",
    "BEGIN; CREATE INDEX CONCURRENTLY i ON t (x); COMMIT", "BEGIN ISOLATION LEVEL SERIALIZABLE; COMMIT", "SELECT \x00",
])  # fmt: skip
def test_what_cannot_run_is_refused_with_its_line(text: str) -> None:
    with pytest.raises(PlanError, match=r"f\.sql:3") as caught:
        split("SELECT 1;\n\n" + text, "f.sql")
    assert caught.value.line == 3


@given(st.text(max_size=80) | st.lists(st.sampled_from(re.findall(r"\w+|\W", " ".join(CASES)))).map("".join))
@settings(max_examples=150, deadline=None)
def test_no_text_crashes_and_unknown_is_never_safe(text: str) -> None:
    for s in read_file(text, second_reader=False):
        if s.kind == "unknown" or not s.read_by.postgresql:
            assert s.rewrite is None
            assert s.scan is None
            assert ("?", "ACCESS EXCLUSIVE", "assumed") in [(x.object, x.mode, x.basis) for x in s.locks]
            assert s.blocks.startswith("unknown")
    tokens(text)
    inverse(text)


@pytest.mark.parametrize(("sql", "back"), [
    ("CREATE TABLE s.a (x int)", "DROP TABLE s.a;"), ('CREATE TABLE "A" (x int)', 'DROP TABLE "A";'),
    ("CREATE TABLE IF NOT EXISTS a (x int)", ""), ("CREATE INDEX CONCURRENTLY i ON s.t (x)", "DROP INDEX CONCURRENTLY s.i;"),
    ("ALTER TABLE t ADD x int, ADD CONSTRAINT k CHECK (true)", "ALTER TABLE t DROP CONSTRAINT k, DROP COLUMN x;"),
    ("ALTER TABLE t RENAME a TO b", "ALTER TABLE t RENAME COLUMN b TO a;"), ("ALTER TABLE t ALTER x SET DEFAULT 1", ""),
    ("CREATE OR REPLACE VIEW v AS SELECT 1", ""), ("CREATE VIEW v AS SELECT 1", "DROP VIEW v;"), ("DROP TABLE t", ""),
])  # fmt: skip
def test_inverse(sql: str, back: str) -> None:
    assert inverse(sql) == back


def test_lint_is_json_of_the_promised_form() -> None:
    found = json.loads(json.dumps(lint_json(read_file("DROP INDEX i; CALL f()", "a.sql"))))["statements"]
    assert set(found[0]) == {
        "file", "line", "sql", "kind", "transactional", "rewrite", "scan", "locks", "hazards", "read_by",
    }  # fmt: skip
    assert found[1]["rewrite"] == "unknown"
    assert found[0]["read_by"] == {"postgresql": True, "sqlglot": "parsed"}


def test_highlight_counts_characters() -> None:
    sql = "SELECT 'é', x+1 -- ü"
    assert [(sql[a:b], c) for a, b, c in tokens(sql)] == [
        ("SELECT", "keyword"), ("'é'", "string"), (",", "operator"), ("x", "name"), ("+", "operator"),
        ("1", "number"), ("-- ü", "comment"),
    ]  # fmt: skip
    assert tokens("'") == ()
