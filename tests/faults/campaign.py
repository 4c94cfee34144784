"""A campaign: a plan with every kind of task carried forward, back and forward again while everything is killed.

An application writes all the time through the shape that leads, with a ledger of what it was told is committed.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import psycopg

from console.commands.spawn import log_file, start_runner
from console.demo.server import EmbeddedServer
from console.errors import FerryError
from console.journal import commands, events, lease
from console.journal.connect import Conn, connect
from console.journal.state import RunStatus, Verb
from console.plan.load import load_plan
from console.plan.model import Plan
from tests.engine.scene import a_database, a_run, dump
from tests.faults.tools import PLAN, one, until

ROWS = 1000
OWNED = 200  # the first rows belong to the application

_TASKS = """
[[phase.task]]
id = "reverse"
title = "writes on the new side are carried back"
kind = "sync"
direction = "reverse"
minutes = 1
mappings = ["sales"]
[[phase.task]]
id = "both"
title = "both shapes may be used"
kind = "switch"
leads = "both"
minutes = 1
mappings = ["sales"]
[[phase.task]]
id = "again"
title = "compare again"
kind = "check"
minutes = 1
mappings = ["sales"]
[[phase.task]]
id = "new"
title = "the new shape leads"
kind = "switch"
leads = "new"
leads_back = "both"
minutes = 1
mappings = ["sales"]
[[phase.task]]
id = "drain"
title = "nobody uses the old table"
kind = "drain"
minutes = 1
quiet_seconds = 1
mappings = ["sales"]
[[phase.task]]
id = "last"
title = "compare before the old table goes"
kind = "check"
minutes = 1
mappings = ["sales"]
[[phase.task]]
id = "retire"
title = "the old table goes to the archive"
kind = "retire"
minutes = 1
mappings = ["sales"]
[[phase.task]]
id = "late"
title = "statements after the retirement"
kind = "sql"
minutes = 1
file = "002_late.sql"
"""

STATEMENTS = 6
_UP = "".join(
    f"INSERT INTO traces SELECT 'up {n}' FROM (SELECT pg_sleep(0.02)) s;\n" for n in range(STATEMENTS // 2)
) + (
    "CREATE TABLE kept (n int PRIMARY KEY, note text);\n"
    "CREATE INDEX CONCURRENTLY sales_note ON sales (note);\n"
    "BEGIN;\nINSERT INTO traces VALUES ('up group');\nALTER TABLE kept ADD COLUMN more int;\n"
    "INSERT INTO kept SELECT i, 'n' || i, i FROM generate_series(1, 10) i;\nCOMMIT;\n"
)
_UP += "".join(
    f"INSERT INTO traces SELECT 'up {n}' FROM (SELECT pg_sleep(0.02)) s;\n" for n in range(STATEMENTS // 2, STATEMENTS)
)
_DOWN = (
    "INSERT INTO traces VALUES ('down 1');\nDROP INDEX CONCURRENTLY sales_note;\n"
    "BEGIN;\nINSERT INTO traces VALUES ('down group');\nDROP TABLE kept;\nCOMMIT;\n"
)
_LATE = (
    "CREATE INDEX CONCURRENTLY v2_note ON sales_v2 (note);\nINSERT INTO traces VALUES ('late');\n"
    "ALTER TABLE sales_v2 ADD CONSTRAINT named CHECK (good_id > 0) NOT VALID;\n"
    "ALTER TABLE sales_v2 VALIDATE CONSTRAINT named;\n"
)
_LATE_DOWN = (
    "ALTER TABLE sales_v2 DROP CONSTRAINT named;\nINSERT INTO traces VALUES ('late down');\n"
    "DROP INDEX CONCURRENTLY v2_note;\n"
)
UP_TRACES = {*(f"up {n}" for n in range(STATEMENTS)), "up group", "late"}
DOWN_TRACES = {"down 1", "down group", "late down"}


def plan_directory(folder: Path) -> Plan:
    """A plan with every kind of task but the ones that wait for people."""
    folder.mkdir()
    (folder / "plan.toml").write_text(PLAN + _TASKS)
    for name, text in (("001_trace", (_UP, _DOWN)), ("002_late", (_LATE, _LATE_DOWN))):
        (folder / f"{name}.sql").write_text(text[0])
        (folder / f"{name}.down.sql").write_text(text[1])
    return load_plan(folder)


def traced_database(conninfo: str, rows: int) -> Conn:
    """The scene, a table for traces, and an index for the application's own look-ups."""
    conn = a_database(conninfo, rows=rows)
    conn.execute("CREATE TABLE traces (what text NOT NULL)")
    conn.execute("CREATE TABLE app_keys (note text PRIMARY KEY)")
    return conn


