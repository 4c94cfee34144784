"""Rules about what breaks running applications, loses data, or does not run at all."""

from __future__ import annotations

from console.sql.hazards.rule import Level, Rule

_HURTS, _NOTE, _STYLE = Level.HURTS, Level.NOTE, Level.STYLE

RULES = (
    Rule(
        "UNKNOWN-STATEMENT", _HURTS, "What it does is not known",
        "It is counted as ACCESS EXCLUSIVE on everything, and pgferry runs it only where the file or the task accepts"
        " it (allow UNKNOWN).",
        "DO $$ BEGIN EXECUTE current_setting('my.statement'); END $$;", "DO $$ BEGIN PERFORM 1; END $$;",
        "strong_migrations execute; squawk transaction-nesting, ban-uncommitted-transaction, syntax-error",
    ),
    Rule(
        "NEEDS-NEWER-SERVER", _HURTS, "The syntax is newer than the server",
        "PostgreSQL of the target's version refuses it.",
        "ALTER TABLE t ADD COLUMN y bigint GENERATED ALWAYS AS (x) VIRTUAL;",
        "ALTER TABLE t ADD COLUMN y bigint;",
        "PostgreSQL's release notes", server=17,
    ),
    Rule(
        "RENAME-BREAKS-CLIENTS", _HURTS, "A name that is in use changes",
        "Running applications that use the old name fail from this moment on.",
        "ALTER TABLE t RENAME COLUMN x TO y;", "ALTER TABLE t ADD COLUMN y bigint;",
        "squawk renaming-column, renaming-table, renaming-object, ban-set-schema; strong_migrations rename_column,"
        " rename_table, rename_schema, rename_enum_value",
    ),
    Rule(
        "RENAME-OBJECT", _NOTE, "An index, constraint, trigger or the like gets another name",
        "Nothing waits for long, but ON CONFLICT ON CONSTRAINT, SET CONSTRAINTS and scripts use such names.",
        "ALTER TABLE t RENAME CONSTRAINT k TO l;", "CREATE TABLE n (id bigint); ALTER TABLE n RENAME TO o;",
        "squawk renaming-object",
    ),
    Rule(
        "DROP-TABLE", _HURTS, "A table and its rows are gone",
        "Running applications that use it fail, and no way back brings the rows again.",
        "DROP TABLE t;", "ALTER TABLE t RENAME CONSTRAINT k TO l;",
        "squawk ban-drop-table; pg-schema-diff DELETES_DATA; strong_migrations create_table (force)",
    ),
    Rule(
        "DROP-COLUMN", _HURTS, "A column and its values are gone",
        "Running applications that name the column fail, and no way back brings the values again.",
        "ALTER TABLE t DROP COLUMN x;", "ALTER TABLE t ALTER COLUMN x DROP NOT NULL;",
        "squawk ban-drop-column; pg-schema-diff DELETES_DATA; strong_migrations remove_column",
    ),
    Rule(
        "DROP-OBJECT", _HURTS, "A view, function, type, trigger or the like is dropped",
        "Running applications, triggers and views that use it fail.",
        "DROP VIEW v;", "CREATE VIEW v AS SELECT 1; DROP VIEW v;",
        "squawk ban-drop-view, ban-drop-function, ban-drop-type, ban-drop-sequence, ban-drop-domain, ban-drop-trigger,"
        " ban-drop-extension, ban-drop-schema, ban-drop-policy",
    ),
    Rule(
        "DROP-DATABASE", _HURTS, "A database is dropped",
        "Everything in it is gone, and nothing brings it back.",
        "DROP DATABASE market;", "CREATE DATABASE market;", "squawk ban-drop-database",
    ),
    Rule(
        "CASCADE", _HURTS, "CASCADE takes along what it does not name",
        "Views, foreign keys, columns and triggers that depend on it go too; with TRUNCATE the tables that reference it"
        " are emptied.",
        "DROP VIEW v CASCADE;", "CREATE VIEW v AS SELECT 1; DROP VIEW v;",
        "squawk ban-truncate-cascade; pg-schema-diff DELETES_DATA",
    ),
    Rule(
        "TRUNCATE", _HURTS, "Every row is gone at once",
        "Reads and writes wait, the rows are gone, and snapshots that are open see an empty table.",
        "TRUNCATE t;", "CREATE TABLE n (id bigint); TRUNCATE n;", "pg-schema-diff DELETES_DATA",
    ),
    Rule(
        "UPDATE-WITHOUT-WHERE", _HURTS, "Every row is updated in one transaction",
        "All rows stay locked until it ends, and the table grows by its own size.",
        "UPDATE t SET x = 1;", "UPDATE t SET x = 1 WHERE id BETWEEN 1 AND 1000;",
        "strong_migrations backfilling; pg-schema-diff IMPACTS_DATABASE_PERFORMANCE",
    ),
    Rule(
        "DELETE-WITHOUT-WHERE", _HURTS, "Every row is deleted in one transaction",
        "All rows stay locked until it ends, and the data is gone.",
        "DELETE FROM t;", "DELETE FROM t WHERE id BETWEEN 1 AND 1000;", "pg-schema-diff DELETES_DATA",
    ),
    Rule(
        "DUPLICATE-ASSIGNMENT", _HURTS, "One column is assigned twice",
        "PostgreSQL refuses the statement.",
        "UPDATE t SET x = 1, x = 2 WHERE id = 1;", "UPDATE t SET x = 1, y = 2 WHERE id = 1;",
        "squawk ban-duplicate-column-assignments",
    ),
    Rule(
        "DROP-NOT-NULL", _NOTE, "A column may be NULL from now on",
        "Running applications that read it without expecting NULL fail, and the way back has to read every row.",
        "ALTER TABLE t ALTER COLUMN x DROP NOT NULL;", "ALTER TABLE t ALTER COLUMN x SET STATISTICS 100;",
        "squawk ban-drop-not-null",
    ),
    Rule(
        "DROP-CONSTRAINT", _NOTE, "A constraint is dropped",
        "What it kept out can be written from now on, and the way back has to check every row.",
        "ALTER TABLE t DROP CONSTRAINT k;",
        "ALTER TABLE t ADD CONSTRAINT k CHECK (x > 0) NOT VALID; ALTER TABLE t DROP CONSTRAINT k;",
        "squawk ban-drop-constraint",
    ),
    Rule(
        "DROP-DEFAULT", _NOTE, "A default is dropped",
        "Running applications that leave the column out write NULL, or fail where it is NOT NULL.",
        "ALTER TABLE t ALTER COLUMN x DROP DEFAULT;", "ALTER TABLE t ALTER COLUMN x SET DEFAULT 1;",
        "squawk ban-drop-default; strong_migrations change_column_default",
    ),
    Rule(
        "DROP-EXPRESSION", _NOTE, "A generated column is no longer computed",
        "Values stay as they are, and programs have to write the column from now on; it cannot be taken back.",
        "ALTER TABLE t ALTER COLUMN x DROP EXPRESSION;", "ALTER TABLE t ALTER COLUMN x SET DEFAULT 1;",
        "squawk ban-drop-generated-expression",
    ),
    Rule(
        "ALTER-IDENTITY", _NOTE, "Who gives a column its numbers changes",
        "With GENERATED ALWAYS programs that write the column fail; without an identity those that do not write it do.",
        "ALTER TABLE t ALTER COLUMN id DROP IDENTITY;", "ALTER TABLE t ALTER COLUMN id SET STATISTICS 100;",
        "squawk ban-alter-identity",
    ),
    Rule(
        "SEQUENCE-VALUES", _NOTE, "A sequence is set or bounded",
        "A sequence set back gives numbers that are taken; one with a lower bound ends early: INSERT fails.",
        "ALTER SEQUENCE s RESTART WITH 1;", "ALTER SEQUENCE s CACHE 10;", "squawk ban-alter-sequence-values",
    ),
    Rule(
        "DISABLE-TRIGGER", _HURTS, "Triggers are switched off for everyone",
        "Until they are on again, what other sessions write is not carried, logged or checked (foreign keys are"
        " triggers too).",
        "ALTER TABLE t DISABLE TRIGGER ALL;", "BEGIN; SET LOCAL session_replication_role = 'replica'; COMMIT;",
        "squawk ban-disable-trigger",
    ),
    Rule(
        "REPLICA-IDENTITY", _NOTE, "What logical replication knows of a changed row changes",
        "With NOTHING, updates and deletes of a published table fail; with FULL they cost more WAL.",
        "ALTER TABLE t REPLICA IDENTITY NOTHING;", "ALTER TABLE t ALTER COLUMN x SET STATISTICS 100;",
        "squawk ban-replica-identity",
    ),
    Rule(
        "AUTHZ-CHANGE", _NOTE, "Who may do what changes",
        "GRANT opens, REVOKE and policies close: sessions that run lose or gain rights at once.",
        "REVOKE SELECT ON t FROM reader;", "COMMENT ON TABLE t IS 'read by reports';",
        "pg-schema-diff AUTHZ_UPDATE; squawk ban-revoke, ban-create-policy, ban-alter-policy-roles,"
        " ban-alter-row-level-security",
    ),
    Rule(
        "SERVER-SETTING", _NOTE, "A setting outside this database's schema changes",
        "ALTER SYSTEM, ALTER DATABASE ... SET and ALTER ROLE ... SET reach sessions that have nothing to do with the"
        " plan, and are not part of any dump of the schema.",
        "ALTER SYSTEM SET work_mem = '64MB';", "SET LOCAL work_mem = '64MB';",
        "squawk ban-alter-system-options, ban-alter-database-options, ban-alter-role-options",
    ),
    Rule(
        "EXTENSION-UPDATE", _HURTS, "An extension's script runs",
        "What ALTER EXTENSION ... UPDATE changes and locks stands in the extension's script, which is not read.",
        "ALTER EXTENSION hstore UPDATE;", "CREATE EXTENSION hstore;",
        "pg-schema-diff UPGRADING_EXTENSION_VERSION; squawk ban-alter-extension",
    ),
    Rule(
        "REPLACED-IN-USE", _STYLE, "A view, function or trigger that is in use is replaced",
        "From COMMIT on callers run the new text; the old one is in no way back but your own.",
        "CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1';",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1';",
        "squawk ban-replace-view-function; pg-schema-diff HAS_UNTRACKABLE_DEPENDENCIES",
    ),
    Rule(
        "ENUM-VALUE", _NOTE, "A value is added to an enum",
        "It can never be removed: the way back has to make a new type and rewrite every column of it.",
        "ALTER TYPE mood ADD VALUE 'calm' AFTER 'good';", "CREATE TYPE mood AS ENUM ('good', 'calm');",
        "eugene W13; squawk ban-add-enum-value",
    ),
    Rule(
        "ENUM-VALUE-IN-TRANSACTION", _HURTS, "An enum's new value inside a transaction",
        "The value cannot be used before the transaction ends: a statement of the same block that writes it fails.",
        "BEGIN; ALTER TYPE mood ADD VALUE 'calm' AFTER 'good'; COMMIT;",
        "ALTER TYPE mood ADD VALUE 'calm' AFTER 'good';",
        "PostgreSQL's manual, ALTER TYPE",
    ),
    Rule(
        "ENUM-VALUE-ORDER", _STYLE, "An enum's new value without BEFORE or AFTER",
        "It comes last, and the order can never be changed.",
        "ALTER TYPE mood ADD VALUE 'calm';", "ALTER TYPE mood ADD VALUE 'calm' AFTER 'good';",
        "squawk require-enum-value-ordering",
    ),
    Rule(
        "IDENTIFIER-TOO-LONG", _HURTS, "A name is longer than PostgreSQL keeps",
        "Names are cut to 63 bytes without an error: later statements and the way back meet another name, and two"
        " long names become one.",
        "ALTER TABLE t ADD COLUMN a123456789b123456789c123456789d123456789e123456789f123456789abcd bigint;",
        "ALTER TABLE t ADD COLUMN a123456789b123456789 bigint;",
        "squawk identifier-too-long",
    ),
    Rule(
        "ALLOW-UNKNOWN-CODE", _HURTS, "A comment accepts a hazard that does not exist",
        "The comment has no effect; the hazard it meant is not accepted.",
        "-- pgferry: allow INDEX-NOT-CONCURENT small table\nCREATE INDEX t_x ON t (x);",
        "-- pgferry: allow INDEX-NOT-CONCURRENT small table\nCREATE INDEX t_x ON t (x);",
        "pgferry",
    ),
    Rule(
        "ALLOW-WITHOUT-REASON", _HURTS, "A comment accepts a hazard without a reason",
        "The comment has no effect: a reviewer has to read why.",
        "-- pgferry: allow INDEX-NOT-CONCURRENT\nCREATE INDEX t_x ON t (x);",
        "-- pgferry: allow INDEX-NOT-CONCURRENT small table\nCREATE INDEX t_x ON t (x);",
        "pgferry",
    ),
    Rule(
        "ALLOW-UNUSED", _NOTE, "A comment accepts a hazard that is not there",
        "The statement changed, or the comment does not stand directly above it: it would hide a hazard to come.",
        "-- pgferry: allow INDEX-NOT-CONCURRENT small table\nCREATE INDEX CONCURRENTLY t_x ON t (x);",
        "-- pgferry: allow INDEX-NOT-CONCURRENT small table\nCREATE INDEX t_x ON t (x);",
        "squawk unused-ignore",
    ),
)  # fmt: skip
