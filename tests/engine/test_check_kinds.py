"""Checks of declared kinds on a real server: each passes on sound data, and names what is wrong with other data."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from console.engine.checks import Result, run_check
from console.engine.latency import Measured, judge
from console.engine.visit import visit
from console.journal.latencies import Figures, figures
from console.plan.check_kinds import Latency
from console.plan.load import load_plan
from console.plan.model import Plan
from tests.engine.tiny import PLAN_TOML, ferry, tiny_plan

MAPPING = """
[[mapping]]
id = "orders"
old = "orders"
new = "orders_v2"
old_key = ["id"]
new_key = ["id"]
[mapping.columns]
id = "o.id"
customer_id = "c.customer_id"
[mapping.back]
id = "n.id"
customer = "c.name"
[[mapping.lookup]]
name = "c"
relation = "customer_names"
match = { name = "customer" }
gives = "customer_id"
canonical = "is_canonical"
"""
SCENE = """
CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE customer_names (name text, customer_id int, is_canonical boolean);
CREATE TABLE orders (id bigserial PRIMARY KEY, customer text);
CREATE SCHEMA "New";
CREATE TABLE "New"."Orders, all" (id bigint GENERATED ALWAYS AS IDENTITY, "Customer" int, CONSTRAINT positive CHECK (id > 0));
CREATE TABLE parts (id int, at date) PARTITION BY RANGE (at);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM ('2020-01-01') TO ('2030-01-01');
CREATE INDEX parts_id_idx ON parts (id);
INSERT INTO customers VALUES (1, 'a'), (2, 'b');
INSERT INTO customer_names VALUES ('a', 1, true), ('A', 1, false), ('b', 2, true);
INSERT INTO orders (customer) SELECT 'a' FROM generate_series(1, 50);
INSERT INTO "New"."Orders, all" ("Customer") SELECT 1 FROM generate_series(1, 50);
INSERT INTO parts SELECT n, '2025-01-01' FROM generate_series(1, 500) n;
ANALYZE;
"""


def a_plan(folder: Path, *checks: str) -> Plan:
    """A plan with checks from headers; ``c1``, ``c2`` ... in order."""
    texts = [
        f"-- check: c{number}\n-- title: A check\n" + "".join(f"-- {line}\n" for line in text.split("\n") if ": " in line)
        + "".join(f"{line}\n" for line in text.split("\n") if ": " not in line)
        for number, text in enumerate(checks, 1)
    ]  # fmt: skip
    toml = PLAN_TOML.replace('checks = ["filled"]', 'checks = ["c1"]') + MAPPING
    return load_plan(tiny_plan(folder, toml=toml, checks="\n".join(texts)))


def looked(database: str, folder: Path, *checks: str) -> list[Result]:
    session = visit(a_plan(folder, *checks), database, "tester")
    try:
        return [result for check in session.plan.checks for result in run_check(session, check)]
    finally:
        session.drop()


ORDERS = '"New"."Orders, all"'
CASES = {
    "equal counts": (f"kind: equal counts\ntables: orders, {ORDERS}", "DELETE FROM orders WHERE id = 7", "49 in orders"),
    "orphans": (
        f'kind: orphans\ntable: {ORDERS}\ncolumns: "Customer"\nreferences: customers (id)',
        'UPDATE "New"."Orders, all" SET "Customer" = 9 WHERE id < 3; INSERT INTO "New"."Orders, all" ("Customer") VALUES (NULL)',
        "1 values without a row there",
    ),
    "duplicates": (
        f"kind: duplicates\ntable: {ORDERS}\ncolumns: id",
        'INSERT INTO "New"."Orders, all" OVERRIDING SYSTEM VALUE VALUES (7, 1)',
        "1 values more than once",
    ),
    "valid constraints": (
        f"kind: valid constraints\ntables: {ORDERS}, orders",
        'ALTER TABLE "New"."Orders, all" ADD CONSTRAINT later CHECK (id > 1) NOT VALID',
        "not so: later",
    ),
    "valid indexes": (
        f"kind: valid indexes\ntables: orders, {ORDERS}",
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'orders_pkey'::regclass",
        "not so: orders_pkey",
    ),
    "ambiguous value": (
        "kind: unambiguous mapping\nmapping: orders",
        "INSERT INTO customer_names VALUES ('A', 2, false)",
        "1 ambiguous",
    ),
    "no canonical spelling": (
        "kind: unambiguous mapping\nmapping: orders",
        "UPDATE customer_names SET is_canonical = NULL WHERE name = 'b'",
        "1 ambiguous",
    ),
    "two canonical spellings": (
        "kind: unambiguous mapping\nmapping: orders",
        "UPDATE customer_names SET is_canonical = true WHERE name = 'A'",
        "1 ambiguous",
    ),
    "serial behind": (
        "kind: sequences ahead\ntables: orders",
        "INSERT INTO orders VALUES (51, 'by hand')",
        "1 of 1 behind",
    ),
    "identity behind": (
        f"kind: sequences ahead\ntables: orders, {ORDERS}",
        'ALTER TABLE "New"."Orders, all" ALTER COLUMN id RESTART WITH 20',
        "1 of 2 behind",
    ),
    "no sequence": ("kind: sequences ahead\ntables: orders", "ALTER TABLE orders ALTER id DROP DEFAULT; DROP SEQUENCE orders_id_seq", "no sequence fills"),
    "stale statistics": (
        "kind: fresh statistics\ntables: orders\npercent: 10",
        "UPDATE orders SET customer = 'b'",
        "stale: orders (",
    ),
    "index not used": (
        "kind: uses index\ntable: parts\nSELECT * FROM parts WHERE id = 7",
        "DROP INDEX parts_id_idx",
        "Seq Scan",
    ),
    "another index": (
        "kind: uses index\ntable: parts\nindex: parts_1_id_idx\nSELECT * FROM parts WHERE id = 7",
        "CREATE INDEX better ON parts (id, at); DROP INDEX parts_id_idx",
        "parts_1_id_at_idx",
    ),
    "table not read": ("kind: uses index\ntable: parts\nSELECT * FROM parts WHERE id = 7", "ALTER TABLE parts RENAME TO kept; CREATE VIEW parts AS SELECT * FROM orders", "does not read"),
    "size": ("kind: size\ntable: orders\nat_most_mb: 0.1", "INSERT INTO orders (customer) SELECT repeat('x', 900) FROM generate_series(1, 500)", " MB"),
    "size against": (
        f"kind: size\ntable: {ORDERS}\nagainst: orders\npercent: 100",
        'CREATE INDEX ON "New"."Orders, all" ("Customer"); CREATE INDEX ON "New"."Orders, all" (id); CREATE INDEX ON "New"."Orders, all" (id, "Customer")',
        " %",
    ),
    "absent table": ("kind: valid indexes\ntables: orders", "DROP TABLE orders", "there is no table orders"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_each_kind_passes_on_sound_data_and_names_a_fault(database: str, tmp_path: Path, name: str) -> None:
    check, fault, said = CASES[name]
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute(SCENE)
        (sound,) = looked(database, tmp_path, check)
        assert sound.ok, sound.actual
        assert sound.expected
        conn.execute(fault)
        conn.execute("SELECT pg_stat_force_next_flush()" if conn.info.server_version >= 150000 else "SELECT 1")
        time.sleep(0.1)
        (faulty,) = looked(database, tmp_path, check)
    assert not faulty.ok, faulty.actual
    assert said in faulty.actual
    if "there is no" not in said and name not in (
        "size",
        "size against",
        "index not used",
        "another index",
        "table not read",
        "no sequence",
    ):
        assert faulty.rows or name == "equal counts"


def test_a_descending_sequence_is_ahead_below_its_column(database: str, tmp_path: Path) -> None:
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("CREATE SEQUENCE down INCREMENT -1; CREATE TABLE orders (id bigint DEFAULT nextval('down'))")
        conn.execute("INSERT INTO orders SELECT FROM generate_series(1, 5)")
        (sound,) = looked(database, tmp_path, "kind: sequences ahead\ntables: orders")
        assert sound.ok, sound.actual
        conn.execute("INSERT INTO orders VALUES (-9)")
        (behind,) = looked(database, tmp_path, "kind: sequences ahead\ntables: orders")
    assert behind.rows[0]["largest"] == "-9"


def test_a_failing_query_is_a_failed_check_and_nothing_can_write(database: str, tmp_path: Path) -> None:
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute(SCENE)
        conn.execute("CREATE FUNCTION sneaky() RETURNS int LANGUAGE sql AS 'DELETE FROM orders RETURNING 1'")
        absent, writes, good = looked(
            database, tmp_path,
            "kind: orphans\ntable: nowhere\ncolumns: a\nreferences: customers (id)",
            "kind: latency\nbudget_ms: 1000\nSELECT sneaky()",
            "kind: latency\nbudget_ms: 1000\nrounds: 20\nSELECT 1",
        )  # fmt: skip
        assert "42P01" in absent.actual
        assert "25006" in writes.actual
        assert good.ok, good.actual
        assert conn.execute("SELECT count(*) FROM orders").fetchone() == (50,)


def test_traffic_is_noticed_and_silence_is_proved(database: str, tmp_path: Path) -> None:
    stop = threading.Event()

    def write() -> None:
        with psycopg.connect(database, autocommit=True) as own:
            while not stop.is_set():
                own.execute("INSERT INTO orders (customer) VALUES ('a')")
                stop.wait(0.1)

    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute(SCENE)
        conn.execute("SELECT pg_sleep(1.2)")  # counters of the scene itself arrive up to a second late
        (silent,) = looked(database, tmp_path, "kind: quiet\ntables: orders, customers\nseconds: 2")
        assert silent.ok, silent.actual
        writer = threading.Thread(target=write)
        writer.start()
        try:
            (used,) = looked(database, tmp_path, "kind: quiet\ntables: orders, customers\nseconds: 30")
        finally:
            stop.set()
            writer.join()
    assert not used.ok
    assert used.actual.startswith("orders used after")


def test_a_baseline_recorded_in_a_run_holds_later_phases_back(database: str, tmp_path: Path) -> None:
    checks = """
