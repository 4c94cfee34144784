"""What every benchmark stands on: a server with fixed settings, the shipped plan's tables, clean starts for each run."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace

from psycopg import sql

from console.demo.server import EmbeddedServer, find_binaries
from console.demo.setup import prepare
from console.engine import sync, tombstones
from console.engine.facts import mapping_facts
from console.engine.session import Session, Wishes
from console.journal import lease, runs, schema
from console.journal.connect import Conn, connect
from console.journal.state import RunStatus
from console.plan.find import shipped_plan
from console.plan.load import load_plan
from console.plan.model import Direction, Kind, Mapping, Plan, Task
from console.sql.split import split

# Durable as in production, room enough that no checkpoint falls into a timed run, no surprises from JIT.
SETTINGS = {
    "fsync": "on",
    "shared_buffers": "1GB",
    "max_wal_size": "12GB",
    "checkpoint_timeout": "1h",
    "maintenance_work_mem": "256MB",
    "work_mem": "64MB",
    "jit": "off",
    "max_connections": "60",
}
COPY, COMPARE = "P2.2.2", "P2.2.8"  # the shipped plan's tasks that the figures are about
MAPPING = "book_ticker"
_UNTIL = "P2.2.1"  # the first task after the new tables and their lookups stand


def say(text: str) -> None:
    """Progress, on stderr: stdout is for the tables."""
    print(text, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Ground:
    """The shipped plan's database, carried to just before the sync is switched on."""

    conninfo: str
    plan: Plan
    rows: int
    server_pid: int | None = None

    @property
    def mapping(self) -> Mapping:
        """The mapping of the tickers."""
        return self.plan.mapping(MAPPING)

    def task(self, task_id: str = COPY, **settings: object) -> Task:
        """A task of the plan, its backfill's settings replaced by ``settings``."""
        task = self.plan.task(task_id)
        return replace(task, backfill=replace(task.backfill, **settings))

    @contextlib.contextmanager
    def connection(self) -> Iterator[Conn]:
        """A connection as the engine's own are."""
        with connect(self.conninfo, application_name="benchmark") as conn:
            conn.execute("SET lock_timeout = '60s'")  # nobody is to be spared here but autovacuum
            conn.execute("SET timezone = 'UTC'")
            conn.execute("SET datestyle = 'ISO, MDY'")
            yield conn

    @contextlib.contextmanager
    def session(self) -> Iterator[Session]:
        """A runner's session on a new run of the plan."""
        with self.connection() as control:
            run_id = runs.create(control, self.plan, "benchmark")
            fence = lease.acquire(control, run_id, "benchmark")
            session = Session(self.plan, self.conninfo, run_id, fence, "benchmark", Wishes())
            try:
                yield session
            finally:
                session.drop()
                runs.set_status(control, run_id, RunStatus.ROLLED_BACK, after=tuple(RunStatus))
                lease.release(control, fence)

    def fresh(self) -> None:
        """An empty new table with its key and nothing else, the forward sync's functions, a checkpoint."""
        mapping = self.mapping
        self.sync_off()
        with self.connection() as conn:
            conn.execute("DROP TABLE IF EXISTS book_ticker_snapshots_v2 CASCADE")
            conn.execute(self._file("003j_book_ticker_v2.sql"))
            conn.execute("TRUNCATE pgferry.reject, pgferry.recheck")
            facts = mapping_facts(conn, mapping, self.plan.archive_schema)
            for prepared in sync.prepare(mapping, facts, Direction.FORWARD, mapping.old):
                conn.execute(prepared)
            tombstones.begin(conn, mapping)  # as where the triggers are on: writers note, so that no row is locked
            conn.execute("CHECKPOINT")

    def sync_off(self) -> None:
        """No triggers of either direction."""
        with self.connection() as conn:
            for direction in Direction.BOTH.ways:
                for statement in sync.drop_triggers(self.mapping, direction, self.mapping.old):
                    conn.execute(statement)

    def sync_on(self, direction: Direction = Direction.FORWARD) -> None:
        """The triggers of one direction."""
        mapping = self.mapping
        with self.connection() as conn:
            facts = mapping_facts(conn, mapping, self.plan.archive_schema)
            for statement in (
                *sync.prepare(mapping, facts, direction, mapping.old),
                *sync.triggers(mapping, direction, mapping.old),
            ):
                conn.execute(statement)

    def indexed(self) -> None:
        """What the plan does after the copy: the other indexes, the foreign key, its validation, statistics."""
        with self.connection() as conn:
            for name in ("004a_new_indexes.sql", "004b_foreign_keys.sql", "004c_validate_foreign_keys.sql"):
                for piece in split(self._file(name), name):
                    if "book_ticker" in piece.sql:
                        conn.execute(piece.sql)
            conn.execute("ANALYZE book_ticker_snapshots_v2")

    def one(self, query: str) -> int:
        """The first column of a query's first row."""
        with self.connection() as conn:
            row = conn.execute(query).fetchone()
        assert row is not None
        return int(row[0])

    def _file(self, name: str) -> str:
        return (self.plan.root / name).read_text(encoding="utf-8")


def server() -> EmbeddedServer:
    """A server with the benchmarks' settings, not started."""
    return EmbeddedServer(find_binaries(), settings=SETTINGS)


def lay(running: EmbeddedServer, name: str, rows: int) -> Ground:
    """Make a database, fill it and run the plan's files up to the new tables."""
    plan = load_plan(shipped_plan())
    ground = Ground(running.create_database(name), plan, rows, running.pid)
    prepare(plan, ground.conninfo, rows, lambda text: None)
    with ground.connection() as conn:
        schema.install(conn)
        for task in plan.tasks:
            if task.id == _UNTIL:
                break
            if task.kind is Kind.SQL and task.file is not None:
                for piece in split(task.file.text, task.file.path):
                    conn.execute(piece.sql)
    ground.fresh()
    return ground


def limit_statement(mapping: Mapping) -> sql.Composed:
    """The limit: one plain INSERT .. SELECT of the rows that the new shape takes, as a person would write it.

    It holds one transaction open to the end, locks no row against the sync, keeps no rejects and no place.
    """
    targets = sql.SQL(", ").join(sql.Identifier(name) for name, _ in mapping.columns)
    return sql.SQL(
        'INSERT INTO book_ticker_snapshots_v2 ({}) SELECT o."timestamp", sym.symbol_id, o.id, o.bid_price, o.bid_qty,'
        " o.ask_price, o.ask_qty, o.sequence_number, o.update_type, o.created_at FROM book_ticker_snapshots o"
        " JOIN legacy_symbol_names sym USING (exchange, symbol_base, symbol_quote)"
        " WHERE o.symbol_base <> o.symbol_quote AND sym.is_canonical"
    ).format(targets)
