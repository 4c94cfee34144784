"""Repair of named differences, comparison on request from the command line, watching, and the guard before retiring."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg.conninfo import make_conninfo

from console.engine import repair, rows, settle
from console.engine.rows import Orders, Outcome
from console.engine.session import Interrupted
from console.engine.visit import Visitor, visit
from console.errors import Refused, StepFailed
from console.journal.connect import Conn, connect
from console.journal.state import RunStatus, Verb
from console.plan.model import Kind, Leads
from tests.engine.scene import MAPPING, a_database, a_plan, a_run, a_task, order
from tests.engine.test_compare import COPIED, FAST, NTH, copied, kinds, secretly
from tests.engine.tiny import ferry, start, wait_until
from tests.faults.tools import PLAN, one, state_of

BOTH_WAYS = Orders(repair=True)
CORRUPT = (
    f"UPDATE sales_v2 SET amount = amount + 0.00000001 WHERE note = {NTH.format(70)}",
    f"DELETE FROM sales_v2 WHERE note = {NTH.format(90)}",
    "INSERT INTO sales_v2 VALUES ('2026-01-01 00:02:00.5Z', 3, 1, 'from nowhere')",
    "UPDATE sales_v2 a SET amount = b.amount FROM sales_v2 b WHERE a.note <> b.note AND"
    f" a.note IN ({NTH.format(500)}, {NTH.format(501)}) AND b.note IN ({NTH.format(500)}, {NTH.format(501)})",
    f"UPDATE sales_v2 SET good_id = 32 WHERE note = {NTH.format(300)}",
    f"UPDATE sales_v2 SET note = NULL WHERE note = {NTH.format(400)}",
)
FOUND = {"changed": 4, "missing": 2, "extra": 2}


@pytest.fixture
def conn(database: str) -> Iterator[Conn]:
    """Rows carried and both directions on."""
    with copied(database, 1500, reverse=True) as made:
        made.execute("SET timezone = 'UTC'")
        yield made


@pytest.fixture
def visitor(database: str, conn: Conn) -> Iterator[Visitor]:
    """Someone who looks, and repairs."""
    made = visit(a_plan(*COPIED), database, "mender")
    yield made
    made.drop()


def content(conn: Conn) -> tuple[list[tuple[object, ...]], ...]:
    """Both tables and the rejects."""
    return tuple(
        conn.execute(f"SELECT * FROM {name} ORDER BY 1, 2, 3".encode()).fetchall()
        for name in ("sales", "sales_v2", "(SELECT mapping, direction, key, reason FROM pgferry.reject) r")
    )


def corrupt(conn: Conn) -> None:
    """Everything that can be wrong, at once, behind the sync's back."""
    for statement in CORRUPT:
        assert secretly(conn, statement)


# -- which side is right ----------------------------------------------------------------------------------------------


def test_the_new_side_is_corrected_from_the_old_one_that_leads(conn: Conn, visitor: Visitor) -> None:
    before = content(conn)
    corrupt(conn)
    conn.execute("DELETE FROM pgferry.reject WHERE key->>'shop' = 'S9' AND key->>'item' = 'item9'")
    assert kinds(rows.once(visitor, MAPPING, Orders(), origin="check").verdict) == {**FOUND, "unlisted": 10}
    done = rows.once(visitor, MAPPING, BOTH_WAYS, origin="repair")
    assert done.verdict.ok, done.verdict.words()
    assert done.repaired == sum(FOUND.values()) + 10
    assert content(conn) == before, "to the row, the rejects included"
    text, actor, data = conn.execute(
        "SELECT text, actor, data FROM pgferry.event WHERE kind = 'check' AND text LIKE 'repaired%'"
    ).fetchall()[0]
    assert (text, actor) == ("repaired 18 rows of sales from the old side", "mender")
    assert {row["what"] for row in data["rows"]} == {"changed", "missing", "extra", "unlisted"}
    assert any("from nowhere" in row["new"] for row in data["rows"]), "what was deleted can be read in the audit"


def test_the_old_side_is_corrected_from_the_new_one_that_leads(conn: Conn, visitor: Visitor) -> None:
    conn.execute("UPDATE pgferry.lead SET leads = 'new'")
    corrupt(conn)
    conn.execute("UPDATE sales_v2 SET amount = amount WHERE false")
    held = conn.execute("TABLE sales_v2 ORDER BY at, good_id").fetchall()
    done = rows.once(visitor, MAPPING, BOTH_WAYS, origin="repair")
    assert done.verdict.ok, done.verdict.words()
    assert conn.execute("TABLE sales_v2 ORDER BY at, good_id").fetchall() == held, "the side that leads is untouched"
    assert one(conn, "SELECT count(*) FROM sales WHERE note = 'from nowhere' AND shop = 'S0' AND item = 'item3'") == 1
    assert one(conn, "SELECT count(*) FROM sales WHERE note IS NULL") == 1


