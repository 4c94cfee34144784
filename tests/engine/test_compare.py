"""Comparison on real servers: each kind of corruption is found and named, and what is right is never called wrong."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from console.engine import compare_sql, row_values, rows, scan
from console.engine.compare import judged, silent
from console.engine.facts import mapping_facts
from console.engine.rows import Orders
from console.engine.session import Interrupted, Session, Wishes
from console.engine.verdict import Verdict
from console.engine.visit import visit
from console.journal import schema
from console.journal.connect import Conn, connect
from console.journal.lease import Fence
from console.journal.state import RunStatus, Verb
from console.plan.model import BackfillSettings, Direction, Kind, Lookup, Mapping, TableName
from tests.engine.scene import MAPPING, a_database, a_plan, a_run, a_task, order, switch_on
from tests.engine.tiny import wait_until

FAST = BackfillSettings(batch_rows=10_000, max_reject_percent=50)
COPIED = (
    a_task("sync", Kind.SYNC, mappings=("sales",)),
    a_task("copy", Kind.BACKFILL, mappings=("sales",), backfill=FAST),
)


_LOOKERS: list[Session] = []


def a_looker(database: str, mapping: Mapping = MAPPING) -> Session:
    """A session that only looks; its connection is closed at the end of the test."""
    _LOOKERS.append(Session(a_plan(mapping=mapping), database, 0, Fence(0, 0), "tester", Wishes(), patience_s=10))
    return _LOOKERS[-1]


@pytest.fixture(autouse=True)
def tidy() -> Iterator[None]:
    """Close what looked."""
    yield
    while _LOOKERS:
        _LOOKERS.pop().drop()


def verdict_of(session: Session, *, limit: int = 20, workers: int = 2, settling: bool = True) -> Verdict:
    """Every row of the session's only mapping compared."""
    (mapping,) = session.plan.mappings
    return judged(
        session, mapping, limit=limit, workers=workers, duty_percent=100, show=silent, settling=settling
    )  # fmt: skip


def copied(database: str, rows: int, *, reverse: bool = False) -> Conn:
    """The scene's tables with ``rows`` carried over by a run; the sync is on."""
    conn = a_database(database, rows=rows)
    plan = a_plan(*COPIED)
    status, answer = order(database, plan, a_run(database, plan), Verb.START)
    assert status is RunStatus.DONE, answer
    if reverse:
        switch_on(conn, Direction.REVERSE)
    return conn


def secretly(conn: Conn, statement: str) -> int:
    """Change rows behind the sync's back; returns how many."""
    with conn.transaction():
        conn.execute("SET LOCAL session_replication_role = replica")
        return conn.execute(statement.encode()).rowcount


def kinds(verdict: Verdict) -> dict[str, int]:
    """What differs, by kind."""
    return dict(verdict.faults)


