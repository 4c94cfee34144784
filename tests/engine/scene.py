"""A small old and new shape for the engine's tests: shops and goods instead of names, dirty spellings included."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from console.engine import lookups, sync, tombstones
from console.engine.facts import mapping_facts
from console.engine.runner import carry
from console.engine.session import Session, Wishes
from console.journal import commands, lease, runs, schema
from console.journal.connect import Conn, connect
from console.journal.state import RunStatus, Verb
from console.plan.model import (
    BackfillSettings,
    Direction,
    Kind,
    Leads,
    Lookup,
    Mapping,
    Phase,
    Plan,
    Refusal,
    SourceFile,
    TableName,
    Task,
)

TABLES = """
CREATE TABLE sales (
    at timestamptz NOT NULL, shop varchar(20) NOT NULL, item varchar(20) NOT NULL,
    amount numeric(20, 8) CHECK (amount > 0), note text, PRIMARY KEY (at, shop, item)
);
CREATE TABLE goods (id integer PRIMARY KEY, shop text NOT NULL, item text NOT NULL);
CREATE TABLE spellings (spelling text NOT NULL, shop text NOT NULL, canonical boolean NOT NULL);
CREATE VIEW goods_names AS
    SELECT s.spelling AS shop, g.item, g.id AS good_id, s.canonical FROM goods g JOIN spellings s ON s.shop = g.shop;
INSERT INTO goods SELECT i, 'S' || i % 3, 'item' || i FROM generate_series(1, 30) i;
INSERT INTO goods VALUES (31, 'S1', 'twin'), (32, 'S2', 'twin');
INSERT INTO spellings VALUES ('S0', 'S0', true), ('s0', 'S0', false), ('S1', 'S1', true), ('S2', 'S2', true),
    ('S', 'S1', false), ('S', 'S2', false);
CREATE TABLE sales_v2 (
    at timestamptz NOT NULL, good_id integer NOT NULL, amount numeric(20, 8) CHECK (amount < 1000000), note text,
    PRIMARY KEY (at, good_id)
);
"""

MAPPING = Mapping(
    id="sales",
    old=TableName("public", "sales"),
    new=TableName("public", "sales_v2"),
    old_key=("at", "shop", "item"),
    new_key=("at", "good_id"),
    columns=(("at", 'o."at"'), ("good_id", "g.good_id"), ("amount", "o.amount"), ("note", "o.note")),
    back=(("at", "n.at"), ("shop", "g.shop"), ("item", "g.item"), ("amount", "n.amount"), ("note", "n.note")),
    lookups=(
        Lookup("g", TableName("public", "goods_names"), (("shop", "shop"), ("item", "item")), "good_id", "canonical"),
    ),
    refuse=(Refusal("o.shop = o.item", "shop equals item"),),
)


def a_file(name: str, text: str) -> SourceFile:
    """A file of a plan made in memory."""
    return SourceFile(name, text, "0" * 64)


def a_task(task_id: str, kind: Kind, **settings: object) -> Task:
    """A task with everything else at its default."""
    return replace(Task(id=task_id, title=f"task {task_id}", kind=kind, minutes=15, phase="1"), **settings)


def a_plan(*tasks: Task, mapping: Mapping = MAPPING) -> Plan:
    """A one-phase plan over the sales tables."""
    return Plan(
        id="scene", title="A scene", root=Path("."), server_min=13, server_max=18, archive_schema="pgferry_archive",
        baseline=None, phases=(Phase("1", "Only phase", "low", "now", "test", "", tasks),), mappings=(mapping,),
        checks=(), docs=(), demo=None, files=(), sha256="f" * 64,
    )  # fmt: skip


WHOLE = (
    a_task("sync", Kind.SYNC, mappings=("sales",)),
    a_task("copy", Kind.BACKFILL, mappings=("sales",), backfill=BackfillSettings(batch_rows=50, max_reject_percent=50)),
    a_task("compare", Kind.CHECK, mappings=("sales",)),
    a_task("reverse", Kind.SYNC, mappings=("sales",), direction=Direction.REVERSE),
    a_task("both", Kind.SWITCH, mappings=("sales",), leads=Leads.BOTH),
    a_task("new", Kind.SWITCH, mappings=("sales",), leads=Leads.NEW, leads_back=Leads.BOTH),
    a_task("again", Kind.CHECK, mappings=("sales",)),
    a_task("drain", Kind.DRAIN, mappings=("sales",), quiet_seconds=1),
    a_task("retire", Kind.RETIRE, mappings=("sales",)),
    a_task("purge", Kind.PURGE, mappings=("sales",), irreversible="the old rows are gone"),
)


def a_database(conninfo: str, *, rows: int = 0) -> Conn:
    """Make the tables and ``rows`` old rows, one in 50 of them dirty; returns a connection."""
    conn = connect(conninfo, application_name="application")
    conn.execute(TABLES)
    conn.execute(
        "INSERT INTO sales SELECT '2026-01-01Z'::timestamptz + i * interval '1 s',"
        " CASE WHEN i %% 50 = 7 THEN 's0' WHEN i %% 50 = 8 THEN 'S9' WHEN i %% 50 = 9 THEN 'S' ELSE 'S' || (i %% 30 + 1) %% 3 END,"
        " 'item' || i %% 30 + 1, i + 0.00000352, 'row ' || i FROM generate_series(1, %s) i",
        (rows,),
    )
    conn.execute("ANALYZE sales")
    return conn


def a_session(conninfo: str, plan: Plan) -> Session:
    """A runner's session on a new run of the plan."""
    conn = connect(conninfo)
    schema.install(conn)
    run_id = runs.create(conn, plan, "tester")
    return Session(plan, conninfo, run_id, lease.acquire(conn, run_id, "tester"), "tester", Wishes(), _conn=conn)