Row = tuple[str, Decimal]  # item, amount


class _Lines:
    """An application's connection, opened again when lost; closed at the end."""

    def __init__(self, conninfo: str) -> None:
        self.conninfo = conninfo
        self.conn: Conn | None = None

    def another(self) -> Conn:
        self.close()
        self.conn = connect(self.conninfo, application_name="application")
        return self.conn

    def close(self) -> None:
        if self.conn is not None:
            self.conn.close()


class Application(threading.Thread):
    """Writes its own rows through whichever shape leads; knows of each what must be there.

    A commit whose answer was lost is looked up afterwards: either state is right, nothing else is.
    """

    def __init__(self, conninfo: str, seed: int) -> None:
        super().__init__(name="application", daemon=True)
        self.conninfo = conninfo
        self.chance = random.Random(seed)
        self.ledger: dict[int, Row | None] = {}
        self.ended = threading.Event()
        self.failed: list[str] = []
        self.writes = {"old": 0, "new": 0}
        self.lost = 0

    def run(self) -> None:
        with contextlib.closing(_Lines(self.conninfo)) as lines:
            self._work(lines)

    def _work(self, lines: _Lines) -> None:
        conn: Conn | None = None
        doubt: tuple[int, Row | None] | None = None
        while not self.ended.is_set() or doubt:
            try:
                if conn is None or conn.closed:
                    conn = lines.another()
                if doubt:
                    self._resolve(conn, *doubt)
                    doubt = None
                    continue
                number, row, sided = self._choose(conn)
                try:
                    self._write(conn, number, row, sided)
                    self.ledger[number] = row
                except (psycopg.OperationalError, psycopg.InterfaceError):
                    if conn.closed or conn.broken:
                        self.lost += 1
                        doubt = number, row
                    raise
            except psycopg.errors.UndefinedTable:
                continue  # it was retired, or came back, since we asked who leads
            except (psycopg.OperationalError, psycopg.InterfaceError, FerryError) as error:
                if (
                    conn is not None
                    and not (conn.closed or conn.broken)
                    and not isinstance(error, psycopg.errors.LockNotAvailable | psycopg.errors.DeadlockDetected)
                ):
                    self.failed.append(f"{type(error).__name__}: {error}")
                    return
                time.sleep(0.02)
            except psycopg.Error as error:
                self.failed.append(f"{type(error).__name__}: {error}")
                return
            self.ended.wait(0.004)

    def _choose(self, conn: Conn) -> tuple[int, Row | None, str]:
        number = self.chance.randrange(OWNED)
        item = f"item{self.chance.randrange(1, 31)}"
        row = None if self.chance.random() < 0.25 else (item, Decimal(self.chance.randrange(1, 900_000)))
        leads = "old"
        if conn.execute("SELECT to_regclass('pgferry.lead')").fetchone() != (None,):
            found = conn.execute("SELECT leads FROM pgferry.lead WHERE mapping = 'sales'").fetchone()
            leads = found[0] if found else "old"
        return number, row, self.chance.choice(("old", "new")) if leads == "both" else leads

    def _write(self, conn: Conn, number: int, row: Row | None, side: str) -> None:
        """Make the row of this number hold that, whatever it held."""
        with conn.transaction():
            if side == "old":
                conn.execute("DELETE FROM sales WHERE note = %s", (f"app {number}",))
                if row:
                    conn.execute(
                        "INSERT INTO sales SELECT %s::timestamptz + %s * interval '1 s', g.shop, g.item, %s, %s"
                        " FROM goods g WHERE g.item = %s",
                        ("2026-01-01 00:00:00.5Z", number, row[1], f"app {number}", row[0]),
                    )
            else:
                conn.execute("DELETE FROM sales_v2 WHERE note = %s", (f"app {number}",))
                if row:
                    conn.execute(
                        "INSERT INTO sales_v2 SELECT %s::timestamptz + %s * interval '1 s', g.id, %s, %s"
                        " FROM goods g WHERE g.item = %s",
                        ("2026-01-01 00:00:00.5Z", number, row[1], f"app {number}", row[0]),
                    )
        self.writes[side] += 1

    def _resolve(self, conn: Conn, number: int, row: Row | None) -> None:
        found = self.held(conn).get(number)
        if found not in (row, self.ledger.get(number)):
            self.failed.append(f"row {number} holds {found}, neither {row} nor {self.ledger.get(number)}")
        self.ledger[number] = found

    @staticmethod
    def held(conn: Conn) -> dict[int, Row]:
        """What the old table, wherever it stands, holds of the application's rows."""
        place = (
            "sales" if conn.execute("SELECT to_regclass('sales')").fetchone() != (None,) else "pgferry_archive.sales"
        )
        rows = conn.execute(f"SELECT note, item, amount FROM {place} WHERE note LIKE 'app %'").fetchall()
        return {int(note.split()[1]): (item, amount) for note, item, amount in rows}


