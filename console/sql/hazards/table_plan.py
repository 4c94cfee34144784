"""Rules about a whole plan: what no look at one statement can see."""

from __future__ import annotations

from console.sql.hazards.rule import Level, Rule

_HURTS, _NOTE = Level.HURTS, Level.NOTE

RULES = (
    Rule(
        "NO-WAY-BACK", _HURTS, "A task without a way back and without a reason",
        "A rollback stops before it, and nobody said that this was meant.",
        "-- file: 1.sql\nCREATE TABLE n (id bigint);\n-- file: 1.down.sql\n-- nothing yet\n",
        "-- file: 1.sql\nCREATE TABLE n (id bigint);\n-- file: 1.down.sql\nDROP TABLE n;",
        "pgferry", plan=True,
    ),
    Rule(
        "CONTRACT-BEFORE-VALIDATION", _HURTS, "Old tables go before their rows were compared",
        "Until every row was compared with the new table after the last copy, the old one is the only proof.",
        "-- file: tasks\nbackfill, retire", "-- file: tasks\nbackfill, check, retire", "pgferry", plan=True,
    ),
    Rule(
        "SWITCH-BEFORE-VALIDATION", _HURTS, "Applications change over before the rows were compared",
        "They then read rows that nobody compared with the old ones.",
        "-- file: tasks\nbackfill, switch", "-- file: tasks\nbackfill, check, switch", "pgferry", plan=True,
    ),
    Rule(
        "FK-WITHOUT-INDEX", _HURTS, "A new foreign key without an index",
        "Every DELETE and key UPDATE of the referenced table reads the whole referencing one. Without a database the"
        " indexes of tables that the plan did not make are not known: then it is a note.",
        "-- file: 1.sql\nCREATE TABLE n (id bigint PRIMARY KEY, p_id bigint REFERENCES p (id));\n"
        "-- file: 1.down.sql\nDROP TABLE n;",
        "-- file: 1.sql\nCREATE TABLE n (id bigint PRIMARY KEY, p_id bigint REFERENCES p (id));\n"
        "-- file: 1.down.sql\nDROP TABLE n;\n-- file: 2.sql\nCREATE INDEX n_p ON n (p_id, id);\n"
        "-- file: 2.down.sql\nDROP INDEX n_p;",
        "eugene E15", plan=True,
    ),
    Rule(
        "FK-TYPE-MISMATCH", _HURTS, "A foreign key between different types",
        "A narrower column cannot hold every key of the other, and comparing the two may not use the index.",
        "-- file: 1.sql\nCREATE TABLE p (id bigint PRIMARY KEY);\n"
        "CREATE TABLE n (id bigint PRIMARY KEY, p_id integer UNIQUE REFERENCES p (id));\n"
        "-- file: 1.down.sql\nDROP TABLE n;\nDROP TABLE p;",
        "-- file: 1.sql\nCREATE TABLE p (id bigserial PRIMARY KEY);\n"
        "CREATE TABLE n (id bigint PRIMARY KEY, p_id bigint UNIQUE REFERENCES p);\n"
        "-- file: 1.down.sql\nDROP TABLE n;\nDROP TABLE p;",
        "online_migrations mismatched_foreign_key_type", plan=True,
    ),
    Rule(
        "NEVER-VALIDATED", _NOTE, "A NOT VALID constraint that is never validated",
        "Rows that were there before may break it, and the planner does not trust it.",
        "-- file: 1.sql\nALTER TABLE t ADD CONSTRAINT k CHECK (x > 0) NOT VALID;\n"
        "-- file: 1.down.sql\nALTER TABLE t DROP CONSTRAINT k;",
        "-- file: 1.sql\nALTER TABLE t ADD CONSTRAINT k CHECK (x > 0) NOT VALID;\n"
        "-- file: 1.down.sql\nALTER TABLE t DROP CONSTRAINT k;\n"
        "-- file: 2.sql\nALTER TABLE t VALIDATE CONSTRAINT k;\n-- file: 2.down.sql\nSELECT 1;",
        "pgferry", plan=True,
    ),
    Rule(
        "NAME-STILL-USED", _HURTS, "Something that the plan still uses is dropped or renamed",
        "A later file, a function or trigger that the plan made, or a mapping names it: that fails from then on.",
        "-- file: 1.sql\nCREATE FUNCTION total() RETURNS bigint LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT sum(x) FROM t);"
        " END';\n-- file: 1.down.sql\nDROP FUNCTION total();\n"
        "-- file: 2.sql\nALTER TABLE t RENAME TO u;\n-- file: 2.down.sql\nALTER TABLE u RENAME TO t;",
        "-- file: 1.sql\nCREATE FUNCTION total() RETURNS bigint LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT sum(x) FROM u);"
        " END';\n-- file: 1.down.sql\nDROP FUNCTION total();\n"
        "-- file: 2.sql\nALTER TABLE t RENAME TO u;\n-- file: 2.down.sql\nALTER TABLE u RENAME TO t;",
        "pgferry", plan=True,
    ),
    Rule(
        "UNBOUNDED-DML", _HURTS, "Rows of an existing table are changed without a bound",
        "How many rows one transaction changes depends on the data: they stay locked until it ends, replicas lag, vacuum"
        " waits. That is a backfill's work.",
        "-- file: 1.sql\nUPDATE t SET x = 0 WHERE x IS NULL;\n-- file: 1.down.sql\nSELECT 1;",
        "-- file: 1.sql\nUPDATE t SET x = 0 WHERE id BETWEEN 1 AND 1000;\n-- file: 1.down.sql\nSELECT 1;",
        "strong_migrations backfilling", plan=True,
    ),
    Rule(
        "CONCURRENT-BUILD-CORRUPTS", _HURTS, "The server's release breaks concurrent builds",
        "In 14.0 to 14.3 rows written during CREATE INDEX CONCURRENTLY or REINDEX CONCURRENTLY can be missing from the"
        " index. Seen only with a database.",
        "-- file: 1.sql\nCREATE INDEX CONCURRENTLY t_x ON t (x);\n-- file: 1.down.sql\nDROP INDEX CONCURRENTLY t_x;",
        "-- file: 1.sql\nCREATE INDEX t_x ON t (x);\n-- file: 1.down.sql\nDROP INDEX CONCURRENTLY t_x;",
        "strong_migrations add_index_corruption", server=14, plan=True,
    ),
)  # fmt: skip
