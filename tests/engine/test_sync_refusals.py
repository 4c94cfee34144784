"""Rows the other shape refuses, and tables a sync would be wrong on: said with the reason, never an application's error."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import psycopg
import pytest

from console.engine import refusals, sync
from console.engine.facts import mapping_facts
from console.engine.sync_state import faults
from console.errors import PlanError, Refused
from console.journal.connect import Conn, connect
from console.plan.model import Direction, Lookup, Mapping, TableName, Triggers
from tests.engine.scene import switch_on

OLD, NEW = TableName("public", "orders"), TableName("public", "orders_v2")
TABLES = """
CREATE TABLE orders (id integer PRIMARY KEY, a integer, t text, s varchar(10));
CREATE TABLE parents (id integer PRIMARY KEY); INSERT INTO parents VALUES (1), (2);
CREATE TYPE state AS ENUM ('open', 'done');
CREATE DOMAIN mild AS integer CHECK (VALUE <> 3);
"""


@pytest.fixture
def conn(database: str) -> Iterator[Conn]:
    with connect(database, application_name="application") as conn:
        conn.execute(TABLES)
        yield conn


def orders(**columns: str) -> Mapping:
    """A mapping of orders with these new columns (and their expressions); the way back holds id alone."""
    return Mapping(
        id="orders", old=OLD, new=NEW, old_key=("id",), new_key=("id",),
        columns=(("id", "o.id"), *columns.items()), back=(("id", "n.id"),),
    )  # fmt: skip


def listed(conn: Conn, direction: str = "forward") -> list[tuple[str, str, str]]:
    return conn.execute(
        "SELECT key->>'id', sqlstate, reason FROM pgferry.reject WHERE direction = %s ORDER BY 1", (direction,)
    ).fetchall()


@dataclass(frozen=True)
class Refusal:
    """A new table that refuses old rows whose ``set`` holds, how that is said, and a change that makes them good."""

    id: str
    new: str
    columns: dict[str, str]
    set: str
    state: str
    reason: str
    good: str


REFUSALS = (
    Refusal("foreign key", "p integer REFERENCES parents", {"p": "o.a"}, "a = 9", "23503", "p: no such row in parents",
            "a = 1"),
    Refusal("foreign key that turns up", "p integer REFERENCES parents", {"p": "o.a"}, "a = 9", "23503",
            "p: no such row in parents", "a = 9; INSERT INTO parents VALUES (9); UPDATE orders SET t = 'again'"),
    Refusal("range", "p smallint", {"p": "o.a"}, "a = 40000", "22003", "p is out of range for smallint", "a = 4"),
    Refusal("numeric", "p numeric(4, 2)", {"p": "o.a"}, "a = 100", "22003", "p is out of range for numeric(4,2)", "a = 99"),
    Refusal("enum", "p state", {"p": "o.t"}, "t = 'lost'", "22P02", "p is not a value of public.state", "t = 'open'"),
    Refusal("domain", "p mild", {"p": "o.a"}, "a = 3", "23514", "p: constraint mild_check of its domain", "a = 4"),
    Refusal("length", "p varchar(3)", {"p": "o.t"}, "t = 'four'", "22001", "p is longer than 3 characters", "t = 'two'"),
    Refusal("not null", "p integer NOT NULL", {"p": "o.a"}, "a = NULL", "23502", "p must not be null", "a = 1"),
    Refusal("check", "p integer CONSTRAINT small CHECK (p < 10)", {"p": "o.a"}, "a = 10", "23514",
            "constraint small of orders_v2", "a = 9"),
    Refusal("expression", "p integer", {"p": "100 / o.a"}, "a = 0", "22012", "division by zero", "a = 1"),
    Refusal("cast of the author", "p integer", {"p": "o.t::integer"}, "t = 'x'", "22P02",
            'invalid input syntax for type integer: "x"', "t = '7'"),
    Refusal("second unique key", "p integer UNIQUE", {"p": "o.a"}, "a = 1", "23505",
            'duplicate key value violates unique constraint "orders_v2_p_key"', "a = 5"),
    Refusal("generated column", "p integer, q integer GENERATED ALWAYS AS (1 / p) STORED", {"p": "o.a"}, "a = 0", "22012",
            "division by zero", "a = 1"),
    Refusal("no partition", "p integer", {"p": "o.a"}, "id = 500, a = 2", "23514",
            'no partition of relation "orders_v2" found for row', "id = 2"),
    Refusal("trigger of the application", "p integer", {"p": "o.a"}, "a = 13", "P0001", "unlucky", "a = 12"),
)  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS, ids=[case.id for case in REFUSALS])
def test_a_row_the_new_shape_refuses_is_listed_and_the_write_goes_on(conn: Conn, case: Refusal) -> None:
    parted = case.id == "no partition"
    conn.execute(
        f"CREATE TABLE orders_v2 (id integer PRIMARY KEY, {case.new}) {'PARTITION BY RANGE (id)' if parted else ''}"
    )
    if parted:
        conn.execute("CREATE TABLE orders_p PARTITION OF orders_v2 FOR VALUES FROM (0) TO (100)")
    if case.id.startswith("trigger"):
        conn.execute(
            "CREATE FUNCTION unlucky() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN IF NEW.p = 13 THEN RAISE 'unlucky'; END IF; RETURN NEW; END $$;"
            "CREATE TRIGGER unlucky BEFORE INSERT OR UPDATE ON orders_v2 FOR EACH ROW EXECUTE FUNCTION unlucky()"
        )
    mapping = orders(**case.columns)
    switch_on(conn, Direction.BOTH, mapping)
    conn.execute("INSERT INTO orders VALUES (1, 1, '1', 'x'), (2, 2, '2', 'y')")
    if case.id == "enum":
        conn.execute("UPDATE orders SET t = 'done'")
    good = conn.execute("SELECT * FROM orders_v2 ORDER BY id").fetchall()
    assert [row[0] for row in good] == [1, 2]

    conn.execute(f"UPDATE orders SET {case.set} WHERE id = 2")
    moved = "500" if parted else "2"
    assert conn.execute("SELECT * FROM orders_v2").fetchall() == [good[0]], "the refused row is not in the new table"
    assert conn.execute("SELECT count(*) FROM orders").fetchone() == (2,), "nor has it left the old one"
    [(key, state, reason)] = listed(conn)
    assert (key, state) == (moved, case.state)
    assert reason == case.reason
    conn.execute(f"UPDATE orders SET {case.good.replace(';', f' WHERE id = {moved};', 1)}"
                 + ("" if ";" in case.good else f" WHERE id = {moved}"))  # fmt: skip
    assert listed(conn) == [], "the reject leaves when the row becomes good"
    assert conn.execute("SELECT count(*) FROM orders_v2").fetchone() == (2,)
    conn.execute(f"UPDATE orders SET {case.set} WHERE id = 2")
    conn.execute("DELETE FROM orders")
    assert listed(conn) == [], "or goes"
    assert conn.execute("SELECT count(*) FROM orders_v2").fetchone() == (0,)


def test_a_row_the_old_shape_refuses_is_listed_and_the_write_goes_on(conn: Conn) -> None:
    conn.execute(
        "ALTER TABLE orders ADD FOREIGN KEY (a) REFERENCES parents;"
        "CREATE TABLE orders_v2 (id integer PRIMARY KEY, p bigint, q text, r text)"
    )
    mapping = replace(
        orders(p="o.a", q="o.t", r="o.s"), back=(("id", "n.id"), ("a", "n.p"), ("t", "n.q || (1 / n.p)"), ("s", "n.r"))
    )
    switch_on(conn, Direction.BOTH, mapping)
    conn.execute("INSERT INTO orders_v2 VALUES (1, 1, 'x', 'y'), (2, 7, 'x', 'y'), (3, 3000000000, 'x', 'y')")
    conn.execute("INSERT INTO orders_v2 VALUES (4, 1, 'x', 'too long for ten'), (5, 0, 'x', 'y')")
    assert conn.execute("SELECT id, a, t, s FROM orders").fetchall() == [(1, 1, "x1", "y")]
    assert listed(conn, "reverse") == [
        ("2", "23503", "a: no such row in parents"),
        ("3", "22003", "a is out of range for integer"),
        ("4", "22001", "s is longer than 10 characters"),
        ("5", "22012", "division by zero"),
    ]
    conn.execute("UPDATE orders_v2 SET p = 2, r = 'y' WHERE id IN (2, 3)")
    conn.execute("DELETE FROM orders_v2 WHERE id IN (4, 5)")
    assert conn.execute("SELECT id FROM orders ORDER BY 1").fetchall() == [(1,), (2,), (3,)]
    assert listed(conn, "reverse") == []


def test_a_row_that_cannot_leave_the_other_table_is_noted(conn: Conn) -> None:
    conn.execute(
        "CREATE TABLE orders_v2 (id integer PRIMARY KEY, p integer); CREATE TABLE lines (id integer REFERENCES orders_v2)"
    )
    switch_on(conn, Direction.BOTH, orders(p="o.a"))
    conn.execute("INSERT INTO orders VALUES (1, 1), (2, 2)")
    conn.execute("INSERT INTO lines VALUES (1)")
    conn.execute("DELETE FROM orders")
    assert conn.execute("SELECT id FROM orders_v2").fetchall() == [(1,)]
    [(reason,)] = conn.execute("SELECT reason FROM pgferry.recheck").fetchall()
    assert reason.startswith("a row of orders_v2 cannot go: update or delete on table")


def test_one_bad_row_among_many_takes_no_transaction_id_for_each_row(conn: Conn) -> None:
    conn.execute("CREATE TABLE orders_v2 (id integer PRIMARY KEY, p integer)")
    switch_on(conn, Direction.BOTH, orders(p="100000 / (o.a - 777)"))

    def counter() -> int:
        row = conn.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint").fetchone()
        assert row is not None
        return int(row[0])

    before = counter()
    conn.execute("INSERT INTO orders (id, a) SELECT i, i FROM generate_series(1, 5000) i")
    assert counter() - before < 20
    assert listed(conn) == [("777", "22012", "division by zero")]
    assert conn.execute("SELECT count(*) FROM orders_v2").fetchone() == (4999,)


OBSTACLES = {
    "unlogged": ("ALTER TABLE orders_v2 SET UNLOGGED", "orders_v2 is UNLOGGED"),
    "children": ("CREATE TABLE heirs () INHERITS (orders)", "orders has inheritance children (heirs)"),
    "rules": ("CREATE RULE quiet AS ON DELETE TO orders DO INSTEAD NOTHING", "orders has rules (quiet)"),
    "deferred unique": (
        "ALTER TABLE orders_v2 ADD CONSTRAINT once UNIQUE (p) DEFERRABLE", "Constraint once of orders_v2 can be deferred",
    ),
    "deferred key of the old": (
        "ALTER TABLE orders ADD CONSTRAINT parent FOREIGN KEY (a) REFERENCES parents DEFERRABLE INITIALLY DEFERRED",
        "Constraint parent of orders is deferred",
    ),
    "deferred reference": (
        "CREATE TABLE lines (id integer CONSTRAINT line REFERENCES orders_v2 DEFERRABLE INITIALLY DEFERRED)",
        "Constraint line of lines is deferred",
    ),
    "unfilled": ("ALTER TABLE orders_v2 ADD need integer NOT NULL", "orders_v2.need must not be null, has no default"),
    "function in the replica role": (
        "CREATE FUNCTION load() RETURNS void LANGUAGE sql SET session_replication_role = replica AS 'SELECT'",
        "Function load() sets session_replication_role = replica",
    ),
    "function that takes the replica role": (
        "CREATE FUNCTION load() RETURNS void LANGUAGE plpgsql AS"
        " $$ BEGIN SET LOCAL session_replication_role TO 'replica'; END $$",
        "Function load() sets session_replication_role = replica",
    ),
    "deferred trigger": (
        "CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
        "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON orders_v2 DEFERRABLE INITIALLY DEFERRED FOR EACH ROW"
        " EXECUTE FUNCTION late()", "Constraint late of orders_v2 is deferred",
    ),
    "replica role": (
        "CREATE ROLE loader; ALTER ROLE loader SET session_replication_role = replica",
        "Sessions of role loader in every database run with session_replication_role = replica",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OBSTACLES)
def test_what_would_hide_a_write_or_fail_it_is_refused_beforehand(conn: Conn, name: str) -> None:
    conn.execute("CREATE TABLE orders_v2 (id integer PRIMARY KEY, p integer)")
    mapping = orders(p="o.a")
    facts = mapping_facts(conn, mapping, "pgferry_archive")
    refusals.refuse(conn, mapping, facts, Direction.BOTH)
    setup, words = OBSTACLES[name]
    conn.execute(setup)
    try:
        with pytest.raises(Refused) as refused:
            refusals.refuse(conn, mapping, mapping_facts(conn, mapping, "pgferry_archive"), Direction.BOTH)
        assert words in str(refused.value)
        assert refused.value.do
    finally:
        if name == "replica role":
            conn.execute("DROP ROLE loader")


def test_statement_triggers_would_miss_writes_to_partitions(conn: Conn) -> None:
    conn.execute("CREATE TABLE orders_v2 (id integer PRIMARY KEY, p integer) PARTITION BY RANGE (id)")
    mapping = replace(orders(p="o.a"), triggers=Triggers.STATEMENT)
    facts = mapping_facts(conn, mapping, "pgferry_archive")
    refusals.refuse(conn, mapping, facts, Direction.FORWARD)
    with pytest.raises(Refused, match="orders_v2 is partitioned or a partition: statement triggers miss writes"):
        refusals.refuse(conn, mapping, facts, Direction.REVERSE)


STATEMENTS = {
    "parent": ("CREATE TABLE parent (id integer); ALTER TABLE orders INHERIT parent", "orders inherits from parent"),
    "subscription": (
        "SET allow_system_table_mods = on;"
        "INSERT INTO pg_subscription_rel (srsubid, srrelid, srsubstate) VALUES (1, 'orders'::regclass, 'r')",
        "orders is subscribed: what is applied fires no statement trigger",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STATEMENTS)
def test_writes_that_fire_row_triggers_only(conn: Conn, name: str) -> None:
    setup, words = STATEMENTS[name]
    conn.execute("CREATE TABLE orders_v2 (id integer PRIMARY KEY, p integer)")
    conn.execute(setup)
    mapping = orders(p="o.a")
    facts = mapping_facts(conn, mapping, "pgferry_archive")
    refusals.refuse(conn, mapping, facts, Direction.FORWARD)
    with pytest.raises(Refused, match=re.escape(words)):
        refusals.refuse(conn, replace(mapping, triggers=Triggers.STATEMENT), facts, Direction.FORWARD)
    conn.execute("DELETE FROM pg_subscription_rel")


def test_writes_by_way_of_an_inheritance_parent_fire_the_row_triggers(conn: Conn) -> None:
    conn.execute(
        "CREATE TABLE orders_v2 (id integer PRIMARY KEY, p integer);"
        "CREATE TABLE parent (id integer, a integer); ALTER TABLE orders INHERIT parent"
    )
    switch_on(conn, Direction.BOTH, orders(p="o.a"))
    conn.execute("INSERT INTO orders VALUES (1, 1), (2, 2)")
    conn.execute("UPDATE parent SET a = 5 WHERE id = 1; DELETE FROM parent WHERE id = 2")
    assert conn.execute("SELECT * FROM orders_v2").fetchall() == [(1, 5)]
    conn.execute("TRUNCATE parent")
    assert conn.execute("SELECT count(*) FROM orders_v2").fetchone() == (0,)


@pytest.fixture
def mover(conn: Conn) -> Iterator[str]:
    """A role that owns nothing and may everything on both tables."""
    conn.execute(
        "CREATE TABLE orders_v2 (id integer PRIMARY KEY, p integer);"
        "CREATE ROLE mover; GRANT ALL ON orders, orders_v2 TO mover"
    )
    try:
        yield "mover"
    finally:
        conn.execute("RESET ROLE; DROP OWNED BY mover; DROP ROLE mover")


RIGHTS = {
    "schema": (
        "CREATE SCHEMA hidden; ALTER TABLE orders_v2 SET SCHEMA hidden", "lacks USAGE on schema hidden",
        {"new": TableName("hidden", "orders_v2")},
    ),
    "sequence": ("ALTER TABLE orders_v2 ADD n serial", "lacks USAGE on sequence orders_v2_n_seq", {}),
    "function": (
        "CREATE FUNCTION twice(i integer) RETURNS integer LANGUAGE sql AS 'SELECT 2 * i';"
        "REVOKE EXECUTE ON FUNCTION twice FROM PUBLIC", "may not evaluate the expressions",
        {"columns": (("id", "o.id"), ("p", "twice(o.a)"))},
    ),
    "row security of a lookup": (
        "CREATE TABLE names (t text, n integer, canonical boolean); ALTER TABLE names ENABLE ROW LEVEL SECURITY;"
        "GRANT SELECT ON names TO mover", "Row-level security on names would hide rows",
        {"lookups": (Lookup("k", TableName("public", "names"), (("t", "t"),), "n", "canonical"),)},
    ),
    "row security of a referenced table": (
        "ALTER TABLE orders_v2 ADD FOREIGN KEY (p) REFERENCES parents; ALTER TABLE parents ENABLE ROW LEVEL SECURITY",
        "Row-level security on parents would hide rows", {},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RIGHTS)
def test_rights_that_the_functions_would_lack(conn: Conn, mover: str, name: str) -> None:
    setup, words, changes = RIGHTS[name]
    conn.execute(setup)
    mapping = replace(orders(p="o.a"), **changes)
    refusals.refuse(conn, mapping, mapping_facts(conn, mapping, "pgferry_archive"), Direction.FORWARD)
    conn.execute(f"SET ROLE {mover}".encode())
    with pytest.raises(Refused, match=re.escape(words)):
        refusals.refuse(conn, mapping, mapping_facts(conn, mapping, "pgferry_archive"), Direction.FORWARD)


def test_row_security_of_the_tables_is_refused_but_for_who_is_exempt(conn: Conn, mover: str) -> None:
    conn.execute("ALTER TABLE orders ENABLE ROW LEVEL SECURITY")
    mapping = orders(p="o.a")
    conn.execute(f"SET ROLE {mover}".encode())
    with pytest.raises(Refused, match="Row-level security on orders would hide rows from the triggers"):
        mapping_facts(conn, mapping, "pgferry_archive")
    conn.execute("RESET ROLE; ALTER TABLE orders OWNER TO mover; ALTER TABLE orders_v2 OWNER TO mover; SET ROLE mover")
    assert mapping_facts(conn, mapping, "pgferry_archive").old.name == OLD
    conn.execute("ALTER TABLE orders FORCE ROW LEVEL SECURITY")
    with pytest.raises(Refused, match="Row-level security"):
        mapping_facts(conn, mapping, "pgferry_archive")


def test_views_foreign_and_temporary_tables_cannot_be_mapped(conn: Conn) -> None:
    conn.execute(
        "CREATE VIEW seen AS SELECT * FROM orders; CREATE TEMP TABLE orders_v2 (id integer PRIMARY KEY, p integer);"
        "CREATE FOREIGN DATA WRAPPER far; CREATE SERVER away FOREIGN DATA WRAPPER far;"
        "CREATE FOREIGN TABLE abroad (id integer, p integer) SERVER away"
    )
    for name in (TableName("public", "seen"), TableName("public", "abroad"), TableName("pg_temp", "orders_v2"), NEW):
        with pytest.raises(PlanError, match=f"table {name} is not in this database"):
            mapping_facts(conn, replace(orders(p="o.a"), new=name), "pgferry_archive")


def test_a_check_that_answers_otherwise_when_the_row_is_written_fails_no_write(conn: Conn) -> None:
    """Its function lets the row pass when it is tested and refuses it when it is written."""
    conn.execute(
        "CREATE SEQUENCE asked; CREATE FUNCTION first_time() RETURNS boolean LANGUAGE sql AS"
        " $$ SELECT nextval('public.asked') % 2 = 1 $$;"
        "CREATE DOMAIN moody AS integer CONSTRAINT mood CHECK (VALUE < 10 OR public.first_time());"
        "CREATE TABLE orders_v2 (id integer PRIMARY KEY, p moody)"
    )
    switch_on(conn, Direction.BOTH, orders(p="o.a"))
    conn.execute("INSERT INTO orders VALUES (1, 1), (2, 20)")
    assert conn.execute("SELECT id FROM orders ORDER BY 1").fetchall() == [(1,), (2,)]
    assert [(key, state) for key, state, _ in listed(conn)] == [("2", "23514")]
    assert conn.execute("SELECT id FROM orders_v2").fetchall() == [(1,)]


def test_nothing_in_the_writers_session_diverts_a_function(conn: Conn) -> None:
    """A search path, temporary tables and functions of the writer's own are not looked at with the definer's rights."""
    conn.execute("CREATE TABLE orders_v2 (id integer PRIMARY KEY, p integer)")
    switch_on(conn, Direction.BOTH, orders(p="o.a + 1"))
    conn.execute(
        "CREATE ROLE clerk; GRANT INSERT ON orders TO clerk; CREATE SCHEMA evil AUTHORIZATION clerk; SET ROLE clerk"
    )
    try:
        conn.execute(
            "CREATE TABLE evil.seen (what text);"
            "CREATE FUNCTION evil.plus(integer, integer) RETURNS integer LANGUAGE plpgsql AS"
            " $$ BEGIN INSERT INTO evil.seen VALUES (current_user); RETURN 0; END $$;"
            "CREATE OPERATOR evil.+ (LEFTARG = integer, RIGHTARG = integer, FUNCTION = evil.plus);"
            "CREATE FUNCTION evil.pg_trigger_depth() RETURNS integer LANGUAGE sql AS 'SELECT 99';"
            "CREATE TEMP TABLE orders_v2 (id integer PRIMARY KEY, p integer); CREATE TEMP TABLE reject (a integer);"
            "SET search_path = evil, pg_temp, pg_catalog, public; INSERT INTO orders VALUES (1, 1)"
        )
        assert conn.execute("SELECT count(*) FROM pg_temp.orders_v2").fetchone() == (0,)
        assert conn.execute("SELECT count(*) FROM evil.seen").fetchone() == (0,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute("SELECT pgferry.orders_forward(1)")
    finally:
        conn.execute("RESET ROLE; RESET search_path; DROP OWNED BY clerk; DROP ROLE clerk")
    assert conn.execute("SELECT * FROM public.orders_v2").fetchall() == [(1, 2)]


def test_missing_rights_are_found_before_the_first_write(conn: Conn) -> None:
    conn.execute(
        "CREATE TABLE orders_v2 (id integer PRIMARY KEY, p integer);"
        "CREATE ROLE mover; GRANT ALL ON orders TO mover; GRANT SELECT, INSERT ON orders_v2 TO mover; SET ROLE mover"
    )
    try:
        mapping = orders(p="o.a")
        facts = mapping_facts(conn, mapping, "pgferry_archive")
        with pytest.raises(Refused, match=r"lacks UPDATE on .*lacks DELETE on .*lacks TRUNCATE on"):
            refusals.refuse(conn, mapping, facts, Direction.FORWARD)
    finally:
        conn.execute("RESET ROLE; DROP OWNED BY mover; DROP ROLE mover")


PLAN_FAULTS = {
    "generated": ("p integer GENERATED ALWAYS AS (id + 1) STORED", "o.a", "generates its column p itself"),
    "identity": ("p integer GENERATED ALWAYS AS IDENTITY", "o.a", "GENERATED ALWAYS AS IDENTITY"),
    "no cast": ("p uuid", "o.a", "does not take an expression|cannot cast"),
    "unknown function": ("p integer", "far_away(o.a)", "does not take an expression"),
    "unknown column": ("p integer", "o.b", "does not take an expression"),
}


@pytest.mark.parametrize("name", PLAN_FAULTS)
def test_expressions_that_cannot_work_are_found_before_a_trigger_is_made(conn: Conn, name: str) -> None:
    column, expression, words = PLAN_FAULTS[name]
    conn.execute(f"CREATE TABLE orders_v2 (id integer PRIMARY KEY, {column})")
    with pytest.raises(PlanError, match=words):
        mapping_facts(conn, orders(p=expression), "pgferry_archive")


def test_a_deferrable_or_nullable_key_is_no_key(conn: Conn) -> None:
    conn.execute("CREATE TABLE orders_v2 (id integer PRIMARY KEY DEFERRABLE, p integer)")
    with pytest.raises(PlanError, match="no immediate unique index"):
        mapping_facts(conn, orders(p="o.a"), "pgferry_archive")
    conn.execute("DROP TABLE orders_v2; CREATE TABLE orders_v2 (id integer UNIQUE, p integer)")
    with pytest.raises(PlanError, match="may be NULL"):
        mapping_facts(conn, orders(p="o.a"), "pgferry_archive")


def test_triggers_that_were_disabled_or_dropped_are_named(conn: Conn) -> None:
    conn.execute("CREATE TABLE orders_v2 (id integer PRIMARY KEY, p integer)")
    mapping = orders(p="o.a")
    switch_on(conn, Direction.BOTH, mapping)
    assert faults(conn, mapping, OLD) == []
    conn.execute("ALTER TABLE orders DISABLE TRIGGER ALL; DROP TRIGGER zz_pgferry_reverse ON orders_v2")
    assert faults(conn, mapping, OLD) == [
        "trigger zz_pgferry_forward on orders is disabled: writes to it are not carried",
        "trigger zz_pgferry_forward_truncate on orders is disabled: writes to it are not carried",
        "trigger zz_pgferry_reverse on orders_v2 is missing: writes to it are not carried",
    ]
    for statement in (*sync.drop_triggers(mapping, Direction.BOTH, OLD), *sync.drop_functions(mapping, Direction.BOTH)):
        conn.execute(statement)
    assert faults(conn, mapping, OLD) == [], "nothing is on"


def test_truncate_of_one_partition_is_carried(conn: Conn) -> None:
    conn.execute(
        "DROP TABLE orders; CREATE TABLE orders (id integer PRIMARY KEY, a integer) PARTITION BY RANGE (id);"
        "CREATE TABLE orders_1 PARTITION OF orders FOR VALUES FROM (0) TO (10);"
        "CREATE TABLE orders_2 PARTITION OF orders FOR VALUES FROM (10) TO (20);"
        "CREATE TABLE orders_v2 (id integer PRIMARY KEY, p integer NOT NULL) PARTITION BY HASH (id);"
        "CREATE TABLE v2_0 PARTITION OF orders_v2 FOR VALUES WITH (MODULUS 2, REMAINDER 0);"
        "CREATE TABLE v2_1 PARTITION OF orders_v2 FOR VALUES WITH (MODULUS 2, REMAINDER 1)"
    )
    mapping = replace(orders(p="o.a"), back=(("id", "n.id"), ("a", "n.p")))
    switch_on(conn, Direction.BOTH, mapping)
    conn.execute("INSERT INTO orders SELECT i, nullif(i, 12) FROM generate_series(1, 15) i")
    conn.execute("TRUNCATE orders_1")
    ids = [row[0] for row in conn.execute("SELECT id FROM orders_v2 ORDER BY 1").fetchall()]
    assert ids == [10, 11, 13, 14, 15]
    gone = [row[0] for row in conn.execute("SELECT id FROM v2_0").fetchall()]
    conn.execute("TRUNCATE v2_0")
    left = [row[0] for row in conn.execute("SELECT id FROM orders ORDER BY 1").fetchall()]
    assert left == [i for i in (10, 11, 12, 13, 14, 15) if i not in gone], "the refused row 12 stays in the old table"
    conn.execute("TRUNCATE orders")
    assert conn.execute("SELECT count(*) FROM orders_v2").fetchone() == (0,)
    assert listed(conn) == []
    conn.execute("CREATE TABLE orders_3 PARTITION OF orders FOR VALUES FROM (20) TO (30)")
    conn.execute("INSERT INTO orders_3 VALUES (25, 1)")
    assert conn.execute("SELECT id FROM orders_v2").fetchall() == [(25,)], "a new partition has the row trigger"
    assert faults(conn, mapping, OLD) == [
        "trigger zz_pgferry_forward_truncate on orders_3 is missing: writes to it are not carried"
    ]


def test_workers_of_a_subscription_fire_the_triggers(conn: Conn) -> None:
    conn.execute("CREATE TABLE orders_v2 (id integer PRIMARY KEY, p integer)")
    mapping = orders(p="o.a")
    switch_on(conn, Direction.BOTH, mapping)
    assert refusals.always(conn, mapping, Direction.BOTH, OLD) == []
    conn.execute("SET allow_system_table_mods = on")
    conn.execute("INSERT INTO pg_subscription_rel (srsubid, srrelid, srsubstate) VALUES (1, 'orders'::regclass, 'r')")
    try:
        for statement in refusals.always(conn, mapping, Direction.BOTH, OLD):
            conn.execute(statement)
        conn.execute("SET session_replication_role = replica")
        conn.execute("INSERT INTO orders VALUES (1, 1)")
        conn.execute("SET session_replication_role = origin")
        assert conn.execute("SELECT id FROM orders_v2").fetchall() == [(1,)]
    finally:
        conn.execute("DELETE FROM pg_subscription_rel")
