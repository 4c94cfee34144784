"""The journal's own schema, ``pgferry``: made on the first write, the same everywhere, brought up to date when older."""

from __future__ import annotations

import psycopg

from console.errors import ConnectionFailed, Refused
from console.journal import approval_ddl, control_ddl, history_ddl
from console.journal.connect import Conn

VERSION = 2  # grows with every change of the DDL below; kept as the schema's comment

_DDL = """
CREATE SCHEMA IF NOT EXISTS pgferry;
CREATE TABLE IF NOT EXISTS pgferry.run (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    plan_id text NOT NULL,
    plan_title text NOT NULL,
    plan_sha256 text NOT NULL,
    status text NOT NULL DEFAULT 'new',
    until text NOT NULL DEFAULT 'end',
    back_to text NOT NULL DEFAULT '',
    operator text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at timestamptz,
    finished_at timestamptz,
    error text NOT NULL DEFAULT '',
    fence bigint NOT NULL DEFAULT 0,
    event_hash text NOT NULL DEFAULT '',
    tables text[] NOT NULL DEFAULT '{}'
);
CREATE TABLE IF NOT EXISTS pgferry.lease (
    run_id bigint PRIMARY KEY REFERENCES pgferry.run ON DELETE CASCADE,
    fence bigint NOT NULL,
    holder text NOT NULL,
    host text NOT NULL,
    pid integer NOT NULL,
    since timestamptz NOT NULL DEFAULT clock_timestamp(),
    heartbeat_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE IF NOT EXISTS pgferry.task (
    run_id bigint NOT NULL REFERENCES pgferry.run ON DELETE CASCADE,
    task_id text NOT NULL,
    position integer NOT NULL,
    phase_id text NOT NULL,
    phase_title text NOT NULL,
    title text NOT NULL,
    kind text NOT NULL,
    irreversible text NOT NULL,
    depends text[] NOT NULL,
    estimate_minutes integer NOT NULL,
    status text NOT NULL DEFAULT 'pending',
    round integer NOT NULL DEFAULT 0,
    started_at timestamptz,
    finished_at timestamptz,
    worked interval NOT NULL DEFAULT '0',
    operator text NOT NULL DEFAULT '',
    blocked_on text NOT NULL DEFAULT '',
    note text NOT NULL DEFAULT '',
    error text NOT NULL DEFAULT '',
    attempts integer NOT NULL DEFAULT 0,
    sha256 text NOT NULL DEFAULT '',
    PRIMARY KEY (run_id, task_id)
);
CREATE TABLE IF NOT EXISTS pgferry.statement (
    run_id bigint NOT NULL,
    task_id text NOT NULL,
    round integer NOT NULL,
    direction text NOT NULL,
    ordinal integer NOT NULL,
    sql text NOT NULL,
    status text NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    lock_wait_ms double precision NOT NULL DEFAULT 0,
    ms double precision NOT NULL DEFAULT 0,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    error text NOT NULL DEFAULT '',
    before text NOT NULL DEFAULT '',
    PRIMARY KEY (run_id, task_id, round, direction, ordinal),
    FOREIGN KEY (run_id, task_id) REFERENCES pgferry.task ON DELETE CASCADE
);
CREATE TABLE IF NOT EXISTS pgferry.backfill (
    run_id bigint NOT NULL,
    task_id text NOT NULL,
    round integer NOT NULL,
    mapping text NOT NULL,
    rows_estimate bigint NOT NULL,
    low jsonb,
    high jsonb,
    planned jsonb,
    exhausted boolean NOT NULL DEFAULT false,
    next_ordinal bigint NOT NULL DEFAULT 1,
    settings jsonb NOT NULL,
    PRIMARY KEY (run_id, task_id, round, mapping),
    FOREIGN KEY (run_id, task_id) REFERENCES pgferry.task ON DELETE CASCADE
);
CREATE TABLE IF NOT EXISTS pgferry.chunk (
    run_id bigint NOT NULL,
    task_id text NOT NULL,
    round integer NOT NULL,
    mapping text NOT NULL,
    ordinal bigint NOT NULL,
    low jsonb,
    high jsonb,
    status text NOT NULL DEFAULT 'pending',
    rows_read bigint NOT NULL DEFAULT 0,
    rows_written bigint NOT NULL DEFAULT 0,
    rows_rejected bigint NOT NULL DEFAULT 0,
    attempts integer NOT NULL DEFAULT 0,
    ms double precision NOT NULL DEFAULT 0,
    finished_at timestamptz,
    error text NOT NULL DEFAULT '',
    content_hash numeric NOT NULL DEFAULT 0,
    PRIMARY KEY (run_id, task_id, round, mapping, ordinal),
    FOREIGN KEY (run_id, task_id) REFERENCES pgferry.task ON DELETE CASCADE
);
CREATE TABLE IF NOT EXISTS pgferry.reject (
    mapping text NOT NULL,
    direction text NOT NULL,
    key jsonb NOT NULL,
    row_data jsonb NOT NULL,
    sqlstate text NOT NULL DEFAULT '',
    reason text NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (mapping, direction, key)
);
CREATE TABLE IF NOT EXISTS pgferry.recheck (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    mapping text NOT NULL,
    key jsonb NOT NULL,
    reason text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    xid xid8 NOT NULL DEFAULT pg_current_xact_id()
);
CREATE TABLE IF NOT EXISTS pgferry.noting (
    mapping text PRIMARY KEY,
    since timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE IF NOT EXISTS pgferry.tombstone (
    mapping text NOT NULL,
    key jsonb NOT NULL,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id()
);
CREATE TABLE IF NOT EXISTS pgferry.lookup_change (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    mapping text NOT NULL,
    lookup text NOT NULL,
    match jsonb NOT NULL,
    gives text,
    canonical boolean NOT NULL,
    removed boolean NOT NULL,
    at_once boolean NOT NULL,
    carried boolean NOT NULL DEFAULT false,
    waits text[],
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE IF NOT EXISTS pgferry.check_result (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id bigint NOT NULL,
    task_id text NOT NULL,
    check_id text NOT NULL,
    title text NOT NULL,
    severity text NOT NULL,
    ok boolean NOT NULL,
    expected text NOT NULL,
    actual text NOT NULL,
    ms double precision NOT NULL,
    rows jsonb NOT NULL DEFAULT '[]',
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    FOREIGN KEY (run_id, task_id) REFERENCES pgferry.task ON DELETE CASCADE
);
CREATE TABLE IF NOT EXISTS pgferry.event (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id bigint NOT NULL REFERENCES pgferry.run ON DELETE CASCADE,
    at timestamptz NOT NULL,
    actor text NOT NULL,
    kind text NOT NULL,
    task_id text NOT NULL,
    text text NOT NULL,
    data jsonb NOT NULL,
    prev_hash text NOT NULL,
    hash text NOT NULL
);
CREATE INDEX IF NOT EXISTS event_run_idx ON pgferry.event (run_id, id);
CREATE TABLE IF NOT EXISTS pgferry.command (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id bigint NOT NULL REFERENCES pgferry.run ON DELETE CASCADE,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor text NOT NULL,
    verb text NOT NULL,
    args jsonb NOT NULL,
    status text NOT NULL DEFAULT 'new',
    answer text NOT NULL DEFAULT '',
    answered_at timestamptz
);
CREATE INDEX IF NOT EXISTS command_new_idx ON pgferry.command (run_id) WHERE status = 'new';
CREATE TABLE IF NOT EXISTS pgferry.live (
    run_id bigint NOT NULL REFERENCES pgferry.run ON DELETE CASCADE,
    name text NOT NULL,
    payload jsonb NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (run_id, name)
);
CREATE TABLE IF NOT EXISTS pgferry.lead (
    mapping text PRIMARY KEY,
    leads text NOT NULL,
    old_table text NOT NULL DEFAULT '',
    retired boolean NOT NULL DEFAULT false,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE IF NOT EXISTS pgferry.app_window (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source text NOT NULL,
    kind text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    operations integer NOT NULL,
    errors integer NOT NULL,
    max_ms double precision NOT NULL,
    buckets jsonb NOT NULL,
    last_error text NOT NULL DEFAULT ''
);
CREATE TABLE IF NOT EXISTS pgferry.app_operations (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source text NOT NULL,
    began_at timestamptz NOT NULL,
    ended_at timestamptz NOT NULL,
    starts_us integer[] NOT NULL,
    took_us integer[] NOT NULL,
    failed boolean[] NOT NULL
);
CREATE INDEX IF NOT EXISTS app_operations_ended_idx ON pgferry.app_operations (ended_at);
CREATE TABLE IF NOT EXISTS pgferry.comparison (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    mapping text NOT NULL,
    origin text NOT NULL,
    actor text NOT NULL,
    passes integer NOT NULL DEFAULT 1,
    began_at timestamptz NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ok boolean NOT NULL,
    faults jsonb NOT NULL,
    words text NOT NULL,
    ms double precision NOT NULL,
    rows jsonb NOT NULL DEFAULT '[]'
);
CREATE INDEX IF NOT EXISTS comparison_mapping_idx ON pgferry.comparison (mapping, id);
CREATE TABLE IF NOT EXISTS pgferry.latency (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id bigint NOT NULL REFERENCES pgferry.run ON DELETE CASCADE,
    name text NOT NULL,
    samples integer NOT NULL,
    p50_ms double precision NOT NULL,
    percentile double precision NOT NULL,
    percentile_ms double precision NOT NULL,
    max_ms double precision NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
"""


