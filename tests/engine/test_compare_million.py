"""The shipped tickers corrupted in every way at once, found, named and repaired to the row: among 50,000, and a million."""

from __future__ import annotations

import pytest

from console.demo.setup import prepare
from console.engine import rows
from console.engine.rows import Orders
from console.engine.visit import visit
from console.journal.connect import Conn, connect
from console.journal.state import RunStatus, Verb
from tests.engine.scene import a_run, order
from tests.engine.test_compare import kinds, secretly
from tests.engine.test_shipped_plan import shipped, without_programs

NEW = "book_ticker_snapshots_v2"
AT = '(SELECT id FROM {new} ORDER BY "timestamp" OFFSET (SELECT count(*) FROM {new}) * {share} / 100 LIMIT 1)'


def nth(share: int) -> str:
    """The id of a row so many hundredths of the way."""
    return AT.format(new=NEW, share=share)


CORRUPT = (
    f"UPDATE {NEW} SET bid_price = bid_price + 0.00000001 WHERE id = {nth(5)}",
    f"DELETE FROM {NEW} WHERE id = {nth(15)}",
    f'INSERT INTO {NEW} (id, "timestamp", symbol_id, bid_price, bid_qty, ask_price, ask_qty)'
    f" SELECT -1, \"timestamp\" + interval '1 us', symbol_id, 1, 1, 2, 2 FROM {NEW} WHERE id = {nth(25)}",
    f'INSERT INTO {NEW} SELECT * FROM {NEW} WHERE id = {nth(35)}',
    f"UPDATE {NEW} a SET ask_qty = b.ask_qty FROM {NEW} b WHERE a.id <> b.id AND a.id IN ({nth(45)}, {nth(55)})"
    f" AND b.id IN ({nth(45)}, {nth(55)})",
    f"UPDATE {NEW} SET symbol_id = (SELECT min(id) FROM symbols s WHERE s.id <> {NEW}.symbol_id) WHERE id = {nth(65)}",
    f"UPDATE {NEW} SET created_at = NULL WHERE id = {nth(75)}",
)  # fmt: skip
FOUND = {"changed": 4, "missing": 2, "extra": 2, "duplicate": 1}
KEY = 'ADD PRIMARY KEY ("timestamp", symbol_id)'


def content(conn: Conn) -> tuple[object, ...]:
    """All rows of the new table in one figure, and their number."""
    row = conn.execute(f"SELECT count(*), sum(hashtextextended(t::text, 0)) FROM {NEW} t".encode()).fetchone()
    assert row is not None
    return row


@pytest.mark.parametrize("size", [50_000, pytest.param(1_000_000, marks=pytest.mark.long)])
def test_every_corruption_is_found_named_and_repaired(database: str, size: int) -> None:
    plan = without_programs(shipped())
    mapping = plan.mapping("book_ticker")
    prepare(plan, database, size)
    status, answer = order(database, plan, a_run(database, plan), Verb.START, until="P2.2.4")
    assert status is RunStatus.WAITING, answer
    visitor = visit(plan, database, "tester")
    with connect(database) as conn:
        before = content(conn)
        assert rows.once(visitor, mapping, Orders(), origin="check").verdict.ok
        (name,) = conn.execute(
            "SELECT conname FROM pg_constraint WHERE contype = 'p' AND conrelid = %s::regclass", (NEW,)
        ).fetchone() or ("",)
        conn.execute(f'CREATE INDEX same_key ON {NEW} ("timestamp", symbol_id)'.encode())
        conn.execute(f"ALTER TABLE {NEW} DROP CONSTRAINT {name}, ALTER created_at DROP NOT NULL".encode())
        for statement in CORRUPT:
            assert secretly(conn, statement), statement
        found = rows.once(visitor, mapping, Orders(), origin="check").verdict
        assert kinds(found) == FOUND, found.words()
        assert len(found.differences) == sum(FOUND.values())
        changed = sorted(d.columns for d in found.differences if d.kind == "changed")
        assert changed == [("ask_qty",), ("ask_qty",), ("bid_price",), ("created_at",)]
        assert all(d.key["timestamp"] and d.key["symbol_id"] for d in found.differences)

        secretly(
            conn, f"DELETE FROM {NEW} a USING {NEW} b WHERE a.ctid > b.ctid AND a.id = b.id"
        )  # to have the key again
        conn.execute(f"ALTER TABLE {NEW} {KEY}".encode())
        done = rows.once(visitor, mapping, Orders(repair=True), origin="repair")
        assert done.verdict.ok, done.verdict.words()
        assert done.repaired == sum(FOUND.values()) - 1
        assert content(conn) == before
    visitor.drop()
