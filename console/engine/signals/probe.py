"""The latency of a query of the operator's choice: the application's own view of how the server feels."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import psycopg

from console.engine.signals.base import Reading, gauge, unseen
from console.journal.connect import Conn
from console.text import plain

_PATIENCE = 4  # times its limit a probe may take before the server stops it
_LEAST_TIMEOUT_MS = 250


@dataclass
class Probe:
    """Runs the query, read-only, on a connection of its own. One that cannot be measured holds: it was asked for."""

    query: str
    limit_ms: float
    connect: Callable[[], Conn]
    name: str = "probe"
    _conn: Conn | None = field(default=None)
    _recent: deque[float] = field(default_factory=lambda: deque(maxlen=3))

    def look(self, conn: Conn) -> Sequence[Reading]:
        """The median of the last three measurements; nothing where no query was chosen."""
        if not self.query or not self.limit_ms:
            return []
        limit = f"{self.limit_ms:.0f} ms"
        try:
            self._recent.append(self._measure())
        except psycopg.errors.QueryCanceled:
            self._recent.append(_PATIENCE * self.limit_ms)
        except psycopg.Error as error:
            self.close()
            return [unseen(self.name, plain(str(error)).splitlines()[0][:60], limit, holds=True)]
        value = sorted(self._recent)[len(self._recent) // 2]
        return [gauge(self.name, value, self.limit_ms, f"{value:.1f} ms", limit)]

    def _measure(self) -> float:
        if self._conn is None or self._conn.closed:
            self._conn = self.connect()
            self._conn.execute("SET default_transaction_read_only = on")
            timeout = max(int(_PATIENCE * self.limit_ms), _LEAST_TIMEOUT_MS)
            self._conn.execute(f"SET statement_timeout = {timeout}")
        start = time.monotonic()
        self._conn.execute(self.query.encode()).fetchone()
        return (time.monotonic() - start) * 1000

    def close(self) -> None:
        """Give the connection back."""
        if self._conn is not None and not self._conn.closed:
            self._conn.close()
        self._conn = None
