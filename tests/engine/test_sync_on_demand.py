"""Lookup rows made on demand: what a new value brings, and that two writers of new values never deadlock."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest

from console.journal.connect import Conn
from console.plan.model import Direction, Missing
from tests.engine.scene import MAPPING, a_database, switch_on
from tests.engine.test_sync_races import wait_for

AT = "2026-02-01 10:00:00+00"
CREATING = replace(
    MAPPING,
    lookups=(replace(MAPPING.lookups[0], missing=Missing.CREATE, create="a_good(o.shop, o.item)"),),
)


@pytest.fixture
def conn(database: str) -> Iterator[Conn]:
    with a_database(database) as conn:
        conn.execute(
            "CREATE SEQUENCE goods_id START 1000; CREATE UNIQUE INDEX ON goods (shop, item);"
            "CREATE FUNCTION a_good(s text, i text) RETURNS void LANGUAGE sql AS"
            " $$ INSERT INTO goods SELECT nextval('goods_id'), s, i WHERE i <> 'never' $$"
        )
        switch_on(conn, Direction.BOTH, CREATING)
        yield conn


def test_a_new_value_makes_its_row_once(conn: Conn) -> None:
    conn.execute("INSERT INTO sales VALUES (%s, 'S1', 'brand', 1, 'a'), (%s, 'S1', 'other', 1, 'b')", (AT, AT))
    conn.execute("UPDATE sales SET amount = 2")
    conn.execute("INSERT INTO sales VALUES ('2026-03-01Z', 'S1', 'brand', 1, 'c')")
    assert conn.execute("SELECT good_id, note FROM sales_v2 ORDER BY note").fetchall() == [
        (1000, "a"), (1001, "b"), (1000, "c"),
    ]  # fmt: skip
    assert conn.execute("SELECT * FROM pgferry.reject").fetchall() == []


def test_a_writer_that_is_rolled_back_leaves_no_row(conn: Conn) -> None:
    with conn.transaction(force_rollback=True):
        conn.execute("INSERT INTO sales VALUES (%s, 'S1', 'brand', 1, 'a')", (AT,))
    assert conn.execute("SELECT count(*) FROM goods WHERE item = 'brand'").fetchone() == (0,)


def test_what_cannot_be_made_is_rejected(conn: Conn) -> None:
    conn.execute("INSERT INTO sales VALUES (%s, 'S9', 'never', 1, 'a')", (AT,))
    assert conn.execute("SELECT sqlstate, reason FROM pgferry.reject").fetchall() == [
        ("P0002", "shop, item: nothing matches in goods_names")
    ]
    conn.execute("DROP FUNCTION a_good")
    conn.execute("INSERT INTO sales VALUES (%s, 'S1', 'brand', 1, 'b')", (AT,))
    assert conn.execute("SELECT count(*) FROM pgferry.reject").fetchone() == (2,)
    [(reason,)] = conn.execute("SELECT reason FROM pgferry.recheck").fetchall()
    assert reason.startswith("no row could be made in goods_names: function a_good")


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read"])
def test_two_writers_of_new_values_in_opposite_orders_both_commit(database: str, conn: Conn, isolation: str) -> None:
    errors: list[BaseException] = []

    def write(mine: psycopg.Connection[tuple[object, ...]], item: str) -> None:
        try:
            mine.execute("INSERT INTO sales VALUES (clock_timestamp(), 'S1', %s, 1, %s)", (item, item))
        except BaseException as error:
            errors.append(error)

    with psycopg.connect(database) as one, psycopg.connect(database) as two:
        for mine in (one, two):
            mine.execute(f"SET default_transaction_isolation = '{isolation}'")
            mine.commit()
            mine.execute("SELECT 1")
        write(one, "first")
        threads = []
        for mine, item in ((two, "second"), (one, "second"), (two, "first")):
            threads.append(threading.Thread(target=write, args=(mine, item)))
            threads[-1].start()
            wait_for(conn, threads[-1], mine.info.backend_pid)
            if mine is one:
                threads[-1].join(20)
                one.commit()
        for thread in threads:
            thread.join(20)
        two.commit()
    assert errors == []
    assert conn.execute("SELECT count(*) FROM sales").fetchone() == (4,), "no application's write failed"
    made = conn.execute("SELECT item, count(*) FROM goods WHERE id >= 1000 GROUP BY 1 ORDER BY 1").fetchall()
    assert made == [("first", 1), ("second", 1)]
    noted = conn.execute("SELECT count(*) FROM pgferry.recheck WHERE reason LIKE 'no row could%'").fetchone()
    carried = conn.execute("SELECT count(*) FROM sales_v2").fetchone()
    rejected = conn.execute("SELECT count(*) FROM pgferry.reject").fetchone()
    assert noted is not None
    assert carried is not None
    assert rejected is not None
    assert carried[0] + rejected[0] == 4
    assert rejected[0] <= noted[0], "who did not wait is noted for a second look"