@pytest.fixture
def many_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small parts, so that a small table has many of them."""
    monkeypatch.setattr(scan, "FIRST_ROWS", 1000)
    monkeypatch.setattr(scan, "TARGET_MS", 5)


# -- what is found ------------------------------------------------------------------------------------------------

NTH = "(SELECT note FROM sales_v2 ORDER BY at OFFSET {} LIMIT 1)"
CORRUPTIONS: dict[str, tuple[str, dict[str, int], tuple[str, ...]]] = {
    "a changed value": (
        f"UPDATE sales_v2 SET amount = amount + 0.00000001 WHERE note = {NTH.format(4700)}",
        {"changed": 1}, ("amount",),
    ),
    "a missing row": (f"DELETE FROM sales_v2 WHERE note = {NTH.format(5300)}", {"missing": 1}, ()),
    "an extra row": ("INSERT INTO sales_v2 VALUES ('2026-01-01 00:50:00.5Z', 3, 1, 'from nowhere')", {"extra": 1}, ()),
    "rows before and after all others": (
        "INSERT INTO sales_v2 VALUES ('1999-01-01Z', 3, 1, ''), ('infinity', 3, 1, '')", {"extra": 2}, (),
    ),
    "two rows that exchange a value": (
        "UPDATE sales_v2 a SET amount = b.amount FROM sales_v2 b WHERE a.note <> b.note AND"
        f" a.note IN ({NTH.format(500)}, {NTH.format(501)}) AND b.note IN ({NTH.format(500)}, {NTH.format(501)})",
        {"changed": 2}, ("amount",),
    ),
    "a wrong id": (
        f"UPDATE sales_v2 SET good_id = 32 WHERE note = {NTH.format(3000)}", {"missing": 1, "extra": 1}, (),
    ),
    "NULL instead of a value": (
        f"UPDATE sales_v2 SET note = NULL WHERE note = {NTH.format(4000)}", {"changed": 1}, ("note",),
    ),
    "an empty text instead of NULL": ("UPDATE sales SET note = NULL WHERE note = 'row 77'", {"changed": 1}, ("note",)),
    "a reject that is lost": (
        "DELETE FROM pgferry.reject WHERE key = (SELECT min(key::text)::jsonb FROM pgferry.reject)",
        {"unlisted": 1}, (),
    ),
    "a reject of a row that is gone": (
        "DELETE FROM sales WHERE (at, shop, item) IN (SELECT at, shop, item FROM sales WHERE shop = 'S9' LIMIT 2)",
        {"stale": 2}, (),
    ),
    "a reject of a row that is carried": (
        "INSERT INTO pgferry.reject (mapping, direction, key, row_data, reason) SELECT 'sales', 'forward',"
        " jsonb_build_object('at', at::text, 'shop', shop, 'item', item), '{}', 'a lie' FROM sales WHERE note = 'row 60'",
        {"stale": 1}, (),
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def corruptible(server: Any) -> Iterator[str]:
    """A database whose rows are all right; tests leave it so."""
    database = server.create_database("corruptible")
    copied(database, 6000).close()
    right = verdict_of(a_looker(database), settling=False)
    assert right.ok, right.words()
    assert right.old == 6000 == right.new + right.rejected
    yield database
    server.drop_database("corruptible")


@pytest.mark.parametrize("what", CORRUPTIONS)
def test_a_corruption_is_found_and_named(corruptible: str, what: str) -> None:
    statement, expected, columns = CORRUPTIONS[what]
    looker = a_looker(corruptible)
    with connect(corruptible) as conn:
        conn.execute("SET timezone = 'UTC'")
        kept = "CREATE TABLE kept_{t} AS TABLE {t}; "
        conn.execute((kept.format(t="sales") + kept.format(t="sales_v2")).encode())
        conn.execute("CREATE TABLE kept_reject AS TABLE pgferry.reject")
        try:
            assert secretly(conn, statement) == sum(expected.values()) - ("missing" in expected and "extra" in expected)
            wrong = verdict_of(looker, settling=False)
        finally:
            for name, kept_as in (("sales", "sales"), ("sales_v2", "sales_v2"), ("pgferry.reject", "reject")):
                secretly(conn, f"DELETE FROM {name}")
                secretly(conn, f"INSERT INTO {name} TABLE kept_{kept_as}")
                conn.execute(f"DROP TABLE kept_{kept_as}".encode())
        assert not wrong.ok
        assert kinds(wrong) == expected
        assert len(wrong.differences) == sum(expected.values())
        if columns:
            assert {d.columns for d in wrong.differences} == {columns}


def test_a_duplicate_is_found_and_named(database: str) -> None:
    with copied(database, 1000) as conn:
        conn.execute("ALTER TABLE sales_v2 DROP CONSTRAINT sales_v2_pkey")
        secretly(conn, "INSERT INTO sales_v2 SELECT * FROM sales_v2 WHERE note = 'row 500'")
        found = verdict_of(a_looker(database))
        assert kinds(found) == {"duplicate": 1}
        (named,) = found.differences
        assert named.new is not None
        assert named.new["note"] == "row 500"


def test_every_row_may_differ_and_all_are_counted(database: str, many_parts: None) -> None:
    with copied(database, 5000) as conn:
        secretly(conn, "UPDATE sales_v2 SET amount = amount + 1")
        found = verdict_of(looker := a_looker(database), limit=7)
        assert found.faults["changed"] == found.new
        assert len(found.differences) == 7
        secretly(conn, "DELETE FROM sales_v2")
        found = verdict_of(looker)
        assert found.faults["missing"] == found.old - found.rejected
        assert found.new == 0


# -- who stands for a key -------------------------------------------------------------------------------------------


def test_the_row_that_stands_for_a_key_is_the_canonical_one_and_the_others_are_rejects(database: str) -> None:
    at = "'2026-05-01Z'"
    with copied(database, 100) as conn:
        conn.execute("INSERT INTO spellings VALUES ('s_0', 'S0', false)")
        looker = a_looker(database)
        conn.execute(f"INSERT INTO sales VALUES ({at}, 's_0', 'item3', 3, 'x'), ({at}, 's0', 'item3', 2, 'y')".encode())
        assert verdict_of(looker).ok, "two other spellings: the first in order stands, the second is listed"
        secretly(conn, f"UPDATE sales_v2 SET amount = 3, note = 'x' WHERE at = {at}")
        assert kinds(verdict_of(looker, settling=False)) == {"changed": 1}, "the other one's values"
        secretly(conn, "UPDATE pgferry.reject SET key = key || '{\"shop\": \"s0\"}' WHERE key->>'shop' = 's_0'")
        assert kinds(verdict_of(looker, settling=False)) == {"stale": 1}, "as if the other one stood for the key"
        assert verdict_of(looker).ok, "carried again, it is right"
        conn.execute(f"INSERT INTO sales VALUES ({at}, 'S0', 'item3', 1, 'z')".encode())
        assert verdict_of(looker).ok
        secretly(conn, "DELETE FROM pgferry.reject WHERE key->>'shop' = 's0' AND row_data->>'note' = 'y'")
        assert kinds(verdict_of(looker, settling=False)) == {"duplicate": 1}, "two rows for one key, and no reject"


def test_what_the_old_shape_cannot_hold_is_listed_and_no_difference(database: str) -> None:
    with copied(database, 100, reverse=True) as conn:
        conn.execute("INSERT INTO goods VALUES (99, 'S7', 'unheard of')")  # no spelling leads back
        conn.execute("INSERT INTO sales_v2 VALUES ('2026-05-01Z', 99, 1, 'new only')")
        conn.execute("UPDATE sales_v2 SET amount = -5 WHERE note = 'row 5'")  # the old table's CHECK forbids it
        found = verdict_of(looker := a_looker(database))
        assert found.ok, found.words()
        assert (found.held, found.held_extra) == (2, 1)
        assert "1 only the new shape can hold" in found.words()
        secretly(conn, "DELETE FROM pgferry.reject WHERE direction = 'reverse'")
        assert kinds(verdict_of(looker)) == {"changed": 1, "extra": 1}


def test_a_row_that_a_second_constraint_refused_is_among_the_rejects(database: str) -> None:
    conn = a_database(database, rows=100)
    conn.execute("CREATE UNIQUE INDEX ON sales_v2 (note)")
    switch_on(conn, Direction.FORWARD)
    conn.execute("SELECT count(pgferry.sales_touch_old(at, shop, item, false)::text) FROM sales")
    conn.execute("INSERT INTO sales VALUES ('2026-05-01Z', 'S1', 'item1', 1, 'row 1')")
    found = verdict_of(looker := a_looker(database))
    assert found.ok, found.words()
    assert found.rejected == 6
    secretly(conn, "DELETE FROM pgferry.reject WHERE row_data->>'at' LIKE '2026-05-01%'")
    assert kinds(verdict_of(looker, settling=False)) == {"missing": 1}
    conn.close()


def test_rows_that_the_new_tables_constraints_refuse_are_listed_in_every_part(
    database: str, many_parts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "LOOKUP_SHARE", 0)
    asked: list[bool] = []
    quick = compare_sql.quick

    def noted(*args: Any, trusting: bool = False) -> Any:
        asked.append(trusting)
        return quick(*args, trusting=trusting)

    monkeypatch.setattr(compare_sql, "quick", noted)
    with copied(database, 8000) as conn:
        looker = a_looker(database)
        assert verdict_of(looker, workers=1).ok
        assert set(asked) == {True}, "the constraints are the new table's own business"
        conn.execute("UPDATE sales SET amount = 2000000 WHERE note ~ '7$'")  # its CHECK takes less than a million
        asked.clear()
        found = verdict_of(looker, workers=1)
        assert found.ok, found.words()
        assert found.rejected > 800
        assert asked.count(True) == 3 < asked.count(False), "what never helps is given up"
        secretly(conn, "DELETE FROM pgferry.reject WHERE row_data->>'note' = 'row 4007'")
        assert kinds(verdict_of(looker, settling=False)) == {"unlisted": 1}


# -- types and keys ---------------------------------------------------------------------------------------------------

ODD = """
CREATE DOMAIN short AS varchar(10);
CREATE TABLE odd (a int, b short, j json, x varbit, p point, m money, n numeric, f float8, r int[], t timestamp, c bytea,
    PRIMARY KEY (a, b));
