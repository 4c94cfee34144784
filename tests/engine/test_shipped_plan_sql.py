"""The shipped plan's mappings and checks on real servers: real rows, ids as keys, pairs that appear late, warnings."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from marketdata.cache import SymbolCache, Unknown
from marketdata.models import LegacyBookTicker, Pair
from marketdata.store import open_store

from console.demo.server import EmbeddedServer
from console.demo.setup import prepare
from console.engine import compare, dual_write
from console.headless.report import status_line
from console.journal.connect import Conn, connect
from console.journal.state import RunState, RunStatus, Verb
from console.plan.model import Check, Kind, Leads, Plan, Severity, Task
from tests.engine.scene import a_run, dump, order
from tests.engine.test_shipped_plan import count, rows, shipped, state_of, without_programs

OLD = "book_ticker_snapshots"
NEW = "book_ticker_snapshots_v2"


@pytest.fixture(scope="module", autouse=True)
def impatient() -> Iterator[None]:
    """Nobody else writes here: the quiet before a reverse sync goes can be short."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dual_write, "PARTING_QUIET_S", 0.3)
        yield


def go(conninfo: str, plan: Plan, run_id: int, verb: Verb, **args: object) -> RunState:
    """Send the command and let a runner carry it out; it must not fail."""
    _, answer = order(conninfo, plan, run_id, verb, **args)
    state = state_of(conninfo, run_id)
    assert state.status is not RunStatus.FAILED, (answer, state.error)
    return state


def verdict(state: RunState, task_id: str, mapping: str = "book_ticker") -> str:
    """What the comparison of a task said."""
    return next(c.actual for c in state.checks if c.task_id == task_id and c.check_id == f"compare.{mapping}")


def baseline(conninfo: str, plan: Plan) -> Conn:
    """The legacy tables, empty."""
    assert plan.baseline is not None
    conn = connect(conninfo, application_name="application")
    conn.execute(plan.baseline.text.encode())
    return conn


# -- the engine's own rows ------------------------------------------------------------------------------------------


def real_tickers(folder: Path) -> list[LegacyBookTicker]:
    """The collectors' rows as models, every decimal as it is written."""
    with gzip.open(folder / "book_ticker_snapshots.csv.gz", "rt", encoding="utf-8", newline="") as file:
        return [
            LegacyBookTicker(
                datetime.fromisoformat(row["timestamp"]),
                Pair(row["exchange"], row["symbol_base"], row["symbol_quote"]),
                Decimal(row["bid_price"]),
                Decimal(row["bid_qty"]),
                Decimal(row["ask_price"]),
                Decimal(row["ask_qty"]),
            )
            for row in csv.DictReader(file)
        ]


def discovered_pairs(folder: Path) -> list[Pair]:
    """The pairs that the symbol discovery found."""
    with (folder / "symbols.csv").open(encoding="utf-8", newline="") as file:
        return [Pair(row["exchange"], row["symbol_base"], row["symbol_quote"]) for row in csv.DictReader(file)]


def load(conn: Conn, tickers: list[LegacyBookTicker]) -> None:
    """Put the tickers into the legacy table."""
    names = "exchange, symbol_base, symbol_quote, bid_price, bid_qty, ask_price, ask_qty, timestamp"
    with conn.cursor() as cursor, cursor.copy(f"COPY {OLD} ({names}) FROM STDIN".encode()) as copy:
        for t in tickers:
            copy.write_row((*t.pair, t.bid_price, t.bid_qty, t.ask_price, t.ask_qty, t.timestamp))
    conn.execute(f"ANALYZE {OLD}".encode())


def content(ticker: LegacyBookTicker) -> LegacyBookTicker:
    """A row without what the database added to it."""
    return replace(ticker, id=None, created_at=None, timestamp=ticker.timestamp.astimezone(UTC))


def in_order(tickers: list[LegacyBookTicker]) -> list[LegacyBookTicker]:
    return sorted(map(content, tickers), key=lambda t: (t.timestamp, t.pair))


