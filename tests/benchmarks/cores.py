"""The copy's connections on a core of their own, so that what a host's scheduler adds can be told from what the copy does.

On few cores a writer that wakes may be left behind the copy until the next timer tick; here that cannot be.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

from console.journal.connect import Conn, connect

_LOOK_S = 0.05
_COPY = "SELECT pid, application_name LIKE 'pgferry run %% copy' FROM pg_stat_activity WHERE pid <> pg_backend_pid()"


def apart() -> tuple[set[int], set[int]] | None:
    """(the copy's core, the others); None on one core, or where processes cannot be bound to cores."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    cores = sorted(os.sched_getaffinity(0))
    return ({cores[-1]}, set(cores[:-1])) if len(cores) > 1 else None


@contextlib.contextmanager
def kept_apart(conninfo: str, others: list[int]) -> Iterator[None]:
    """While it lasts, connections that copy run on one core; the other connections and ``others`` (pids) on the rest."""
    cores = apart()
    assert cores is not None, "there is only one core"
    mine, ended = os.sched_getaffinity(0), threading.Event()
    keeper = threading.Thread(target=_keep, args=(conninfo, cores, others, ended), daemon=True)
    keeper.start()
    try:
        yield
    finally:
        ended.set()
        keeper.join()
        _bind(os.getpid(), mine)


def _keep(conninfo: str, cores: tuple[set[int], set[int]], others: list[int], ended: threading.Event) -> None:
    copying, rest = cores
    with connect(conninfo, application_name="benchmark cores") as conn:
        for pid in (os.getpid(), conn.info.backend_pid, *others):
            _bind(pid, rest)
        while not ended.wait(_LOOK_S):
            for pid, copies in _sessions(conn):
                _bind(pid, copying if copies else rest)


def _sessions(conn: Conn) -> list[tuple[int, bool]]:
    return [(pid, bool(copies)) for pid, copies in conn.execute(_COPY).fetchall()]


def _bind(pid: int, cores: set[int]) -> None:
    """Bind each thread of a process; one that has ended is none of ours."""
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            os.sched_setaffinity(int(thread), cores)
