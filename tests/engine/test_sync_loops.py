"""Where loop guards fail: triggers of the application that write rows of either side, or change what was carried."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from console.engine import sync_sets
from console.journal.connect import Conn, connect
from console.plan.model import Direction, Mapping, TableName, Triggers
from tests.engine.scene import switch_on

TABLES = """
CREATE TABLE orders (id integer PRIMARY KEY, a integer);
CREATE TABLE orders_v2 (id integer PRIMARY KEY, p integer CHECK (p < 1000));
CREATE TABLE elsewhere (id integer, a integer);
"""
_TRIGGER = """
CREATE FUNCTION app() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body}; RETURN NEW; END $$;
CREATE TRIGGER app {when} FOR EACH ROW EXECUTE FUNCTION app();
"""


@dataclass(frozen=True)
class Scene:
    """A trigger of the application, what is written, and what both tables must hold then."""

    when: str
    body: str
    write: str
    held: tuple[tuple[int, int], ...]


SCENES = {
    "another table's trigger writes the old": Scene(
        "AFTER INSERT ON elsewhere", "INSERT INTO orders VALUES (NEW.id, NEW.a)",
        "INSERT INTO elsewhere VALUES (1, 5), (2, 6)", ((1, 5), (2, 6)),
    ),
    "another table's trigger writes the new": Scene(
        "AFTER INSERT ON elsewhere", "INSERT INTO orders_v2 VALUES (NEW.id, NEW.a)",
        "INSERT INTO elsewhere VALUES (1, 5), (2, 6)", ((1, 5), (2, 6)),
    ),
    "another table's trigger takes from both": Scene(
        "AFTER INSERT ON elsewhere",
        "DELETE FROM orders WHERE id = NEW.id; UPDATE orders_v2 SET p = NEW.a WHERE id = NEW.id + 1",
        "INSERT INTO orders VALUES (1, 5), (2, 6); INSERT INTO elsewhere VALUES (1, 9)", ((2, 9),),
    ),
    "the old's trigger writes another row of it": Scene(
        "AFTER INSERT ON orders", "INSERT INTO orders SELECT NEW.id + 100, NEW.a WHERE NEW.id < 100",
        "INSERT INTO orders VALUES (1, 5); INSERT INTO orders_v2 VALUES (2, 6)", ((1, 5), (2, 6), (101, 5), (102, 6)),
    ),
    "the new's trigger writes another row of it": Scene(
        "AFTER INSERT ON orders_v2", "INSERT INTO orders_v2 SELECT NEW.id + 100, NEW.p WHERE NEW.id < 100",
        "INSERT INTO orders VALUES (1, 5); INSERT INTO orders_v2 VALUES (2, 6)", ((1, 5), (2, 6), (101, 5), (102, 6)),
    ),
    "a trigger changes what is carried": Scene(
        "BEFORE INSERT OR UPDATE ON orders_v2", "NEW.p := abs(NEW.p)",
        "INSERT INTO orders VALUES (1, -5); INSERT INTO orders_v2 VALUES (2, -6)", ((1, 5), (2, 6)),
    ),
    "a trigger changes the same row afterwards": Scene(
        "AFTER INSERT ON orders", "UPDATE orders SET a = a + 1 WHERE id = NEW.id",
        "INSERT INTO orders VALUES (1, 5); INSERT INTO orders VALUES (2, 6)", ((1, 6), (2, 7)),
    ),
    "a trigger of the new changes the same row afterwards": Scene(
        "AFTER INSERT ON orders_v2", "UPDATE orders_v2 SET p = p + 1 WHERE id = NEW.id",
        "INSERT INTO orders VALUES (1, 5); INSERT INTO orders_v2 VALUES (2, 6)", ((1, 6), (2, 7)),
    ),
    "both sides in one transaction": Scene(
        "AFTER INSERT ON elsewhere", "PERFORM 1",
        "BEGIN; INSERT INTO orders VALUES (1, 5); UPDATE orders_v2 SET p = 6 WHERE id = 1; UPDATE orders SET a = a + 1;"
        "DELETE FROM orders_v2 WHERE id = 9; INSERT INTO orders_v2 VALUES (2, 8); DELETE FROM orders WHERE id = 3; COMMIT",
        ((1, 7), (2, 8)),
    ),
    "a savepoint and an exception": Scene(
        "AFTER INSERT ON elsewhere", "PERFORM 1",
        "BEGIN; INSERT INTO orders VALUES (1, 5); SAVEPOINT s; DELETE FROM orders_v2; UPDATE orders SET a = 0;"
        "ROLLBACK TO s; INSERT INTO orders_v2 VALUES (2, 6); COMMIT;"
        "DO $$ BEGIN BEGIN UPDATE orders SET a = 1 / 0; EXCEPTION WHEN division_by_zero THEN NULL; END;"
        " UPDATE orders SET a = 9 WHERE id = 2; END $$",
        ((1, 5), (2, 9)),
    ),
    "one statement that writes both": Scene(
        "AFTER INSERT ON elsewhere", "PERFORM 1",
        "WITH x AS (INSERT INTO orders VALUES (1, 5) RETURNING id) INSERT INTO orders_v2 SELECT id + 1, 6 FROM x",
        ((1, 5), (2, 6)),
    ),
}  # fmt: skip


@pytest.fixture(
    params=[(Triggers.ROW, 0), (Triggers.STATEMENT, 0), (Triggers.STATEMENT, 32)], ids=["row", "set", "few"]
)
def conn(database: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Conn]:
    monkeypatch.setattr(sync_sets, "FEW", request.param[1])
    mapping = Mapping(
        id="orders", old=TableName("public", "orders"), new=TableName("public", "orders_v2"), old_key=("id",),
        new_key=("id",), columns=(("id", "o.id"), ("p", "o.a")), back=(("id", "n.id"), ("a", "n.p")),
        triggers=request.param[0],
    )  # fmt: skip
    with connect(database, application_name="application") as conn:
        conn.execute(TABLES)
        switch_on(conn, Direction.BOTH, mapping)
        yield conn


def both(conn: Conn) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    return (
        conn.execute("SELECT * FROM orders ORDER BY 1").fetchall(),
        conn.execute("SELECT * FROM orders_v2 ORDER BY 1").fetchall(),
    )


def test_triggers_of_the_application_make_no_loop_and_lose_no_write(conn: Conn) -> None:
    for name, scene in SCENES.items():
        conn.execute(_TRIGGER.format(when=scene.when, body=scene.body))
        conn.execute(scene.write)
        assert both(conn) == (list(scene.held), list(scene.held)), name
        conn.execute("DROP FUNCTION app CASCADE; TRUNCATE orders; TRUNCATE orders_v2; TRUNCATE elsewhere")
        assert both(conn) == ([], []), name
    assert conn.execute("SELECT * FROM pgferry.recheck").fetchall() == []
    assert conn.execute("SELECT * FROM pgferry.reject").fetchall() == []


def test_two_triggers_that_each_stamp_the_row_are_stopped_and_named(conn: Conn) -> None:
    conn.execute(
        "CREATE SEQUENCE stamps;"
        "CREATE FUNCTION stamp_a() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN NEW.a := nextval('public.stamps'); RETURN NEW; END $$;"
        "CREATE FUNCTION stamp_p() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN NEW.p := nextval('public.stamps'); RETURN NEW; END $$;"
        "CREATE TRIGGER stamp BEFORE INSERT OR UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION stamp_a();"
        "CREATE TRIGGER stamp BEFORE INSERT OR UPDATE ON orders_v2 FOR EACH ROW EXECUTE FUNCTION stamp_p()"
    )
    conn.execute("INSERT INTO orders VALUES (1, 0)")
    old, new = both(conn)
    assert [row[0] for row in old] == [row[0] for row in new] == [1], "the application's write went through"
    noted = conn.execute("SELECT DISTINCT reason FROM pgferry.recheck").fetchall()
    assert noted == [("triggers of both sides keep changing the row",)]
