"""A lookup changes while the sync is on: the rows that resolve through it follow, and no write fails for it."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import psycopg
import pytest
from psycopg.errors import RestrictViolation

from console.demo.server import EmbeddedServer
from console.engine import scan
from console.engine.compare import AGAIN, SAMPLES, judged, silent
from console.engine.compare_sql import Part
from console.engine.lookup_tables import bases
from console.engine.lookups import drop_triggers
from console.engine.pace import Pace
from console.engine.session import Session, Wishes
from console.engine.sync_state import faults
from console.engine.verdict import Verdict
from console.errors import Refused
from console.journal import schema
from console.journal.connect import Conn, connect
from console.journal.lease import Fence
from console.journal.state import RunStatus, Verb
from console.plan.model import Changes, Direction, Lookup, Mapping, TableName
from tests.engine.scene import MAPPING, WHOLE, a_database, a_plan, a_run, dump, order, switch_on
from tests.faults.tools import one, until

AT = "2026-02-01 10:00:00+00"
INDEX = "CREATE INDEX ON sales (item, shop)"


def choose(changes: Changes, mapping: Mapping = MAPPING) -> Mapping:
    return replace(mapping, lookups=tuple(replace(k, changes=changes) for k in mapping.lookups))


@contextmanager
def synced(
    database: str, mapping: Mapping = MAPPING, *, both: bool = False, index: bool = True, more: str = ""
) -> Iterator[Conn]:
    """The scene with the sync on; an index that finds the rows of a spelling, or none."""
    with a_database(database) as conn:
        if index:
            conn.execute(INDEX)
        conn.execute(more.encode())
        for direction in list(Direction)[: 1 + both]:
            switch_on(conn, direction, mapping)
        yield conn


def sell(conn: Conn, shop: str, item: str, note: str, second: int = 0) -> None:
    conn.execute(
        "INSERT INTO sales VALUES (%s::timestamptz + %s * interval '1 s', %s, %s, 1, %s)",
        (AT, second, shop, item, note),
    )


def old(conn: Conn) -> list[tuple[object, ...]]:
    return conn.execute("SELECT shop, note FROM sales ORDER BY note").fetchall()


def new(conn: Conn) -> list[tuple[object, ...]]:
    return conn.execute("SELECT good_id, note FROM sales_v2 ORDER BY note").fetchall()


def rejected(conn: Conn) -> list[tuple[object, ...]]:
    return conn.execute(
        "SELECT key->>'shop', reason FROM pgferry.reject WHERE direction = 'forward' ORDER BY 1"
    ).fetchall()


def judge(database: str, mapping: Mapping = MAPPING, *, settling: bool = True) -> Verdict:
    """A comparison outside of any run."""
    with connect(database) as conn:
        session = Session(a_plan(mapping=mapping), database, 0, Fence(0, 0), "tester", Wishes(), _conn=conn)
        return judged(session, mapping, limit=SAMPLES, workers=2, duty_percent=100, show=silent, settling=settling)


def assert_equal(database: str, mapping: Mapping = MAPPING) -> None:
    verdict = judge(database, mapping)
    assert verdict.ok, (verdict.words(), verdict.samples)


def test_an_addition_makes_rejects_good_at_its_commit(database: str) -> None:
    """Also without an index: such rows are all among the rejects."""
    with synced(database, index=False) as conn:
        sell(conn, "S0", "item99", "unknown good")
        sell(conn, "s1", "item1", "unknown shop")
        assert len(rejected(conn)) == 2
        with conn.transaction():
            conn.execute("INSERT INTO goods VALUES (99, 'S0', 'item99')")
            conn.execute("INSERT INTO spellings VALUES ('s1', 'S1', false)")
            assert new(conn) == [], "carried at commit, when all is in place"
        assert new(conn) == [(99, "unknown good"), (1, "unknown shop")]
        assert rejected(conn) == []
        assert_equal(database)


@pytest.mark.parametrize("index", [True, False], ids=["at once", "by the comparison"])
def test_a_removal_refuses_its_rows_and_a_return_takes_them_again(database: str, *, index: bool) -> None:
    with synced(database, index=index) as conn:
        sell(conn, "s0", "item3", "a")
        sell(conn, "S0", "item6", "b")
        conn.execute("DELETE FROM spellings WHERE spelling = 's0'")
        if not index:
            assert new(conn) == [(3, "a"), (6, "b")]
        assert_equal(database)
        assert new(conn) == [(6, "b")]
        assert old(conn) == [("s0", "a"), ("S0", "b")]
        assert rejected(conn) == [("s0", "shop, item: nothing matches in goods_names")]
        conn.execute("INSERT INTO spellings VALUES ('s0', 'S0', false)")
        assert new(conn) == [(3, "a"), (6, "b")]
        assert rejected(conn) == []
        assert_equal(database)


@pytest.mark.parametrize("index", [True, False], ids=["at once", "by the comparison"])
def test_a_value_that_becomes_ambiguous_refuses_its_rows(database: str, *, index: bool) -> None:
    with synced(database, index=index) as conn:
        sell(conn, "S1", "twin", "a")
        assert new(conn) == [(31, "a")]
        conn.execute("INSERT INTO spellings VALUES ('S1', 'S2', false)")
        if index:
            assert new(conn) == []
        assert_equal(database)
        assert new(conn) == []
        assert rejected(conn) == [("S1", "shop, item: several match in goods_names")]
        conn.execute("DELETE FROM spellings WHERE spelling = 'S1' AND shop = 'S2'")
        assert_equal(database)
        assert new(conn) == [(31, "a")]


@pytest.mark.parametrize("both", [False, True], ids=["one way", "both ways"])
@pytest.mark.parametrize("index", [True, False], ids=["at once", "by the comparison"])
def test_a_value_that_means_another_thing_moves_its_rows(database: str, *, both: bool, index: bool) -> None:
    with synced(database, both=both, index=index) as conn:
        sell(conn, "s0", "item3", "a")
        conn.execute("INSERT INTO goods VALUES (40, 'S1', 'item3')")
        conn.execute("UPDATE spellings SET shop = 'S1' WHERE spelling = 's0'")
        if index:
            assert new(conn) == [(40, "a")]
        assert_equal(database)
        assert new(conn) == [(40, "a")]
        assert old(conn) == [("s0", "a")]


def test_a_renamed_value_is_refused_while_the_old_table_is_the_truth(database: str) -> None:
    with synced(database) as conn:
        sell(conn, "S0", "item3", "a")
        conn.execute("UPDATE spellings SET spelling = 'T0' WHERE spelling = 'S0'")
        assert new(conn) == []
        assert old(conn) == [("S0", "a")], "nothing of ours writes to the old table"
        sell(conn, "T0", "item3", "b")
        assert new(conn) == [(3, "b")]
        conn.execute("UPDATE spellings SET spelling = 'S0' WHERE spelling = 'T0'")
        assert new(conn) == [(3, "a")]
        assert_equal(database)


@pytest.mark.parametrize("index", [True, False], ids=["at once", "by the comparison"])
def test_a_renamed_canonical_value_is_written_back_once_both_directions_are_carried(
    database: str, *, index: bool
) -> None:
    with synced(database, both=True, index=index) as conn:
        sell(conn, "S0", "item3", "a")
        conn.execute("INSERT INTO sales_v2 VALUES (%s, 6, 1, 'b')", (AT,))
        sell(conn, "s0", "item9", "c")
        conn.execute("UPDATE spellings SET spelling = 'T0' WHERE spelling = 'S0'")
        assert_equal(database)
        assert new(conn) == [(3, "a"), (6, "b"), (9, "c")], "what applications wrote to the new table stays"
        assert old(conn) == [("T0", "a"), ("T0", "b"), ("s0", "c")]
        assert rejected(conn) == []


def test_rows_only_the_new_table_can_hold_come_over_when_a_lookup_leads_back(database: str) -> None:
    with synced(database, both=True) as conn:
        conn.execute("INSERT INTO sales_v2 VALUES (%s, 77, 1, 'a')", (AT,))
        assert old(conn) == []
        conn.execute("INSERT INTO goods VALUES (77, 'S0', 'item77')")
        assert_equal(database)
        assert old(conn) == [("S0", "a")]


def test_a_change_that_concerns_many_rows_is_left_to_the_comparison(database: str) -> None:
    with synced(database) as conn:
        conn.execute(
            "INSERT INTO sales SELECT %s::timestamptz + i * interval '1 s', 's0', 'item3', 1, i"
            " FROM generate_series(1, 700) i",
            (AT,),
        )
        conn.execute("INSERT INTO goods VALUES (40, 'S1', 'item3')")
        conn.execute("UPDATE spellings SET shop = 'S1' WHERE spelling = 's0'")
        assert one(conn, "SELECT count(*) FROM sales_v2 WHERE good_id = 3") == 700
        conn.execute("DELETE FROM sales WHERE note = '7'")  # resolves the new way: its new row is left behind
        verdict = judge(database, settling=False)
        assert (verdict.ok, verdict.open_changes > 0) == (False, True)
        assert_equal(database)
        assert one(conn, "SELECT count(*) FROM sales_v2 WHERE good_id = 40") == 699
        assert one(conn, "SELECT count(*) FROM sales_v2") == 699
        assert one(conn, "SELECT count(*) FROM pgferry.lookup_change") == 0


def test_an_open_change_is_enough_to_fail_a_comparison(database: str) -> None:
    with synced(database, index=False) as conn:
        conn.execute("DELETE FROM spellings WHERE spelling = 's0'")
        verdict = judge(database, settling=False)
        assert not verdict.ok
        assert "changes in lookups are not carried yet" in verdict.words()


MANY = (
    "INSERT INTO sales SELECT '2026-02-01Z'::timestamptz + i * interval '1 s', 's0', 'item3', 1, i"
    " FROM generate_series(1, 300) i"
)


def _always_changing(monkeypatch: pytest.MonkeyPatch, conn: Conn, *, on: str, times: int) -> list[int]:
    """Before each of the first ``times`` walks (or after: ``on``) of a comparison, what ``s0`` means changes."""
    walk, seen = scan._walk, []

    def change() -> None:
        seen.append(1)
        if len(seen) <= times:
            conn.execute(f"UPDATE spellings SET shop = 'S{len(seen) % 2}' WHERE spelling = 's0'".encode())

    def walked(*args: Any) -> None:
        if on == "before":
            change()
        walk(*args)
        if on == "after":
            change()

    monkeypatch.setattr(scan, "_walk", walked)
    return seen


@pytest.mark.parametrize("on", ["before", "after"])
def test_a_comparison_concludes_while_lookups_keep_changing(
    database: str, monkeypatch: pytest.MonkeyPatch, on: str
) -> None:
    """A change before each walk makes rows differ; one after each is open when all were found equal."""
    with synced(database) as conn:
        conn.execute("INSERT INTO goods VALUES (40, 'S1', 'item3')")
        conn.execute(MANY)
        walks = _always_changing(monkeypatch, conn, on=on, times=6)
        verdict = judge(database)
        assert verdict.ok, verdict.words()
        assert (verdict.old, verdict.new, verdict.rejected) == (300, 300, 0)
        assert len(walks) == (7 if on == "before" else 3)
        assert verdict.words().endswith(f"every row equal; {verdict.changes} changes in lookups followed meanwhile")
        if on == "after":
            assert one(conn, "SELECT count(*) FROM pgferry.lookup_change") == 0, "carried"
            assert judge(database, settling=False).equal


def test_only_parts_that_differ_are_judged_again(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with synced(database) as conn:
        conn.execute("INSERT INTO goods VALUES (40, 'S1', 'item3')")
        conn.execute(MANY.replace("'s0', 'item3'", "'S2', 'item2'"))
        conn.execute(MANY.replace("2026-02", "2026-03"))
        monkeypatch.setattr(scan, "FIRST_ROWS", 100)
        monkeypatch.setattr(scan, "LOOKUP_SHARE", 0)
        monkeypatch.setattr(scan, "Pace", lambda *_: Pace(100, 1))
        _always_changing(monkeypatch, conn, on="before", times=3)
        parts: list[Part] = []
        judged_part = scan.judge
        monkeypatch.setattr(scan, "judge", lambda *a: (parts.append(a[2]), judged_part(*a))[1])
        verdict = judge(database)
        assert verdict.ok, verdict.words()
        assert (verdict.old, verdict.new) == (600, 600)
        times = Counter(str(part) for part in parts)
        assert min(times.values()) == 1, "a part without such rows"
        assert max(times.values()) == 4, "one of them"


def test_where_lookups_never_rest_it_says_so_and_a_real_difference_is_still_named(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with synced(database) as conn:
        conn.execute("INSERT INTO goods VALUES (40, 'S1', 'item3')")
        conn.execute(MANY)
        walks = _always_changing(monkeypatch, conn, on="before", times=1000)
        verdict = judge(database)
        assert not verdict.ok
        assert len(walks) == (scan.ROUNDS + 1) * AGAIN
        assert f"lookups kept changing ({verdict.changes} changes meanwhile)" in verdict.words()
        assert verdict.words().endswith("compare again while the lookups rest")
        monkeypatch.undo()
        assert_equal(database)
        conn.execute("SET session_replication_role = replica; UPDATE sales_v2 SET amount = 2 WHERE note = '7';")
        _always_changing(monkeypatch, conn, on="before", times=4)
        verdict = judge(database)
        assert verdict.faults == {"changed": 1}


@pytest.mark.parametrize("begins", ["before the change", "before its commit"])
@pytest.mark.parametrize("isolation", ["read committed", "repeatable read"])
def test_a_writer_that_resolved_the_old_way_and_commits_later_is_carried_again(
    database: str, begins: str, isolation: str
) -> None:
    with synced(database) as conn, connect(database, autocommit=False) as writer, connect(database) as other:
        conn.execute("INSERT INTO goods VALUES (40, 'S1', 'item3')")
        writer.execute(f"SET TRANSACTION ISOLATION LEVEL {isolation}".encode())
        if begins == "before the change":
            sell(writer, "s0", "item3", "a")
        with other.transaction():
            other.execute("UPDATE spellings SET shop = 'S1' WHERE spelling = 's0'")
            if begins == "before its commit":
                sell(writer, "s0", "item3", "a")
        found: list[Verdict] = []
        comparing = threading.Thread(target=lambda: found.append(judge(database)))
        comparing.start()
        until(lambda: one(conn, "SELECT count(*) FROM pgferry.lookup_change WHERE waits <> '{}'"), "it to wait")
        assert comparing.is_alive()
        if isolation == "repeatable read":
            sell(writer, "s0", "item3", "b", 1)
        writer.commit()
        comparing.join()
        assert found[0].ok, found[0].words()
        assert {good for good, _ in new(conn)} == {40}


def test_the_change_never_fails_for_a_row_that_others_hold(database: str) -> None:
    with synced(database) as conn, connect(database, autocommit=False) as holder:
        sell(conn, "s0", "item3", "a")
        holder.execute("SELECT 1 FROM sales_v2 FOR UPDATE")
        conn.execute("DELETE FROM spellings WHERE spelling = 's0'")
        assert one(conn, "SELECT count(*) FROM pgferry.lookup_change WHERE NOT carried") == 1
        holder.rollback()
        assert_equal(database)
        assert new(conn) == []


def test_a_rolled_back_change_leaves_nothing(database: str) -> None:
    with synced(database) as conn:
        sell(conn, "s0", "item3", "a")
        with conn.transaction(force_rollback=True):
            conn.execute("DELETE FROM spellings WHERE spelling = 's0'")
        assert one(conn, "SELECT count(*) FROM pgferry.lookup_change") == 0
        assert new(conn) == [(3, "a")]


def test_what_does_not_matter_is_not_noted(database: str) -> None:
    with synced(database, more="ALTER TABLE goods ADD price json") as conn:
        conn.execute("UPDATE goods SET price = '1'")
        conn.execute("UPDATE goods SET item = item")
        conn.execute("UPDATE spellings SET shop = shop")
        conn.execute("INSERT INTO goods VALUES (50, 'S7', 'of a shop that nobody knows')")
        assert one(conn, "SELECT count(*) FROM pgferry.lookup_change") == 0


def test_an_emptied_lookup_refuses_every_row(database: str) -> None:
    with synced(database) as conn:
        sell(conn, "S0", "item3", "a")
        sell(conn, "S1", "item1", "b")
        conn.execute("TRUNCATE spellings")
        assert_equal(database)
        assert new(conn) == []
        assert len(rejected(conn)) == 2


def test_forbidden_changes_are_refused_and_additions_are_carried(database: str) -> None:
    with synced(database, choose(Changes.FORBID)) as conn:
        sell(conn, "S9", "item3", "a")
        for change in (
            "UPDATE spellings SET spelling = 'T0' WHERE spelling = 'S0'",
            "DELETE FROM spellings WHERE spelling = 's0'",
            "UPDATE spellings SET canonical = false WHERE spelling = 'S0'",
            "UPDATE goods SET id = 100 WHERE id = 3",
            "TRUNCATE spellings",
            "INSERT INTO spellings VALUES ('S1', 'S2', false)",
        ):
            with pytest.raises(RestrictViolation, match="the migration's plan forbids"):
                conn.execute(change.encode())
        conn.execute("INSERT INTO spellings VALUES ('S9', 'S0', false)")
        conn.execute("UPDATE goods SET item = item")
        assert new(conn) == [(3, "a")]
        assert_equal(database, choose(Changes.FORBID))


UNSEEN = {
    "groups": "CREATE VIEW v AS SELECT shop, item, min(good_id) AS good_id, bool_or(canonical) AS canonical"
    " FROM goods_names GROUP BY 1, 2",
    "materialized view": "CREATE MATERIALIZED VIEW v AS SELECT * FROM goods_names",
    "reads spellings more than once": "CREATE VIEW v AS SELECT n.* FROM goods_names n"
    " JOIN spellings s ON s.spelling = n.shop AND s.shop = 'S0'",
    "set operations": "CREATE VIEW v AS SELECT * FROM goods_names WHERE good_id < 5"
    " UNION SELECT * FROM goods_names WHERE good_id > 4",
    "subqueries": "CREATE VIEW v AS SELECT * FROM goods_names n"
    " WHERE NOT EXISTS (SELECT 1 FROM sales_v2 v WHERE v.good_id = n.good_id)",
    "which may read other tables": "CREATE FUNCTION f(text) RETURNS boolean STABLE LANGUAGE sql AS 'SELECT true';"
    "CREATE VIEW v AS SELECT * FROM goods_names WHERE f(shop)",
    "partitions or children": "CREATE TABLE v (LIKE spellings, item text, good_id int); CREATE TABLE w () INHERITS (v)",
    "partitioned table": "CREATE TABLE v (shop text, item text, good_id int, canonical bool) PARTITION BY LIST (shop)",
    "no such table or view": "SELECT 1",
}


def over(relation: str, changes: Changes = Changes.CARRY) -> Mapping:
    lookups = tuple(replace(k, relation=TableName("public", relation), changes=changes) for k in MAPPING.lookups)
    return replace(MAPPING, lookups=lookups)


def test_a_lookup_whose_changes_cannot_be_seen_is_refused_unless_declared_so(database: str) -> None:
    with a_database(database) as conn:
        schema.install(conn)
        for why, made in UNSEEN.items():
            with conn.transaction(force_rollback=True):
                conn.execute(made.encode())
                with pytest.raises(Refused, match=why) as refused:
                    bases(conn, over("v"), over("v").lookups[0])
                assert 'changes = "uncovered"' in str(refused.value)
        conn.execute(UNSEEN["groups"].encode())
        switch_on(conn, Direction.FORWARD, over("v", Changes.UNCOVERED))
        sell(conn, "S0", "item3", "a")
        assert new(conn) == [(3, "a")]
        assert one(conn, "SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'zz_pgferry_lookup%'") == 0


def test_a_view_over_a_view_with_odd_names_in_other_schemas_is_seen_through(database: str) -> None:
    more = (
        'CREATE SCHEMA "Ref"; CREATE TABLE "Ref"."Shop Names" (spelling text, shop text, "is it" boolean);'
        'INSERT INTO "Ref"."Shop Names" SELECT spelling, shop, canonical FROM spellings;'
        'CREATE VIEW "Ref".inner_names AS SELECT spelling AS s, shop AS t, "is it" AS c FROM "Ref"."Shop Names";'
        "CREATE VIEW outer_names AS SELECT i.s AS shop, g.item, g.id AS good_id, i.c AS canonical"
        ' FROM goods g LEFT JOIN "Ref".inner_names i ON i.t = g.shop'
    )
    with synced(database, over("outer_names"), more=more) as conn:
        sell(conn, "s0", "item3", "a")
        sell(conn, "q0", "item3", "b")
        conn.execute('DELETE FROM "Ref"."Shop Names" WHERE spelling = \'s0\'')
        conn.execute("INSERT INTO \"Ref\".\"Shop Names\" VALUES ('q0', 'S0', false)")
        assert_equal(database, over("outer_names"))
        assert new(conn) == [(3, "b")]
        conn.execute("UPDATE goods SET item = 'renamed' WHERE id = 3")
        assert_equal(database, over("outer_names"))
        assert new(conn) == []


PEOPLE = """
CREATE TABLE orders (id int PRIMARY KEY, customer varchar(20) NOT NULL);
CREATE TABLE people (name varchar(20) PRIMARY KEY, customer_id bigint NOT NULL, main boolean NOT NULL);
CREATE TABLE orders_v2 (id int PRIMARY KEY, customer_id bigint NOT NULL);
INSERT INTO people VALUES ('ann', 1, true), ('anne', 1, false), ('bob', 2, true);
CREATE INDEX ON orders (customer);
"""
ORDERS = Mapping(
    "orders", TableName("public", "orders"), TableName("public", "orders_v2"), ("id",), ("id",),
    (("id", "o.id"), ("customer_id", "c.customer_id")), (("id", "n.id"), ("customer", "c.name")),
    (Lookup("c", TableName("public", "people"), (("name", "customer"),), "customer_id", "main"),),
)  # fmt: skip


@pytest.mark.parametrize("both", [False, True], ids=["one way", "both ways"])
def test_a_lookup_beside_the_key(database: str, *, both: bool) -> None:
    with synced(database, both=False) as conn:
        conn.execute(PEOPLE)
        for direction in list(Direction)[: 1 + both]:
            switch_on(conn, direction, ORDERS)
        conn.execute("INSERT INTO orders VALUES (1, 'ann'), (2, 'anne'), (3, 'bob'), (4, 'carl')")
        held = "SELECT id, customer_id FROM orders_v2 ORDER BY id"
        conn.execute("INSERT INTO people VALUES ('carl', 3, true)")
        assert conn.execute(held).fetchall() == [(1, 1), (2, 1), (3, 2), (4, 3)]
        conn.execute("UPDATE people SET customer_id = 2 WHERE name = 'anne'")
        conn.execute("DELETE FROM people WHERE name = 'carl'")
        assert conn.execute(held).fetchall() == [(1, 1), (2, 2), (3, 2)]
        conn.execute("UPDATE people SET name = 'bobby' WHERE name = 'bob'")
        assert conn.execute(held).fetchall() == ([(1, 1), (2, 2), (3, 2)] if both else [(1, 1), (2, 2)])
        assert conn.execute("SELECT customer FROM orders WHERE id = 3").fetchall() == [("bobby" if both else "bob",)]
        assert_equal(database, ORDERS)


def test_there_and_back_leaves_no_trigger_and_a_retired_table_follows_too(
    database: str, server: EmbeddedServer
) -> None:
    conn = a_database(database, rows=120)
    plan = a_plan(*(replace(t, quiet_seconds=0) for t in WHOLE))
    before = dump(database, server.binaries.dir)
    run_id = a_run(database, plan)
    status, answer = order(database, plan, run_id, Verb.START, until="retire")
    assert status is RunStatus.DONE, answer  # but for the purge, which runs only when asked for by name
    sell(connect_to_archive(conn), "S9", "item1", "late")
    assert one(conn, "SELECT count(*) FROM sales_v2 WHERE note = 'late'") == 0
    conn.execute("INSERT INTO spellings VALUES ('S9', 'S1', false)")
    assert one(conn, "SELECT count(*) FROM sales_v2 WHERE note = 'late'") == 1
    conn.execute("SET search_path TO DEFAULT")
    assert order(database, plan, run_id, Verb.ROLLBACK, to="start")[0] is RunStatus.ROLLED_BACK
    assert dump(database, server.binaries.dir) == before
    conn.execute("DELETE FROM spellings WHERE spelling = 'S9'")
    assert one(conn, "SELECT count(*) FROM pgferry.lookup_change") == 0
    conn.close()


def connect_to_archive(conn: Conn) -> Conn:
    conn.execute("SET search_path = pgferry_archive, public")
    return conn


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        ("ALTER TABLE spellings DISABLE TRIGGER USER", "on spellings does not fire"),
        ("DROP TRIGGER zz_pgferry_lookup_sales_g_update ON goods", "is missing"),
    ],
)
def test_a_watching_trigger_that_someone_took_away_is_named(database: str, harm: str, words: str) -> None:
    with synced(database) as conn:
        assert faults(conn, MAPPING, MAPPING.old) == []
        conn.execute(harm.encode())
        assert any(words in fault for fault in faults(conn, MAPPING, MAPPING.old))


def test_long_names_stay_apart(database: str) -> None:
    long = [replace(MAPPING, id=f"{'m' * 60}{end}") for end in ("one", "two")]
    lookups_ = tuple(replace(k, name="n" * 55) for k in MAPPING.lookups)
    texts = [tuple((c, e.replace("g.", "n" * 55 + ".")) for c, e in part) for part in (MAPPING.columns, MAPPING.back)]
    mapping = replace(long[0], lookups=lookups_, columns=texts[0], back=texts[1])
    with synced(database, mapping) as conn:
        sell(conn, "s1", "item1", "a")
        conn.execute("INSERT INTO spellings VALUES ('s1', 'S1', false)")
        assert new(conn) == [(1, "a")]
        drop_triggers(conn, long[1])
        assert faults(conn, mapping, mapping.old) == []
        drop_triggers(conn, mapping)
        assert one(conn, "SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'zz_pgferry_lookup%'") == 0


@dataclass
class Application(threading.Thread):
    """Writes at random until told to stop; what is not a write's own fault must not fail it."""

    database: str
    number: int
    choose: tuple[Callable[[random.Random], tuple[str, tuple[object, ...]]], ...]
    ended: threading.Event
    failed: list[Exception] = field(default_factory=list)
    writes: int = 0

    def __post_init__(self) -> None:
        super().__init__()

    __hash__ = threading.Thread.__hash__

    def run(self) -> None:
        chance = random.Random(self.number)
        with connect(self.database, application_name=f"application {self.number}") as conn:
            conn.execute("SET lock_timeout = 0")
            while not self.ended.is_set():
                try:
                    with conn.transaction():
                        for _ in range(chance.randrange(1, 3)):
                            statement, values = chance.choice(self.choose)(chance)
                            conn.execute(statement.encode(), values)
                    self.writes += 1
                except psycopg.errors.DeadlockDetected:
                    pass  # two statements in any order: its own
                except psycopg.Error as error:
                    self.failed.append(error)


