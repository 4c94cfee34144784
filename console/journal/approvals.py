"""Approvals in the journal, and the texts of the plans they name."""

from __future__ import annotations

import contextlib

import psycopg
from psycopg import sql

from console.errors import ConnectionFailed, UsageError
from console.journal import schema
from console.journal.connect import Conn
from console.plan.approval import JOURNAL, Approval, Person
from console.plan.difference import Kept
from console.plan.digest import digested, plan_sha256
from console.plan.model import Plan, SourceFile

MOST_FILE = 4 * 1024 * 1024  # bytes: of a longer file only the digest is kept
MOST_PLAN = 32 * 1024 * 1024  # bytes of one plan's texts


def person(conn: Conn, name: str) -> Person:
    """``name`` on this connection: with the login role that the server knows."""
    row = conn.execute("SELECT session_user").fetchone()
    assert row is not None
    return Person(name, row[0])


def records(conn: Conn, plan_id: str) -> tuple[Approval, ...]:
    """Every record of a plan, oldest first; none where there is no journal. Call it where ``may_read`` says so."""
    if not may_read(conn):
        return ()
    rows = conn.execute(
        "SELECT plan_id, plan_sha256, name, at, comment, withdraws, role::text, %s::text FROM pgferry.approval"
        " WHERE plan_id = %s ORDER BY id",
        (JOURNAL, plan_id),
    ).fetchall()
    return tuple(Approval(*row) for row in rows)


def may_read(conn: Conn) -> bool:
    """Whether this role may read the journal's approvals."""
    return schema.may_select(conn, "approval")


def may_record(conn: Conn) -> bool:
    """Whether this role may record an approval in the journal that is there: not on a replica."""
    row = conn.execute(
        "SELECT has_schema_privilege(n.oid, 'USAGE') AND has_function_privilege(p.oid, 'EXECUTE')"
        " AND current_setting('transaction_read_only') = 'off'"
        " FROM pg_namespace n JOIN pg_proc p ON p.pronamespace = n.oid AND p.proname = 'approve'"
        " WHERE n.nspname = 'pgferry'"
    ).fetchone()
    return bool(row and row[0])


def prepare(conn: Conn) -> None:
    """Make the journal where there is none and this role owns the database, or may do what its owner may.

    Nobody else makes it on the way: it would belong to a reviewer, and the operator could not write to it. One from
    before approvals is completed by its owner.
    """
    row = conn.execute(
        "SELECT current_setting('transaction_read_only') = 'off' AND pg_has_role(coalesce(nspowner, datdba), 'USAGE')"
        " FROM pg_database LEFT JOIN pg_namespace ON nspname = 'pgferry' WHERE datname = current_database()"
    ).fetchone()
    if row and row[0]:
        schema.install(conn)


def record(conn: Conn, plan: Plan, name: str, comment: str, *, withdraw: bool = False) -> None:
    """Approve exactly this plan, or withdraw that. The server says who and when. Raises ConnectionFailed."""
    files = () if withdraw else digested(plan)
    try:
        conn.execute(
            "SELECT pgferry.approve(%s, %s, %s, %s, %s, %s::text[], %s::text[], %s::bytea[])",
            (plan.id, plan.sha256, withdraw, name, comment, *_columns(files)),
        )
    except psycopg.errors.InsufficientPrivilege as error:
        raise ConnectionFailed(
            f"This role may not record an approval: {str(error).splitlines()[0]}.",
            state="Nothing was recorded.",
            do="Ask the journal's owner for 'pgferry approve --grant ROLE', or record it in a file with --file.",
        ) from None


def grant(conn: Conn, role: str) -> None:
    """Let ``role`` record approvals and read them, and nothing else of the journal. Raises UsageError, ConnectionFailed."""
    schema.install(conn)
    name = sql.Identifier(role)
    try:
        with conn.transaction():
            conn.execute(sql.SQL("GRANT USAGE ON SCHEMA pgferry TO {}").format(name))
            conn.execute(sql.SQL("GRANT EXECUTE ON FUNCTION pgferry.approve TO {}").format(name))
            conn.execute(
                sql.SQL("GRANT SELECT ON pgferry.approval, pgferry.plan_version, pgferry.plan_file TO {}").format(name)
            )
    except psycopg.errors.UndefinedObject:
        raise UsageError(f"There is no role {role} on this server.", state="Nothing was granted.") from None
    except psycopg.errors.InsufficientPrivilege as error:
        raise ConnectionFailed(
            f"This role may not grant that: {str(error).splitlines()[0]}.",
            state="Nothing was granted.",
            do="Connect as the owner of the schema pgferry.",
        ) from None


def keep_plan(conn: Conn, plan: Plan) -> None:
    """Keep the plan's files, so that a later version can be compared with it; not where the server cannot take them.

    A difference that cannot be shown is no reason not to start: errors of the server are passed over.
    """
    files = digested(plan)
    if plan_sha256(files) != plan.sha256:  # a plan made in memory
        return
    with contextlib.suppress(*_NOT_KEPT), conn.transaction():
        conn.execute(
            "SELECT pgferry.keep_plan(%s, %s::text[], %s::text[], %s::bytea[])", (plan.sha256, *_columns(files))
        )


_NOT_KEPT = (
    psycopg.errors.DataError,
    psycopg.errors.InsufficientPrivilege,
    psycopg.errors.UndefinedFunction,  # a journal from before approvals
    UnicodeEncodeError,
)


def _columns(files: tuple[SourceFile, ...]) -> tuple[list[str], list[str], list[bytes | None]]:
    room = MOST_PLAN
    contents: list[bytes | None] = []
    for file in files:
        data = file.text.encode()
        fits = len(data) <= min(MOST_FILE, room)
        room -= len(data) if fits else 0
        contents.append(data if fits else None)
    return [file.path for file in files], [file.sha256 for file in files], contents


def kept(conn: Conn, sha256: str) -> dict[str, Kept]:
    """The files of an earlier version, as far as the journal has them and this role may read them; else empty."""
    if not (schema.may_select(conn, "plan_version") and schema.may_select(conn, "plan_file")):
        return {}
    rows = conn.execute(
        "SELECT v.path, v.sha256, f.content FROM pgferry.plan_version v LEFT JOIN pgferry.plan_file f USING (sha256)"
        " WHERE v.plan_sha256 = %s",
        (sha256,),
    ).fetchall()
    if plan_sha256(SourceFile(path, "", digest) for path, digest, _ in rows) != sha256:  # not what that digest covers
        return {}
    return {path: Kept(digest, None if data is None else data.decode()) for path, digest, data in rows}
