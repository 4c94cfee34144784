"""A small plan of four phases in memory, with previews of its tasks; ``tests.canned`` is where to import it from."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import cache
from pathlib import Path

from console.plan.model import (
    Allow,
    BackfillSettings,
    Check,
    Direction,
    Doc,
    Kind,
    Leads,
    Lookup,
    Mapping,
    Phase,
    Plan,
    Refusal,
    Severity,
    SourceFile,
    TableName,
    Task,
)
from console.sql.model import Estimate, Hazard, Lock, Mark, Readers, Statement, TaskPreview

PLAN_SHA256 = "3f9a1c70e2b84d5566f0a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f6"

SQL_EXCHANGES = """\
CREATE TABLE exchanges (
    exchange_id smallint PRIMARY KEY,
    name text NOT NULL UNIQUE,
    is_active boolean NOT NULL DEFAULT true
);
INSERT INTO exchanges VALUES (1, 'MEXC'), (2, 'GATEIO'), (3, 'LBANK');
"""
SQL_EXCHANGES_DOWN = "DROP TABLE exchanges;\n"
SQL_TICKERS = """\
CREATE TABLE book_ticker_snapshots_v2 (
    "timestamp" timestamptz NOT NULL,
    symbol_id bigint NOT NULL,
    bid_price numeric(20,8) NOT NULL,
    PRIMARY KEY ("timestamp", symbol_id)
);
"""
SQL_TICKERS_DOWN = "DROP TABLE book_ticker_snapshots_v2;\n"
SQL_FK = """\
ALTER TABLE book_ticker_snapshots_v2
    ADD CONSTRAINT fk_symbol FOREIGN KEY (symbol_id) REFERENCES symbols (symbol_id);
