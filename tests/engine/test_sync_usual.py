"""The usual write is carried by the row trigger alone; whatever is not usual still ends as the general functions say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

import psycopg
import pytest

from console.journal.connect import Conn, connect
from console.plan.model import Direction, Lookup, Mapping, Refusal, TableName, Triggers
from tests.engine.scene import MAPPING, a_database, switch_on

AT = "2026-02-01 10:00:00+00"
GENERAL = ("touch_old", "forward", "backward")  # the functions of sync_rows


def _calls(conn: Conn) -> Counter[str]:
    rows = conn.execute(
        "SELECT funcname, calls FROM pg_stat_xact_user_functions WHERE schemaname = 'pgferry'"
    ).fetchall()  # counts since they were last sent away, which is not in the middle of a transaction
    return Counter({name.split("_", 1)[1]: calls for name, calls in rows})


def general(conn: Conn, statement: str) -> set[str]:
    """Run the statement; which of the general functions it called."""
    with conn.transaction():
        conn.execute("SET LOCAL track_functions = 'all'")
        before = _calls(conn)
        conn.execute(statement)
        called = set(_calls(conn) - before)
    assert any(name.startswith(("forward_", "reverse_")) for name in called), "the trigger was seen at all"
    return called & set(GENERAL)


@pytest.fixture
def conn(database: str) -> Iterator[Conn]:
    with a_database(database) as conn:
        yield conn


def test_usual_writes_are_carried_by_the_trigger_alone(conn: Conn) -> None:
    switch_on(conn, Direction.FORWARD)
    assert not general(
        conn, f"INSERT INTO sales VALUES ('{AT}', 'S1', 'item1', 1, 'a'), ('{AT}', 'S2', 'item2', 2, 'b')"
    )
    assert not general(conn, "UPDATE sales SET note = 'c', amount = 3 WHERE shop = 'S1'")
    assert not general(conn, f"INSERT INTO sales VALUES ('{AT}', 'S1', 'item1', 7, 'd') ON CONFLICT (at, shop, item)"
                             " DO UPDATE SET amount = excluded.amount")  # fmt: skip
    assert conn.execute("SELECT good_id, amount::int, note FROM sales_v2 ORDER BY 1").fetchall() == [
        (1, 7, "c"), (2, 2, "b"),
    ]  # fmt: skip


def test_a_key_that_a_row_leaves_is_carried_by_the_trigger_alone(conn: Conn) -> None:
    switch_on(conn, Direction.BOTH)
    conn.execute(f"INSERT INTO sales VALUES ('{AT}', 'S1', 'item1', 1, 'a'), ('{AT}', 'S2', 'item2', 2, 'b')")
    assert not general(conn, "UPDATE sales SET at = at + interval '1 h' WHERE shop = 'S1'")
    assert not general(conn, "UPDATE sales SET shop = 'S0', item = 'item3' WHERE shop = 'S2'")
    assert conn.execute("SELECT good_id, note FROM sales_v2 ORDER BY 1").fetchall() == [(1, "a"), (3, "b")]
    assert not general(conn, "DELETE FROM sales WHERE shop = 'S1'")
    assert conn.execute("SELECT good_id FROM sales_v2").fetchall() == [(3,)]
    assert conn.execute("SELECT count(*) FROM pgferry.tombstone").fetchone() == (3,), "for a copy that is under way"
    assert not general(conn, "UPDATE sales_v2 SET good_id = 4")
    assert conn.execute("SELECT shop, item, note FROM sales").fetchall() == [("S1", "item4", "b")]
    assert not general(conn, "DELETE FROM sales_v2")
    assert conn.execute("SELECT count(*) FROM sales").fetchone() == (0,)


def test_statements_of_few_rows_are_carried_by_their_trigger_alone(conn: Conn) -> None:
    switch_on(conn, Direction.BOTH, replace(MAPPING, triggers=Triggers.STATEMENT))
    two = f"('{AT}', 'S1', 'item1', 1, 'a'), ('{AT}', 'S2', 'item2', 2, 'b')"
    assert not general(conn, f"INSERT INTO sales VALUES {two}")
    assert not general(conn, "UPDATE sales SET note = note || 'x'")
    assert not general(
        conn, "UPDATE sales SET shop = 'S1', item = CASE item WHEN 'item1' THEN 'item4' ELSE 'item7' END"
    )
    held = conn.execute("SELECT good_id, note FROM sales_v2 ORDER BY 1").fetchall()
    assert held == [(4, "ax"), (7, "bx")]
    assert not general(conn, "UPDATE sales_v2 SET good_id = good_id + 12, amount = 5")
    assert not general(conn, f"INSERT INTO sales_v2 VALUES ('{AT}', 1, 1, 'c')")
    assert not general(conn, "DELETE FROM sales_v2 WHERE good_id = 16")
    assert conn.execute("SELECT item, amount::int, note FROM sales ORDER BY 1").fetchall() == [
        ("item1", 1, "c"), ("item19", 5, "bx"),
    ]  # fmt: skip
    assert not general(conn, "DELETE FROM sales")
    assert conn.execute("SELECT count(*) FROM sales_v2").fetchone() == (0,)


def test_a_key_that_is_left_where_something_else_stands_goes_to_the_general_functions(conn: Conn) -> None:
    switch_on(conn, Direction.BOTH)
    conn.execute(
        f"INSERT INTO sales VALUES ('{AT}', 's0', 'item3', 1, 'alias'), ('{AT}', 'S0', 'item3', 2, 'canonical')"
    )
    assert general(conn, "DELETE FROM sales WHERE shop = 'S0'"), "the other spelling takes its place"
    assert conn.execute("SELECT note FROM sales_v2").fetchall() == [("alias",)]
    assert conn.execute("SELECT count(*) FROM pgferry.reject").fetchone() == (0,)
    assert general(conn, "UPDATE sales SET shop = 'S0'"), "it keeps its new key"
    assert general(conn, "UPDATE sales SET item = 'unknown'"), "it is refused now"
    assert conn.execute("SELECT count(*) FROM sales_v2").fetchone() == (0,)
    assert conn.execute("SELECT count(*) FROM sales").fetchone() == (1,)
    assert general(conn, "DELETE FROM sales"), "its reject must go"
    assert conn.execute("SELECT count(*) FROM pgferry.reject").fetchone() == (0,)
    conn.execute(
        f"INSERT INTO sales SELECT '{AT}'::timestamptz + i * interval '1 s', 'S1', 'item1', i, i FROM generate_series(3, 1, -1) i"
    )
    conn.execute("UPDATE sales SET at = at + interval '1 s'")
    assert conn.execute("SELECT note FROM sales_v2 ORDER BY at").fetchall() == [("1",), ("2",), ("3",)]
    conn.execute("UPDATE sales_v2 SET at = at + interval '1 h'")
    assert conn.execute("SELECT note FROM sales ORDER BY at").fetchall() == [("1",), ("2",), ("3",)]


def test_the_echo_of_a_usual_write_ends_in_the_trigger(conn: Conn) -> None:
    switch_on(conn, Direction.BOTH)
    assert not general(conn, f"INSERT INTO sales VALUES ('{AT}', 'S1', 'item1', 1, 'a')")
    assert not general(conn, "UPDATE sales SET note = 'b'")
    assert conn.execute("SELECT item, note FROM sales").fetchall() == [("item1", "b")]


def test_usual_writes_of_the_new_table_are_carried_back_by_the_trigger_alone(conn: Conn) -> None:
    switch_on(conn, Direction.BOTH)
    assert not general(conn, f"INSERT INTO sales_v2 VALUES ('{AT}', 1, 1, 'a'), ('{AT}', 2, 1, 'b')")
    assert not general(conn, "UPDATE sales_v2 SET note = 'c' WHERE good_id = 1")
    assert conn.execute("SELECT shop, item, note FROM sales ORDER BY 2").fetchall() == [
        ("S1", "item1", "c"), ("S2", "item2", "b"),
    ]  # fmt: skip
    before = conn.execute("SELECT ctid, xmin FROM sales").fetchall()
    assert not general(conn, "UPDATE sales_v2 SET note = note")
    assert conn.execute("SELECT ctid, xmin FROM sales").fetchall() == before, "nothing changed: not written"


def test_an_old_spelling_and_a_second_one_are_kept_by_a_write_of_the_new_table(conn: Conn) -> None:
    switch_on(conn, Direction.BOTH)
    conn.execute(f"INSERT INTO sales VALUES ('{AT}', 's0', 'item3', 1, 'alias')")
    assert not general(conn, "UPDATE sales_v2 SET note = 'x'")
    assert conn.execute("SELECT shop, note FROM sales").fetchall() == [("s0", "x")], "it keeps its spelling"
    conn.execute(f"INSERT INTO sales VALUES ('{AT}', 'S0', 'item3', 1, 'canonical')")
    assert general(conn, "UPDATE sales_v2 SET note = 'y'"), "two old rows may stand for it"
    assert dict(conn.execute("SELECT shop, note FROM sales").fetchall()) == {"s0": "x", "S0": "y"}


def test_what_the_old_table_cannot_take_as_usual_goes_to_the_general_functions(conn: Conn) -> None:
    switch_on(conn, Direction.BOTH)
    assert general(conn, f"INSERT INTO sales_v2 VALUES ('{AT}', 999, 1, 'no such good')")
    assert general(conn, f"INSERT INTO sales_v2 VALUES ('{AT}', 1, -1, 'not positive')")
    assert general(conn, f"INSERT INTO sales_v2 VALUES ('{AT}', 31, 1, 'several')") == set(), (
        "one canonical row leads back"
    )
    reasons = conn.execute("SELECT reason FROM pgferry.reject WHERE direction = 'reverse' ORDER BY 1").fetchall()
    assert reasons == [
        ("constraint sales_amount_check of sales",), ("no canonical row in goods_names leads back",),
    ]  # fmt: skip
    assert general(conn, "UPDATE sales_v2 SET amount = 7 WHERE good_id = 1"), "its reject must go"
    assert conn.execute("SELECT count(*) FROM pgferry.reject").fetchone() == (1,)
    assert not general(conn, "UPDATE sales_v2 SET amount = 8 WHERE good_id = 1")
    assert general(conn, "UPDATE sales_v2 SET amount = -8 WHERE good_id = 1")
    assert not general(conn, "UPDATE sales_v2 SET good_id = 2 WHERE good_id = 31"), "a key change"
    assert not general(conn, "DELETE FROM sales_v2 WHERE good_id = 2")
    assert conn.execute("SELECT item, amount::int FROM sales").fetchall() == [("item1", 8)], (
        "as it was before it was bad"
    )


def test_an_old_row_that_was_refused_is_no_row_to_update(conn: Conn) -> None:
    """An old row that the new shape refuses stands for nothing; whoever writes that key in the new table replaces it."""
    switch_on(conn, Direction.BOTH)
    conn.execute(f"INSERT INTO sales VALUES ('{AT}', 'S1', 'item1', 2000000, 'too much')")
    assert general(conn, f"INSERT INTO sales_v2 VALUES ('{AT}', 1, 5, 'new')")
    assert conn.execute("SELECT amount::int, note FROM sales").fetchall() == [(5, "new")]
    assert conn.execute("SELECT count(*) FROM pgferry.reject").fetchone() == (0,)


def test_an_update_that_changes_nothing_of_the_new_row_does_not_write_it(conn: Conn) -> None:
    conn.execute("ALTER TABLE sales ADD unmapped text")
    switch_on(conn, Direction.BOTH)
    conn.execute(f"INSERT INTO sales VALUES ('{AT}', 'S1', 'item1', 1, 'a')")
    before = conn.execute("SELECT ctid, xmin FROM sales_v2").fetchall()
    assert not general(conn, "UPDATE sales SET unmapped = 'x'")
    assert not general(conn, "UPDATE sales SET note = note")
    assert conn.execute("SELECT ctid, xmin FROM sales_v2").fetchall() == before


def test_a_write_under_a_trigger_is_carried(conn: Conn) -> None:
    """A write of the application's own trigger is no echo: what it changed is carried."""
    conn.execute(
        "CREATE TABLE orders (note text);"
        "CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN UPDATE sales SET note = NEW.note; RETURN NULL; END $$;"
        "CREATE TRIGGER stamp AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION stamp()"
    )
    switch_on(conn, Direction.BOTH)
    conn.execute(f"INSERT INTO sales VALUES ('{AT}', 'S1', 'item1', 1, 'a')")
    conn.execute("INSERT INTO orders VALUES ('from afar')")
    assert conn.execute("SELECT note FROM sales_v2").fetchall() == [("from afar",)]


