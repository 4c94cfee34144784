"""What a concurrent statement that died leaves behind: INVALID indexes, a partition half detached. Found and removed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from postgast import pg_query_pb2 as pb
from psycopg import sql

from console.engine.derive import raw
from console.engine.session import Session
from console.errors import StepFailed
from console.journal.connect import Conn
from console.sql.nodes import inner, option, which

NAME_BYTES = 63  # NAMEDATALEN - 1


@dataclass(frozen=True, slots=True)
class Index:
    """An index as the catalogue has it; ``builder`` is the pid that builds it now, 0 for none."""

    oid: int
    schema: str
    name: str
    table: int
    valid: bool
    builder: int


_INDEXES = """
SELECT c.oid::int8, n.nspname, c.relname, i.indrelid::int8, i.indisvalid AND i.indisready AND i.indislive,
    coalesce((SELECT p.pid FROM pg_stat_progress_create_index p WHERE p.datname = current_database()
        AND p.index_relid = c.oid AND p.pid <> pg_backend_pid() LIMIT 1), 0)
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
"""


def _indexes(conn: Conn, where: str, **args: object) -> list[Index]:
    return [Index(*row) for row in conn.execute(f"{_INDEXES} WHERE {where} ORDER BY c.oid", args).fetchall()]


def _relation(range_var: Any) -> str:
    parts = [part for part in (range_var.schemaname, range_var.relname) if part]
    return sql.Identifier(*parts).as_string(None)


def _oid(conn: Conn, relation: str) -> int:
    row = conn.execute("SELECT coalesce(to_regclass(%s)::oid::int8, 0)", (relation,)).fetchone()
    return int(row[0]) if row else 0


def drop_statement(index: Index) -> sql.Composed:
    """Drop an INVALID index without locking its table against anybody."""
    return sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(sql.Identifier(index.schema, index.name))


@dataclass(frozen=True, slots=True)
class Build:
    """CREATE INDEX CONCURRENTLY. ``family``: a pattern for the names the server may give it; empty when it has a name."""

    relation: str  # quoted
    name: str
    family: str
    schema: str

    @classmethod
    def of(cls, stmt: Any) -> Build:
        """Read it from the parse tree. Raises StepFailed for one without a name where none can be foretold."""
        schema = stmt.relation.schemaname
        return cls(_relation(stmt.relation), stmt.idxname, "" if stmt.idxname else _family(stmt), schema)

    def before(self, conn: Conn) -> str:
        """The table's indexes, to tell later which one came since; nothing where the name tells it."""
        if self.name:
            return ""
        return " ".join(str(index.oid) for index in _indexes(conn, "i.indrelid = %(table)s", table=self._table(conn)))

    def found(self, conn: Conn, before: str) -> list[Index]:
        """The index this statement makes, as far as it is there."""
        if self.name:
            # An index stands in its table's schema; a table that is not there is told by the statement itself.
            return _indexes(
                conn,
                "c.relname = %(name)s AND c.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = %(table)s)",
                name=self.name,
                table=self._table(conn),
            )
        known = {int(oid) for oid in before.split()}
        ours = "i.indrelid = %(table)s AND c.relname ~ %(family)s"
        found = _indexes(conn, ours, table=self._table(conn), family=self.family)
        return [index for index in found if index.oid not in known]

    def _table(self, conn: Conn) -> int:
        return _oid(conn, self.relation)

    def broken(self, conn: Conn, before: str) -> list[Index]:
        """INVALID ones that may be dropped. Raises StepFailed where one is not this statement's to drop."""
        table = self._table(conn)
        invalid = [index for index in self.found(conn, before) if not index.valid]
        for index in invalid:
            if index.table != table:
                raise StepFailed(
                    f"The name {index.name} belongs to an INVALID index of another table.",
                    state="Nothing was done.",
                    do="Drop that index, or rename it, then resume.",
                )
            if index.builder:
                raise StepFailed(
                    f"Session {index.builder} builds the index {index.name} now.",
                    state="Nothing was done.",
                    do="Wait until it is done or end it, then resume.",
                )
        return invalid


