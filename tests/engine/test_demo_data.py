"""The demo's generated rows and its live traffic, on the legacy schema of the shipped plan."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest

from console.demo.generate import steps
from console.demo.server import EmbeddedServer
from console.demo.setup import prepare
from console.demo.traffic import Traffic
from console.demo.worker import Outcome, shapes
from console.errors import FerryError, PlanError
from console.journal import schema
from console.journal.traffic import Window
from console.plan.model import Demo, Plan, SourceFile

MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"
ROWS = 20_000


def source(path: str, text: str | None = None) -> SourceFile:
    return SourceFile(path, (MIGRATIONS / path).read_text(encoding="utf-8") if text is None else text, "")


def demo_plan(generate: str | None = None, traffic: str = "marketdata.traffic", root: Path = MIGRATIONS) -> Plan:
    return Plan(
        id="demo",
        title="Demo",
        root=root,
        server_min=13,
        server_max=18,
        archive_schema="pgferry_archive",
        baseline=source("001_baseline.sql"),
        phases=(),
        mappings=(),
        checks=(),
        docs=(),
        demo=Demo(source("demo/generate.sql", generate), traffic),
        files=(),
        sha256="",
    )


def one(conninfo: str, query: str) -> Any:
    with psycopg.connect(conninfo) as conn:
        row = conn.execute(query).fetchone()
        assert row is not None
        return row[0] if len(row) == 1 else row


@pytest.fixture(scope="module")
def filled(server: EmbeddedServer) -> str:
    """A database with generated rows; only read."""
    conninfo = server.create_database(f"demo_data_{os.getpid()}")
    said: list[str] = []
    assert prepare(demo_plan(), conninfo, ROWS, said.append)
    assert said[0] == "baseline"
    assert "book tickers" in said
    return conninfo


def test_it_makes_the_rows_asked_for(filled: str) -> None:
    assert one(filled, "SELECT count(*) FROM book_ticker_snapshots") == ROWS
    assert one(filled, "SELECT count(*) FROM trades") == ROWS // 5


def test_rows_lie_on_disk_in_the_order_of_time(filled: str) -> None:
    """As an application that only ever adds leaves them: otherwise each batch of a copy reads the whole table."""
    lowest = one(
        filled,
        "SELECT min(correlation) FROM pg_stats WHERE attname = 'timestamp'"
        " AND tablename IN ('book_ticker_snapshots', 'trades')",
    )
    assert lowest > 0.95


def test_three_exchanges_quote_the_same_sixty_pairs(filled: str) -> None:
    canonical = "exchange IN ('MEXC_SPOT', 'GATEIO_SPOT', 'GATEIO_FUTURES') AND symbol_base <> symbol_quote"
    query = (
        "SELECT count(*), min(n), max(n) FROM (SELECT symbol_base, symbol_quote, count(DISTINCT exchange) AS n"
        f" FROM book_ticker_snapshots WHERE {canonical} GROUP BY 1, 2) AS p"
    )
    assert one(filled, query) == (60, 3, 3)


def test_every_kind_of_dirty_row_is_there_in_a_small_share(filled: str) -> None:
    counts = one(
        filled,
        "SELECT count(*) FILTER (WHERE exchange = lower(exchange)), count(*) FILTER (WHERE exchange LIKE ' % '),"
        " count(*) FILTER (WHERE exchange = 'GATEIO'), count(*) FILTER (WHERE exchange = 'BINANCE'),"
        " count(*) FILTER (WHERE symbol_base = symbol_quote) FROM book_ticker_snapshots",
    )
    assert all(counts)
    assert 0.002 < sum(counts) / ROWS < 0.005


def test_some_instants_are_there_under_two_spellings(filled: str) -> None:
    twins = one(
        filled,
        "SELECT count(*) FROM book_ticker_snapshots a JOIN book_ticker_snapshots b"
        " ON b.timestamp = a.timestamp AND b.symbol_base = a.symbol_base AND b.symbol_quote = a.symbol_quote"
        " AND b.exchange = lower(a.exchange) AND a.exchange = 'MEXC_SPOT'",
    )
    assert twins == 20


def test_figures_are_as_extreme_as_production_has_them(filled: str) -> None:
    lowest, most = one(
        filled,
        "SELECT min(bid_price) FILTER (WHERE symbol_base = 'BTT'), max(bid_qty) FILTER (WHERE symbol_base = 'BTT')"
        " FROM book_ticker_snapshots",
    )
    assert 0 < lowest < 4e-6
    assert most > 1_300_000_000


def test_ids_have_gaps_rows_arrive_late_and_sequences_are_ahead(filled: str) -> None:
    for table in ("book_ticker_snapshots", "trades"):
        ids, last, ahead = one(
            filled,
            f"SELECT count(DISTINCT id), max(id), nextval('{table}_id_seq') > max(id) FROM {table}",
        )
        assert ids < last
        assert ahead
        assert one(filled, f"SELECT count(*) > 10 FROM {table} WHERE created_at > timestamp + interval '1 second'")
        analysed = f"SELECT reltuples::bigint FROM pg_class WHERE oid = '{table}'::regclass"
        assert one(filled, analysed) == one(filled, f"SELECT count(*) FROM {table}")


def test_the_same_rows_come_out_every_time(filled: str, database: str) -> None:
    prepare(demo_plan(), database, ROWS)
    for table in ("book_ticker_snapshots", "trades"):
        digest = f"SELECT sum(hashtextextended(t::text, 0)) FROM {table} AS t"
        assert one(database, digest) == one(filled, digest)


def test_the_indexes_are_those_of_the_baseline(filled: str, database: str) -> None:
    with psycopg.connect(database) as conn:
        conn.execute(source("001_baseline.sql").text)
    listing = "SELECT array_agg(indexdef ORDER BY indexname) FROM pg_indexes WHERE schemaname = 'public'"
    assert one(filled, listing) == one(database, listing)


def test_a_database_with_tables_is_left_alone(filled: str) -> None:
    assert prepare(demo_plan(), filled, 10) is False
    assert one(filled, "SELECT count(*) FROM book_ticker_snapshots") == ROWS


def test_a_generator_that_fails_names_its_step_and_leaves_no_row(database: str) -> None:
    row = "INSERT INTO trades VALUES (1, now(), 'A', 'B', 'C', 1, 1, 'buy');"
    text = f"-- step: first\n{row}\n-- step: second\nSELECT 1/0;"
    with pytest.raises(FerryError, match=r"step second: division by zero\. No row was written"):
        prepare(demo_plan(text), database, 10)
    assert one(database, "SELECT count(*) FROM trades") == 0


def test_a_plan_without_a_demo_is_refused(database: str) -> None:
    plan = demo_plan()
    object.__setattr__(plan, "demo", None)
    with pytest.raises(PlanError, match=r"names no baseline or no demo"):
        prepare(plan, database, 10)


def test_steps_are_split_at_their_marks() -> None:
    assert steps("-- hello\n-- step: a b\nSELECT 1;\n-- step: c\nSELECT 2;\n") == [
        ("a b", "\nSELECT 1;\n"),
        ("c", "\nSELECT 2;\n"),
    ]
    assert steps("SELECT 1;") == [("rows", "SELECT 1;")]


@pytest.mark.parametrize(
    ("leading", "chosen"),
    [
        ({}, ["legacy", "legacy"]),
        ({"a": "old"}, ["legacy", "legacy"]),
        ({"a": "both"}, ["normalised", "legacy"]),
        ({"a": "both", "b": "old"}, ["legacy", "legacy"]),
        ({"a": "both", "b": "new"}, ["normalised", "legacy"]),
        ({"a": "new", "b": "new"}, ["normalised", "normalised"]),
    ],
)
def test_workers_follow_what_leads(leading: dict[str, str], chosen: list[str]) -> None:
    assert [shapes(leading, worker) for worker in (0, 1)] == chosen


def test_an_outcome_survives_its_way_through_json() -> None:
    outcome = Outcome()
    outcome.kinds["insert"] = Window()
    outcome.kinds["insert"].add(1.5)
    outcome.errors["23505: x"] += 2
    outcome.mismatches.append("row 1")
    assert Outcome.parse(outcome.text()) == outcome


@pytest.fixture
def journalled(database: str) -> str:
    """A database with the legacy tables and the journal."""
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute(source("001_baseline.sql").text)
        schema.install(conn)
    return database


def test_traffic_runs_at_its_rate_reports_and_finds_its_rows(journalled: str) -> None:
    with Traffic(demo_plan(), journalled, rate=200) as traffic:
        time.sleep(4)
        assert traffic.failed() == 0
        result = traffic.stop()
    assert result.ok, (result.messages, result.mismatches)
    assert 250 < result.operations < 900
    assert {"insert", "update", "latest", "copy"} <= {kind for kind, _ in result.by_kind}
    assert 0 < result.total.p50_ms <= result.total.p99_ms <= result.total.max_ms
    assert one(journalled, "SELECT sum(operations), sum(errors) FROM pgferry.app_window") == (result.operations, 0)
    assert one(journalled, "SELECT count(DISTINCT source) FROM pgferry.app_window") == 3
    traced = "SELECT sum(cardinality(took_us)), max(ended_at) <= clock_timestamp() FROM pgferry.app_operations"
    assert one(journalled, traced) == (result.operations, True)


def test_traffic_counts_errors_and_finds_a_row_that_was_tampered_with(journalled: str) -> None:
    with Traffic(demo_plan(), journalled, rate=200, workers=1) as traffic:
        time.sleep(2)
        with psycopg.connect(journalled) as conn:
            conn.execute(
                "ALTER TABLE trades ADD CONSTRAINT no_more CHECK (false) NOT VALID;"
                "UPDATE book_ticker_snapshots SET ask_qty = ask_qty + 1, update_type = 'tampered'"
                " WHERE timestamp = (SELECT min(timestamp) FROM book_ticker_snapshots);"
            )
        time.sleep(2)
        result = traffic.stop()
    assert not result.ok
    assert any("23514" in text and "no_more" in text for text, _ in result.messages), result.messages
    assert result.errors == sum(count for _, count in result.messages)
    assert any("differs from what was written" in text for text in result.mismatches), result.mismatches


def test_traffic_survives_a_crash_of_its_sessions(journalled: str) -> None:
    with Traffic(demo_plan(), journalled, rate=200, workers=2) as traffic:
        time.sleep(2)
        with psycopg.connect(journalled, autocommit=True) as conn:
            conn.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        before = one(journalled, "SELECT count(*) FROM book_ticker_snapshots")
        time.sleep(2)
        result = traffic.stop()
    assert one(journalled, "SELECT count(*) FROM book_ticker_snapshots") > before
    assert 1 <= result.errors <= 4
    assert result.mismatches == ()


def test_a_worker_that_cannot_work_is_told_in_one_sentence(journalled: str) -> None:
    with (
        Traffic(demo_plan(traffic="no_such_module"), journalled) as traffic,
        pytest.raises(
            FerryError,
            match=r"3 of the traffic's workers failed: ModuleNotFoundError: No module named 'no_such_module'",
        ),
    ):
        traffic.stop()


def test_sigterm_ends_a_worker_in_order(journalled: str) -> None:
    with Traffic(demo_plan(), journalled, rate=50, workers=1) as traffic:
        time.sleep(1.5)
        process: subprocess.Popen[str] = traffic._processes[0]
        process.send_signal(signal.SIGTERM)
        process.wait(20)
        assert process.returncode == 0
        assert traffic.stop().ok
