"""The preview of a long plan: 500 files with 5,000 statements; and the catalogue of 10,000 tables."""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import psycopg

from console.commands.previews import Previews
from console.demo.server import EmbeddedServer
from console.journal.connect import connect
from console.plan.load import load_plan
from console.plan.model import Plan
from console.sql import analyse
from tests.benchmarks.lines import Line, line

STATEMENTS = 10  # in a file and its way back
FIRST = "every statement read, first task shown"
ALL = "every task, sqlglot too"
DATABASE = "with the catalogue, first task shown"
LOAD = "plan read from disk"

_UP = """\
CREATE TABLE t{n} (id bigint PRIMARY KEY, o_id bigint REFERENCES old{n} (id), v varchar(20), at timestamptz DEFAULT now());
CREATE INDEX CONCURRENTLY old{n}_at ON old{n} (at);
ALTER TABLE old{n} ADD COLUMN note text;
ALTER TABLE old{n} ADD CONSTRAINT old{n}_note CHECK (note <> '') NOT VALID;
ALTER TABLE old{n} VALIDATE CONSTRAINT old{n}_note;
UPDATE old{n} SET note = 'x' WHERE id BETWEEN 1 AND 1000;
COMMENT ON TABLE t{n} IS 'the new shape of old{n}, filled by the application';
"""
_DOWN = """\
DROP TABLE t{n};
DROP INDEX CONCURRENTLY old{n}_at;
ALTER TABLE old{n} DROP COLUMN note;
"""


def write_plan(folder: Path, files: int) -> Plan:
    """A plan of ``files`` tasks, each with ten statements forward and back over one old table."""
    lines = ["format = 1", 'id = "long"', 'title = "A long plan"', "[[phase]]", 'id = "1"', 'title = "All"']
    for n in range(files):
        (folder / f"{n:04}.sql").write_text(_UP.format(n=n))
        (folder / f"{n:04}.down.sql").write_text(_DOWN.format(n=n))
        lines += ["[[phase.task]]", f'id = "T{n}"', f'title = "Task {n}"', 'kind = "sql"', "minutes = 1"]
        lines += [f'file = "{n:04}.sql"']
    (folder / "plan.toml").write_text("\n".join(lines) + "\n")
    return load_plan(folder)


def lay_tables(conninfo: str, tables: int) -> None:
    """As many old tables as asked for, each with an index and a foreign key to the one before."""
    with psycopg.connect(conninfo, autocommit=True) as conn:
        for low in range(0, tables, 500):
            conn.execute(
                "".join(
                    f"CREATE TABLE old{n} (id bigint PRIMARY KEY, at timestamptz, v varchar(20), "
                    f"up bigint {f'REFERENCES old{n - n % 10} (id)' if n % 10 else ''});"
                    for n in range(low, min(low + 500, tables))
                )
            )
        conn.execute("ANALYZE")


def measure(running: EmbeddedServer, repeats: int, *, files: int = 500, tables: int = 10_000) -> Iterable[Line]:
    """Seconds, each with a fresh reading; the aim is for the whole reading."""
    samples: dict[str, list[tuple[float, float]]] = {LOAD: [], FIRST: [], ALL: [], DATABASE: []}
    name = f"preview_{tables}"
    conninfo = running.create_database(name)
    with tempfile.TemporaryDirectory() as folder:
        plan = write_plan(Path(folder), files)
        lay_tables(conninfo, tables)
        with connect(conninfo, read_only=True) as conn:
            for _ in range(repeats):
                samples[LOAD].append(_seconds(lambda: load_plan(Path(folder))))
                samples[FIRST].append(_seconds(lambda: Previews(plan).of("T0")))
                samples[ALL].append(_seconds(lambda: Previews(plan).all()))
                samples[DATABASE].append(_seconds(lambda: Previews(plan, conn).of("T0")))
    running.drop_database(name)
    aims = {FIRST: "under 2 s", DATABASE: f"{tables:,} tables"}
    return [
        line(
            "preview",
            files * STATEMENTS,
            what,
            {"s": [a for a, _ in taken], "CPU s": [b for _, b in taken]},
            aims.get(what, ""),
        )
        for what, taken in samples.items()
    ]


def _seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the clock, and of this process's processor time; nothing parsed in another round is kept."""
    analyse._parts_of.cache_clear()
    gc.collect()
    began, used = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - began, time.process_time() - used