def _at_once(database: str, seed: int, seconds: float, *, index: bool) -> None:
    """Applications write rows, others change the lookups, all at the same time; then all rest and are compared."""
    with synced(database, index=index) as conn:
        ended = threading.Event()
        writers = [Application(database, seed * 10 + i, (_a_write,), ended) for i in range(3)]
        writers += [Application(database, seed * 10 + 5 + i, (_a_change,), ended) for i in range(2)]
        for writer in writers:
            writer.start()
        ended.wait(seconds)
        until(
            lambda: min(writer.writes for writer in writers) > 5 or any(w.failed for w in writers), "every writer", 60
        )
        ended.set()
        for writer in writers:
            writer.join()
        assert [writer.failed for writer in writers] == [[]] * 5
        assert_equal(database)
        assert one(conn, "SELECT count(*) FROM pgferry.lookup_change") == 0


@pytest.mark.parametrize(("seed", "index"), [(1, True), (2, False)])
def test_changes_and_writes_at_the_same_time_end_equal(database: str, seed: int, *, index: bool) -> None:
    _at_once(database, seed, 0.8, index=index)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10, 20))
def test_changes_and_writes_at_the_same_time_for_long_end_equal(database: str, seed: int) -> None:
    _at_once(database, seed, 20.0, index=bool(seed % 2))


