"""Keys at the ends of their types, and tables of no or one row: batches begin and end there too, and nothing is left out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from console.engine.backfill import Backfill
from console.engine.compare import compare
from console.journal.connect import connect
from console.plan.model import BackfillSettings, Direction, Kind, Mapping, TableName
from tests.engine.scene import a_plan, a_session, a_task, switch_on

MAPPING = Mapping(
    id="ends",
    old=TableName("public", "ends"),
    new=TableName("public", "ends_v2"),
    old_key=("key",),
    new_key=("key",),
    columns=(("key", "o.key"), ("n", "o.n")),
    back=(("key", "n.key"), ("n", "n.n")),
)
TASKS = (
    a_task("copy", Kind.BACKFILL, mappings=("ends",), backfill=BackfillSettings(batch_rows=1, target_ms=1)),
    a_task("compare", Kind.CHECK, mappings=("ends",)),
)


@pytest.mark.parametrize(
    ("type_", "keys"),
    [
        ("timestamptz", ("-infinity", "4713-01-01 00:00:00+00 BC", "2026-11-25 12:00:00.000001+00", "infinity")),
        ("date", ("-infinity", "0001-01-01", "2026-11-25", "infinity")),
        ("float8", ("-Infinity", "-1e308", "0", "5e-324", "Infinity", "NaN")),
        ("numeric", ("-99999999999999999999.5", "0", "0.00000000000000000001", "NaN")),
        ("bigint", ("-9223372036854775808", "0", "9223372036854775807")),
        ("text", ("", " ", "\x01", "\U0010ffff")),
        ("bytea", ("\\x", "\\x00", "\\xff")),
        ("int", ()),
        ("int", ("7",)),
    ],
    ids=["timestamptz", "date", "float8", "numeric", "bigint", "text", "bytea", "no row", "one row"],
)
def test_every_row_arrives_and_is_compared(database: str, type_: str, keys: tuple[str, ...]) -> None:
    with connect(database) as conn:
        for name in ("ends", "ends_v2"):
            conn.execute(f"CREATE TABLE {name} (key {type_} PRIMARY KEY, n int)".encode())
        for i, key in enumerate(keys):
            conn.execute(f"INSERT INTO ends VALUES (%s::text::{type_}, %s)".encode(), (key, i))
        switch_on(conn, Direction.FORWARD, MAPPING)
        session = a_session(database, replace(a_plan(*TASKS), mappings=(MAPPING,)))
        try:
            Backfill(session, TASKS[0], MAPPING, 0).run()
            verdict = compare(session, TASKS[1], MAPPING, show=False)
        finally:
            session.drop()
        chunks = conn.execute("SELECT coalesce(sum(rows_read), 0)::int, count(*) FROM pgferry.chunk").fetchone()
        assert chunks is not None
        assert chunks[0] == len(keys)
        assert chunks[1] >= min(len(keys), 3), "a batch of one row each, to begin with"
        assert verdict.words() == f"{len(keys)} old = {len(keys)} new + 0 rejected, every row equal"
        assert conn.execute("SELECT count(*) FROM ends JOIN ends_v2 USING (key, n)").fetchone() == (len(keys),)
