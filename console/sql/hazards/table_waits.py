"""Rules about what makes other sessions wait: indexes, constraints, columns, rewrites, partitions, transactions."""

from __future__ import annotations

from console.sql.hazards.rule import Level, Rule

_HURTS, _NOTE = Level.HURTS, Level.NOTE

RULES = (
    Rule(
        "INDEX-NOT-CONCURRENT", _HURTS, "An index is built while writes wait",
        "CREATE INDEX holds SHARE on the table until the whole table is read: every write waits for that long.",
        "CREATE INDEX t_x ON t (x);", "CREATE INDEX CONCURRENTLY t_x ON t (x);",
        "squawk require-concurrent-index-creation; eugene E6; strong_migrations add_index",
    ),
    Rule(
        "DROP-INDEX-NOT-CONCURRENT", _HURTS, "An index is dropped while reads and writes wait",
        "DROP INDEX takes ACCESS EXCLUSIVE on the index's table and queues behind every query that runs on it.",
        "DROP INDEX t_x;", "DROP INDEX CONCURRENTLY t_x;",
        "squawk require-concurrent-index-deletion; strong_migrations remove_index",
    ),
    Rule(
        "REINDEX-NOT-CONCURRENT", _HURTS, "An index is built anew while writes wait",
        "REINDEX keeps writes out of the table, and reads that would use the index, until it is built.",
        "REINDEX TABLE t;", "REINDEX TABLE CONCURRENTLY t;",
        "squawk require-concurrent-reindex",
    ),
    Rule(
        "IF-NOT-EXISTS-INDEX", _HURTS, "IF NOT EXISTS passes over a broken index",
        "A concurrent build that was stopped leaves an INVALID index of that name; the next attempt with IF NOT EXISTS"
        " succeeds and changes nothing (measured on 15 and 18).",
        "CREATE INDEX CONCURRENTLY IF NOT EXISTS t_x ON t (x);", "CREATE INDEX CONCURRENTLY t_x ON t (x);",
        "measured; against squawk prefer-robust-stmts",
    ),
    Rule(
        "CONCURRENT-ON-PARTITIONED", _HURTS, "A partitioned table has no concurrent index build",
        "PostgreSQL refuses CREATE INDEX CONCURRENTLY and DROP INDEX CONCURRENTLY on a partitioned table.",
        "CREATE TABLE m (k int) PARTITION BY RANGE (k); CREATE INDEX CONCURRENTLY m_k ON m (k);",
        "CREATE TABLE m (k int) PARTITION BY RANGE (k); CREATE INDEX m_k ON ONLY m (k);",
        "PostgreSQL's manual, CREATE INDEX",
    ),
    Rule(
        "FK-NOT-VALID", _HURTS, "A foreign key checks every row when it is added",
        "ADD FOREIGN KEY holds SHARE ROW EXCLUSIVE on both tables while every row is looked up: writes of both wait.",
        "ALTER TABLE t ADD CONSTRAINT t_p_fkey FOREIGN KEY (p_id) REFERENCES p (id);",
        "ALTER TABLE t ADD CONSTRAINT t_p_fkey FOREIGN KEY (p_id) REFERENCES p (id) NOT VALID;"
        " ALTER TABLE t VALIDATE CONSTRAINT t_p_fkey;",
        "squawk adding-foreign-key-constraint, constraint-missing-not-valid; eugene E1; strong_migrations"
        " add_foreign_key, add_reference",
    ),
    Rule(
        "CHECK-NOT-VALID", _HURTS, "A check reads every row when it is added",
        "ADD CHECK, also one written beside a new column, reads every row under ACCESS EXCLUSIVE.",
        "ALTER TABLE t ADD CONSTRAINT t_x_check CHECK (x > 0);",
        "ALTER TABLE t ADD CONSTRAINT t_x_check CHECK (x > 0) NOT VALID; ALTER TABLE t VALIDATE CONSTRAINT t_x_check;",
        "squawk constraint-missing-not-valid; eugene E1; strong_migrations add_check_constraint",
    ),
    Rule(
        "VALIDATE-IN-SAME-TRANSACTION", _HURTS, "NOT VALID and VALIDATE in one transaction",
        "The lock of ADD CONSTRAINT is held until COMMIT, so it is held while VALIDATE reads every row.",
        "BEGIN; ALTER TABLE t ADD CONSTRAINT t_x_check CHECK (x > 0) NOT VALID;"
        " ALTER TABLE t VALIDATE CONSTRAINT t_x_check; COMMIT;",
        "ALTER TABLE t ADD CONSTRAINT t_x_check CHECK (x > 0) NOT VALID; ALTER TABLE t VALIDATE CONSTRAINT t_x_check;",
        "squawk constraint-missing-not-valid; strong_migrations validate_check_constraint, validate_foreign_key",
    ),
    Rule(
        "SET-NOT-NULL-SCAN", _HURTS, "SET NOT NULL reads every row",
        "Without a validated CHECK (x IS NOT NULL) before it, SET NOT NULL reads the table under ACCESS EXCLUSIVE.",
        "ALTER TABLE t ALTER COLUMN x SET NOT NULL;",
        "ALTER TABLE t ADD CONSTRAINT t_x_there CHECK (x IS NOT NULL) NOT VALID;"
        " ALTER TABLE t VALIDATE CONSTRAINT t_x_there; ALTER TABLE t ALTER COLUMN x SET NOT NULL;"
        " ALTER TABLE t DROP CONSTRAINT t_x_there;",
        "squawk adding-not-nullable-field; eugene E2; strong_migrations change_column_null",
    ),
    Rule(
        "UNIQUE-BUILDS-INDEX", _HURTS, "A unique or primary key builds its index in place",
        "ADD UNIQUE and ADD PRIMARY KEY build the index under ACCESS EXCLUSIVE: reads and writes wait.",
        "ALTER TABLE t ADD CONSTRAINT t_x_key UNIQUE (x);",
        "CREATE UNIQUE INDEX CONCURRENTLY t_x_key ON t (x);"
        " ALTER TABLE t ADD CONSTRAINT t_x_key UNIQUE USING INDEX t_x_key;",
        "squawk disallowed-unique-constraint, adding-serial-primary-key-field; eugene E7; strong_migrations"
        " add_unique_constraint",
    ),
    Rule(
        "PK-NULLABLE-COLUMN", _HURTS, "A primary key from an index still has to prove NOT NULL",
        "ADD PRIMARY KEY USING INDEX sets its columns NOT NULL: each that is not yet reads the table under ACCESS"
        " EXCLUSIVE.",
        "ALTER TABLE t ADD COLUMN x bigint; CREATE UNIQUE INDEX CONCURRENTLY t_pkey ON t (x);"
        " ALTER TABLE t ADD CONSTRAINT t_pkey PRIMARY KEY USING INDEX t_pkey;",
        "ALTER TABLE t ADD COLUMN x bigint; CREATE UNIQUE INDEX CONCURRENTLY t_pkey ON t (x);"
        " ALTER TABLE t ADD CONSTRAINT t_x_there CHECK (x IS NOT NULL) NOT VALID;"
        " ALTER TABLE t VALIDATE CONSTRAINT t_x_there; ALTER TABLE t ALTER COLUMN x SET NOT NULL;"
        " ALTER TABLE t ADD CONSTRAINT t_pkey PRIMARY KEY USING INDEX t_pkey;",
        "eugene W14",
    ),
    Rule(
        "EXCLUDE-BUILDS-INDEX", _HURTS, "An exclusion constraint builds its index in place",
        "ADD EXCLUDE has neither NOT VALID nor USING INDEX: the index is built under ACCESS EXCLUSIVE.",
        "ALTER TABLE t ADD CONSTRAINT t_excl EXCLUDE USING gist (span WITH &&);",
        "CREATE TABLE n (span int4range, CONSTRAINT n_excl EXCLUDE USING gist (span WITH &&));",
        "eugene E8; strong_migrations add_exclusion_constraint; squawk constraint-missing-not-valid",
    ),
    Rule(
        "TYPE-CHANGE-REWRITE", _HURTS, "A column changes its type",
        "Unless the old type is known to fit, table and indexes are written anew under ACCESS EXCLUSIVE; programs that"
        " run meet another type at once.",
        "ALTER TABLE t ALTER COLUMN x TYPE bigint;",
        "ALTER TABLE t ADD COLUMN z varchar(50); ALTER TABLE t ALTER COLUMN z TYPE varchar(100);",
        "squawk changing-column-type; eugene E5, E10; strong_migrations change_column",
    ),
    Rule(
        "VOLATILE-DEFAULT-REWRITE", _HURTS, "A default that differs from row to row",
        "Every row is written again under ACCESS EXCLUSIVE, because each needs a value of its own.",
        "ALTER TABLE t ADD COLUMN token uuid DEFAULT gen_random_uuid();",
        "ALTER TABLE t ADD COLUMN token uuid; ALTER TABLE t ALTER COLUMN token SET DEFAULT gen_random_uuid();",
        "squawk adding-field-with-default; strong_migrations add_column_default_callable",
    ),
    Rule(
        "COLUMN-NOT-NULL-NO-DEFAULT", _HURTS, "A required column without a default",
        "It fails as soon as the table has a row, and every program that does not write the column fails from then on.",
        "ALTER TABLE t ADD COLUMN x bigint NOT NULL;", "ALTER TABLE t ADD COLUMN x bigint;",
        "squawk adding-required-field; strong_migrations change_column_with_not_null",
    ),
    Rule(
        "GENERATED-COLUMN-REWRITE", _HURTS, "A stored generated column is computed for every row",
        "Every row is written again under ACCESS EXCLUSIVE. From 18 on a VIRTUAL column costs nothing.",
        "ALTER TABLE t ADD COLUMN total bigint GENERATED ALWAYS AS (x * 2) STORED;",
        "ALTER TABLE t ADD COLUMN total bigint GENERATED ALWAYS AS (x * 2) VIRTUAL;",
        "squawk adding-field-with-default; eugene E11; strong_migrations add_column_generated_stored",
    ),
    Rule(
        "IDENTITY-COLUMN-REWRITE", _HURTS, "An identity column numbers every row",
        "Every row is written again under ACCESS EXCLUSIVE.",
        "ALTER TABLE t ADD COLUMN n bigint GENERATED ALWAYS AS IDENTITY;", "ALTER TABLE t ADD COLUMN n bigint;",
        "squawk adding-field-with-default; eugene E11",
    ),
    Rule(
        "SERIAL-COLUMN", _HURTS, "A serial column numbers every row",
        "Every row is written again under ACCESS EXCLUSIVE.",
        "ALTER TABLE t ADD COLUMN n bigserial;", "ALTER TABLE t ADD COLUMN n bigint;",
        "eugene E11; strong_migrations add_column_auto_incrementing; squawk prefer-identity",
    ),
    Rule(
        "DOMAIN-COLUMN-REWRITE", _NOTE, "A new column of a type that may be a domain with a check",
        "For a domain with a CHECK every row is written again under ACCESS EXCLUSIVE; for any other type nothing is.",
        "ALTER TABLE t ADD COLUMN x positive;", "CREATE TYPE mood AS ENUM ('a'); ALTER TABLE t ADD COLUMN x mood;",
        "measured; no linter has it",
    ),
    Rule(
        "TABLE-REWRITE", _HURTS, "The whole table is written again",
        "SET LOGGED, SET UNLOGGED, SET TABLESPACE, SET EXPRESSION and SET ACCESS METHOD copy the table under ACCESS"
        " EXCLUSIVE.",
        "ALTER TABLE t SET LOGGED;", "CREATE UNLOGGED TABLE n (id bigint); ALTER TABLE n SET LOGGED;",
        "eugene E10; pg-schema-diff ACQUIRES_ACCESS_EXCLUSIVE_LOCK",
    ),
    Rule(
        "CLUSTER", _HURTS, "The table is written in another order",
        "CLUSTER copies the table under ACCESS EXCLUSIVE and needs its size again on disk.",
        "CLUSTER t USING t_x;", "ALTER TABLE t CLUSTER ON t_x;", "squawk prefer-repack",
    ),
    Rule(
        "VACUUM-FULL", _HURTS, "VACUUM FULL copies the table",
        "The table is copied under ACCESS EXCLUSIVE and needs its size again on disk.",
        "VACUUM FULL t;", "VACUUM (ANALYZE) t;", "squawk prefer-repack",
    ),
    Rule(
        "REFRESH-NOT-CONCURRENT", _HURTS, "Readers of a materialized view wait for its query",
        "REFRESH holds ACCESS EXCLUSIVE on the view until its query has run.",
        "REFRESH MATERIALIZED VIEW v;", "REFRESH MATERIALIZED VIEW CONCURRENTLY v;",
        "measured; no linter has it",
    ),
    Rule(
        "PARTITION-OF-LOCKS-PARENT", _HURTS, "A new partition locks the whole table",
        "CREATE TABLE ... PARTITION OF takes ACCESS EXCLUSIVE on the parent and reads its DEFAULT partition.",
        "CREATE TABLE n PARTITION OF m FOR VALUES FROM (1) TO (10);",
        "CREATE TABLE n (LIKE m INCLUDING ALL); ALTER TABLE m ATTACH PARTITION n FOR VALUES FROM (1) TO (10);",
        "measured; no linter has it",
    ),
    Rule(
        "ATTACH-SCANS-PARTITION", _HURTS, "Attaching a partition reads all of it",
        "Unless a valid CHECK says the same as the bounds, every row is read under ACCESS EXCLUSIVE on the partition.",
        "ALTER TABLE m ATTACH PARTITION t FOR VALUES FROM (1) TO (10);",
        "CREATE TABLE n (LIKE m INCLUDING ALL); ALTER TABLE m ATTACH PARTITION n FOR VALUES FROM (1) TO (10);",
        "PostgreSQL's manual, ALTER TABLE",
    ),
    Rule(
        "DETACH-NOT-CONCURRENT", _HURTS, "Detaching a partition locks the whole table",
        "Without CONCURRENTLY (14 and later) DETACH takes ACCESS EXCLUSIVE on the parent.",
        "ALTER TABLE m DETACH PARTITION n;", "ALTER TABLE m DETACH PARTITION n CONCURRENTLY;",
        "squawk require-concurrent-partition-detach",
    ),
    Rule(
        "DOMAIN-CHECK-SCAN", _HURTS, "A domain's new condition reads every table that uses it",
        "Every table with a column of the domain is read in full while its writes wait.",
        "ALTER DOMAIN positive ADD CONSTRAINT above CHECK (VALUE > 0);",
        "ALTER DOMAIN positive ADD CONSTRAINT above CHECK (VALUE > 0) NOT VALID;",
        "squawk ban-alter-domain-with-add-constraint",
    ),
    Rule(
        "NOT-IN-TRANSACTION", _HURTS, "It cannot run inside BEGIN and COMMIT",
        "CONCURRENTLY, VACUUM, CREATE DATABASE and the like fail inside a transaction block.",
        "BEGIN; CREATE INDEX CONCURRENTLY t_x ON t (x); COMMIT;", "CREATE INDEX CONCURRENTLY t_x ON t (x);",
        "squawk ban-concurrent-index-creation-in-transaction",
    ),
    Rule(
        "TWO-HOT-TABLES", _HURTS, "Two tables are locked in one transaction",
        "Both stay locked until COMMIT, and a session that takes them in another order deadlocks.",
        "BEGIN; ALTER TABLE a ADD COLUMN x bigint; ALTER TABLE b ADD COLUMN x bigint; COMMIT;",
        "ALTER TABLE a ADD COLUMN x bigint; ALTER TABLE b ADD COLUMN x bigint;",
        "eugene E4; online_migrations multiple_foreign_keys",
    ),
    Rule(
        "LONG-WORK-UNDER-LOCK", _HURTS, "Rows are read or written while an earlier lock is held",
        "What the first statement of the transaction locked stays locked while the second works through the rows.",
        "BEGIN; ALTER TABLE a ADD COLUMN x bigint; UPDATE b SET x = 1; COMMIT;",
        "ALTER TABLE a ADD COLUMN x bigint; UPDATE b SET x = 1 WHERE id BETWEEN 1 AND 1000;",
        "eugene E4, E10",
    ),
    Rule(
        "LOCK-TABLE", _NOTE, "A lock is taken by hand",
        "LOCK TABLE holds until the end of its transaction whatever waits behind it.",
        "BEGIN; LOCK TABLE t IN EXCLUSIVE MODE; COMMIT;", "SELECT 1;", "pg-schema-diff ACQUIRES_*_LOCK",
    ),
    Rule(
        "SEVERAL-ALTERS", _NOTE, "Several statements rewrite or read the same table",
        "Each takes its lock and works through the rows again; one ALTER TABLE with several actions does it once.",
        "ALTER TABLE t ALTER COLUMN x TYPE bigint; ALTER TABLE t ALTER COLUMN y TYPE bigint;",
        "ALTER TABLE t ALTER COLUMN x TYPE bigint, ALTER COLUMN y TYPE bigint;",
        "eugene W12",
    ),
    Rule(
        "LOCK-TIMEOUT-OFF", _HURTS, "lock_timeout is switched off",
        "With lock_timeout 0 a statement waits at the head of the lock queue without end, and all others behind it."
        " pgferry sets it for every statement; the file takes that away.",
        "SET lock_timeout = 0;", "SET LOCAL lock_timeout = '1s';",
        "squawk require-lock-timeout; eugene E9",
    ),
    Rule(
        "TIMEOUT-OUTLIVES-STATEMENT", _NOTE, "A setting of the session outlives its statement",
        "SET without LOCAL stays for every later statement of the session. pgferry sets timeouts itself: use the task's"
        " lock_timeout and statement_timeout.",
        "SET statement_timeout = '1s';", "BEGIN; SET LOCAL statement_timeout = '1s'; COMMIT;",
        "squawk require-statement-timeout",
    ),
)  # fmt: skip