@pytest.mark.parametrize("direction", [Direction.FORWARD, Direction.BOTH])
@pytest.mark.parametrize("first", ["s0", "S0"])
def test_two_spellings_in_one_statement(conn: Conn, direction: Direction, first: str) -> None:
    """Both rows are there before either is carried; nothing of one may reach the other by way of the new table."""
    switch_on(conn, direction)
    second = "S0" if first == "s0" else "s0"
    rows = ", ".join(f"('{AT}', '{shop}', 'item3', 1, 'of {shop}')" for shop in (first, second))
    conn.execute(f"INSERT INTO sales VALUES {rows}")
    assert conn.execute("SELECT note FROM sales_v2").fetchall() == [("of S0",)]
    assert dict(conn.execute("SELECT shop, note FROM sales").fetchall()) == {"s0": "of s0", "S0": "of S0"}
    conn.execute("UPDATE sales SET note = note || ' again'")
    assert conn.execute("SELECT note FROM sales_v2").fetchall() == [("of S0 again",)]
    assert dict(conn.execute("SELECT shop, note FROM sales").fetchall()) == {"s0": "of s0 again", "S0": "of S0 again"}
    assert conn.execute("SELECT key->>'shop' FROM pgferry.reject").fetchall() == [("s0",)]


def test_a_row_that_its_own_trigger_changes_again(conn: Conn) -> None:
    """NEW is not what the table holds in the end: what counts is what is read."""
    conn.execute(
        "CREATE FUNCTION again() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.note NOT LIKE '%!' THEN"
        " UPDATE sales SET note = note || '!' WHERE at = NEW.at; END IF; RETURN NULL; END $$;"
        "CREATE TRIGGER again AFTER INSERT OR UPDATE ON sales FOR EACH ROW EXECUTE FUNCTION again()"
    )
    switch_on(conn, Direction.BOTH)
    conn.execute(f"INSERT INTO sales VALUES ('{AT}', 'S1', 'item1', 1, 'a')")
    assert conn.execute("SELECT note FROM sales UNION SELECT note FROM sales_v2").fetchall() == [("a!",)]
    conn.execute("UPDATE sales SET note = 'b'")
    assert conn.execute("SELECT note FROM sales UNION SELECT note FROM sales_v2").fetchall() == [("b!",)]