def test_the_real_rows_arrive_to_the_last_decimal(server: EmbeddedServer, database: str, shared_data: Path) -> None:
    plan = without_programs(shipped())
    tickers, pairs = real_tickers(shared_data), discovered_pairs(shared_data)
    assert len(tickers) == 20_000
    assert len(pairs) == 2_434
    # One ticker for each discovered pair, with the smallest and largest numbers that the columns take.
    first = datetime(2025, 9, 21, tzinfo=UTC)
    smallest, largest = Decimal("0.00000001"), Decimal("999999999999.99999999")
    tickers += [
        LegacyBookTicker(first + timedelta(microseconds=n), pair, smallest, largest, largest, smallest)
        for n, pair in enumerate(pairs)
    ]
    with baseline(database, plan) as conn:
        load(conn, tickers)
        before, legacy = dump(database, server.binaries.dir), rows(conn, OLD)
        run_id = a_run(database, plan)
        state = go(database, plan, run_id, Verb.START, until="P2.2.8")
        assert verdict(state, "P2.2.8") == "22,434 old = 22,434 new + 0 rejected, every row equal"

        known = conn.execute("SELECT exchange, base_asset, quote_asset FROM symbol_directory").fetchall()
        assert {Pair(*row) for row in known} == {t.pair for t in tickers}
        with conn.transaction():
            store = open_store(conn, "normalised", SymbolCache(Unknown.FETCH))
            carried = list(store.between(first, datetime(2026, 1, 1, tzinfo=UTC)))
        assert in_order(carried) == in_order(tickers)
        ids = "SELECT id, created_at FROM {} ORDER BY id"
        assert conn.execute(ids.format(NEW).encode()).fetchall() == conn.execute(ids.format(OLD).encode()).fetchall()

        state = go(database, plan, run_id, Verb.ROLLBACK, to="start")
        assert state.status is RunStatus.ROLLED_BACK
        assert rows(conn, OLD) == legacy
        assert dump(database, server.binaries.dir) == before


# -- the variant whose key is the id --------------------------------------------------------------------------------


def keyed_by_id(plan: Plan) -> Plan:
    """The shipped plan's tickers alone, both tables with the id as primary key."""
    wanted = {
        task.id: replace(task, depends=(), guards=(), checks=(), mappings=task.mappings[:1])
        for task in plan.tasks
        if (task.phase == "1" and task.kind is Kind.SQL)
        or task.id in ("P2.1.1", "P2.2.1", "P2.2.2", "P2.2.8", "P3.4.1", "P3.4.4", "P3.4.6")
    }
    create = wanted["P2.1.1"].file
    assert create is not None
    assert plan.baseline is not None
    text = create.text.replace('PRIMARY KEY ("timestamp", symbol_id)', "PRIMARY KEY (id)")
    old = plan.baseline.text.replace(
        'PRIMARY KEY ("timestamp", exchange, symbol_base, symbol_quote)', "PRIMARY KEY (id)"
    )
    assert text != create.text
    assert old != plan.baseline.text
    wanted["P2.1.1"] = replace(wanted["P2.1.1"], file=replace(create, text=text))
    mapping = replace(plan.mapping("book_ticker"), old_key=("id",), new_key=("id",))
    phases = tuple(
        replace(phase, tasks=tuple(wanted[task.id] for task in phase.tasks if task.id in wanted))
        for phase in plan.phases
    )
    return replace(plan, phases=phases, mappings=(mapping,), baseline=replace(plan.baseline, text=old))


def insert_legacy(conn: Conn, exchange: str, base: str, quote: str, second: int) -> int:
    """One ticker written by the old application; its id."""
    row = conn.execute(
        "INSERT INTO book_ticker_snapshots (exchange, symbol_base, symbol_quote, bid_price, bid_qty, ask_price, ask_qty,"
        " timestamp) VALUES (%s, %s, %s, 0.00000352, 1, 0.00000353, 2, '2026-06-01Z'::timestamptz + %s * interval '1 s')"
        " RETURNING id",
        (exchange, base, quote, second),
    ).fetchone()
    assert row is not None
    return int(row[0])