"""
SQL_FK_DOWN = "ALTER TABLE book_ticker_snapshots_v2 DROP CONSTRAINT fk_symbol;\n"
MAPPINGS = ("book_ticker",)


def source(path: str, text: str) -> SourceFile:
    """A file of the plan with its true digest."""
    return SourceFile(path, text, hashlib.sha256(text.encode()).hexdigest())


def _mapping() -> Mapping:
    sym = Lookup(
        name="sym",
        relation=TableName("public", "legacy_symbol_names"),
        match=(("exchange", "exchange"), ("symbol_base", "symbol_base"), ("symbol_quote", "symbol_quote")),
        gives="symbol_id",
        canonical="is_canonical",
    )
    return Mapping(
        id="book_ticker",
        old=TableName("public", "book_ticker_snapshots"),
        new=TableName("public", "book_ticker_snapshots_v2"),
        old_key=("timestamp", "exchange", "symbol_base", "symbol_quote"),
        new_key=("timestamp", "symbol_id"),
        columns=(("timestamp", 'o."timestamp"'), ("symbol_id", "sym.symbol_id"), ("bid_price", "o.bid_price")),
        back=(
            ("timestamp", 'n."timestamp"'),
            ("exchange", "sym.exchange"),
            ("symbol_base", "sym.symbol_base"),
            ("symbol_quote", "sym.symbol_quote"),
            ("bid_price", "n.bid_price"),
        ),
        lookups=(sym,),
        refuse=(Refusal("o.symbol_base = o.symbol_quote", "base equals quote"),),
    )


def _checks() -> tuple[Check, ...]:
    return (
        Check(
            id="exchanges_seeded",
            title="The three exchanges exist and are active",
            phase="1",
            severity=Severity.ERROR,
            file="../checks/phase_1.sql",
            line=1,
            sql="SELECT name FROM exchanges WHERE NOT is_active;",
            expect="zero rows",
        ),
        Check(
            id="rejects_small",
            title="Few rows were refused",
            phase="2",
            severity=Severity.WARNING,
            file="../checks/phase_2.sql",
            line=1,
            sql="SELECT count(*) FROM pgferry.reject;",
            expect="value <= 1000",
        ),
        Check(
            id="performance",
            title="The normalised tables are not slower than the legacy ones",
            phase="3",
            severity=Severity.ERROR,
            file="../checks/performance.py",
            line=1,
            program="../checks/performance.py",
        ),
    )


def _phase_1() -> tuple[Task, ...]:
    return (
        Task(
            id="P1.1.1",
            title="Create the exchanges table",
            kind=Kind.SQL,
            minutes=20,
            phase="1",
            guards=("exchanges_seeded",),
            deliverables=("exchanges",),
            file=source("002_create_exchanges.sql", SQL_EXCHANGES),
            down=source("002_create_exchanges.down.sql", SQL_EXCHANGES_DOWN),
        ),
        Task(
            id="P1.1.2",
            title="Create the new snapshot table",
            kind=Kind.SQL,
            minutes=15,
            phase="1",
            depends=("P1.1.1",),
            file=source("003_create_tickers.sql", SQL_TICKERS),
            down=source("003_create_tickers.down.sql", SQL_TICKERS_DOWN),
        ),
        Task(
            id="P1.1.3",
            title="Reference symbols from snapshots",
            kind=Kind.SQL,
            minutes=5,
            phase="1",
            depends=("P1.1.2",),
            file=source("004_fk.sql", SQL_FK),
            down=source("004_fk.down.sql", SQL_FK_DOWN),
            allow=(Allow("FK_NOT_VALID_MISSING", "the table is empty"),),
        ),
    )


def _phase_2() -> tuple[Task, ...]:
    return (
        Task("P2.1.1", "Carry writes to the new table", Kind.SYNC, 2, "2", ("P1.1.3",), mappings=MAPPINGS),
        Task(
            id="P2.1.2",
            title="Copy the rows of book_ticker_snapshots",
            kind=Kind.BACKFILL,
            minutes=240,
            phase="2",
            depends=("P2.1.1",),
            guards=("rejects_small",),
            mappings=MAPPINGS,
            backfill=BackfillSettings(batch_rows=5_000, max_rejects=10_000),
        ),
        Task("P2.1.3", "Compare every row", Kind.CHECK, 60, "2", ("P2.1.2",), mappings=MAPPINGS),
    )


def _phase_3() -> tuple[Task, ...]:
    reverse = Direction.REVERSE
    return (
        Task("P3.1.1", "Carry writes back", Kind.SYNC, 2, "3", ("P2.1.3",), mappings=MAPPINGS, direction=reverse),
        Task("P3.1.2", "Measure both shapes", Kind.CHECK, 10, "3", ("P3.1.1",), checks=("performance",)),
        Task(
            id="P3.1.3",
            title="The new application version is deployed",
            kind=Kind.GATE,
            minutes=30,
            phase="3",
            depends=("P3.1.2",),
            question="Does every host run the version that reads book_ticker_snapshots_v2?",
        ),
        Task("P3.1.4", "The new shape leads", Kind.SWITCH, 1, "3", ("P3.1.3",), mappings=MAPPINGS, leads=Leads.NEW),
    )


def _phase_4() -> tuple[Task, ...]:
    return (
        Task("P4.1.1", "Wait for the last reader", Kind.DRAIN, 30, "4", ("P3.1.4",), mappings=MAPPINGS),
        Task("P4.1.2", "Retire the old table", Kind.RETIRE, 1, "4", ("P4.1.1",), mappings=MAPPINGS),
        Task(
            id="P4.1.3",
            title="Purge the old table",
            kind=Kind.PURGE,
            minutes=5,
            phase="4",
            depends=("P4.1.2",),
            irreversible="the rows are exported to files, then dropped",
            mappings=MAPPINGS,
        ),
    )


@cache
def a_plan(root: Path = Path("/plans/cex")) -> Plan:
    """A small plan of four phases; nothing of it exists on disk."""
    phases = (
        Phase(
            "1", "Foundation", "low", "week 1, 5 days", "Reference tables stand beside the old ones.", "", _phase_1()
        ),
        Phase("2", "Copy", "medium", "week 2, 4 days", "Every row lives in both shapes.", "phase_2", _phase_2()),
        Phase("3", "Switch", "high", "week 3, 3 days", "Applications use the new shape.", "phase_3", _phase_3()),
        Phase("4", "Contract", "medium", "week 4, 2 days", "The old table is gone.", "", _phase_4()),
    )
    files = tuple(f for phase in phases for task in phase.tasks for f in (task.file, task.down) if f is not None)
    return Plan(
        id="cex-normalise",
        title="Normalise exchanges and symbols",
        root=root,
        server_min=13,
        server_max=18,
        archive_schema="pgferry_archive",
        baseline=source("001_baseline.sql", "CREATE TABLE book_ticker_snapshots ();\n"),
        phases=phases,
        mappings=(_mapping(),),
        checks=_checks(),
        docs=(
            Doc("phase_2", "Copying the rows", "# Copying the rows\n\nThe copy is *keyset* driven.\n"),
            Doc("phase_3", "Switching over", "# Switching over\n\n- reverse sync first\n- then the switch\n"),
        ),
        demo=None,
        files=files,
        sha256=PLAN_SHA256,
    )


BOTH_READ = Readers(postgresql=True, sqlglot="parsed", agree=True)
OPAQUE = Readers(postgresql=True, sqlglot="opaque", agree=None)


def a_statement(
    sql: str = "CREATE TABLE exchanges (exchange_id smallint PRIMARY KEY)",
    *,
    file: str = "002_create_exchanges.sql",
    line: int = 1,
    ordinal: int = 1,
    kind: str = "CREATE TABLE",
    locks: tuple[Lock, ...] = (Lock("public.exchanges", "ACCESS EXCLUSIVE", "grammar", new=True),),
    hazards: tuple[Hazard, ...] = (),
    rewrite: bool | None = False,
    scan: bool | None = False,
    transactional: bool = True,
    read_by: Readers = BOTH_READ,
    blocks: str = "nothing waits: the table is new",
) -> Statement:
    """One statement as the analyser describes it."""
    tables = tuple(dict.fromkeys(lock.object for lock in locks))
    return Statement(
        file, line, ordinal, sql, kind, transactional, None, rewrite, scan, locks, hazards, read_by, tables, blocks
    )


def _fk_preview() -> TaskPreview:
    up = a_statement(
        SQL_FK.rstrip().rstrip(";"),
        file="004_fk.sql",
        kind="ALTER TABLE",
        locks=(
            Lock("public.book_ticker_snapshots_v2", "SHARE ROW EXCLUSIVE", "grammar"),
            Lock("public.symbols", "SHARE ROW EXCLUSIVE", "measured"),
        ),
        hazards=(
            Hazard(
                "FK_NOT_VALID_MISSING",
                "Every existing row is checked while writes wait.",
                "ALTER TABLE ... ADD CONSTRAINT ... NOT VALID, then VALIDATE CONSTRAINT",
            ),
        ),
        scan=True,
        blocks="writes to book_ticker_snapshots_v2 and symbols wait",
    )
    up = replace(
        up,
        estimate=Estimate(420.0, 0, "about 7 min: 50 M rows at 120k rows/s, measured in the rehearsal"),
        measured=Mark(166.0, 3.0, 12_288),
        notes=("book_ticker_snapshots_v2: made by P1.1.1, in use since P2.1.1 (the sync uses it)",),
    )
    other = replace(
        a_statement(
            "CREATE INDEX symbols_name ON symbols (name)",
            file="004_fk.sql",
            line=6,
            ordinal=2,
            kind="CREATE INDEX",
            locks=(Lock("public.symbols", "ACCESS EXCLUSIVE", "measured"),),
            scan=True,
            blocks="reads and writes of symbols wait",
        ),
        measured=Mark(2.0, 2.0, 0, ("derived SHARE on symbols, measured ACCESS EXCLUSIVE",)),
    )
    down = a_statement(
        SQL_FK_DOWN.rstrip().rstrip(";"),
        file="004_fk.down.sql",
        kind="ALTER TABLE",
        locks=(Lock("public.book_ticker_snapshots_v2", "ACCESS EXCLUSIVE", "grammar"),),
        blocks="reads and writes of book_ticker_snapshots_v2 wait",
    )
    sizes = (("public.book_ticker_snapshots_v2", 0, 8192), ("public.symbols", 4_812, 622_592))
    return TaskPreview(
        "P1.1.3", "004_fk.sql", "004_fk.down.sql", (up, other), (down,), False, sizes, "Runs 004_fk.sql.", "",
        rehearsed="rehearsed 2026-11-21: schema and rows equal, 12 ms", rehearsed_well=True,
    )  # fmt: skip


def a_task_preview(task_id: str = "P1.1.1") -> TaskPreview:
    """What a task of ``a_plan`` would run: P1.1.1 is harmless, P1.1.3 has a hazard, P4.1.3 no way back."""
    plan = a_plan()
    task = plan.task(task_id)
    if task_id == "P1.1.3":
        return _fk_preview()
    if task.file is not None and task.down is not None:
        table = "public." + task.file.text.split()[2]
        new = (Lock(table, "ACCESS EXCLUSIVE", "grammar", new=True),)
        up = a_statement(task.file.text.split(";")[0], file=task.file.path, locks=new)
        down = a_statement(
            task.down.text.split(";")[0],
            file=task.down.path,
            kind="DROP TABLE",
            locks=(Lock(table, "ACCESS EXCLUSIVE", "catalogue"),),
            blocks="reads and writes wait",
        )
        words = f"Runs {task.file.path}."
        return TaskPreview(task_id, task.file.path, task.down.path, (up,), (down,), False, (), words, "")
    sizes = (("public.book_ticker_snapshots", 12_400_000, 2_147_483_648),) if task.mappings else ()
    up = a_statement(
        "INSERT INTO book_ticker_snapshots_v2 SELECT o.* FROM book_ticker_snapshots o",
        file="",
        kind="INSERT",
        locks=(Lock("public.book_ticker_snapshots_v2", "ROW EXCLUSIVE", "grammar"),),
        read_by=OPAQUE,
        blocks="only schema changes wait",
    )
    statements = (up,) if task.mappings else ()
    return TaskPreview(task_id, "", "", statements, (), True, sizes, f"{task.title}.", task.irreversible)


def previews() -> dict[str, TaskPreview]:
    """The preview of every task of ``a_plan``."""
    return {task.id: a_task_preview(task.id) for task in a_plan().tasks}