def test_a_new_row_that_its_table_alters_is_carried_back(conn: Conn) -> None:
    """The echo of an altered value is none: the old row follows, as it always did."""
    conn.execute(
        "CREATE FUNCTION loud() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN NEW.note := upper(NEW.note); RETURN NEW; END $$;"
        "CREATE TRIGGER loud BEFORE INSERT OR UPDATE ON sales_v2 FOR EACH ROW EXECUTE FUNCTION loud()"
    )
    switch_on(conn, Direction.BOTH)
    conn.execute(f"INSERT INTO sales VALUES ('{AT}', 'S1', 'item1', 1, 'a')")
    assert conn.execute("SELECT note FROM sales UNION ALL SELECT note FROM sales_v2").fetchall() == [("A",), ("A",)]
    conn.execute("UPDATE sales SET note = 'b'")
    assert conn.execute("SELECT note FROM sales UNION ALL SELECT note FROM sales_v2").fetchall() == [("B",), ("B",)]


def test_a_reject_that_stands_is_taken_away(conn: Conn) -> None:
    """Even one that should not stand there any more: the reverse direction would take the row for one it must keep."""
    switch_on(conn, Direction.BOTH)
    conn.execute(f"INSERT INTO sales VALUES ('{AT}', 'S1', 'item1', 1, 'a')")
    for direction, key in (
        ("forward", f'{{"at": "{AT}", "shop": "S1", "item": "item1"}}'),
        ("reverse", f'{{"at": "{AT}", "good_id": "1"}}'),
    ):
        conn.execute(
            "INSERT INTO pgferry.reject (mapping, direction, key, row_data, sqlstate, reason)"
            " VALUES ('sales', %s, %s, '{}', 'P0001', 'was bad')",
            (direction, key),
        )
    conn.execute("UPDATE sales SET note = 'b'")
    assert conn.execute("SELECT count(*) FROM pgferry.reject").fetchone() == (0,)