CREATE TABLE odd_v2 (a bigint, b text, j json, x varbit, p point, m money, n numeric(20, 4), f float8, r int[], t timestamp,
    c bytea, PRIMARY KEY (a, b));
INSERT INTO odd SELECT i, 'b' || i % 3, '{"a":  1}', B'101', '(1,2)', 3, 1.5, CASE i % 4 WHEN 0 THEN 'NaN' WHEN 1 THEN '-0'
    ELSE 0.1 END::float8, ARRAY[i, NULL], '2026-01-01'::timestamp + i * interval '1 us', '\\x00ff' FROM generate_series(1, 2000) i;
"""
NAMES = ("a", "b", "j", "x", "p", "m", "n", "f", "r", "t", "c")
ODD_MAPPING = Mapping(
    id="odd", old=TableName("public", "odd"), new=TableName("public", "odd_v2"), old_key=("a", "b"), new_key=("a", "b"),
    columns=tuple((n, f"o.{n}") for n in NAMES), back=tuple((n, f"n.{n}") for n in NAMES),
)  # fmt: skip


@pytest.mark.parametrize("hashes", [True, False])
def test_values_are_equal_as_their_types_say(
    database: str, many_parts: None, hashes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not hashes:  # as on version 13
        monkeypatch.setattr(row_values, "old_server", lambda conn: True)
        monkeypatch.setattr(compare_sql, "old_server", lambda conn: True)
    with connect(database) as conn:
        schema.install(conn)
        conn.execute(ODD.encode())
        conn.execute("INSERT INTO odd_v2 TABLE odd")  # 1.5 becomes 1.5000; int bigint; varchar text
        conn.execute("UPDATE odd_v2 SET f = 0 WHERE f = 0")  # 0 for -0
        found = verdict_of(looker := a_looker(database, ODD_MAPPING), settling=False)
        assert found.ok, found.words()
        for column, value in {
            "j": "'{\"a\": 1}'", "x": "B'1010'", "p": "'(2,1)'", "m": "4", "n": "1.5001", "f": "2", "r": "'{NULL}'",
            "t": "'2026-01-01'", "c": "'\\x00fe'",
        }.items():  # fmt: skip
            conn.execute(f"UPDATE odd_v2 SET {column} = {value} WHERE a = 777".encode())
            (named,) = verdict_of(looker, settling=False).differences
            assert (named.kind, named.columns) == ("changed", (column,))
            conn.execute(f"UPDATE odd_v2 v SET {column} = o.{column} FROM odd o WHERE v.a = 777 AND o.a = 777".encode())
        assert verdict_of(looker, settling=False).ok


def test_both_tables_are_cut_alike_only_where_their_keys_sort_alike(database: str) -> None:
    def lead(mapping: Mapping) -> tuple[tuple[str, str], ...]:
        return compare_sql.question(conn, mapping, mapping_facts(conn, mapping, "archive")).lead

    with connect(database) as conn:
        conn.execute(ODD.encode())
        assert lead(ODD_MAPPING) == (("a", "a"), ("b", "b"))
        conn.execute('ALTER TABLE odd_v2 ALTER b TYPE text COLLATE "C"')
        conn.execute('ALTER TABLE odd ALTER b TYPE varchar COLLATE "ucs_basic"')
        assert lead(ODD_MAPPING) == (("a", "a"),)
        conn.execute("ALTER TABLE odd_v2 ALTER a TYPE text")
        assert lead(replace(ODD_MAPPING, columns=(("a", "o.a"), *ODD_MAPPING.columns[1:]))) == ()


# -- and back ---------------------------------------------------------------------------------------------------------


def test_the_way_back_must_give_the_old_row_again(database: str) -> None:
    with connect(database) as conn:
        schema.install(conn)
        conn.execute("CREATE TABLE a (id int PRIMARY KEY, word text, price numeric, kind text)")
        conn.execute("CREATE TABLE b (id int PRIMARY KEY, word text, price float4, kind_id int)")
        conn.execute("CREATE TABLE k (name text, id int, main boolean, label text)")
        conn.execute("INSERT INTO k VALUES ('x', 1, true, 'X'), ('y', 2, true, 'Y'), ('why', 2, false, 'WHY')")
        conn.execute("INSERT INTO a SELECT i, 'word' || i, i / 4.0, CASE i % 3 WHEN 0 THEN 'x' WHEN 1 THEN 'y' ELSE 'why' END FROM generate_series(1, 900) i")  # fmt: skip
        conn.execute("INSERT INTO b SELECT a.id, upper(word), price, k.id FROM a JOIN k ON k.name = a.kind")
        mapping = Mapping(
            id="ab", old=TableName("public", "a"), new=TableName("public", "b"), old_key=("id",), new_key=("id",),
            columns=(("id", "o.id"), ("word", "upper(o.word)"), ("price", "o.price"), ("kind_id", "k.id")),
            back=(("id", "n.id"), ("word", "lower(n.word)"), ("price", "n.price"), ("kind", "k.name")),
            lookups=(Lookup("k", TableName("public", "k"), (("name", "kind"),), "id", "main"),),
        )  # fmt: skip
        looker = a_looker(database, mapping)
        assert verdict_of(looker, settling=False).ok, "an old row keeps its own spelling"
        conn.execute("UPDATE a SET word = 'WORD5' WHERE id = 5")  # forward still equal, back it would be lower case
        (named,) = verdict_of(looker, settling=False).differences
        assert (named.kind, named.columns) == ("changed", ("word (back)",))
        conn.execute("UPDATE a SET word = 'word5' WHERE id = 5")
        conn.execute("UPDATE a SET price = 0.123456789 WHERE id = 6")
        conn.execute("UPDATE b SET price = 0.123456789 WHERE id = 6")
        named = verdict_of(a_looker(database, mapping), settling=False).differences[0]
        assert named.columns == ("price (back)",), "a type that cannot hold the value"
        labelled = replace(mapping, back=(*mapping.back[:2], ("price", "n.price"), ("kind", "lower(k.label)")))
        conn.execute("UPDATE a SET price = 6, kind = 'y' WHERE id = 6")
        conn.execute("UPDATE b SET price = 6, kind_id = 2 WHERE id = 6")
        found = verdict_of(a_looker(database, labelled), settling=False)
        assert kinds(found) == {"changed": 300}, "each row spelled why would come back as y"


# -- while it runs ----------------------------------------------------------------------------------------------------


def test_a_lost_connection_costs_only_the_part_it_was_in(
    database: str, many_parts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with copied(database, 8000) as conn:
        secretly(conn, "UPDATE sales_v2 SET amount = amount + 1 WHERE note IN ('row 20', 'row 7000')")
        judge, lost = scan.judge, []

        def kill_then_judge(mine: Conn, *args: Any) -> Any:
            if len(lost) < 5:
                lost.append(mine.info.backend_pid)
                conn.execute("SELECT pg_terminate_backend(%s, 5000)", (mine.info.backend_pid,))
            return judge(mine, *args)

        monkeypatch.setattr(scan, "judge", kill_then_judge)
        found = verdict_of(a_looker(database))
        assert len(lost) == 5
        assert found.old == 8000
        assert kinds(found) == {"changed": 2}


def test_a_wish_stops_it_at_the_next_part_and_no_connection_is_left(
    database: str, many_parts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with copied(database, 8000) as conn:
        looker = a_looker(database)
        judge = scan.judge

        def then_stop(*args: Any) -> Any:
            looker.wishes.stop.set()
            time.sleep(0.3)  # longer than from one look at the wishes to the next
            return judge(*args)

        monkeypatch.setattr(scan, "judge", then_stop)
        with pytest.raises(Interrupted):
            verdict_of(looker)
        left = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'pgferry%compare'"
        assert wait_until(lambda: conn.execute(left).fetchone() == (0,))
        looker.wishes.stop.clear()
        monkeypatch.undo()
        assert verdict_of(looker).ok, "begun anew"


def test_the_old_table_may_go_to_the_archive_meanwhile(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with copied(database, 500) as conn:
        judge, moved = scan.judge, []

        def move_then_judge(*args: Any) -> Any:
            if not moved:
                conn.execute("CREATE SCHEMA pgferry_archive; ALTER TABLE sales SET SCHEMA pgferry_archive")
            moved.append(1)
            return judge(*args)

        monkeypatch.setattr(scan, "judge", move_then_judge)
        visitor = visit(a_plan(), database, "tester")
        assert rows.once(visitor, MAPPING, Orders(), origin="check").verdict.ok
        visitor.drop()


def test_writers_on_both_sides_are_never_taken_for_a_difference(database: str, many_parts: None) -> None:
    with copied(database, 6000, reverse=True) as conn:
        conn.execute("SET timezone = 'UTC'")
        ended: list[bool] = []

        def write(side: int) -> int:
            done = 0
            with connect(database, application_name=f"writer {side}") as mine:
                while not ended:
                    at = f"'2026-01-01Z'::timestamptz + {(done * 37 + side) % 6000} * interval '1 s'"
                    name, good = ("sales", "'S1', 'item1'") if side % 2 else ("sales_v2", "1")
                    for statement in (
                        f"UPDATE {name} SET amount = amount + 1 WHERE at = {at} AND amount < 900000",
                        f"INSERT INTO {name} VALUES ({at} + interval '{side + 1} us', {good}, 5, 'new') ON CONFLICT DO NOTHING",
                        f"DELETE FROM {name} WHERE at = {at} + interval '{(side + 2) % 4 + 1} us'",
                        f"UPDATE {name} SET at = at + interval '7 s' WHERE at = {at} + interval '{side + 1} us'",
                    ):
                        try:
                            mine.execute(statement.encode())
                            done += 1
                        except Exception as error:
                            if "deadlock" not in str(error) and "duplicate key" not in str(error):
                                raise
            return done

        looker = a_looker(database)
        with ThreadPoolExecutor(4) as pool:
            writers = [pool.submit(write, side) for side in range(4)]
            try:
                seen = [verdict_of(looker, settling=False) for _ in range(12)]
                secretly(conn, "UPDATE sales_v2 SET note = 'bad' WHERE note IN ('row 2001', 'row 4002')")
                bad = [verdict_of(looker, settling=False) for _ in range(5)]
            finally:
                ended.append(True)
            written = [writer.result() for writer in writers]
        assert all(verdict.ok for verdict in seen), [verdict.words() for verdict in seen]
        assert all(verdict.faults["changed"] >= 1 for verdict in bad), [verdict.words() for verdict in bad]
        assert min(written) > 100


def test_a_comparison_without_a_journal_looks_at_no_rejects(database: str) -> None:
    with a_database(database, rows=60) as conn:
        conn.execute("INSERT INTO sales_v2 SELECT s.at, g.good_id, amount, note FROM sales s JOIN goods_names g USING (shop, item)")  # fmt: skip
        found = verdict_of(a_looker(database), settling=False)
        assert kinds(found) == {"unlisted": 5}
        assert conn.execute("SELECT to_regnamespace('pgferry')").fetchone() == (None,)


# -- keys that begin differently ----------------------------------------------------------------------------------------

WORDS = """
CREATE TABLE words (word text PRIMARY KEY, size int, note text);
CREATE TABLE spelled (word text PRIMARY KEY, id int NOT NULL, main boolean NOT NULL);
CREATE INDEX ON spelled (id);
CREATE TABLE words_v2 (id int PRIMARY KEY, size int, note text);
INSERT INTO spelled SELECT 'w' || i, i, true FROM generate_series(1, 4000) i;
INSERT INTO spelled SELECT 'W' || i, i, false FROM generate_series(1, 4000) i;
"""
BY_WORD = Mapping(
    id="words", old=TableName("public", "words"), new=TableName("public", "words_v2"), old_key=("word",), new_key=("id",),
    columns=(("id", "s.id"), ("size", "o.size"), ("note", "o.note")),
    back=(("word", "s.word"), ("size", "n.size"), ("note", "n.note")),
    lookups=(Lookup("s", TableName("public", "spelled"), (("word", "word"),), "id", "main"),),
)  # fmt: skip


def test_keys_that_begin_differently_are_compared_in_parts_too(
    database: str, many_parts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "LOOKUP_SHARE", 0)
    parts: list[bool] = []
    with connect(database) as conn:
        conn.execute(WORDS.encode())
        switch_on(conn, Direction.FORWARD, BY_WORD)
        # Other spellings alone, beside the canonical one, and words that nobody knows.
        conn.execute(
            "INSERT INTO words SELECT CASE WHEN i % 100 = 7 THEN 'W' WHEN i % 100 = 8 THEN '?' ELSE 'w' END || i, i, 'n' || i"
            " FROM generate_series(1, 2000) i"
        )
        conn.execute("INSERT INTO words SELECT 'W' || i, -i, 'twin' FROM generate_series(100, 2000, 100) i")
        looker = a_looker(database, BY_WORD)
        take = scan.Scan._take
        monkeypatch.setattr(
            scan.Scan, "_take", lambda s, walk, *rest: (parts.append(walk.nested), take(s, walk, *rest))[1]
        )
        right = verdict_of(looker)
        assert right.ok, right.words()
        assert (right.old, right.new, right.rejected) == (2020, 1980, 40)
        assert len(parts) > 3
        assert all(parts)
        for wrong, expected in {
            "UPDATE words_v2 SET size = size + 1 WHERE id IN (5, 1999)": {"changed": 2},
            "UPDATE words_v2 SET size = -300, note = 'twin' WHERE id = 300": {"changed": 1},
            "DELETE FROM words_v2 WHERE id IN (100, 207)": {"missing": 2},
            "UPDATE words_v2 SET id = 9000 WHERE id = 10": {"missing": 1, "extra": 1},
            "INSERT INTO words_v2 VALUES (8, 1, 'its word is refused')": {"extra": 1},
            "DELETE FROM pgferry.reject WHERE key->>'word' IN ('?8', '?108')": {"unlisted": 2},
            "DELETE FROM pgferry.reject WHERE key->>'word' = 'W300'": {"duplicate": 1},
        }.items():
            conn.execute("BEGIN")
            conn.execute("CREATE TABLE kept AS TABLE words_v2; CREATE TABLE kept_rejects AS TABLE pgferry.reject")
            conn.execute("COMMIT")
            secretly(conn, wrong)
            found = verdict_of(looker, settling=False)
            assert kinds(found) == expected, wrong
            assert len(found.differences) == sum(expected.values())
            secretly(conn, "DELETE FROM words_v2")
            secretly(conn, "INSERT INTO words_v2 TABLE kept")
            secretly(conn, "DELETE FROM pgferry.reject")
            secretly(conn, "INSERT INTO pgferry.reject TABLE kept_rejects")
            conn.execute("DROP TABLE kept, kept_rejects")
        secretly(conn, "UPDATE words_v2 SET size = size + 1")
        every = verdict_of(looker, limit=5, settling=False)
        assert (kinds(every), len(every.differences)) == ({"changed": 1980}, 5)