def test_where_both_lead_the_right_side_must_be_said(conn: Conn, visitor: Visitor) -> None:
    conn.execute("UPDATE pgferry.lead SET leads = 'both'")
    corrupt(conn)
    wrong = content(conn)
    with pytest.raises(Refused, match="--from old or --from new"):
        rows.once(visitor, MAPPING, BOTH_WAYS, origin="repair")
    assert content(conn) == wrong
    done = rows.once(visitor, MAPPING, Orders(repair=True, repair_from=Leads.OLD), origin="repair")
    assert done.verdict.ok


def test_without_the_sync_nothing_is_repaired(conn: Conn, visitor: Visitor) -> None:
    conn.execute("DROP FUNCTION pgferry.sales_backward CASCADE")
    with pytest.raises(Refused, match="reverse sync of sales is not on"):
        rows.once(visitor, MAPPING, Orders(repair=True, repair_from=Leads.NEW), origin="repair")


def test_a_surplus_row_goes_only_when_that_is_asked_for(conn: Conn, visitor: Visitor) -> None:
    before = content(conn)
    conn.execute("ALTER TABLE sales_v2 DROP CONSTRAINT sales_v2_pkey")
    secretly(conn, "INSERT INTO sales_v2 SELECT * FROM sales_v2 WHERE note = 'row 500'")
    done = rows.once(visitor, MAPPING, BOTH_WAYS, origin="repair")
    assert kinds(done.verdict) == {"duplicate": 1}
    assert one(conn, "SELECT count(*) FROM sales_v2") == len(before[1]) + 1, "nothing was deleted unasked"
    first = "(SELECT min(ctid) FROM sales_v2 WHERE note = 'row 500')"
    secretly(conn, f"UPDATE sales_v2 SET note = 'worse' WHERE ctid = {first}")
    done = rows.once(visitor, MAPPING, Orders(repair=True, remove_duplicates=True), origin="repair")
    assert done.verdict.ok, done.verdict.words()
    assert content(conn) == before, "the row that is as the old one says stays"


# -- beside others ----------------------------------------------------------------------------------------------------


def test_a_writer_that_holds_the_row_is_waited_for_and_its_value_wins(
    database: str, conn: Conn, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repair, "LOCK_TIMEOUT_MS", 50)
    secretly(conn, "UPDATE sales_v2 SET note = 'bad' WHERE note = 'row 300'")
    with connect(database) as writer, writer.transaction():
        writer.execute("UPDATE sales SET amount = 777 WHERE note = 'row 300'")
        mender = threading.Thread(target=lambda: done.append(rows.once(visitor, MAPPING, BOTH_WAYS, origin="repair")))
        done: list[Outcome] = []
        mender.start()
        waits = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name LIKE 'pgferry%'"
        )
        assert wait_until(lambda: one(conn, waits))
    mender.join(30)
    assert done[0].verdict.ok
    assert conn.execute("SELECT amount FROM sales_v2 WHERE note = 'row 300'").fetchone() == (777,)


def test_rows_that_stay_locked_are_left_and_said_so(
    database: str, conn: Conn, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repair, "LOCK_TIMEOUT_MS", 20)
    monkeypatch.setattr(repair, "TRIES", 3)
    secretly(conn, "UPDATE sales_v2 SET note = 'bad' WHERE note = 'row 300'")
    with connect(database) as writer, writer.transaction():
        writer.execute("SELECT 1 FROM sales WHERE note = 'row 300' FOR UPDATE")
        with pytest.raises(StepFailed, match="stayed locked"):
            rows.once(visitor, MAPPING, BOTH_WAYS, origin="repair")
    assert one(conn, "SELECT count(*) FROM sales_v2 WHERE note = 'bad'") == 1


def test_repair_under_writers_ends_equal(database: str, conn: Conn, visitor: Visitor) -> None:
    ended = threading.Event()
    errors: list[Exception] = []

    def write(number: int) -> None:
        with connect(database) as mine:
            turn = number
            while not ended.is_set():
                turn += 1
                try:
                    mine.execute("UPDATE sales SET amount = amount + 1 WHERE note = %s", (f"row {turn % 100 + 1}",))
                    mine.execute("DELETE FROM sales WHERE note = %s", (f"row {turn % 100 + 200}",))
                except Exception as error:
                    if "deadlock" not in str(error):
                        errors.append(error)

    writers = [threading.Thread(target=write, args=(number * 7,)) for number in range(3)]
    for writer in writers:
        writer.start()
    try:
        for _ in range(4):
            secretly(conn, "UPDATE sales_v2 SET note = note || '!', amount = 5 WHERE note ~ '^row [0-9]{1,2}$'")
            done = rows.once(visitor, MAPPING, BOTH_WAYS, origin="repair")
            assert done.verdict.ok, done.verdict.words()
    finally:
        ended.set()
        for writer in writers:
            writer.join()
    assert errors == []
    assert rows.once(visitor, MAPPING, Orders(), origin="check").verdict.ok