-- check: before
-- title: The old query is measured before anything changes
-- kind: latency
-- rounds: 20
-- record: lookup
SELECT count(*) FROM pg_class;

-- check: filled
-- title: The new query is not slower than the old one was
-- kind: latency
-- rounds: 20
-- baseline: lookup
-- tolerance_percent: 50
SELECT pg_sleep(0.03);
"""
    toml = PLAN_TOML.replace(
        '[[phase]]\nid = "2"',
        '[[phase.task]]\nid = "A3"\ntitle = "Measure"\nkind = "check"\nminutes = 1\nchecks = ["before"]\n\n[[phase]]\nid = "2"',
    )
    root = str(tiny_plan(tmp_path, toml=toml, checks=checks))
    code, out, err = ferry("apply", "--plan", root, "--dsn", database, "--format", "json")
    assert code == 1, err
    assert json.loads(out)["status"] == "failed"
    assert "slower than lookup allows" in err + out
    with psycopg.connect(database) as conn:
        kept = conn.execute("SELECT name, samples, p50_ms < 30 FROM pgferry.latency").fetchall()
        assert kept == [("lookup", 20, True)]
    code, out, _ = ferry("check", "--plan", root, "--dsn", database)
    assert code == 1
    assert "times the median of lookup" in out
    with psycopg.connect(database) as conn:  # a look outside of a run's task records nothing
        assert conn.execute("SELECT count(*) FROM pgferry.latency").fetchone() == (1,)


def test_queries_side_by_side_meet_the_same_weather(database: str, tmp_path: Path) -> None:
    slow = "kind: latency\nrounds: 20\nbeside: c2\ntolerance_percent: 100\nSELECT pg_sleep(0.02)"
    fast = "kind: latency\nrounds: 20\nbudget_ms: 5000\nSELECT 1"
    first, second = looked(database, tmp_path, slow, fast)
    assert not first.ok
    assert "the median and p99" in first.actual
    assert [row["query"] for row in first.rows] == ["now", "c2"]
    assert second.ok


LATENCY = Latency(100, 99, None, "", "base", "", 20, 0.1)
OWN = Figures(100, 1.0, 99, 2.0, 9.0)


@pytest.mark.parametrize(
    ("spec", "baseline", "said"),
    [
        (LATENCY, replace(OWN, p50_ms=0.8, percentile_ms=1.7), ""),
        (LATENCY, replace(OWN, p50_ms=0.7, percentile_ms=1.7), "the median"),
        (LATENCY, replace(OWN, p50_ms=1.0, percentile_ms=1.5), "p99"),
        (LATENCY, None, "no baseline base was recorded"),
        (replace(LATENCY, budget_ms=1.9), OWN, "over 1.9 ms"),
        (replace(LATENCY, budget_ms=2.0), OWN, ""),
        (replace(LATENCY, baseline=""), None, ""),
    ],
)
def test_a_latency_is_judged_by_all_that_is_asked(spec: Latency, baseline: Figures | None, said: str) -> None:
    found = judge(spec, Measured(OWN, None), baseline)
    assert found.ok == (said == "")
    assert said in found.actual


def test_percentiles_are_of_the_measurements() -> None:
    found = figures([float(n) for n in range(100, 0, -1)], 95)
    assert (found.samples, found.p50_ms, found.percentile_ms, found.max_ms) == (100, 50.0, 95.0, 100.0)