@dataclass(frozen=True)
class Unusual:
    """A class of expressions or targets that can fail where a plain column cannot: row 2 is written with ``bad``."""

    id: str
    new: str
    columns: dict[str, str]
    bad: str
    reason: str
    refuse: str = ""


UNUSUAL = (
    Unusual("expression", "p integer", {"p": "100 / o.a"}, "0, 'x'", "division by zero"),
    Unusual("the plan's function", "p integer", {"p": "strict_half(o.a)"}, "7, 'x'", "odd"),
    Unusual("cast of the author", "p integer", {"p": "o.t::integer"}, "4, 'x'", 'invalid input syntax for type integer: "x"'),
    Unusual("cast to the column", "p smallint", {"p": "o.a"}, "40000, '4'", "p is out of range for smallint"),
    Unusual("domain", "p mild", {"p": "o.a"}, "3, '4'", "p: constraint mild_check of its domain"),
    Unusual("CHECK that fails", "p integer CHECK (strict_half(p) > 0)", {"p": "o.a"}, "7, '4'", "odd"),
    Unusual("refusal that fails", "p integer", {"p": "o.a"}, "0, '4'", "division by zero", "1 / o.a > 5"),
    Unusual("not null", "p integer NOT NULL", {"p": "o.a"}, "NULL, '4'", "p must not be null"),
    Unusual("foreign key", "p integer REFERENCES parents", {"p": "o.a"}, "9, '4'", "p: no such row in parents"),
    Unusual("second unique key", "p integer, q text UNIQUE", {"p": "o.a", "q": "o.t"}, "4, '2'",
            'duplicate key value violates unique constraint "orders_v2_q_key"'),
    Unusual("generated column", "p integer, q integer GENERATED ALWAYS AS (1 / p) STORED", {"p": "o.a"}, "0, '4'",
            "division by zero"),
)  # fmt: skip