# A copy calls it for each row that the new shape refuses, in the scan that inserts the others. Says false.
NOTE_REJECT = """
CREATE OR REPLACE FUNCTION pgferry.note_reject(of_mapping text, of_key jsonb, of_row jsonb, why text, state text)
    RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO pgferry.reject AS r (mapping, direction, key, row_data, sqlstate, reason)
    VALUES (of_mapping, 'forward', of_key, of_row, state, why)
    ON CONFLICT (mapping, direction, key)
    DO UPDATE SET row_data = excluded.row_data, reason = excluded.reason, sqlstate = excluded.sqlstate, at = excluded.at;
    PERFORM set_config('pgferry.noted', (coalesce(nullif(current_setting('pgferry.noted', true), ''), '0')::bigint + 1)::text, true);
    RETURN false;
END $$;
"""

# What a journal of an earlier version lacks: statements that change nothing where it is there already.
_LATER = """
ALTER TABLE pgferry.chunk ADD COLUMN IF NOT EXISTS content_hash numeric NOT NULL DEFAULT 0;
CREATE INDEX IF NOT EXISTS chunk_pending_idx ON pgferry.chunk (run_id, task_id, round, mapping)
    WHERE status = 'pending';
REVOKE ALL ON FUNCTION pgferry.note_reject FROM PUBLIC;
ALTER TABLE pgferry.task ADD COLUMN IF NOT EXISTS sha256 text NOT NULL DEFAULT '';
ALTER TABLE pgferry.statement ADD COLUMN IF NOT EXISTS before text NOT NULL DEFAULT '';
ALTER TABLE pgferry.recheck ADD COLUMN IF NOT EXISTS xid xid8 NOT NULL DEFAULT pg_current_xact_id();
ALTER TABLE pgferry.run ADD COLUMN IF NOT EXISTS tables text[] NOT NULL DEFAULT '{}';
ALTER TABLE IF EXISTS pgferry.control ADD COLUMN IF NOT EXISTS on_detach text NOT NULL DEFAULT 'go on';
CREATE OR REPLACE FUNCTION pgferry.append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'events are only ever added' USING ERRCODE = 'insufficient_privilege';
END $$;
DROP TRIGGER IF EXISTS append_only ON pgferry.event;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON pgferry.event
    FOR EACH STATEMENT EXECUTE FUNCTION pgferry.append_only();
"""