def test_the_id_may_be_the_key(server: EmbeddedServer, database: str) -> None:
    plan = keyed_by_id(shipped())
    prepare(plan, database, 1500)
    with connect(database, application_name="application") as conn:
        before, legacy = dump(database, server.binaries.dir), rows(conn, OLD)
        run_id = a_run(database, plan)
        go(database, plan, run_id, Verb.START, until="P2.2.1")
        late = insert_legacy(conn, "MEXC_SPOT", "BTC", "USDT", 1)
        gone = insert_legacy(conn, "MEXC_SPOT", "BTC", "USDT", 2)
        state = go(database, plan, run_id, Verb.START, until="P2.2.8")
        rejects = count(conn, "SELECT count(*) FROM pgferry.reject")
        assert verdict(state, "P2.2.8") == f"1,502 old = {1502 - rejects:,} new + {rejects} rejected, every row equal"
        twins = f"SELECT count(*) FROM (SELECT FROM {NEW} GROUP BY timestamp, symbol_id HAVING count(*) > 1) t"
        assert count(conn, twins) > 0, "rows of one moment and symbol live side by side under their ids"

        # The old application changes the pair, and the id, of a row.
        conn.execute("UPDATE book_ticker_snapshots SET symbol_base = 'ETH' WHERE id = %s", (late,))
        conn.execute("UPDATE book_ticker_snapshots SET id = id + 1000000 WHERE id = %s", (late,))
        moved = f"SELECT count(*) FROM {NEW} JOIN symbols s ON s.id = symbol_id WHERE {NEW}.id = {late + 1000000} AND base_asset = 'ETH'"
        assert count(conn, moved) == 1
        assert count(conn, f"SELECT count(*) FROM {NEW} WHERE id = {late}") == 0

        state = go(database, plan, run_id, Verb.START, until="end")
        # The new application inserts, updates and deletes; an update keeps the other spelling of the old row.
        conn.execute(f"INSERT INTO {NEW} (id, timestamp, symbol_id, bid_price, bid_qty, ask_price, ask_qty)"
                     f" SELECT 5000000, timestamp, symbol_id, 1, 1, 2, 0.00000001 FROM {NEW} WHERE id = {late + 1000000}".encode())  # fmt: skip
        conn.execute(f"DELETE FROM {NEW} WHERE id = {gone}".encode())
        conn.execute(
            f"UPDATE {NEW} SET bid_qty = bid_qty + 5 WHERE id IN (SELECT id FROM {OLD} WHERE exchange = lower(exchange))".encode()
        )
        expected = [row for row in legacy if row[1] != str(row[1]).lower()]
        state = go(database, plan, run_id, Verb.ROLLBACK, to="P3.4.6")
        state = go(database, plan, run_id, Verb.START, until="end")
        assert verdict(state, "P3.4.6").endswith("every row equal")

        state = go(database, plan, run_id, Verb.ROLLBACK, to="start")
        assert state.status is RunStatus.ROLLED_BACK
        assert dump(database, server.binaries.dir) == before
        after = rows(conn, OLD)
        assert [
            row for row in after if row[0] not in (late + 1000000, 5000000) and row[1] != str(row[1]).lower()
        ] == expected
        by_id = {row[0]: row for row in after}
        assert by_id[5000000][1:8] == ("MEXC_SPOT", "ETH", "USDT", 1, 1, 2, Decimal("0.00000001"))
        assert gone not in by_id
        changed = [row for row in legacy if row[1] == str(row[1]).lower()]
        assert changed
        assert all(by_id[row[0]] == (*row[:5], row[5] + 5, *row[6:]) for row in changed)  # type: ignore[operator]


# -- doubts -----------------------------------------------------------------------------------------------------------


def test_a_pair_that_appears_late_is_carried_before_the_end(database: str) -> None:
    plan = without_programs(shipped())
    prepare(plan, database, 500)
    with connect(database, application_name="application") as conn:
        run_id = a_run(database, plan)
        go(database, plan, run_id, Verb.START, until="P2.2.1")
        ids = [insert_legacy(conn, "MEXC_SPOT", "FRESH", "USDT", 1)]
        refused = "SELECT count(*) FROM pgferry.reject WHERE row_data->>'symbol_base' IN ('FRESH', 'LATER')"
        assert count(conn, refused) == 1, "the write was taken, the row waits among the rejects"
        state = go(database, plan, run_id, Verb.START, until="P3.4.4")
        assert count(conn, refused) == 0
        assert verdict(state, "P2.2.8").endswith("every row equal")
        ids.append(insert_legacy(conn, "mexc_spot", "LATER", "USDT", 2))
        assert count(conn, refused) == 1
        state = go(database, plan, run_id, Verb.START, until="P3.4.8")
        assert count(conn, refused) == 0
        ids.append(insert_legacy(conn, "GATEIO_SPOT", "LATER", "USDT", 3))
        assert count(conn, refused) == 1
        state = go(database, plan, run_id, Verb.START, until="end")
        assert state.status is RunStatus.DONE
        assert count(conn, refused) == 0
        assert verdict(state, "P5.1.2").endswith("every row equal")
        found = conn.execute(f"SELECT id FROM {NEW} WHERE id = ANY (%s) ORDER BY id".encode(), (ids,)).fetchall()
        assert [row[0] for row in found] == ids


