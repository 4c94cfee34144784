"""Dual writes: what the application wrote is what both tables hold, whichever side it wrote to."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest

from console.engine import sync, sync_sets
from console.engine.facts import mapping_facts
from console.journal.connect import Conn
from console.plan.model import Direction, Triggers
from tests.engine.scene import MAPPING, a_database, switch_on

AT = "2026-02-01 10:00:00+00"


@pytest.fixture(
    params=[(Triggers.ROW, 0), (Triggers.STATEMENT, 0), (Triggers.STATEMENT, 32)], ids=["row", "set", "few"]
)
def conn(database: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Conn]:
    monkeypatch.setattr(sync_sets, "FEW", request.param[1])  # 0: statement triggers carry even one row as a set
    mapping = replace(MAPPING, triggers=request.param[0])
    with a_database(database) as conn:
        switch_on(conn, Direction.FORWARD, mapping)
        switch_on(conn, Direction.REVERSE, mapping)
        conn.execute("SET timezone = 'Asia/Tokyo'")  # keys must not depend on the writer's settings
        yield conn


def old(conn: Conn) -> list[tuple[object, ...]]:
    return conn.execute("SELECT shop, item, amount::float, note FROM sales ORDER BY at, shop, item").fetchall()


def new(conn: Conn) -> list[tuple[object, ...]]:
    return conn.execute("SELECT good_id, amount::float, note FROM sales_v2 ORDER BY at, good_id").fetchall()


def rejects(conn: Conn) -> list[tuple[str, str, str]]:
    return conn.execute(
        "SELECT direction, coalesce(key->>'shop', key->>'good_id'), reason FROM pgferry.reject ORDER BY 1, 2"
    ).fetchall()


def test_every_kind_of_write_to_the_old_table_is_carried(conn: Conn) -> None:
    conn.execute("INSERT INTO sales VALUES (%s, 'S1', 'item1', 10, 'a'), (%s, 'S2', 'item2', 20, 'b')", (AT, AT))
    with conn.cursor().copy("COPY sales FROM STDIN") as copy:
        copy.write(f"{AT}\tS0\titem3\t30\tc\n")
    assert new(conn) == [(1, 10.0, "a"), (2, 20.0, "b"), (3, 30.0, "c")]
    conn.execute(
        "INSERT INTO sales VALUES (%s, 'S1', 'item1', 11, 'x') ON CONFLICT (at, shop, item)"
        " DO UPDATE SET amount = excluded.amount",
        (AT,),
    )
    conn.execute("UPDATE sales SET shop = 'S1', item = 'item4' WHERE item = 'item3'")
    conn.execute("DELETE FROM sales WHERE item = 'item2'")
    conn.execute(
        "MERGE INTO sales s USING (VALUES ('item1')) v(item) ON s.item = v.item WHEN MATCHED THEN UPDATE SET note = 'm'"
    )
    assert new(conn) == [(1, 11.0, "m"), (4, 30.0, "c")]
    assert old(conn) == [("S1", "item1", 11.0, "m"), ("S1", "item4", 30.0, "c")]
    conn.execute("TRUNCATE sales")
    assert new(conn) == old(conn) == []


def test_every_kind_of_write_to_the_new_table_is_carried_back(conn: Conn) -> None:
    conn.execute("INSERT INTO sales_v2 VALUES (%s, 1, 10, 'a'), (%s, 2, 20, 'b')", (AT, AT))
    assert old(conn) == [("S1", "item1", 10.0, "a"), ("S2", "item2", 20.0, "b")]
    conn.execute(
        "INSERT INTO sales_v2 VALUES (%s, 1, 11, 'x') ON CONFLICT (at, good_id) DO UPDATE SET amount = excluded.amount",
        (AT,),
    )
    conn.execute("UPDATE sales_v2 SET good_id = 4 WHERE good_id = 2")
    assert old(conn) == [("S1", "item1", 11.0, "a"), ("S1", "item4", 20.0, "b")]
    conn.execute("DELETE FROM sales_v2 WHERE good_id = 1")
    assert old(conn) == [("S1", "item4", 20.0, "b")]
    assert new(conn) == [(4, 20.0, "b")]
    conn.execute("TRUNCATE sales_v2")
    assert old(conn) == []


def test_a_row_the_new_shape_refuses_never_fails_the_write_and_is_reported(conn: Conn) -> None:
    conn.execute(
        "INSERT INTO sales VALUES (%(at)s, 'S9', 'item1', 1, 'unknown'), (%(at)s, 'S', 'twin', 1, 'x'),"
        " (%(at)s, 'S1', 'item1', 2000000, 'too much'), (%(at)s, 'q', 'q', 1, 'same')",
        {"at": AT},
    )
    assert new(conn) == []
    assert rejects(conn) == [
        ("forward", "S", "shop, item: several match in goods_names"),
        ("forward", "S1", "constraint sales_v2_amount_check of sales_v2"),
        ("forward", "S9", "shop, item: nothing matches in goods_names"),
        ("forward", "q", "shop equals item"),
    ]
    conn.execute("UPDATE sales SET amount = 5 WHERE shop = 'S1'")
    conn.execute("DELETE FROM sales WHERE shop IN ('q', 'S')")
    assert new(conn) == [(1, 5.0, "too much")]
    assert [row[1] for row in rejects(conn)] == ["S9"]


def test_a_good_row_that_turns_bad_leaves_the_new_table_but_stays_in_the_old(conn: Conn) -> None:
    conn.execute("INSERT INTO sales VALUES (%s, 'S1', 'item1', 1, 'a')", (AT,))
    conn.execute("UPDATE sales SET amount = 5000000")
    assert new(conn) == []
    assert old(conn) == [("S1", "item1", 5000000.0, "a")]
    assert len(rejects(conn)) == 1


def test_two_spellings_of_one_key_canonical_wins_and_the_other_is_rejected(conn: Conn) -> None:
    conn.execute("INSERT INTO sales VALUES (%s, 's0', 'item3', 1, 'alias')", (AT,))
    assert new(conn) == [(3, 1.0, "alias")]
    assert old(conn) == [("s0", "item3", 1.0, "alias")], "the old spelling is left as it was"
    conn.execute("UPDATE sales_v2 SET amount = 2")
    assert old(conn) == [("s0", "item3", 2.0, "alias")]
    conn.execute("INSERT INTO sales VALUES (%s, 'S0', 'item3', 3, 'canonical')", (AT,))
    assert new(conn) == [(3, 3.0, "canonical")]
    assert rejects(conn) == [("forward", "s0", "another old row already stands for this key")]
    conn.execute("DELETE FROM sales WHERE shop = 'S0'")
    assert new(conn) == [(3, 2.0, "alias")]
    assert rejects(conn) == []


def test_rows_the_old_shape_cannot_hold_are_reported(conn: Conn) -> None:
    conn.execute("INSERT INTO sales_v2 VALUES (%s, 999, 1, 'no such good')", (AT,))
    assert old(conn) == []
    assert rejects(conn) == [("reverse", "999", "no canonical row in goods_names leads back")]


def test_rolled_back_writes_leave_nothing(conn: Conn) -> None:
    with conn.transaction(force_rollback=True):
        conn.execute("INSERT INTO sales VALUES (%s, 'S1', 'item1', 1, 'a')", (AT,))
    with conn.transaction():
        with conn.transaction(force_rollback=True):
            conn.execute("INSERT INTO sales VALUES (%s, 'S9', 'item1', 1, 'a')", (AT,))
        conn.execute("INSERT INTO sales VALUES (%s, 'S2', 'item2', 1, 'kept')", (AT,))
    assert new(conn) == [(2, 1.0, "kept")]
    assert rejects(conn) == []


def test_an_application_without_rights_on_the_other_side_can_write(conn: Conn) -> None:
    conn.execute("CREATE ROLE clerk; GRANT INSERT, SELECT, UPDATE, DELETE ON sales TO clerk")
    conn.execute("SET ROLE clerk")
    try:
        conn.execute("INSERT INTO sales VALUES (%s, 'S1', 'item1', 1, 'a')", (AT,))
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute("SELECT * FROM sales_v2")
    finally:
        conn.execute("RESET ROLE; DROP OWNED BY clerk; DROP ROLE clerk")
    assert new(conn) == [(1, 1.0, "a")]


def test_writers_on_both_sides_with_keys_of_their_own_neither_deadlock_nor_differ(database: str, conn: Conn) -> None:
    errors: list[BaseException] = []

    def write(side: int) -> None:
        try:
            with psycopg.connect(database, autocommit=True) as mine:
                for i in range(150):
                    at = f"2026-03-0{side + 1} 00:00:00.{i % 40:06d}+00"
                    if side % 2:
                        mine.execute(
                            "INSERT INTO sales VALUES (%s, 'S1', 'item1', %s, 'o') ON CONFLICT (at, shop, item)"
                            " DO UPDATE SET amount = excluded.amount", (at, i + 1),
                        )  # fmt: skip
                    else:
                        mine.execute(
                            "INSERT INTO sales_v2 VALUES (%s, 1, %s, 'n') ON CONFLICT (at, good_id)"
                            " DO UPDATE SET amount = excluded.amount", (at, i + 1),
                        )  # fmt: skip
                    if i % 7 == 0:
                        mine.execute("DELETE FROM sales_v2 WHERE at = %s", (at,))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(side,)) for side in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    unequal = conn.execute(
        "SELECT count(*) FROM (SELECT at, amount, note FROM sales EXCEPT ALL SELECT at, amount, note FROM sales_v2) x"
    ).fetchone()
    assert unequal == (0,)
    expected: dict[str, int] = {}
    for i in range(150):
        expected[f"{i % 40:06d}"] = i + 1
        if i % 7 == 0:
            del expected[f"{i % 40:06d}"]
    held = conn.execute("SELECT to_char(at, 'US'), amount::int FROM sales WHERE at < '2026-03-02Z'").fetchall()
    assert dict(held) == expected, "what the application wrote last"


def test_a_statement_is_carried_at_once_and_row_by_row_only_after_an_error(database: str) -> None:
    mapping = replace(MAPPING, triggers=Triggers.STATEMENT)
    with a_database(database) as conn:
        conn.execute("CREATE TABLE calls (what text)")
        switch_on(conn, Direction.BOTH, mapping)
        conn.execute(
            "CREATE OR REPLACE FUNCTION pgferry.sales_backward(pgferry_k_0 timestamptz, pgferry_k_1 integer) RETURNS void"
            " LANGUAGE sql AS $$ INSERT INTO public.calls VALUES ('backward') $$"
        )
        conn.execute("INSERT INTO sales SELECT '2026-01-01Z'::timestamptz + i * interval '1 s', 'S1', 'item1', 1, i"
                     " FROM generate_series(1, 500) i")  # fmt: skip
        conn.execute("UPDATE sales SET at = at + interval '1 h', amount = 2")
        assert conn.execute("SELECT count(*), sum(amount)::int FROM sales_v2").fetchone() == (500, 1000)
        assert conn.execute("SELECT count(*) FROM calls").fetchone() == (0,), "the echo found everything equal"
        conn.execute("CREATE UNIQUE INDEX ON sales_v2 (note)")
        facts = mapping_facts(conn, mapping, "pgferry_archive")
        for way in Direction.BOTH.ways:
            for statement in sync.functions(mapping, facts, way, mapping.old):
                conn.execute(statement)
        conn.execute("UPDATE sales SET note = '7' WHERE note IN ('8', '9')")
        conn.execute("UPDATE sales SET amount = 3")
        assert conn.execute("SELECT sqlstate, count(*) FROM pgferry.reject GROUP BY 1").fetchall() == [("23505", 2)]
        assert conn.execute("SELECT count(*), sum(amount)::int FROM sales_v2").fetchone() == (498, 1494)
