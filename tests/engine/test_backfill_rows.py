"""What becomes of each row of a copy: written, rejected with the reason, set apart from its batch, tried again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from console.engine import copy as copying
from console.engine.backfill import Backfill
from console.engine.compare import compare
from console.engine.copy import row_hash
from console.engine.facts import mapping_facts
from console.engine.session import Session
from console.errors import StepFailed
from console.journal.connect import Conn
from console.plan.model import BackfillSettings, Direction, Kind, Mapping
from tests.engine.scene import MAPPING, a_database, a_plan, a_session, a_task, switch_on

Make = Callable[..., Session]
PACE = BackfillSettings(batch_rows=400, target_ms=1000, max_reject_percent=100)


@pytest.fixture
def conn(database: str) -> Iterator[Conn]:
    with a_database(database, rows=2000) as made:
        yield made


@pytest.fixture
def a_copy(database: str) -> Iterator[Make]:
    """Makes sessions of runs that copy and compare."""
    made: list[Session] = []

    def make(settings: BackfillSettings = PACE, mapping: Mapping = MAPPING) -> Session:
        copy = a_task("copy", Kind.BACKFILL, mappings=("sales",), backfill=settings)
        compare = a_task("compare", Kind.CHECK, mappings=("sales",))
        made.append(a_session(database, a_plan(copy, compare, mapping=mapping)))
        return made[-1]

    yield make
    for session in made:
        session.drop()


def run(session: Session) -> None:
    Backfill(session, session.plan.task("copy"), session.plan.mapping("sales"), 0).run()


def sums(conn: Conn) -> tuple[object, ...]:
    """(read, written, rejected) by the finished chunks, and (rows of the new table, rejects)."""
    row = conn.execute(
        "SELECT sum(rows_read)::int, sum(rows_written)::int, sum(rows_rejected)::int,"
        " (SELECT count(*) FROM sales_v2)::int, (SELECT count(*) FROM pgferry.reject)::int"
        " FROM pgferry.chunk WHERE status = 'done'"
    ).fetchone()
    assert row is not None
    return row


def rejects(conn: Conn) -> list[tuple[object, ...]]:
    """(note, sqlstate, reason) of rejects that no expression of the mapping foretold."""
    return conn.execute(
        "SELECT row_data->>'note', sqlstate, reason FROM pgferry.reject WHERE reason !~ 'match|equals|already'"
    ).fetchall()


def raising(conn: Conn, condition: str, sqlstate: str, message: str) -> None:
    """A trigger of the application on the new table."""
    conn.execute(
        "CREATE FUNCTION raising() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF {condition} THEN RAISE EXCEPTION '{message}' USING ERRCODE = '{sqlstate}'; END IF; RETURN NEW; END $$"
    )
    conn.execute("CREATE TRIGGER raising BEFORE INSERT ON sales_v2 FOR EACH ROW EXECUTE FUNCTION raising()")


def test_one_row_that_a_trigger_refuses_is_set_apart(a_copy: Make, conn: Conn) -> None:
    raising(conn, "NEW.note = 'row 1234'", "P0001", "not this one")
    run(a_copy())
    assert rejects(conn) == [("row 1234", "P0001", "not this one")]
    assert sums(conn) == (2000, 1919, 81, 1919, 81)
    halved = conn.execute("SELECT count(*) > 0, max(error) FROM pgferry.chunk WHERE attempts > 1").fetchone()
    assert halved == (True, "not this one"), "the failing chunk was halved, its error is kept"


@pytest.mark.parametrize("rows", [20_000, pytest.param(1_000_000, marks=pytest.mark.long)])
def test_one_bad_row_among_many_costs_a_few_halves(database: str, a_copy: Make, rows: int) -> None:
    with a_database(database, rows=rows) as conn:
        raising(conn, "NEW.note = 'row 12345'", "P0001", "not this one")
        run(a_copy(BackfillSettings(batch_rows=20_000)))
        assert rejects(conn) == [("row 12345", "P0001", "not this one")]
        read, written, rejected, new, refused = sums(conn)
        assert (read, written, rejected) == (rows, new, refused)
        assert conn.execute("SELECT sum(attempts - 1) FROM pgferry.chunk").fetchone() <= (10,)


def test_rows_whose_expression_fails_are_set_apart(a_copy: Make, conn: Conn) -> None:
    columns = tuple((n, "1000 / (o.amount::int - 700)" if n == "amount" else e) for n, e in MAPPING.columns)
    conn.execute("ALTER TABLE sales_v2 DROP CONSTRAINT sales_v2_amount_check")
    run(a_copy(mapping=replace(MAPPING, columns=columns)))
    assert rejects(conn) == [("row 700", "22012", "division by zero")]
    assert sums(conn) == (2000, 1919, 81, 1919, 81)


def test_many_bad_rows_side_by_side_end_as_rejects(a_copy: Make, conn: Conn) -> None:
    raising(conn, "NEW.amount BETWEEN 300 AND 450", "23514", "no such amounts")
    run(a_copy())
    assert {reason for _, _, reason in rejects(conn)} == {"no such amounts"}
    read, written, rejected, new, refused = sums(conn)
    assert (read, written, rejected) == (2000, new, refused)
    assert conn.execute("SELECT count(*) FROM sales_v2 WHERE amount BETWEEN 300 AND 450").fetchone() == (0,)


def test_constraints_of_the_new_table_give_their_names_as_reasons(a_copy: Make, conn: Conn) -> None:
    conn.execute("UPDATE sales SET amount = 2000000 WHERE note = 'row 40'")
    conn.execute("ALTER TABLE sales_v2 ALTER note SET NOT NULL")
    conn.execute("UPDATE sales SET note = NULL WHERE note = 'row 41'")
    run(a_copy())
    found = conn.execute(
        "SELECT (row_data->>'amount')::float::int, sqlstate, reason FROM pgferry.reject"
        " WHERE reason !~ 'match|equals' ORDER BY 1"
    ).fetchall()
    assert found == [
        (41, "23502", "note must not be null"),
        (2000000, "23514", "constraint sales_v2_amount_check of sales_v2"),
    ]


def test_a_second_unique_key_of_the_new_table_refuses_one_row(a_copy: Make, conn: Conn) -> None:
    conn.execute("UPDATE sales SET note = 'row 11' WHERE note = 'row 12'")
    conn.execute("CREATE UNIQUE INDEX ON sales_v2 (note)")
    run(a_copy())
    assert [(note, state) for note, state, _ in rejects(conn)] == [("row 11", "23505")]
    assert sums(conn)[3:] == (1919, 81)


@pytest.mark.parametrize("large", [False, True], ids=["lookups read whole", "lookups probed"])
def test_of_several_spellings_the_one_goes_in_that_the_sync_would_choose(
    a_copy: Make, conn: Conn, monkeypatch: pytest.MonkeyPatch, large: bool
) -> None:
    if large:
        monkeypatch.setattr(copying, "LARGE_LOOKUP", 1)
    conn.execute("INSERT INTO spellings VALUES ('zero', 'S0', false), ('nil', 'S0', false)")
    for at, spellings in (("2020-01-01Z", "{zero,S0,s0}"), ("2020-01-02Z", "{zero,nil}"), ("2020-01-03Z", "{zero}")):
        conn.execute("INSERT INTO sales SELECT %s, s, 'item3', 1, s FROM unnest(%s::text[]) s", (at, spellings))
    switch_on(conn, Direction.FORWARD)
    session = a_copy(replace(PACE, batch_rows=2))  # spellings of one key stand in different batches
    session.wishes.settings["target_ms"] = 1
    run(session)
    early = conn.execute("SELECT note FROM sales_v2 WHERE at < '2021-01-01Z' ORDER BY at").fetchall()
    assert early == [("S0",), ("nil",), ("zero",)]
    losers = conn.execute("SELECT row_data->>'note' FROM pgferry.reject WHERE reason ~ 'already' ORDER BY 1").fetchall()
    assert losers == [("s0",), ("zero",), ("zero",)]
    verdict = compare(session, session.plan.task("compare"), MAPPING)
    assert verdict.ok, verdict.words()


def test_a_full_disk_stops_the_copy_in_one_sentence_and_it_resumes(a_copy: Make, conn: Conn) -> None:
    raising(conn, "NEW.note = 'row 1500'", "53100", "could not extend file: No space left on device")
    session = a_copy()
    with pytest.raises(StepFailed) as caught:
        run(session)
    assert caught.value.what == "The copy of sales stopped: could not extend file: No space left on device (53100)."
    assert "Free what it lacks" in str(caught.value)
    done = sums(conn)
    assert 0 < int(str(done[0])) < 2000
    assert conn.execute("SELECT attempts, status FROM pgferry.chunk WHERE error <> ''").fetchall() == [(1, "pending")]
    conn.execute("DROP TRIGGER raising ON sales_v2")
    run(session)
    assert sums(conn) == (2000, 1920, 80, 1920, 80)


@pytest.mark.parametrize("sqlstate", ["40001", "40P01", "55P03"])
def test_what_passes_is_tried_again(a_copy: Make, conn: Conn, sqlstate: str) -> None:
    conn.execute("CREATE SEQUENCE tries")
    raising(conn, "NEW.note = 'row 500' AND nextval('tries') <= 3", sqlstate, "in the way")
    run(a_copy())
    assert sums(conn) == (2000, 1920, 80, 1920, 80)
    assert conn.execute("SELECT attempts, error FROM pgferry.chunk WHERE attempts > 1").fetchall() == [
        (4, "in the way")
    ]


def test_the_share_of_rejects_counts_in_a_small_table_too_and_a_raised_limit_resumes(
    database: str, a_copy: Make
) -> None:
    with a_database(database, rows=100) as conn:
        conn.execute("UPDATE sales SET shop = 'nobody' WHERE amount < 31")
        session = a_copy(BackfillSettings(max_reject_percent=20))
        with pytest.raises(StepFailed, match=r"3\d of 100 rows of sales were rejected \(3\d.\d %\)"):
            run(session)
        before = sums(conn)
        session.wishes.settings["max_reject_percent"] = 50.0
        run(session)
        assert sums(conn) == before
        session.wishes.settings["max_rejects"] = 10
        with pytest.raises(StepFailed, match="more than the plan allows"):
            run(session)


def test_the_chunks_hashes_are_those_of_the_rows_as_written(a_copy: Make, conn: Conn) -> None:
    run(a_copy())
    written = conn.execute("SELECT sum(content_hash)::numeric(40, 0), sum(rows_written) FROM pgferry.chunk").fetchone()
    row = row_hash(conn, MAPPING, mapping_facts(conn, MAPPING, "pgferry_archive")).as_string(None)
    look = f"SELECT sum({row})::numeric(40, 0), count(*) FROM sales_v2 n"
    assert conn.execute(look).fetchone() == written
    two = "note IN ('row 20', 'row 21')"
    conn.execute(f"UPDATE sales_v2 SET amount = (SELECT sum(amount) FROM sales_v2 WHERE {two}) - amount WHERE {two}")
    assert conn.execute(look).fetchone() != written, "two rows that exchange a value are seen"


def test_without_a_content_hash_the_same_rows_are_copied_and_counted(a_copy: Make, conn: Conn) -> None:
    """One batch goes the quick way, one meets a row that the sync brought, one has a row to be set apart."""
    conn.execute("INSERT INTO sales_v2 SELECT at, 7, amount, 'there' FROM sales WHERE note = 'row 6'")
    conn.execute("UPDATE sales SET amount = 1000001 WHERE note = 'row 1000'")
    session = a_copy(replace(PACE, content_hash=False))
    run(session)
    assert sums(conn) == (2000, 1918, 81, 1919, 81)
    assert conn.execute("SELECT note FROM sales_v2 WHERE good_id = 7 AND note IN ('there', 'row 6')").fetchall() == [
        ("there",)
    ]
    assert conn.execute("SELECT count(*) FROM pgferry.chunk WHERE ms <= 0").fetchone() == (0,)
    hashes = conn.execute("SELECT content_hash = 0, count(*) FROM pgferry.chunk GROUP BY 1").fetchall()
    assert hashes[0][0] is True
    [text] = conn.execute(
        "SELECT data->>'content_hash' FROM pgferry.event WHERE text LIKE '%copied: 2,000%'"
    ).fetchall()
    assert text == ("",)


def test_columns_that_cannot_be_hashed_are_hashed_as_text(a_copy: Make, conn: Conn) -> None:
    conn.execute("ALTER TABLE sales_v2 ALTER note TYPE json USING to_json(note)")
    columns = tuple((n, "to_json(o.note)" if n == "note" else e) for n, e in MAPPING.columns)
    run(a_copy(mapping=replace(MAPPING, columns=columns)))
    assert sums(conn)[:3] == (2000, 1920, 80)
    assert conn.execute("SELECT count(*) FROM pgferry.chunk WHERE content_hash = 0").fetchone() == (0,)


def test_a_key_whose_first_column_says_little_is_walked_by_its_index(a_copy: Make, conn: Conn) -> None:
    """All rows at three instants: no batch may read more than its own rows."""
    conn.execute(
        "UPDATE sales SET at = '2026-01-01Z'::timestamptz + (amount::int % 3) * interval '1 day', item = item || note"
    )
    conn.execute("UPDATE goods SET item = item")
    conn.execute("CREATE INDEX ON sales (at)")
    conn.execute("ANALYZE sales")
    session = a_copy(replace(PACE, batch_rows=50))
    session.wishes.settings["target_ms"] = 1
    statistics = "SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'sales'"
    conn.execute("SELECT pg_stat_force_next_flush()") if conn.info.server_version >= 150000 else None
    before = conn.execute(statistics).fetchone()
    run(session)
    session.drop()
    assert sums(conn)[0] == 2000
    assert conn.execute("SELECT count(*) FROM pgferry.chunk").fetchone() >= (10,)
    assert conn.execute(statistics).fetchone() == before


def test_a_reject_of_a_trigger_stays_one_when_rows_are_compared(a_copy: Make, conn: Conn) -> None:
    """The comparison carries doubtful rejects again; what the trigger raises then must not end it."""
    raising(conn, "NEW.note = 'row 1234'", "P0001", "not this one")
    switch_on(conn, Direction.FORWARD)
    session = a_copy()
    run(session)
    verdict = compare(session, session.plan.task("compare"), MAPPING)
    assert [(note, reason) for note, _, reason in rejects(conn)] == [("row 1234", "not this one")]
    assert verdict.old == verdict.new + verdict.rejected, verdict.words()