def test_a_symbol_made_while_rows_are_compared_is_no_difference(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = without_programs(shipped())
    prepare(plan, database, 300)
    with connect(database, application_name="application") as conn:
        run_id = a_run(database, plan)
        go(database, plan, run_id, Verb.START, until="P2.2.7")
        insert_legacy(conn, "MEXC_SPOT", "FRESH", "USDT", 1)
        settle = compare.settle
        made: list[int] = []

        def then_a_symbol(*args: Any) -> int:
            done = settle(*args)
            if not made:  # a new application lists the pair after the rejects were tried, before rows are read
                made.append(count(conn, "SELECT ensure_symbol('MEXC_SPOT', 'FRESH', 'USDT')"))
                (late,) = [c for c in plan.checks if c.id == "recent_tickers_missing"]
                assert conn.execute(late.sql.encode()).fetchall() == [], "it waits, and is not missing"
            return done

        monkeypatch.setattr(compare, "settle", then_a_symbol)
        state = go(database, plan, run_id, Verb.START, until="P2.2.8")
        assert verdict(state, "P2.2.8").endswith("every row equal")
        assert count(conn, f"SELECT count(*) FROM {NEW} WHERE symbol_id = {made[0]}") == 1
        (late,) = [c for c in plan.checks if c.id == "recent_tickers_missing"]
        conn.execute(f"DELETE FROM {NEW} WHERE symbol_id = {made[0]}".encode())
        assert len(conn.execute(late.sql.encode()).fetchall()) == 1, "a row that is really missing is found"


def test_between_retire_and_views_the_new_side_works_on(server: EmbeddedServer, database: str) -> None:
    plan = without_programs(shipped())
    prepare(plan, database, 500)
    with connect(database, application_name="application") as conn:
        run_id = a_run(database, plan)
        before = dump(database, server.binaries.dir)
        go(database, plan, run_id, Verb.START, until="P5.1.3")
        assert conn.execute("SELECT to_regclass(%s)", (OLD,)).fetchone() == (None,)
        insert = (
            f"INSERT INTO {NEW} (timestamp, symbol_id, bid_price, bid_qty, ask_price, ask_qty)"
            " SELECT '2026-06-01Z', min(id), 1, 1, 2, 2 FROM symbols RETURNING id"
        )
        (id_,) = conn.execute(insert.encode()).fetchone() or (0,)
        assert count(conn, f"SELECT count(*) FROM pgferry_archive.{OLD} WHERE id = {id_}") == 1
        assert count(conn, "SELECT count(*) FROM book_ticker_snapshots_legacy") == count(
            conn, f"SELECT count(*) FROM {NEW}"
        )
        state = go(database, plan, run_id, Verb.ROLLBACK, to="start")
        assert state.status is RunStatus.ROLLED_BACK
        assert dump(database, server.binaries.dir) == before
        assert count(conn, f"SELECT count(*) FROM {OLD} WHERE id = {id_}") == 1


@pytest.mark.parametrize(
    ("severity", "status"), [(Severity.WARNING, RunStatus.DONE), (Severity.ERROR, RunStatus.FAILED)]
)
def test_only_an_error_stops_the_run(database: str, severity: Severity, status: RunStatus) -> None:
    plan = shipped()
    bad = Check("bad", "never true", "1", severity, "checks/bad.sql", 1, sql="SELECT false", expect="true")
    task = Task("only", "only", Kind.CHECK, 1, "1", checks=("bad",), leads=Leads.OLD)
    plan = replace(plan, phases=(replace(plan.phases[0], tasks=(task,)),), checks=(bad,))
    run_id = a_run(database, plan)
    assert order(database, plan, run_id, Verb.START, until="end")[0] is status
    state = state_of(database, run_id)
    (check,) = state.checks
    assert (check.ok, check.severity) == (False, severity.value)
    assert status_line(state).endswith("failed checks: bad" if severity is Severity.ERROR else "warnings: bad")
