"""What every session of ours sets: limits on waiting and idling, so that a client that died holds nothing for long."""

from __future__ import annotations

import contextlib
import os
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

LOCK_TIMEOUT = "1s"  # outside a step, which sets its own: nothing of the journal is ever locked so long
READER_TIMEOUT = "30s"  # statement_timeout of what only reads the journal, listens or gives the heartbeat

# A host that vanished is noticed within a minute, from both ends. Names and units as libpq and the server have them.
_CLIENT = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
_SERVER = {
    "idle_in_transaction_session_timeout": "60s",
    "lock_timeout": LOCK_TIMEOUT,
    "tcp_keepalives_idle": "30s",
    "tcp_keepalives_interval": "10s",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "60s",
}
CHECK_CLIENT = "client_connection_check_interval"  # a statement of a client that died is ended, not only its session
CHECK_EVERY = "5s"


def client_defaults(conninfo: str) -> dict[str, Any]:
    """What to add to the connection string: libpq's time limits, each unless the user gave it, or a service file may.

    Raises psycopg.ProgrammingError for a string that libpq cannot read.
    """
    given = set(conninfo_to_dict(conninfo)) if conninfo else set()
    if "service" in given or os.environ.get("PGSERVICE"):
        return {}
    if os.environ.get("PGCONNECT_TIMEOUT"):
        given.add("connect_timeout")
    return {name: value for name, value in _CLIENT.items() if name not in given}


def settle(conn: psycopg.Connection[Any], *, statement_timeout: str, read_only: bool) -> None:
    """Set the session's own limits. ``statement_timeout`` as PostgreSQL writes it; ``0`` is none."""
    version = conn.info.server_version
    wanted = {**_SERVER, "statement_timeout": statement_timeout}
    if version >= 140000:
        wanted["idle_session_timeout"] = "0"  # a console that watches may be quiet for long
    if version >= 170000:
        wanted["transaction_timeout"] = "0"  # a long build is not to be cut by a limit meant for applications
    if read_only:
        wanted["default_transaction_read_only"] = "on"
    calls = ", ".join(["set_config(%s, %s, false)"] * len(wanted))
    conn.execute(f"SELECT {calls}", [word for pair in wanted.items() for word in pair])
    if version >= 140000:
        with contextlib.suppress(psycopg.errors.InvalidParameterValue):  # a server on a platform that lacks it
            conn.execute("SELECT set_config(%s, %s, false)", (CHECK_CLIENT, CHECK_EVERY))
