"""The preview of a copy says what keys and indexes before it cost."""

from __future__ import annotations

from pathlib import Path

import pytest

from console.commands.previews import Previews
from console.plan.load import load_plan
from tests.faults.tools import PLAN, a_plan_directory

MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"


def test_the_shipped_plan_copies_first_and_says_what_the_other_order_costs() -> None:
    text = Previews(load_plan(MIGRATIONS)).of("P2.2.2").text
    assert "book_ticker_snapshots_v2 has its key alone then" in text
    assert "4 times as long" in text


def test_the_copys_statement_is_read_with_the_function_it_calls() -> None:
    statements = Previews(load_plan(MIGRATIONS)).of("P2.2.2").up
    assert [(one.ordinal, one.line) for one in statements] == [(1, 1)]
    locks = {lock.object: lock.mode for lock in statements[0].locks}
    assert locks["book_ticker_snapshots_v2"] == locks["pgferry.reject"] == "ROW EXCLUSIVE"
    assert locks["book_ticker_snapshots"] == "ACCESS SHARE"
    assert "ACCESS EXCLUSIVE" not in locks.values()


@pytest.mark.parametrize(
    ("statements", "says"),
    [
        ("CREATE INDEX a ON sales_v2 (good_id);", "sales_v2 has 1 further index before the copy"),
        (
            "CREATE INDEX a ON sales_v2 (good_id);\nCREATE INDEX CONCURRENTLY b ON public.sales_v2 (note);\n"
            "ALTER TABLE sales_v2 ADD CONSTRAINT f FOREIGN KEY (good_id) REFERENCES goods (id);",
            "sales_v2 has 1 foreign key and 2 further indexes before the copy",
        ),
        ("ALTER TABLE other ADD FOREIGN KEY (at, good_id) REFERENCES sales_v2;", "sales_v2 has its key alone then"),
    ],
)
def test_what_the_plan_makes_before_the_copy_is_counted(tmp_path: Path, statements: str, says: str) -> None:
    a_plan_directory(tmp_path / "plan")
    (tmp_path / "plan" / "plan.toml").write_text(PLAN)
    (tmp_path / "plan" / "001_trace.sql").write_text(statements + "\n")
    assert says in Previews(load_plan(tmp_path / "plan")).of("copy").text
