"""Rules of style: types and names that are regretted later. Shown only when asked for (``lint --style``)."""

from __future__ import annotations

from console.sql.hazards.rule import Level, Rule

_STYLE = Level.STYLE

RULES = (
    Rule(
        "PREFER-BIGINT", _STYLE, "int and smallint run out",
        "int ends at 2,147,483,647; growing it later writes the whole table again.",
        "CREATE TABLE n (id int);", "CREATE TABLE n (id bigint);",
        "squawk prefer-bigint-over-int, prefer-bigint-over-smallint; online_migrations short_primary_key_type",
    ),
    Rule(
        "PREFER-IDENTITY", _STYLE, "serial instead of an identity",
        "A serial's sequence has rights and a life of its own, and its numbers can be overwritten unnoticed.",
        "CREATE TABLE n (id bigserial);", "CREATE TABLE n (id bigint GENERATED ALWAYS AS IDENTITY);",
        "squawk prefer-identity",
    ),
    Rule(
        "PREFER-TEXT", _STYLE, "varchar(n) instead of text with a check",
        "A limit in the type needs ACCESS EXCLUSIVE to change; a CHECK can be replaced by NOT VALID and VALIDATE.",
        "CREATE TABLE n (name varchar(50));", "CREATE TABLE n (name text CHECK (length(name) <= 50));",
        "squawk prefer-text-field",
    ),
    Rule(
        "CHAR-TYPE", _STYLE, "char(n) pads with blanks",
        "Values are filled with blanks to the full length, and compared without them.",
        "CREATE TABLE n (code char(3));", "CREATE TABLE n (code text CHECK (length(code) = 3));",
        "squawk ban-char-field",
    ),
    Rule(
        "PREFER-TIMESTAMPTZ", _STYLE, "timestamp without time zone",
        "It is no point in time: what it means depends on who reads it.",
        "CREATE TABLE n (at timestamp);", "CREATE TABLE n (at timestamptz);", "squawk prefer-timestamp-tz",
    ),
    Rule(
        "JSON-COLUMN", _STYLE, "json instead of jsonb",
        "json has no equality: SELECT DISTINCT, UNION and GROUP BY over the table fail.",
        "ALTER TABLE t ADD COLUMN payload json;", "ALTER TABLE t ADD COLUMN payload jsonb;",
        "eugene E3; strong_migrations add_column_json",
    ),
    Rule(
        "MONEY-TYPE", _STYLE, "money depends on the server's locale",
        "Its currency and its digits come from lc_monetary, not from the value.",
        "CREATE TABLE n (price money);", "CREATE TABLE n (price numeric(20, 8));", "PostgreSQL's wiki, Don't Do This",
    ),
    Rule(
        "DOMAIN-WITH-CHECK", _STYLE, "A domain with a condition",
        "Its condition can only be changed by reading every table that uses it; a CHECK of the table by one.",
        "CREATE DOMAIN positive AS bigint CHECK (VALUE > 0);", "CREATE DOMAIN amount AS bigint;",
        "squawk ban-create-domain-with-constraint",
    ),
    Rule(
        "ENUM-TYPE", _STYLE, "An enum instead of a table of values",
        "Values of an enum can be added and renamed, never removed or reordered.",
        "CREATE TYPE mood AS ENUM ('good', 'bad');", "CREATE TABLE moods (mood text PRIMARY KEY);", "eugene W13",
    ),
    Rule(
        "HASH-INDEX", _STYLE, "A hash index",
        "It serves equality alone, cannot be unique, and is rarely smaller or faster than a btree.",
        "CREATE INDEX CONCURRENTLY t_x ON t USING hash (x);", "CREATE INDEX CONCURRENTLY t_x ON t (x);",
        "online_migrations add_hash_index",
    ),
    Rule(
        "WIDE-INDEX", _STYLE, "An index of more than three columns",
        "It is large, every write pays for it, and the columns at its end rarely narrow a search.",
        "CREATE INDEX CONCURRENTLY t_i ON t (a, b, c, d);", "CREATE INDEX CONCURRENTLY t_i ON t (a, b, c);",
        "strong_migrations add_index_columns",
    ),
)  # fmt: skip