def test_what_can_fail_is_evaluated_safely_and_still_usual_where_it_does_not(database: str) -> None:
    with connect(database, application_name="application") as conn:
        conn.execute(
            "CREATE TABLE parents (id integer PRIMARY KEY); INSERT INTO parents VALUES (2), (4);"
            "CREATE DOMAIN mild AS integer CHECK (VALUE <> 3);"
            "CREATE FUNCTION strict_half(n integer) RETURNS integer LANGUAGE plpgsql IMMUTABLE AS"
            " $$ BEGIN IF n % 2 <> 0 THEN RAISE 'odd'; END IF; RETURN n / 2; END $$"
        )
        for case in UNUSUAL:
            mapping = Mapping(
                id="orders", old=TableName("public", "orders"), new=TableName("public", "orders_v2"),
                old_key=("id",), new_key=("id",), columns=(("id", "o.id"), *case.columns.items()), back=(("id", "n.id"),),
                refuse=(Refusal(case.refuse, "refused"),) if case.refuse else (),
            )  # fmt: skip
            conn.execute(
                "DROP TABLE IF EXISTS orders, orders_v2;"
                "CREATE TABLE orders (id integer PRIMARY KEY, a integer, t text);"
                f"CREATE TABLE orders_v2 (id integer PRIMARY KEY, {case.new})"
            )
            switch_on(conn, Direction.FORWARD, mapping)
            holds(conn, case)
            conn.execute("DELETE FROM orders")
            assert conn.execute("SELECT count(*) FROM pgferry.reject").fetchone() == (0,), case.id


