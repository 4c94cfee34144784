"""Connections: libpq's own conninfo, untouched, and one clear sentence when it does not work."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from console.errors import ConnectionFailed, FerryError
from console.journal.pooler import Conn as Conn
from console.journal.pooler import require_session
from console.journal.settle import client_defaults, settle
from console.journal.state import Target

MIN_VERSION = 130000  # PostgreSQL 13, in the form of server_version_num

_ADVICE = {
    "53100": "Free space on the server's disk, then resume.",
    "28P01": "Check the password (PGPASSWORD, ~/.pgpass or the service file).",
    "28000": "Check the role and the server's pg_hba.conf.",
    "3D000": "Check the database name (PGDATABASE or dbname=).",
    "53300": "The server has no free connection slot: close some, or raise max_connections.",
    "57P03": "The server is starting or stopping: try again in a moment.",
}


def connect(
    conninfo: str,
    *,
    application_name: str = "pgferry",
    autocommit: bool = True,
    read_only: bool = False,
    statement_timeout: str = "0",
    kind: type[Conn] = psycopg.Connection,
) -> Conn:
    """Connect as psql would: an empty ``conninfo`` leaves everything to PG* variables and service files.

    Sessions never idle in a transaction and notice a lost client. ``read_only`` is enforced by the server.
    ``statement_timeout`` is 0 only where statements have limits of their own; ``kind`` is the class of the connection.
    Raises ConnectionFailed, also behind a pooler that shares server processes.
    """
    _refuse_split_password(conninfo)

    def opened() -> Conn:
        return kind.connect(
            conninfo,
            autocommit=True,
            application_name=application_name,
            fallback_application_name="pgferry",
            **client_defaults(conninfo),
        )

    try:
        conn = opened()
    except psycopg.ProgrammingError as error:
        raise ConnectionFailed(
            f"The connection string cannot be read: {_unquoted(_first_line(error))}.",
            state="Nothing was changed.",
            do="See 'Connection Strings' in libpq's manual; quote values with spaces.",
        ) from None
    except psycopg.OperationalError as error:
        raise _connection_failed(error) from None
    try:
        _refuse_old(conn)
        require_session(conn, opened)
        settle(conn, statement_timeout=statement_timeout, read_only=read_only)
        conn.autocommit = autocommit
        return conn
    except psycopg.OperationalError as error:  # lost again at once
        conn.close()
        raise _connection_failed(error) from None


def _refuse_old(conn: Conn) -> None:
    version = conn.info.server_version
    if version < MIN_VERSION:
        conn.close()
        raise ConnectionFailed(
            f"The server is PostgreSQL {version // 10000}; pgferry needs 13 or newer.",
            state="Nothing was changed.",
            do="Upgrade the server or choose another one.",
        )


def _refuse_split_password(conninfo: str) -> None:
    """A bare @ or / in the password of a URI makes its rest the host, which errors would then show."""
    head = conninfo.partition("://")[2].partition("?")[0]
    authority, _, path = head.partition("/")
    if authority.count("@") > 1 or ("@" in path and ":" in authority and "@" not in authority):
        raise ConnectionFailed(
            "The connection URI has more than one @, or a / before it: part of the password would be taken as the host.",
            state="Nothing was changed.",
            do="Write @ as %40 and / as %2F in it, or keep the password in ~/.pgpass.",
        )


def _unquoted(message: str) -> str:
    """libpq's words without the parts of the string it quotes: they may be parts of a password."""
    return re.sub('".*"', "(...)", message.replace('"="', "="))


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__).rstrip(".")


def _connection_failed(error: psycopg.OperationalError) -> ConnectionFailed:
    text = str(error)
    state = error.sqlstate or ""
    if not state:  # errors while connecting carry no SQLSTATE in libpq
        for needle, code in (
            ("password authentication failed", "28P01"),
            ("no password supplied", "28P01"),
            ("no pg_hba.conf entry", "28000"),
            ("does not exist", "3D000"),
            ("too many clients", "53300"),
            ("No space left on device", "53100"),
            ("starting up", "57P03"),
            ("shutting down", "57P03"),
        ):
            if needle in text:
                state = code
                break
    fatal = [line.strip() for line in text.splitlines() if "FATAL" in line]  # one for each address tried
    what = fatal[-1] if fatal else _first_line(error)
    advice = _ADVICE.get(state, "Check that the server runs and that host and port are right (PGHOST, PGPORT, --dsn).")
    return ConnectionFailed(
        f"No connection to PostgreSQL: {what.rstrip('.')}.",
        state="Nothing was changed.",
        do=advice,
        final=re.search('database ".*" does not exist', text) is not None,  # dropped or renamed: not a server away
    )


@contextmanager
def in_a_sentence() -> Iterator[None]:
    """What the server answers with an error becomes one sentence. Raises ConnectionFailed, FerryError."""
    try:
        yield
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise ConnectionFailed(
            f"The server does not answer as it should: {_first_line(error)}.", do="See whether it runs, then try again."
        ) from None
    except psycopg.errors.InsufficientPrivilege as error:
        raise ConnectionFailed(
            f"This role may not do that: {_first_line(error)}.", state="Nothing was changed."
        ) from None
    except psycopg.Error as error:
        raise FerryError(f"The server answered with an error: {_first_line(error)}.") from None


def target(conn: Conn, environment: str) -> Target:
    """Which database this is, for the first line of every screen."""
    row = conn.execute("SELECT current_database(), current_user, current_setting('server_version')").fetchone()
    assert row is not None
    host = conn.info.host or "local"
    return Target(
        database=row[0],
        role=row[1],
        server_version=row[2].split()[0],
        host="local" if host.startswith(("/", "@")) else host,
        port=conn.info.port,
        environment=environment,
    )
