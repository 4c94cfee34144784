"""TRUNCATE of either table, of a partition, of a lookup, by CASCADE: rejects go with their rows, and only with them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from console.engine import sync_sets
from console.engine.facts import mapping_facts
from console.engine.settle import settle
from console.journal.connect import Conn, connect
from console.plan.model import Direction, Kind, Mapping, TableName, Triggers
from tests.engine.scene import MAPPING, a_database, a_plan, a_session, a_task, switch_on

AT = "2026-02-01 10:00:00+00"
WRITES = """
INSERT INTO sales VALUES ('{at}', 'S1', 'item1', 1, 'both'), ('{at}', 'S9', 'item1', 1, 'only old'),
  ('{at}', 's0', 'item3', 1, 'second spelling'), ('{at}', 'S0', 'item3', 1, 'first spelling');
INSERT INTO sales_v2 VALUES ('{at}', 2, 1, 'both too'), ('{at}', 4, -1, 'only new');
"""


@pytest.fixture(params=list(Triggers))
def conn(database: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Conn]:
    monkeypatch.setattr(sync_sets, "FEW", 0)
    with a_database(database) as conn:
        switch_on(conn, Direction.BOTH, replace(MAPPING, triggers=request.param))
        yield conn


def notes(conn: Conn, table: str) -> list[str]:
    return sorted(row[0] for row in conn.execute(f"SELECT note FROM {table}".encode()).fetchall())


def rejects(conn: Conn) -> list[tuple[str, str]]:
    return conn.execute("SELECT direction, row_data->>'note' FROM pgferry.reject ORDER BY 1, 2").fetchall()


def test_rows_that_only_the_other_side_can_hold_stay_with_their_rejects(conn: Conn) -> None:
    conn.execute(WRITES.format(at=AT).encode())
    listed = [("forward", "only old"), ("forward", "second spelling"), ("reverse", "only new")]
    assert rejects(conn) == listed
    conn.execute("TRUNCATE sales")
    assert (notes(conn, "sales"), notes(conn, "sales_v2"), rejects(conn)) == ([], ["only new"], listed[2:])
    conn.execute("TRUNCATE sales_v2")
    assert (notes(conn, "sales_v2"), rejects(conn)) == ([], [])

    conn.execute(WRITES.format(at=AT).encode())
    conn.execute("TRUNCATE sales_v2")
    assert (notes(conn, "sales"), notes(conn, "sales_v2"), rejects(conn)) == (["only old"], [], listed[:1])
    conn.execute("TRUNCATE sales")
    assert (notes(conn, "sales"), rejects(conn)) == ([], []), "though the new table was empty already"


def test_both_at_once_and_by_cascade(conn: Conn) -> None:
    conn.execute("CREATE TABLE shops (id integer PRIMARY KEY)")
    conn.execute("ALTER TABLE sales ADD of_shop integer REFERENCES shops")
    conn.execute(WRITES.format(at=AT).encode())
    conn.execute("TRUNCATE sales, sales_v2")
    assert (notes(conn, "sales"), notes(conn, "sales_v2"), rejects(conn)) == ([], [], [])
    conn.execute(WRITES.format(at=AT).encode())
    conn.execute("TRUNCATE shops CASCADE")
    assert (notes(conn, "sales"), notes(conn, "sales_v2")) == ([], ["only new"])
    assert rejects(conn) == [("reverse", "only new")]


def test_an_older_snapshot_does_not_hide_what_goes(database: str, conn: Conn) -> None:
    """TRUNCATE empties what its transaction does not see; rejects that it does not see go before rows are compared."""
    session = a_session(database, a_plan(a_task("compare", Kind.CHECK, mappings=("sales",))))
    with connect(database, application_name="older snapshot") as older:
        for table in ("sales", "sales_v2"):
            older.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            older.execute("SELECT 1")
            conn.execute(WRITES.format(at=AT).encode())
            older.execute(f"TRUNCATE {table}".encode())
            older.execute("COMMIT")
            assert (notes(conn, "sales"), notes(conn, "sales_v2")) == ([], [])
            assert len(rejects(conn)) == 3
            settle(session, MAPPING, mapping_facts(conn, MAPPING, "pgferry_archive"))
            assert rejects(conn) == []
    session.drop()


def test_an_open_cursor_or_a_trigger_on_the_other_table_fails_nobody(conn: Conn) -> None:
    conn.execute("INSERT INTO sales VALUES (%s, 'S1', 'item1', 1, 'a'), (%s, 'S2', 'item2', 1, 'b')", (AT, AT))
    with conn.transaction():
        conn.execute("DECLARE c CURSOR FOR SELECT * FROM sales_v2")
        conn.execute("TRUNCATE sales")
    assert notes(conn, "sales_v2") == []
    conn.execute("INSERT INTO sales VALUES (%s, 'S1', 'item1', 1, 'a'), (%s, 'S2', 'item2', 1, 'b')", (AT, AT))
    conn.execute(
        "CREATE FUNCTION never() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN IF TG_OP = 'TRUNCATE' OR OLD.note = 'b' THEN RAISE 'never'; END IF; RETURN OLD; END $$;"
        "CREATE TRIGGER never BEFORE TRUNCATE ON sales_v2 FOR EACH STATEMENT EXECUTE FUNCTION never();"
        "CREATE TRIGGER never_row BEFORE DELETE ON sales_v2 FOR EACH ROW EXECUTE FUNCTION never()"
    )
    conn.execute("TRUNCATE sales")
    assert notes(conn, "sales_v2") == ["b"], "the row that its own trigger keeps"
    reasons = conn.execute("SELECT reason FROM pgferry.recheck").fetchall()
    assert [reason for (reason,) in reasons if "cannot go: never" in reason]


def test_a_lookup_that_is_emptied_takes_its_rows_and_brings_them_back(database: str) -> None:
    with a_database(database) as conn:
        switch_on(conn, Direction.BOTH)
        conn.execute("INSERT INTO sales VALUES (%s, 'S1', 'item1', 1, 'a'), (%s, 's0', 'item3', 1, 'b')", (AT, AT))
        session = a_session(database, a_plan(a_task("compare", Kind.CHECK, mappings=("sales",))))
        spelled = conn.execute("SELECT * FROM spellings").fetchall()
        conn.execute("TRUNCATE spellings")
        settle(session, MAPPING, mapping_facts(conn, MAPPING, "pgferry_archive"))
        assert (notes(conn, "sales"), notes(conn, "sales_v2")) == (["a", "b"], [])
        assert rejects(conn) == [("forward", "a"), ("forward", "b")]
        with conn.cursor() as cursor:
            cursor.executemany("INSERT INTO spellings VALUES (%s, %s, %s)", spelled)
        settle(session, MAPPING, mapping_facts(conn, MAPPING, "pgferry_archive"))
        assert (notes(conn, "sales_v2"), rejects(conn)) == (["a", "b"], [])
        session.drop()


PARTED = """
CREATE TABLE orders (id integer PRIMARY KEY, a integer CHECK (a <> 7), note text) PARTITION BY RANGE (id);
CREATE TABLE orders_1 PARTITION OF orders FOR VALUES FROM (0) TO (10);
CREATE TABLE orders_2 PARTITION OF orders FOR VALUES FROM (10) TO (20);
CREATE TABLE orders_v2 (id integer PRIMARY KEY, p integer NOT NULL, note text) PARTITION BY RANGE (id);
CREATE TABLE v2_1 PARTITION OF orders_v2 FOR VALUES FROM (0) TO (5);
CREATE TABLE v2_2 PARTITION OF orders_v2 FOR VALUES FROM (5) TO (20);
"""
ORDERS = Mapping(
    id="orders", old=TableName("public", "orders"), new=TableName("public", "orders_v2"), old_key=("id",),
    new_key=("id",), columns=(("id", "o.id"), ("p", "o.a"), ("note", "o.note")),
    back=(("id", "n.id"), ("a", "n.p"), ("note", "n.note")),
)  # fmt: skip


def ids(conn: Conn, table: str) -> list[int]:
    return [row[0] for row in conn.execute(f"SELECT id FROM {table} ORDER BY 1".encode()).fetchall()]


def test_a_partition_takes_its_own_rows_and_rejects(database: str) -> None:
    with connect(database, application_name="application") as conn:
        conn.execute(PARTED)
        conn.execute("INSERT INTO orders VALUES (2, 1, 'not copied yet'), (12, 1, 'nor this')")
        switch_on(conn, Direction.BOTH, ORDERS)
        conn.execute("INSERT INTO orders SELECT i, i, i FROM unnest(ARRAY[1, 6, 11]) i")
        conn.execute("INSERT INTO orders VALUES (3, NULL, 'only old'), (13, NULL, 'only old too')")
        conn.execute("INSERT INTO orders_v2 VALUES (4, 7, 'only new'), (14, 7, 'only new too')")
        assert (ids(conn, "orders"), ids(conn, "orders_v2")) == ([1, 2, 3, 6, 11, 12, 13], [1, 4, 6, 11, 14])
        conn.execute("TRUNCATE v2_2")
        assert (ids(conn, "orders"), ids(conn, "orders_v2")) == ([1, 2, 3, 13], [1, 4]), "2 stays: of another partition"
        assert rejects(conn) == [("forward", "only old"), ("forward", "only old too"), ("reverse", "only new")]
        conn.execute("TRUNCATE orders_2")
        assert (ids(conn, "orders"), ids(conn, "orders_v2")) == ([1, 2, 3], [1, 4])
        assert rejects(conn) == [("forward", "only old"), ("reverse", "only new")]
        conn.execute("TRUNCATE orders_1")
        assert (ids(conn, "orders"), ids(conn, "orders_v2"), rejects(conn)) == ([], [4], [("reverse", "only new")])
        conn.execute("TRUNCATE v2_1")
        assert (ids(conn, "orders_v2"), rejects(conn)) == ([], [])


def test_an_expression_that_fails_for_a_row_fails_no_truncate_of_a_partition(database: str) -> None:
    mapping = replace(ORDERS, columns=(("id", "o.id"), ("p", "100 / o.a"), ("note", "o.note")))
    with connect(database, application_name="application") as conn:
        conn.execute(PARTED)
        switch_on(conn, Direction.BOTH, mapping)
        conn.execute("INSERT INTO orders VALUES (1, 100, 'good'), (2, 0, 'fails'), (15, 50, 'elsewhere')")
        assert ids(conn, "orders_v2") == [1, 15]
        conn.execute("TRUNCATE v2_1")
        assert (ids(conn, "orders"), ids(conn, "orders_v2")) == ([2, 15], [15])