def holds(conn: Conn, case: Unusual) -> None:
    """Good writes are usual ones, a bad one is listed with its reason; the new table holds the good row alone."""

    def refused() -> None:
        assert conn.execute("SELECT reason FROM pgferry.reject").fetchall() == [(case.reason,)], case.id
        assert conn.execute("SELECT id FROM orders_v2").fetchall() == [(1,)], case.id

    a, t = case.bad.split(", ")
    assert not general(conn, "INSERT INTO orders VALUES (1, 2, '2')"), case.id
    assert not general(conn, "UPDATE orders SET a = 4, t = '2' WHERE id = 1"), case.id
    assert general(conn, f"INSERT INTO orders VALUES (2, {a}, {t})"), case.id
    refused()
    assert general(conn, "UPDATE orders SET a = 4, t = '4' WHERE id = 2"), case.id
    assert conn.execute("SELECT count(*) FROM pgferry.reject").fetchone() == (0,), case.id
    assert general(conn, f"UPDATE orders SET a = {a}, t = {t} WHERE id = 2"), case.id
    refused()


def test_the_gate_is_called_once_a_transaction(conn: Conn) -> None:
    """Neither a later statement nor the sync's own writes call it: the condition of its trigger tells them."""
    switch_on(conn, Direction.BOTH)
    with conn.transaction():
        conn.execute("SET LOCAL track_functions = 'all'")
        before = _calls(conn)
        conn.execute(f"INSERT INTO sales VALUES ('{AT}', 'S1', 'item1', 1, 'a')")
        conn.execute("UPDATE sales SET note = 'b'")
        conn.execute("UPDATE sales_v2 SET note = 'c'")
        called = _calls(conn) - before
    assert (called["old_gate"], called["new_gate"]) == (1, 0)
    assert called["forward_row"] == 3, "all three writes reached the old table's trigger"


def test_many_usual_rows_take_one_transaction_id(conn: Conn) -> None:
    """The block round the reading writes nothing; one round the write would take an id for each row."""
    switch_on(conn, Direction.BOTH)

    def counter() -> int:
        row = conn.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint").fetchone()
        assert row is not None
        return int(row[0])

    before = counter()
    conn.execute(
        f"INSERT INTO sales SELECT '{AT}'::timestamptz + i * interval '1 s', 'S1', 'item1', 1, '' FROM generate_series(1, 500) i"
    )
    conn.execute("UPDATE sales SET note = 'x'")
    assert counter() - before <= 4
    assert conn.execute("SELECT count(*) FROM sales_v2 WHERE note = 'x'").fetchone() == (500,)


def test_a_value_that_resolves_to_several_by_one_of_two_lookups(database: str) -> None:
    """The reading comes back with several rows, of which each alone would be good."""
    mapping = replace(
        MAPPING, id="pairs", new=TableName("public", "pairs"), refuse=(),
        columns=(("at", "o.at"), ("good_id", "g.good_id"), ("rank", "r.rank")),
        back=(("at", "n.at"), ("shop", "g.shop"), ("item", "g.item")),
        lookups=(*MAPPING.lookups, Lookup("r", TableName("public", "ranks"), (("item", "item"),), "rank", "yes")),
    )  # fmt: skip
    with a_database(database) as conn:
        conn.execute(
            "CREATE TABLE ranks (item text, rank integer, yes boolean);"
            "INSERT INTO ranks VALUES ('item1', 5, true), ('item2', 6, true), ('item2', 6, true);"
            "CREATE TABLE pairs (at timestamptz, good_id integer, rank integer, PRIMARY KEY (at, good_id))"
        )
        switch_on(conn, Direction.FORWARD, mapping)
        conn.execute(f"INSERT INTO sales VALUES ('{AT}', 'S1', 'item1', 1, ''), ('{AT}', 'S2', 'item2', 1, '')")
        assert conn.execute("SELECT good_id, rank FROM pairs").fetchall() == [(1, 5)]
        assert conn.execute("SELECT reason FROM pgferry.reject").fetchall() == [("item: several match in ranks",)]


def test_a_deadlock_in_the_reading_is_the_applications_to_retry(database: str, conn: Conn) -> None:
    """Only what evaluating can raise is caught: a lock that is not got fails the write, as it did."""
    switch_on(conn, Direction.FORWARD)
    conn.execute(f"INSERT INTO sales VALUES ('{AT}', 'S1', 'item1', 1, 'a')")
    with psycopg.connect(database) as other:
        other.execute("SELECT 1 FROM sales_v2 FOR UPDATE")
        conn.execute("SET lock_timeout = '50ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            conn.execute("UPDATE sales SET note = 'b'")
    assert conn.execute("SELECT note FROM sales").fetchall() == [("a",)]