SPELLINGS = ("S0", "s0", "S1", "s1", "S2", "S", "T")
ITEMS = ("item1", "item3", "item5", "twin")


def _a_change(chance: random.Random) -> tuple[str, tuple[object, ...]]:
    spelling, shop, item = chance.choice(SPELLINGS), f"S{chance.randrange(3)}", chance.choice(ITEMS)
    return chance.choice((
        ("INSERT INTO spellings VALUES (%s, %s, false)", (spelling, shop)),
        ("DELETE FROM spellings WHERE spelling = %s AND shop = %s", (spelling, shop)),
        ("UPDATE spellings SET spelling = %s WHERE spelling = %s", (spelling, chance.choice(SPELLINGS))),
        ("UPDATE spellings SET shop = %s WHERE spelling = %s", (shop, spelling)),
        ("UPDATE spellings SET canonical = spelling = %s WHERE shop = %s", (spelling, shop)),
        ("UPDATE goods SET item = %s WHERE id = %s", (item, chance.randrange(1, 6))),
        ("UPDATE goods SET shop = %s WHERE id = %s", (shop, chance.randrange(1, 6))),
    ))  # fmt: skip


def _a_write(chance: random.Random) -> tuple[str, tuple[object, ...]]:
    second, spelling, item = chance.randrange(6), chance.choice(SPELLINGS), chance.choice(ITEMS)
    key = (f"2026-02-01 10:00:0{second}Z", spelling, item)
    return chance.choice((
        ("INSERT INTO sales VALUES (%s, %s, %s, 1, 'x') ON CONFLICT (at, shop, item) DO UPDATE SET amount = sales.amount + 1", key),
        ("DELETE FROM sales WHERE at = %s AND shop = %s AND item = %s", key),
        ("UPDATE sales SET amount = amount + 1 WHERE at = %s AND shop = %s", key[:2]),
    ))  # fmt: skip