def installed(conn: Conn) -> bool:
    """Whether the journal exists in this database, of whatever version."""
    return version(conn) is not None


def readable(conn: Conn) -> bool:
    """Whether the journal exists and this role may read its runs."""
    return installed(conn) and may_select(conn, "run")


def may_select(conn: Conn, table: str) -> bool:
    """Whether a table of the journal exists and this role may read it."""
    row = conn.execute(
        f"SELECT has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT') {_TABLE}", (table,)
    ).fetchone()
    return bool(row and row[0])


def version(conn: Conn) -> int | None:
    """The version of the journal in this database, None when there is none. Any role may ask."""
    row = conn.execute(
        "SELECT coalesce(substring(obj_description(n.oid, 'pg_namespace') FROM 'version (\\d+)')::int, 0)" + _TABLE,
        ("app_window",),
    ).fetchone()
    return int(row[0]) if row else None


def _complete(conn: Conn) -> bool:
    """Whether a journal of this version has the tables and columns that came last."""
    column = f"SELECT 1 {_TABLE} AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = %s)"
    return all(
        conn.execute(column if "." in name else f"SELECT 1 {_TABLE}", name.split(".")).fetchone() for name in _NEWEST
    )


_NEWEST = ("plan_version", "latency", "history", "control.on_detach", "noting", "tombstone")  # table, or table.column


# From the catalogue, which every role may read, not by name, which needs USAGE on the schema.
_TABLE = " FROM pg_namespace n JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = %s WHERE n.nspname = 'pgferry'"


def install(conn: Conn) -> None:
    """Make the journal's schema, or bring an older one up to date.

    Raises ConnectionFailed without the privilege, Refused when a newer pgferry made it.
    """
    found = version(conn)
    if found == VERSION and _complete(conn):
        return
    if found is not None and found > VERSION:
        raise Refused(
            f"The journal in this database is of version {found}; this pgferry knows version {VERSION}.",
            state="Nothing was changed.",
            do="Use the newer pgferry.",
        )
    try:
        with conn.transaction():
            conn.execute(_DDL)
            conn.execute(NOTE_REJECT)
            conn.execute(_LATER)
            conn.execute(approval_ddl.TABLES)
            conn.execute(approval_ddl.FUNCTIONS)
            conn.execute(history_ddl.TABLES)
            conn.execute(control_ddl.TABLE)
            conn.execute(history_ddl.FUNCTIONS)
            conn.execute(f"COMMENT ON SCHEMA pgferry IS 'journal of pgferry, version {VERSION}'")
    except psycopg.errors.InsufficientPrivilege as error:
        raise ConnectionFailed(
            f"The journal cannot be made in this database: {str(error).splitlines()[0]}.",
            state="Nothing was changed.",
            do="Grant CREATE on the database to this role, or connect as its owner.",
        ) from None
    except (
        psycopg.errors.UniqueViolation,
        psycopg.errors.DuplicateTable,
        psycopg.errors.DuplicateSchema,
        psycopg.errors.InternalError_,
    ):
        if version(conn) != VERSION:  # someone else was making it at the same moment
            raise