def _family(stmt: Any) -> str:
    """The names PostgreSQL chooses from, as a pattern: table_column_idx and the same with a number."""
    columns = [inner(item) for item in (*stmt.index_params, *stmt.index_including_params)]
    words = [stmt.relation.relname, *(column.name for column in columns), "idx"]
    name = "_".join(words)
    if len(name.encode()) > NAME_BYTES - 4 or not all(column.name for column in columns):
        raise StepFailed(
            "CREATE INDEX CONCURRENTLY has no name here: what a failed build leaves behind could not be told apart.",
            state="Nothing of it was done.",
            do="Give the index a name in the plan.",
        )
    return f"^{re.escape(name)}[0-9]*$"


@dataclass(frozen=True, slots=True)
class Rebuild:
    """REINDEX CONCURRENTLY; ``where`` limits the indexes it may leave copies of."""

    where: str
    name: str

    @classmethod
    def of(cls, stmt: Any) -> Rebuild:
        """Read it from the parse tree."""
        tables = "SELECT unnest(ARRAY[oid, reltoastrelid]) FROM pg_class WHERE "
        tree = f"i.indrelid IN ({tables} oid = ({{0}}) OR oid IN (SELECT relid FROM pg_partition_tree(({{0}}))))"
        match stmt.kind:
            case pb.REINDEX_OBJECT_INDEX:
                table = "SELECT indrelid FROM pg_index WHERE indexrelid = to_regclass(%(name)s)"
                return cls(tree.format(table), _relation(stmt.relation))
            case pb.REINDEX_OBJECT_TABLE:
                return cls(tree.format("SELECT to_regclass(%(name)s)::oid"), _relation(stmt.relation))
            case pb.REINDEX_OBJECT_SCHEMA:
                name = sql.Identifier(stmt.name).as_string(None)
                return cls(f"i.indrelid IN ({tables} relnamespace = to_regnamespace(%(name)s))", name)
        return cls("true", "")

    def broken(self, conn: Conn) -> list[Index]:
        """INVALID copies whose names REINDEX gave; by PostgreSQL's manual both kinds are to be dropped."""
        where = f"{self.where} AND NOT i.indisvalid AND c.relname ~ '_cc(new|old)[0-9]*$'"
        return [index for index in _indexes(conn, where, name=self.name) if not index.builder]


@dataclass(frozen=True, slots=True)
class Detach:
    """ALTER TABLE .. DETACH PARTITION .. CONCURRENTLY: two transactions, between which it may die."""

    parent: str
    child: str

    @classmethod
    def of(cls, stmt: Any) -> Detach:
        """Read it from the parse tree."""
        command = inner(getattr(inner(stmt.cmds[0]), "def"))
        return cls(_relation(stmt.relation), _relation(command.name))

    def state(self, conn: Conn) -> str:
        """``attached``, ``pending`` or ``detached``."""
        row = conn.execute(
            "SELECT inhdetachpending FROM pg_inherits WHERE inhparent = to_regclass(%s) AND inhrelid = to_regclass(%s)",
            (self.parent, self.child),
        ).fetchone()
        return "detached" if row is None else "pending" if row[0] else "attached"

    def finish(self, conn: Conn) -> None:
        """The second half of it."""
        conn.execute(sql.SQL("ALTER TABLE {} DETACH PARTITION {} FINALIZE").format(raw(self.parent), raw(self.child)))


Work = Build | Rebuild | Detach | None


def of(node: Any) -> Work:
    """What a statement outside a transaction may leave behind; None for one that can simply be repeated."""
    name, stmt = which(node), inner(node)
    if name == "index_stmt":
        return Build.of(stmt)
    if name == "reindex_stmt" and option(stmt.params, "concurrently"):
        return Rebuild.of(stmt)
    if name == "alter_table_stmt":
        return Detach.of(stmt)
    return None


def waits_for_transactions(node: Any) -> bool:
    """Whether it waits for older transactions while it blocks nobody, so that a short lock_timeout only breaks it."""
    name, stmt = which(node), inner(node)
    concurrent_reindex = name == "reindex_stmt" and bool(option(stmt.params, "concurrently"))
    return concurrent_reindex or name in ("index_stmt", "drop_stmt")


def end_orphans(session: Session) -> int:
    """End what a runner before, killed or fenced off, still does on the server; returns how many sessions that were."""
    rows = session.conn.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s AND pid <> pg_backend_pid()"
        " AND datname = current_database() AND usename = current_user",
        (f"pgferry run {session.run_id} work",),
    ).fetchall()
    return len(rows)