def switch_on(conn: Conn, direction: Direction, mapping: Mapping = MAPPING) -> None:
    """Sync of one direction, without a runner."""
    schema.install(conn)
    facts = mapping_facts(conn, mapping, "pgferry_archive")
    for statement in sync.prepare(mapping, facts, direction, facts.old.name):
        conn.execute(statement)
    if Direction.FORWARD in direction.ways:
        for statement in lookups.functions(conn, mapping, facts):
            conn.execute(statement)
        for _, statements in lookups.triggers(conn, mapping):
            for statement in statements:
                conn.execute(statement)
    for statement in sync.triggers(mapping, direction, facts.old.name, facts):
        conn.execute(statement)
    if Direction.FORWARD in direction.ways:
        tombstones.begin(conn, mapping)


def a_run(conninfo: str, plan: Plan) -> int:
    """A new run of the plan, not started."""
    with connect(conninfo) as conn:
        schema.install(conn)
        return runs.create(conn, plan, "tester")


def order(conninfo: str, plan: Plan, run_id: int, verb: Verb, **args: object) -> tuple[RunStatus, str]:
    """Send a command and let a runner carry it out; returns the run's status and the command's answer."""
    with connect(conninfo) as conn:
        command = commands.send(conn, run_id, verb, args, actor="tester")
        with ThreadPoolExecutor(1) as pool:  # not the main thread: the test keeps its own signal handlers
            status = pool.submit(carry, conninfo, plan, run_id, "tester").result()
        outcome = commands.outcome(conn, command)
    assert outcome is not None, "the command was never answered"
    return status, outcome[1]


def dump(conninfo: str, bindir: Path) -> str:
    """The database's schema as pg_dump writes it, without the journal."""
    done = subprocess.run(
        [bindir / "pg_dump", "--schema-only", "--exclude-schema=pgferry", "--no-comments", "-d", conninfo],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return "\n".join(line for line in done.stdout.splitlines() if not line.startswith("\\"))