@dataclass
class Campaign:
    """One database on a server of its own, one run, one application, and what was killed so far."""

    server: EmbeddedServer
    database: str
    plan: Plan
    run_id: int
    chance: random.Random
    conn: Conn
    struck: dict[str, int] = field(default_factory=dict)
    runner: subprocess.Popen[str] | None = None

    def look(self) -> Conn:
        """A connection of the test's own, opened again after a crash."""
        deadline = time.monotonic() + 30
        while True:
            try:
                if self.conn.closed or self.conn.broken:
                    self.conn = connect(self.database, application_name="test")
                self.conn.execute("SELECT 1")
                return self.conn
            except (psycopg.Error, FerryError):
                self.conn.close()
                assert time.monotonic() < deadline, "the server does not come back"
                time.sleep(0.05)

    def carry(self, verb: Verb, goal: RunStatus, kills: int, **args: object) -> None:
        """Order something and see it through to ``goal``, striking ``kills`` times on the way."""
        command = commands.send(self.look(), self.run_id, verb, args, actor="tester")
        deadline = time.monotonic() + 120
        strikes = 0
        while True:
            assert time.monotonic() < deadline, self._where()
            if self.runner is None or self.runner.poll() is not None:
                if self._arrived(command, goal):
                    return
                self.runner = start_runner(self.database, self.plan.root, self.run_id, "tester")
            if strikes < kills and self._moved():
                strikes += 1
                self._strike()
            time.sleep(0.02)

    def _arrived(self, command: int, goal: RunStatus) -> bool:
        conn = self.look()
        row = conn.execute("SELECT status, error FROM pgferry.run WHERE id = %s", (self.run_id,)).fetchone()
        assert row is not None
        assert row[0] != RunStatus.FAILED.value, row[1]
        outcome = commands.outcome(conn, command)
        assert outcome is None or outcome[0], outcome
        return outcome is not None and row[0] == goal.value

    def _where(self) -> str:
        conn = self.look()
        last = conn.execute("SELECT text FROM pgferry.event ORDER BY id DESC LIMIT 5").fetchall()
        words = log_file(self.run_id).read_text()[-2000:]
        return f"{conn.execute('SELECT status, error FROM pgferry.run').fetchall()} {last} {words}"

    def _marks(self) -> int:
        return one(
            self.look(),
            "SELECT (SELECT count(*) FROM pgferry.event) + (SELECT count(*) FROM pgferry.chunk WHERE status = 'done')"
            " + (SELECT count(*) FROM pgferry.statement WHERE status = 'done')",
        )

    def _moved(self) -> bool:
        """Wait until the run did a few more things; False when it ended before."""
        goal = self._marks() + self.chance.randrange(1, 16)
        deadline = time.monotonic() + 4
        while self._marks() < goal and time.monotonic() < deadline:
            if self.runner is None or self.runner.poll() is not None:
                return False
            time.sleep(0.01)
        time.sleep(self.chance.random() * 0.03)
        return self.runner is not None and self.runner.poll() is None

    def _strike(self) -> None:
        what = self.chance.choice(("runner", "runner", "backend", "backend", "crash", "server", "postmaster"))
        self.struck[what] = self.struck.get(what, 0) + 1
        if what == "runner":
            assert self.runner is not None
            self.runner.kill()
            self.runner.wait()
        elif what == "backend":
            self._backends("pg_terminate_backend(pid)")
        elif what == "crash":  # a backend dies of SIGKILL: the server ends every session and recovers
            for pid in self._backends("pid"):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        elif what == "server":
            self.server.restart_immediately()
        else:
            self.server.kill()
            self._start()

    def _backends(self, what: str) -> list[int]:
        """``what`` of one backend of the runner, chosen at random."""
        rows = self.look().execute(
            f"SELECT {what} FROM (SELECT pid FROM pg_stat_activity WHERE application_name LIKE %s"
            " ORDER BY md5(pid::text || %s) LIMIT 1) s",
            (f"pgferry run {self.run_id} %", str(self.chance.random())),
        )
        return [int(row[0]) for row in rows.fetchall()]

    def _start(self) -> None:
        """Orphans of a killed postmaster hold its memory for a moment."""
        deadline = time.monotonic() + 30
        while self.server.pid is None:
            try:
                self.server._launch()
                self.server._wait_until_ready()
            except FerryError:
                assert time.monotonic() < deadline, "the server does not start again"
                time.sleep(0.1)

    def verify(self, application: Application) -> None:
        """What must hold whenever the run has come to rest."""
        conn = self.look()
        assert application.failed == []
        assert Application.held(conn) == {n: row for n, row in application.ledger.items() if row is not None}
        assert events.broken_links(conn, self.run_id) == []
        until(
            lambda: not one(conn, "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'pgferry run%'"),
            "the runner's sessions to end",
        )
        assert lease.read(conn, self.run_id) is None
        assert one(conn, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0

    def traces(self) -> dict[str, int]:
        """How often each traced statement ran."""
        rows = self.look().execute("SELECT what, count(*) FROM traces GROUP BY 1").fetchall()
        return {what: int(times) for what, times in rows}


def contents(conn: Conn, query: str) -> list[tuple[object, ...]]:
    """The rows of a query as a sorted list."""
    return sorted(conn.execute(query).fetchall(), key=repr)


def campaign(server: EmbeddedServer, folder: Path, seed: int, kills: int) -> dict[str, int]:
    """Forward to the end, back to the start and forward again under ``kills`` kills; returns what was killed."""
    plan = plan_directory(folder / f"plan{seed}")
    database = server.create_database(f"campaign{seed}")
    conn = traced_database(database, ROWS)
    before, old_before = dump(database, server.binaries.dir), contents(conn, "SELECT * FROM sales")
    self = Campaign(server, database, plan, a_run(database, plan), random.Random(seed), conn)
    application = Application(database, seed)
    application.start()
    try:
        self.carry(Verb.START, RunStatus.DONE, kills * 2 // 5, until="end")
        forward = dump(database, server.binaries.dir)
        self.carry(Verb.ROLLBACK, RunStatus.ROLLED_BACK, kills * 2 // 5, to="start")
        assert dump(database, server.binaries.dir) == before
        assert one(self.look(), "SELECT count(*) FROM sales_v2") == 0
        self.carry(Verb.START, RunStatus.DONE, kills - 2 * (kills * 2 // 5), until="end")
    finally:
        application.ended.set()
        application.join(30)
        if self.runner is not None:
            self.runner.kill()
            self.runner.wait()
    self.verify(application)
    assert min(application.writes.values()) > 0
    conn = self.look()
    kept = contents(conn, "SELECT * FROM pgferry_archive.sales WHERE note NOT LIKE 'app %'")
    assert kept == old_before, "rows nobody wrote"
    assert self.traces() == {**dict.fromkeys(UP_TRACES, 2), **dict.fromkeys(DOWN_TRACES, 1)}
    _as_undisturbed(self, folder, forward)
    conn.close()
    return self.struck


def _as_undisturbed(self: Campaign, folder: Path, forward: str) -> None:
    """The same old rows, carried by a run that nobody disturbs, give the same tables and the same schema."""
    conn = self.look()
    database = self.server.create_database(f"undisturbed_{conn.info.dbname}")
    other = traced_database(database, 0)
    with other.cursor().copy("COPY sales FROM STDIN") as into:
        for row in conn.execute("SELECT * FROM pgferry_archive.sales").fetchall():
            into.write_row(row)
    calm = Campaign(self.server, database, self.plan, a_run(database, self.plan), self.chance, other)
    calm.carry(Verb.START, RunStatus.DONE, 0, until="end")
    assert dump(database, self.server.binaries.dir) == forward == dump(self.database, self.server.binaries.dir)
    for table in ("sales_v2", "pgferry_archive.sales", "kept", "goods"):
        query = f"SELECT * FROM {table}"
        assert contents(conn, query) == contents(calm.look(), query), table
    rejects = "SELECT key, row_data FROM pgferry.reject"
    assert contents(conn, rejects) == contents(calm.look(), rejects)
    calm.conn.close()