def _a_write_to_the_new_table(chance: random.Random) -> tuple[str, tuple[object, ...]]:
    key = (f"2026-02-01 10:00:0{chance.randrange(6)}Z", chance.randrange(1, 6))
    return chance.choice((
        ("INSERT INTO sales_v2 VALUES (%s, %s, 1, 'x') ON CONFLICT (at, good_id) DO UPDATE SET amount = sales_v2.amount + 1", key),
        ("DELETE FROM sales_v2 WHERE at = %s AND good_id = %s", key),
    ))  # fmt: skip


def _campaign(database: str, seed: int, steps: int, *, index: bool, both: bool) -> None:
    chance = random.Random(seed)
    writes = (_a_write, _a_write_to_the_new_table) if both else (_a_write,)
    with synced(database, index=index, both=both) as conn:
        for step in range(steps):
            statement, values = (_a_change if chance.random() < 0.4 else chance.choice(writes))(chance)
            conn.execute(statement.encode(), values)
            if step % (steps // 4) == steps // 4 - 1:
                assert_equal(database)
        assert one(conn, "SELECT count(*) FROM sales") > 0


@pytest.mark.parametrize(("seed", "index", "both"), [(1, True, False), (2, False, False), (3, True, True)])
def test_random_changes_and_writes_end_equal(database: str, seed: int, *, index: bool, both: bool) -> None:
    _campaign(database, seed, 60, index=index, both=both)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10, 50))
def test_many_random_changes_and_writes_end_equal(database: str, seed: int) -> None:
    _campaign(database, seed, 400, index=bool(seed % 2), both=bool(seed % 4 // 2))
