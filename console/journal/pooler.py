"""Whether a pooler stands between us and the server that hands each transaction to another server process.

Behind one, neither the lease's advisory lock nor LISTEN nor a session's settings would hold, and our settings would be
left on processes that applications use. A pooler in session mode does no harm.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from typing import Any

import psycopg

from console.errors import ConnectionFailed

ROUNDS = 3
PATIENCE_S = 15.0  # for a second server process; a pool that has none to give is too small for a run anyway

Conn = psycopg.Connection[tuple[Any, ...]]


def require_session(conn: Conn, another: Callable[[], Conn]) -> None:
    """Return if ``conn``, just opened, has a server process of its own; ``another`` opens one more like it.

    A pooler invents the process number that it tells its clients; without one the server's own is the same, and one
    query has settled it. Behind one, a second connection takes transactions in between: where processes are shared it
    gets ours, or ours is another one afterwards, whether the pooler hands out the process given back last or takes
    turns. Nothing is set on either before that is known. Raises ConnectionFailed.
    """
    try:
        if _process(conn) == conn.info.backend_pid:
            return
        shared = _shared(conn, another)
    except psycopg.OperationalError as error:
        conn.close()
        if "statement pooling" in str(error):
            raise _refusal("in statement mode") from None
        raise ConnectionFailed(
            f"The pooler between here and the server gave up: {str(error).splitlines()[0].rstrip('.')}.",
            state="Nothing was changed.",
            do="Connect to the server itself, or give the pool at least 6 server connections.",
        ) from None
    if shared:
        conn.close()
        raise _refusal("in transaction mode")


def _shared(conn: Conn, another: Callable[[], Conn]) -> bool:
    other = another()
    stuck = threading.Timer(PATIENCE_S, _hang_up, [other])  # waiting in the pooler, no limit of the server reaches it
    stuck.start()
    try:
        ours = _process(conn)
        for _ in range(ROUNDS):
            with other.transaction():
                if _process(other) == ours or _process(conn) != ours:
                    return True
            if _process(conn) != ours:
                return True
        return False
    finally:
        stuck.cancel()
        other.close()


def _hang_up(conn: Conn) -> None:
    """End the line under a connection that another thread waits on: its wait ends in an error."""
    with socket.socket(fileno=os.dup(conn.fileno())) as line:
        line.shutdown(socket.SHUT_RDWR)


def _process(conn: Conn) -> int:
    row = conn.execute("SELECT pg_backend_pid()", prepare=False).fetchone()
    assert row is not None
    return int(row[0])


def _refusal(mode: str) -> ConnectionFailed:
    return ConnectionFailed(
        f"A connection pooler {mode} stands between here and the server: the lease of a run, its settings and its"
        " notifications would go astray.",
        state="Nothing was changed.",
        do="Connect to the server itself, or through a pool in session mode (--dsn, or PGHOST and PGPORT).",
    )