# -- the command --------------------------------------------------------------------------------------------------------


def a_plan_on_disk(folder: Path) -> Path:
    """The scene's mapping as a plan that only carries."""
    folder.mkdir()
    head, _, tasks = PLAN.partition("[[phase.task]]")
    wanted = ["sync", "copy"]
    kept = [part for part in tasks.split("[[phase.task]]") if any(f'id = "{name}"' in part for name in wanted)]
    (folder / "plan.toml").write_text("[[phase.task]]".join([head, *kept]))
    return folder


def test_the_command_compares_names_and_repairs(database: str, conn: Conn, tmp_path: Path) -> None:
    words = ("check", "--rows", "--plan", str(a_plan_on_disk(tmp_path / "plan")), "--dsn", database)
    code, out, err = ferry(*words)
    assert (code, err) == (0, "")
    assert out.startswith("ok    sales: 1,500 old = ")
    corrupt(conn)
    code, out, _ = ferry(*words, "--format", "json")
    (found,) = json.loads(out)
    assert code == 1
    assert found["faults"] == FOUND
    assert len(found["differences"]) == 8
    assert [d["columns"] for d in found["differences"] if d["columns"] == ["note"]] == [["note"]]
    code, out, _ = ferry(*words, "--limit", "1")
    assert code == 1
    assert "and 7 more" in out
    code, out, err = ferry(*words, "--repair", PGFERRY_OPERATOR="mender")
    assert (code, err) == (0, ""), out
    assert "8 repaired" in out
    assert ferry(*words)[0] == 0
    kept = conn.execute("SELECT origin, ok FROM pgferry.comparison ORDER BY id").fetchall()
    assert kept == [("check", True), ("check", False), ("repair", False), ("repair", True), ("check", True)]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--repair",), "--repair needs --rows"),
        (("--from", "new"), "--from needs --rows"),
        (("--rows", "--phase", "1"), "--phase chooses checks"),
        (("--rows", "--from", "new"), "say how to repair"),
        (("--rows", "--watch", "--repair"), "only looks"),
        (("--rows", "--mapping", "nothing"), "has no mapping nothing. It has: sales"),
    ],
)
def test_words_that_do_not_go_together(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    code, out, err = ferry("check", *words, "--plan", str(a_plan_on_disk(tmp_path / "plan")), "--dsn", "host=nowhere")
    assert (code, out) == (2, "")
    assert said in err


def test_who_may_only_read_compares_and_cannot_repair(database: str, conn: Conn, tmp_path: Path) -> None:
    conn.execute("CREATE ROLE reader LOGIN")
    try:
        mine = make_conninfo(database, user="reader")
        words = ("check", "--rows", "--plan", str(a_plan_on_disk(tmp_path / "plan")), "--dsn", mine)
        code, _, err = ferry(*words)
        assert code == 3, err
        assert "USAGE on schema pgferry" in err
        conn.execute(
            "GRANT USAGE ON SCHEMA pgferry TO reader; GRANT SELECT ON ALL TABLES IN SCHEMA pgferry, public TO reader"
        )
        secretly(conn, "UPDATE sales_v2 SET note = 'bad' WHERE note = 'row 300'")
        code, out, err = ferry(*words)
        assert (code, err) == (1, "")
        assert "note: old row 300 | new bad" in out
        code, out, err = ferry(*words, "--repair")
        assert (code, out) == (5, "")
        assert "nothing can be repaired" in err
        assert one(conn, "SELECT count(*) FROM pgferry.comparison") == 0
    finally:
        conn.execute("DROP OWNED BY reader; DROP ROLE reader")


# -- again and again ----------------------------------------------------------------------------------------------------


def test_a_watch_says_when_the_verdict_changes_and_ends_with_the_old_table(
    database: str, conn: Conn, tmp_path: Path
) -> None:
    plan = a_plan_on_disk(tmp_path / "plan")
    watch = start("check", "--rows", "--watch", "--every", "1", "--duty", "100", "--plan", str(plan), "--dsn", database)
    passes = "SELECT coalesce(max(passes), 0) FROM pgferry.comparison WHERE origin = 'watch' AND ok = {}"
    try:
        assert wait_until(lambda: one(conn, passes.format("true")) >= 2, 90)
        secretly(conn, "UPDATE sales_v2 SET note = 'bad' WHERE note = 'row 300'")
        assert wait_until(lambda: one(conn, passes.format("false")) >= 2, 90)
        (newest,) = state_of(database, 1).comparisons
        assert (newest.origin, newest.ok, newest.rows[0]["what"]) == ("watch", False, "changed")
        secretly(conn, "UPDATE sales_v2 SET note = 'row 300' WHERE note = 'bad'")
        assert wait_until(lambda: one(conn, "SELECT count(*) FROM pgferry.comparison WHERE ok") == 2, 90)
        conn.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'pgferry%'")
        conn.execute("CREATE SCHEMA pgferry_archive; ALTER TABLE sales SET SCHEMA pgferry_archive")
        out, err = watch.communicate(timeout=60)
    finally:
        watch.kill()
        watch.wait()
    assert (watch.returncode, err) == (0, "")
    assert "FAIL  sales: 1,500 old" in out
    said = conn.execute("SELECT text FROM pgferry.event WHERE text LIKE 'watch: %' ORDER BY id").fetchall()
    assert ["1 changed" in text for (text,) in said] == [False, True, False], "only when the verdict changes"


def test_a_watch_waits_until_rows_are_carried(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    conn = a_database(database, rows=300)
    plan = a_plan(*COPIED)
    run_id = a_run(database, plan)
    visitor = visit(plan, database, "watcher")
    seen: list[bool] = []

    def turn(_: float) -> None:
        seen.append(bool(conn.execute("SELECT 1 FROM pgferry.comparison").fetchone()))
        if len(seen) == 1:
            order(database, plan, run_id, Verb.START, until="sync")
        elif len(seen) == 2:
            order(database, plan, run_id, Verb.START)
        elif len(seen) == 3:
            order(database, plan, run_id, Verb.ROLLBACK, to="start")
            conn.execute("DELETE FROM pgferry.comparison")
        else:
            raise Interrupted("enough")

    monkeypatch.setattr(visitor.wishes, "sleep", turn)
    with pytest.raises(Interrupted):
        rows.watch(visitor, (MAPPING,), Orders(workers=1), 1.0, lambda outcome: None)
    assert seen == [False, False, True, False], "not before the copy is complete, nor after a rollback"
    visitor.drop()
    conn.close()


def test_who_is_waited_for_is_said(
    database: str, conn: Conn, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settle, "SAY_AFTER_S", 0.0)
    said: list[str] = []
    visitor.say = said.append
    with connect(database, application_name="nightly") as other, other.transaction():
        other.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        other.execute("SELECT 1")
        conn.execute(
            "INSERT INTO pgferry.recheck (mapping, key, reason) SELECT 'sales',"
            " jsonb_build_object('at', at::text, 'shop', shop, 'item', item), 'older snapshot' FROM sales LIMIT 3"
        )
        looker = threading.Thread(target=lambda: done.append(rows.once(visitor, MAPPING, Orders(), origin="check")))
        done: list[Outcome] = []
        looker.start()
        assert wait_until(lambda: said)
        assert not done
    looker.join(30)
    assert done[0].verdict.ok
    assert said[0].startswith("sales: 3 keys can be judged once the transaction of nightly (pid ")


def test_a_watch_stops_on_a_wish(visitor: Visitor) -> None:
    def stop(outcome: Outcome) -> None:
        assert outcome.verdict.ok
        visitor.wishes.stop.set()

    with pytest.raises(Interrupted):
        rows.watch(visitor, (MAPPING,), Orders(workers=1), 100.0, stop)


# -- before the old table goes --------------------------------------------------------------------------------------------


def test_retire_wants_a_comparison_since_the_switch_that_found_no_difference(database: str) -> None:
    conn = a_database(database, rows=300)
    plan = a_plan(
        a_task("sync", Kind.SYNC, mappings=("sales",)),
        a_task("copy", Kind.BACKFILL, mappings=("sales",), backfill=FAST),
        a_task("compare", Kind.CHECK, mappings=("sales",)),
        a_task("new", Kind.SWITCH, mappings=("sales",), leads=Leads.NEW),
        a_task("retire", Kind.RETIRE, mappings=("sales",)),
    )
    run_id = a_run(database, plan)
    status, _ = order(database, plan, run_id, Verb.START)
    assert status is RunStatus.FAILED
    assert "not compared since applications were switched" in state_of(database, run_id).error
    visitor = visit(plan, database, "tester")
    secretly(conn, "UPDATE sales_v2 SET note = 'bad' WHERE note = 'row 30'")
    assert not rows.once(visitor, MAPPING, Orders(), origin="check").verdict.ok
    status, _ = order(database, plan, run_id, Verb.RESUME)
    assert status is RunStatus.FAILED
    assert "The newest comparison found: 300 old" in state_of(database, run_id).error
    assert rows.once(visitor, MAPPING, Orders(repair=True, repair_from=Leads.OLD), origin="repair").verdict.ok
    status, answer = order(database, plan, run_id, Verb.RESUME)
    assert status is RunStatus.DONE, (answer, state_of(database, run_id).error)
    visitor.drop()
    conn.close()
